"""A guest agent on a real socket that says what a test wants, and freezes of it as they are."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from agentclient.access.access_pool import open_local
from agentclient.holder.client import HolderClient
from agentclient.model.outcome import Outcome
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.snapshot import Progress
from agentclient.model.vm import AgentChannel, Vm, VmId
from agentclient.operations.context import OperationContext
from agentclient.operations.control import Control
from agentclient.operations.freeze import FreezeOperation
from tests.unit.fakes import FakeReporter

FREEZE, STATUS, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-status", "guest-fsfreeze-thaw"
FSINFO = [{"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": []}]
COMMANDS = (
    "guest-sync-delimited",
    "guest-info",
    "guest-get-fsinfo",
    STATUS,
    FREEZE,
    "guest-fsfreeze-freeze-list",
    THAW,
)

Said = bytes | Iterator[bytes]


class Failed(Exception):
    """The command is answered with an error; the text is its description."""


@dataclass
class ServedAgent:
    """One agent on a UNIX socket, one client at a time.

    Attributes:
        path: the socket.
        answers: by command, instead of the usual: a value, a function of the message that returns
            one, or bytes (or an iterator of bytes) that are said as they are.
        asked: the commands that came, in order.
        frozen: the flag that its status tells.
    """

    path: Path
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    frozen: bool = False
    echoes_id: bool = True

    def __enter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._serve, name="served-agent", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, contextlib.suppress(OSError):
                    self._exchange(client)

    def _exchange(self, client: socket.socket) -> None:
        buffer = b""
        while data := client.recv(65536):
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                said = self.hear(line)
                for piece in [said] if isinstance(said, bytes) else said:
                    client.sendall(piece)

    def hear(self, line: bytes) -> Said:
        """Return what is said to a line; for other agents to say something else."""
        message = json.loads(line.lstrip(b"\xff"))
        error = b""
        if line.startswith(b"\xff"):
            error = b'{"error": {"class": "GenericError", "desc": "JSON parse error"}}\n'
        said = self.answer(message)
        return error + said if isinstance(said, bytes) else said

    def answer(self, message: Mapping[str, Any]) -> Said:
        """Return the answer to a message."""
        command = message["execute"]
        self.asked.append(command)
        echo = {"id": message["id"]} if "id" in message and self.echoes_id else {}
        value = self.answers.get(command, self._usual)
        try:
            value = value(message) if callable(value) else value
        except Failed as error:
            body = {"error": {"class": "GenericError", "desc": str(error)}, **echo}
            return json.dumps(body).encode() + b"\n"
        if isinstance(value, bytes | Iterator):
            return value
        sentinel = b"\xff" if command == "guest-sync-delimited" else b""
        return sentinel + json.dumps({"return": value, **echo}).encode() + b"\n"

    def _usual(self, message: Mapping[str, Any]) -> object:
        match message["execute"]:
            case "guest-sync-delimited":
                return message["arguments"]["id"]
            case "guest-info":
                commands = [{"name": name, "enabled": True} for name in COMMANDS]
                return {"version": "7.2", "supported_commands": commands}
            case "guest-get-fsinfo":
                return FSINFO
            case "guest-fsfreeze-status":
                return "frozen" if self.frozen else "thawed"
            case "guest-fsfreeze-freeze" | "guest-fsfreeze-freeze-list":
                self.frozen = True
                return 1
            case "guest-fsfreeze-thaw":
                was, self.frozen = self.frozen, False
                return int(was)
        raise Failed("The command has not been found")


class Reporter(FakeReporter):
    """Lets a freeze show how far it has got."""

    def progress(self, progress: Progress | None) -> None:
        pass

    def port(self, *, is_open: bool) -> None:
        pass

    @property
    def texts(self) -> str:
        """All that was told."""
        return "\n".join(tell.text for tell in self.told)


@dataclass
class Froze:
    """How a freeze went.

    Attributes:
        seconds: how long it took in all.
        busy_s: seconds of processor time that our thread took for it.
    """

    outcome: Outcome
    reporter: Reporter
    seconds: float
    busy_s: float


def freeze(
    path: Path,
    *,
    strict: bool = False,
    mounts: tuple[str, ...] = (),
    make: Callable[[], HolderClient] = HolderClient,
    **times: Any,
) -> Froze:
    """Freeze an agent on a socket, with a holder; `times` are a `Schedule`'s."""
    vm = Vm(VmId("socket", "served"), AgentChannel(path))
    request = FreezeRequest(mounts, strict, Schedule(**times))
    reporter, holder = Reporter(), make()
    began, busy = time.monotonic(), time.thread_time()
    try:
        context = OperationContext(vm, open_local(vm), reporter, Control(), holder)
        outcome = FreezeOperation(context, request).run()
    finally:
        holder.close()
    return Froze(outcome, reporter, time.monotonic() - began, time.thread_time() - busy)
