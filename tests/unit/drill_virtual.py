"""A drill's guest as `VirtualFreeze` wants it: in virtual time, and seen by its monitor."""

from __future__ import annotations

import json
from typing import Any, cast

from agentclient import port
from agentclient.drill.guest import DrillGuest
from agentclient.drill.monitor import MonitorSession
from agentclient.drill.plan import make_guest
from agentclient.drill.troubles import Trouble
from agentclient.vm import MonitorView, RunState
from tests.unit.virtual_freeze import VirtualFreeze
from tests.unit.virtual_guest import VirtualGuest

AGENT = "/run/drill/0.qga"
DEVICE = "/machine/peripheral-anon/device[0]/virtio-backend"


def drill_guest(trouble: Trouble) -> DrillGuest:
    return DrillGuest(make_guest("db", 1, trouble))


class Drilled:
    """The shape of a `VirtualGuest` around a drill's."""

    gone = False

    def __init__(self, trouble: Trouble) -> None:
        self.truth = drill_guest(trouble)
        self.now = 0.0
        self.ever_closed_since_freeze = False
        self.truth.client_came(0.0)

    @property
    def frozen(self) -> set[str]:
        return set(self.truth.disks.frozen)

    def take(self, data: bytes) -> None:
        self.truth.receive(self.now, data)

    def read(self) -> bytes:
        return self.truth.take_output()

    def advance(self, seconds: float) -> None:
        """Let time pass in steps, so that a port that closes for a moment is noticed here."""
        end = self.now + seconds
        while self.truth.wakes_at < end:
            self.now = max(self.now, self.truth.wakes_at)
            self._pass()
        self.now = end
        self._pass()

    def view(self) -> MonitorView:
        """What `agentclient.monitor` makes of the monitor's answers."""
        status, blocks, chardevs, control, receive = ask(
            self.truth,
            self.now,
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
        self.truth.advance(self.now)
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
    return VirtualFreeze(cast(VirtualGuest, Drilled(trouble)), **more)
