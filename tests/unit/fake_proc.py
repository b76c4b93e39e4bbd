"""A proc file system made of files, with as much in it as the sources read."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

QEMU = "/usr/bin/qemu-system-x86_64"


class FakeProc:
    """A folder that looks like ``/proc``; pid 1 is there, as for everybody who isn't confined."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.add(1, ["/sbin/init"], exe="/usr/lib/systemd/systemd")
        (folder / "self").symlink_to("1")

    def add(
        self,
        pid: int,
        argv: Sequence[str],
        *,
        exe: str = QEMU,
        comm: str = "qemu-system-x86",
        ticks: int = 1000,
        parent: int = 1,
        cwd: str = "/",
        root: str = "/",
        names: int = 1,
        uid: int = 0,
    ) -> Path:
        """Add a process; the fields of ``stat`` that nobody reads are zeros."""
        folder = self.path / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))
        fields = ["S", str(parent), *["0"] * 17, str(ticks), *["0"] * 30]
        (folder / "stat").write_text(f"{pid} ({comm}) {' '.join(fields)}\n")
        (folder / "status").write_text(f"Name:\t{comm}\nUid:\t{uid}\t0\t0\t0\n")
        accesses = {"exe": exe, "cwd": cwd, "root": root, "ns/mnt": f"mnt:[{names}]"}
        for name, target in accesses.items():
            (folder / name).symlink_to(target)
        return folder


def make_socket(path: Path) -> Path:
    """Make a socket's file; nobody listens on it."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    return path
