"""The port of a guest's agent in QEMU's tree of objects: finds it, and asks for its queues."""

from __future__ import annotations

from agentclient.access.exchange import Steps
from agentclient.access.qmp_session import Ask, QmpSession
from agentclient.model.vm import AgentChannel
from agentclient.protocol import qemu_port as ports
from agentclient.protocol.qemu_port import Port
from agentclient.protocol.qmp import value_of

_STATUS = "x-query-virtio-queue-status"


def find_port(session: QmpSession, agent: AgentChannel) -> Steps[tuple[Port | None, bool]]:
    """Find the agent's port, in about five round trips.

    Args:
        session: a greeted session.
        agent: the agent's channel.

    Returns:
        The port, None if none is found; and whether no other port is on its device.

    Raises:
        MonitorError: not everything was answered in time, or the session broke.
    """
    listings = yield from session.ask([Ask("qom-list", {"path": p}) for p in ports.PERIPHERALS])
    paths = [
        path
        for directory, answer in zip(ports.PERIPHERALS, listings, strict=True)
        for path in ports.port_paths(directory, value_of(answer))
    ]
    found = []
    for path in paths:
        found.append((yield from _read_port(session, path)))
    known = [one for one in found if one is not None]
    answers = yield from session.ask([Ask("query-chardev")])
    chardev = ports.agent_chardev(ports.chardevs(value_of(answers[0])), agent)
    label = chardev.label if chardev else None
    port = next((one for one in known if one.label == label), None)
    return port, port is None or sum(one.device == port.device for one in known) == 1


def queue_asks(port: Port) -> list[Ask]:
    """Return what shows a port's openings, and what its agent has read (protocol §1.10)."""
    control = {"path": port.device, "queue": ports.CONTROL_TRANSMIT_QUEUE}
    read = {"path": port.device, "queue": port.receive_queue, "index": 0}
    return [Ask(_STATUS, control), Ask("x-query-virtio-queue-element", read)]


def traffic_asks(port: Port) -> list[Ask]:
    """Return what shows how much goes through a port, in both directions."""
    queues = (port.receive_queue, port.transmit_queue)
    return [Ask(_STATUS, {"path": port.device, "queue": queue}) for queue in queues]


def _read_port(session: QmpSession, path: str) -> Steps[Port | None]:
    names = ("chardev", "nr", "parent_bus")
    asks = [Ask("qom-get", {"path": path, "property": name}) for name in names]
    answers = yield from session.ask(asks)
    values = [value_of(answer) for answer in answers]
    return ports.port(path, dict(zip(names, values, strict=True)))
