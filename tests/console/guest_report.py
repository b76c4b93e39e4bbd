"""What a guest's agent has told, and a VM's past, for tests and pictures of its page."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from agentclient.journal.figures import figures
from agentclient.journal.history import VmHistory
from agentclient.journal.rows import Moment
from agentclient.journal.storage.tables import MOMENTS
from agentclient.journal.window_row import WindowRow
from agentclient.model.guest_report import GuestDisk, GuestReport, MountedFileSystem
from agentclient.model.states import WindowKind, WindowState
from tests.console.fakes import NOON

_GIB = 1 << 30
_KNOWN = frozenset(
    {
        "guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list", "guest-fsfreeze-thaw",
        "guest-fsfreeze-status", "guest-get-fsinfo", "guest-get-disks", "guest-exec",
        "guest-file-read", "guest-file-write", "guest-shutdown", "guest-set-user-password",
    }
)  # fmt: skip
REPORT = GuestReport(
    NOON,
    None,
    "7.2.0",
    _KNOWN - {"guest-exec", "guest-file-write"},
    _KNOWN,
    {
        "pretty-name": "Debian GNU/Linux 12 (bookworm)",
        "kernel-release": "6.1.0-18-amd64",
        "machine": "x86_64",
    },
    (
        MountedFileSystem(
            "vda1", "/", "ext4", 12 * _GIB, 20 * _GIB, (GuestDisk("virtio", "/dev/vda1", "root-1"),)
        ),
        MountedFileSystem(
            "dm-0",
            "/var/lib/postgresql",
            "xfs",
            195 * _GIB,
            200 * _GIB,
            (GuestDisk("scsi", "/dev/sda"), GuestDisk("scsi", "/dev/sdb")),
        ),
        MountedFileSystem("vda15", "/boot/efi", "vfat", 6 << 20, 124 << 20, ()),
    ),
)


def window(number: int, word: str, *, took_s: float | None, certified: bool = False) -> WindowRow:
    """Return a freeze of the past: `number` hours ago."""
    asked = NOON - timedelta(hours=number)

    def at(seconds: float) -> Moment:
        moment: datetime = asked + timedelta(seconds=seconds)
        return Moment(moment.isoformat(timespec="milliseconds"), 10_000.0 - number * 3600 + seconds)

    times: dict[str, Moment | None] = dict.fromkeys(MOMENTS)
    times |= {"asked": at(0), "sent": at(0.2), "ended": at(60)}
    if took_s is not None:
        times |= {"replied": at(0.2 + took_s), "held": at(0.3 + took_s), "thawed": at(30)}
    outcome = {
        "outcome": word,
        "certified": certified,
        "frozen": 2 if took_s else None,
        "thawed": 2,
    }
    return WindowRow(
        number, WindowKind.FREEZE, "qemu:db-2", WindowState.CLOSED, times, {}, 0, "root", 4711, "x",
        "host", None, outcome, None, settled=True, note=None, events=(),
    )  # fmt: skip


def past() -> VmHistory:
    """Return the past of a VM: five freezes, one of them lost."""
    rows = (
        window(1, "verified", took_s=0.8, certified=True),
        window(2, "lost", took_s=None),
        window(5, "verified", took_s=4.2, certified=True),
        window(26, "broken", took_s=12.5),
        replace(window(50, "verified", took_s=0.7, certified=True), job={"job": "backup"}),
    )
    return VmHistory(rows, figures([0.8, 4.2, 12.5, 0.7]))
