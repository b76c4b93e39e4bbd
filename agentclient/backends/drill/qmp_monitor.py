"""A simulated guest's QMP monitor, pure: it replies as QEMU would (protocol §1.3, §1.10)."""

from __future__ import annotations

import json
from typing import Any, Final

from agentclient.backends.drill.block import ACTIONS, COMMANDS, OBJECTS, BlockError
from agentclient.backends.drill.guest import DrillGuest
from agentclient.protocol.qemu_port import CONTROL_TRANSMIT_QUEUE

LABEL: Final = "qga0"
GREETING: Final = (
    b'{"QMP": {"version": {"qemu": {"major": 9, "minor": 2, "micro": 0}, "package": "drill"},'
    b' "capabilities": []}}\r\n'
)
_ANON = "/machine/peripheral-anon"
# QEMU's path of a machine's built-in devices; only the keyboard is ever looked up.
_UNATTACHED = "/machine/unattached"
_DEVICES: Final = {
    _ANON: [{"name": "device[1]", "type": "child<virtserialport>"}],
    _UNATTACHED: [{"name": "device[5]", "type": "child<i8042>"}],
}
_DEVICE = f"{_ANON}/device[0]/virtio-backend"
_PORT = {"chardev": LABEL, "nr": 1, "parent_bus": f"{_DEVICE}/serial.0"}
_TRANSMIT_QUEUE: Final = 5  # of port 1 (virtio 1.1, 5.3.2)
RING: Final = 128
"""How many buffers a queue has."""
_SYSRQ_J: Final = ("alt", "sysrq", "j")
# The replies that are the same for every guest: their JSON is made only once.
_STATIC: Final = {
    "qmp_capabilities": "{}",
    "query-migrate": "{}",
    "query-uuid": '{"UUID": "00000000-0000-0000-0000-000000000000"}',
    "query-version": '{"qemu": {"major": 9, "minor": 2, "micro": 0}, "package": "drill"}',
    "query-status": '{"status": "running", "singlestep": false, "running": true}',
}


class MonitorSession:
    """One client's session with the monitor of one guest.

    Args:
        guest: the guest.
        agent_path: the path of the agent's socket.
    """

    __slots__ = ("_agent_path", "_buffer", "_guest", "_negotiated")

    def __init__(self, guest: DrillGuest, agent_path: str) -> None:
        self._guest = guest
        self._agent_path = agent_path
        self._buffer = b""
        self._negotiated = False

    def receive(self, now: float, data: bytes) -> bytes:
        """Take the client's bytes, and return the reply's bytes."""
        self._guest.advance(now)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return b"".join(self._answer(now, line) for line in lines if line.strip())

    def _answer(self, now: float, line: bytes) -> bytes:
        message = _message(line)
        if message is None:
            return _error("GenericError", "Invalid JSON syntax", "null")
        tag = json.dumps(message.get("id"))
        command = str(message.get("execute"))
        if not self._negotiated and command != "qmp_capabilities":
            desc = "Expecting capabilities negotiation with 'qmp_capabilities'"
            return _error("CommandNotFound", desc, tag)
        self._negotiated = True
        try:
            value = _STATIC.get(command) or self._run(now, command, message.get("arguments"))
        except BlockError as error:
            return _error("GenericError", str(error), tag)
        if value is None:
            return _error("CommandNotFound", f"The command {command} has not been found", tag)
        return b'{"return": %s, "id": %s}\r\n' % (value.encode(), tag.encode())

    def _run(self, now: float, command: str, given: object) -> str | None:
        """Run a command, and return its result as JSON; None if there is no such command."""
        arguments = given if isinstance(given, dict) else {}
        match command:
            case "query-blockstats":
                written = self._guest.disks.written(now)
                return json.dumps([{"device": "drive0", "stats": {"wr_bytes": written}}])
            case "query-chardev":
                return json.dumps([self._chardev()])
            case "x-query-virtio-queue-status":
                return json.dumps(self._queue(arguments.get("queue")))
            case "x-query-virtio-queue-element":
                # The guest's driver fills the queue, and adds a buffer for each that was read.
                return json.dumps({"avail": {"idx": (self._guest.reads + RING) & 0xFFFF}})
            case "qom-list" if arguments.get("path") == OBJECTS:
                return json.dumps(
                    [
                        {"name": path.removeprefix(f"{OBJECTS}/"), "type": "child<main-loop>"}
                        for path in self._guest.block.objects
                    ]
                )
            case "qom-get" if str(arguments.get("path")) in self._guest.block.objects:
                limits = self._guest.block.objects[str(arguments["path"])]
                return json.dumps(limits.get(str(arguments.get("property"))))
            case "qom-list":
                return json.dumps(_DEVICES.get(str(arguments.get("path")), []))
            case "qom-get":
                return json.dumps(_PORT.get(str(arguments.get("property"))))
            case "send-key":
                if _keys(arguments.get("keys")) == _SYSRQ_J:
                    self._guest.thaw_by_key(now)
                return "{}"  # as QEMU replies to any key, whether the guest takes it or not
            case "system_reset":
                self._guest.reset(now)
                return "{}"
            case _:
                return self._run_block(now, command, arguments)

    def _run_block(self, now: float, command: str, arguments: dict[str, Any]) -> str | None:
        """Run a command of the block layer, as `_run` does."""
        if command == "query-commands":
            return json.dumps([{"name": name} for name in sorted(COMMANDS | ACTIONS)])
        if command not in COMMANDS:
            return None
        if command == "query-jobs" and self._guest.has_no_jobs:
            return "[]"
        return json.dumps(self._guest.block.run(now, command, arguments))

    def _chardev(self) -> dict[str, Any]:
        prefix = "" if self._guest.client else "disconnected:"
        return {
            "label": LABEL,
            "filename": f"{prefix}unix:{self._agent_path},server=on",
            "frontend-open": self._guest.alive,
        }

    def _queue(self, queue: Any) -> dict[str, int]:
        guest = self._guest
        moved = {CONTROL_TRANSMIT_QUEUE: guest.openings, _TRANSMIT_QUEUE: guest.answers}
        return {"used-idx": moved.get(queue, guest.handed) & 0xFFFF, "vring-num": RING}


def _keys(given: object) -> tuple[object, ...]:
    """Return the pressed keys, by QEMU's names for them."""
    keys = given if isinstance(given, list) else []
    return tuple(each.get("data") for each in keys if isinstance(each, dict))


def _message(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line; None if it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _error(error_class: str, desc: str, tag: str) -> bytes:
    body = json.dumps({"class": error_class, "desc": desc})
    return b'{"error": %s, "id": %s}\r\n' % (body.encode(), tag.encode())
