"""Faults of everything around a freeze: console, holder, agent, sockets, descriptors, clock, disk.

Each is a context: entering it does the harm, leaving it undoes what a person would undo. A fault
that this machine can't have (no root) says so in `why_not`.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.guests.command import holders_of
from tests.guests.lab import Guest, LabError
from tests.guests.lab.errors import ShellError

JOURNAL_DISK_BYTES = 2 << 20
DAY_S = 24 * 3600


@dataclass
class Scene:
    """Everything that a fault can hit.

    Attributes:
        guest: a real one.
        console: the ``frostwatch freeze`` at work on it.
        state: the folder of its journal.
        clock: the file that tells its wall clock (see `other_clock`).
        holders: its holders, as they were when the fault began.
    """

    guest: Guest
    console: subprocess.Popen[str]
    state: Path
    clock: Path
    holders: list[int] = field(default_factory=list)

    def find_holders(self) -> None:
        """Remember who holds for the console now."""
        with suppress(OSError):
            self.holders = holders_of(self.console.pid)


Fault = Callable[[Scene], AbstractContextManager[None]]


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@contextmanager
def console_killed(scene: Scene) -> Iterator[None]:
    """The console is killed."""
    scene.console.kill()
    yield


@contextmanager
def console_stopped(scene: Scene) -> Iterator[None]:
    """The console is stopped, and goes on later."""
    with _stopped([scene.console.pid]):
        yield


@contextmanager
def holder_killed(scene: Scene) -> Iterator[None]:
    """The holder is killed."""
    for pid in scene.holders:
        signal_process(pid, signal.SIGKILL)
    yield


@contextmanager
def holder_stopped(scene: Scene) -> Iterator[None]:
    """The holder is stopped, and goes on later, unless somebody has ended it."""
    with _stopped(scene.holders):
        yield


@contextmanager
def agent_killed(scene: Scene) -> Iterator[None]:
    """The agent is killed; it is started again as the guest's policy says."""
    with suppress(LabError):
        scene.guest.kill_agent()
    yield


@contextmanager
def agent_stopped(scene: Scene) -> Iterator[None]:
    """The agent is stopped, and goes on later."""
    stop = "pid=$(cat /run/lab/agent.pid) && kill -{} $pid"
    with suppress(ShellError):
        scene.guest.shell(stop.format("STOP"))
    try:
        yield
    finally:
        with suppress(ShellError):
            scene.guest.shell(stop.format("CONT"))


@contextmanager
def agent_socket_away(scene: Scene) -> Iterator[None]:
    """The path of the agent's socket is moved away, and back."""
    with _moved_away(scene.guest.agent_socket):
        yield


@contextmanager
def monitor_socket_away(scene: Scene) -> Iterator[None]:
    """The path of the monitor's socket is moved away, and back."""
    with _moved_away(scene.guest.monitor_socket):
        yield


@contextmanager
def sockets_away(scene: Scene) -> Iterator[None]:
    """Both paths are moved away, and back."""
    with _moved_away(scene.guest.agent_socket), _moved_away(scene.guest.monitor_socket):
        yield


@contextmanager
def console_without_descriptors(scene: Scene) -> Iterator[None]:
    """The console can open no file any more, for a while."""
    with _limited(scene.console.pid, resource.RLIMIT_NOFILE, lambda pid: _open_files(pid)):
        yield


@contextmanager
def holder_without_descriptors(scene: Scene) -> Iterator[None]:
    """The holder can open no file any more, for a while."""
    if not scene.holders:
        yield
        return
    with _limited(scene.holders[0], resource.RLIMIT_NOFILE, lambda pid: _open_files(pid)):
        yield


@contextmanager
def console_without_threads(scene: Scene) -> Iterator[None]:
    """The console has no room for the stack of another thread, for a while."""
    with _limited(scene.console.pid, resource.RLIMIT_AS, _address_space):
        yield


@contextmanager
def clock_ahead(scene: Scene) -> Iterator[None]:
    """The console's wall clock is 800 days ahead, for a while."""
    with _clock(scene, 800 * DAY_S):
        yield


@contextmanager
def clock_back(scene: Scene) -> Iterator[None]:
    """The console's wall clock is set back by a day, for a while."""
    with _clock(scene, -DAY_S):
        yield


@contextmanager
def journal_disk_full(scene: Scene) -> Iterator[None]:
    """The disk of the journal is full, for a while."""
    filler = scene.state / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    try:
        yield
    finally:
        filler.unlink(missing_ok=True)


FAULTS: dict[str, Fault] = {
    "console killed": console_killed,
    "console stopped": console_stopped,
    "holder killed": holder_killed,
    "holder stopped": holder_stopped,
    "agent killed": agent_killed,
    "agent stopped": agent_stopped,
    "agent's socket away": agent_socket_away,
    "monitor's socket away": monitor_socket_away,
    "both sockets away": sockets_away,
    "console without descriptors": console_without_descriptors,
    "holder without descriptors": holder_without_descriptors,
    "console without threads": console_without_threads,
    "clock ahead": clock_ahead,
    "clock back": clock_back,
    "journal's disk full": journal_disk_full,
}


def why_not() -> str | None:
    """Return why not all faults can be had here; None if they can."""
    if os.geteuid() != 0:
        return "a full disk and another process's limits need root"
    return None


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Give a small file system of its own, as root."""
    path.mkdir(mode=0o700)
    options = f"size={JOURNAL_DISK_BYTES},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        signal_process(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            signal_process(pid, signal.SIGCONT)


@contextmanager
def _moved_away(path: Path) -> Iterator[None]:
    away = path.with_name(f"{path.name}.away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


@contextmanager
def _limited(pid: int, kind: int, most: Callable[[int], int]) -> Iterator[None]:
    """Limit what a process may have to what it has now, for a while."""
    try:
        before = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (most(pid), before[1]))
    except (ProcessLookupError, FileNotFoundError):
        yield
        return
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, kind, before)


def _open_files(pid: int) -> int:
    """The lowest limit that lets a process keep what it has, and open nothing more."""
    taken = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def _address_space(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return (pages + 256) * resource.getpagesize()


@contextmanager
def _clock(scene: Scene, seconds: int) -> Iterator[None]:
    scene.clock.write_text(str(seconds))
    try:
        yield
    finally:
        scene.clock.write_text("0")
