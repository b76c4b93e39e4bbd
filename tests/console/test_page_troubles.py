"""What goes wrong on a page costs its news alone (P8); a VM that comes back is there again."""

from __future__ import annotations

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.states import Level
from tests.console.console_session import LARGE, ConsoleSession, console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of, make_vm, put, verified
from tests.console.guest_report import REPORT
from tui.console.pages import explain, vm
from tui.console.pages.plain import PlainPage
from tui.console.pages.vm import TITLES

BUG = "can't be shown: ValueError('a bug')"


def fails(*_: object, **__: object) -> None:
    raise ValueError("a bug")


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    made = fleet_of(["db1", "web1"], still)
    put(made, qemu("db1"), last=verified())
    return made


@pytest.mark.parametrize("broken", ["facts_of", "evidence_lines", "guest_lines", "identity_lines"])
async def test_a_tab_that_can_not_be_shown_ends_nothing(
    still: StillClock, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    operations = FakeOperations()
    operations.report = REPORT
    monkeypatch.setattr(vm, broken, fails)
    async with console_session(fleet, still, operations=operations, size=LARGE) as session:
        await session.press("home", "d")
        for number in range(1, len(TITLES) + 1):
            await session.press(str(number), "r", "y")
            if isinstance(session.app.screen, PlainPage):
                await session.press("escape")
            assert session.app.is_running
            assert isinstance(session.app.screen, vm.VmPage)
        await session.pilot.resize_terminal(100, 30)
        assert session.app.is_running
        await session.press("escape")
        await session.until(lambda: session.cursor == "db1")


async def test_words_that_can_not_be_explained_end_nothing(
    still: StillClock, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "present", fails)
    async with console_session(fleet, still, size=LARGE) as session:
        await session.press("home", "i")
        assert BUG in session.text
        for key in ("down", "y", "1", "pagedown", "enter"):
            await session.press(key)
            assert session.app.is_running
        await session.pilot.resize_terminal(100, 30)
        await session.press("escape")
        await session.until(lambda: session.cursor == "db1")


# -- a VM that has gone, and is there again ---------------------------------------------------


async def goes(session: ConsoleSession) -> None:
    """Have db1 vanish."""
    fleet = session.fleet
    fleet.set_vms("qemu", [one.vm for one in fleet.states() if one.vm.name != "db1"])
    fleet.forget_absent()
    await session.settle(1)


async def comes_back(session: ConsoleSession) -> None:
    """Have db1 be there again."""
    fleet = session.fleet
    fleet.set_vms("qemu", [*(one.vm for one in fleet.states()), make_vm("db1", 4000)])
    await session.settle(1)


@pytest.mark.parametrize("key", ["d", "i"])
async def test_a_page_says_that_its_vm_is_gone_for_as_long_as_it_is(
    still: StillClock, fleet: Fleet, key: str
) -> None:
    async with console_session(fleet, still, size=LARGE) as session:
        await session.press("home", key)
        await goes(session)
        await session.until(lambda: "it is gone from the list" in session.text)
        await comes_back(session)
        await session.until(lambda: "it is gone from the list" not in session.text)


async def test_the_log_of_a_vm_that_is_there_again_is_its_new_one(
    still: StillClock, fleet: Fleet
) -> None:
    for number in range(30):
        fleet.log(qemu("db1"), Level.INFO, f"before {number}")
    async with console_session(fleet, still, size=LARGE) as session:
        await session.press("home", "d", "5")
        await session.until(lambda: "before 29" in session.text)
        await goes(session)
        await comes_back(session)
        fleet.log(qemu("db1"), Level.INFO, "after 1")
        await session.until(lambda: "after 1" in session.text)
        assert "before" not in session.text
        fleet.log(qemu("db1"), Level.INFO, "after 2")
        await session.until(lambda: "after 2" in session.text)
