"""A program on a real terminal: what it writes is counted and timed, and keys are pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
# As an installed program is: its bytecode was compiled before.
_COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
_ENVIRONMENT = {
    "TERM": "xterm-256color",
    "COLORTERM": "truecolor",
    "LC_ALL": "C.UTF-8",
    **_COMPILED,
}


class OnPty:
    """A running program, and the other end of its terminal.

    Attributes:
        began: the monotonic time just before it was started.
        fd: the end that we read and write.
    """

    def __init__(self, process: subprocess.Popen[bytes], fd: int, began: float) -> None:
        self.began = began
        self.process = process
        self.fd = fd
        self._data = bytearray()
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            with self._arrived:
                self._data += data
                self._last = time.monotonic()
                self._arrived.notify_all()
            if not data:
                return

    def close(self) -> None:
        """Kill it, and close our end of its terminal."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        # Not before the reader has seen the end: it would read from whatever gets this number next.
        self._reader.join(PATIENCE_S)
        os.close(self.fd)

    @property
    def everything(self) -> bytes:
        """What it has written so far."""
        with self._arrived:
            return bytes(self._data)

    @property
    def written(self) -> int:
        """How many bytes it has written so far."""
        with self._arrived:
            return len(self._data)

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self.fd, key.encode())

    def wait_for(self, words: str, after: int = 0) -> float:
        """Wait until something is written behind the first `after` bytes; return when it was."""
        wanted, end = words.encode(), time.monotonic() + PATIENCE_S
        with self._arrived:
            while self._data.find(wanted, after) < 0:
                left = end - time.monotonic()
                told = bytes(self._data[-2000:])
                assert left > 0, f"{words!r} never came, but {told!r}"
                self._arrived.wait(left)
            return self._last

    def assert_alive(self) -> None:
        """Make sure that it still runs; say its last words if it does not."""
        code = self.process.poll()
        assert code is None, f"it ended with {code}, and said {self.everything[-4000:]!r}"

    def wait_until_quiet(self, seconds: float = 0.5) -> None:
        """Wait until nothing has been written for some time."""
        before = -1
        while before != self.written:
            before = self.written
            time.sleep(seconds)


def _without_size(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without a size, which would count for more than the terminal's own.

    Tests that run side by side are given one.
    """
    return {key: value for key, value in environment.items() if key not in ("COLUMNS", "LINES")}


@contextmanager
def on_pty(
    arguments: Sequence[str], size: tuple[int, int] = (160, 50), pass_fds: Sequence[int] = ()
) -> Iterator[OnPty]:
    """Run a Python program on a terminal of its own, and end it."""
    ours, theirs = pty.openpty()
    width, height = size
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**_without_size(os.environ), **_ENVIRONMENT},
        cwd=ROOT,
        pass_fds=pass_fds,
        # A session of its own, with the terminal as its controlling one: it gets its SIGHUP.
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
    )
    os.close(theirs)
    console = OnPty(process, ours, began)
    try:
        yield console
    finally:
        console.close()
