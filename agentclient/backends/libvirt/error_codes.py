"""What an error of libvirt's means: by its code and by what else is known, never by its text."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Trouble(Enum):
    """What an error means."""

    DAEMON = "libvirt's daemon, or the connection to it, has gone"
    DOMAIN = "the domain is not there any more"
    NOT_RUNNING = "the domain does not run"
    BUSY = "another caller's command has the domain"
    AGENT = "its agent does not answer, or has gone"
    ANSWERED = "its agent has answered with an error"
    UNSURE = "its agent has answered with an error, or its channel has ended"
    FORBIDDEN = "libvirt does not let us"
    OTHER = "something else"


# The numbers of virErrorNumber. The binding may be older than the daemon, and have no names for
# its newest ones.
_INTERNAL: Final = 1
_SYSTEM: Final = 38
_RPC: Final = 39
_NO_DOMAIN: Final = 42
_AUTH_FAILED: Final = 45
_OPERATION_DENIED: Final = 29
_OPERATION_INVALID: Final = 55
_OPERATION_TIMEOUT: Final = 68
_NO_CONNECT: Final = 5
_INVALID_CONN: Final = 6
_AGENT_UNRESPONSIVE: Final = 86
_ACCESS_DENIED: Final = 88
_AGENT_COMMAND_TIMEOUT: Final = 112  # since libvirt 11.2
_AGENT_COMMAND_FAILED: Final = 113  # since libvirt 11.2

_TROUBLES: Final = {
    _SYSTEM: Trouble.DAEMON,
    _RPC: Trouble.DAEMON,
    _NO_CONNECT: Trouble.DAEMON,
    _INVALID_CONN: Trouble.DAEMON,
    _NO_DOMAIN: Trouble.DOMAIN,
    _OPERATION_INVALID: Trouble.NOT_RUNNING,
    _OPERATION_TIMEOUT: Trouble.BUSY,
    _AGENT_UNRESPONSIVE: Trouble.AGENT,
    _AGENT_COMMAND_TIMEOUT: Trouble.AGENT,
    _AGENT_COMMAND_FAILED: Trouble.ANSWERED,
    _OPERATION_DENIED: Trouble.FORBIDDEN,
    _AUTH_FAILED: Trouble.FORBIDDEN,
    _ACCESS_DENIED: Trouble.FORBIDDEN,
}


def trouble_of(code: int, *, connected: bool) -> Trouble:
    """Return what an error means (protocol §5.6, §5.7, §5.10).

    Args:
        code: its number.
        connected: whether the connection is alive; without that, an *internal error* is that it
            is not, and else what an agent has answered, before libvirt 11.2, or that QEMU has
            closed its channel.
    """
    if not connected:
        return Trouble.DAEMON
    if code == _INTERNAL:
        return Trouble.UNSURE
    return _TROUBLES.get(code, Trouble.OTHER)
