"""Asks before a window is held for longer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentclient.model.durations import in_words
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY, labelled, subject, who
from tui.console.model.targets import Targets
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Tone

CHOICES_S = (10, 30, 60)


class ExtendDialog(Dialog[float]):
    """Asks for how much longer; answers with seconds.

    Args:
        targets: the VMs whose windows are held.
        most_s: how long a window may be held at the most, in seconds.
        signs: the set of signs that the terminal can show.
    """

    def __init__(self, targets: Targets, most_s: float, signs: Signs) -> None:
        super().__init__(f"Hold the window of {subject(targets)} for longer?")
        self.targets = targets
        self._most_s = most_s
        self._signs = signs

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, and what it means."""
        for target in self.targets:
            yield who(target.state, self._signs)
        yield EMPTY
        yield labelled("means", "everything in the guest that writes waits for as much longer")
        if any(target.extends_elsewhere for target in self.targets):
            text = (
                "another frostwatch holds it: its holder is asked, and allows as much as that may"
            )
            yield labelled("whose", text, Tone.WARN)
        else:
            yield labelled("at most", f"{in_words(self._most_s)} in all", Tone.DIM)

    def answers(self) -> Sequence[tuple[str, str]]:
        """Some seconds, or none."""
        choices = [(f"s{seconds}", f"+{seconds} s") for seconds in CHOICES_S]
        return (*choices, ("no", "Leave it (Esc)"))

    def answered(self, answer: str) -> None:
        """Answer with the seconds, or None."""
        self.dismiss(float(answer.removeprefix("s")) if answer != "no" else None)
