"""The banner of an open window: who, how much longer, what it is worth; and its last seconds."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.job import JobProgress
from agentclient.model.others import ChannelClient, Others
from agentclient.model.snapshot import FreezeInfo, LeftBy
from agentclient.model.states import FreezeState, OthersState, Stuck
from agentclient.model.vm import VmId
from tests.console import copying
from tests.console.console_session import SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import NOON, StillClock
from tests.console.fleets import fleet_of, held, lost, make_vm, put, thawed
from tests.console.held import at_risk, group_held, group_waits, hold, one_held, unverified
from tui.console import clipboard
from tui.console.app import FrostwatchApp
from tui.console.widgets.banner import AT_RISK, NOT_VERIFIED, TAKE, WRITTEN, Banner
from tui.shared.notify import Notify

XTERM = {"TERM": "xterm-256color"}
BELL_ALONE = Notify(ways=frozenset({"bell"}))


def banner(session: ConsoleSession) -> tuple[str, str]:
    """Return the banner's two lines; empty ones if there is none."""
    found = list(session.app.query(Banner))
    if not found or not found[0].count:
        return "", ""
    top = found[0].region.y
    return session.lines[top], session.lines[top + 1]


async def test_a_held_window_is_a_banner_with_all_that_one_needs(still: StillClock) -> None:
    async with console_session(one_held(still), still, size=SMALL) as session:
        first, second = banner(session)
        assert f"{TAKE}: db-1" in first
        assert first.rstrip().endswith("0:18 left")
        assert "nothing written" in second
        await session.settle(3)
        assert "0:15 left" in banner(session)[0]


async def test_of_a_group_there_is_one_when_it_is_complete(still: StillClock) -> None:
    async with console_session(group_held(still), still, size=SMALL) as session:
        first, second = banner(session)
        assert f"{TAKE}: app-1, db-1, web-1" in first
        assert "3 frozen within 1.0 s" in second
        assert "frozen longest" not in session.text, "it says the same"


async def test_before_the_group_is_complete_there_is_none(still: StillClock) -> None:
    async with console_session(group_waits(still), still, size=SMALL) as session:
        assert banner(session) == ("", "")


async def test_one_member_that_is_not_verified_takes_it_away(still: StillClock) -> None:
    fleet = group_held(still)
    unverified(fleet, "db-1")
    async with console_session(fleet, still, size=SMALL) as session:
        assert banner(session) == ("", "")


async def test_what_is_held_and_not_verified_is_not_offered(still: StillClock) -> None:
    fleet = one_held(still)
    unverified(fleet, "db-1")
    async with console_session(fleet, still, size=SMALL) as session:
        assert NOT_VERIFIED in banner(session)[0]
        assert TAKE not in session.text


async def test_a_window_at_risk_or_written_to_is_not_offered(still: StillClock) -> None:
    fleet = one_held(still)
    at_risk(fleet, "db-1")
    async with console_session(fleet, still, size=SMALL) as session:
        assert AT_RISK in banner(session)[0]
        put(fleet, qemu("db-1"), progress=held(still)._replace(written_bytes=12_288))
        await session.settle()
        assert WRITTEN in banner(session)[0]
        assert "12 KiB written since" in banner(session)[1]
        assert TAKE not in session.text


async def test_the_last_seconds_change_its_words_and_ring_once(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(FrostwatchApp, "write_to_terminal", lambda _, text: rung.append(text))
    async with console_session(one_held(still), still, size=SMALL, notify=BELL_ALONE) as session:
        await session.settle(7)
        assert "NEARLY OVER" not in session.text
        assert not rung
        await session.settle(1)
        assert "NEARLY OVER" in banner(session)[0]
        assert "0:10 left" in banner(session)[0]
        assert "thawed in 10 s; e holds longer" in session.notice
        for _ in range(8):
            await session.settle(1)
        assert len([text for text in rung if "\x07" in text]) == 1


async def test_without_the_bell_nothing_rings(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(FrostwatchApp, "write_to_terminal", lambda _, text: rung.append(text))
    async with console_session(one_held(still), still, size=SMALL) as session:
        await session.settle(9)
        assert "NEARLY OVER" in session.text
        assert not rung


async def test_it_goes_with_its_window(still: StillClock) -> None:
    fleet = one_held(still)
    async with console_session(fleet, still, size=SMALL) as session:
        assert banner(session)[0]
        put(fleet, qemu("db-1"), progress=None, freeze=thawed(still))
        await session.settle(3)
        assert banner(session) == ("", "")
        assert session.lines[1].strip().startswith("NAME"), "the table has its line again"


async def test_a_copys_own_window_is_the_copys(still: StillClock) -> None:
    fleet = one_held(still)
    job: JobProgress = copying.progress(still)
    put(fleet, qemu("db-1"), job=job)
    async with console_session(fleet, still, size=SMALL) as session:
        assert banner(session) == ("", "")


async def test_a_console_that_only_looks_or_replays_has_none(still: StillClock) -> None:
    async with console_session(one_held(still), still, size=SMALL, read_only=True) as session:
        assert banner(session) == ("", "")
        assert "frozen longest: db-1" in session.text


async def test_a_window_of_a_second_is_none(still: StillClock) -> None:
    fleet = one_held(still)
    progress = held(still)
    brief = progress._replace(held_since=still.mono, hold_ends_at=still.mono + 1)
    put(fleet, qemu("db-1"), progress=brief)
    async with console_session(fleet, still, size=SMALL) as session:
        assert banner(session) == ("", "")


async def test_of_several_the_one_that_ends_first_is_shown(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    hold(fleet, "a", still, since_s=20.0)
    hold(fleet, "b", still, since_s=40.0)
    put(fleet, qemu("a"), progress=held(still)._replace(hold_ends_at=still.mono + 40))
    async with console_session(fleet, still, size=SMALL) as session:
        assert f"{TAKE}: b" in banner(session)[0]
        assert "1 more open" in banner(session)[1]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
async def test_it_fits_every_width(still: StillClock, width: int) -> None:
    fleet = group_held(still, [f"a-rather-long-name-{number}" for number in range(9)])
    async with console_session(fleet, still, size=(width, 24)) as session:
        first, second = banner(session)
        assert "left" in first
        assert "frozen within" in second


# -- the next command ---------------------------------------------------------------------------


def copied(written: list[str]) -> str:
    """Return what was put into the clipboard."""
    found = re.search(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", "".join(written))
    assert found is not None
    return base64.b64decode(found[1]).decode()


async def pressed(
    fleet: Fleet, still: StillClock, monkeypatch: pytest.MonkeyPatch, **variables: str
) -> tuple[list[str], str, str]:
    """Press `y`; return what was written to the terminal, the dialog's name, and its text."""
    written: list[str] = []
    monkeypatch.setattr(FrostwatchApp, "write_to_terminal", lambda _, text: written.append(text))
    for name in ("TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**XTERM, **variables}.items():
        monkeypatch.setenv(name, value)
    async with console_session(fleet, still, size=SMALL) as session:
        await session.press("home", "y")
        return written, session.dialog, session.flat + session.notice


async def test_y_copies_the_thaw_of_the_whole_group(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, dialog, text = await pressed(group_held(still), still, monkeypatch)
    assert copied(written) == "frostwatch thaw --foreign qemu:app-1 qemu:db-1 qemu:web-1"
    assert dialog == "CopiedDialog"
    assert "frostwatch thaw --foreign qemu:app-1 qemu:db-1 qemu:web-1" in text
    assert "OSC 52" in text


async def test_a_terminal_without_a_clipboard_is_shown_it_alone(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, _, text = await pressed(one_held(still), still, monkeypatch, TERM="linux")
    assert written == [""]
    assert "frostwatch thaw --foreign qemu:db-1" in text
    assert "to be marked here" in text


async def test_without_a_window_it_is_the_step_of_the_vm_under_the_cursor(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of(["mail"], still)
    put(fleet, qemu("mail"), last=lost(settled=False))
    written, _, _ = await pressed(fleet, still, monkeypatch)
    assert copied(written) == "frostwatch thaw qemu:mail"


def in_state(still: StillClock, **changes: Any) -> Fleet:
    fleet = fleet_of(["mail"], still)
    put(fleet, qemu("mail"), **changes)
    return fleet


NEXT: dict[str, tuple[dict[str, Any], str]] = {
    "frozen by somebody": (
        {"freeze": FreezeInfo(FreezeState.FROZEN, NOON, foreign=True)},
        "frostwatch thaw --foreign qemu:mail",
    ),
    "left by one that died": (
        {"freeze": FreezeInfo(FreezeState.FROZEN, NOON), "left": LeftBy(1, 4711, "root", NOON)},
        "frostwatch thaw qemu:mail",
    ),
    "may be frozen, the agent hangs": (
        {"last": lost(settled=False)._replace(stuck=Stuck.STILL_FROZEN)},
        "frostwatch rescue qemu:mail --rung sysrq",
    ),
    "lost, and thawed": ({"last": lost()}, "frostwatch freeze qemu:mail"),
}


@pytest.mark.parametrize("name", NEXT)
async def test_y_and_what_is_taken_away_are_the_same_command(
    still: StillClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    changes, command = NEXT[name]
    written, dialog, _ = await pressed(in_state(still, **changes), still, monkeypatch)
    assert (copied(written), dialog) == (command, "CopiedDialog")
    written.clear()
    async with console_session(in_state(still, **changes), still, size=SMALL) as session:
        await session.press("home", "w", "2")
        assert copied(written) == command


async def test_with_the_command_stands_what_it_may_break(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = FreezeInfo(FreezeState.FROZEN, NOON, foreign=True)
    _, _, text = await pressed(in_state(still, freeze=foreign), still, monkeypatch)
    assert "step Find out who froze it; a thaw breaks that window" in text


async def test_what_others_have_pending_is_no_reason_to_thaw(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = in_state(
        still, others=Others(OthersState.PENDING, NOON, by=ChannelClient("vzdump", 4711))
    )
    written, dialog, text = await pressed(fleet, still, monkeypatch)
    assert (written, dialog) == ([], "")
    assert "nothing has to be done here next by a command" in text


async def test_in_a_drill_the_step_of_the_vm_under_the_cursor_is_a_key(still: StillClock) -> None:
    fleet = Fleet(wall=still.wall)
    fleet.set_vms("drill", [make_vm("db-1", source="drill")])
    put(fleet, VmId("drill", "db-1"), freeze=FreezeInfo(FreezeState.FROZEN, NOON, foreign=True))
    async with console_session(fleet, still, size=SMALL) as session:
        await session.press("y")
        assert session.dialog == ""
        assert "  next: t in the drill's console (its guests end with it)" in session.notice


async def test_a_click_on_the_banner_is_the_key(still: StillClock) -> None:
    async with console_session(one_held(still), still, size=SMALL) as session:
        await session.pilot.click("#banner")
        await session.until(lambda: session.dialog == "CopiedDialog")


async def test_in_a_drill_it_is_a_key(still: StillClock) -> None:
    fleet = Fleet(wall=still.wall)
    fleet.set_vms("drill", [make_vm("db-1", source="drill")])
    frozen = one_held(still).get(qemu("db-1")).freeze
    put(fleet, VmId("drill", "db-1"), progress=held(still), freeze=frozen)
    async with console_session(fleet, still, size=SMALL) as session:
        await session.press("y")
        assert session.dialog == ""
        assert "t in the drill's console" in session.notice


async def test_with_nothing_to_be_done_it_says_so(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, dialog, text = await pressed(fleet_of(["mail"], still), still, monkeypatch)
    assert (written, dialog) == ([], "")
    assert "nothing has to be done here next by a command" in text


async def test_a_hostile_name_reaches_the_clipboard_quoted_and_the_screen_harmless(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "x; rm -rf / \x1b]52;c;AAAA\x07"
    fleet = Fleet(wall=still.wall)
    fleet.set_vms("qemu", [make_vm(name)])
    put(fleet, VmId("qemu", name), progress=held(still))
    put(fleet, VmId("qemu", name), freeze=one_held(still).get(qemu("db-1")).freeze)
    written, dialog, text = await pressed(fleet, still, monkeypatch)
    assert copied(written).startswith("frostwatch thaw --foreign $'qemu:x; rm -rf / \\033]52;")
    assert "".join(written).count("\x1b") == 1
    assert dialog == "CopiedDialog"
    assert "\x1b" not in text


def test_a_tmux_gets_it_twice_for_itself_and_for_the_terminal_outside() -> None:
    said = clipboard.clipboard_sequence("a", {**XTERM, "TMUX": "/tmp/t,1,0"})
    assert said.startswith("\x1b]52;c;YQ==\x07\x1bPtmux;\x1b\x1b]52;")
    assert said.endswith("\x1b\\")


@pytest.mark.parametrize(
    "variables", [{"TERM": "linux"}, {"TERM": "dumb"}, {**XTERM, "STY": "1.pts"}]
)
def test_what_would_print_it_gets_nothing(variables: dict[str, str]) -> None:
    assert clipboard.clipboard_sequence("a", variables) == ""


def test_what_is_too_long_is_not_cut() -> None:
    assert clipboard.clipboard_sequence("a" * 60_000, XTERM) == ""
