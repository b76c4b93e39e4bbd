"""A replay that is opened from the history: in the same terminal, and the console comes back."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentclient.journal.figures import Figures
from agentclient.journal.history import VmHistory
from agentclient.journal.writer import Journal
from agentclient.model.vm import VmId
from tests.console.console_session import console_session, qemu
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import fleet_of
from tests.console.test_past import window
from tests.processes import children, words_of
from tests.unit.journals import flush, vm, whole
from tui.cli.options import Options, settings_options

WITHIN_S = 60.0


class OnTerminal:
    """A console on a terminal of a test's.

    Args:
        arguments: the console's.
        folder: where it begins, and where its state is.
    """

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (30, 100))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tui.main", *arguments], stdin=slave, stdout=slave, stderr=slave,
            cwd=Path(__file__).parents[2], start_new_session=True,
            preexec_fn=_take_terminal,
            env={**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": str(folder / "state")},
        )  # fmt: skip
        self.written = ""

    def press(self, keys: str) -> None:
        self.written = ""
        os.write(self.master, keys.encode())

    def until(self, holds: Callable[[str], bool]) -> str:
        """Read until what was written since the last key is as wanted."""
        end = time.monotonic() + WITHIN_S
        while not holds(self.written):
            assert time.monotonic() < end, self.written[-3000:]
            self.written += os.read(self.master, 65536).decode(errors="replace")
        return self.written

    def shows(self, words: str) -> str:
        return self.until(lambda text: words in re.sub(r"\x1b\[[0-9;?>]*[A-Za-z]", "", text))

    def ended(self) -> int:
        """Read on until the console has ended; return its exit code."""
        end = time.monotonic() + WITHIN_S
        while self.process.poll() is None:
            assert time.monotonic() < end, self.written[-3000:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.written += os.read(self.master, 65536).decode(errors="replace")
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def _take_terminal() -> None:
    """Make the terminal this session's, as a shell's is."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnTerminal]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journal = Journal()
    whole(journal, vm(tmp_path, "db1")._replace(id=VmId("socket", "db1")))
    flush(journal)
    journal.close()
    arguments = ["--no-config", "--named-only", "--vm", f"name=db1,agent={tmp_path}/none"]
    console = OnTerminal(arguments, tmp_path)
    try:
        console.shows("socket:db1")
        console.press("H")
        console.shows("(pid ")
        console.press("p")
        console.shows("nothing here is real")
        yield console
    finally:
        console.close()


def test_p_plays_it_in_this_terminal_and_q_leads_back(console: OnTerminal) -> None:
    console.press("q")
    console.shows("past freezes and thaws")
    console.press("\x03")
    assert console.ended() == 0
    assert termios.tcgetattr(console.slave)[:4] == console.before[:4]


def test_who_ends_the_console_ends_the_replay_with_it(console: OnTerminal) -> None:
    (child,) = _children(console.process.pid)
    console.process.send_signal(signal.SIGTERM)
    assert console.ended() == 0
    assert not Path(f"/proc/{child}").exists()
    assert termios.tcgetattr(console.slave)[:4] == console.before[:4]


def test_a_replay_that_is_killed_leaves_a_console_that_goes_on(console: OnTerminal) -> None:
    (child,) = _children(console.process.pid)
    os.kill(child, signal.SIGKILL)
    console.shows("the replay did not begin, or was ended")
    console.press("\x03")
    assert console.ended() == 0
    assert termios.tcgetattr(console.slave)[:4] == console.before[:4]


def _children(pid: int) -> list[int]:
    """Return the consoles that a console has begun."""
    return [one for one in children(pid) if "replay" in words_of(one)]


@pytest.mark.parametrize("in_flight", [False, True])
async def test_without_a_terminal_or_with_something_in_flight_the_command_is_shown(
    still: StillClock, in_flight: bool
) -> None:
    operations = FakeOperations()
    operations.past = VmHistory((window(),), Figures(0))
    async with console_session(fleet_of(["a"], still), still, operations=operations) as session:
        if in_flight:
            operations.add(session.fleet.get(qemu("a")).vm)
        await session.press("H", "p")
        assert session.dialog == "CopiedDialog"
        assert "frostwatch replay --window 1" in session.text
        assert ("something is in flight here" in session.flat) is in_flight
        await session.press("escape")
        assert session.dialog == "HistoryDialog"


def test_the_same_settings_lead_to_the_same_journal() -> None:
    assert settings_options(Options()) == ()
    assert settings_options(Options(config="a b")) == ("--config", "a b")
    assert settings_options(Options(no_config=True)) == ("--no-config",)
