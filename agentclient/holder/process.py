"""One holder's process as its console sees it: started, asked, and ended if it does not answer."""

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
from agentclient.holder.messages import BEAT_S, VERSION, Body, Do, Say, receive, send, text
from agentclient.model.errors import NO_THREAD

START_S: Final = 5.0
ACK_S: Final = 2.0
"""Who has not acknowledged by then is no help to anybody: it is ended, and another one armed."""
REAPED_S: Final = 1.0
# A console that was stopped itself loses one slice of its patience, not all of it.
_SLICES: Final = 8
_TRY_AGAIN_S: Final = 0.02
_PACKAGES: Final = str(Path(__file__).resolve().parents[2])
_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); from agentclient.holder.main import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]))"
)
# Nothing was sent for want of something of ours, which may be there in a moment.
_SHORT: Final = (errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS, errno.EMFILE)


class NoHolder(Exception):
    """No holder stands by; the text is one clause for a person."""


class _Question:
    """Something that was asked, and its answer; None if it will not come."""

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
    """A holder; thread-safe. Use `started`.

    Args:
        connection: our end of the control channel.
        process: our own child.
        heard: is called with what it says, but for acknowledgements.
        lost: is called once, when it has ended, or was ended, unless we have left it.
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
        """The process; None if it has ended."""
        return None if self._over or self._process.poll() is not None else self._process.pid

    def start_listening(self) -> None:
        """Hear what it says, in a thread of its own.

        Raises:
            RuntimeError, MemoryError: the system has no thread for it.
        """
        threading.Thread(target=self._listen, name="holder", daemon=True).start()

    def ask(self, body: Body, descriptors: Sequence[int] = (), *, timeout_s: float = ACK_S) -> Body:
        """Ask for something, and return the acknowledgement.

        Whatever is not acknowledged in time ends the holder: it is stopped, hung or too slow, and
        what it has must not stay with it.

        Raises:
            NoHolder: it was not done; the holder may have been ended.
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
        """End it: it is our own child. What it had is as if it had died; doing it again is nothing.

        Args:
            why: one clause for whoever asks it something from now on.
        """
        with self._lock:
            if self._over:
                return
            self._over, self._why = True, why
            questions = list(self._questions.values())
        if not self._left:
            # It may only have been hung up: it would take over what we go on with ourselves.
            with suppress(OSError):
                self._process.kill()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        for question in questions:
            question.settle(None)
        if not self._left:
            self._lost(self)

    def leave(self) -> None:
        """Leave it: what is armed still it thaws."""
        with self._lock:
            self._left = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    # -- what it says ---------------------------------------------------------------------

    def _listen(self) -> None:
        """Hear what it says, and tell it that we live, until it has gone."""
        why = "the holder has gone"
        try:
            why = self._hear_all()
        except Exception as error:  # noqa: BLE001 - whatever it is, its guests must not be left
            why = f"the holder can't be heard any more: {error!r}"
        finally:
            self.end(why)
            self._connection.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(REAPED_S)

    def _hear_all(self) -> str:
        """Return why there is nothing to hear any more."""
        self._silent_since = time.monotonic()
        while self._patient():
            came = wait_any([self._connection.fileno()], BEAT_S)
            self._beat()
            if came and not self._hear():
                return "the holder has gone"
        return f"the holder has not answered for {ACK_S:g} s, and was ended"

    def _patient(self) -> bool:
        """Whether it has answered a beat lately; who was stopped itself begins to count anew."""
        now, before = time.monotonic(), self._counted_at
        self._counted_at = now
        if now - before > 2 * BEAT_S:
            self._silent_since = now
        return now - self._silent_since < ACK_S

    def _hear(self) -> bool:
        """Take what it says next; return whether there may be more."""
        try:
            message = receive(self._connection)
        except ConnectionResetError:
            # It has ended with beats unread. That is told once, and before what it had said.
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
        if body.get("say") != Say.ACK:
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
            with suppress(OSError):  # it does not read, or has gone: what it says tells which
                send(self._connection, {"do": Do.BEAT})

    def _send(self, body: Body, descriptors: Sequence[int], until: float) -> None:
        while True:
            try:
                send(self._connection, body, descriptors)
            except OSError as error:
                short = error.errno in _SHORT
                if time.monotonic() < until and (short or error.errno == errno.EAGAIN):
                    time.sleep(_TRY_AGAIN_S)
                    continue
                if not (short and descriptors):  # what was not armed may be left
                    self.end(f"the holder can't be reached ({error.strerror}), and was ended")
                raise NoHolder(f"the holder can't be asked: {error.strerror}") from error
            return


def started(heard: Callable[[Body], None], lost: Callable[[HolderProcess], None]) -> HolderProcess:
    """Start a holder; see `HolderProcess`.

    Raises:
        NoHolder: it can't be started, or does not answer.
    """
    reasons = []
    for command in commands():
        try:
            return _started_as(command, heard, lost)
        except NoHolder as error:
            reasons.append(str(error))
    raise NoHolder(f"the holder can't be started: {'; '.join(reasons)}")


def commands() -> list[list[str]]:
    """Return how to start a holder, the best way first.

    It is run by its file names, not from the environment, which ``-E`` and ``-I`` keep out; ``-S``
    spares what a small process does not need.
    """
    plain = [sys.executable, "-S", "-E", "-I", "-c", _BOOT, _PACKAGES]
    scope = shutil.which("systemd-run")
    if scope is None or not Path("/run/systemd/system").is_dir():
        return [plain]
    # A scope of its own: ending the terminal's control group does not end the holder.
    user = [] if os.geteuid() == 0 else ["--user"]
    return [[scope, *user, "--scope", "--quiet", "--collect", "--no-ask-password", *plain], plain]


def _started_as(
    command: Sequence[str], heard: Callable[[Body], None], lost: Callable[[HolderProcess], None]
) -> HolderProcess:
    ready = threading.Event()
    try:
        ours, child = _spawned(command)
    except (OSError, *NO_THREAD) as error:
        raise NoHolder(str(error)) from error
    # Who was never there can't be lost: whoever starts it is told otherwise.
    holder = HolderProcess(
        ours, child, heard, lambda holder: lost(holder) if ready.is_set() else None
    )
    try:
        holder.start_listening()
    except NO_THREAD as error:
        holder.end(f"there is no thread to hear it: {error}")
        ours.close()
        raise NoHolder(f"there is no thread to hear it: {error}") from error
    answer = holder.ask({"do": Do.HELLO}, timeout_s=START_S)
    if answer.get("version") != VERSION:
        holder.end("the holder is of another version")
        raise NoHolder("the holder is of another version: start frostwatch anew")
    ready.set()
    return holder


def _spawned(command: Sequence[str]) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a process with a control channel, and return our end.

    Raises:
        OSError, RuntimeError, MemoryError: there is no descriptor, process or memory for it.
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
