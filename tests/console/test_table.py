"""The table on a screen: what it paints, how little of it, and where the cursor goes."""

from __future__ import annotations

from typing import Any, cast

import pytest
from textual.geometry import Region

from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import AgentHealth, FreezeInfo
from agentclient.model.states import AgentState, FreezeState, RunState
from tests.console.driving import LARGE, SMALL, Seat, qemu, seated
from tests.console.fakes import StillClock
from tests.console.fleets import HOSTILE_NAMES, every_state, fleet_of, make_vm, pending, put
from tui.console.model.order import Order
from tui.console.widgets.table.widget import VmTable
from tui.shared.glyphs import Signs


def painted(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> list[Region]:
    """Return a list that fills with the regions that the table repaints."""
    regions: list[Region] = []
    table = seat.app.query_one(VmTable)
    refresh = table.refresh

    def noted(*wanted: Region, **options: Any) -> Any:
        regions.extend(wanted or [Region(0, 0, *table.size)])
        return refresh(*wanted, **options)

    monkeypatch.setattr(table, "refresh", noted)
    return regions


async def test_small_screen(still: StillClock) -> None:
    async with seated(every_state(still), still, size=SMALL) as seat:
        line = seat.line_of("app-1 ")
        for words in ("● alive", "◐ freezing", "2/6  7:41", "47:41", "12:19"):
            assert words in line
        assert "0:42/1:00" in seat.line_of("app-2")
        assert "≥12:03" in seat.line_of("db-2")


async def test_large_screen(still: StillClock) -> None:
    async with seated(every_state(still), still, size=LARGE) as seat:
        line = seat.line_of("mail ")
        for words in ("qemu", "▸ running", "● alive", "reply", "✗ lost", "agent-restarted"):
            assert words in line
        assert len([line for line in seat.lines if " qemu " in line or " socket " in line]) == 16


async def test_only_the_changed_cells_are_painted(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of([f"vm-{number:02}" for number in range(10)], still)
    async with seated(fleet, still, size=LARGE) as seat:
        regions = painted(seat, monkeypatch)
        await seat.settle()
        assert regions == []
        put(fleet, qemu("vm-04"), agent=AgentHealth(AgentState.OPEN))
        await seat.settle()
        assert {region.y for region in regions} == {5}
        assert [region.width for region in regions] == [9, 7]  # AGENT, and a word of KNOWN BY
        assert "○ open" in seat.line_of("vm-04")


async def test_a_second_paints_running_clocks_alone(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    put(fleet, qemu("b"), progress=pending(still))
    async with seated(fleet, still) as seat:
        regions = painted(seat, monkeypatch)
        still.advance(1)
        seat.app.parts.second()
        await seat.pilot.pause()
        assert {region.y for region in regions} == {1}
        assert {region.width for region in regions} == {1, 2}  # the last digits of each clock
        assert "2/6  7:40" in seat.line_of("b ")


async def test_painting_costs_what_is_visible(still: StillClock) -> None:
    fleet = fleet_of([f"vm-{number:04}" for number in range(2000)], still)
    async with seated(fleet, still, size=SMALL) as seat:
        table = seat.app.query_one(VmTable)
        asked: list[object] = []
        at = seat.app.view.at
        seat.app.view.at = lambda row: asked.append(row) or at(row)  # type: ignore
        table.update_lines()
        assert 0 < len(asked) <= table.size.height * 2
        await seat.press("end")
        assert seat.cursor == "vm-1999"


async def test_keys_move_the_cursor(still: StillClock) -> None:
    fleet = fleet_of([f"vm-{number:02}" for number in range(40)], still)
    async with seated(fleet, still) as seat:
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
            await seat.press(*keys)
            assert seat.cursor == name, keys


async def test_the_mouse_moves_the_cursor(still: StillClock) -> None:
    async with seated(fleet_of(["a", "b", "c"], still), still) as seat:
        await seat.pilot.click(VmTable, offset=(10, 3))
        assert seat.cursor == "c"


async def test_the_cursor_follows_its_vm_through_the_sort_key(still: StillClock) -> None:
    fleet = fleet_of([f"vm-{number:02}" for number in range(40)], still)
    put(fleet, qemu("vm-39"), agent=AgentHealth(AgentState.SILENT))
    async with seated(fleet, still) as seat:
        assert seat.cursor == "vm-39"
        await seat.press("home", "s")
        assert "by name" in seat.notice
        assert seat.cursor == "vm-39"
        await seat.press("s", "s", "s")
        assert "trouble first" in seat.notice
        assert seat.cursor == "vm-39"
        assert seat.lines[2].startswith("▌")


async def test_the_cursor_follows_its_vm_through_the_filter_key(still: StillClock) -> None:
    async with seated(fleet_of(["db-1", "web-1", "web-2"], still), still) as seat:
        await seat.press("end", "slash", *"db", "enter")
        assert seat.cursor == "db-1"
        assert "1 of 3 VMs" in seat.lines[0]
        await seat.press("escape")
        assert seat.cursor == "web-2"


async def test_the_cursor_follows_its_vm_when_others_come_and_go(still: StillClock) -> None:
    fleet = fleet_of(["m", "n"], still)
    async with seated(fleet, still) as seat:
        await seat.press("down")
        fleet.set_vms("qemu", [make_vm(name) for name in ("a", "b")] + list(_vms(fleet)))
        await seat.settle(3)
        assert seat.cursor == "n"
        fleet.set_vms("qemu", [vm for vm in _vms(fleet) if vm.name != "n"])
        fleet.forget_absent()
        await seat.settle(3)
        assert seat.cursor == "m"


def _vms(fleet: Fleet) -> list[Any]:
    return [state.vm for state in fleet.states()]


async def test_rows_stay_for_two_seconds_after_the_finger_moved(still: StillClock) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    async with seated(fleet, still) as seat:
        await seat.press("down")
        put(fleet, qemu("c"), run_state=RunState.PANICKED)
        await seat.settle(1.0)
        assert _names(seat) == ["a", "b", "c"]
        await seat.settle(1.5)
        assert _names(seat) == ["c", "a", "b"]
        assert seat.cursor == "b"


def _names(seat: Seat) -> list[str]:
    return [vm_id.name for vm_id in seat.app.view.rows]


async def test_an_empty_fleet_says_what_to_do(still: StillClock) -> None:
    async with seated(Fleet(), still) as seat:
        assert "No VM was found" in seat.text
        assert "frostwatch doctor" in seat.text
        assert "--vm name=N,agent=PATH" in seat.text
        await seat.press("f", "t", "x", "space", "j")
        assert seat.dialog == ""


async def test_a_source_that_can_not_look_is_told(still: StillClock) -> None:
    async with seated(Fleet(), still) as seat:
        seat.watcher.problems = ("qemu: no permission to read /proc (run this as root)",)
        await seat.settle()
        assert "no permission to read" in seat.notice
        assert sum("no permission to read" in line for line in seat.lines) == 2


async def test_a_filter_without_a_match_says_so(still: StillClock) -> None:
    async with seated(fleet_of(["a"], still), still) as seat:
        await seat.press("slash", *"zz")
        assert "Nothing matches the filter" in seat.text
        await seat.press("escape")
        assert seat.cursor == "a"


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_hostile_names_are_rows(still: StillClock, size: tuple[int, int]) -> None:
    async with seated(fleet_of(HOSTILE_NAMES, still), still, size=size) as seat:
        assert "db[/]1" in seat.text
        assert "\\x1b[31mred" in seat.text
        for row in range(len(HOSTILE_NAMES)):
            seat.app.view.go_to_row(row)
            await seat.settle()
            strips = seat.app.screen._compositor.render_strips()
            assert {strip.cell_length for strip in strips} == {size[0]}
            assert "\x1b" not in seat.text


async def test_hostile_names_can_be_asked_about(still: StillClock) -> None:
    async with seated(fleet_of(HOSTILE_NAMES, still), still) as seat:
        for row in range(len(HOSTILE_NAMES)):
            seat.app.view.toggle_mark()
            seat.app.view.go_to_row(row + 1)
        await seat.press("f")
        assert "Freeze the file systems of 9 VMs?" in seat.text
        assert "\x1b" not in seat.text
        await seat.press("enter")
        assert len(seat.operations.started) == 9


async def test_one_broken_vm_is_one_broken_row(still: StillClock) -> None:
    fleet = fleet_of(["a", "b", "c"], still)
    put(fleet, qemu("b"), agent=AgentHealth(cast(AgentState, "nonsense")))
    async with seated(fleet, still, size=LARGE) as seat:
        assert "can't be shown" in seat.line_of("qemu:b")
        assert "● alive" in seat.line_of(" c ")
        await seat.press("down")
        assert "can't be shown" in "".join(seat.lines[8:])
        for _ in Order:
            await seat.press("s")
        assert seat.cursor == "qemu:b"


async def test_marks_are_seen(still: StillClock) -> None:
    async with seated(fleet_of(["a", "b"], still), still) as seat:
        await seat.press("space")
        assert seat.lines[2].startswith(" ◆ a")
        assert seat.cursor == "b"
        assert "1 marked" in seat.lines[0]
        await seat.press("up", "space")
        assert seat.lines[2].startswith("   a")
        assert "marked" not in seat.lines[0]


async def test_ascii_mode_shows_nothing_else(still: StillClock) -> None:
    fleet = every_state(still)
    fleet.set_vms("socket", [make_vm("naïve-日本", source="socket")])
    async with seated(fleet, still, signs=Signs(ascii=True)) as seat:
        for keys in ((), ("f",), ("escape", "question_mark"), ("escape", "slash", "x")):
            await seat.press(*keys)
            assert seat.text.isascii(), keys
        await seat.press("escape")
        assert "( freezing" in seat.line_of("app-1 ")
        assert "^ foreign" in seat.line_of("db-2  ")
        assert seat.cursor == "old-win"


async def test_counts_in_the_header(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with seated(fleet, still, size=LARGE) as seat:
        assert "❆ 0 frozen" in seat.lines[0]
        put(fleet, qemu("a"), freeze=FreezeInfo(FreezeState.FROZEN))
        await seat.settle()
        assert "❆ 1 frozen" in seat.lines[0]
        fleet.update(qemu("a"), lambda state: state._replace(present=False))
        fleet.forget_absent()
        await seat.settle()
        assert "❆ 0 frozen" in seat.lines[0]
        assert " 1 VM " in seat.lines[0]


async def test_a_crowded_header_keeps_every_count_that_is_not_zero(still: StillClock) -> None:
    async with seated(every_state(still), still, size=SMALL, read_only=True) as seat:
        await seat.press("space")
        for words in ("READ-ONLY", "frozen", "freezing", "foreign", "silent", "lost", "marked"):
            assert words in seat.lines[0]
