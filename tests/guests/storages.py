"""File systems of their own that take copies: small ones, and ones that hang."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests.lab import PATIENCE_S
from tests.guests.lab.shell import wait_until

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")


@contextmanager
def small(place: Path, size: str) -> Iterator[Path]:
    """A file system that is soon full."""
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "small", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def on_loop(folder: Path, megabytes: int = 200) -> Iterator[Path]:
    """A file system that `hanging` can have hang."""
    image, place = folder / "image", folder / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    _mount("-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        _unmount(place)


@contextmanager
def hanging(place: Path) -> Iterator[None]:
    """Every write to a file system hangs, as long as this process lives and wants it.

    Whoever looked into its folder later would hang as well: the next run clears what this one left.
    """
    thaw = ["sh", "-c", 'read -r _; fsfreeze -u "$0"', str(place)]
    with subprocess.Popen(thaw, stdin=subprocess.PIPE, start_new_session=True) as guard:
        subprocess.run(["fsfreeze", "-f", str(place)], check=True)
        try:
            yield
        finally:
            guard.communicate()
    assert guard.returncode == 0


@contextmanager
def unanswered(place: Path) -> Iterator[Path]:
    """A folder whose storage answers nothing, not even what is in it: a FUSE that nobody serves."""
    place.mkdir()
    served = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={served},rootmode=40000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"hung", bytes(place), b"fuse", 0, options.encode()) != 0:
        os.close(served)
        pytest.skip(f"no FUSE here: {os.strerror(ctypes.get_errno())}")
    try:
        yield place
    finally:
        os.close(served)  # whoever waits for it has an error now
        subprocess.run(["umount", "-l", str(place)], check=True)


def _unmount(place: Path) -> None:
    """Unmount it as soon as a process that was left behind has ended."""
    words = ["umount", str(place)]
    wait_until(lambda: subprocess.run(words, check=False).returncode == 0, PATIENCE_S, "unmounted")


def _mount(*how: str) -> None:
    done = subprocess.run(["mount", *how], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system of its own here: {done.stderr.strip()}")
