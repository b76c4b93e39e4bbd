"""Who does not look at the screen is called: by a bell and a notification, and by no name."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.model.snapshot import FreezeInfo, LeftBy
from agentclient.model.states import Level, OthersState
from tests.console.console_session import console_session, qemu
from tests.console.fakes import NOON, StillClock
from tests.console.fleets import HOSTILE_NAMES, lost, put
from tests.console.test_others import fleet_with, stuck
from tui.console.alarm import APART_S, Alarm, notification, tmux_message
from tui.console.app import FrostwatchApp
from tui.console.model.notices import Notice
from tui.shared.bounded_commands import BoundedCommands
from tui.shared.glyphs import Signs
from tui.shared.notify import Notify

XTERM = {"TERM": "xterm-256color"}
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Terminal:
    """A terminal that keeps what it is written."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def alarm(self, still: StillClock) -> Alarm:
        return Alarm(self.written.append, still.clock, Signs(), XTERM)


def error(text: str) -> Notice:
    return Notice(Level.ERROR, text, NOON)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_name_ends_a_notification_or_begins_another(name: str, ascii_only: bool) -> None:
    said = notification(f"{name};x\x07\x1b]0;owned\x07", name, XTERM, ascii=ascii_only)
    assert said.startswith("\x1b]777;notify;frostwatch ")
    assert said.endswith("\x07")
    inside = said.removeprefix("\x1b]777;notify;").removesuffix("\x07")
    assert not CONTROLS.search(inside)
    assert inside.count(";") == 1
    assert not ascii_only or inside.isascii()


@given(
    st.text(max_size=300), st.sampled_from([{}, {"TMUX": "/tmp/t,1,0"}, {"LC_TERMINAL": "iTerm2"}])
)
def test_whatever_is_told_the_terminal_gets_one_sequence(text: str, more: dict[str, str]) -> None:
    said = notification(text, "host", {**XTERM, **more})
    shape = r"\x1b\](?:777;notify;|9;)[^\x00-\x1f\x7f-\x9f]*\x07"
    if more.get("TMUX"):
        shape = r"\x1bPtmux;\x1b" + shape + r"\x1b\\"
    assert re.fullmatch(shape, said)


@pytest.mark.parametrize("more", [{"TERM": "linux"}, {"TERM": "dumb"}, {"STY": "1.pts-0"}])
def test_who_would_print_it_gets_a_bell_alone(more: dict[str, str]) -> None:
    assert notification("x", "host", {**XTERM, **more}) == ""


def test_many_at_once_are_one_bell(still: StillClock) -> None:
    terminal = Terminal()
    alarm = terminal.alarm(still)
    for number in range(100):
        alarm.take(error(f"vm-{number}: lost"))
    alarm.ring()
    alarm.take(error("vm-100: lost"))
    alarm.ring()
    assert len(terminal.written) == 1
    assert terminal.written[0].startswith("\x07\x1b]777;")
    assert "vm-0: lost (and 99 more)" in terminal.written[0]
    still.advance(APART_S)
    alarm.ring()
    alarm.ring()
    assert len(terminal.written) == 2
    assert "vm-100: lost\x07" in terminal.written[1]


async def test_the_console_rings_for_what_others_lost(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, written = fleet_with(still, stuck(still)), Terminal().written
    monkeypatch.setattr(FrostwatchApp, "write_to_terminal", lambda _, text: written.append(text))
    async with console_session(fleet, still, notify=Notify.in_all_ways()) as session:
        await session.settle(6)
        assert written == []
        put(fleet, qemu("db"), others=stuck(still, OthersState.LOST))
        await session.settle()
        assert "db: others-lost: Proxmox's vzdump 101 (pid 4711)" in written[0]
        put(fleet, qemu("app"), last=lost())
        await session.settle(APART_S)
        assert "app: lost" in written[1]
        left = LeftBy(1, 4711, "root", still.wall() - timedelta(minutes=12))
        put(fleet, qemu("web"), left=left, freeze=fleet.get(qemu("web")).freeze)
        await session.settle(APART_S)
        assert len(written) == 2


async def test_without_the_setting_nothing_rings(still: StillClock) -> None:
    async with console_session(fleet_with(still, stuck(still)), still) as session:
        assert session.app.parts._teller is None


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "#(reboot)", "##(reboot)", "%H", "x'; reboot"])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_name_is_a_command_of_tmux(name: str, ascii_only: bool) -> None:
    program, *options, said = tmux_message(name, name, ascii=ascii_only)
    assert (program, options) == ("tmux", ["display-message", "-d", "10000"])
    assert not set("#%") & set(said)
    assert not CONTROLS.search(said)
    assert said.startswith("frostwatch ")


class Asked:
    """Keeps what is to be run."""

    def __init__(self) -> None:
        self.all: list[tuple[str, tuple[str, ...], dict[str, str]]] = []

    def begin(self, name: str, argv: tuple[str, ...], variables: Any = None) -> None:
        self.all.append((name, argv, dict(variables or {})))


@pytest.mark.parametrize(
    ("ways", "bell", "notification", "tmux"),
    [
        ({"bell"}, True, False, 0),
        ({"terminal"}, False, True, 0),
        ({"tmux"}, False, False, 1),
        ({"bell", "terminal", "tmux"}, True, True, 1),
    ],
)
def test_it_calls_in_the_ways_that_are_set(
    still: StillClock, ways: set[str], bell: bool, notification: bool, tmux: int
) -> None:
    written: list[str] = []
    asked = Asked()
    variables = {**XTERM, "TMUX": "/tmp/t,1,0"}
    alarm = Alarm(
        written.append, still.clock, Signs(), variables, ways=ways, commands=cast(Any, asked)
    )
    alarm.take(error("web1: lost"))
    alarm.ring()
    alarm.ring()
    said = "".join(written)
    assert (said.startswith("\x07"), "Ptmux" in said) == (bell, notification)
    assert len(asked.all) == tmux


async def test_the_console_has_the_command_run_once_for_each(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked()
    monkeypatch.setattr(BoundedCommands, "begin", lambda _, *words: asked.begin(*words))
    fleet = fleet_with(still, stuck(still))
    async with console_session(fleet, still, notify=Notify(command=("page-me",))) as session:
        await session.settle(2)
        assert asked.all == []
        put(fleet, qemu("db"), others=stuck(still, OthersState.LOST))
        put(fleet, qemu("app"), last=lost())
        await session.settle(2)
        put(fleet, qemu("app"), freeze=FreezeInfo())
        await session.settle(2)
        told = [(more["FROSTWATCH_EVENT"], more["FROSTWATCH_VM"]) for _, _, more in asked.all]
        assert sorted(told) == [("lost", "qemu:app"), ("lost", "qemu:db")]
        assert {argv for _, argv, _ in asked.all} == {("page-me",)}
        assert session.app.teller is not None
        session.app.teller._failures.append("notify_command: page-me: it failed")
        await session.settle(12)  # bad news of a VM comes first
        assert "page-me: it failed" in session.notice


@pytest.mark.parametrize(
    ("on", "told"),
    [
        (None, ["lost", "lost"]),
        (frozenset({"lost"}), ["lost", "lost"]),
        (frozenset({"answered", "left-frozen"}), []),
    ],
)
async def test_what_is_told_is_set_for_the_command_and_the_bell_alike(
    still: StillClock,
    monkeypatch: pytest.MonkeyPatch,
    on: frozenset[str] | None,
    told: list[str],
) -> None:
    asked = Asked()
    rung: list[str] = []
    monkeypatch.setattr(BoundedCommands, "begin", lambda _, *words: asked.begin(*words))
    fleet = fleet_with(still, stuck(still))
    notify = Notify(frozenset({"bell"}), ("page-me",), on)
    async with console_session(fleet, still, notify=notify) as session:
        teller = session.app.teller
        assert teller is not None
        monkeypatch.setattr(teller._alarm, "_write", rung.append)
        await session.settle(2)
        put(fleet, qemu("db"), others=stuck(still, OthersState.LOST))
        put(fleet, qemu("app"), last=lost())
        await session.settle(2)
        await session.settle(APART_S + 1)
        assert [more["FROSTWATCH_EVENT"] for _, _, more in asked.all] == told
        assert rung == ["\x07"] * bool(told)  # many at once are one, and none is told again
