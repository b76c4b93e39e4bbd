"""Runs commands of the operator's that tell of something, and are never in the way of anything.

Whoever has one run puts it into a queue and goes on. It has a session, and so a group, of its own,
nothing to read, and nobody reads what it writes. There is no shell, so that no name of a VM is ever
interpreted. Some run at once at the most, each for so long at the most.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from agentclient.model.errors import NO_THREAD, why_no_thread
from agentclient.model.text import printable

WITHIN_S: Final = 10.0
KILLED_S: Final = 2.0  # after it was asked to end
MOST_AT_ONCE: Final = 4
MOST_WAITING: Final = 100
LEAVING_S: Final = 2.0
_LOOK_S: Final = 0.05
_NO_VARIABLES: Final[Mapping[str, str]] = {}


class _Asked(NamedTuple):
    """A command that is to run.

    Attributes:
        name: what it is called where it fails.
        argv: the command and its arguments.
        variables: what it finds in its environment beside ours.
    """

    name: str
    argv: Sequence[str]
    variables: Mapping[str, str]


class _Running(NamedTuple):
    """A command that runs; its process is the leader of its group."""

    asked: _Asked
    child: subprocess.Popen[bytes]
    until: float


class BoundedCommands:
    """Runs commands in a thread of its own, which begins with the first one; thread-safe.

    Args:
        on_failure: is called, in any thread, with a sentence when a command fails: once for each
            name, until one of that name has done well again.
        within_s: how long each may take, in seconds.
    """

    def __init__(self, on_failure: Callable[[str], object], within_s: float = WITHIN_S) -> None:
        self._on_failure = on_failure
        self._within_s = within_s
        self._condition = threading.Condition()
        self._waiting: deque[_Asked] = deque()
        self._running: list[_Running] = []
        self._starting = 0
        self._thread: threading.Thread | None = None
        self._failed: set[str] = set()
        self._closing = False

    def begin(
        self, name: str, argv: Sequence[str], variables: Mapping[str, str] = _NO_VARIABLES
    ) -> None:
        """Have a command run soon; returns at once.

        Args:
            name: what it is called where it fails.
            argv: the command and its arguments.
            variables: what it finds in its environment beside ours.
        """
        asked, problem = _Asked(name, argv, variables), None
        with self._condition:
            if self._closing:
                return
            if len(self._waiting) >= MOST_WAITING:
                problem = f"{MOST_WAITING} wait for their turn, and further ones are passed over"
            else:
                problem = self._without_thread()
            if problem is None:
                self._waiting.append(asked)
                self._condition.notify()
        if problem is not None:
            self._fail(asked, problem)

    @property
    def idle(self) -> bool:
        """Whether nothing waits for its turn, and nothing runs."""
        with self._condition:
            return not (self._waiting or self._starting or self._running)

    def close(self) -> None:
        """Let what was asked for run for a moment; then end what still does."""
        with self._condition:
            self._closing = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join(LEAVING_S + KILLED_S)

    def _without_thread(self) -> str | None:
        """Make sure that there is a thread; return why there is none. The lock is held."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="notify", daemon=True)
            try:
                thread.start()
            except NO_THREAD as error:
                return f"there is no thread for it: {why_no_thread(error)}"
            self._thread = thread
        return None

    # -- its thread ------------------------------------------------------------------------

    def _run(self) -> None:
        leaves_at: float | None = None
        while True:
            with self._condition:
                if not self._waiting and not self._running:
                    if self._closing:
                        return
                    self._condition.wait()
                elif self._running:
                    self._condition.wait(_LOOK_S)
                if self._closing and leaves_at is None:
                    leaves_at = time.monotonic() + LEAVING_S
                left = leaves_at is not None and time.monotonic() >= leaves_at
                if left:
                    self._waiting.clear()
                free = MOST_AT_ONCE - len(self._running)
                begun = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
                self._starting = len(begun)
            for asked in begun:
                self._start(asked)
            now = float("inf") if left else time.monotonic()
            self._running = [one for one in self._running if self._goes_on(one, now)]
            self._starting = 0

    def _start(self, asked: _Asked) -> None:
        try:
            child = subprocess.Popen(
                asked.argv,
                env={**os.environ, **asked.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError, MemoryError) as error:
            self._fail(asked, f"it can't be started: {getattr(error, 'strerror', '') or error}")
            return
        self._running.append(_Running(asked, child, time.monotonic() + self._within_s))

    def _goes_on(self, one: _Running, now: float) -> bool:
        """Return whether a command runs on; end one that has taken too long."""
        late = now >= one.until
        if not _has_ended(one.child):
            if late:
                # The second signal can't be ignored.
                last = now >= one.until + KILLED_S
                _signal(one.child, signal.SIGKILL if last else signal.SIGTERM)
            return True
        if late:
            _signal(one.child, signal.SIGKILL)  # what is left of its group
        code = one.child.wait()
        if late:
            self._fail(one.asked, f"it was ended after {self._within_s:g} s, its bound")
        elif code:
            how = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
            self._fail(one.asked, f"it failed ({how})")
        else:
            self._failed.discard(one.asked.name)
        return False

    def _fail(self, asked: _Asked, why: str) -> None:
        if asked.name in self._failed:
            return
        self._failed.add(asked.name)
        command = printable(asked.argv[0] if asked.argv else "", 80)
        told = "told once, until it does well again"
        self._on_failure(f"{asked.name}: {command}: {printable(why, 200)} ({told})")


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Return whether a process has ended; its number stays its own until it is waited for."""
    try:
        how = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, child.pid, how) is not None
    except ChildProcessError:  # our own caller ignores how children end
        return child.poll() is not None


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(OSError):  # all of its group have ended
        os.killpg(child.pid, number)
