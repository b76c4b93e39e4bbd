"""The console's handle of a holder's process: starts it, sends requests, kills it if it hangs."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.access.stream import wait_any
from agentclient.holder.messages import (
    BEAT_S,
    VERSION,
    Body,
    ConsoleMessage,
    HolderMessage,
    receive,
    send,
    text,
)
from agentclient.model.errors import NO_THREAD, why_no_thread

START_S: Final = 5.0
ACK_S: Final = 2.0
"""A holder that has not acknowledged by then is killed, and another one is armed."""
REAPED_S: Final = 1.0
# A timeout is waited for in slices: a console that was stopped itself loses only one of them.
_SLICES: Final = 8
_TRY_AGAIN_S: Final = 0.02
_PACKAGES: Final = str(Path(__file__).resolve().parents[2])
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); from agentclient.holder.main import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]))"
)
# Nothing was sent: this process is short of memory or descriptors, perhaps only for a moment.
_SHORT: Final = (errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS, errno.EMFILE)


class NoHolder(Exception):
    """No holder stands by; the text is one clause for a person."""


class _Question:
    """A pending request, and its acknowledgement; None if none will come."""

    def __init__(self) -> None:
        self.answer: Body | None = None
        self._settled = threading.Event()

    def settle(self, answer: Body | None) -> None:
        self.answer = answer
        self._settled.set()

    def wait(self, timeout_s: float) -> bool:
        """Return whether it was settled in time."""
        return any(self._settled.wait(timeout_s / _SLICES) for _ in range(_SLICES))


class HolderProcess:
    """A running holder; thread-safe. `started` makes one.

    Args:
        connection: the console's end of the control channel.
        process: the holder, a child of this process.
        heard: is called with each message of the holder that is no acknowledgement.
        lost: is called once, when the holder has ended or was killed, unless `leave` was called.
    """

    def __init__(
        self,
        connection: socket.socket,
        process: subprocess.Popen[bytes],
        heard: Callable[[Body], None],
        lost: Callable[[HolderProcess], None],
    ) -> None:
        self._connection = connection
        self._process = process
        self._heard = heard
        self._lost = lost
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._beat_at = 0.0
        self._over = False
        self._left = False
        self._reset = False
        self._silent_since = self._counted_at = 0.0
        self._why = "the holder has gone"

    @property
    def pid(self) -> int | None:
        """The holder's pid; None if it has ended."""
        return None if self._over or self._process.poll() is not None else self._process.pid

    def start_listening(self) -> None:
        """Start a thread that receives the holder's messages, and sends heartbeats.

        Raises:
            RuntimeError, MemoryError: the thread can't be started.
        """
        threading.Thread(target=self._listen, name="holder", daemon=True).start()

    def ask(self, body: Body, descriptors: Sequence[int] = (), *, timeout_s: float = ACK_S) -> Body:
        """Send a request, and return its acknowledgement.

        A holder that does not acknowledge in time is killed: it is stopped, hung or too slow, and
        must not keep its guests.

        Args:
            body: the request.
            descriptors: are sent with it.
            timeout_s: how long to wait, in seconds.

        Raises:
            NoHolder: the request was not carried out; the holder may have been killed.
        """
        number, question = next(self._numbers), _Question()
        with self._lock:
            if self._over:
                raise NoHolder(self._why)
            self._questions[number] = question
        try:
            self._send({**body, "number": number}, descriptors, time.monotonic() + timeout_s)
            if not question.wait(timeout_s):
                self.end(f"the holder has not acknowledged within {timeout_s:g} s, and was ended")
        finally:
            with self._lock:
                self._questions.pop(number, None)
        if question.answer is None:
            raise NoHolder(self._why)
        if question.answer.get("done") is not True:
            raise NoHolder(text(question.answer, "why") or "the holder has refused it")
        return question.answer

    def end(self, why: str) -> None:
        """Kill the holder, which is a child of this process; a second call does nothing.

        Args:
            why: one clause; the text of `NoHolder` from now on.
        """
        with self._lock:
            if self._over:
                return
            self._over, self._why = True, why
            questions = list(self._questions.values())
        if not self._left:
            # It may be alive: it would take over guests that the console still uses.
            with suppress(OSError):
                self._process.kill()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        for question in questions:
            question.settle(None)
        if not self._left:
            self._lost(self)

    def leave(self) -> None:
        """Close the control channel: the holder thaws the guests that are still armed."""
        with self._lock:
            self._left = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    # -- what it says ---------------------------------------------------------------------

    def _listen(self) -> None:
        """Receive messages and send heartbeats until the holder has gone."""
        why = "the holder has gone"
        try:
            why = self._hear_all()
        except Exception as error:  # noqa: BLE001 - any bug must end it, and `lost` be called
            why = f"the holder can't be heard any more: {error!r}"
        finally:
            self.end(why)
            self._connection.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(REAPED_S)

    def _hear_all(self) -> str:
        """Receive until the holder has gone or is silent; return which, as a clause."""
        self._silent_since = time.monotonic()
        while self._patient():
            came = wait_any([self._connection.fileno()], BEAT_S)
            self._beat()
            if came and not self._hear():
                return "the holder has gone"
        return f"the holder has not answered for {ACK_S:g} s, and was ended"

    def _patient(self) -> bool:
        """Whether the holder has answered lately; the count restarts after a stop of our own."""
        now, before = time.monotonic(), self._counted_at
        self._counted_at = now
        if now - before > 2 * BEAT_S:
            self._silent_since = now
        return now - self._silent_since < ACK_S

    def _hear(self) -> bool:
        """Receive the holder's next message; return whether there may be more."""
        try:
            message = receive(self._connection)
        except ConnectionResetError:
            # It ended with unread heartbeats. The kernel reports that once, before its messages.
            again, self._reset = not self._reset, True
            return again
        except OSError as error:
            if error.errno not in (errno.EAGAIN, *_SHORT):
                return False
            time.sleep(_TRY_AGAIN_S)
            return True
        if message is None:
            return False
        self._silent_since = time.monotonic()
        self._take(message[0])
        return True

    def _take(self, body: Body) -> None:
        if body.get("say") != HolderMessage.ACK:
            self._heard(body)
            return
        number = body.get("number")
        with self._lock:
            question = self._questions.get(number) if isinstance(number, int) else None
        if question is not None:
            question.settle(body)

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beat_at >= BEAT_S:
            self._beat_at = now
            with suppress(OSError):  # it does not read, or has gone: receiving shows which
                send(self._connection, {"do": ConsoleMessage.BEAT})

    def _send(self, body: Body, descriptors: Sequence[int], until: float) -> None:
        while True:
            try:
                send(self._connection, body, descriptors)
            except OSError as error:
                short = error.errno in _SHORT
                if time.monotonic() < until and (short or error.errno == errno.EAGAIN):
                    time.sleep(_TRY_AGAIN_S)
                    continue
                if not (short and descriptors):  # a guest that was not armed needs no kill
                    self.end(f"the holder can't be reached ({error.strerror}), and was ended")
                raise NoHolder(f"the holder can't be asked: {error.strerror}") from error
            return


def started(heard: Callable[[Body], None], lost: Callable[[HolderProcess], None]) -> HolderProcess:
    """Start a holder, and return it once it has answered; see `HolderProcess`.

    Raises:
        NoHolder: no holder can be started, or it does not answer.
    """
    reasons = []
    for command in commands():
        try:
            return _started_as(command, heard, lost)
        except NoHolder as error:
            reasons.append(str(error))
    raise NoHolder(f"the holder can't be started: {'; '.join(reasons)}")


def commands() -> list[list[str]]:
    """Return the command lines that can start a holder, the best one first.

    ``-E`` and ``-I`` ignore the environment, so the package's folder is passed as an argument.
    ``-S`` skips `site`, which a small process does not need.
    """
    plain = [sys.executable, "-S", "-E", "-I", "-c", _BOOT, _PACKAGES]
    scope = shutil.which("systemd-run")
    if scope is None or not Path("/run/systemd/system").is_dir():
        return [plain]
    # In a systemd scope of its own the holder survives when the terminal's cgroup is killed.
    user = [] if os.geteuid() == 0 else ["--user"]
    return [[scope, *user, "--scope", "--quiet", "--collect", "--no-ask-password", *plain], plain]


def _started_as(
    command: Sequence[str], heard: Callable[[Body], None], lost: Callable[[HolderProcess], None]
) -> HolderProcess:
    ready = threading.Event()
    try:
        ours, child = _spawned(command)
    except (OSError, *NO_THREAD) as error:
        raise NoHolder(why_no_thread(error)) from error
    # `lost` is not called for a holder that never answered: the caller gets `NoHolder` instead.
    holder = HolderProcess(
        ours, child, heard, lambda holder: lost(holder) if ready.is_set() else None
    )
    try:
        holder.start_listening()
    except NO_THREAD as error:
        why = f"there is no thread to hear it: {why_no_thread(error)}"
        holder.end(why)
        ours.close()
        raise NoHolder(why) from error
    answer = holder.ask({"do": ConsoleMessage.HELLO}, timeout_s=START_S)
    if answer.get("version") != VERSION:
        holder.end("the holder is of another version")
        raise NoHolder("the holder is of another version: start frostwatch anew")
    ready.set()
    return holder


def _spawned(command: Sequence[str]) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a process with a control channel; return this process's end of that, and the child.

    Raises:
        OSError, RuntimeError, MemoryError: no descriptor, process or memory is available.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            child = subprocess.Popen(
                [*command, str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    return ours, child
