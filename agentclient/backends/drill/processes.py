"""The life of a drill: the processes that simulate its guests, and its private folder."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from agentclient.backends.drill.plan import GuestPlan, plan
from agentclient.backends.drill.qmp_monitor import LABEL
from agentclient.backends.drill.server import READY, room
from agentclient.model.errors import FrostwatchError
from agentclient.model.states import Transport
from agentclient.model.text import printable
from agentclient.model.vm import DRILL_SOURCE, AgentChannel, MonitorChannel, Peer, Vm, VmId

START_S: Final = 30.0
STOP_S: Final = 5.0
MOST_SERVERS: Final = 16
_MODULE = "agentclient.backends.drill.server"
_ROOT = Path(__file__).resolve().parents[3]


class Drill:
    """A drill: simulated guests in processes of their own; a context manager.

    Args:
        guests: the plans of the guests.
        speed: how many times faster than real time the guests' clock runs.
        monitors: whether the guests have monitors.
    """

    def __init__(
        self, guests: Sequence[GuestPlan], *, speed: float = 1.0, monitors: bool = True
    ) -> None:
        self.guests = tuple(guests)
        self.vms: tuple[Vm, ...] = ()
        self._speed = speed
        self._monitors = monitors
        self._folder: Path | None = None
        self._servers: list[subprocess.Popen[bytes]] = []

    @property
    def running(self) -> bool:
        """Whether all processes of the guests run."""
        return bool(self._servers) and all(one.poll() is None for one in self._servers)

    def start(self) -> None:
        """Start the guests; returns when all of them accept connections.

        Raises:
            FrostwatchError: the system does not allow so many guests, or a process fails.
        """
        share = _share(len(self.guests))
        folder = tempfile.mkdtemp(prefix="frostwatch-drill-", dir=_place())  # mode 0700
        self._folder = Path(folder)
        self.vms = tuple(self._vm(index, guest) for index, guest in enumerate(self.guests))
        specs = [_spec(*pair) for pair in zip(self.vms, self.guests, strict=True)]
        shares = [specs[start : start + share] for start in range(0, len(specs), share)]
        try:
            self._servers = [_launch() for _ in shares]
            for server, guests in zip(self._servers, shares, strict=True):
                self._brief(server, guests)
            for server in self._servers:
                _await(server)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the guests, and remove all files; a second call does nothing."""
        servers, self._servers = self._servers, []
        for server in servers:
            _hang_up(server)
        until = time.monotonic() + STOP_S
        for server in servers:
            _end(server, until)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _vm(self, index: int, guest: GuestPlan) -> Vm:
        assert self._folder is not None
        # Numbers: a name may be any text, and a socket's path has at most 107 bytes (unix(7)).
        agent, monitor = self._folder / f"{index}.qga", self._folder / f"{index}.qmp"
        return Vm(
            VmId(DRILL_SOURCE, guest.name),
            AgentChannel(agent, LABEL, Transport.VIRTIO_SERIAL),
            MonitorChannel(monitor) if self._monitors else None,
            peer=Peer(None, os.geteuid()),
        )

    def _brief(self, server: subprocess.Popen[bytes], guests: list[dict[str, object]]) -> None:
        """Send a process the plans of its guests."""
        assert server.stdin is not None
        spec = {"directory": str(self._folder), "speed": self._speed, "guests": guests}
        with suppress(BrokenPipeError):
            server.stdin.write(json.dumps(spec).encode() + b"\n")
            server.stdin.flush()


def _share(guests: int) -> int:
    """Return how many guests each process simulates.

    Raises:
        FrostwatchError: the limit of open files is so low that too many processes were needed.
    """
    most = room()
    if not most:
        raise FrostwatchError(
            "no drill: this system allows a process too few open files (ulimit -Hn) for any "
            "simulated guest"
        )
    if guests > most * MOST_SERVERS:
        raise FrostwatchError(
            f"no drill: {guests} guests need more open files than this system allows a process "
            f"(ulimit -Hn): ask for {most * MOST_SERVERS} guests at the most"
        )
    servers = max(1, -(-guests // most))
    return max(1, -(-guests // servers))


def _await(server: subprocess.Popen[bytes]) -> None:
    """Wait until a process's guests accept connections."""
    assert server.stdout is not None
    readable, _, _ = select.select([server.stdout], [], [], START_S)
    answer = server.stdout.readline().decode().strip() if readable else "it does not start"
    if answer != READY:
        raise FrostwatchError(f"no drill: {printable(answer or 'its process has failed')}")


def _place() -> str | None:
    """Return the user's runtime folder, if there is one; None for the folder of temporary files."""
    path = os.environ.get("XDG_RUNTIME_DIR", "")
    try:
        ours = path.startswith("/") and Path(path).stat().st_uid == os.geteuid()
    except OSError:
        return None
    return path if ours else None


def _spec(vm: Vm, guest: GuestPlan) -> dict[str, object]:
    assert vm.agent is not None
    monitor = str(vm.monitor.path) if vm.monitor else None
    return {**guest.to_json(), "agent": str(vm.agent.path), "monitor": monitor}


def start_drill(guests: int | Sequence[GuestPlan], speed: float) -> Drill:
    """Start a drill.

    Args:
        guests: how many guests it has, or which.
        speed: how many times faster than real time they run.

    Raises:
        FrostwatchError: it can't be started.
    """
    drill = Drill(plan(guests) if isinstance(guests, int) else guests, speed=speed)
    drill.start()
    return drill


def _launch() -> subprocess.Popen[bytes]:
    """Start a process without output that no signal of the terminal reaches."""
    # Import our own code, and no package of the same name in the working directory.
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    """Close the process's input, so that it removes its sockets and ends."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()


def _end(process: subprocess.Popen[bytes], until: float) -> None:
    """Wait for a process's end until a time of the monotonic clock; then end it."""
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
