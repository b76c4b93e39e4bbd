"""The progress bars of copies on a terminal: one line for each VM, drawn by Rich."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import StringIO
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.text import Text

from agentclient.model.job import JobProgress, JobStage
from tui.cli.job_text import amount_text, left_text, speed_text, stage_text, window_text
from tui.shared.fit import fit_apart, fit_middle, safe
from tui.shared.terminal_features import NO_COLOURS, ascii_alone

NARROWEST: Final = 20
# Terminals write ^C behind the last line, which must not be broken by it.
_ECHO: Final = 3
_LONGEST_NAME: Final = 24
_BAR: Final = (10, 40)
_BESIDE: Final = 8  # the percentage behind it, and the gaps
_TEXT: Final = 32  # so that a bar does not jump with each word
_STYLES = {
    JobStage.READY: "bold green",
    JobStage.FREEZING: "bold cyan",
    JobStage.STARTING: "bold cyan",
    JobStage.THAWING: "bold cyan",
}


class Bar(NamedTuple):
    """What one line shows.

    Attributes:
        name: what it is about: a VM, say.
        progress: its progress.
        done: bytes that are copied.
        total: bytes to copy; 0 if that isn't known.
    """

    name: str
    progress: JobProgress
    done: int
    total: int


class JobBars:
    """Draws the lines of all copies, for a width."""

    def __init__(self) -> None:
        self._ascii = ascii_alone()
        colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in NO_COLOURS
        self._console = Console(
            file=StringIO(),
            force_terminal=True,
            color_system="standard" if colours else None,
            no_color=not colours,
            legacy_windows=False,
            highlight=False,
            width=80,
        )
        self._options = self._console.options
        if self._ascii:
            self._options.encoding = "ascii"

    def lines(self, bars: Sequence[Bar], width: int, most: int, at: float) -> list[str]:
        """Return the lines, each narrower than the terminal.

        Args:
            bars: what to show, one for each copy.
            width: the terminal's cells.
            most: lines at the most.
            at: the monotonic clock's now.
        """
        room = max(width - _ECHO, 1)
        shown = bars if len(bars) <= most else bars[: max(most - 1, 0)]
        names = self._names([bar.name for bar in shown], room)
        drawn = [self._line(name, bar, room, at) for name, bar in zip(names, shown, strict=True)]
        if len(shown) < len(bars):
            drawn.append(self._rendered([Text(f"and {len(bars) - len(shown)} more")], room))
        return drawn

    def work_line(self, name: str, text: str, percent: float | None, width: int) -> str:
        """Return the line of what is no copy of a VM.

        Args:
            name: what it is about.
            text: what is done now.
            percent: how far it is; None where that isn't known.
            width: the terminal's cells.
        """
        room = max(width - _ECHO, 1)
        who = Text(fit_middle(safe(name), _name_width(room)))
        left = room - who.cell_len - 2
        end: list[Text | ProgressBar] = []
        if percent is not None:
            wanted = max(cell_len(safe(text)), _TEXT)
            width = min(max(left - wanted - _BESIDE, _BAR[0]), _BAR[1])
            end = [ProgressBar(total=100, completed=percent, width=width)]
            end.append(Text(f"{percent:>3.0f}%"))
            left -= width + _BESIDE
        return self._rendered([who, Text(fit_middle(safe(text), max(left, 1))), *end], room)

    def names(self, names: Sequence[str], width: int) -> list[str]:
        """Return names that have room beside their bars, and of which no two look the same.

        Args:
            names: what the lines are about.
            width: the terminal's cells.
        """
        return self._names(names, max(width - _ECHO, 1))

    def _names(self, names: Sequence[str], room: int) -> list[str]:
        return fit_apart([safe(one) for one in names], _name_width(room))

    def _line(self, name: str, bar: Bar, room: int, at: float) -> str:
        progress = bar.progress
        parts = [Text(name), self._stage(progress)]
        # In the order in which they are left out where there is no room.
        more = [
            left_text(progress),
            speed_text(progress),
            window_text(progress, at, ascii_alone=self._ascii),
            amount_text(bar.done, bar.total),
        ]
        percent = _percent(bar.done, bar.total)
        words = [word for word in more if word]
        least = sum(part.cell_len + 2 for part in parts) + len(percent)
        while words and least + _BAR[0] + sum(len(word) + 2 for word in words) > room:
            words.pop(0)
        used = least + sum(len(word) + 2 for word in words)
        ordered = [word for word in reversed(more) if word in words]
        width = min(room - used - 2, _BAR[1])
        line: list[Text | ProgressBar] = [*parts]
        if bar.total and width >= _BAR[0] - 2:
            line.append(ProgressBar(total=bar.total, completed=bar.done, width=width))
        line += [Text(percent)] if percent else []
        line += [Text(word) for word in ordered]
        return self._rendered(line, room)

    def _stage(self, progress: JobProgress) -> Text:
        text = stage_text(progress)
        if progress.cancelled:
            return Text(text, style="bold yellow")
        return Text(text, style=_STYLES.get(progress.stage, "bold"))

    def _rendered(self, parts: Sequence[Text | ProgressBar], room: int) -> str:
        """Return parts in one line, two spaces between them, cut at the terminal's edge."""
        line = Text(end="")
        for number, part in enumerate(parts):
            line.append("  " if number else "")
            if isinstance(part, Text):
                line.append_text(part)
                continue
            before = line.cell_len
            for segment in self._console.render(part, self._options):
                line.append(segment.text, segment.style)
            # Without colours the rest of a bar is left out.
            line.append(" " * (before + (part.width or 0) - line.cell_len))
        line.truncate(room, overflow="crop")
        with self._console.capture() as captured:
            self._console.print(line, end="", soft_wrap=True)
        return captured.get()


def _name_width(room: int) -> int:
    """Return how many cells a name may take of a line."""
    return max(min(_LONGEST_NAME, room - NARROWEST), 6)


def _percent(done: int, total: int) -> str:
    return f"{min(100, 100 * done // total):>3}%" if total else ""
