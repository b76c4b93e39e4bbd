"""What is set for VMs, in the questions of the console and in what comes of them."""

from __future__ import annotations

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.policy import VmPolicy
from agentclient.model.request import Schedule
from tests.console.console_session import LARGE, ConsoleSession, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, held, put, state_of

APP = VmPolicy(hold_s=30.0, maximum_hold_s=60.0, first_timeout_s=90.0, thaw_timeout_s=45.0)
DB = VmPolicy(hold_s=20.0, maximum_hold_s=300.0, first_timeout_s=3600.0, probes=1)


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    made = fleet_of(["app-1", "db-1", "web-1"], still)
    for name, policy in (("app-1", APP), ("db-1", DB)):
        put(made, qemu(name), vm=state_of(made, name).vm._replace(policy=policy))
    return made


def unwrapped(session: ConsoleSession) -> str:
    return " ".join(session.text.replace("│", " ").split())


def schedules(session: ConsoleSession) -> list[Schedule]:
    return [one.request.schedule for one in session.operations.started if one.request is not None]


async def test_the_question_begins_with_what_is_set_for_the_vm(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("f")
        assert " 30 s " in session.line_of("hold  ")
        for words in ("at most 1 min", "up to 51 min 30 s: step 1/6 is 1 min 30 s", "then thawed"):
            assert words in session.text, words
        await session.press("enter")
        assert schedules(session) == [Schedule.of(APP)]
        assert "app-1: freeze begun; at most 51 min 30 s" in session.notice


async def test_several_vms_wait_each_as_is_set_and_are_held_as_the_shortest(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("space", "space", "f")
        assert " 20 s " in session.line_of("hold  ")
        for words in ("at most 1 min", "up to 1 h 10 min: step 1/2 is 1 h, then 1 probes"):
            assert words in session.text, words
        await session.press("enter")
        assert schedules(session) == [Schedule.of(APP, hold_s=20.0), Schedule.of(DB, hold_s=20.0)]


async def test_a_vm_for_which_nothing_is_set_is_held_as_ever(
    fleet: Fleet, still: StillClock
) -> None:
    async with console_session(fleet, still) as session:
        await session.press("down", "down", "f")
        assert " 0 s " in session.line_of("hold  ")
        await session.press("enter")
        assert schedules(session) == [Schedule()]


async def test_a_window_is_prolonged_up_to_what_is_set(fleet: Fleet, still: StillClock) -> None:
    put(fleet, qemu("app-1"), progress=held(still))
    async with console_session(fleet, still) as session:
        await session.press("e")
        assert "1 min" in session.text


async def test_a_thaw_is_waited_for_as_long_as_is_set(fleet: Fleet, still: StillClock) -> None:
    async with console_session(fleet, still) as session:
        await session.press("t")
        assert "at most 45 s" in session.text


async def test_a_vm_that_is_read_only_or_never_asked_says_so_before_the_key(
    fleet: Fleet, still: StillClock
) -> None:
    never = "its agent is never asked: never_ask is set (/c.toml:3)"
    why = "read_only is set (/c.toml:7)"
    app, web = state_of(fleet, "app-1").vm, state_of(fleet, "web-1").vm
    put(fleet, qemu("app-1"), vm=app._replace(policy=VmPolicy(read_only=why)))
    hidden = web._replace(agent=None, out_of_reach=never, freeze_disabled=never)
    put(fleet, qemu("web-1"), vm=hidden)
    async with console_session(fleet, still, size=LARGE) as session:
        assert why in session.text
        await session.press("f")
        assert f"will be refused: nothing is sent to it: {why}" in unwrapped(session)
        await session.press("escape", "t")
        assert f"it will be refused: {why}" in unwrapped(session)
        await session.press("escape", "down", "down")
        assert (
            session.text.count("never_ask is set") == 1
        )  # and not once more as a switch of its own
        await session.press("f")
        assert f"its configuration forbids a freeze: {never}" in unwrapped(session)
