"""A drill's guest as `VirtualFreeze` wants it: in virtual time, and seen by its monitor."""

from __future__ import annotations

import json
from typing import Any, cast

from agentclient.backends.drill.guest import DrillGuest
from agentclient.backends.drill.plan import make_guest
from agentclient.backends.drill.qmp_monitor import MonitorSession
from agentclient.backends.drill.troubles import Trouble
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.protocol import qemu_port as port
from tests.unit.virtual_freeze import VirtualFreeze
from tests.unit.virtual_guest import VirtualGuest

AGENT = "/run/drill/0.qga"
DEVICE = "/machine/peripheral-anon/device[0]/virtio-backend"


def drill_guest(trouble: Trouble) -> DrillGuest:
    return DrillGuest(make_guest("db", 1, trouble))


class Drilled:
    """The shape of a `VirtualGuest` around a drill's.

    Args:
        guest: the drill's.
        now: when it begins, in seconds of the clock of whoever looks at it.
        speed: how many times faster its own time runs.
    """

    gone = False

    def __init__(self, guest: DrillGuest, *, now: float = 0.0, speed: float = 1.0) -> None:
        self.truth = guest
        self.now = now
        self._speed = speed
        self.ever_closed_since_freeze = False
        self.truth.client_came(self._own)

    @property
    def _own(self) -> float:
        return self.now * self._speed

    @property
    def frozen(self) -> set[str]:
        return set(self.truth.disks.frozen)

    def take(self, data: bytes) -> None:
        self.truth.receive(self._own, data)

    def read(self) -> bytes:
        return self.truth.take_output()

    def advance(self, seconds: float) -> None:
        """Let time pass in steps, so that a port that closes for a moment is noticed here."""
        end = self.now + seconds
        while self.truth.wakes_at < end * self._speed:
            self.now = max(self.now, self.truth.wakes_at / self._speed)
            self._pass()
        self.now = end
        self._pass()

    def view(self) -> MonitorView:
        """What `agentclient.access.monitor` makes of the monitor's answers."""
        status, blocks, chardevs, control, receive = ask(
            self.truth,
            self._own,
            ("query-status", {}),
            ("query-blockstats", {}),
            ("query-chardev", {}),
            ("x-query-virtio-queue-status", {"path": DEVICE, "queue": 3}),
            ("x-query-virtio-queue-status", {"path": DEVICE, "queue": 4}),
        )
        chardev = port.chardevs(chardevs)[0]
        return MonitorView(
            RunState(status["status"]),
            port_open=chardev.open,
            client=chardev.client,
            openings=port.queue_index(control, "used-idx"),
            reads=port.queue_index(receive, "shadow-avail-idx"),
            written_bytes=port.written_bytes(blocks),
        )

    def _pass(self) -> None:
        self.truth.advance(self._own)
        self.ever_closed_since_freeze |= not self.truth.alive


def ask(guest: DrillGuest, now: float, *asks: tuple[str, dict[str, object]]) -> list[Any]:
    """Ask a monitor, and return the values."""
    session = MonitorSession(guest, AGENT)
    session.receive(now, b'{"execute": "qmp_capabilities"}\n')
    answers = []
    for number, (command, arguments) in enumerate(asks):
        body = {"execute": command, "arguments": arguments, "id": number}
        answer = json.loads(session.receive(now, json.dumps(body).encode() + b"\n"))
        assert answer["id"] == number
        answers.append(answer["return"])
    return answers


def virtual_freeze(trouble: Trouble, **more: Any) -> VirtualFreeze:
    """Begin a freeze of a guest with this trouble, by the real procedure and the real wire."""
    guest = drill_guest(trouble)
    more.setdefault("file_systems", guest.plan.file_systems)
    return VirtualFreeze(cast(VirtualGuest, Drilled(guest)), **more)
