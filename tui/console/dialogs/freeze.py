"""Asks before a freeze: which VMs, for how long, and whether all together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from agentclient.freeze.coverage import Coverage
from agentclient.freeze.risks import why_not
from agentclient.model.durations import in_words
from agentclient.model.request import Schedule
from agentclient.model.vm import VmId
from agentclient.operations.group import DEFAULT_WITHIN_S
from agentclient.operations.manager import DEFAULT_FREEZES_AT_ONCE
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.hold_choice import HoldChoice
from tui.console.dialogs.vm_text import EMPTY, arrows, labelled, subject, to_freeze
from tui.console.model.targets import Targets
from tui.console.widgets.lines import LinesView
from tui.shared.fit import safe
from tui.shared.glyphs import Signs
from tui.shared.key_hints import key
from tui.shared.tone import Line, Piece, Row, Tone

FEW = 4  # so many VMs leave room on a small screen for what can be chosen

WINDOWS_HOLD_S = 10
WORTHLESS = (
    "Windows lets writes go after 10 s, whatever the hold: a copy that takes longer is worth "
    "nothing. Enter freezes all the same; Left is a shorter hold"
)
FAR = (
    "nobody on {} thaws it if the link there is cut while it is frozen. Enter freezes all the same"
)
TOO_MANY = "only {} freezes run at once, so that these are never frozen together"
_NO = ("no", "Leave it (Esc)")
_HOLD, _GROUP = "hold", "group"  # the rows that can be clicked


@dataclass(frozen=True, slots=True)
class FreezeAnswer:
    """How the VMs are to be frozen.

    Attributes:
        hold_s: how long each window is held, in seconds.
        together: all at the same time, or none.
        remote_hold: also on another host, where nobody thaws while the link there is cut.
    """

    hold_s: float
    together: bool = False
    remote_hold: bool = False


class FreezeDialog(Dialog[FreezeAnswer]):
    """Asks before a freeze, for how long to hold it, and whether several are frozen together.

    Args:
        targets: the VMs of the key press.
        schedule: how long the freeze will be waited for.
        hidden: those of them that the filter hides.
        left_out: marked VMs with something in flight, which nothing will be done to.
        at_once: how many freezes run at once.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "hold(-1)", "Shorter hold", id="freeze.shorter"),
        Binding("right", "hold(1)", "Longer hold", id="freeze.longer"),
        Binding("b", "together", "Together, or each on its own", id="freeze.together"),
        Binding("backspace", "erase", "Erase a digit", show=False, id="freeze.erase"),
    ]

    def __init__(
        self,
        targets: Targets,
        schedule: Schedule,
        hidden: Collection[VmId],
        left_out: Targets,
        *,
        signs: Signs,
        at_once: int = DEFAULT_FREEZES_AT_ONCE,
    ) -> None:
        super().__init__(f"Freeze the file systems of {subject(targets)}?")
        self.targets = targets
        self._schedule = schedule
        self._hidden = hidden
        self._left_out = left_out
        self._signs = signs
        self._at_once = at_once
        self._hold = HoldChoice(schedule.maximum_hold_s, schedule.hold_s)
        self._together = False
        self._sure = False

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, and for how long; of many the latter first, so that it is seen."""
        parts = [self._target_lines(), self._term_lines()]
        first, second = parts if len(self.targets) <= FEW else reversed(parts)
        yield from first
        yield EMPTY
        yield from second

    def _target_lines(self) -> Iterator[Line]:
        for target in self.targets:
            yield from to_freeze(target, self._signs, hidden=target.vm.id in self._hidden)
        for target in self._left_out:
            text = f"{target.label}: something is in flight on it already"
            yield (Piece("left out  ", Tone.DIM), Piece(text, Tone.WARN))

    def _term_lines(self) -> Iterator[Line]:
        if len(self.targets) > FEW:
            yield from self._refusal_lines()
        if self._sure:
            for doubt in self._doubts():
                yield labelled("sure?", doubt, Tone.BAD)
        yield from self._schedule_lines()
        yield from self._hold_lines()
        yield from self._round_lines()
        if len(self.targets) > 1:
            yield from self._together_lines()

    def _round_lines(self) -> Iterator[Line]:
        """Say that not all are frozen at once, and how long it takes at least."""
        rounds = math.ceil(len(self.targets) / self._at_once)
        if rounds <= 1:
            return
        least = ""
        if self._hold.seconds:
            least = f", {in_words(rounds * self._hold.seconds)} at least with this hold"
        text = f"{self._at_once} at a time, the others are queued: {rounds} rounds{least}"
        yield labelled("rounds", text, Tone.WARN)

    def _refusal_lines(self) -> Iterator[Line]:
        """Say of how many it looks as if they will be refused, and why, most frequent first."""
        reasons = Counter(why for one in self.targets if (why := why_not(one.state)) is not None)
        if reasons:
            told = "; ".join(f"{count}: {safe(why, 80)}" for why, count in reasons.most_common(4))
            count = f"{reasons.total()} of {len(self.targets)}"
            yield labelled("but", f"{count} look as if they will be refused: {told}", Tone.WARN)

    def _schedule_lines(self) -> Iterator[Line]:
        plan = self._schedule
        first, probe = in_words(plan.first_timeout_s), in_words(plan.probe_timeout_s)
        steps = f"step 1/{plan.steps} is {first}"
        if plan.probes:
            steps += f", then {plan.probes} probes of {probe}"
        yield labelled("waits", f"up to {in_words(plan.total_s)}: {steps}")
        yield labelled(
            "", f"meanwhile the console goes on; {key('stop', 'x')} stops waiting", Tone.DIM
        )

    def _hold_lines(self) -> Iterator[Line]:
        less, more = arrows(self._signs)
        line = (
            Piece(f"  {'hold':<9}", Tone.DIM),
            Piece(f"{less} {self._hold.seconds} s {more}  ", Tone.HEAD),
            Piece(self._hold.meaning),
        )
        yield Row.of(_HOLD, line)
        most = in_words(self._hold.maximum_s)
        yield labelled("", f"left and right, or type seconds; at most {most}", Tone.DIM)

    def _together_lines(self) -> Iterator[Line]:
        meaning = "each on its own: one that fails keeps no other from being frozen"
        if self._together:
            within = in_words(DEFAULT_WITHIN_S)
            meaning = f"TOGETHER: all are frozen within {within}, or all are thawed again"
        tone = Tone.HEAD if self._together else Tone.NORMAL
        yield Row.of(_GROUP, labelled("group", meaning, tone))
        if self._together and self._too_many:
            yield labelled("but", f"{TOO_MANY.format(self._at_once)}; b, or mark fewer", Tone.BAD)
        yield labelled("", "b changes that", Tone.DIM)

    @property
    def _too_many(self) -> bool:
        """Whether some would have to wait for others to end: never all of them are frozen."""
        return len(self.targets) > self._at_once

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave out what takes several VMs where there is one."""
        if action == "together":
            return len(self.targets) > 1
        return super().check_action(action, parameters)

    def action_together(self) -> None:
        """Freeze several VMs together, or each on its own."""
        self._together = not self._together
        self.update_text()

    def answers(self) -> Sequence[tuple[str, str]]:
        """Freeze, or don't."""
        return (("yes", "Freeze (Enter)"), _NO)

    def answered(self, answer: str) -> None:
        """Answer how, or None; what is doubtful is asked about once more."""
        if answer == "yes" and self._together and self._too_many:
            return
        if answer == "yes" and any(self._doubts()) and not self._sure:
            self._sure = True
            self.update_text()
            return
        chosen = FreezeAnswer(float(self._hold.seconds), self._together, bool(self._hosts))
        self.dismiss(chosen if answer == "yes" else None)

    def _doubts(self) -> Iterator[str]:
        """Yield what a person has to decide before it is done."""
        if self._worthless:
            yield WORTHLESS
        if self._hosts:
            yield FAR.format(safe(", ".join(self._hosts), 100))

    @property
    def _hosts(self) -> list[str]:
        """The hosts of those on which nobody stands by."""
        far = (one.vm.far for one in self.targets)
        return sorted({host.name for host in far if host is not None})

    @property
    def _worthless(self) -> bool:
        """Whether a guest among them lets writes go before the hold is over."""
        if self._hold.seconds <= WINDOWS_HOLD_S:
            return False
        return any(Coverage(one.state.file_systems).windows for one in self.targets)

    @on(LinesView.Clicked)
    def _clicked(self, event: LinesView.Clicked) -> None:
        """Do what the arrow that was clicked does, or change the group as its key does."""
        event.stop()
        direction = arrows(self._signs).get(event.sign)
        if event.row == _GROUP:
            self.action_together()
        elif direction is not None:
            self.action_hold(direction)

    def action_hold(self, direction: int) -> None:
        """Choose the next hold."""
        self._hold.step(direction)
        self._sure = False
        self.update_text()

    def action_erase(self) -> None:
        """Take the last typed digit away."""
        self._hold.erase()
        self._sure = False
        self.update_text()

    def take_key(self, key: str, letter: str | None) -> bool:
        """Take digits for the hold, and what else changes it."""
        if letter is not None and letter in "0123456789":
            self._hold.type_digit(int(letter))
            self._sure = False
            self.update_text()
        elif key in ("left", "right"):
            self.action_hold(1 if key == "right" else -1)
        elif key == "backspace":
            self.action_erase()
        else:
            return False
        return True
