"""The pages: what a word means, one VM on the whole screen, all events; by real keys and clicks."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Sequence
from functools import partial

import pytest
from rich.cells import cell_len

from agentclient.fleet.recent_lines import RecentLines
from agentclient.fleet.store import Fleet
from agentclient.journal.figures import Figures
from agentclient.journal.history import VmHistory
from agentclient.model.errors import FrostwatchError
from agentclient.model.guest_report import GuestReport
from agentclient.model.snapshot import FreezeInfo
from agentclient.model.states import FreezeState, Level
from agentclient.model.vm import VmId
from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import HOSTILE_NAMES, every_state, fleet_of, lost, pending, put, verified
from tests.console.guest_report import REPORT, past
from tui.console.pages.events import EventsPage
from tui.console.pages.explain import ExplainPage
from tui.console.pages.plain import PlainPage
from tui.console.pages.vm import TITLES, VmPage
from tui.console.widgets.lines import LinesView
from tui.shared.glyphs import Signs
from tui.shared.tone import Line

SIZES = [SMALL, (120, 40), (200, 60)]


@pytest.fixture
def operations() -> FakeOperations:
    found = FakeOperations()
    found.report, found.past = REPORT, past()
    return found


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that may have a clipboard, and is no multiplexer's."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)


def written_by(session: ConsoleSession) -> list[str]:
    """What is sent to the terminal's clipboard from now on, as plain text."""
    found: list[str] = []

    def take(sequence: str) -> None:
        encoded = re.fullmatch(r"\x1b\]52;c;([^\x07]*)\x07", sequence)
        if encoded is not None:
            found.append(base64.b64decode(encoded[1]).decode())

    setattr(session.app, "write_to_terminal", take)  # noqa: B010
    return found


def said_by(session: ConsoleSession) -> str:
    """What the paragraph beside the list of words says, as if nothing were wrapped."""
    left = session.app.screen.query_one("#paragraph").region.x + 1
    return " ".join(" ".join(line[left:] for line in session.lines[1:-2]).split())


def shows(session: ConsoleSession, words: str) -> bool:
    return words in session.flat


async def found(session: ConsoleSession, name: str) -> None:
    """Put the cursor on a VM, by its name."""
    await session.press("slash", *name, "enter")


# -- what a word means -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("plain", [False, True])
async def test_the_most_urgent_word_is_explained_first(
    still: StillClock, size: tuple[int, int], plain: bool
) -> None:
    signs = Signs(ascii=plain)
    async with console_session(every_state(still), still, size=size, signs=signs) as session:
        await found(session, "foreign")
        await session.press("i")
        assert isinstance(session.app.screen, ExplainPage)
        assert session.line_of("file systems").startswith(f"{signs.cursor}file systems")
        assert "it is frozen, and not provably by a frostwatch" in said_by(session)
        assert "backup's: frostwatch thaw --foreign" in said_by(session)
        assert not plain or session.text.isascii()
        await session.press("escape")
        assert session.cursor == "db-2"


async def test_each_word_of_an_outcome_has_its_paragraph(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=LARGE) as session:
        await found(session, "mail")
        await session.press("f2")
        assert "the freeze will never be answered" in session.flat
        assert "here the agent was restarted 0.2 s ago" in session.flat
        seen = [session.flat]
        for _ in range(6):
            await session.press("j")
            seen.append(session.flat)
        assert any("another agent runs than the one that was asked" in flat for flat in seen)
        assert any("It closed: the agent ended or was restarted" in flat for flat in seen)
        await session.press("home")
        assert session.flat == seen[0]
        await session.pilot.click("#words", offset=(3, 1))
        assert "another agent runs" in session.flat


async def test_a_paragraph_that_does_not_fit_is_scrolled(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=(80, 14)) as session:
        await found(session, "foreign")
        await session.press("i")
        assert "guest-fsfreeze-thaw" not in session.flat
        await session.press("pagedown", "pagedown")
        assert "guest-fsfreeze-thaw" in session.flat
        await session.press("j")
        assert "the agent answers" in session.flat, "another word begins at its top"


async def test_keys_that_come_together_leave_a_page_once(still: StillClock) -> None:
    """Over a slow line, or by a finger that is sure: the console stays."""
    fleet = fleet_of(["a", "b"], still)
    fleet.log(qemu("a"), Level.INFO, "something")
    for page, leave in (("E", "escape"), ("E", "enter"), ("d", "escape"), ("i", "escape")):
        async with console_session(fleet, still) as session:
            await session.press(page)
            for _ in range(3):
                session.app.simulate_key(leave)
            await session.until(lambda: len(session.app.screen_stack) == 1)
            await session.press("down")
            assert session.app.is_running
            assert "NAME" in session.text


@pytest.mark.parametrize("key", ["f", "t", "w", "C", "H", "R", "d", "i", "E", "c", "colon", "?"])
async def test_what_is_left_before_it_is_on_the_screen_ends_nothing(
    still: StillClock, key: str
) -> None:
    fleet = fleet_of(["a"], still)
    async with console_session(fleet, still) as session:
        for dismissed in range(6):
            session.app.simulate_key({"?": "question_mark"}.get(key, key))
            for _ in range(dismissed):  # it has begun, and is not drawn yet
                await asyncio.sleep(0)
            if len(session.app.screen_stack) > 1:
                session.app.screen.dismiss(None)
            await session.pilot.pause()
            session.app.simulate_key("escape")
            await session.until(lambda: len(session.app.screen_stack) == 1)
        assert session.app.is_running


async def test_the_page_follows_its_vm_and_not_the_table(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with console_session(fleet, still) as session:
        await session.press("down", "i")
        assert "qemu:b" in session.lines[0]
        put(fleet, qemu("b"), last=lost(settled=False), freeze=FreezeInfo(FreezeState.FREEZING))
        await session.until(lambda: "frozen?" in session.text)
        fleet.set_vms("qemu", [])
        fleet.forget_absent()
        await session.until(lambda: "it is gone from the list" in session.text)


async def test_no_key_of_a_page_touches_a_guest(
    still: StillClock, operations: FakeOperations
) -> None:
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        for page in ("i", "d", "E"):
            await session.press(page, *"ftcxeTAR", "space", "escape")
            while session.app.screen_stack[1:]:
                await session.press("escape")
        assert operations.started == []
        assert session.dialog == ""


async def test_commands_and_paragraphs_are_copied_and_shown(still: StillClock) -> None:
    async with console_session(every_state(still), still, size=LARGE) as session:
        copied = written_by(session)
        await found(session, "mail")
        await session.press("i", "3")
        assert copied[-1].startswith(
            "printf '%s\\n' '{\"execute\":\"guest-fsfreeze-thaw\"}' | socat"
        )
        assert "copied command 3" in session.notice
        await session.press("9")
        assert "there is no command 9" in session.notice
        await session.press("y")
        assert copied[-1].startswith("qemu:mail: lost (outcome): the freeze will never be answered")
        count = len(copied)
        await session.press("y")
        assert isinstance(session.app.screen, PlainPage), "the same again is shown"
        assert "Shift and drag marks it" in session.text
        assert len(copied) == count
        await session.press("escape", "escape")
        assert session.cursor == "mail"


async def test_a_terminal_without_a_clipboard_is_shown_the_text(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "linux")
    async with console_session(fleet_of(["a"], still), still) as session:
        copied = written_by(session)
        await session.press("i", "y")
        assert isinstance(session.app.screen, PlainPage)
        assert "qemu:a: thawed" in session.text
        assert copied == []


# -- one VM ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("plain", [False, True])
async def test_every_tab_has_its_place(
    still: StillClock, size: tuple[int, int], plain: bool, operations: FakeOperations
) -> None:
    fleet = every_state(still)
    session_of = console_session(
        fleet, still, size=size, operations=operations, signs=Signs(ascii=plain)
    )
    words = (
        "certified: all 2 file systems",
        "the freeze's own answer. So many file systems are frozen",
        "Debian GNU/Linux 12 (bookworm)",
        "/run/4002.qga",
        "this console has logged nothing of it yet",
        "4 freezes answered: median",
    )
    async with session_of as session:
        await found(session, "app-10")
        await session.press("d")
        assert isinstance(session.app.screen, VmPage)
        for number, (title, said) in enumerate(zip(TITLES, words, strict=True), start=1):
            assert f"{number} {title}" in session.lines[1]
            await session.press(str(number))
            await session.until(partial(shows, session, said))
            assert not plain or session.text.isascii()
        await session.press("tab")
        assert session.app.screen.tab == 0
        await session.press("left")
        assert session.app.screen.tab == 5
        await session.pilot.click("#vm-tabs", offset=(14, 0))
        assert session.app.screen.tab == 1


async def test_the_guest_is_asked_when_its_tab_is_opened_and_on_request(
    still: StillClock, operations: FakeOperations
) -> None:
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        await session.press("d", "2", "1")
        assert operations.inspected == []
        operations.report = None
        await session.press("3")
        assert "its agent is being asked" in session.text
        await session.press("r", "2", "3")
        assert len(operations.inspected) == 1, "one question at a time"


@pytest.mark.parametrize("size", SIZES)
async def test_sizes_disks_and_what_the_agent_allows(
    still: StillClock, size: tuple[int, int], operations: FakeOperations
) -> None:
    fleet = fleet_of(["a"], still)
    async with console_session(fleet, still, size=size, operations=operations) as session:
        await session.press("d", "3")
        await session.until(lambda: "bookworm" in session.text)
        assert "version 7.2.0, 9 of its 11 commands allowed" in session.flat
        assert "✓ freeze" in session.flat
        assert "✗ run programs" in session.flat
        assert "2 of 3 can freeze" in session.flat
        line = session.line_of("/var/lib/postgresql")
        assert line.strip(" ").startswith("❆ /var/lib/postgresql")
        assert "xfs" in line
        assert "200 GiB" in line
        assert "98%" in line
        assert session.line_of("/boot/efi").startswith(" ✗")


async def test_why_a_guest_is_not_asked_is_told_with_what_was_known(
    still: StillClock, operations: FakeOperations
) -> None:
    operations.report = GuestReport(still.wall(), "a freeze is in flight on it")
    fleet = every_state(still)
    async with console_session(fleet, still, operations=operations) as session:
        await found(session, "app-10")
        await session.press("d", "3")
        await session.until(lambda: "Not asked: a freeze is in flight on it." in session.text)
        assert "vda15" in session.flat, "what its agent told before"


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (None, "No journal is kept here"),
        (FrostwatchError("it does not answer"), "can't be read: it does not answer"),
        (VmHistory((), Figures(0)), "Nothing was frozen or thawed here yet"),
        (VmHistory((), Figures(0), missing="the disk is full"), "not known: the disk is full"),
    ],
)
async def test_a_past_that_there_is_not(
    still: StillClock,
    known: VmHistory | Exception | None,
    words: str,
    operations: FakeOperations,
) -> None:
    operations.past = known
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        await session.press("d", "6")
        await session.until(lambda: words in session.text)


async def test_the_past_is_a_chart_and_its_lines_are_read_in_full(
    still: StillClock, operations: FakeOperations
) -> None:
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        await session.press("d", "6")
        await session.until(lambda: "████████████    12.5 s" in session.text)
        await session.press("end")
        assert "0.7 s 2/2 held 29 s, by root; backup" in session.flat
        await session.press("r")
        await session.until(lambda: "████████████    12.5 s" in session.text)


@pytest.mark.parametrize("keys", [("H",), ("d", "6")])
async def test_a_past_window_has_the_same_keys_wherever_it_is_listed(
    still: StillClock, operations: FakeOperations, keys: tuple[str, ...]
) -> None:
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        await session.press(*keys)
        await session.until(lambda: "4 freezes answered" in session.text)
        before = session.text
        await session.press("ctrl+f", "ctrl+b", "j", "enter")
        assert session.dialog == "CertificateDialog"
        assert "window 2 of the journal" in session.flat
        await session.press("w")
        assert session.dialog == "SaveDialog"
        await session.press("escape", "escape", "k")
        assert session.text == before
        await session.press("p")
        assert session.dialog == "CopiedDialog"
        assert "frostwatch replay --window 1" in session.text
        await session.press("escape")
        assert session.text == before


async def test_the_tab_of_the_past_names_its_keys_and_takes_clicks(
    still: StillClock, operations: FakeOperations
) -> None:
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        await session.press("d", "6")
        await session.until(lambda: "4 freezes answered" in session.text)
        assert "Enter Certificate" in session.lines[-1]
        assert "p Replay" in session.lines[-1]
        await session.pilot.click("#vm-past", offset=(10, 2), times=2)
        assert "window 5 of the journal" in session.flat
        await session.press("escape", "1")
        assert "Replay" not in session.lines[-1]


@pytest.mark.parametrize("known", [None, VmHistory((), Figures(0)), FrostwatchError("no answer")])
async def test_without_a_past_window_no_key_does_anything(
    still: StillClock, operations: FakeOperations, known: VmHistory | Exception | None
) -> None:
    operations.past = known
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        await session.press("d", "6", "enter", "p")
        assert isinstance(session.app.screen, VmPage)


async def test_the_log_goes_on_while_it_is_read(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    async with console_session(fleet, still) as session:
        await session.press("d", "5")
        fleet.log(qemu("a"), Level.WARNING, "the agent was restarted")
        await session.until(lambda: "the agent was restarted" in session.text)


async def test_a_tab_is_copied_as_it_stands(still: StillClock, operations: FakeOperations) -> None:
    fleet = fleet_of(["a"], still)
    put(fleet, qemu("a"), last=verified())
    fleet.log(qemu("a"), Level.GOOD, "certified")
    async with console_session(fleet, still, operations=operations) as session:
        copied = written_by(session)
        await session.press("d", "2", "y")
        assert "✓ reply: 2" in copied[-1]
        await session.press("5", "y")
        assert copied[-1] == "qemu:a\n2025-09-09 12:00:00 good: certified\n"
        await session.press("i")
        assert isinstance(session.app.screen, ExplainPage)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
async def test_hostile_names_break_no_page(
    still: StillClock, name: str, operations: FakeOperations
) -> None:
    fleet = fleet_of([name], still)
    fleet.log(qemu(name), Level.INFO, name)
    put(fleet, qemu(name), last=lost()._replace(reason=name), trouble=name)
    async with console_session(fleet, still, operations=operations) as session:
        for keys in ("i", "d23456", "E"):
            await session.press(*keys)
            assert "can't be shown" not in session.text
            assert all(cell_len(line) <= 80 for line in session.lines)
            await session.press("escape")


# -- all events ------------------------------------------------------------------------------------


def eventful(still: StillClock) -> Fleet:
    fleet = fleet_of(["a", "b"], still)
    fleet.log(qemu("a"), Level.INFO, "freeze sent")
    fleet.log(qemu("b"), Level.WARNING, "agent silent (deadline)")
    fleet.log(qemu("a"), Level.ERROR, "lost: no answer will come " + "at all " * 30)
    return fleet


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("plain", [False, True])
async def test_all_events_are_in_one_list_the_newest_last(
    still: StillClock, size: tuple[int, int], plain: bool
) -> None:
    signs = Signs(ascii=plain)
    async with console_session(eventful(still), still, size=size, signs=signs) as session:
        await session.press("E")
        assert isinstance(session.app.screen, EventsPage)
        assert "3 since this console began" in session.lines[0]
        assert session.line_of("lost: no answer").startswith(signs.cursor)
        assert "at all" in session.flat, "the chosen one is told in full"
        assert session.lines.index(session.line_of("freeze sent")) == 1
        assert not plain or session.text.isascii()


async def test_the_list_goes_on_and_leaves_a_reader_in_peace(still: StillClock) -> None:
    fleet = eventful(still)
    async with console_session(fleet, still) as session:
        await session.press("E")
        fleet.log(qemu("b"), Level.GOOD, "certified")
        await session.until(lambda: "certified" in session.text)
        assert session.line_of("certified").startswith("▌")
        await session.press("home")
        fleet.log(qemu("b"), Level.GOOD, "thawed")
        await session.until(lambda: "thawed" in session.text)
        assert session.line_of("freeze sent").startswith("▌")


async def test_events_are_filtered_by_words_and_by_level(still: StillClock) -> None:
    async with console_session(eventful(still), still) as session:
        await session.press("E", "slash", *"qemu:b", "enter")
        assert "freeze sent" not in session.text
        assert "1 since this console began" in session.lines[0]
        await session.press("escape")
        assert "freeze sent" in session.text
        await session.press("l")
        assert "warnings and errors" in session.lines[0]
        assert "freeze sent" not in session.text
        await session.press("l", "l", "l", "slash", *"nothing like it")
        assert "nothing that is wanted has happened" in session.text
        await session.press("escape", "escape")
        assert isinstance(session.app.screen, type(session.app.screen_stack[0]))


async def test_one_goes_from_an_event_to_its_vm(still: StillClock) -> None:
    async with console_session(eventful(still), still) as session:
        await session.press("slash", *"qemu:a", "enter", "E", "up", "enter")
        await session.until(lambda: len(session.app.screen_stack) == 1)
        assert session.cursor == "b", "the filter that hid it is gone"
        await session.press("E", "d")
        assert isinstance(session.app.screen, VmPage)
        assert "qemu:a" in session.lines[0]
        await session.press("escape", "i")
        assert isinstance(session.app.screen, ExplainPage)


async def test_a_vm_that_is_gone_is_not_gone_to(still: StillClock) -> None:
    fleet = eventful(still)
    async with console_session(fleet, still) as session:
        await session.press("E")
        fleet.set_vms("qemu", [])
        fleet.forget_absent()
        await session.press("enter", "d", "i")
        assert "a is not known any more" in session.notice
        assert isinstance(session.app.screen, EventsPage)


async def test_what_fell_out_is_counted(still: StillClock) -> None:
    fleet = eventful(still)
    fleet._recent = RecentLines(lines=5)
    for number in range(9):
        fleet.log(VmId("qemu", "a"), Level.INFO, f"line {number}")
    async with console_session(fleet, still) as session:
        await session.press("E")
        assert "5 since this console began; the oldest 4 fell out" in session.lines[0]
        await session.press("home")
        fleet.log(VmId("qemu", "a"), Level.INFO, "line 9")
        await session.until(lambda: "oldest 5 fell out" in session.text)
        assert "line 5" in session.text


async def test_a_page_shows_what_the_operator_has_to_know(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    async with console_session(fleet, still) as session:
        await session.press("d")
        put(fleet, qemu("b"), last=lost())
        session.app.drain()
        await session.until(lambda: "b: lost" in session.notice)


async def test_a_freeze_that_runs_is_seen_on_the_page(still: StillClock) -> None:
    fleet = fleet_of(["a"], still)
    put(fleet, qemu("a"), progress=pending(still), freeze=FreezeInfo(FreezeState.FREEZING))
    async with console_session(fleet, still) as session:
        await session.press("d")
        assert "step 2 of 6 ends in 7:41" in session.flat
        still.advance(60)
        await session.until(lambda: "step 2 of 6 ends in 6:41" in session.flat)


async def test_a_page_is_as_wide_as_the_screen_from_its_first_moment(
    still: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a busy machine, where some time passes before its first layout."""
    shown: list[int] = []
    show_lines = LinesView.show_lines

    def note(view: LinesView, lines: Sequence[Line]) -> None:
        if view.id == "vm-text":
            shown.append(max(sum(cell_len(piece.text) for piece in line) for line in lines))
        show_lines(view, lines)

    monkeypatch.setattr(LinesView, "show_lines", note)
    async with console_session(every_state(still), still, size=(120, 40)) as session:
        await session.press("slash", *"app-10", "enter", "d")
        await session.until(lambda: len(shown) > 1)
        assert min(shown) > 60
