"""Leaving the console by its keys, with and without something in flight."""

from __future__ import annotations

import pytest

from agentclient.model.outcome import Outcome
from agentclient.model.states import OutcomeKind
from tests.console.driving import qemu, seated
from tests.console.fakes import FakeOperation, FakeOperations, StillClock
from tests.console.fleets import fleet_of, pending, put, state_of
from tui.console.model.leaving import Leave


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_quit_leaves_at_once_when_nothing_is_in_flight(still: StillClock, key: str) -> None:
    async with seated(fleet_of(["a"], still), still) as seat:
        await seat.press(key)
        assert seat.app.return_value is Leave.CLEAN
        assert not seat.app.is_running


async def test_quit_asks_while_something_is_in_flight(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    put(fleet, qemu("a"), progress=pending(still))
    operations = FakeOperations()
    freeze = operations.add(state_of(fleet, "a").vm)
    async with seated(fleet, still, operations=operations) as seat:
        await seat.press("q")
        assert seat.dialog == "QuitDialog"
        assert "waits for the agent's answer to the freeze; at most" in seat.text
        assert "47:41 more" in seat.text
        await seat.press("q")
        assert seat.dialog == "QuitDialog", "a second q alone must not leave guests frozen"
        await seat.press("escape")
        assert freeze.calls == []
        assert seat.app.is_running


async def test_thaw_first_waits_until_nothing_is_in_flight(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    operations = FakeOperations()
    freeze = operations.add(state_of(fleet, "a").vm)
    async with seated(fleet, still, operations=operations) as seat:
        await seat.press("q", "enter")
        assert freeze.calls == ["cancel"]
        assert seat.dialog == "QuitDialog"
        assert "the console leaves by itself" in seat.text
        freeze.outcome = Outcome(OutcomeKind.TIMEOUT, "thawed", settled=True)
        await seat.until(lambda: seat.app.return_value is Leave.CLEAN)


@pytest.mark.parametrize("keys", [("d",), ("enter", "q"), ("enter", "d")])
async def test_detaching_leaves_it_to_the_holder(still: StillClock, keys: tuple[str, ...]) -> None:
    fleet = fleet_of(["a"], still)
    operations = FakeOperations()
    operations.add(state_of(fleet, "a").vm)
    async with seated(fleet, still, operations=operations) as seat:
        await seat.press("q", *keys)
        assert seat.app.return_value is Leave.DETACHED


async def test_an_operation_that_ends_at_once_needs_no_waiting(still: StillClock) -> None:
    def end(operation: FakeOperation) -> None:
        operation.outcome = Outcome(OutcomeKind.VERIFIED, "thawed", settled=True)

    fleet = fleet_of(["a"], still)
    operations = FakeOperations()
    operations.add(state_of(fleet, "a").vm).on_cancel = end
    async with seated(fleet, still, operations=operations) as seat:
        await seat.press("q", "enter")
        assert seat.app.return_value is Leave.CLEAN


async def test_help_names_every_key_and_every_state(still: StillClock) -> None:
    async with seated(fleet_of(["a"], still), still, size=(100, 100)) as seat:
        await seat.press("question_mark")
        for words in (
            "Space", "Freeze the marked VMs", "Thaw the marked VMs", "Stop waiting, and thaw",
            "!word hides", "PgDn", "● alive", "▲ silent", "◆ busy", "❆ frozen", "▲ foreign",
            "✓ verified", "◇ unverified", "◧ partial", "✗ lost", "▲ timeout", "⊘ refused",
            "■ failed", "▼ broken", "SILENT",
        ):  # fmt: skip
            assert words in seat.text, words
        await seat.press("escape")
        assert seat.dialog == ""


async def test_keys_can_be_bound_anew(still: StillClock) -> None:
    async with seated(fleet_of(["a"], still), still) as seat:
        seat.app.set_keymap({"freeze": "z"})
        await seat.press("z")
        assert seat.dialog == "FreezeDialog"
