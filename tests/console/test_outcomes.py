"""Each outcome on a small screen: what is wrong, is my guest frozen, what do I do?"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.meaning import with_meaning
from agentclient.model.outcome import ExtendOutcome, Outcome
from agentclient.model.place import Place
from agentclient.model.snapshot import AgentHealth, FreezeInfo, HeldBy, LeftBy, Progress
from agentclient.model.states import (
    AgentState,
    Cause,
    FreezeState,
    KnownBy,
    OutcomeKind,
    Phase,
    Stuck,
)
from agentclient.model.vm import VmId
from tests.console.console_session import (
    LARGE,
    SMALL,
    ConsoleSession,
    console_session,
    make_app,
    qemu,
)
from tests.console.fakes import FakeOperation, FakeOperations, StillClock
from tests.console.fleets import ROOT, VAR, fleet_of, make_vm, pending, put, state_of, thawed
from tests.console.fleets import held as held_now

Compare = Callable[..., bool]
Make = Callable[[StillClock], Fleet]

NAMES = ["app-1", "customer-a-database-01", "customer-a-database-02", "mail", "web-1", "web-2"]
VM = qemu("mail")


def fleet_with(still: StillClock, outcome: Outcome, *, frozen: bool = False) -> Fleet:
    fleet = fleet_of(NAMES, still)
    info = FreezeInfo(FreezeState.FROZEN, still.wall()) if frozen else thawed(still)
    put(fleet, VM, last=outcome, freeze=info, file_systems=(ROOT, VAR))
    return fleet


def lost(still: StillClock) -> Fleet:
    reason = "no answer will come (agent-gone): the port closed and no answer was left in it"
    kind, cause = OutcomeKind.LOST, Cause.AGENT_GONE
    fleet = fleet_with(
        still, Outcome(kind, reason, cause=cause, seconds=31.0, stuck=Stuck.NO_AGENT)
    )
    closed = AgentHealth(AgentState.CLOSED, KnownBy.PORT, seen_at=still.wall())
    put(fleet, VM, agent=closed)
    return fleet


def partial(still: StillClock) -> Fleet:
    reason = "the agent was restarted; an agent says frozen, but that proves nothing"
    outcome = Outcome(OutcomeKind.PARTIAL, reason, cause=Cause.AGENT_RESTARTED, settled=True)
    return fleet_with(still, outcome._replace(thawed=1))


def failed(still: StillClock) -> Fleet:
    reason = "the agent answered with an error: fsfreeze hook has failed with status 1"
    return fleet_with(still, Outcome(OutcomeKind.FAILED, reason, thawed=0, settled=True))


def broken(still: StillClock) -> Fleet:
    reason = "65536 bytes were written while it was held"
    outcome = Outcome(OutcomeKind.BROKEN, reason, frozen=2, thawed=2, settled=True)
    return fleet_with(still, outcome)


def left(still: StillClock) -> Fleet:
    fleet = fleet_of(NAMES, still)
    at = still.wall() - timedelta(minutes=12)
    put(fleet, VM, freeze=FreezeInfo(FreezeState.FROZEN, at), left=LeftBy(1, 4711, "root", at))
    return fleet


def hung(still: StillClock) -> Fleet:
    fleet = fleet_of(NAMES, still)
    progress = pending(still, cancelled=True, waiting_for="the agent's answer to the freeze")
    info = FreezeInfo(FreezeState.FREEZING, still.wall() - timedelta(seconds=740))
    silent = AgentHealth(AgentState.SILENT, KnownBy.DEADLINE, seen_at=still.wall())
    put(fleet, VM, freeze=info, progress=progress._replace(phase=Phase.PENDING), agent=silent)
    return fleet


def unanswered(still: StillClock) -> Fleet:
    """Return a window that was verified and held, and whose thaw is not answered."""
    fleet = fleet_of(NAMES, still)
    verdict = Outcome(OutcomeKind.VERIFIED, "frozen: 2 file systems", frozen=2)
    progress = pending(still, cancelled=True, waiting_for="the agent's answer to the thaw")
    info = FreezeInfo(FreezeState.THAWING, still.wall() - timedelta(seconds=40))
    put(fleet, VM, freeze=info, progress=progress._replace(phase=Phase.THAWING, verdict=verdict))
    return fleet


def half_lost(still: StillClock) -> Fleet:
    """Return a group of two, one of which was lost and has been thawed."""
    fleet = lost(still)
    reason = "frozen: 2 file systems; its group was not frozen together: qemu:mail lost"
    whole = Outcome(
        OutcomeKind.VERIFIED, reason, frozen=2, thawed=2, settled=True, not_together=True
    )
    put(fleet, qemu("web-1"), last=with_meaning(whole, make_vm("web-1")))
    return fleet


def queued(still: StillClock) -> Fleet:
    fleet = fleet_of([f"vm-{number:04}" for number in range(1000)], still)
    for number, state in enumerate(fleet.states()):
        info = FreezeInfo(FreezeState.FREEZING, still.wall())
        progress = pending(still)
        if number >= 64:
            waits = Progress("freeze", Phase.QUEUED, "its turn: 64 at once", still.mono)
            progress, info = waits, thawed(still)
        put(fleet, state.id, progress=progress, freeze=info)
    return fleet


CALM = {"hung", "unanswered"}
"""What is no trouble, so that no key goes there."""
ALL: dict[str, tuple[Make, tuple[str, ...]]] = {
    "lost": (lost, ("Not consistent", "THE GUEST MAY BE FROZEN", "frostwatch thaw", "lost")),
    "partial": (partial, ("Not consistent", "The guest writes again", "frostwatch freeze")),
    "failed": (failed, ("Not consistent", "The guest writes again", "frostwatch freeze")),
    "broken": (broken, ("Make the copy again", "The guest writes again", "find out who wrote")),
    "left": (left, ("left frozen by frostwatch (pid 4711, root)", "t thaws it", "1 left")),
    "unanswered": (
        unanswered,
        (
            "gives up in 47:41",
            "Too late: a copy made before",
            "may still be frozen",
            "R shows what",
        ),
    ),
    "hung": (hung, ("thawed as soon as its agent answers", "gives up in 47:41", "R")),
}


@pytest.mark.parametrize("name", ALL)
async def test_it_is_all_said_without_scrolling(still: StillClock, name: str) -> None:
    make, words = ALL[name]
    async with console_session(make(still), still, size=SMALL) as session:
        await session.press("right_square_bracket" if name not in CALM else "g")
        assert "qemu:mail" in session.text
        text = " ".join(session.text.split())
        for word in words:
            assert word in text, session.text
        assert "Make the copy now" not in text


async def test_of_a_freeze_that_was_not_answered_nothing_is_said_to_be_covered(
    still: StillClock,
) -> None:
    outcome = Outcome(OutcomeKind.LOST, "why", cause=Cause.AGENT_GONE, coverage="2 of 2")
    for frozen, said in ((None, False), (1, True)):
        fleet = fleet_with(still, outcome._replace(frozen=frozen))
        async with console_session(fleet, still, size=LARGE) as session:
            await session.press("right_square_bracket")
            assert ("coverage 2 of 2" in session.text) is said
            await session.press("d", "2")
            assert ("coverage 2 of 2" in session.text) is said


async def test_how_much_longer_a_thaw_is_waited_for_is_said(still: StillClock) -> None:
    fleet = unanswered(still)
    progress = state_of(fleet, "mail").progress
    assert progress is not None
    since = still.mono - 60.0
    thawing = progress._replace(held_since=since, hold_ends_at=since + 50.0)
    put(fleet, VM, progress=thawing)
    put(fleet, qemu("app-1"), progress=thawing._replace(phase=Phase.HELD))
    async with console_session(fleet, still, size=LARGE) as session:
        await session.press("slash", *"mail", "enter")
        assert "47:41" in session.line_of("mail ")
        assert "gives up in 47:41" in session.text
        await session.press("slash", "ctrl+u", *"app-1", "enter")
        assert "47:41" not in session.text


async def test_what_to_do_about_a_silent_agent_is_said(still: StillClock) -> None:
    fleet = fleet_of(NAMES, still)
    silent = AgentHealth(AgentState.SILENT, KnownBy.DEADLINE, seen_at=still.wall())
    put(fleet, VM, agent=silent)
    async with console_session(fleet, still, size=SMALL) as session:
        await session.press("right_square_bracket")
        assert "next     look into the guest; if its agent hangs" in session.text


async def test_a_member_of_a_group_that_failed_is_not_certified(still: StillClock) -> None:
    async with console_session(half_lost(still), still, size=SMALL) as session:
        await session.press("slash", *"web-1", "enter")
        assert "≠ no group" in session.line_of("web-1 ")
        assert "last     ≠ no group: " in session.text
        assert "✓" not in session.text
        assert "Not consistent with its group" in session.text
        assert "The guest writes again" in session.text


class Waiting(FakeOperations):
    """Operations of which all but the first 64 wait for their turn."""

    def on(self, vm_id: VmId) -> FakeOperation | None:
        place = int(vm_id.name.rpartition("-")[2]) - 63
        turn = Place(max(place, 0), max(place, 0) * 0.52)
        return FakeOperation(make_vm(vm_id.name), "freeze", place=turn)


async def test_what_is_queued_says_its_place(still: StillClock) -> None:
    async with console_session(queued(still), still, size=SMALL, operations=Waiting()) as session:
        assert "936 queued" in session.lines[0]
        await session.press("G")
        assert "queued 936" in session.line_of("vm-0999 ")
        assert "queued 936th; about 8 min; waits for its turn: 64 at once" in session.text
        assert "nothing has been sent to it yet" in session.text
        assert "x takes it out of the queue" in session.text


def test_a_picture_of_half_a_group(snap_compare: Compare, still: StillClock) -> None:
    app = make_app(half_lost(still), still)
    assert snap_compare(app, terminal_size=SMALL, press=["slash", *"web-1", "enter"])


def test_a_picture_of_a_thousand_queued(snap_compare: Compare, still: StillClock) -> None:
    app = make_app(queued(still), still, Waiting())
    assert snap_compare(app, terminal_size=SMALL, press=["G"])


@pytest.mark.parametrize("name", ALL)
def test_a_picture_of(snap_compare: Compare, still: StillClock, name: str) -> None:
    assert snap_compare(make_app(ALL[name][0](still), still), terminal_size=SMALL)


# -- what does not fit is reached -------------------------------------------------------------


async def test_every_fact_is_reached_on_a_small_screen(still: StillClock) -> None:
    async with console_session(lost(still), still, size=SMALL) as session:
        assert "Tab: more facts" in session.text
        await session.press("tab")
        await session.until(lambda: "FACTS have the keys" in session.text)
        await session.press("end")
        await session.until(lambda: "can freeze: vda1" in session.text)
        await session.press("tab")
        await session.until(lambda: "LOG has the keys" in session.text)
        await session.press("escape")
        await session.until(lambda: "have the keys" not in session.text)


async def test_words_typed_into_the_log_freeze_nothing(still: StillClock) -> None:
    async with console_session(lost(still), still, size=SMALL) as session:
        await session.press("tab", "tab", "slash", *"web-1", "enter", "f", "enter")
        assert session.dialog == ""
        assert not session.operations.started
        assert "Esc, then f" in session.notice
        await session.press("escape", "escape", "f")
        assert session.dialog == "FreezeDialog"


async def cursor_on(session: ConsoleSession, name: str) -> None:
    await session.until(lambda: session.cursor == name)


async def test_troubles_outside_of_what_is_seen_are_counted_and_reached(
    still: StillClock,
) -> None:
    fleet = fleet_of([f"vm-{number:03}" for number in range(200)], still)
    for number in (3, 90, 190):
        reason = "no answer will come"
        outcome = Outcome(OutcomeKind.LOST, reason, cause=Cause.AGENT_GONE, settled=True)
        put(fleet, qemu(f"vm-{number:03}"), last=outcome)
    async with console_session(fleet, still, size=SMALL) as session:
        await session.press("s", "g")  # by name
        await session.until(lambda: "▲2 below" in session.text)
        for name in ("vm-003", "vm-090", "vm-190", "vm-003"):
            await session.press("right_square_bracket")
            await cursor_on(session, name)
        await session.press("left_square_bracket")
        await cursor_on(session, "vm-190")
        await session.until(lambda: "▲2 above" in session.line_of("NAME"))
        await session.until(lambda: "below" not in session.text)


async def test_there_may_be_no_other_trouble(still: StillClock) -> None:
    async with console_session(lost(still), still, size=SMALL) as session:
        await session.press("right_square_bracket")
        await cursor_on(session, "mail")
        for key in ("right_square_bracket", "left_square_bracket"):
            await session.press(key)
            assert session.notice.endswith("no other VM is in trouble"), key
            assert session.cursor == "mail"


async def test_there_may_be_no_trouble(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("right_square_bracket")
        assert "no VM is in trouble" in session.notice


# -- names -----------------------------------------------------------------------------------


async def test_names_that_begin_alike_are_told_apart(still: StillClock) -> None:
    fleet = fleet_of(NAMES, still)
    async with console_session(fleet, still, size=SMALL) as session:
        assert "customer-a-database-01 " in session.text
        info = FreezeInfo(FreezeState.FREEZING, still.wall())
        put(fleet, VM, progress=pending(still), freeze=info)
        await session.settle(3)
        assert "ENDS IN" in session.line_of("NAME")
        rows = [line for line in session.lines if line[3:].startswith("custom")]
        assert len({line[3:17] for line in rows}) == 2
        assert all("…" in line[:17] for line in rows)


async def test_a_wide_screen_shows_names_and_clocks(still: StillClock) -> None:
    async with console_session(fleet_of(NAMES, still), still, size=LARGE) as session:
        assert "customer-a-database-01 " in session.text
        assert "ENDS IN" in session.line_of("NAME")


# -- another frostwatch ------------------------------------------------------------------------


def elsewhere(still: StillClock) -> Fleet:
    fleet = fleet_of(NAMES, still)
    since, until = still.wall() - timedelta(seconds=12), still.wall() + timedelta(seconds=28)
    held = HeldBy(1316, "root", FreezeState.FROZEN, since, until, holder=1320, window=7)
    busy = AgentHealth(AgentState.BUSY, KnownBy.CLIENT, detail="held by frostwatch-hold")
    fleet.update(VM, lambda state: state._replace(agent=busy).with_held_by(held))
    return fleet


def flat(session: ConsoleSession) -> str:
    """What a dialog says, or else the screen, without the breaks of its lines."""
    inside = re.findall(r"[│┃](.*)[│┃]", session.text)
    return " ".join(" ".join(inside or session.lines).split())


async def test_what_another_frostwatch_holds_is_shown_as_well_as_ours(still: StillClock) -> None:
    async with console_session(elsewhere(still), still, size=SMALL) as session:
        await session.press("slash", *"mail", "enter")
        row = session.line_of("mail ")
        for words in ("❆ frozen", "by root", "0:12/0:40"):
            assert words in row
        assert "❆ frozen by root (pid 1316) until 12:00:28" in session.text
        assert "1 frozen" in session.lines[0]
        await session.press("f")
        told = "it looks as if this will be refused: it is frozen by root (pid 1316)"
        assert told in flat(session)
        await session.press("escape", "t")
        assert "Thaw somebody else's freeze of mail" in session.text
        assert "its holder is asked, and its own console thaws" in flat(session)
        assert "breaks that window" in flat(session)


async def test_what_another_frostwatch_holds_is_extended_and_thawed_after_a_question(
    still: StillClock,
) -> None:
    operations = FakeOperations()
    async with console_session(
        elsewhere(still), still, operations=operations, size=LARGE
    ) as session:
        await session.press("slash", *"mail", "enter", "e")
        assert "its holder is asked, and allows as much as that may" in flat(session)
        await session.press("enter")
        assert [longer for _, longer in operations.extended] == [10.0]
        assert "its holder is asked to hold it for longer" in flat(session)
        told = "held by root (pid 1316) for 10 s more, until 12:00:38"
        operations.extension.set_result(ExtendOutcome(VM, True, 10.0, None, told))
        await session.until(lambda: told in flat(session))
        await session.press("t", "enter")
        assert operations.started == [], "no is the first answer"
        await session.press("t", "right", "enter")
        (thaw,) = operations.started
        assert (thaw.kind, thaw.foreign) == ("thaw", True)


async def test_what_a_frostwatch_has_left_is_attached_to_with_a_key(still: StillClock) -> None:
    fleet, operations = elsewhere(still), FakeOperations()
    async with console_session(fleet, still, operations=operations) as session:
        await session.press("slash", *"mail", "enter", "A")
        assert "no frostwatch has left a window there to its holder" in flat(session)
        held = fleet.get(VM).held_by
        assert held is not None
        put(fleet, VM, held_by=held._replace(ended=True, kept=True))
        await session.settle(3)
        assert "left to its holder (pid 1320)" in flat(session)
        await session.press("t")
        assert "its holder is asked, and thaws it" in flat(session)
        await session.press("escape", "A")
        assert [one.kind for one in operations.started] == ["freeze"]
        assert "its holder is asked: this console takes it over" in flat(session)
        put(fleet, VM, progress=held_now(still))  # until its holder says so it is held by both
        await session.settle(3)
        await session.press("t")
        assert "window is closed now: it is thawed at once" in flat(session)
        assert "frostwatch" not in flat(session).partition("Thaw mail?")[2]


def test_a_picture_of_what_another_frostwatch_holds(
    snap_compare: Compare, still: StillClock
) -> None:
    app = make_app(elsewhere(still), still)
    assert snap_compare(app, terminal_size=SMALL, press=["slash", *"mail", "enter"])
