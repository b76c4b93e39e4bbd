"""Finds out whether a VM is the machine on which frostwatch itself runs: it must not be frozen.

A frozen machine can't thaw itself: the console would hang with everything else that writes. The
VM's UUID from its monitor is compared with the one that this machine's firmware reports.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agentclient.access.monitor import Monitor
from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.protocol.qmp import value_of

FIRMWARE: Final = Path("/sys/class/dmi/id/product_uuid")  # only root may read it
_NONE: Final = "00000000-0000-0000-0000-000000000000"


def own_uuid(path: Path = FIRMWARE) -> str | None:
    """Return this machine's UUID; None if it has none, or we may not know it."""
    try:
        found = path.read_text().strip().lower()
    except (OSError, UnicodeDecodeError):
        return None
    return found if found and found != _NONE else None


def is_self(monitor: Monitor | None, own: str | None, known: str | None = None) -> bool:
    """Return whether a VM is provably the machine on which we run.

    Args:
        monitor: the VM's monitor; None if it has none.
        own: our own machine's UUID (see `own_uuid`).
        known: the VM's UUID, as its source tells it; it counts where there is no monitor.
    """
    if own is None:
        return False
    if monitor is None:
        return known is not None and known.lower() == own
    return uuid_of(monitor) == own


def uuid_of(monitor: Monitor | None) -> str | None:
    """Return a VM's UUID as its monitor tells it; None if it has none, or can't be asked."""
    if monitor is None:
        return None
    try:
        (answer,) = monitor.ask([Ask("query-uuid")])
    except MonitorError:
        return None
    value = value_of(answer)
    uuid = value.get("UUID") if isinstance(value, dict) else None
    return uuid.lower() if isinstance(uuid, str) and uuid != _NONE else None
