"""From the key `c` to a copy, and what becomes of it; nothing in here waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from agentclient.late import load
from agentclient.model.job import FreezePolicy, JobOutcome
from agentclient.model.sizes import rate_text
from agentclient.model.states import Level
from agentclient.model.vm import Vm
from tui.console.actions.context import NO_VM, ActionContext
from tui.console.actions.possible import COPY_IN_FLIGHT, busy_of, not_ended
from tui.console.dialogs.copy import CopyDialog
from tui.console.dialogs.copy_kind import (
    BACKUP,
    EXTERNAL,
    INCREMENTAL,
    MIRROR,
    SNAPSHOT,
    CopyAnswer,
    CopyKind,
)
from tui.console.dialogs.copy_run import LeftCopyDialog, LimitDialog, StopCopyDialog
from tui.console.model.batch import Batch, Ended
from tui.console.model.notices import NAME, Notice
from tui.console.model.sending import READ_ONLY
from tui.console.model.targets import Target, Targets
from tui.console.ports import JobPort, JobsPort
from tui.shared.bulk_words import recap
from tui.shared.fit import fit_middle, safe
from tui.shared.job_words import copy_word
from tui.shared.key_hints import key
from tui.shared.new_file import current_folder

if TYPE_CHECKING:
    from agentclient.jobs.left import Cleared, LeftCopy

_NAME_STAMP = "%Y%m%d-%H%M%S"


class _Clearing(NamedTuple):
    """What was left on a VM, and is being ended."""

    vm: Vm
    cleared: Future[tuple[Cleared, ...]]


class CopyPrompt:
    """Asks about copies, begins and stops them, and tells what was begun.

    Args:
        context: what is shared.
    """

    def __init__(self, context: ActionContext) -> None:
        self._context = context
        to = context.copies.folder or current_folder("/")
        self._before = CopyAnswer(BACKUP, FreezePolicy.REQUIRE, folder=to)
        self._clearing: list[_Clearing] = []
        self._batches: list[Batch] = []

    def ask(self, chosen: Targets) -> None:
        """Ask for a copy of VMs; or about the speed of one that runs, or one that was left.

        Args:
            chosen: the VMs of the key press.
        """
        context = self._context
        if context.read_only or not chosen:
            context.answer(Level.WARNING, READ_ONLY if context.read_only else NO_VM)
            return
        if len(chosen) == 1 and context.copies.on(chosen[0].vm.id) is not None:
            self._ask_limit(chosen[0])
        elif len(chosen) == 1 and (text := not_ended(chosen[0])) is not None:
            self._say(chosen[0].vm, Level.WARNING, text)
        elif len(chosen) == 1 and chosen[0].state.left_jobs:
            self._ask_left(chosen[0])
        else:
            self._ask_copy(chosen)

    # -- a new copy ----------------------------------------------------------------------------

    def _ask_copy(self, chosen: Targets) -> None:
        context = self._context
        busy = busy_of(context, chosen)
        targets = tuple(one for one in chosen if one not in busy)
        if not targets:
            context.answer(Level.WARNING, COPY_IN_FLIGHT)
            return

        def answered(answer: CopyAnswer | None) -> None:
            if answer is not None:
                self._before = answer
                self._begin(targets, answer)

        ids = (one.vm.id for one in targets)
        hidden = frozenset(each for each in ids if context.view.index_of(each) is None)
        survey = partial(self._survey, targets[0].vm) if len(targets) == 1 else None
        name = context.clock.wall().strftime(_NAME_STAMP)
        form = CopyDialog(
            targets,
            replace(self._before, name=f"frostwatch-{name}"),
            hidden,
            busy,
            survey=survey,
            folder=lambda folder: context.copies.ask(lambda jobs: jobs.survey_folder(folder)),
            signs=context.signs,
        )
        context.app.push_screen(form, answered)

    def _survey(self, vm: Vm, kind: CopyKind) -> Future[Any]:
        return self._context.copies.ask(lambda jobs: jobs.survey(vm, kind.kind))

    def _begin(self, targets: Targets, answer: CopyAnswer) -> None:
        begun: list[JobPort] = []
        for target in targets:
            job = self._begin_one(target, answer)
            if job is not None:
                begun.append(job)
        if len(begun) > 1:
            text = f"{answer.kind.name} of {len(begun)} VMs begun; those that wait are queued"
            self._context.answer(Level.INFO, text)
            self._batches.append(Batch(answer.kind.name, begun, _copied))

    def _begin_one(self, target: Target, answer: CopyAnswer) -> JobPort | None:
        begin, copies = _BEGIN[answer.kind.name], self._context.copies
        job = self._context.begin(
            target, lambda vm: begin(copies.jobs, vm, answer), "nothing was begun"
        )
        if job is not None:
            text = f"{answer.kind.name} begun; {key('stop', 'x')} stops it"
            self._say(target.vm, Level.INFO, text)
        return job

    # -- a copy that runs ----------------------------------------------------------------------

    def _ask_limit(self, target: Target) -> None:
        def answered(limit: int | None) -> None:
            job = self._context.copies.on(target.vm.id)
            if limit is None:
                return
            if job is None:
                self._say(target.vm, Level.INFO, "its copy has ended")
                return
            job.set_limit(limit)
            said = f"at most {rate_text(limit)}" if limit else "no limit"
            self._say(target.vm, Level.INFO, f"{said}, from the next look at QEMU on")

        self._context.app.push_screen(LimitDialog(target, self._context.signs), answered)

    def stop(self, targets: Targets) -> bool:
        """Ask, and stop the copies on VMs; return whether there are any."""
        copied = tuple(one for one in targets if self._context.copies.on(one.vm.id) is not None)
        if not copied or self._context.read_only:
            return False

        def answered(yes: bool | None) -> None:
            for target in copied if yes else ():
                job = self._context.copies.on(target.vm.id)
                if job is None:
                    self._say(target.vm, Level.INFO, "its copy has ended already")
                    continue
                job.cancel()
                self._say(target.vm, Level.INFO, "the copy is stopped; what was begun is undone")

        self._context.app.push_screen(StopCopyDialog(copied, self._context.signs), answered)
        return True

    # -- what was left -------------------------------------------------------------------------

    def _ask_left(self, target: Target) -> None:
        vm = target.vm
        look = self._context.copies.ask(lambda jobs: jobs.in_qemu(vm))

        def answered(copies: tuple[LeftCopy, ...] | None) -> None:
            if copies:
                self._clear(target, copies)

        dialog = LeftCopyDialog(target, look, self._context.signs)
        self._context.app.push_screen(dialog, answered)

    def _clear(self, target: Target, copies: Sequence[LeftCopy]) -> None:
        def start(vm: Vm) -> _Clearing:
            cleared = self._context.copies.ask(
                lambda jobs: tuple(jobs.clear(vm, copy) for copy in copies)
            )
            return _Clearing(vm, cleared)

        clearing = self._context.begin(target, start, "nothing was done")
        if clearing is not None:
            self._clearing.append(clearing)
            self._say(target.vm, Level.INFO, "what was left is being ended")

    def ended(self) -> Iterator[Notice]:
        """Yield what came of ending what was left, and of many copies at once."""
        yield from self._ended_batches()
        done = [one for one in self._clearing if one.cleared.done()]
        self._clearing = [one for one in self._clearing if not one.cleared.done()]
        for one in done:
            level, text = _cleared_text(one.cleared)
            self._context.fleet.log(one.vm.id, level, text)
            name = fit_middle(safe(one.vm.name), NAME)
            yield Notice(level, f"{name}: {text}", self._context.clock.wall(), one.vm.id)

    def batches(self) -> Iterator[Batch]:
        """Yield the copies of many VMs that were begun with one form, and are not over."""
        yield from self._batches

    def _ended_batches(self) -> Iterator[Notice]:
        over = [one for one in self._batches if one.is_over]
        self._batches = [one for one in self._batches if one not in over]
        for batch in over:
            ended = batch.look()
            level = Level.GOOD if all(one.good for one in ended) else Level.WARNING
            told = recap(one.word for one in ended)
            text = f"{batch.what} of {len(batch)} VMs is over: {told}"
            yield Notice(level, text, self._context.clock.wall(), sums_up=True)

    def _say(self, vm: Vm, level: Level, text: str) -> None:
        self._context.answer(level, f"{safe(vm.name, 60)}: {text}", vm.id)


def _copied(outcome: JobOutcome | None) -> Ended:
    return Ended(copy_word(outcome), outcome is not None and outcome.ok)


def _cleared_text(cleared: Future[tuple[Cleared, ...]]) -> tuple[Level, str]:
    error = cleared.exception()
    if error is not None:
        return Level.ERROR, f"what was left could not be ended: {safe(str(error), 300)}"
    found = cleared.result()
    left = [clause for one in found for clause in one.left]
    if left:
        return Level.ERROR, f"LEFT BEHIND: {safe('; '.join(left), 400)}"
    removed = [file for one in found for file in one.removed]
    kept = [file for one in found for file in one.kept]
    text = "what was left is ended"
    if removed:
        text += f"; deleted, since incomplete: {safe(', '.join(removed), 300)}"
    if any(one.resumed for one in found):
        text += "; the VM, which had stopped at an error (io-error), goes on"
    if kept:
        text += f"; kept, complete but not certified: {safe(', '.join(kept), 300)}"
    return Level.GOOD, text


# -- how each kind is begun --------------------------------------------------------------------

_Begin = Callable[[JobsPort, Vm, CopyAnswer], JobPort]


def _backup(jobs: JobsPort, vm: Vm, answer: CopyAnswer) -> JobPort:
    request = load("agentclient.jobs.request", "BackupRequest")(
        folder=answer.folder,
        policy=answer.policy,
        disks=answer.disks,
        incremental=answer.kind is INCREMENTAL,
    )
    return jobs.backup(vm, request, limit=answer.limit)


def _mirror(jobs: JobsPort, vm: Vm, answer: CopyAnswer) -> JobPort:
    request = load("agentclient.jobs.mirror", "MirrorRequest")(
        folder=answer.folder, policy=answer.policy, disks=answer.disks
    )
    return jobs.mirror(vm, request, limit=answer.limit)


def _snapshot(jobs: JobsPort, vm: Vm, answer: CopyAnswer) -> JobPort:
    request = load("agentclient.jobs.snapshots.create", "SnapshotRequest")(
        name=answer.name,
        policy=answer.policy,
        disks=answer.disks,
        external=answer.kind is EXTERNAL,
    )
    return jobs.snapshot(vm, request)


_BEGIN: Mapping[str, _Begin] = {
    BACKUP.name: _backup,
    INCREMENTAL.name: _backup,
    MIRROR.name: _mirror,
    SNAPSHOT.name: _snapshot,
    EXTERNAL.name: _snapshot,
}
