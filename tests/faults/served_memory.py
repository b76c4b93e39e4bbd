"""The guests of `memory_backend` in a process of their own, reached by calls over a socket.

One call is one connection, with one line each way: no stream, and nothing to be handed over. As in
a hypervisor's daemon, a command goes on when its caller has died. What the guests are outlives the
server: it is in a file.

    python -m tests.faults.served_memory SOCKET NAME…
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agentclient.access.agent_probe import ProbeResult
from agentclient.access.call_session import AgentBusy, AgentGone, CallFailed, CallTimedOut
from agentclient.access.called_access import CalledAccess
from agentclient.access.guest_access import GuestAccess, Opener, ThawRecipe
from agentclient.backends.base import Abilities, Note
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, FreezeState, RunState
from agentclient.model.vm import Identity, Vm
from tests.unit.memory_backend import HOST, MemoryCalls, MemoryGuest

QUICK_S: Final = 0.3
KEPT: Final = ("frozen", "start", "freeze_s", "agent", "ended")


# -- the server ------------------------------------------------------------------------------------


class Server:
    """Serves some guests; each command waits for the one before it on the same guest."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self._state = path.with_suffix(".state")
        self.guests = {name: MemoryGuest(name, freezable=True) for name in names}
        self._locks = {name: threading.Lock() for name in names}
        kept = json.loads(self._state.read_text()) if self._state.exists() else {}
        for name, fields in kept.items():
            vars(self.guests[name]).update(fields)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(64)

    def serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rw") as lines:
            line = lines.readline()
            if not line:
                return
            answer = self._do(json.loads(line))
            self._keep()
            try:
                lines.write(json.dumps(answer) + "\n")
                lines.flush()
            except OSError:
                pass  # the caller has died

    def _keep(self) -> None:
        kept = {
            name: {field: getattr(guest, field) for field in KEPT}
            for name, guest in self.guests.items()
        }
        written = self._state.with_suffix(f".{threading.get_ident()}")
        written.write_text(json.dumps(kept))
        written.replace(self._state)

    def _do(self, asked: Mapping[str, Any]) -> object:
        if asked["do"] == "list":
            return [[guest.name, guest.start] for guest in self.guests.values() if not guest.ended]
        guest = self.guests[asked["guest"]]
        if asked["do"] == "set":
            vars(guest).update(asked["fields"])
        if asked["do"] != "call":
            fields = {field: getattr(guest, field) for field in KEPT}
            return {**fields, "called": guest.called}
        with self._locks[guest.name]:
            return self._call(guest, asked)

    def _call(self, guest: MemoryGuest, asked: Mapping[str, Any]) -> object:
        calls = MemoryCalls(guest, guest.vm.generation)
        try:
            value = calls.call(asked["command"], asked["arguments"], asked["bound_s"])
        except AgentBusy as error:
            return {"busy": str(error)}
        except AgentGone as error:
            return {"gone": str(error), "cause": error.cause}
        except CallTimedOut:
            return {"late": True}
        except CallFailed as error:
            return {"failed": [error.error_class, error.desc]}
        return {"value": value}


# -- the callers -----------------------------------------------------------------------------------


def ask(path: str, timeout_s: float, **asked: object) -> Any:
    """Ask the server something.

    Raises:
        AgentGone: there is no server.
        CallTimedOut: it has not answered in time.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(max(timeout_s, 0.01))
        try:
            connection.connect(path)
            with connection.makefile("rw") as lines:
                lines.write(json.dumps(asked) + "\n")
                lines.flush()
                line = lines.readline()
        except TimeoutError as error:
            raise CallTimedOut(str(error)) from error
        except OSError as error:
            raise AgentGone(f"the hypervisor is away: {error}") from error
    if not line:
        raise AgentGone("the hypervisor has gone")
    return json.loads(line)


class ServedCalls:
    """The calls about one start of a guest, over the socket."""

    shows_port = True

    def __init__(self, path: str, name: str, start: int) -> None:
        self._path = path
        self._name = name
        self._start = start

    def call(
        self, command: str, arguments: Mapping[str, object] | None, timeout_s: float
    ) -> object:
        asked = {"command": command, "arguments": arguments, "bound_s": timeout_s}
        match ask(self._path, timeout_s, do="call", guest=self._name, **asked):
            case {"value": value}:
                return value
            case {"busy": str(who)}:
                raise AgentBusy(who)
            case {"gone": str(text), "cause": str(cause)}:
                raise AgentGone(text, Cause(cause))
            case {"failed": [error_class, desc]}:
                raise CallFailed(error_class, desc)
        raise CallTimedOut

    def observe(self, timeout_s: float) -> MonitorView:
        try:
            found = ask(self._path, timeout_s, do="get", guest=self._name)
        except (AgentGone, CallTimedOut) as error:
            return MonitorView(problem=str(error))
        return MonitorView(RunState.RUNNING, port_open=found["agent"], gone=self.is_gone())

    @property
    def busy(self) -> str | None:
        return None

    @property
    def disk_calls(self) -> None:
        return None

    @property
    def buttons(self) -> None:
        return None

    def suspect(self) -> str | None:
        return None

    def glance(self) -> MonitorView | None:
        return None

    def ask(self, *, first: bool, timeout_s: float) -> ProbeResult:
        try:
            state = self.call("guest-fsfreeze-status", None, timeout_s)
        except (AgentGone, CallTimedOut):
            return ProbeResult()
        return ProbeResult(FreezeState(str(state)), 0.01, version="9.2" if first else None)

    def is_gone(self) -> bool | None:
        try:
            found = ask(self._path, QUICK_S, do="get", guest=self._name)
        except (AgentGone, CallTimedOut):
            return None
        return bool(found["ended"] or found["start"] != self._start)

    def thaw_recipe(self, vm: Vm) -> ThawRecipe:
        details = {"socket": self._path, "guest": self._name, "start": str(self._start)}
        return ThawRecipe(vm, f"{ServedCalls.__module__}:calls", details)


def calls(details: Mapping[str, str]) -> ServedCalls:
    """Return the calls of a recipe."""
    return ServedCalls(details["socket"], details["guest"], int(details["start"]))


class ServedBackend:
    """The VMs of a server."""

    name = "cloud"
    patience_s = 2.0

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._seen: dict[str, int] = {}

    def list_vms(self) -> list[Vm]:
        self._seen = dict(ask(self._path, self.patience_s, do="list"))
        return [
            MemoryGuest(name, start=start, freezable=True).vm for name, start in self._seen.items()
        ]

    def open(self, vm: Vm, opener: Opener) -> CalledAccess:
        assert vm.generation is not None
        start = int(vm.generation.removeprefix("start "))
        return CalledAccess(vm, ServedCalls(self._path, vm.id.name, start), opener)

    def successor(self, of: GuestAccess, uuid: str) -> Vm | None:
        return None

    def has_ended(self, identity: Identity) -> bool | None:
        if identity.host != HOST:
            return None
        lives = [MemoryGuest(name, start=start).vm for name, start in self._seen.items()]
        return identity not in [vm.identity for vm in lives]

    def abilities(self) -> Abilities:
        return Abilities(freeze=True, monitor=False, port_state=True, processes=False, locks=False)

    def notes(self) -> tuple[Note, ...]:
        return ()


if __name__ == "__main__":
    where, *guests = sys.argv[1:]
    Server(Path(where), guests).serve()
