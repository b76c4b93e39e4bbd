"""What a person is told of a copy where no details are asked for: its stages, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os.path import commonpath
from pathlib import PurePath
from typing import NamedTuple

from agentclient.model.events import Ended, Event, EventKind
from agentclient.model.job import DiskCopy, JobKind, JobOutcome, JobResult
from agentclient.model.outcome import Outcome
from agentclient.model.sizes import size_text
from agentclient.model.states import Level
from agentclient.model.text import printable, uncut

# The copy's own outcome says what the freeze's words are worth for it.
_OF_THE_FREEZE = (EventKind.VERDICT, EventKind.REVISED, EventKind.OUTCOME)


class Told(NamedTuple):
    """One line for a person.

    Attributes:
        text: the line.
        whole: it is to be copied, such as a command or a path, and is not broken.
    """

    text: str
    whole: bool = False


def is_brief(event: Event) -> bool:
    """Return whether an event is told where no details are asked for."""
    if event.kind is EventKind.STAGE:
        return True
    if event.level not in (Level.WARNING, Level.ERROR):
        return False
    return event.kind not in _OF_THE_FREEZE or may_be_frozen(event)


def may_be_frozen(event: Event) -> bool:
    """Return whether an event is the end of a freeze whose guest may be frozen still."""
    if event.kind is not EventKind.OUTCOME or not isinstance(event.details, Ended):
        return False
    ended = event.details.outcome
    return isinstance(ended, Outcome) and not ended.settled


def outcome_lines(outcome: JobOutcome) -> Iterator[Told]:
    """Return how a copy ended: what it is worth, where it is, what is left, what to do."""
    yield Told(printable(outcome.reason, 1000))
    yield from indented(job_details(outcome))
    if outcome.next is not None:
        yield Told(f"  NEXT: {uncut(outcome.next)}", whole=True)


def indented(lines: Iterable[Told]) -> Iterator[Told]:
    """Return lines that stand below another one."""
    return (Told(f"  {one.text}", one.whole) for one in lines)


def job_details(outcome: JobOutcome) -> Iterator[Told]:
    """Return what the sentence of a job's outcome leaves out, one line each."""
    kept = outcome.result in (JobResult.COMPLETE, JobResult.LEFT)
    folder = _folder(outcome) if kept else None
    if folder is not None:
        yield Told(f"in {printable(folder, 300)}", whole=True)
    for disk in outcome.disks:
        if not kept and disk.error is None:
            continue  # what was begun of it was undone, and what was not is in `left`
        if outcome.kind is JobKind.DELETION and disk.target is None and disk.error is None:
            continue  # its sentence names the disks, whose images hold it no more
        what = f": {printable(disk.error, 300)}" if disk.error else ""
        name = printable(disk.disk, 80)
        if outcome.kind in (JobKind.SNAPSHOT, JobKind.DELETION):  # nothing of it is copied
            yield Told(f"disk {name}: {_snapshot_of(disk)}{what}", whole=True)
            continue
        where = f"{printable(_file(disk), 120)}, " if kept and disk.target else ""
        sizes = f"{size_text(disk.copied)} copied of {size_text(disk.size)}"
        yield Told(f"disk {name}: {where}{sizes}{what}")
    frozen = _frozen_s(outcome)
    if frozen is not None and outcome.result is JobResult.COMPLETE:
        word = "paused" if outcome.paused else "frozen"
        yield Told(f"the guest was {word} for {frozen:.2f} s; it took {outcome.seconds:.1f} s")
    undone = outcome.result in (JobResult.FAILED, JobResult.CANCELLED) and not outcome.left
    if undone and outcome.kind in (JobKind.BACKUP, JobKind.MIRROR):
        yield Told("nothing of it is left: incomplete files are deleted")
    for one in outcome.left:
        yield Told(f"LEFT BEHIND: {printable(one, 300)}")


def _folder(outcome: JobOutcome) -> str | None:
    """Return the folder of a copy's files; None if it has none."""
    if outcome.kind not in (JobKind.BACKUP, JobKind.MIRROR):
        return None
    folders = [str(PurePath(one.target).parent) for one in outcome.disks if one.target]
    return commonpath(folders) if folders else None


def _file(disk: DiskCopy) -> str:
    return PurePath(disk.target or "").name


def _frozen_s(outcome: JobOutcome) -> float | None:
    times = outcome.times
    if outcome.kind is JobKind.COMMAND:  # of which more is told
        return None
    if times.frozen is None or times.thawed is None:
        return None
    return (times.thawed - times.frozen).total_seconds()


def _snapshot_of(disk: DiskCopy) -> str:
    if disk.target is None:
        return f"inside of its {disk.format} image"
    return f"overlay {printable(disk.target, 300)}"
