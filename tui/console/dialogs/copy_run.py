"""Dialogs about copies that run, or were left: stop one, limit its speed, end what was left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from agentclient.model.errors import BadInput
from agentclient.model.job import JobProgress, JobStage
from agentclient.model.sizes import parse_rate, rate_text, size_text
from tui.console.dialogs.base import Dialog
from tui.console.dialogs.field import Field, TextField
from tui.console.dialogs.form import Form
from tui.console.dialogs.vm_text import EMPTY, labelled, subject, who
from tui.console.model.targets import Target, Targets
from tui.shared.fit import safe
from tui.shared.glyphs import Signs
from tui.shared.job_words import percent, remaining, typed_rate
from tui.shared.tone import Line, Piece, Tone

if TYPE_CHECKING:
    from agentclient.jobs.left import LeftCopy

_LOOK_S = 0.1
_FEW_FILES = 4


def progress_text(job: JobProgress) -> str:
    """Return where a copy is, in one clause."""
    share = percent(job)
    parts = [f"{job.kind}: {job.stage}"]
    if share is not None:
        parts.append(f"{share} %, {size_text(job.done)} of {size_text(job.total)}")
    left = remaining(job)
    if left:
        parts.append(f"{left} left")
    return ", ".join(parts)


class StopCopyDialog(Dialog[bool]):
    """Asks before copies are stopped, and says what is undone.

    Args:
        targets: the VMs of the key press, on which a copy runs.
        signs: the set of signs that the terminal can show.
    """

    def __init__(self, targets: Targets, signs: Signs) -> None:
        super().__init__(f"Stop the copy of {subject(targets)}, and undo it?")
        self.targets = targets
        self._signs = signs

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, and what is undone."""
        for target in self.targets:
            yield who(target.state, self._signs)
            yield from _stopped(target.state.job)

    def answers(self) -> Sequence[tuple[str, str]]:
        """Stop, or don't."""
        return (("yes", "Stop and undo (Enter)"), ("no", "Go on copying (Esc)"))

    def answered(self, answer: str) -> None:
        """Answer True, or None."""
        self.dismiss(True if answer == "yes" else None)


def _stopped(job: JobProgress | None) -> Iterator[Line]:
    if job is None:
        yield labelled("nothing", "is copied any more", Tone.DIM)
        return
    yield labelled("now", progress_text(job))
    if job.stage is JobStage.QUEUED:
        yield labelled("undone", "nothing: it was not begun")
        return
    yield labelled("undone", "QEMU's jobs are cancelled, and the incomplete files are deleted")
    if job.thawed_at is None:
        yield labelled("guest", "it is thawed as soon as its agent answers")
    else:
        yield labelled("guest", "it was thawed before, and notices nothing")


class LimitDialog(Form[int]):
    """Asks how fast a copy that runs may be; answers with bytes a second, 0 for no limit.

    Args:
        target: the VM of the key press.
        signs: the set of signs that the terminal can show.
    """

    def __init__(self, target: Target, signs: Signs) -> None:
        super().__init__(f"How fast may the copy of {safe(target.vm.name, 40)} be?", signs)
        self.target = target
        job = target.state.job
        self._rate = TextField("rate", typed_rate(job.limit) if job is not None else "")
        self._problem: str | None = None

    def fields(self) -> Sequence[Field]:
        """Return the rate's."""
        return (self._rate,)

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, how fast it is, and the field."""
        yield who(self.target.state, self.signs)
        job = self.target.state.job
        if job is not None:
            speed = f", {rate_text(job.speed)} now" if job.speed is not None else ""
            yield labelled("now", f"{progress_text(job)}{speed}")
        yield EMPTY
        yield from self.field_lines()
        if self._problem is not None:
            yield labelled("but", self._problem, Tone.BAD)
        yield labelled("", "Ctrl-U erases it: no limit. x in the table stops the copy", Tone.DIM)

    def meaning_of(self, field: Field) -> tuple[str, Tone]:
        """Return what is said behind the field."""
        del field
        return "bytes a second for each disk: 500K, 10M, 1G", Tone.DIM

    def answers(self) -> Sequence[tuple[str, str]]:
        """Limit it, or don't."""
        return (("yes", "Limit it (Enter)"), ("no", "Leave it (Esc)"))

    def answered(self, answer: str) -> None:
        """Answer with the rate, or None."""
        if answer != "yes":
            self.dismiss(None)
            return
        try:
            self.dismiss(parse_rate(self._rate.text) if self._rate.text.strip() else 0)
        except BadInput as problem:
            self._problem = str(problem)
            self.update_text()


class LeftCopyDialog(Dialog["tuple[LeftCopy, ...]"]):
    """Shows the copies that frostwatches have left in a VM's QEMU; answers with those to be ended.

    Args:
        target: the VM of the key press.
        look: what is in its QEMU, as soon as that was looked at.
        signs: the set of signs that the terminal can show.
    """

    def __init__(self, target: Target, look: Future[Sequence[LeftCopy]], signs: Signs) -> None:
        super().__init__(f"End what was left in the QEMU of {safe(target.vm.name, 40)}?")
        self.target = target
        self._look = look
        self._signs = signs
        self.set_class(True, "-danger")

    def on_mount(self) -> None:
        """Show what is there as soon as it is known."""
        super().on_mount()
        if self._look.done():  # perhaps since it was put together
            self.update_text()
        else:
            self._timer = self.set_interval(_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        if self._look.done():
            self._timer.stop()
            self.update_text()

    def lines(self) -> Iterable[Line]:
        """Return whom it hits, what is there, and what ending it means."""
        yield who(self.target.state, self._signs)
        if not self._look.done():
            yield labelled("", "looking at its QEMU …", Tone.DIM)
            return
        error = self._look.exception()
        if error is not None:
            yield labelled("but", f"it can't be looked at: {safe(str(error), 300)}", Tone.BAD)
            return
        found = self._look.result()
        for copy in found:
            yield from _left_lines(copy)
        if not self._to_end():
            yield labelled("nothing", "was left there: there is nothing to end", Tone.GOOD)
            return
        yield EMPTY
        yield labelled("ends", "its jobs are cancelled, and QEMU closes its files", Tone.WARN)
        yield labelled("files", "an incomplete one is deleted; a complete one is kept, uncertified")

    def _to_end(self) -> tuple[LeftCopy, ...]:
        if not self._look.done() or self._look.exception() is not None:
            return ()
        return tuple(one for one in self._look.result() if one.running is False)

    def answers(self) -> Sequence[tuple[str, str]]:
        """Leave it, or end it: what is ended can't be called back."""
        return (("no", "Leave it (Esc)"), ("yes", "End it"))

    def answered(self, answer: str) -> None:
        """Answer with what is to be ended, or None."""
        if answer != "yes":
            self.dismiss(None)
        elif self._look.done():
            self.dismiss(self._to_end() or None)


def _left_lines(copy: LeftCopy) -> Iterator[Line]:
    left = copy.running is False
    mark = Tone.BAD if left else Tone.NORMAL
    yield labelled("left" if left else "runs", safe(str(copy), 300), mark)
    files = sorted(set(copy.nodes.values()))
    for file in files[:_FEW_FILES]:
        yield (Piece("            "), Piece(safe(file, 300), Tone.DIM))
    if len(files) > _FEW_FILES:
        yield labelled("", f"and {len(files) - _FEW_FILES} files more", Tone.DIM)
