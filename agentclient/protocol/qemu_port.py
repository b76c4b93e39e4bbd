"""Where the agent's port is inside QEMU, and what its queues tell. Pure: QMP values in, facts out.

Protocol §1.3 and §1.10: ``query-chardev`` shows both ends of the channel; the virtqueues of the
virtio-serial device count what a poll would miss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentclient.model.snapshot import Traffic
from agentclient.model.vm import AgentChannel

PERIPHERALS = ("/machine/peripheral", "/machine/peripheral-anon")
PORT_TYPES = ("child<virtserialport>", "child<virtconsole>")
# Queue 3 of a virtio-serial device is its control queue towards the host (virtio 1.1, 5.3.2).
CONTROL_TRANSMIT_QUEUE = 3
_INDEXES = 1 << 16
_USUAL_LABELS = ("qga0", "qga", "charchannel0")


@dataclass(frozen=True, slots=True)
class Chardev:
    """One entry of ``query-chardev``.

    Attributes:
        label: its id.
        filename: where it leads, as QEMU describes it.
        open: the frontend is open: for a virtserialport, an agent runs in the guest.
    """

    label: str
    filename: str
    open: bool

    @property
    def client(self) -> bool:
        """Whether a client is attached on the host's side."""
        return not self.filename.startswith("disconnected:")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a virtio-serial device in QEMU's object tree.

    Attributes:
        path: the port's QOM path.
        device: the QOM path of the virtio device that it is plugged into.
        number: the port's number there.
        label: the chardev behind it.
    """

    path: str
    device: str
    number: int
    label: str

    @property
    def receive_queue(self) -> int:
        """The queue through which the guest reads (virtio 1.1, 5.3.2)."""
        return 0 if self.number == 0 else 2 * self.number + 2

    @property
    def transmit_queue(self) -> int:
        """The queue through which the guest writes (virtio 1.1, 5.3.2)."""
        return self.receive_queue + 1

    @property
    def id(self) -> str | None:
        """The port's ``id=``, which events carry; None if it has none (protocol §1.5)."""
        parent, _, name = self.path.rpartition("/")
        return name if parent == PERIPHERALS[0] else None


def chardevs(value: object) -> list[Chardev]:
    """Read the answer of ``query-chardev``; what isn't as documented is left out."""
    found = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict) and isinstance(item.get("label"), str):
            found.append(
                Chardev(
                    item["label"], str(item.get("filename", "")), item.get("frontend-open") is True
                )
            )
    return found


def agent_chardev(found: list[Chardev], agent: AgentChannel) -> Chardev | None:
    """Find the agent's chardev: by its label, by its socket's path, or by a usual label.

    Args:
        found: all chardevs of the VM.
        agent: where its channel is on this host.

    Returns:
        The chardev; None if there is none, or if it can't be told which one it is.
    """
    if agent.label is not None:
        return next((one for one in found if one.label == agent.label), None)
    by_path = [one for one in found if socket_path(one.filename) == str(agent.path)]
    if not by_path:
        by_path = [
            one
            for one in found
            if PurePosixPath(socket_path(one.filename) or "/").name == agent.path.name
        ]
    if len(by_path) == 1:
        return by_path[0]
    usual = [one for one in found if one.label in _USUAL_LABELS]
    return usual[0] if len(usual) == 1 and not by_path else None


def socket_path(filename: str) -> str | None:
    """Return the UNIX socket's path in ``disconnected:unix:/run/x.qga,server=on``, or None."""
    _, found, rest = filename.partition("unix:")
    if not found:
        return None
    return rest.partition(" <-> ")[0].partition(",server")[0]


def port_paths(directory: str, value: object) -> list[str]:
    """Read ``qom-list``: the QOM paths of the ports in `directory`."""
    return [
        f"{directory}/{item['name']}"
        for item in (value if isinstance(value, list) else [])
        if isinstance(item, dict) and item.get("type") in PORT_TYPES and "name" in item
    ]


def port(path: str, properties: Mapping[str, object]) -> Port | None:
    """Make a port of its QOM properties ``chardev``, ``nr`` and ``parent_bus``."""
    label, number, bus = (properties.get(name) for name in ("chardev", "nr", "parent_bus"))
    if not (isinstance(label, str) and isinstance(number, int) and isinstance(bus, str)):
        return None
    return Port(path, bus.rpartition("/")[0], number, label)


def queue_index(value: object, name: str) -> int | None:
    """Read one index of a queue; None if it is not there.

    Args:
        value: the answer of ``x-query-virtio-queue-status``.
        name: the index's name in it.
    """
    index = value.get(name) if isinstance(value, dict) else None
    return index if isinstance(index, int) and not isinstance(index, bool) else None


def index_of_reads(value: object) -> int | None:
    """Read how often the guest has emptied a buffer from ``x-query-virtio-queue-element``.

    It is read from the guest's memory as QEMU answers. ``shadow-avail-idx`` of
    ``x-query-virtio-queue-status`` is QEMU's own copy, which is refreshed when QEMU runs out of
    buffers: with a ring of 1,024, as of QEMU 10, it lags or stands still (protocol §10.1).
    """
    return queue_index(value.get("avail") if isinstance(value, dict) else None, "idx")


def traffic(element: object, receive: object, transmit: object) -> Traffic | None:
    """Read what is counted at a port.

    The guest's driver fills its receive queue with buffers, and adds one for each that was read. So
    as many are unread as the queue has fewer of them than it can have.

    Args:
        element: the answer of ``x-query-virtio-queue-element`` about the queue to the guest.
        receive: the answer of ``x-query-virtio-queue-status`` about it.
        transmit: the same about the queue from the guest.

    Returns:
        None if one of them can't be read.
    """
    given = index_of_reads(element)
    handed, size = (queue_index(receive, name) for name in ("used-idx", "vring-num"))
    answers = queue_index(transmit, "used-idx")
    if given is None or handed is None or size is None or answers is None:
        return None
    unread = (handed + size - given) % _INDEXES
    return Traffic(handed, unread if unread <= size else 0, answers)


def written_bytes(value: object) -> int | None:
    """Sum ``query-blockstats``: bytes that the guest wrote to all its disks; None if unreadable."""
    if not isinstance(value, list):
        return None
    total = 0
    for item in value:
        stats = item.get("stats") if isinstance(item, dict) else None
        written = stats.get("wr_bytes") if isinstance(stats, dict) else None
        if isinstance(written, int):
            total += written
    return total
