"""What the pane says of a VM's copies: what runs, what came of the last one, what QEMU has.

Imported with the first copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from agentclient.model.durations import in_words
from agentclient.model.job import (
    DiskCopy,
    JobOutcome,
    JobProgress,
    JobResult,
    JobStage,
    JobTimes,
)
from agentclient.model.next_command import clear_command
from agentclient.model.place import Place
from agentclient.model.sizes import rate_text, size_text
from agentclient.model.snapshot import VmState
from agentclient.model.text import uncut
from tui.console.model.sending import clause
from tui.console.widgets.pane.fact import Fact
from tui.console.widgets.table.cells import Paint
from tui.shared.bulk_words import queued
from tui.shared.clocks import elapsed
from tui.shared.fit import safe
from tui.shared.glyphs import JOB, LEFT_JOB, UNENDED
from tui.shared.job_words import bar, outcome_look, percent, remaining, stalled, why_of
from tui.shared.key_hints import key
from tui.shared.newest_job import newest_job
from tui.shared.tone import Tone

_BAR = 10
_MARK = "▏"
_ASCII_MARK = "|"
STOPS = (
    f"{key('stop', 'x')} stops it, and undoes what was begun; {key('copy', 'c')} limits its speed"
)
STALLED = (
    f"have its storage answer again; or {key('stop', 'x')} stops it, and undoes what was begun"
)
TRIED_AGAIN = (
    "it is tried again, and its end is told; until then no other copy is made: have its storage "
    "answer again"
)
NOT_FOLLOWED = "nobody follows it, and nothing certifies it"


def job_facts(state: VmState, paint: Paint) -> Iterator[Fact]:
    """Yield what is known of a VM's copies, the most urgent first."""
    if state.job is not None:
        place = paint.place(state.id)
        yield from _running(state.job, paint, place=place, waits=state.progress is not None)
    if state.unended is not None:
        text = f"{paint.signs.of(UNENDED)} {safe(str(state.unended), 300)}"
        yield Fact("copy", text, Tone.BAD, 0)
        yield Fact("next", TRIED_AGAIN, Tone.BAD, 0)
    for number, one in enumerate(state.left_jobs):
        label = "left" if number == 0 else ""
        yield Fact(label, f"{paint.signs.of(LEFT_JOB)} {safe(str(one), 200)}", Tone.BAD, 0)
    if state.left_jobs:
        asks = f"{key('copy', 'c')} asks whether to end it"
        does = clause(paint.sending, state.vm, asks, clear_command(state.vm))
        yield Fact("next", f"{NOT_FOLLOWED}{does}", Tone.BAD, 0)
    ended = newest_job(state)
    if ended is not None:
        yield from _ended(ended, paint)
    if state.job is None:
        for one in state.block_jobs:
            if not one.left:
                yield Fact("in qemu", safe(str(one), 200), rank=3)


# -- what runs --------------------------------------------------------------------------------


def _running(job: JobProgress, paint: Paint, *, place: Place, waits: bool) -> Iterator[Fact]:
    """Yield what a copy does; while its freeze is waited for, that says what now and what next."""
    dot = f" {paint.signs.dot} "
    yield Fact("copy", f"{paint.signs.of(JOB)} {dot.join(_progress(job, paint))}", JOB.tone, 0)
    if job.stage is JobStage.QUEUED:
        text = f"{queued(place)}; waits for {safe(job.text)}; nothing was begun"
        yield Fact("now", text, rank=1)
        yield Fact("next", f"wait; or {key('stop', 'x')} takes it out of the queue", rank=1)
        return
    yield Fact("times", _running_times(job, paint), Tone.FROZEN, 1)
    if waits:
        return
    limit = f"limit {rate_text(job.limit)} for each disk" if job.limit else "no limit"
    still = stalled(job)
    step = STALLED if still else STOPS
    stopped = "stopped by you: what was begun is undone" if job.cancelled else step
    now = f"{still}: the storage of the copy, or of the disk, may hang" if still else job.text
    yield Fact("now", f"{safe(now)}; {limit}", Tone.WARN if still else Tone.NORMAL, 1)
    yield Fact("next", stopped, Tone.WARN if job.cancelled else Tone.NORMAL, 1)
    yield from _disks(job, paint)


def _progress(job: JobProgress, paint: Paint) -> Iterator[str]:
    share = percent(job)
    if share is None:
        yield f"{job.kind}: {job.stage}"
        yield f"for {elapsed(job.began_at, paint.moment)}"
        return
    full = bar(job.done / job.total, _BAR, ascii_only=paint.signs.ascii)
    stage = "" if job.stage is JobStage.COPYING else f": {job.stage}"
    yield f"{job.kind}{stage} {full} {share} %"
    yield f"{size_text(job.done)} of {size_text(job.total)}"
    if job.speed is not None and job.stage is not JobStage.FINISHING:
        yield rate_text(job.speed)
    left = remaining(job)
    if left:
        yield f"{left} left"


def _disks(job: JobProgress, paint: Paint) -> Iterator[Fact]:
    for number, disk in enumerate(job.disks):
        share = disk.done / disk.total if disk.total else 0.0
        full = bar(share, _BAR, ascii_only=paint.signs.ascii)
        ready = ", equal to the disk" if disk.ready else ""
        text = f"{full} {share:4.0%}  {safe(disk.disk, 60)}, {size_text(disk.total)}{ready}"
        yield Fact("disks" if number == 0 else "", text, rank=2)


def _running_times(job: JobProgress, paint: Paint) -> str:
    """Return the timeline so far: the window stands out in it."""
    moment = paint.moment
    asked = moment.wall_at(job.began_at)
    parts = [f"asked {asked:%H:%M:%S}"]
    if job.frozen_at is None:
        parts.append(f"{job.stage} …")
        return _line(parts, paint)
    after = f"after {_seconds(job.frozen_at - job.began_at)}"
    if job.thawed_at is None:
        parts.append(f"FROZEN NOW, {after}, {job.stage}")
        return _line(parts, paint)
    parts += [f"frozen {after}, for {_milliseconds(job.thawed_at - job.frozen_at)}", "thawed"]
    parts.append(f"{job.stage} {elapsed(job.thawed_at, moment)}")
    return _line(parts, paint)


def _line(parts: list[str], paint: Paint) -> str:
    return f" {_ASCII_MARK if paint.signs.ascii else _MARK}".join(parts)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 60 else in_words(value)


def _milliseconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 10 else in_words(value)


# -- what came of it -----------------------------------------------------------------------------


def _ended(outcome: JobOutcome, paint: Paint) -> Iterator[Fact]:
    look = outcome_look(outcome)
    complete = outcome.result is JobResult.COMPLETE
    word = look.word.upper() if complete else look.word
    refused = f" ({outcome.refusal})" if outcome.refusal is not None else ""
    head = f"{paint.signs.of(look)} {outcome.kind} {word}{refused}"
    yield Fact("copy", f"{head}: {safe(why_of(outcome), 500)}", look.tone, 0, more=complete)
    for number, one in enumerate(outcome.left):
        label = "LEFT" if number == 0 else ""
        yield Fact(label, f"LEFT BEHIND: {safe(one, 300)}", Tone.BAD, 0)
    if outcome.next:
        yield Fact("next", uncut(outcome.next), Tone.WARN, 1)
    yield Fact("times", _line(_ended_times(outcome.times), paint), Tone.FROZEN, 1)
    folders = {Path(disk.target).parent for disk in outcome.disks if disk.target}
    if complete and len(folders) == 1:
        yield Fact("to", safe(str(folders.pop()), 300), rank=2)
    for number, disk in enumerate(outcome.disks):
        yield Fact("disks" if number == 0 else "", _disk(disk, outcome), rank=2)


def _disk(disk: DiskCopy, outcome: JobOutcome) -> str:
    name = safe(disk.disk, 60)
    if disk.error is not None:
        return f"{name}: {safe(disk.error, 300)}"
    copied = f"{size_text(disk.copied)} of {size_text(disk.size)}"
    if outcome.result is JobResult.LEFT:
        return f"{name}: {copied} were copied when it was left"
    if outcome.result is not JobResult.COMPLETE:
        undone = "" if outcome.left else ", and are deleted"
        return f"{name}: {copied} were copied{undone}"
    where = Path(disk.target).name if disk.target else f"{name}, inside of its image"
    return f"{safe(where, 300)}  {copied}" if disk.target else where


def _ended_times(times: JobTimes) -> list[str]:
    parts = [f"asked {times.asked:%H:%M:%S}"]
    if times.frozen is not None:
        after = f"frozen after {_seconds(_between(times.asked, times.frozen))}"
        held = ""
        if times.thawed is not None:
            held = f", for {_milliseconds(_between(times.frozen, times.thawed))}"
        parts.append(f"{after}{held}")
    if times.ended is not None:
        if times.thawed is not None:
            parts.append(f"thawed, {_seconds(_between(times.thawed, times.ended))} more")
        parts.append(f"ended {times.ended:%H:%M:%S}")
    return parts


def _between(first: datetime, second: datetime) -> float:
    return max((second - first).total_seconds(), 0.0)
