"""The lab: real guests under QEMU, without KVM, from Debian packages, in a few seconds each.

    with boot(name="db1") as guest:
        guest.slow_hook(30)
        ...

`Guest` is what tests use, `RawClient` plays somebody else on an agent's socket, `why_not()` says
why there can be no guests here.
"""

from tests.guests.lab.errors import LabError, LabUnavailable, QmpError, ShellError
from tests.guests.lab.guest import Guest, boot
from tests.guests.lab.options import BootOptions, Options
from tests.guests.lab.packages import needs, why_not
from tests.guests.lab.raw import RawClient, Silence

__all__ = [
    "BootOptions",
    "Guest",
    "LabError",
    "LabUnavailable",
    "Options",
    "QmpError",
    "RawClient",
    "ShellError",
    "Silence",
    "boot",
    "needs",
    "why_not",
]
