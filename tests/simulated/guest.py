"""One simulated guest: the agent's and the monitor's answers, without any I/O.

Every behaviour names the test with a real guest that showed it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

BEHAVIOURS = ("quick", "hook", "silent", "escapes", "huge", "frozen")
ESCAPES = "\x1b[2J\x1b]0;owned\x07[red]db[/]\u202e\r\n"
HUGE_BYTES = 100 * 1024 * 1024
FILE_SYSTEMS = [
    {"name": "vda", "mountpoint": "/mnt/a", "type": "ext4", "disk": []},
    {"name": "vdb", "mountpoint": "/mnt/b", "type": "ext4", "disk": []},
    {"name": "vdc", "mountpoint": "/mnt/efi", "type": "vfat", "disk": []},
]
DEVICE = "/machine/peripheral-anon/device[0]/virtio-backend"


@dataclass
class Answer:
    """Bytes to write, some seconds after the request was read."""

    data: bytes
    delay_s: float = 0.0


@dataclass
class SimulatedGuest:
    """The state of one guest.

    Attributes:
        behaviour: one of `BEHAVIOURS`.
        hook_s: how long a freeze takes with the behaviour ``hook``.
    """

    name: str
    agent_path: str
    behaviour: str = "quick"
    hook_s: float = 10.0
    frozen: bool = False
    client: bool = False
    reads: int = 0
    busy_until: float = 0.0
    _buffer: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        # A guest that somebody else froze (test_thaw_foreign…).
        self.frozen = self.behaviour == "frozen"

    # -- the agent ------------------------------------------------------------------------

    def agent(self, data: bytes, now: float) -> Iterator[Answer]:
        """Take bytes from the client; yield what is answered, in order (test_facts_channel)."""
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            self.reads += 1
            if self.behaviour == "silent":
                continue  # SIGSTOP: the port is open, nothing answers (test_freeze_…stopped)
            if line.startswith(b"\xff"):
                # test_fact_leading_ff_gives_one_error_line
                yield self._later(_line(error={"class": "GenericError", "desc": "stray"}), now)
            yield self._command(json.loads(line.lstrip(b"\xff")), now)

    def _command(self, message: dict[str, Any], now: float) -> Answer:
        tag = {"id": message["id"]} if "id" in message else {}
        match message["execute"]:
            case "guest-sync-delimited":
                return self._later(b"\xff" + _line(value=message["arguments"]["id"], **tag), now)
            case "guest-fsfreeze-status":
                return self._later(_line(value="frozen" if self.frozen else "thawed", **tag), now)
            case "guest-fsfreeze-thaw":
                count, self.frozen = 2 * self.frozen, False
                return self._later(_line(value=count, **tag), now)
            case "guest-fsfreeze-freeze":
                return self._freeze(tag, now)
            case "guest-get-fsinfo":
                return self._file_systems(tag, now)
            case "guest-info":
                return self._later(_line(value=self._info(), **tag), now)
            case other:
                error = {"class": "CommandNotFound", "desc": f"no {other}"}
                return self._later(_line(error=error, **tag), now)

    def _freeze(self, tag: dict[str, Any], now: float) -> Answer:
        self.frozen = True
        if self.behaviour == "hook":
            # Commands queue behind a hook (test_freeze_schedule).
            self.busy_until = now + self.hook_s
        return self._later(_line(value=2, **tag), now)

    def _file_systems(self, tag: dict[str, Any], now: float) -> Answer:
        if self.behaviour == "huge":
            return self._later(b'{"return": "' + b"x" * HUGE_BYTES + b'"}\n', now)
        mounts = [dict(one) for one in FILE_SYSTEMS]
        if self.behaviour == "escapes":
            mounts[0]["mountpoint"] = ESCAPES
        return self._later(_line(value=mounts, **tag), now)

    def _info(self) -> dict[str, Any]:
        names = ("guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-status")
        version = ESCAPES if self.behaviour == "escapes" else "7.2.0"
        commands = [{"name": name, "enabled": True, "success-response": True} for name in names]
        return {"version": version, "supported_commands": commands}

    def _later(self, data: bytes, now: float) -> Answer:
        return Answer(data, max(0.0, self.busy_until - now))

    # -- the monitor ----------------------------------------------------------------------

    def monitor(self, line: bytes) -> bytes:
        """Answer one QMP command (tests/guests/test_monitor.py)."""
        message = json.loads(line)
        arguments = message.get("arguments", {})
        value = self._query(message["execute"], arguments)
        return _line(value=value, id=message.get("id"))

    def _query(self, command: str, arguments: dict[str, Any]) -> Any:
        match command:
            case "query-status":
                return {"status": "running", "running": True, "singlestep": False}
            case "query-blockstats":
                return [{"device": "a", "stats": {"wr_bytes": 4096}}]
            case "query-chardev":
                prefix = "" if self.client else "disconnected:"
                filename = f"{prefix}unix:{self.agent_path},server=on"
                return [{"label": "qga0", "filename": filename, "frontend-open": True}]
            case "qom-list" if arguments["path"].endswith("-anon"):
                return [{"name": "device[1]", "type": "child<virtserialport>"}]
            case "qom-list":
                return []
            case "qom-get":
                properties = {"chardev": "qga0", "nr": 1, "parent_bus": f"{DEVICE}/serial.0"}
                return properties[arguments["property"]]
            case "x-query-virtio-queue-status":
                return {"used-idx": 3, "shadow-avail-idx": self.reads}
            case _:
                return {}


def _line(**body: Any) -> bytes:
    if "value" in body:
        body["return"] = body.pop("value")
    return json.dumps(body).encode() + b"\n"
