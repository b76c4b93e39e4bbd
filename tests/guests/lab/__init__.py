"""The lab: real guests under QEMU, without KVM, from Debian packages, in a few seconds each.

    with boot(name="db1") as guest:
        guest.slow_hook(30)
        ...

`Libvirtd` is a daemon of libvirt of our own, and `boot_domain()` boots the same guest under it.

`Guest` is what tests use, `RawClient` plays somebody else on an agent's socket, `why_not()` says
why there can be no guests here. `guest.append_load()` and `guest.database()` write while a test
copies the disks, and `check_copy()` says what such a copy is.
"""

from tests.guests.lab.copies import Rows, Verdict, check_copy, check_database
from tests.guests.lab.domain import DomainGuest, boot_domain, start_bare
from tests.guests.lab.errors import LabError, LabUnavailable, QmpError, ShellError
from tests.guests.lab.guest import Guest, boot
from tests.guests.lab.libvirtd import Libvirtd, VirshError
from tests.guests.lab.loads import AppendLoad, DatabaseLoad, Stall, Stalls
from tests.guests.lab.options import BootOptions, Options
from tests.guests.lab.packages import needs, why_not
from tests.guests.lab.patience import BOOT_S, PATIENCE_S
from tests.guests.lab.raw import RawClient, Silence

__all__ = [
    "BOOT_S",
    "PATIENCE_S",
    "AppendLoad",
    "BootOptions",
    "DatabaseLoad",
    "DomainGuest",
    "Guest",
    "LabError",
    "LabUnavailable",
    "Libvirtd",
    "Options",
    "QmpError",
    "RawClient",
    "Rows",
    "ShellError",
    "Silence",
    "Stall",
    "Stalls",
    "Verdict",
    "VirshError",
    "boot",
    "boot_domain",
    "check_copy",
    "check_database",
    "needs",
    "start_bare",
    "why_not",
]
