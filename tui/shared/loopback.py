"""Which addresses only this machine reaches."""

from __future__ import annotations

import ipaddress
from typing import Final

LOCALHOST: Final = "localhost"


def is_loopback(host: str | None) -> bool:
    """Tell whether a host is this machine for itself alone.

    Args:
        host: ``localhost``, or an IP address in any of its forms; all other names may be anybody's.
    """
    if host == LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
