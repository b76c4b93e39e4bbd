"""Marks and ranges: by keys, by the mouse, and without a screen."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState
from agentclient.model.vm import VmId
from tests.console.console_session import ConsoleSession, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, put
from tests.console.test_view import change, view_of
from tui.console.model.filter import Filter
from tui.console.model.marks import Marks
from tui.console.widgets.table.widget import VmTable


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    return fleet_of(["a", "b", "c", "d", "e"], still)


def marked(session: ConsoleSession) -> str:
    return names(session.app.view.marks.all)


def names(vm_ids: Iterable[VmId]) -> str:
    return "".join(sorted(vm_id.name for vm_id in vm_ids))


# -- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected", "cursor"),
    [
        ("space", "a", "b"),
        ("space space", "ab", "c"),
        ("space up space", "", "b"),
        ("G space", "e", "e"),
        ("J J", "abc", "c"),
        ("shift+down shift+down", "abc", "c"),
        ("J J K", "ab", "b"),
        ("j j K K", "abc", "a"),
        ("j j J K K", "bc", "b"),
        ("j space j j v", "bcde", "e"),
        ("G space g v", "abcde", "a"),
        ("space j v v", "abc", "c"),
        ("v", "a", "a"),
        ("J j j J", "abde", "e"),
        ("a", "abcde", "a"),
        ("asterisk", "abcde", "a"),
        ("a escape", "", "a"),
        ("slash b enter a escape", "b", "b"),
        ("slash b enter a escape escape", "", "b"),
    ],
)
async def test_keys_mark(
    fleet: Fleet, still: StillClock, keys: str, expected: str, cursor: str
) -> None:
    async with console_session(fleet, still) as session:
        await session.press(*keys.split())
        assert marked(session) == expected
        assert session.app.view.cursor == qemu(cursor) or "slash" in keys


async def test_the_header_counts_marks_also_those_that_nobody_sees(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("J", "J")
        assert "★ 3 marked " in session.lines[0]
        await session.press("slash", "c", "enter")
        assert "3 marked, 2 hidden" in session.lines[0]
        await session.press("escape")
        assert "hidden" not in session.lines[0]
        await session.press("escape")
        assert "marked" not in session.lines[0]


async def test_marks_are_what_an_action_means(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.press("j", "J", "f")
        assert "Freeze the file systems of 2 VMs?" in session.text
        assert "qemu:b" in session.text
        assert "qemu:c" in session.text


async def test_rows_that_move_end_a_range(fleet: Fleet, still: StillClock) -> None:
    """What comes in between later is not marked by a key that was meant for others."""
    async with console_session(fleet, still) as session:
        await session.press("J")
        put(fleet, qemu("e"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
        await session.settle(3)
        assert [vm_id.name for vm_id in session.app.view.rows] == ["e", "a", "b", "c", "d"]
        await session.press("J")
        assert marked(session) == "abc"


# -- the mouse ----------------------------------------------------------------------------------


async def test_a_click_in_the_margin_marks(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.pilot.click(VmTable, offset=(1, 3))
        assert (marked(session), session.app.view.cursor) == ("c", qemu("c"))
        await session.pilot.click(VmTable, offset=(10, 2))
        assert marked(session) == "c"
        await session.pilot.click(VmTable, offset=(10, 2), control=True)
        assert marked(session) == "bc"


async def test_a_click_with_shift_marks_a_range(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.pilot.click(VmTable, offset=(10, 2))
        await session.pilot.click(VmTable, offset=(10, 4), shift=True)
        assert marked(session) == "bcd"
        await session.pilot.click(VmTable, offset=(10, 3), shift=True)
        assert marked(session) == "bc"


# -- the model ----------------------------------------------------------------------------------


def test_a_range_leaves_marks_that_were_there_before_it() -> None:
    view = view_of("a", "b", "c", "d")
    view.go_to_row(2)
    view.toggle_mark()
    view.go_to_row(0)
    for rows in (1, 1, 1, -1, -1, -1):
        view.extend_marks(rows)
    assert names(view.marks.all) == "ac"


def test_a_hidden_anchor_begins_no_range() -> None:
    view = view_of("a1", "b1", "b2", "b3")
    view.toggle_mark()
    view.filter_by(Filter("b"))
    view.go_to_row(1)
    view.mark_to(qemu("b3"))
    assert {vm_id.name for vm_id in view.marks.all} == {"a1", "b2", "b3"}
    assert view.hidden_marks == 1


def test_a_vm_that_has_gone_is_not_marked_when_it_comes_back() -> None:
    view = view_of("a", "b", "c")
    view.extend_marks(1)
    view.apply(change(removed=("a",)))
    view.apply(change("a"))
    assert names(view.marks.all) == "b"
    view.extend_marks(1)
    assert names(view.marks.all) == "bc"


_VMS = st.sampled_from([qemu(name) for name in "abcdef"])


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("toggle"), _VMS),
            st.tuples(st.just("begin"), _VMS),
            st.tuples(st.just("stretch"), st.sets(_VMS)),
            st.tuples(st.just("add"), st.sets(_VMS)),
            st.tuples(st.just("drop"), _VMS),
        )
    )
)
def test_a_stretch_never_loses_a_mark_that_was_there_before_its_range(
    steps: list[tuple[str, VmId | set[VmId]]],
) -> None:
    marks, before = Marks(), frozenset[VmId]()
    for what, value in steps:
        getattr(marks, what)(value)
        if what == "drop":
            assert isinstance(value, VmId)
            before -= {value}
            assert value not in marks
        elif what != "stretch":
            before = marks.all
        assert before <= marks.all
