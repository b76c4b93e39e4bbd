"""What can be pressed at a VM without its agent: keys of its keyboard, and its reset button."""

from __future__ import annotations

from typing import Final, Protocol

from agentclient.access.monitor import Monitor
from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.protocol.qmp import QmpFailure

SYSRQ_J: Final = ("alt", "sysrq", "j")
"""Has a Linux kernel thaw its file systems, if it allows it (protocol §3.17)."""
ASK_S: Final = 2.0


class Buttons(Protocol):
    """What can be pressed at one VM; that it was taken does not say that the guest has heard it."""

    @property
    def keyboard(self) -> bool | None:
        """Whether the VM has a keyboard; None if its monitor has to be asked."""

    @property
    def no_break(self) -> str | None:
        """Why no break can be sent to a serial port of its, as a clause; None if one can."""

    def press(self, keys: tuple[str, ...]) -> None:
        """Press keys together.

        Args:
            keys: as QEMU calls them.

        Raises:
            MonitorError: they were refused, or that was not answered: they may be pressed yet.
        """

    def reset(self) -> None:
        """Press the reset button.

        Raises:
            MonitorError: it was refused, or that was not answered: it may be done yet.
        """


class MonitorButtons:
    """The buttons of a VM with a monitor (see `Buttons`).

    Args:
        monitor: the VM's.
    """

    keyboard: bool | None = None
    no_break: str | None = None

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def press(self, keys: tuple[str, ...]) -> None:
        """Press keys together (see `Buttons`)."""
        self.do(Ask("send-key", {"keys": [{"type": "qcode", "data": key} for key in keys]}))

    def reset(self) -> None:
        """Press the reset button (see `Buttons`)."""
        self.do(Ask("system_reset"))

    def do(self, ask: Ask) -> None:
        """Send QEMU one command.

        Raises:
            MonitorError: QEMU refused it, or did not answer: it may still have executed it.
        """
        (answer,) = self._monitor.ask([ask], ASK_S)
        if isinstance(answer, QmpFailure):
            raise MonitorError(f"QEMU refused {ask.command}: {answer.desc}")
