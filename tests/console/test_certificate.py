"""The history as pictures, a window's certificate, and how that is saved."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentclient.journal.figures import Figures
from agentclient.journal.history import VmHistory
from agentclient.journal.window_row import WindowRow
from agentclient.model.states import OutcomeKind, WindowKind, WindowState
from tests.console.console_session import SMALL, ConsoleSession, console_session
from tests.console.fakes import NOON, FakeOperations, StillClock
from tests.console.fleets import fleet_of
from tests.console.past import VERIFIED, certified, group_of_three, lost, past_of_web1
from tui.console.model.certificate import Page, as_json, as_text, entries, file_name, headline
from tui.shared.glyphs import Signs

DAY = timedelta(days=1)


def knowing(past: VmHistory) -> FakeOperations:
    operations = FakeOperations()
    operations.past = past
    return operations


def of(*rows: WindowRow) -> FakeOperations:
    return knowing(VmHistory(rows, Figures(0)))


def page(row: WindowRow, *members: WindowRow) -> Page:
    return Page(row, members, None, NOON)


# -- the history ----------------------------------------------------------------------------------


async def test_past_freezes_are_lines_and_the_chosen_one_is_told_in_full(
    still: StillClock,
) -> None:
    operations = knowing(past_of_web1())
    async with console_session(fleet_of(["web1"], still), still, operations=operations) as session:
        await session.press("H")
        assert "█" in session.line_of("09-09 10:00:00")
        assert "together 30.0 s" in session.text
        await session.press("j", "j", "j", "j")
        assert "✗ lost" in session.line_of("▌ 09-05 03:00:00")
        assert "2025-09-05 03:00:00  ✗ lost" in session.text
        assert "together" not in session.text
        await session.press("end")
        assert "08-2" in session.line_of("▌ 0")
        await session.press("home")
        assert "▌ 09-09" in session.text


async def test_enter_opens_the_certificate_of_the_chosen_window(still: StillClock) -> None:
    operations = knowing(past_of_web1())
    fleet = fleet_of(["web1"], still)
    async with console_session(fleet, still, operations=operations, size=(120, 50)) as session:
        await session.press("H", "enter")
        assert session.dialog == "CertificateDialog"
        for words in (
            "✓ CERTIFIED",
            "A copy that was made in this window is consistent.",
            "3 VMs, frozen within 1.9 s, together for 30.0 s",
            "+34.500 s  thaw sent",
            "✓ for      reply: 2",
            "root (uid 0), pid 4711: frostwatch freeze web1",
            "host1",
            "frostwatch 0.1.0; agent 7.2.0; QEMU 9.2.0",
        ):
            assert words in session.text
        await session.press("escape")
        assert session.dialog == "HistoryDialog"


async def test_every_part_of_it_is_reached_on_a_small_screen(still: StillClock) -> None:
    operations = knowing(past_of_web1())
    fleet = fleet_of(["web1"], still)
    async with console_session(fleet, still, operations=operations, size=SMALL) as session:
        await session.press("H", "enter")
        assert "CERTIFIED" in session.text
        await session.press("pagedown", "pagedown", "pagedown")
        assert "QEMU 9.2.0" in session.text


# -- never better than it is ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [one for one in OutcomeKind if one is not OutcomeKind.VERIFIED])
def test_what_says_certified_and_is_not_verified_is_no_certificate(kind: OutcomeKind) -> None:
    row = replace(certified(1, DAY), outcome={**VERIFIED, "outcome": kind.value})
    assert "NOT CERTIFIED" in headline(page(row), Signs()).text
    assert not as_text(page(row)).startswith("Certificate")
    assert json.loads(as_json(page(row)))["certified"] is False
    assert "█" not in as_text(page(row))
    assert file_name(row).startswith("record-")


@pytest.mark.parametrize("state", [WindowState.OPEN, WindowState.LEFT])
def test_a_window_that_is_not_over_is_not_certified(state: WindowState) -> None:
    row = replace(certified(1, DAY), state=state)
    assert "CERTIFIED" not in headline(page(row), Signs()).text.replace("NOT CERTIFIED", "")
    assert "█" not in as_text(page(row))


def test_of_a_window_that_is_not_over_nobody_says_that_its_writes_were_not_seen() -> None:
    row = replace(certified(1, timedelta(0)), writes=(), state=WindowState.OPEN)
    said = {entry.text for entry in entries(page(row), 60, Signs())}
    assert "what it wrote is told at its end" in said
    assert "its writes were not seen" not in said


@pytest.mark.parametrize("kind", [WindowKind.THAW, WindowKind.RESCUE, WindowKind.OTHERS])
def test_what_is_no_freeze_is_a_record(kind: WindowKind) -> None:
    row = replace(certified(1, DAY), kind=kind)
    assert "A RECORD, no freeze of frostwatch" in headline(page(row), Signs()).text


def test_of_a_group_with_one_that_was_lost_nothing_is_together() -> None:
    first, second, _ = group_of_three(DAY)
    text = as_text(page(first, first, second, replace(lost(9, DAY), request=first.request)))
    assert "3 VMs, never all frozen and verified together" in text


def test_whatever_stands_in_the_journal_the_page_is_made() -> None:
    odd: dict[str, Any] = {
        "outcome": "verified", "certified": "yes", "evidence": [1, {"name": 3}], "meaning": "none",
        "not_covered": ["x", {}], "coverage": 7, "frozen": "two",
    }  # fmt: skip
    row = replace(certified(1, DAY), outcome=odd, versions={}, writes=())
    assert "NOT CERTIFIED" in as_text(page(row))
    assert json.loads(as_json(page(row)))["certified"] is False


def test_no_name_or_answer_writes_an_escape_into_the_file() -> None:
    hostile = "\x1b[31mx\u202e\nsecond line"
    outcome = {**VERIFIED, "reason": hostile, "evidence": [{"name": hostile, "value": hostile}]}
    row = replace(
        certified(1, DAY), vm=f"qemu:{hostile}", outcome=outcome, user=hostile, command=hostile
    )
    text = as_text(page(row))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\nsecond line" not in text
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", file_name(row))


# -- saved ----------------------------------------------------------------------------------------


async def saved_as(session: ConsoleSession, path: Path) -> None:
    await session.press("H", "enter", "w")
    assert session.dialog == "SaveDialog"
    await session.press("ctrl+u", *str(path), "enter")


@pytest.mark.parametrize("ending", ["txt", "json"])
async def test_it_is_saved_as_a_new_file(still: StillClock, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    async with console_session(
        fleet_of(["web1"], still), still, operations=of(certified(1, DAY))
    ) as session:
        await saved_as(session, path)
        await session.until(lambda: "saved as" in session.text)
        assert session.dialog == "CertificateDialog"
    text = path.read_text()
    if ending == "json":
        assert json.loads(text)["certified"] is True
    else:
        assert text.startswith("Certificate of a freeze: qemu:web1\n\n✓ CERTIFIED\n")
        assert "freeze sent: waiting up to 1 h" in text
    assert path.stat().st_mode & 0o077 == 0


async def test_not_from_a_browser(
    still: StillClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTUAL_DRIVER", "textual.drivers.web_driver:WebDriver")
    monkeypatch.chdir(tmp_path)
    operations = knowing(past_of_web1())
    async with console_session(fleet_of(["web1"], still), still, operations=operations) as session:
        await session.press("H", "enter", "w")
        assert "no page of a browser writes a file on this host" in session.flat
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "3.0 KiB until the answer; nothing while it was frozen"),
        (1024, "2.0 KiB until the answer; 1.0 KiB while it was frozen"),
        ("can't be seen", "3.0 KiB until the answer; nothing while it was frozen"),
    ],
)
def test_what_was_flushed_before_the_answer_is_not_counted_as_written_while_frozen(
    value: object, said: str
) -> None:
    """The samples stand half a second apart: the last ones of the flush are behind the answer."""
    row = certified(1, DAY, took_s=0.9)
    outcome = {**VERIFIED, "evidence": [{"name": "writes", "result": "unknown", "value": value}]}
    writes = ((0.5, 0), (1.3, 1024), (1.7, 3072), (30.0, 3072))
    text = as_text(page(replace(row, outcome=outcome, writes=writes)))
    assert said in " ".join(text.split())


async def test_never_over_an_existing_one(still: StillClock, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("mine")
    async with console_session(
        fleet_of(["web1"], still), still, operations=of(certified(1, DAY))
    ) as session:
        await saved_as(session, path)
        await session.until(lambda: "is there already" in session.flat)
        assert session.dialog == "SaveDialog"
        await session.press("escape")
        assert session.dialog == "CertificateDialog"
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing/a.txt", "No such file"), ("file/a.txt", "Not a directory"), ("x" * 300, "too long")],
)
async def test_what_fails_is_one_sentence(
    still: StillClock, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "file").write_text("")
    async with console_session(
        fleet_of(["web1"], still), still, operations=of(certified(1, DAY)), size=(120, 40)
    ) as session:
        await saved_as(session, tmp_path / name)
        await session.until(lambda: words in session.flat)
        assert session.dialog == "SaveDialog"


async def test_a_link_to_somebody_elses_file_is_not_followed(
    still: StillClock, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "elsewhere")
    async with console_session(
        fleet_of(["web1"], still), still, operations=of(certified(1, DAY))
    ) as session:
        await saved_as(session, tmp_path / "a.txt")
        await session.until(lambda: "is there already" in session.flat)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_disk_that_hangs_holds_up_nothing(
    still: StillClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    monkeypatch.setattr(
        "tui.console.dialogs.save.write_new", lambda *_: None if free.wait(60) else "too late"
    )
    async with console_session(
        fleet_of(["web1"], still), still, operations=of(certified(1, DAY))
    ) as session:
        await saved_as(session, tmp_path / "a.txt")
        await session.until(lambda: "has not answered yet" in session.flat)
        await session.press("escape", "escape")
        assert session.dialog == "HistoryDialog"
        free.set()
