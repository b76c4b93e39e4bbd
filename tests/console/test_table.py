"""The table on a screen: what it paints, how little of it, and where the cursor goes."""

from __future__ import annotations

from typing import Any, cast

import pytest
from textual.geometry import Region

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import AgentHealth, FreezeInfo, VmState
from agentclient.model.states import AgentState, FreezeState, RunState
from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import HOSTILE_NAMES, every_state, fleet_of, make_vm, pending, put
from tui.console.model.order import Order
from tui.console.widgets.table.widget import VmTable
from tui.shared.glyphs import Signs


def painted(session: ConsoleSession, monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    """Return a list that fills with the regions that the table repaints."""
    regions: list[Region] = []
    table = session.app.query_one(VmTable)
    refresh = table.refresh

    def noted(*wanted: Region, **options: Any) -> Any:
        regions.extend(wanted or [Region(0, 0, *table.size)])
        return refresh(*wanted, **options)

    monkeypatch.setattr(table, "refresh", noted)
    return regions


async def test_small_screen(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=SMALL) as session:
        line = session.line_of("app-1 ")
        for words in ("● alive", "◐ freezing", "2/6  7:41", "47:41", "12:19"):
            assert words in line
        assert "0:42/1:00" in session.text
        assert "≥12:03" in session.line_of("db-2")


async def test_large_screen(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=LARGE) as session:
        line = session.line_of("mail ")
        for words in ("qemu", "▸ running", "● alive", "reply", "✗ lost", "agent-restarted"):
            assert words in line
        assert len([line for line in session.lines if " qemu " in line or " socket " in line]) == 16


async def test_only_the_changed_cells_are_painted(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of([f"vm-{number:02}" for number in range(10)], still)
    async with console_session(fleet, still, size=LARGE) as session:
        regions = painted(session, monkeypatch)
        await session.settle()
        assert regions == []
        put(fleet, qemu("vm-04"), agent=AgentHealth(AgentState.OPEN))
        await session.settle()
        assert {region.y for region in regions} == {5}
        assert [region.width for region in regions] == [9, 7]  # AGENT, and a word of KNOWN BY
        assert "○ open" in session.line_of("vm-04")


async def test_a_second_paints_running_clocks_alone(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    put(fleet, qemu("b"), progress=pending(still))
    async with console_session(fleet, still) as session:
        regions = painted(session, monkeypatch)
        still.advance(1)
        session.app.parts.second()
        await session.pilot.pause()
        assert {region.y for region in regions} == {1}
        assert {region.width for region in regions} == {1, 2}  # the last digits of each clock
        assert "2/6  7:40" in session.line_of("b ")


async def test_painting_costs_what_is_visible(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of([f"vm-{number:04}" for number in range(2000)], still)
    async with console_session(fleet, still, size=SMALL) as session:
        table = session.app.query_one(VmTable)
        asked: list[object] = []
        at = session.app.view.at

        def watched(row: int) -> VmState | None:
            asked.append(row)
            return at(row)

        monkeypatch.setattr(session.app.view, "at", watched)
        table.update_lines()
        assert 0 < len(asked) <= table.size.height * 2
        await session.press("end")
        assert session.cursor == "vm-1999"


async def test_keys_move_the_cursor(still: StillClock) -> None:
    fleet = fleet_of([f"vm-{number:02}" for number in range(40)], still)
    async with console_session(fleet, still) as session:
        for keys, name in (
            (["down", "j", "j"], "vm-03"),
            (["up", "k"], "vm-01"),
            (["G"], "vm-39"),
            (["g"], "vm-00"),
            (["pagedown"], "vm-08"),
            (["pageup"], "vm-00"),
            (["end"], "vm-39"),
            (["home", "up"], "vm-00"),
        ):
            await session.press(*keys)
            assert session.cursor == name, keys


async def test_the_mouse_moves_the_cursor(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b", "c"], still), still) as session:
        await session.pilot.click(VmTable, offset=(10, 3))
        assert session.cursor == "c"


async def test_the_cursor_follows_its_vm_through_the_sort_key(still: StillClock) -> None:
    fleet = fleet_of([f"vm-{number:02}" for number in range(40)], still)
    put(fleet, qemu("vm-39"), agent=AgentHealth(AgentState.SILENT))
    async with console_session(fleet, still) as session:
        assert session.cursor == "vm-39"
        await session.press("home", "s")
        assert "by name" in session.notice
        assert session.cursor == "vm-39"
        await session.press("s", "s", "s")
        assert "trouble first" in session.notice
        assert session.cursor == "vm-39"
        assert session.lines[2].startswith("▌")


async def test_the_cursor_follows_its_vm_through_the_filter_key(still: StillClock) -> None:
    async with console_session(fleet_of(["db-1", "web-1", "web-2"], still), still) as session:
        await session.press("end", "slash", *"db", "enter")
        assert session.cursor == "db-1"
        assert "1 of 3 VMs" in session.lines[0]
        await session.press("escape")
        assert session.cursor == "web-2"


async def test_the_cursor_follows_its_vm_when_others_come_and_go(still: StillClock) -> None:
    fleet = fleet_of(["m", "n"], still)
    async with console_session(fleet, still) as session:
        await session.press("down")
        fleet.set_vms("qemu", [make_vm(name) for name in ("a", "b")] + list(_vms(fleet)))
        await session.settle(3)
        assert session.cursor == "n"
        fleet.set_vms("qemu", [vm for vm in _vms(fleet) if vm.name != "n"])
        fleet.forget_absent()
        await session.settle(3)
        assert session.cursor == "m"


def _vms(fleet: Fleet) -> list[Any]:
    return [state.vm for state in fleet.states()]


async def test_rows_stay_for_two_seconds_after_the_finger_moved(still: StillClock) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    async with console_session(fleet, still) as session:
        await session.press("down")
        put(fleet, qemu("c"), run_state=RunState.PANICKED)
        await session.settle(1.0)
        assert _names(session) == ["a", "b", "c"]
        await session.settle(1.5)
        assert _names(session) == ["c", "a", "b"]
        assert session.cursor == "b"


def _names(session: ConsoleSession) -> list[str]:
    return [vm_id.name for vm_id in session.app.view.rows]


async def test_an_empty_fleet_says_what_to_do(still: StillClock) -> None:
    async with console_session(Fleet(), still) as session:
        assert "No VM was found" in session.text
        assert "frostwatch doctor" in session.text
        assert "--vm name=N,agent=PATH" in session.text
        await session.press("f", "t", "x", "space", "j")
        assert session.dialog == ""


async def test_a_source_that_can_not_look_is_told(still: StillClock) -> None:
    async with console_session(Fleet(), still) as session:
        session.watcher.problems = ("qemu: no permission to read /proc (run this as root)",)
        await session.settle()
        assert "no permission to read" in session.notice
        assert sum("no permission to read" in line for line in session.lines) == 2


async def test_a_filter_without_a_match_says_so(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("slash", *"zz")
        assert "Nothing matches the filter" in session.text
        await session.press("escape")
        assert session.cursor == "a"


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_hostile_names_are_rows(still: StillClock, size: tuple[int, int]) -> None:
    async with console_session(fleet_of(HOSTILE_NAMES, still), still, size=size) as session:
        assert "db[/]1" in session.text
        assert "\\x1b[31mred" in session.text
        for row in range(len(HOSTILE_NAMES)):
            session.app.view.go_to_row(row)
            await session.settle()
            strips = session.app.screen._compositor.render_strips()
            assert {strip.cell_length for strip in strips} == {size[0]}
            assert "\x1b" not in session.text


async def test_hostile_names_can_be_asked_about(still: StillClock) -> None:
    async with console_session(fleet_of(HOSTILE_NAMES, still), still) as session:
        for row in range(len(HOSTILE_NAMES)):
            session.app.view.toggle_mark()
            session.app.view.go_to_row(row + 1)
        await session.press("f")
        assert "Freeze the file systems of 9 VMs?" in session.text
        assert "\x1b" not in session.text
        await session.press("enter")
        assert len(session.operations.started) == 9


async def test_one_broken_vm_is_one_broken_row(still: StillClock) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    put(fleet, qemu("b"), agent=AgentHealth(cast(AgentState, "nonsense")))
    async with console_session(fleet, still, size=LARGE) as session:
        assert "can't be shown" in session.line_of("qemu:b")
        assert "● alive" in session.line_of(" c ")
        await session.press("down")
        assert "can't be shown" in "".join(session.lines[8:])
        for _ in Order:
            await session.press("s")
        assert session.cursor == "qemu:b"


async def test_marks_are_seen(still: StillClock) -> None:
    async with console_session(fleet_of(["a", "b"], still), still) as session:
        await session.press("space")
        assert session.lines[2].startswith(" ★ a")
        assert session.cursor == "b"
        assert "1 marked" in session.lines[0]
        await session.press("up", "space")
        assert session.lines[2].startswith("   a")
        assert "marked" not in session.lines[0]


async def test_ascii_mode_shows_nothing_else(still: StillClock) -> None:
    fleet = every_state(still)
    fleet.set_vms("socket", [make_vm("naïve-日本", source="socket")])
    async with console_session(fleet, still, signs=Signs(ascii=True)) as session:
        for keys in ((), ("f",), ("escape", "question_mark"), ("escape", "slash", "x")):
            await session.press(*keys)
            assert session.text.isascii(), keys
        await session.press("escape")
        assert "( freezing" in session.line_of("app-1 ")
        assert "F foreign" in session.line_of("db-2  ")
        assert session.cursor == "old-win"


async def test_counts_in_the_header(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with console_session(fleet, still, size=LARGE) as session:
        assert "❆ 0 frozen" in session.lines[0]
        put(fleet, qemu("a"), freeze=FreezeInfo(FreezeState.FROZEN))
        await session.settle()
        assert "❆ 1 frozen" in session.lines[0]
        fleet.update(qemu("a"), lambda state: state._replace(present=False))
        fleet.forget_absent()
        await session.settle()
        assert "❆ 0 frozen" in session.lines[0]
        assert " 1 VM " in session.lines[0]


async def test_a_crowded_header_keeps_every_count_that_is_not_zero(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=SMALL, read_only=True) as session:
        await session.press("space")
        for words in ("READ-ONLY", "frozen", "freezing", "foreign", "silent", "lost", "marked"):
            assert words in session.lines[0]


async def test_each_source_that_can_not_look_is_told_and_none_twice(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        session.watcher.problems = ("qemu: it hangs",)
        await session.settle(20)
        assert "qemu: it hangs" in session.notice
        session.watcher.problems = ("qemu: it hangs", "libvirt: no daemon")
        await session.settle(20)
        assert "libvirt: no daemon" in session.notice
        session.watcher.problems = ("qemu: it hangs",)
        await session.settle(20)
        assert "libvirt: no daemon" in session.notice, "nothing is new"
        session.watcher.problems = ("a: one", "qemu: it hangs", "z: another")
        await session.settle(20)
        assert "a: one (and 1 source more)" in session.notice
