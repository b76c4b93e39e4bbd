"""Starts simulated guests for a test, and describes them as VMs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentclient.vm import AgentChannel, MonitorChannel, Vm, VmId

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Spec:
    """One simulated guest; see `SimulatedGuest`."""

    name: str
    behaviour: str = "quick"
    hook_s: float = 10.0
    monitor: bool = True


@contextmanager
def simulated(directory: Path, specs: Iterable[Spec]) -> Iterator[list[Vm]]:
    """Serve guests in a process of their own, as long as the context lasts."""
    wanted = list(specs)
    vms = [_vm(directory, index, spec) for index, spec in enumerate(wanted)]
    described = [_described(vm, spec) for vm, spec in zip(vms, wanted, strict=True)]
    command = [sys.executable, "-m", "tests.simulated.server", json.dumps(described)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield vms
        finally:
            process.kill()


def _vm(directory: Path, index: int, spec: Spec) -> Vm:
    monitor = MonitorChannel(directory / f"{index}.qmp") if spec.monitor else None
    return Vm(VmId("socket", spec.name), AgentChannel(directory / f"{index}.qga"), monitor)


def _described(vm: Vm, spec: Spec) -> dict[str, object]:
    assert vm.agent is not None
    return {
        "name": spec.name,
        "agent": str(vm.agent.path),
        "monitor": str(vm.monitor.path) if vm.monitor else None,
        "behaviour": spec.behaviour,
        "hook_s": spec.hook_s,
    }
