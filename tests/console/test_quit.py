"""Leaving the console by its keys, with and without something in flight."""

from __future__ import annotations

import pytest

from agentclient.model.outcome import Outcome
from agentclient.model.states import OutcomeKind
from tests.console.console_session import console_session, qemu
from tests.console.fakes import FakeOperation, FakeOperations, StillClock
from tests.console.fleets import fleet_of, pending, put, state_of
from tests.console.fleets import held as held_now
from tui.console.model.exit_kind import ExitKind


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_quit_leaves_at_once_when_nothing_is_in_flight(still: StillClock, key: str) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press(key)
        assert session.app.return_value is ExitKind.CLEAN
        assert not session.app.is_running


async def test_quit_asks_while_something_is_in_flight(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    put(fleet, qemu("a"), progress=pending(still))
    operations = FakeOperations()
    freeze = operations.add(state_of(fleet, "a").vm)
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("q")
        assert session.dialog == "QuitDialog"
        assert "waits for the agent's answer to the freeze; at most" in session.text
        assert "47:41 more" in session.text
        await session.press("q")
        assert session.dialog == "QuitDialog", "a second q alone must not leave guests frozen"
        await session.press("escape")
        assert freeze.calls == []
        assert session.app.is_running


async def test_thaw_first_waits_until_nothing_is_in_flight(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    operations = FakeOperations()
    freeze = operations.add(state_of(fleet, "a").vm)
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("q", "enter")
        assert freeze.calls == ["cancel"]
        assert session.dialog == "QuitDialog"
        assert "the console leaves by itself" in session.text
        freeze.outcome = Outcome(OutcomeKind.TIMEOUT, "thawed", settled=True)
        await session.until(lambda: session.app.return_value is ExitKind.CLEAN)


@pytest.mark.parametrize("keys", [("d",), ("enter", "q"), ("enter", "d")])
async def test_detaching_leaves_it_to_the_holder(still: StillClock, keys: tuple[str, ...]) -> None:
    fleet = fleet_of(["a"], still)
    operations = FakeOperations()
    operations.add(state_of(fleet, "a").vm)
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("q", *keys)
        assert session.app.return_value is ExitKind.DETACHED


@pytest.mark.parametrize("held", [True, False])
async def test_windows_that_are_held_can_be_left_to_their_holders(
    still: StillClock, held: bool
) -> None:
    fleet = fleet_of(["a"], still)
    progress = held_now(still) if held else pending(still)
    put(fleet, qemu("a"), progress=progress)
    operations = FakeOperations()
    operations.add(state_of(fleet, "a").vm)
    async with console_session(fleet, still, operations=operations, size=(80, 24)) as session:
        await session.press("q")
        assert ("Keep (k)" in session.text) is held
        assert "Stay (Esc)" in session.text
        await session.press("k")
        assert (session.app.return_value is ExitKind.KEPT) is held
        assert session.app.is_running is not held


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_what_each_answer_means_is_broken_at_words_below_its_beginning(
    still: StillClock, size: tuple[int, int]
) -> None:
    fleet = fleet_of(["a"], still)
    put(fleet, qemu("a"), progress=held_now(still))
    operations = FakeOperations()
    operations.add(state_of(fleet, "a").vm)
    async with console_session(fleet, still, operations=operations, size=size) as session:
        await session.press("q")
        for answer, last in (("Thaw", "answers."), ("Both", "was asked."), ("Keep", "Leave now.")):
            begins = session.lines.index(session.line_of(f"  {answer}  "))
            line = session.lines[begins]
            frame, column = line.index("│"), line.index(answer) + 11
            ends = begins
            while last not in session.lines[ends]:
                ends += 1
                assert not session.lines[ends][frame + 1 : column].strip(), session.text
                assert session.lines[ends][column].strip(), session.text
            assert ends - begins <= 2, session.text


async def test_an_operation_that_ends_at_once_needs_no_waiting(still: StillClock) -> None:
    def end(operation: FakeOperation) -> None:
        operation.outcome = Outcome(OutcomeKind.VERIFIED, "thawed", settled=True)

    fleet = fleet_of(["a"], still)
    operations = FakeOperations()
    operations.add(state_of(fleet, "a").vm).on_cancel = end
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("q", "enter")
        assert session.app.return_value is ExitKind.CLEAN


async def test_help_names_every_key_and_every_state(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still, size=(100, 130)) as session:
        await session.press("question_mark")
        for words in (
            "Space", "Freeze the marked VMs", "Thaw the marked VMs", "Stop waiting, and thaw",
            "!word hides", "PgDn", "● alive", "⋯ silent", "◆ busy", "❆ frozen", "◈ foreign",
            "✓ verified", "◇ unverified", "◧ partial", "✗ lost", "† timeout", "⊘ refused",
            "■ failed", "▼ broken", "SILENT",
        ):  # fmt: skip
            assert words in session.text, words
        await session.press("escape")
        assert session.dialog == ""


async def test_keys_can_be_bound_anew(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        session.app.set_keymap({"freeze": "z"})
        await session.press("z")
        assert session.dialog == "FreezeDialog"
