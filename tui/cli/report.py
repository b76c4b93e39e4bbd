"""Reports what freezes and thaws do while they run: for a person, or as JSON."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from rich.cells import cell_len

from agentclient.fleet.store import SHOWN
from agentclient.model.clock import now
from agentclient.model.durations import clock
from agentclient.model.events import Ended, Event, EventKind
from agentclient.model.json_contract import dumps, event_object, group_object
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import Progress, VmState
from agentclient.model.states import EvidenceName, EvidenceResult, Level, OutcomeKind, Phase
from agentclient.model.text import printable
from agentclient.model.vm import Vm, VmId
from tui.cli.output import Output
from tui.shared.bulk_words import recap
from tui.shared.folding import FURTHER, columns_of, folded

if TYPE_CHECKING:
    from agentclient.model.outcome import GroupOutcome

# Seconds between two reports: often at first, then once a minute for the rest of a long freeze.
FIRST_EVERY_S = 10.0
LATER_EVERY_S = 60.0
FIRST_FOR_S = 60.0
_DEEP = "    "


class Report:
    """Reports each event as it comes, and the progress of what is pending.

    Events come in the operations' threads, which do nothing here but fill the output's queue.

    Args:
        vms: the VMs that it is about.
        as_json: events as JSON on stdout, instead of lines for a person.
        monotonic: the clock of `Progress`.
        stamped: each JSON line has `s` as well: the seconds since the report was made.
    """

    def __init__(
        self,
        vms: Sequence[Vm],
        output: Output,
        *,
        as_json: bool,
        monotonic: Callable[[], float] = time.monotonic,
        stamped: bool = False,
    ) -> None:
        self._output = output
        self._as_json = as_json
        self._monotonic = monotonic
        self._width = max((len(printable(str(vm.id), 60)) for vm in vms), default=0)
        self._stamped = stamped
        self._started = monotonic()
        self._next_progress = self._started + FIRST_EVERY_S
        self._lock = threading.Lock()
        self._ended: set[VmId] = set()
        self._last: dict[VmId, str] = {}

    def event(self, event: Event) -> None:
        """Tell one event."""
        with self._lock:
            said = self._last.get(event.vm) == event.text
            self._last[event.vm] = event.text
            if event.kind is EventKind.OUTCOME:
                self._ended.add(event.vm)
        if self._as_json:
            self._output.data(dumps(event_object(event) | self._stamp()))
            return
        # Where verdict and outcome are the same, a program gets two lines, and a person one.
        if event.level is not Level.DEBUG and not said:
            self.line(event.vm, event.text)
        if event.kind is EventKind.OUTCOME:
            for line in details(event):
                self.line(event.vm, f"  {line}")

    def group(self, outcome: GroupOutcome) -> None:
        """Tell what came of a group, after its members' own outcomes."""
        if self._as_json:
            self._output.data(dumps(group_object(outcome, now()) | self._stamp()))
        else:
            self._output.out(f"group: {printable(outcome.reason, 1000)}")

    def ended(self, vm: Vm) -> bool:
        """Return whether a VM's last event was told."""
        with self._lock:
            return vm.id in self._ended

    def line(self, vm_id: VmId, text: str) -> None:
        """Tell a person something about a VM on stdout."""
        self._output.out(self._line(vm_id, text), self._below(vm_id, text))

    def block(self, vm_id: VmId, lines: Iterable[tuple[str, bool]]) -> None:
        """Tell a person some lines about a VM on stdout, without others between them.

        On a terminal they are broken at words, and what follows stands below their text.

        Args:
            vm_id: the VM.
            lines: each with whether it is left whole: a path or a command that is to be copied.
        """
        told = [(printable(text, 1000), whole) for text, whole in lines]
        if not told:
            return
        columns = columns_of(sys.stdout)
        if columns is None:
            self._output.data("\n".join(self._line(vm_id, text) for text, _ in told))
            return
        head = self._line(vm_id, "")
        wide = cell_len(head) > columns // 2
        blank = _DEEP if wide else " " * cell_len(head)
        first, *more = [
            (f"{blank}{text}" if whole else folded(f"{blank}{text}", columns, 0)).split("\n")
            for text, whole in told
        ]
        first = [head, *first] if wide else [f"{head}{first[0][len(blank) :]}", *first[1:]]
        self._output.data("\n".join(line for lines in (first, *more) for line in lines))

    def say(self, text: str, vm: Vm | None = None) -> None:
        """Tell a person something on stderr, in either mode."""
        if vm is None:
            self._output.err(f"frostwatch: {text}")
        else:
            self._output.err(self._line(vm.id, text), self._below(vm.id, text))

    def progress(self, states: Iterable[VmState], queued: str = "") -> None:
        """Tell how far what is pending has come, if it is time for that.

        Args:
            states: what is known of the VMs.
            queued: what is to be known of those that wait for their turn; empty if none does.
        """
        at = self._monotonic()
        if at < self._next_progress:
            return
        early = at - self._started < FIRST_FOR_S
        self._next_progress = at + (FIRST_EVERY_S if early else LATER_EVERY_S)
        working = [one for one in states if one.progress is not None]
        for state in working:
            progress = cast(Progress, state.progress)
            if progress.phase not in (Phase.DONE, Phase.QUEUED):
                self.say(progress_text(progress, at), state.vm)
        if queued:
            waiting = sum(
                one.progress is not None and one.progress.phase is Phase.QUEUED for one in working
            )
            self.say(f"{queued}; {len(working) - waiting} at work")

    def recap(self, words: Iterable[str], frozen: Sequence[Vm]) -> None:
        """Tell in one line what came of many.

        Args:
            words: what came of each, in a word (`bulk_words.word_of`).
            frozen: those that may be frozen.
        """
        every = list(words)
        said = recap(every)
        if frozen:
            names = ", ".join(printable(str(vm.id), 60) for vm in frozen[:SHOWN])
            more = f" and {len(frozen) - SHOWN} more" if len(frozen) > SHOWN else ""
            said += f"; MAY BE FROZEN: {names}{more}"
        if not self._as_json:
            self._output.out(f"{vms(len(every))}: {said}")

    @property
    def started(self) -> float:
        """When it was made, by its clock."""
        return self._started

    def _stamp(self) -> dict[str, float]:
        return {"s": round(self._monotonic() - self._started, 3)} if self._stamped else {}

    def _below(self, vm_id: VmId, text: str) -> int:
        """Return where what is broken off stands: below the text, a bit deeper than that."""
        spaces = len(text) - len(text.lstrip(" "))
        return cell_len(self._line(vm_id, "")) + spaces + (FURTHER if spaces else 0)

    def _line(self, vm_id: VmId, text: str) -> str:
        seconds = self._monotonic() - self._started
        since = f"{clock(seconds)}.{int(seconds * 10) % 10}"
        name = printable(str(vm_id), 60)
        return f"{name:<{self._width}}  {since:>9}  {printable(text, 1000)}"


def vms(count: int) -> str:
    """Return so many VMs in words."""
    return "1 VM" if count == 1 else f"{count} VMs"


def progress_text(progress: Progress, at: float) -> str:
    """Return one honest line about an operation; `at` is the monotonic clock's now."""
    if progress.phase in (Phase.HELD, Phase.AT_RISK):
        return _held(progress, at)
    parts = [f"{progress.phase.value}: waits for {printable(progress.waiting_for)}"]
    if progress.step_ends_at is not None and progress.steps:
        parts.append(f"step {progress.step}/{progress.steps}")
        parts.append(f"{_left(progress.step_ends_at, at)} left of this step")
    if progress.ends_at is not None:
        parts.append(f"{_left(progress.ends_at, at)} in all")
    parts += _seen(progress, at)
    return ", ".join(parts)


def _held(progress: Progress, at: float) -> str:
    parts = [progress.phase.value]
    if progress.held_since is not None:
        parts.append(f"held for {clock(at - progress.held_since)}")
    if progress.hold_ends_at is not None:
        parts.append(f"thawed on its own in {_left(progress.hold_ends_at, at)}")
    return ", ".join(parts)


def _seen(progress: Progress, at: float) -> Iterator[str]:
    silent_since = progress.heard_at if progress.heard_at is not None else progress.sent_at
    if silent_since is not None:
        yield f"silent for {clock(at - silent_since)}"
    if progress.sent_at is None:
        return
    yield f"read by the agent: {_READ[progress.read]}"
    written = progress.written_bytes
    yield f"bytes written: {'unknown' if written is None else written}"
    if progress.blocked_s >= 1:
        yield f"blocked by the host for {clock(progress.blocked_s)}"


_READ = {True: "yes", False: "not yet", None: "unknown"}


def _left(ends_at: float, at: float) -> str:
    return clock(ends_at - at)


def details(event: Event) -> Iterator[str]:
    """Return what a person needs beside an outcome's sentence."""
    if not isinstance(event.details, Ended):
        return
    ended = event.details.outcome
    if isinstance(ended, Outcome):
        yield from outcome_details(ended)
    if ended.meaning is not None:
        yield f"copy: {ended.meaning.copy}"
        yield f"guest: {ended.meaning.guest}"
    if ended.next and ended.next not in event.text:
        yield f"next: {ended.next}"


def outcome_details(outcome: Outcome) -> Iterator[str]:
    """Return what an outcome's sentence leaves out, one line each."""
    if outcome.kind is OutcomeKind.REFUSED:
        return
    yield (
        f"{outcome.word}: frozen {_count(outcome.frozen)}, "
        f"thawed {_count(outcome.thawed)}, {outcome.seconds:.1f} s"
    )
    for evidence in outcome.evidence:
        # That an idle guest wrote nothing proves nothing, and is nothing to worry about.
        idle = evidence.name == EvidenceName.WRITES and evidence.value == 0
        if evidence.result is not EvidenceResult.FOR and not idle:
            value = "" if evidence.value is None else f" ({evidence.value})"
            yield f"evidence, {evidence.result.value}: {evidence.name}{value}"


def _count(count: int | None) -> str:
    return "not answered" if count is None else str(count)


def last_word(vm: Vm, outcome: Outcome) -> Event:
    """Return the last event of a VM whose operation was left before it could say it itself."""
    return Event(vm.id, now(), EventKind.OUTCOME, Level.ERROR, outcome.reason, Ended(outcome))
