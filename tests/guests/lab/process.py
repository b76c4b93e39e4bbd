"""QEMU as a process that never outlives the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from tests.guests.lab.patience import PATIENCE_S
from tests.guests.lab.qemu import Qemu
from tests.guests.lab.release import tool


class Running(Protocol):
    """A process, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Its number."""

    def poll(self) -> int | None:
        """None while it runs; else how it has ended."""

    def kill(self) -> None:
        """Kill it."""

    def wait(self) -> int:
        """Wait until it has ended; how it did."""


_PREFIX = "frostwatch-lab-"
# The kernel kills a child "with its parent" when the parent's *thread* ends. So all are started by
# one thread that lives as long as this process, whoever asks.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab-starter")


def start(qemu: Qemu, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start QEMU in a session of its own (a Ctrl-C is not for it), bound to this process's life.

    Args:
        qemu: which.
        arguments: without the program.
        log: the file that takes its output.
    """
    bound = [tool("setpriv") or "setpriv", "--pdeathsig", "KILL"]
    command = [*bound, qemu.program, *qemu.arguments, *arguments]

    def launch() -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                env=os.environ | qemu.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    return _STARTER.submit(launch).result()


def connect(path: Path, process: Running, timeout: float = PATIENCE_S) -> socket.socket | None:
    """Connect to a socket that QEMU is about to make; None if QEMU ends or takes too long.

    Args:
        path: the UNIX socket.
        process: QEMU.
        timeout: seconds.
    """
    deadline = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < deadline:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            time.sleep(0.005)
        else:
            return connection
    return None


def make_directory() -> Path:
    """A fresh directory with a short path: a socket's has at most 107 bytes.

    Directories of processes that were killed before they could clean up are removed first.
    """
    root = Path(tempfile.gettempdir())
    for old in root.glob(f"{_PREFIX}*"):
        owner = old.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root))


def copy_disk(source: Path, target: Path) -> None:
    """Copy a disk image without its holes; as a reflink where the file system has them."""
    copy = ["cp", "--sparse=always", "--reflink=auto", str(source), str(target)]
    subprocess.run(copy, check=True, capture_output=True)


def make_disk(path: Path, size: int) -> None:
    """Make an empty qcow2 image of so many bytes."""
    program = tool("qemu-img") or "qemu-img"
    make = [program, "create", "-q", "-f", "qcow2", str(path), str(size)]
    subprocess.run(make, check=True, capture_output=True)


def tail(path: Path, size: int = 3000) -> str:
    """The end of a log file, without control characters; empty if there is none."""
    try:
        data = path.read_bytes()[-size:]
    except OSError:
        return ""
    text = data.decode(errors="replace")
    return "".join(c for c in text if c == "\n" or c.isprintable())
