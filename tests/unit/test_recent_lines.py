"""The lines of all VMs in one row: none is replaced, and what falls out is counted."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from agentclient.fleet.recent_lines import FleetLine, RecentLines
from agentclient.fleet.store import Fleet
from agentclient.fleet.told import tell_change
from agentclient.model.snapshot import FreezeInfo, VmState
from agentclient.model.states import FreezeState, Level
from agentclient.model.vm import Process, Vm, VmId
from tui.console.model.event_list import GRADES, EventList, Wanted

AT = datetime(2026, 1, 1, tzinfo=UTC)
A, B = VmId("qemu", "a"), VmId("qemu", "b")


@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(1, 30), st.integers(500, 20_000))
def test_the_newest_are_kept_in_order_and_the_rest_is_counted(
    sizes: list[int], most: int, most_bytes: int
) -> None:
    recent = RecentLines(lines=most, total_bytes=most_bytes)
    for number, size in enumerate(sizes):
        recent.add(A if number % 2 else B, AT, Level.INFO, f"{number} " + "x" * size)
    kept = recent.since()
    assert [one.number for one in kept] == list(range(recent.dropped + 1, len(sizes) + 1))
    assert len(kept) <= most
    assert all(one.text.startswith(f"{one.number - 1} ") for one in kept)
    assert sizes == [] or kept, "the newest is always there"
    for seen in range(len(sizes) + 1):
        assert recent.since(seen) == tuple(one for one in kept if one.number > seen)


def fleet() -> Fleet:
    found = Fleet(wall=lambda: AT)
    found.set_vms("qemu", [Vm(A, process=Process(1, 1)), Vm(B, process=Process(2, 1))])
    return found


def texts(found: Fleet) -> list[str]:
    return [f"{one.vm.name}: {one.text}" for one in found.lines_since()]


def test_what_becomes_of_vms_is_among_them() -> None:
    found = fleet()
    assert texts(found) == []
    found.set_vms("qemu", [Vm(A, process=Process(9, 9))])
    found.log(A, Level.ERROR, "lost")
    found.set_vms("qemu", [Vm(A, process=Process(9, 9)), Vm(B, process=Process(2, 1))])
    assert texts(found) == [
        "a: it was started again: another process runs it now",
        "b: its source does not list it any more",
        "a: lost",
        "b: its source lists it again",
    ]


def test_a_vm_that_is_forgotten_keeps_its_lines() -> None:
    found = fleet()
    found.log(B, Level.WARNING, "frozen")
    found.set_vms("qemu", [])
    found.forget_absent()
    assert found.log_since(B) == ()
    assert "b: frozen" in texts(found)


def test_the_end_of_a_foreign_freeze_is_among_them() -> None:
    found = fleet()
    frozen = VmState(Vm(A), freeze=FreezeInfo(FreezeState.FROZEN, foreign=True))
    tell_change(found, VmState(Vm(A)), frozen)
    tell_change(found, frozen, frozen._replace(freeze=FreezeInfo(FreezeState.THAWED)))
    tell_change(found, frozen, frozen._replace(freeze=FreezeInfo(None)))
    assert [text.partition(":")[2].split()[0:2] for text in texts(found)] == [
        ["a", "foreign"],
        ["thawed", "by"],
    ]


def test_what_is_wanted_is_found_by_words_and_by_how_much_it_matters() -> None:
    found = fleet()
    found.log(A, Level.DEBUG, "a detail")
    found.log(A, Level.INFO, "Freeze sent")
    found.log(B, Level.ERROR, "lost: the agent has gone")
    events = EventList(found)
    events.update()
    assert [one.text for one in events_of(events)] == ["Freeze sent", "lost: the agent has gone"]
    for text, count in (
        ("freeze", 1),
        ("!freeze", 1),
        ("qemu:b lost", 1),
        ("nothing", 0),
        ("!", 0),
    ):
        events.want(Wanted(text))
        assert len(events) == count, text
    for grade, count in ((1, 1), (2, 1), (3, 3)):
        events.want(Wanted("", grade))
        assert len(events) == count, GRADES[grade]


def test_what_fell_out_is_not_shown_any_more() -> None:
    found = fleet()
    found._recent = RecentLines(lines=3)
    events = EventList(found)
    for number in range(5):
        found.log(A, Level.INFO, str(number))
        events.update()
    assert events.dropped == 2
    assert [one.text for one in events_of(events)] == ["2", "3", "4"]
    assert events.place_of(events[1].number) == 1
    assert events.place_of(1) == 0
    found.log(A, Level.INFO, "5")
    assert events.update() == 1


def events_of(events: EventList) -> list[FleetLine]:
    return [events[place] for place in range(len(events))]
