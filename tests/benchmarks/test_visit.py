"""What a visit to a real guest costs beside the same bytes on a raw socket, in the same run."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from agentclient.access.agent_probe import probe_exchange
from agentclient.access.exchange import run
from agentclient.access.host.peer import find_peer
from agentclient.access.stream import UnixEndpoint
from agentclient.model.states import FreezeState
from agentclient.model.vm import AgentChannel, Vm, VmId
from tests.guests.conftest import Boot, module_boot

__all__ = ["module_boot"]

ROUNDS = 300
MOST = 1.5

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module")
def vm(module_boot: Boot) -> Vm:
    guest = module_boot(name="visited")
    # As its source lists it: who listens is checked at each connection.
    peer = find_peer(guest.agent_socket)
    assert peer is not None
    assert peer.process is not None
    return Vm(VmId("socket", guest.name), AgentChannel(guest.agent_socket), peer=peer)


def visit(vm: Vm) -> Callable[[], None]:
    assert vm.agent is not None
    endpoint = UnixEndpoint(vm.agent.path, vm.peer)

    def once() -> None:
        exchange = probe_exchange(endpoint.connect(), first=False)
        assert run(exchange.steps, exchange.channel, exchange.deadline).frozen is FreezeState.THAWED

    return once


def raw(vm: Vm) -> Callable[[], None]:
    """The same requests and the same reads by hand, with no protocol around them."""
    assert vm.agent is not None
    path = str(vm.agent.path)
    sync = {"execute": "guest-sync-delimited", "arguments": {"id": 4711}}
    hello = b"\xff" + json.dumps(sync).encode() + b"\n"
    status = b'{"execute":"guest-fsfreeze-status","id":"fw1.2"}\n'

    def once() -> None:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(path)
            channel.sendall(hello)
            data = b""
            while b"\xff" not in data or not data.endswith(b"\n"):
                data += channel.recv(65536)
            channel.sendall(status)
            assert b"thawed" in channel.recv(65536)

    return once


def measure(benchmark: BenchmarkFixture, once: Callable[[], None]) -> None:
    pedantic: Callable[..., object] = benchmark.pedantic
    pedantic(once, rounds=ROUNDS, warmup_rounds=20)


def test_visit(vm: Vm, benchmark: BenchmarkFixture) -> None:
    measure(benchmark, visit(vm))


def test_raw_socket(vm: Vm, benchmark: BenchmarkFixture) -> None:
    measure(benchmark, raw(vm))


def test_ratio(vm: Vm, record_property: Callable[[str, object], None]) -> None:
    """Both by turns, so that whatever else the machine does meets both."""
    runs = (visit(vm), raw(vm))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for once, taken in zip(runs, times, strict=True):
            began = time.perf_counter()
            once()
            taken.append(time.perf_counter() - began)
    ours, bare = (statistics.median(taken) for taken in times)
    ratio = ours / bare
    record_property("visit_to_raw", round(ratio, 2))
    print(f"visit {ours * 1e6:.0f} µs, raw {bare * 1e6:.0f} µs, ratio {ratio:.2f}")
    assert ratio < MOST
