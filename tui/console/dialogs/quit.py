"""Quitting while something is in flight: stay, thaw first, or leave that to the holder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Button

from agentclient.fleet.store import Fleet
from agentclient.late import load
from tui.console.bare_terminal import FEW
from tui.console.copies import Copies
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.vm_text import EMPTY, labelled
from tui.console.model.exit_kind import ExitKind
from tui.console.model.keeping import can_be_kept
from tui.console.ports import JobPort, OperationPort, OperationsPort
from tui.console.widgets.pane.facts import identity
from tui.shared.clocks import Clock, countdown
from tui.shared.fit import safe
from tui.shared.glyphs import JOB, PHASE, Signs
from tui.shared.key_hints import key
from tui.shared.tone import Line, Piece, Tone

_REFRESH_S = 0.5
_ANSWER = 11  # cells


def _choice(answer: str, meaning: str) -> Line:
    """Return what an answer means: broken at words, below its beginning."""
    return (Piece(f"{answer:<{_ANSWER}}", Tone.DIM), Piece(meaning))


class QuitDialog(Dialog[ExitKind]):
    """Asks whether to stay, to thaw first or to detach; then shows what is still waited for.

    Args:
        fleet: where the progress of what is in flight is.
        operations: what is in flight.
        copies: the copies that are.
        clock: where the countdowns get their time from.
        signs: the set of signs that the terminal can show.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Stay", id="dialog.leave", tooltip="Go on watching"),
        Binding("d", "detach", "Leave now", id="quit.detach"),
        Binding("k", "keep", "Keep", id="quit.keep"),
        Binding("q", "insist", "Leave at once", show=False, id="quit.insist"),
    ]

    def __init__(
        self,
        fleet: Fleet,
        operations: OperationsPort,
        copies: Copies,
        clock: Clock,
        signs: Signs,
    ) -> None:
        self._only_copies = not operations.active()
        what = "disks are copied" if self._only_copies else "guests are frozen, or about to be"
        super().__init__(f"Quit while {what}?")
        self._fleet = fleet
        self._operations = operations
        self._copies = copies
        self._clock = clock
        self._signs = signs
        self._thawing = False
        self._keeps = any(can_be_kept(fleet, operations.active()))

    def on_mount(self) -> None:
        """Keep the text as of now."""
        super().on_mount()
        self.set_interval(_REFRESH_S, self.look_again)

    def lines(self) -> Iterable[Line]:
        """Return what is in flight, and what can be done about it."""
        active = tuple(self._operations.active())
        copied = tuple(self._copies.active())
        if not active and not copied:
            yield (Piece("Nothing is in flight any more: you can quit.", Tone.GOOD),)
            return
        yield from self._flight_lines(active, copied)
        yield EMPTY
        yield from self._wait_lines() if self._thawing else self._choices(active, copied)

    def _flight_lines(
        self, active: Sequence[OperationPort], copied: Sequence[JobPort]
    ) -> Iterable[Line]:
        for operation in active[:FEW]:
            yield from self._operation_lines(operation)
        for job in copied[:FEW]:
            yield self._copy_line(job)
        unseen = max(len(active) - FEW, 0) + max(len(copied) - FEW, 0)
        if unseen:
            yield (Piece(f"and {unseen} more", Tone.DIM),)

    def _wait_lines(self) -> Iterable[Line]:
        """Return when the console leaves, once it was asked to end first what is in flight."""
        what = "Undoing" if self._only_copies else "Thawing"
        whose = "QEMU" if self._only_copies else "the holder"
        text = f"{what}; the console leaves by itself when this list is empty."
        yield (Piece(text, Tone.HEAD),)
        yield (Piece(f"d or q leaves what is left to {whose}. Escape stays.", Tone.WARN),)

    def _choices(
        self, active: Sequence[OperationPort], copied: Sequence[JobPort]
    ) -> Iterable[Line]:
        if copied:
            yield _choice("Cancel", "QEMU's jobs are ended, and incomplete files are deleted.")
            yield _choice(
                "Leave now",
                "QEMU goes on with what is copied after its window; nobody follows or certifies "
                "that, and the next frostwatch finds it.",
            )
        if active:
            yield _choice("Thaw", "stop waiting; stay until each is thawed, as its agent answers.")
            yield _choice("Leave now", "the same, but what hasn't answered is left to its holder.")
            yield _choice(
                "Both",
                "end windows that are held, at once: a copy of one has to be finished by now. "
                "Stay lets them last as long as was asked.",
            )
        if self._keeps:
            yield _choice(
                "Keep",
                "leave, but let each window last, in the care of its holder. "
                f"{key('attach', 'A')} in another console takes it over; all else is as with "
                "Leave now.",
            )

    def _copy_line(self, job: JobPort) -> Line:
        """Return which copy it is, and how far it is."""
        try:
            state = self._fleet.get(job.vm.id)
        except KeyError:
            return (Piece(safe(str(job.vm.id), 120), Tone.HEAD),)
        how_far = str(job.kind)
        if state.job is not None:
            how_far = load("tui.console.dialogs.copy_run", "progress_text")(state.job)
        return (Piece(identity(state, self._signs), Tone.HEAD), Piece(f"  {how_far}", JOB.tone))

    def _operation_lines(self, operation: OperationPort) -> Iterable[Line]:
        try:
            state = self._fleet.get(operation.vm.id)
        except KeyError:
            yield (Piece(safe(str(operation.vm.id), 120), Tone.HEAD),)
            return
        yield (Piece(identity(state, self._signs), Tone.HEAD),)
        progress = state.progress
        if progress is None:
            return
        look = PHASE[progress.phase]
        ends = progress.ends_at if progress.held_since is None else progress.hold_ends_at
        most = f"; at most {countdown(ends, self._clock.moment())} more" if ends is not None else ""
        text = f"waits for {safe(progress.waiting_for)}{most}"
        yield labelled(look.word, text, look.tone)

    def answers(self) -> Sequence[tuple[str, str]]:
        """Thaw first, detach, or stay."""
        first = "Thaw, quit (Enter)" if self._keeps else "Thaw, then quit (Enter)"
        if self._copies.active():
            first = "Cancel, then quit (Enter)" if self._only_copies else "Thaw, cancel, quit"
        return (
            ("thaw", first),
            ("detach", "Leave now (d)"),
            *([("keep", "Keep (k)")] if self._keeps else []),
            ("stay", "Stay (Esc)"),
        )

    def answered(self, answer: str) -> None:
        """Cancel everything and wait; or leave that to the holder; or stay."""
        if answer == "detach":
            self.dismiss(ExitKind.DETACHED)
            return
        if answer == "keep":
            self.action_keep()
            return
        if answer != "thaw":
            self.dismiss(None)
            return
        self._thawing = True
        self._copies.cancel_all()
        self._operations.cancel_all()
        self.query_one("#thaw", Button).display = False
        self.query_one("#stay", Button).focus()
        self.look_again()

    def look_again(self) -> None:
        """Show what is still waited for; leave when nothing is."""
        self.update_text()
        if self._thawing and not self._operations.active() and not self._copies.active():
            self.dismiss(ExitKind.CLEAN)

    def action_insist(self) -> None:
        """Leave at once; only after "thaw first" was chosen, so that no second q does it alone."""
        if self._thawing:
            self.dismiss(ExitKind.DETACHED)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key means anything now: k only while a window is held."""
        return self._keeps if action == "keep" else super().check_action(action, parameters)

    def action_keep(self) -> None:
        """Leave at once: their holders hold the windows to their end."""
        if self._keeps and not self._thawing:
            self.dismiss(ExitKind.KEPT)

    def action_detach(self) -> None:
        """Leave at once: the holder thaws what is in flight."""
        self.dismiss(ExitKind.DETACHED)
