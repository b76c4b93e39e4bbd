"""Taking away: an error, a command or a log into the clipboard; a report or a picture as a file."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agentclient.fleet.store import Fleet
from agentclient.journal.figures import Figures
from agentclient.journal.history import VmHistory
from agentclient.model.snapshot import LogLine
from agentclient.model.states import Cause, Level
from agentclient.model.text import printable
from agentclient.model.vm import VmId
from tests.console.console_session import LARGE, SMALL, ConsoleSession, console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import HOSTILE_NAMES, ROOT, fleet_of, lost, put, state_of
from tests.console.guest_report import REPORT, past
from tests.console.test_pages import written_by
from tui.console.dialogs.save import SaveDialog
from tui.console.model.incident_report import (
    MOST_LINES,
    Incident,
    _timeline,
    code,
    file_name,
    incident_report,
)
from tui.console.model.next_command import next_of
from tui.console.pages.plain import PlainPage
from tui.shared.clocks import Moment
from tui.shared.glyphs import Signs

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIZES = [SMALL, (120, 40), (200, 60)]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the test's own, and a terminal with a clipboard."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)


def in_trouble(still: StillClock, name: str = "mail") -> Fleet:
    fleet = fleet_of([name], still)
    put(fleet, qemu(name), last=lost())
    fleet.log(qemu(name), Level.INFO, "freeze sent")
    fleet.log(qemu(name), Level.ERROR, "lost: the agent was restarted")
    return fleet


async def saved(session: ConsoleSession, key: str, tmp_path: Path) -> Path:
    """Take something into a file of the name that is proposed."""
    await session.press("w", key)
    await session.until(lambda: session.dialog == "SaveDialog")
    await session.press("enter")
    await session.until(lambda: session.dialog == "")
    (path,) = tmp_path.iterdir()
    return path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("plain", [False, True])
async def test_what_there_is_to_take_is_offered(
    still: StillClock, size: tuple[int, int], plain: bool
) -> None:
    signs = Signs(ascii=plain)
    async with console_session(in_trouble(still), still, size=size, signs=signs) as session:
        await session.press("w")
        assert session.dialog == "TakeDialog"
        assert "Take away: qemu:mail" in session.text
        for words in ("1 outcome qemu:mail: lost (agent-restarted)", "3 log 2 lines", "6 picture"):
            assert words in session.flat
        assert not plain or session.text.isascii()
        await session.press("escape")
        assert session.dialog == ""


async def test_an_error_a_command_and_a_log_are_copied(still: StillClock) -> None:
    async with console_session(in_trouble(still), still, size=LARGE) as session:
        copied = written_by(session)
        await session.press("w", "1")
        assert isinstance(session.app.screen, PlainPage)
        lines = copied[-1].splitlines()
        assert lines[0].startswith("qemu:mail: lost (agent-restarted): the agent was restarted")
        assert lines[1].startswith("Not consistent: ")
        assert lines[-1].startswith("NEXT: ")
        await session.press("escape", "w", "2")
        assert copied[-1] == "frostwatch freeze qemu:mail"
        await session.press("escape", "w", "3")
        assert copied[-1].splitlines()[1:] == [
            "2025-09-09T12:00:00+00:00 info: freeze sent",
            "2025-09-09T12:00:00+00:00 error: lost: the agent was restarted",
        ]
        assert "in the clipboard, if this terminal takes it" in session.flat


@pytest.mark.parametrize(
    ("name", "cause", "command"),
    [
        ("mail.", Cause.AGENT_RESTARTED, "frostwatch freeze qemu:mail."),
        ("a;b's", Cause.AGENT_RESTARTED, "frostwatch freeze 'qemu:a;b'\"'\"'s'"),
        ("mail", Cause.UNKNOWN, "frostwatch doctor qemu:mail"),
    ],
)
def test_a_command_is_the_vm_s_own_and_nothing_beside_it(
    still: StillClock, name: str, cause: Cause, command: str
) -> None:
    """A name may end as a sentence does: without its last letter it is another VM's (P6)."""
    fleet = fleet_of([name], still)
    put(fleet, qemu(name), last=lost()._replace(cause=cause, next=None))
    found = next_of(state_of(fleet, name))
    assert (found and found.command) == command


async def test_a_picture_of_a_vm_of_any_name_is_a_picture(
    still: StillClock, tmp_path: Path
) -> None:
    fleet = in_trouble(still, "a\x1b[2Jb\udcff")
    async with console_session(fleet, still, size=LARGE) as session:
        path = await saved(session, "6", tmp_path)
        ElementTree.parse(path)


async def test_what_is_copied_of_a_vm_of_any_name_runs_nothing_where_it_is_pasted(
    still: StillClock,
) -> None:
    name = "a\nreboot\n\x1b[201~\x15reboot\r"
    fleet = in_trouble(still, name)
    async with console_session(fleet, still, size=LARGE) as session:
        copied = written_by(session)
        for keys in (["E", "y", "escape"], ["d", "2", "y", "escape"], ["i", "y", "escape"]):
            await session.press(*keys)
        for number in "123":
            await session.press("w", number, "escape")
    assert len(copied) == 6
    for text in copied:
        assert text.replace("\n", "").isprintable(), repr(text)
        assert not any(line.startswith("reboot") for line in text.split("\n")), repr(text)
    assert copied[4] == "frostwatch freeze $'qemu:a\\012reboot\\012\\033[201~\\025reboot\\015'"
    words = subprocess.run(
        ["bash", "-c", f'set -- {copied[4]}; printf %s "$3"'], capture_output=True, check=True
    )
    assert words.stdout.decode() == f"qemu:{name}"


async def test_what_there_is_not_can_not_be_taken(still: StillClock) -> None:
    async with console_session(fleet_of(["a"], still), still) as session:
        await session.press("w", "2")
        assert session.dialog == "TakeDialog"
        assert "there is no command to be taken" in session.flat


async def test_a_report_is_a_new_file_for_its_owner_alone(
    still: StillClock, tmp_path: Path
) -> None:
    operations = FakeOperations()
    operations.past = past()
    async with console_session(in_trouble(still), still, operations=operations) as session:
        path = await saved(session, "5", tmp_path)
        assert path.name == "incident-qemu-mail-20250909-120000.md"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        report = path.read_text()
        for words in (
            "# Incident report: `qemu:mail`",
            "- **lost**: `the agent was restarted 0.2 s ago; the freeze will not be answered`",
            "## Timeline",
            "| 2025-09-09 12:00:00+00:00 | +0.0 s | error | `lost: the agent was restarted` |",
            "| port | against | `closed and opened, 0.2 s before the verdict` |",
            "## The past, by the journal",
            "4 freezes answered: median 2.5 s",
            "agent      /run/4000.qga (unknown)",
        ):
            assert words in report
        await session.until(lambda: "the report is in" in session.notice)


async def test_a_report_from_a_vms_page_has_what_its_agent_has_told(
    still: StillClock, tmp_path: Path
) -> None:
    operations = FakeOperations()
    operations.report = REPORT
    async with console_session(in_trouble(still), still, operations=operations) as session:
        await session.press("d", "3")
        await session.until(lambda: "bookworm" in session.text)
        path = await saved_from_page(session, tmp_path)
        assert "Debian GNU/Linux 12 (bookworm)" in path.read_text()
        await session.until(lambda: "the report is in" in session.notice)


async def saved_from_page(session: ConsoleSession, tmp_path: Path) -> Path:
    await session.press("w", "5")
    await session.until(lambda: session.dialog == "SaveDialog")
    await session.press("enter")
    await session.until(lambda: bool(list(tmp_path.iterdir())))
    await session.until(lambda: session.dialog == "")
    (path,) = tmp_path.iterdir()
    return path


async def test_a_picture_is_of_the_screen_and_not_of_the_question(
    still: StillClock, tmp_path: Path
) -> None:
    async with console_session(in_trouble(still), still) as session:
        path = await saved(session, "6", tmp_path)
        picture = path.read_text()
        assert path.suffix == ".svg"
        assert picture.startswith("<svg")
        assert "mail" in picture
        assert "Take" not in picture.replace("Take&#160;away", "Take away").split("</style>")[1]


async def test_a_file_that_is_there_stays_as_it_is(still: StillClock, tmp_path: Path) -> None:
    there = tmp_path / "log-qemu-mail-20250909-120000.txt"
    there.write_text("mine")
    async with console_session(in_trouble(still), still) as session:
        await session.press("w", "4", "enter")
        await session.until(lambda: "another" in session.text)
        assert there.read_text() == "mine"
        await session.press("backspace", "backspace", "backspace", *"new")
        await session.pilot.pause(0.3)  # a button that was just pressed takes no second press
        await session.press("enter")
        await session.until(lambda: session.dialog == "")
        assert there.with_suffix(".new").read_text().startswith("# qemu:mail")


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/dev/full").exists(), reason="no such device")
async def test_a_disk_that_is_full_is_one_sentence(still: StillClock) -> None:
    async with console_session(in_trouble(still), still) as session:
        await session.press("w", "4", "ctrl+u", *"/proc/no", "enter")
        await session.until(lambda: "made:" in session.text)
        assert session.dialog == "SaveDialog"


# -- whatever a VM is called ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "../../etc/passwd", "a\0b", "-rf", "", "..."])
def test_a_name_of_a_file_is_harmless(name: str) -> None:
    found = file_name(VmId("qemu", name), "incident", AT, "md")
    assert found.isascii()
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert found.startswith("incident-qemu")
    assert len(found) < 130
    assert "/" not in found


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (None, "Not known: no journal is kept here, or it could not be read in time."),
        (VmHistory((), Figures(0)), "Nothing was frozen or thawed before."),
        (VmHistory((), Figures(0), missing="the disk is full"), "Not known: `the disk is full`"),
        (past(), "4 freezes answered"),
        (replace(past(), missing="it hangs"), "Some may be missing: it hangs"),
    ],
)
def test_a_report_says_what_is_not_known(
    still: StillClock, known: VmHistory | None, words: str
) -> None:
    fleet = in_trouble(still)
    put(fleet, qemu("mail"), file_systems=(ROOT,))
    state = state_of(fleet, "mail")
    report = incident_report(Incident(state, (), Moment(0.0, AT), "host", past=known))
    assert words in report
    assert "## The guest, as far as is known without asking it" in report
    assert "is being asked" not in report


LETTERS = st.text(st.sampled_from("ab`|\\' \n$é<[")) | st.text()


@given(LETTERS)
def test_what_stands_in_code_stays_there_with_all_of_its_letters(text: str) -> None:
    """A command that is pasted out of a report names the VM, and runs nothing else."""
    shown = printable(text, 2000) or " "
    found = code(text)
    assert len(found.splitlines()) == 1
    assert in_code(found) == [shown]
    for line in log_rows(text):
        assert in_code(f"| a | b | c | d |\n|---|---|---|---|\n{line}\n") == [
            shown.replace("\\|", "\\¦")  # which a table can't have
        ]


def log_rows(text: str) -> list[str]:
    """Return the rows of a report's timeline that has a log of one line."""
    return list(_timeline((LogLine(1, AT, Level.INFO, text),)))[4:-1]


def in_code(markdown: str) -> list[str]:
    """Return what stands in code, as Markdown has it."""
    parsed = MarkdownIt("commonmark").enable("table").parse(markdown)
    inside = [child for token in parsed for child in token.children or ()]
    return [child.content for child in inside if child.type == "code_inline"]


def test_a_clock_that_was_set_back_between_two_lines_is_told() -> None:
    hours = (AT, AT + timedelta(seconds=1), AT - timedelta(hours=1))
    log = tuple(LogLine(1 + n, at, Level.INFO, "said") for n, at in enumerate(hours))
    told = [line.split("|")[2].strip() for line in list(_timeline(log))[4:-1]]
    assert told == ["", "+1.0 s", "the clock was set back"]


def test_a_name_with_backticks_is_quoted_in_the_command_of_a_report(still: StillClock) -> None:
    name = "a`;touch x;`"
    fleet = in_trouble(still, name)
    put(fleet, qemu(name), last=lost()._replace(next=f"then: frostwatch freeze 'qemu:{name}'"))
    state = state_of(fleet, name)
    report = incident_report(Incident(state, (), Moment(0.0, AT), "host"))
    assert f"- Next: ``then: frostwatch freeze 'qemu:{name}'``" in report.splitlines()


def test_a_hostile_guest_writes_no_heading_and_no_table(still: StillClock) -> None:
    evil = "x\n# Owned\n| a | b |\n```\n[click](http://evil)`"
    fleet = in_trouble(still)
    put(fleet, qemu("mail"), last=lost()._replace(reason=evil), trouble=evil)
    fleet.log(qemu("mail"), Level.ERROR, evil)
    state = state_of(fleet, "mail")
    log = fleet.log_since(state.id)
    report = incident_report(Incident(state, log, Moment(0.0, AT), evil, REPORT, past()))
    for line in report.splitlines():
        assert not line.startswith("# Owned")
        assert line.count("`") % 2 == 0 or line == "```"
        if line.startswith("|") and "Owned" in line:
            assert len(re.findall(r"(?<!\\)\|", line)) == 5


def test_a_long_log_says_how_much_is_left_out(still: StillClock) -> None:
    fleet = in_trouble(still)
    state = state_of(fleet, "mail")
    log = tuple(LogLine(number, AT, Level.INFO, "x") for number in range(11, 11 + MOST_LINES + 5))
    report = incident_report(Incident(state, log, Moment(0.0, AT), "host"))
    assert "The oldest 15 lines are left out." in report
    assert report.count("| info |") == MOST_LINES


@pytest.mark.parametrize("key", ["4", "5", "6"])
async def test_a_page_of_a_browser_writes_no_file(
    still: StillClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Whoever has its address would make files of root's, of any name."""
    monkeypatch.setenv("TEXTUAL_DRIVER", "textual.drivers.web_driver:WebDriver")
    async with console_session(in_trouble(still), still, size=LARGE, read_only=True) as session:
        await session.press("w", key)
        await session.until(lambda: session.dialog == "")
        assert "no page of a browser writes a file on this host" in session.flat
        dialog = SaveDialog("Save", tmp_path / "x", lambda _: "x", "")  # whoever else opens one
        await session.app.push_screen(dialog)
        await session.press("enter")
        await session.until(lambda: "no page of a browser" in session.flat)
    assert not list(tmp_path.iterdir())
