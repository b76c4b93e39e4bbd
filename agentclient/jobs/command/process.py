"""The command's process: started, ended, and waited for by a thread of its own.

It leads a session of its own. So no signal of the terminal reaches it but through frostwatch, which
thaws first; and it can be ended with all processes of its group. Its end is told by the thread that
waits for it, so that nothing else delays a thaw. Nothing that it writes passes through frostwatch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from agentclient.access.host.process import PROC
from agentclient.jobs.command.program import Program
from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread

_TICK_S: Final = 0.1


class CommandProcess:
    """One run of a command; thread-safe.

    Args:
        program: the program and its arguments.
        stdout: the descriptor that becomes its stdout; None for this process's.
        on_end: is called as soon as it has ended, from the thread that waits for it.

    Attributes:
        pid: its process; None before it was started.
        began_at: when it was about to be started (monotonic seconds); None before.
        started_at: when it was known to run (monotonic seconds); None before.
        ended_at: when it had ended (monotonic seconds); None before.
        exit_code: its exit code; None before its end, or if a signal has ended it.
        signal: the name of the signal that has ended it; None if none has.
        error: why it was not started, or why its end is not known; None otherwise.
        stopped: the last signal that was sent to end it; None if none was.
        left: its start hung, and was not waited for; it is ended if it runs after all.
    """

    def __init__(self, program: Program, stdout: int | None, on_end: Callable[[], None]) -> None:
        self._program = program
        self._stdout = stdout
        self._on_end = on_end
        self._lock = threading.Lock()
        self._go = threading.Event()
        self._started = threading.Event()
        self._ended = threading.Event()
        self._environment: Mapping[str, str] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self.pid: int | None = None
        self.began_at: float | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.exit_code: int | None = None
        self.signal: str | None = None
        self.error: str | None = None
        self.stopped: str | None = None
        self.left = False
        self._thread = threading.Thread(target=self._run, name="command", daemon=True)

    @property
    def argv(self) -> tuple[str, ...]:
        """The command and its arguments."""
        return self._program.argv

    @property
    def ended(self) -> bool:
        """Whether it has ended, or was never started."""
        return self._ended.is_set()

    def prepare(self) -> None:
        """Start the thread that will start the command, before anything is frozen for it.

        Raises:
            FrostwatchError: the system has no thread for it.
        """
        try:
            self._thread.start()
        except NO_THREAD as error:
            raise FrostwatchError(f"not begun: {why_no_thread(error)}") from None

    def start(self, environment: Mapping[str, str], cancelled: threading.Event) -> bool:
        """Start the command; return whether it was (else see `error`).

        Args:
            environment: its environment.
            cancelled: ends the wait for a program whose storage hangs; it is ended as soon as it
                runs after all.
        """
        self._environment = environment
        self._go.set()
        while not self._started.wait(_TICK_S):
            if cancelled.is_set():
                return self._leave()
        return self.error is None

    def _leave(self) -> bool:
        """Leave a command that is being started; return whether it was, just now."""
        with self._lock:
            self.left = self._child is None
            return not self.left

    def abandon(self) -> None:
        """End the thread of a command that is not to be started; else nothing changes."""
        self._go.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; return whether it has."""
        return self._ended.wait(timeout_s)

    def stop(self, number: signal.Signals) -> bool:
        """Send a signal to all processes of its group; return False if it has ended."""
        with self._lock:
            if self._child is None or self.ended_at is not None:
                return False
            self.stopped = number.name
            self._signal(number)
            return True

    def leaves_others(self) -> bool:
        """Return whether processes of its group go on, after its own end."""
        if self.pid is None or self.stopped is not None:  # then all of the group were killed
            return False
        try:
            os.killpg(self.pid, 0)
        except OSError:
            return False
        return _has_members(self.pid)

    # -- its own thread --------------------------------------------------------------------

    def _run(self) -> None:
        self._go.wait()
        if self._environment is None:
            return
        self.began_at = time.monotonic()
        try:
            child = subprocess.Popen(
                self._program.argv,
                executable=self._program.path,
                env=self._environment,
                stdout=self._stdout,
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError, MemoryError) as error:
            self.error = str(error) or type(error).__name__
            self._ended.set()
            self._started.set()
            return
        with self._lock:
            self._child = child
            if self.left:
                self._signal(signal.SIGKILL)
        self.pid = child.pid
        self.started_at = time.monotonic()
        self._started.set()
        try:
            self._await_end(child)
        finally:
            self._ended.set()

    def _await_end(self, child: subprocess.Popen[bytes]) -> None:
        try:
            # Not reaped, so that its number is that of its group until the rest of that is ended.
            end = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            end = None
        self.ended_at = time.monotonic()
        try:
            self._on_end()
        finally:
            with self._lock:
                if self.stopped is not None:
                    self._signal(signal.SIGKILL)
                child.wait()
            if end is None:
                self.error = "how it ended can't be told: somebody else has waited for it"
            elif end.si_code == os.CLD_EXITED:
                self.exit_code = end.si_status
            else:
                self.signal = signal_name(end.si_status)

    def _signal(self, number: signal.Signals) -> None:
        assert self._child is not None, "it was started"
        with suppress(OSError):  # all of the group have ended
            os.killpg(self._child.pid, number)


def _has_members(group: int) -> bool:
    """Return whether a process of a group runs; one that has ended, and was not waited for, not."""
    for folder in PROC.glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_bytes()
        except OSError:
            continue
        state, _, pgrp = stat.rpartition(b")")[2].split()[:3]
        if int(pgrp) == group and state not in (b"Z", b"X"):
            return True
    return False


def signal_name(number: int) -> str:
    """Return a signal's name, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
