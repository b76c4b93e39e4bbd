"""A freeze and its thaw where the agent is reached by calls: no stream, path or process."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.backends.base import Backends
from agentclient.fleet.store import Fleet
from agentclient.holder.client import HolderClient
from agentclient.journal.writer import Journal
from agentclient.model.instruction import Instruction
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.snapshot import Progress
from agentclient.model.states import Cause, OutcomeKind, Refusal
from agentclient.operations import thaw
from agentclient.operations.context import OperationContext
from agentclient.operations.control import Control
from agentclient.operations.freeze import FreezeOperation
from agentclient.operations.manager import OperationManager
from agentclient.operations.thaw import ThawOperation
from tests.unit.fakes import FakeReporter
from tests.unit.holder_thread import HolderThread
from tests.unit.journals import flush, rows
from tests.unit.memory_backend import MemoryBackend, MemoryCalls, MemoryGuest
from tests.waiting import until

FREEZE, THAW, STATUS = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-status"


class Reporter(FakeReporter):
    """Is told how far it has got, too."""

    def progress(self, progress: Progress | None) -> None:
        pass

    def port(self, *, is_open: bool) -> None:
        pass


class Harness:
    """A guest in memory, and what is done to it by calls."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.backend = MemoryBackend("db1")
        self.guest: MemoryGuest = self.backend.guests["db1"]
        self.guest.freezable = True
        self.control = Control()
        self.reporter = Reporter()
        self.holder: HolderClient = HolderThread()
        self.access = self.backend.open(self.guest.vm, self)

    def open(self, vm: Any) -> Any:
        return self.backend.open(vm, self)

    def successor(self, of: Any, uuid: str) -> Any:
        found = self.backend.successor(of, uuid)
        return None if found is None else self.open(found)

    def context(self) -> OperationContext:
        return OperationContext(
            self.guest.vm, self.access, self.reporter, self.control, self.holder
        )

    def freeze(self, **schedule: float) -> Outcome:
        times = {"first_timeout_s": 60.0, "probes": 0, "hold_s": 0.2, "thaw_timeout_s": 60.0}
        given: Any = {**times, **schedule}
        request = FreezeRequest(schedule=Schedule(**given))
        return FreezeOperation(self.context(), request).run()

    @property
    def did(self) -> list[str]:
        assert isinstance(self.holder, HolderThread)
        return self.holder.did


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)


def evidence(outcome: Outcome, name: str) -> str:
    return next(str(one.result) for one in outcome.evidence if one.name == name)


def test_a_freeze_is_held_and_thawed_by_calls(harness: Harness) -> None:
    outcome = harness.freeze()
    assert (outcome.kind, outcome.frozen, outcome.thawed) == (OutcomeKind.VERIFIED, 2, 2)
    assert outcome.settled
    assert not harness.guest.frozen
    assert harness.guest.called.count(FREEZE) == harness.guest.called.count(THAW) == 1
    assert harness.did == ["arm", "intent", "hold", "thawing", "disarm"]


def test_what_calls_cannot_show_is_missing_evidence(harness: Harness) -> None:
    harness.guest.shows_port = False
    outcome = harness.freeze()
    assert (outcome.kind, outcome.thawed) == (OutcomeKind.UNVERIFIED, 2)
    assert "its backend does not show the agent's port" in outcome.reason
    assert (evidence(outcome, "port"), evidence(outcome, "read")) == ("unknown", "unknown")
    assert not outcome.certified


def test_nothing_stands_behind_a_call_that_is_waited_for(harness: Harness) -> None:
    harness.guest.freeze_s = 0.6
    outcome = harness.freeze(first_timeout_s=0.2, probe_timeout_s=0.2, probes=5)
    assert outcome.kind is OutcomeKind.VERIFIED
    assert harness.guest.called[harness.guest.called.index(FREEZE) + 1] == STATUS
    assert harness.guest.called.count(STATUS) == 6  # in all: nobody asks while it is pending


def test_the_machine_that_we_run_on_is_refused_by_its_uuid(harness: Harness) -> None:
    ours = "46eb9f11-4b64-487c-8a8b-f8abfa3617e3"
    harness.patch.setattr("agentclient.operations.preflight.own_uuid", lambda: ours)
    harness.guest.uuid = ours.upper()
    harness.access = harness.backend.open(harness.guest.vm, harness)
    outcome = harness.freeze()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.SELF)
    assert not harness.guest.called


def test_an_agent_that_stays_away_is_waited_for_no_longer_than_a_thaw_may_take(
    harness: Harness,
) -> None:
    harness.guest.dies = Cause.AGENT_GONE
    outcome = harness.freeze(first_timeout_s=3600.0, thaw_timeout_s=1.0)
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.AGENT_GONE)
    assert (outcome.thawed, outcome.settled) == (None, False)
    assert outcome.seconds < 60.0, "and not the rest of an hour"


def comes_back(guest: MemoryGuest, after_s: float) -> None:
    """Have somebody start another agent, a while after this one has died."""

    def start() -> None:
        while guest.agent:
            time.sleep(0.005)
        time.sleep(after_s)
        guest.dies, guest.agent = None, True

    threading.Thread(target=start, daemon=True).start()


def test_an_agent_that_dies_in_the_call_is_lost_at_once(harness: Harness) -> None:
    harness.guest.dies, harness.guest.freeze_s = Cause.AGENT_GONE, 0.2
    comes_back(harness.guest, 1.5)
    outcome = harness.freeze(first_timeout_s=3600.0)
    assert (outcome.kind, outcome.settled) == (OutcomeKind.LOST, True)
    assert outcome.cause is Cause.AGENT_GONE
    assert "the agent has disappeared" in outcome.reason
    assert outcome.seconds < 60.0
    assert THAW in harness.guest.called


@pytest.mark.parametrize(
    "cause",
    [Cause.AGENT_RESTARTED, Cause.GUEST_RESET, Cause.GUEST_SUSPENDED, Cause.CHANNEL_BROKEN],
)
def test_a_lost_call_has_the_cause_that_the_hypervisor_tells(
    harness: Harness, cause: Cause
) -> None:
    harness.guest.dies = cause
    comes_back(harness.guest, 0.3)
    outcome = harness.freeze()
    assert (outcome.kind, outcome.cause, outcome.settled) == (OutcomeKind.LOST, cause, True)
    assert ("the channel broke" in outcome.reason) is (cause is Cause.CHANNEL_BROKEN)
    asked_first = cause is Cause.GUEST_RESET  # a reset guest is thawed: its hook would run alone
    assert (THAW not in harness.guest.called) is asked_first


@pytest.mark.parametrize("word", [Cause.VM_GONE, Cause.GUEST_SHUTDOWN])
def test_that_the_vm_has_ended_is_proven_and_not_told(harness: Harness, word: Cause) -> None:
    harness.guest.dies, harness.guest.unknown = word, True
    comes_back(harness.guest, 0.3)
    outcome = harness.freeze()
    assert (outcome.cause, outcome.thawed) == (Cause.CHANNEL_BROKEN, 0)


def test_a_vm_that_ends_in_the_call_is_gone(harness: Harness) -> None:
    harness.guest.dies, harness.guest.freeze_s = Cause.VM_GONE, 0.5

    def end_in_the_call() -> None:
        until(lambda: FREEZE in harness.guest.called, "the call")
        harness.guest.ended = True

    threading.Thread(target=end_in_the_call).start()
    outcome = harness.freeze()
    assert (outcome.kind, outcome.cause, outcome.settled) == (
        OutcomeKind.LOST,
        Cause.VM_GONE,
        True,
    )
    assert THAW not in harness.guest.called


def migrates(harness: Harness) -> MemoryGuest:
    """Have the guest run as another VM of its backend from its freeze on; return that."""
    harness.guest.uuid = "8d5c1f5e"
    taker = harness.backend.guests["db1-b"] = MemoryGuest("db1-b", uuid="8d5c1f5e", freezable=True)
    harness.guest.dies, harness.guest.freeze_s = Cause.MIGRATED, 0.2
    taker.frozen = True
    harness.access = harness.backend.open(harness.guest.vm, harness)
    return taker


def test_a_guest_that_migrates_in_its_call_is_thawed_where_it_runs_now(harness: Harness) -> None:
    taker = migrates(harness)
    outcome = harness.freeze()
    assert (outcome.kind, outcome.cause) == (OutcomeKind.PARTIAL, Cause.MIGRATED)
    assert (outcome.settled, taker.frozen) == (True, False)
    assert "it has migrated: it runs on node2 now, as cloud:node2/db1-b" in outcome.reason


def test_a_guest_that_has_migrated_to_nobody_known_is_told_loudly(harness: Harness) -> None:
    harness.patch.setattr(thaw, "TARGET_S", 0.3)
    migrates(harness).uuid = "another"
    outcome = harness.freeze()
    assert (outcome.cause, outcome.settled) == (Cause.MIGRATED, False)
    assert "thaw cloud:node2/db1 from its new host" in str(outcome.next)


def test_a_call_that_is_not_answered_is_a_timeout_and_thawed(harness: Harness) -> None:
    harness.guest.freeze_s = 60.0
    outcome = harness.freeze(first_timeout_s=0.4)
    assert (outcome.kind, outcome.settled) == (OutcomeKind.TIMEOUT, True)
    assert harness.guest.called.count(THAW) == 1


def test_a_call_that_hangs_beyond_its_bound_keeps_no_thaw_waiting(harness: Harness) -> None:
    hangs = harness.guest.thread_hangs[FREEZE] = threading.Event()
    outcome = harness.freeze(first_timeout_s=0.4)
    assert (outcome.kind, outcome.settled) == (OutcomeKind.TIMEOUT, True)
    assert hanging(), "the thaw has waited for the call"
    hangs.set()


def hanging() -> list[threading.Thread]:
    """Return the threads of the calls that have not returned."""
    return [one for one in threading.enumerate() if one.name.startswith("call ")]


def test_calls_that_hang_pile_up_no_threads(harness: Harness) -> None:
    hangs = threading.Event()
    harness.guest.thread_hangs.update({FREEZE: hangs, THAW: hangs})
    for _ in range(2):
        assert not harness.freeze(first_timeout_s=0.2, thaw_timeout_s=1.0).settled
    assert 1 <= len(hanging()) <= 4
    hangs.set()


def test_it_is_given_up_while_its_call_hangs(harness: Harness) -> None:
    hangs = harness.guest.thread_hangs[FREEZE] = threading.Event()

    def give_up() -> None:
        while FREEZE not in harness.guest.called:
            time.sleep(0.005)
        harness.control.add(Instruction.GIVE_UP)

    threading.Thread(target=give_up, daemon=True).start()
    outcome = harness.freeze(first_timeout_s=3600.0)
    assert hanging(), "it has waited for the call"
    assert not outcome.settled
    assert "take" in harness.did
    hangs.set()


def test_a_busy_agent_is_sent_no_freeze(harness: Harness) -> None:
    harness.guest.busy = "held by a snapshot"
    outcome = harness.freeze()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
    assert "held by a snapshot" in outcome.reason
    assert FREEZE not in harness.guest.called


def test_a_freeze_that_others_keep_out_is_not_thawed(harness: Harness) -> None:
    """What the other one does may be a freeze of its own, which a thaw of ours would end."""
    real = MemoryCalls.call

    def others_first(calls: MemoryCalls, command: str, *rest: Any) -> object:
        if command == FREEZE:
            harness.guest.busy = "held by a backup"
        return real(calls, command, *rest)

    harness.patch.setattr(MemoryCalls, "call", others_first)
    outcome = harness.freeze()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.BUSY)
    assert outcome.reason == "held by a backup; the freeze was not sent"
    assert (outcome.next or "").startswith("wait for its turn, then: frostwatch freeze ")
    assert THAW not in harness.guest.called


def test_a_foreign_freeze_is_left_alone(harness: Harness) -> None:
    harness.guest.frozen = True
    outcome = harness.freeze()
    assert outcome.refusal is Refusal.ALREADY_FROZEN
    thaw = ThawOperation(harness.context(), ours=False, timeout_s=3.0).run()
    assert thaw.refused
    assert harness.guest.frozen
    thaw = ThawOperation(harness.context(), foreign=True, ours=False, timeout_s=3.0).run()
    assert (thaw.ok, thaw.thawed, harness.guest.frozen) == (True, 2, False)


def test_a_vm_that_cannot_be_asked_about_is_not_gone(harness: Harness) -> None:
    harness.guest.unknown = True
    assert harness.access.is_gone() is None
    assert harness.freeze().kind is OutcomeKind.VERIFIED


def test_a_vm_that_has_ended_is_not_frozen(harness: Harness) -> None:
    harness.guest.ended = True
    assert harness.freeze().refusal is Refusal.NO_AGENT


def test_without_a_holder_that_reaches_it_nothing_is_sent(harness: Harness) -> None:
    harness.holder = HolderClient()
    outcome = harness.freeze()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.HOLDER)
    assert (
        "the holder can't reach the guest: tests.unit.memory_backend:calls_here" in outcome.reason
    )
    assert FREEZE not in harness.guest.called


def test_a_freeze_by_calls_is_in_the_fleet_and_in_the_journal(tmp_path: Path) -> None:
    backend = MemoryBackend("db1")
    backend.guests["db1"].freezable = True
    fleet, journal = Fleet(), Journal(tmp_path / "journal")
    fleet.set_vms("cloud", backend.list_vms())
    accesses = AccessPool(Backends([backend]))
    operations = OperationManager(fleet, accesses, holder=HolderThread(), journal=journal)
    request = FreezeRequest(schedule=Schedule(hold_s=0.2))
    outcome = operations.freeze(backend.guests["db1"].vm, request).wait(60.0)
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.thawed) == (OutcomeKind.VERIFIED, 2)
    operations.stop(1.0)
    flush(journal)
    (row,) = rows(journal)
    assert (row.vm, row.settled) == ("cloud:node2/db1", True)
    accesses.close()
    journal.close()
