"""The holder at scale: what it costs while it stands by, and how soon it thaws (drill guests)."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentclient.access.agent_probe import probe_exchange
from agentclient.access.exchange import run
from agentclient.access.stream import UnixChannel, UnixEndpoint
from agentclient.backends.drill.troubles import Trouble
from agentclient.holder.client import HolderClient
from agentclient.model.states import FreezeState
from agentclient.model.vm import Vm
from tests.benchmarks.effort import amount
from tests.drilled import drill_of
from tests.guests.command import holders_of

Record = Callable[[str, object], None]

GUESTS = 200
PATIENCE_S = 30.0
HELD_S = amount(5.0, 3.0)


@contextmanager
def console(vms: Sequence[Vm], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Freeze all of `vms` from a process of its own; returns when all are held."""
    specs = [word for vm in vms for word in ("--vm", _spec(vm))]
    names = [vm.name for vm in vms]
    command = [sys.executable, "-m", "tui.main", *specs, "freeze", *names, "--json", *arguments]
    child = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert child.stdout is not None
        held = 0
        while held < len(vms):
            line = child.stdout.readline()
            assert line, "it ended before all were held"
            held += json.loads(line)["event"] == "held"
        yield child
    finally:
        child.kill()
        child.communicate()


def _spec(vm: Vm) -> str:
    assert vm.agent is not None
    assert vm.monitor is not None
    return f"name={vm.name},agent={vm.agent.path},monitor={vm.monitor.path}"


def frozen(vm: Vm) -> bool:
    """Ask a guest, once its channel is free, whether it is frozen."""
    assert vm.agent is not None
    exchange = probe_exchange(
        UnixEndpoint(vm.agent.path).connect(), first=False, timeout_s=PATIENCE_S
    )
    return run(exchange.steps, exchange.channel, exchange.deadline).frozen is FreezeState.FROZEN


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@pytest.mark.parametrize(
    "kills", [1, pytest.param(10, marks=[pytest.mark.soak, pytest.mark.alone])]
)
@pytest.mark.timeout(600)
def test_a_killed_console_with_two_hundred_guests(kills: int, record_property: Record) -> None:
    """Seconds from the kill until the last of 200 held guests has said that it is thawed."""
    took = []
    with drill_of({f"vm{n}": Trouble.FAST for n in range(GUESTS)}) as drill:
        for _ in range(kills):
            with console(drill.vms, "--hold", "100", "--at-once", str(GUESTS)) as child:
                (holder,) = holders_of(child.pid)
                before, began = cpu_s(holder), time.monotonic()
                time.sleep(HELD_S)
                share = (cpu_s(holder) - before) / (time.monotonic() - began) * 100
                memory = pss_mib(holder)
                killed = time.monotonic()
                child.kill()
                assert not any(frozen(vm) for vm in drill.vms)
                took.append(time.monotonic() - killed)
    record_property("kill_to_all_thawed_s", [round(one, 2) for one in took])
    record_property("holder_cpu_percent", round(share, 2))
    record_property("holder_pss_mib", round(memory, 1))
    print(
        f"{GUESTS} guests: thawed and asked {max(took):.2f} s after the kill at the latest; "
        f"while held the holder used {share:.2f} % of a core and {memory:.1f} MiB"
    )
    assert share < 10.0


def test_a_holder_starts_quickly_and_is_small(record_property: Record) -> None:
    """Next to the start of an interpreter that does nothing."""
    bare, ours, memory = [], [], 0.0
    with drill_of({"vm": Trouble.FAST}) as drill:
        (vm,) = drill.vms
        assert vm.agent is not None
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-S", "-E", "-I", "-c", "pass"], check=True)
            bare.append(time.perf_counter() - began)
            client = HolderClient()
            began = time.perf_counter()
            guard = client.arm(vm, UnixEndpoint(vm.agent.path).connect(), 10.0)
            ours.append(time.perf_counter() - began)
            assert client.pid is not None
            memory = pss_mib(client.pid)
            client.disarm(guard)
            client.close()
    ratio = statistics.median(ours) / statistics.median(bare)
    record_property("start_ms", round(statistics.median(ours) * 1000, 1))
    record_property("pss_mib", round(memory, 1))
    print(
        f"a holder stands by after {statistics.median(ours) * 1000:.0f} ms (an interpreter alone: "
        f"{statistics.median(bare) * 1000:.0f} ms), {memory:.1f} MiB"
    )
    assert ratio < 40


def test_the_relays_cost_a_round_trip(record_property: Record) -> None:
    """A status through the holder, next to the same without it."""
    with drill_of({"vm": Trouble.FAST}) as drill:
        (vm,) = drill.vms
        assert vm.agent is not None
        channel = UnixEndpoint(vm.agent.path).connect()
        direct = _round_trip_s(channel)
        client = HolderClient()
        guard = client.arm(vm, channel, 10.0)
        assert isinstance(guard.channel, UnixChannel)
        relayed = _round_trip_s(guard.channel)
        client.disarm(guard)
        client.close()
    more_us = (relayed - direct) * 1e6
    record_property("relay_us", round(more_us))
    print(f"a round trip takes {direct * 1e6:.0f} µs, through the holder {more_us:.0f} µs more")
    assert relayed < direct * 20


def _round_trip_s(channel: UnixChannel) -> float:
    times = []
    for number in range(300):
        body = {"execute": "guest-fsfreeze-status", "id": f"bench.{number}"}
        began = time.perf_counter()
        channel.send(json.dumps(body).encode() + b"\n", time.monotonic() + 5.0)
        came = b""
        while not came.endswith(b"\n"):
            came += channel.receive()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
