"""The form of a copy whose disks or folder can't be looked at: it says so, and lets one go on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from textual.widgets import Button

from agentclient.fleet.store import Fleet
from agentclient.jobs.survey import CopySurvey, FolderSurvey
from agentclient.model.errors import FrostwatchError
from agentclient.model.job import JobKind
from agentclient.model.vm import Vm
from tests.console.console_session import LARGE, console_session
from tests.console.copying import SURVEY
from tests.console.fakes import FakeJobs, StillClock
from tests.console.fleets import fleet_of
from tui.console.dialogs import copy

LACK = OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class Blind(FakeJobs):
    """Can't look at disks, or at folders."""

    def __init__(self, *, disks: Exception | None = None, folder: Exception | None = None) -> None:
        super().__init__()
        self.found = SURVEY
        self.disks, self.folder = disks, folder

    def survey(self, vm: Vm, kind: JobKind) -> CopySurvey:
        if self.disks is not None:
            raise self.disks
        return super().survey(vm, kind)

    def survey_folder(self, folder: Path) -> FolderSurvey:
        if self.folder is not None:
            raise self.folder
        return super().survey_folder(folder)


@pytest.fixture
def fleet(still: StillClock) -> Fleet:
    return fleet_of(["db-1"], still)


async def test_a_folder_that_can_not_be_looked_at_keeps_nobody_waiting(
    still: StillClock, fleet: Fleet
) -> None:
    """Enter said *looking* for ever, in the place of why."""
    jobs = Blind(folder=FrostwatchError("there is no thread: can't start new thread"))
    async with console_session(fleet, still, jobs=jobs, size=LARGE) as session:
        await session.press("c")
        await session.until(lambda: "there is no thread" in session.text)
        await session.press("enter")
        await session.settle(1)
        assert session.dialog == "CopyDialog"
        assert "looking at the disks and the folder" not in session.text
        assert "there is no thread" in session.text
        assert jobs.begun == []
        jobs.folder = None
        await session.press("down", "down", "down", "x", "backspace")  # it is looked at again
        await session.until(lambda: "GiB free" in session.text)
        button = session.app.screen.query_one("#yes", Button)
        await session.until(lambda: not button.has_class("-active"))  # Textual takes no two at once
        await session.press("enter")
        await session.until(lambda: len(jobs.begun) == 1)


async def test_what_tells_that_needs_nothing_that_the_host_lacks(
    still: StillClock, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer imported a module, without a descriptor for it: that ended the console."""
    jobs = Blind(disks=LACK, folder=LACK)
    if hasattr(copy, "load"):
        monkeypatch.setattr(copy, "load", lambda *_: (_ for _ in ()).throw(LACK))
    async with console_session(fleet, still, jobs=jobs, size=LARGE) as session:
        await session.press("c")
        await session.until(lambda: "Too many open files" in session.text)
        await session.press("enter")
        assert session.app.is_running
        assert jobs.begun == []
