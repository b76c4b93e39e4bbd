"""A group: complete is told at once, its clock is true, and what failed is not called thawed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from agentclient.model.errors import BadInput
from agentclient.model.events import Event, EventKind, OnEvent
from agentclient.model.outcome import GroupOutcome, Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.states import Level, OutcomeKind
from agentclient.model.vm import Vm, VmId
from agentclient.operations.group import GroupFreeze, group_request
from tests.event_details import event_details
from tests.waiting import until

WELL = Outcome(OutcomeKind.VERIFIED, "frozen", certified=True, settled=True)
LOST = Outcome(OutcomeKind.LOST, "no answer will come", settled=False)
VMS = [Vm(VmId("qemu", name)) for name in ("a", "b")]


@dataclass
class FakeMember:
    vm: Vm
    on_event: OnEvent
    ends: Outcome
    extended: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    outcome: Outcome | None = None
    group_error: str | None = None

    def tell(self, kind: EventKind, **fields: object) -> None:
        at = datetime.now(UTC)
        self.on_event(Event(self.vm.id, at, kind, Level.INFO, str(kind), event_details(**fields)))

    def freeze(self) -> None:
        self.tell(EventKind.REPLY)
        self.tell(EventKind.HELD)

    def lose(self) -> None:
        self.tell(EventKind.VERDICT, outcome=LOST)

    def cancel(self) -> None:
        self.outcome = self.ends

    def end_hold(self) -> None:
        self.outcome = self.ends
        self.tell(EventKind.OUTCOME, outcome=self.ends)

    def extend_hold(self, seconds: float) -> None:
        self.extended.append(seconds)

    def fail_together(self, why: str) -> None:
        self.group_error = why

    def note(self, text: str) -> None:
        self.notes.append(text)

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        del timeout_s
        return self.outcome


class FakeFreezes:
    def __init__(self, ends: list[Outcome]) -> None:
        self._ends = ends
        self.members: list[FakeMember] = []

    def freeze(self, vm: Vm, request: FreezeRequest, on_event: OnEvent | None = None) -> FakeMember:
        del request
        assert on_event is not None
        self.members.append(FakeMember(vm, on_event, self._ends[len(self.members)]))
        return self.members[-1]


TOLD: list[GroupOutcome] = []


def group_of(
    ends: list[Outcome], hold_s: float, on_group: Callable[[GroupOutcome], None] = TOLD.append
) -> tuple[GroupFreeze[FakeMember], FakeFreezes]:
    TOLD.clear()
    freezes = FakeFreezes(ends)
    request = FreezeRequest(schedule=Schedule(hold_s=hold_s))
    group = GroupFreeze(freezes, VMS, request, within_s=30.0, on_group=on_group)
    group.start()
    return group, freezes


def test_complete_is_told_at_once_and_the_windows_end_with_the_group() -> None:
    group, freezes = group_of([WELL, WELL], hold_s=2.0)
    for member in freezes.members:
        member.freeze()
    until(lambda: group.complete is not None)
    assert group.outcome is None, "it is held yet"
    until(lambda: bool(TOLD))
    (complete,) = TOLD
    assert (complete.together, complete.final, complete.hold_s) == (True, False, 2.0)
    assert "2 VMs are frozen together" in str(group.complete)
    for member in freezes.members:
        (less,) = member.extended
        assert -29.1 <= less <= -28.0  # of 32 s there are 3 left: its hold, and one to spare
        assert any("frozen together" in note for note in member.notes)
    outcome = group.wait(60)
    assert outcome is not None
    assert outcome.together
    assert [one.final for one in TOLD] == [False, True]
    assert {member.group_error for member in freezes.members} == {None}


def test_a_group_that_failed_names_who_may_still_be_frozen() -> None:
    group, freezes = group_of([WELL, LOST], hold_s=2.0)
    freezes.members[0].freeze()
    freezes.members[1].lose()
    outcome = group.wait(60)
    assert outcome is not None
    assert not outcome.together
    assert outcome.failed == (VMS[1].id,)
    assert all(member.group_error == "qemu:b lost" for member in freezes.members)
    assert outcome.reason.startswith("b MAY STILL BE FROZEN; NOT frozen together: qemu:b lost")
    assert "all are thawed" not in outcome.reason


def test_a_group_that_failed_and_was_thawed_says_so() -> None:
    group, freezes = group_of([WELL, LOST._replace(settled=True)], hold_s=2.0)
    freezes.members[0].freeze()
    freezes.members[1].lose()
    outcome = group.wait(60)
    assert outcome is not None
    assert outcome.reason.endswith("all are thawed again")


def test_a_listener_that_fails_keeps_nobody_frozen() -> None:
    def broken(_: GroupOutcome) -> None:
        raise RuntimeError("a bug")

    group, freezes = group_of([WELL, WELL], hold_s=0.1, on_group=broken)
    for member in freezes.members:
        member.freeze()
    outcome = group.wait(60.0)
    assert outcome is not None
    assert outcome.together
    assert [member.outcome for member in freezes.members] == [WELL, WELL], "all are thawed"
    assert "a listener failed: RuntimeError('a bug')" in freezes.members[0].notes


def test_one_that_cannot_be_begun_has_those_before_it_thawed_at_once() -> None:
    freezes = FakeFreezes([WELL])  # the second raises an IndexError
    group = GroupFreeze(freezes, VMS, FreezeRequest(), within_s=30.0, on_group=TOLD.append)
    began = time.monotonic()
    with pytest.raises(IndexError):
        group.start()
    (first,) = freezes.members
    assert group.members == (first,)
    outcome = group.wait(20.0)
    assert outcome is not None, "it waits for one that was never begun"
    assert time.monotonic() - began < 10.0
    assert (outcome.together, outcome.failed) == (False, (VMS[1].id,))
    assert first.outcome is WELL, "it was told to thaw"
    assert "qemu:b could not be begun: IndexError" in outcome.reason
    assert outcome.reason.endswith("all are thawed again")


def test_a_window_bridges_the_wait_for_the_others_up_to_its_own_bound() -> None:
    request = FreezeRequest(schedule=Schedule(hold_s=30.0, maximum_hold_s=60.0))
    schedule = group_request(request, 30.0).schedule
    assert (schedule.hold_s, schedule.bridge_s) == (60.0, 30.0)
    with pytest.raises(BadInput, match="choose a shorter --hold or --within"):
        group_request(request, 30.5)


def test_one_whose_own_end_shows_that_it_was_broken_fails_the_group() -> None:
    broken = Outcome(OutcomeKind.BROKEN, "thawed in between", settled=True)
    group, freezes = group_of([broken, WELL], hold_s=0.1)  # the second is thawed first
    for member in freezes.members:
        member.freeze()
    outcome = group.wait(60)
    assert outcome is not None
    assert not outcome.together
    assert outcome.failed == (VMS[0].id,)
    assert outcome.reason == (
        "NOT frozen together: broken while they were held: qemu:a broken; all are thawed again"
    )
    errors = {member.group_error for member in freezes.members}
    assert errors == {"broken while they were held: qemu:a broken"}
    assert "group: NOT frozen together" in freezes.members[1].notes[-1]
    assert [one.together for one in TOLD] == [True, False]
