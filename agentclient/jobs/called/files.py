"""The files that take a copy which a VM's manager makes: empty images, before the freeze.

They are made by us, so that no file of somebody else is ever overwritten, and so that nothing is
left to be made in the window. The manager gives them to its QEMU while that writes to them.
"""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Final

from agentclient.access.host.process import PROC
from agentclient.jobs.control import JobControl
from agentclient.jobs.delete_files import delete, delete_files
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.jobs.image_tool import INSTALL, make_image, tool
from agentclient.jobs.made_apart import made_apart
from agentclient.jobs.new_file import new_file
from agentclient.jobs.opened import opened_by
from agentclient.jobs.patience import patiently
from agentclient.jobs.storage_process import end
from agentclient.jobs.targets import SYNCED_WITHIN_S, Target, sync_all
from agentclient.model.job import JobRefusal
from agentclient.model.text import printable
from agentclient.model.vm import Process

FORMAT: Final = "qcow2"
CLOSED_WITHIN_S: Final = 60.0
_CLOSED_EVERY_S: Final = 0.1
_LOOK_S: Final = 5.0
_TEST: Final = "/usr/bin/test"


class CalledFiles:
    """The files of one copy (see `CopyFiles`).

    Args:
        control: a cancellation ends what is waited for.
        process: the VM's QEMU; None if it is not known.

    Attributes:
        process: the same.
    """

    def __init__(self, control: JobControl, process: Process | None) -> None:
        self._control = control
        self.process = process
        self._made: list[Target] = []

    @property
    def made(self) -> tuple[Target, ...]:
        """The files that were made."""
        return tuple(self._made)

    def check_folder(self, folder: Path) -> None:
        """Refuse a folder that the VM's QEMU can't reach, as far as that can be tried here.

        Raises:
            JobRefused: it can't.
            JobFailed: the storage hangs.
        """
        looking = partial(_why_out_of_reach, folder, self.process)
        why = patiently(self._control, "looking at the folder", looking)
        if why is not None:
            raise JobRefused(
                JobRefusal.TARGET,
                f"the VM's QEMU can't reach {printable(folder, 300)}: {why}",
                "name a folder that its user may enter, with all folders above it",
            )

    def make(
        self, path: Path, size: int, disk: str, backing: tuple[str, str] | None = None
    ) -> Target:
        """Make an empty image; nothing that exists is overwritten.

        Args:
            path: the file; absolute.
            size: the disk's size, in bytes.
            disk: the disk's node.
            backing: the image below it, as it is to be named there, and its format; None for none.

        Raises:
            JobRefused: it exists, or can't be made.
            JobFailed: the storage hangs.
        """
        program = tool()
        if program is None:
            raise JobRefused(JobRefusal.NOT_BEGUN, INSTALL)
        making = partial(new_file, path, 0, None)
        what = f"making {printable(path, 300)}"
        number = made_apart(self._control, what, making, partial(delete, path))
        target = Target(path, FORMAT, disk, number)
        self._made.append(target)
        why = make_image(program, path, size, backing, self._control.check)
        if why is not None:
            raise JobFailed(f"{printable(path, 300)}: {why}")
        return target

    def close(self) -> list[str]:
        """Wait until the VM's QEMU has closed them, as far as that can be seen; 60 s at the most.

        A backup has ended for its manager before that has QEMU close the files: what their tables
        are to be is in QEMU's memory until then.

        Returns:
            Which it has open still, each as a clause.
        """
        until = time.monotonic() + CLOSED_WITHIN_S
        while still := self._open():
            if time.monotonic() > until:
                return [f"the VM's QEMU has {printable(one.path, 300)} open" for one in still]
            self._control.wait(_CLOSED_EVERY_S)
        return []

    def _open(self) -> list[Target]:
        looking = partial(opened_by, self.process)
        opened = patiently(self._control, "looking at what QEMU has opened", looking) or ()
        return [one for one in self._made if one.inode in opened]

    def sync(self, control: JobControl) -> None:
        """Wait until the storage has all that was written to them; 1 h at the most.

        Raises:
            JobCancelled: that was cancelled.
            JobFailed: the storage did not take it.
        """
        syncing = partial(sync_all, self._made)
        try:
            patiently(control, "writing the copy out", syncing, SYNCED_WITHIN_S)
        except OSError as error:
            why = printable(error.strerror, 200)
            raise JobFailed(f"the storage did not take the copy: {why}") from error

    def remove(self) -> list[str]:
        """Delete them; return what is left, each as a clause."""
        made, self._made = self._made, []
        shown = [(f"the file {printable(one.path, 300)}", one.path, one.inode) for one in made]
        return [left for left in delete_files(shown) if left is not None]


def _why_out_of_reach(folder: Path, process: Process | None) -> str | None:
    """Try, as the user of the VM's QEMU, to enter a folder; None if that works, or can't be tried.

    Only root can try it. What mandatory access control says of the file (AppArmor, SELinux) is the
    manager's affair, which labels it.
    """
    if process is None or os.geteuid() != 0:
        return None
    try:
        lines = (PROC / str(process.pid) / "status").read_text().splitlines()
        known = dict(line.split(":", 1) for line in lines if ":" in line)
        user, group = (int(known[name].split()[3]) for name in ("Uid", "Gid"))
        groups = [int(one) for one in known["Groups"].split()]
        if user == 0:
            return None
        trying = subprocess.Popen(
            [_TEST, "-x", str(folder)],
            user=user,
            group=group,
            extra_groups=groups,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, LookupError, subprocess.SubprocessError):
        return None
    return f"its user (uid {user}) may not enter it" if _ended(trying) == 1 else None


def _ended(child: subprocess.Popen[bytes]) -> int | None:
    """Return how a process has ended; None if its storage hangs, where not even KILL ends it."""
    try:
        return child.wait(_LOOK_S)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end(child)
