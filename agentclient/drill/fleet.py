"""A drill from its start to its end: the process that serves it, and its private folder."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import agentclient
from agentclient.drill.monitor import LABEL
from agentclient.drill.plan import GuestPlan
from agentclient.drill.server import READY
from agentclient.errors import FrostwatchError
from agentclient.sources.base import DRILL_SOURCE
from agentclient.text import printable
from agentclient.vm import AgentChannel, MonitorChannel, Transport, Vm, VmId

START_S: Final = 30.0
STOP_S: Final = 5.0
_MODULE = "agentclient.drill.server"
_ROOT = Path(agentclient.__file__).parents[1]


class Drill:
    """Simulated guests, served while it runs; a context manager.

    Args:
        guests: who takes part.
        speed: how many times faster than the clock their own time runs.
        monitors: whether they have monitors.
    """

    def __init__(
        self, guests: Sequence[GuestPlan], *, speed: float = 1.0, monitors: bool = True
    ) -> None:
        self.guests = tuple(guests)
        self.vms: tuple[Vm, ...] = ()
        self._speed = speed
        self._monitors = monitors
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether its guests are served."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Serve the guests; returns when all of them can be reached.

        Raises:
            FrostwatchError: the system does not allow so many, or the process fails.
        """
        folder = tempfile.mkdtemp(prefix="frostwatch-drill-", dir=_place())  # mode 0700
        self._folder = Path(folder)
        self.vms = tuple(self._vm(index, guest) for index, guest in enumerate(self.guests))
        try:
            self._process = _launch()
            self._brief(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the guests, and remove everything; doing it again changes nothing."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
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
        # Numbers, not names: a name may be anything, and a socket's path has 107 bytes.
        agent, monitor = self._folder / f"{index}.qga", self._folder / f"{index}.qmp"
        return Vm(
            VmId(DRILL_SOURCE, guest.name),
            AgentChannel(agent, LABEL, Transport.VIRTIO_SERIAL),
            MonitorChannel(monitor) if self._monitors else None,
        )

    def _brief(self, process: subprocess.Popen[bytes]) -> None:
        """Say what is to be served, and wait until it is."""
        assert process.stdin is not None
        assert process.stdout is not None
        guests = [_spec(*pair) for pair in zip(self.vms, self.guests, strict=True)]
        spec = {"directory": str(self._folder), "speed": self._speed, "guests": guests}
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(spec).encode() + b"\n")
            process.stdin.flush()
        readable, _, _ = select.select([process.stdout], [], [], START_S)
        answer = process.stdout.readline().decode().strip() if readable else "it does not start"
        if answer != READY:
            raise FrostwatchError(f"no drill: {printable(answer or 'its process has failed')}")


def _place() -> str | None:
    """Return our own folder for sockets, where the system has one; None for temporary files'."""
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


def _launch() -> subprocess.Popen[bytes]:
    """Start the process: out of reach of the terminal's keys, and silent."""
    # Our own code, and not what the working directory may hold under its name.
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let the process end by itself, for it removes its sockets; end it if it does not."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
