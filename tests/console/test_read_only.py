"""A console that sends nothing names no key that it refuses: it says what is done by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from agentclient.model.others import ChannelClient, Others
from agentclient.model.policy import VmPolicy
from agentclient.model.snapshot import AgentHealth, FreezeInfo, HeldBy, LeftBy, VmState
from agentclient.model.states import AgentState, FreezeState, KnownBy, OthersState, RunState
from agentclient.model.vm import DRILL_SOURCE, Vm
from tests.console.console_session import SMALL, console_session, qemu
from tests.console.copying import LEFT
from tests.console.fakes import NOON, StillClock
from tests.console.fleets import every_state, fleet_of, held, lost, make_vm, pending, put
from tui.console.model.notices import notice_of_change
from tui.console.model.sending import Sending
from tui.console.widgets.pane.facts import facts_of
from tui.console.widgets.table.cells import Paint
from tui.shared.clocks import Moment
from tui.shared.glyphs import Signs

# What a key is said to do, wherever one is named.
KEY = re.compile(
    r"\b[tTcexRAf] (asks|thaws|shows|stops|takes|holds?|limits|has|in the drill)|then t,"
)
BY = ChannelClient("vzdump", 12)
VM = make_vm("db-1")
ALIVE = AgentHealth(AgentState.ALIVE, KnownBy.REPLY, 0.001, seen_at=NOON)
WELL = VmState(VM, RunState.RUNNING, ALIVE, FreezeInfo(FreezeState.THAWED, NOON))
FROZEN = FreezeInfo(FreezeState.FROZEN, NOON)


def states(vm: Vm = VM) -> Iterator[tuple[str, VmState]]:
    still = StillClock()
    one = WELL._replace(vm=vm)
    kept = HeldBy(1, "root", FreezeState.FROZEN, NOON, NOON + timedelta(minutes=1), kept=True)
    yield "foreign", one._replace(freeze=FROZEN._replace(foreign=True))
    yield "left by others", one._replace(freeze=FROZEN._replace(foreign=True, by=BY))
    yield "left", one._replace(freeze=FROZEN, left=LeftBy(1, 4711, "root", NOON))
    yield "held", one._replace(freeze=FROZEN, held_by=kept._replace(kept=False))
    yield "kept", one._replace(freeze=FROZEN, held_by=kept)
    yield "left copy", one._replace(block_jobs=(LEFT,))
    yield "lost", one._replace(last=lost(settled=False), freeze=FreezeInfo(None, NOON))
    yield "pending", one._replace(progress=pending(still))
    yield "held window", one._replace(progress=held(still))
    yield "others lost", one._replace(others=Others(OthersState.LOST, NOON, BY))


EVERY = dict(states())
DRILLED = dict(states(make_vm("db-1", source=DRILL_SOURCE)))
NEEDS_A_COMMAND = ("foreign", "left by others", "left", "held", "kept", "left copy")


def steps(state: VmState, sending: Sending) -> list[str]:
    paint = Paint(Moment(10_000.0, NOON), Signs(), sending=sending)
    return [fact.text for fact in facts_of(state, paint) if fact.label == "next"]


def noticed(state: VmState, sending: Sending) -> str:
    old = WELL._replace(vm=state.vm)
    return " ".join(one.text for one in notice_of_change(old, state, NOON, sending=sending))


@pytest.mark.parametrize("name", EVERY)
def test_no_refused_key_is_named_as_the_next_step(name: str) -> None:
    state = EVERY[name]
    for step in steps(state, Sending.READ_ONLY):
        assert not KEY.search(step), step
    assert not KEY.search(noticed(state, Sending.READ_ONLY))
    if name in NEEDS_A_COMMAND:
        assert KEY.search(" ".join(steps(state, Sending.BY_KEYS)))
        assert any("read-only here" in one and "frostwatch " in one
                   for one in steps(state, Sending.READ_ONLY))  # fmt: skip


@pytest.mark.parametrize("name", DRILLED)
def test_a_drill_that_is_read_only_says_how_to_start_it_otherwise(name: str) -> None:
    told = [*steps(DRILLED[name], Sending.READ_ONLY), noticed(DRILLED[name], Sending.READ_ONLY)]
    assert not any(map(KEY.search, told)), told
    if name in NEEDS_A_COMMAND:
        assert any("--no-read-only" in one for one in told)


@pytest.mark.parametrize("name", EVERY)
def test_in_a_replay_nothing_is_to_be_done_now(name: str) -> None:
    assert steps(EVERY[name], Sending.REPLAY) == []
    assert not KEY.search(noticed(EVERY[name], Sending.REPLAY))


@pytest.mark.parametrize("name", NEEDS_A_COMMAND)
def test_of_a_vm_that_is_set_read_only_no_key_is_named_either(name: str) -> None:
    vm = VM._replace(policy=VmPolicy(read_only="read_only is set (/c.toml:7)"))
    for step in steps(EVERY[name]._replace(vm=vm), Sending.BY_KEYS):
        assert not KEY.search(step), step


async def test_the_key_line_and_the_help_name_what_can_be_done(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=SMALL, read_only=True) as session:
        assert "Freeze" not in session.lines[-1]
        assert "Thaw" not in session.lines[-1]
        assert "Help" in session.lines[-1]
        await session.press("t")
        assert "--no-read-only" in session.notice
        await session.press("question_mark")
        assert "Read-only: no key acts on a guest" in session.text


async def test_the_pane_of_a_foreign_guest_gives_the_command(still: StillClock) -> None:
    fleet = fleet_of(["db-1", "web-1"], still)
    put(fleet, qemu("db-1"), freeze=FROZEN._replace(foreign=True))
    command = "by hand: frostwatch thaw --foreign qemu:db-1"
    async with console_session(fleet, still, size=SMALL, read_only=True) as session:
        await session.press("slash", *"db-1", "enter")
        assert command in " ".join(session.text.split())
        await session.press("d")
        assert command in " ".join(session.text.split())
    async with console_session(fleet, still, size=SMALL) as session:
        await session.press("slash", *"db-1", "enter")
        assert "t asks first" in session.text
        assert "Freeze" in session.lines[-1]
