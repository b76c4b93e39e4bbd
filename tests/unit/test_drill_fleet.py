"""The process that serves a drill: its folder, its sockets, its end, and how it serves them."""

from __future__ import annotations

import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.access.access_pool import AccessPool, open_local
from agentclient.access.host.process import stat_fields
from agentclient.access.stream import ConnectFailed, ConnectProblem, UnixEndpoint
from agentclient.backends.drill import server
from agentclient.backends.drill.backend import DrillBackend
from agentclient.backends.drill.plan import plan
from agentclient.backends.drill.processes import Drill
from agentclient.backends.drill.qmp_monitor import RING
from agentclient.backends.drill.troubles import TROUBLES, Trouble
from agentclient.fleet.store import Fleet
from agentclient.model.errors import FrostwatchError
from agentclient.model.rescue import Means, RescueOutcome, Rung, RungResult, Step
from agentclient.model.states import FreezeState, RunState
from agentclient.model.vm import Vm
from agentclient.operations.manager import OperationManager
from tests.drilled import drill_of
from tests.waiting import until

SYNC = b'\xff{"execute": "guest-sync-delimited", "arguments": {"id": 5}}\n'
FREEZE = b'{"execute": "guest-fsfreeze-freeze"}\n'
STATUS = b'{"execute": "guest-fsfreeze-status"}\n'


@pytest.fixture
def drill(place: Path) -> Iterator[Drill]:
    with drill_of({"vm-a": Trouble.FAST, "db[/]1": Trouble.BUSY}, speed=20.0) as made:
        yield made


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in which drills are made; short, as sockets' paths have to be."""
    path = Path(f"/tmp/fw-test-{os.getpid()}")
    path.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    yield path
    path.rmdir()  # nothing may be left in it


def agent_of(vm: Vm) -> Path:
    assert vm.agent is not None
    return vm.agent.path


def client(vm: Vm) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60.0)
    connection.connect(str(agent_of(vm)))
    return connection


# -- the folder and the process -----------------------------------------------------------------


def test_it_is_private_and_everything_is_removed(place: Path) -> None:
    drill = Drill(plan(24))
    with drill:
        (folder,) = place.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(list(folder.iterdir())) == 48
        assert drill.running
        view = open_local(drill.vms[0]).observe()
        assert (view.run_state, view.port_open, view.openings) == (RunState.RUNNING, True, 3)
    assert not folder.exists()
    assert not list(place.iterdir())
    drill.stop()


def test_the_server_removes_it_when_whoever_wanted_it_is_killed(place: Path) -> None:
    code = (
        "import os, signal\n"
        "from agentclient.backends.drill.processes import Drill\n"
        "from agentclient.backends.drill.plan import plan\n"
        "Drill(plan(5)).start()\n"
        "print('started', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(server.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=90
    )
    assert (done.stdout, done.stderr) == ("started\n", "")
    until(lambda: not list(place.iterdir()))


def test_the_holder_of_a_killed_drill_ends_with_its_guests(place: Path) -> None:
    """It would try for ever to reach a guest that has not answered and that is nowhere any more."""
    code = (
        "import os, signal, time\n"
        "from agentclient.access.stream import UnixEndpoint\n"
        "from agentclient.backends.drill.troubles import Trouble\n"
        "from agentclient.holder.client import HolderClient\n"
        "from tests.drilled import drill_of\n"
        "drill = drill_of({'db': Trouble.SLOW_HOOK})\n"
        "drill.start()\n"
        "vm, client = drill.vms[0], HolderClient()\n"
        "armed = client.arm(vm, UnixEndpoint(vm.agent.path).connect(), 60.0)\n"
        "client.intend(armed, bound_s=100.0, hold_s=10.0)\n"
        'armed.channel.send(b\'{"execute":"guest-fsfreeze-freeze"}\\n\', time.monotonic() + 5)\n'
        "time.sleep(0.5)\n"
        "print(client.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=90
    )
    assert done.stderr == ""
    until(lambda: not list(place.iterdir()))
    holder = int(done.stdout)
    until(lambda: has_ended(holder))


def has_ended(pid: int) -> bool:
    try:
        return stat_fields(Path(f"/proc/{pid}"))[1][0] in (b"Z", b"X")
    except FileNotFoundError:
        return True


def test_a_process_that_ended_is_one_sentence(drill: Drill) -> None:
    source = DrillBackend(drill)
    assert [vm.name for vm in source.list_vms()] == ["vm-a", "db[/]1"]
    assert {str(vm.id) for vm in source.list_vms()} == {"drill:vm-a", "drill:db[/]1"}
    assert source.abilities().freeze
    (note,) = source.notes()
    assert note.subject == "drill:db[/]1"
    assert TROUBLES[Trouble.BUSY].clause in note.text
    drill.stop()
    with pytest.raises(FrostwatchError, match="has ended"):
        source.list_vms()


def test_a_fleet_is_shared_among_processes_where_one_may_not_open_enough_files(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentclient.backends.drill.processes.room", lambda: 4)
    with Drill(plan(10)) as drill:
        assert len(drill._servers) == 3
        for vm in drill.vms:
            assert vm.monitor is not None
            UnixEndpoint(vm.monitor.path).connect().close()
        drill._servers[1].kill()
        until(lambda: not drill.running)
    assert list(place.iterdir()) == []


def test_too_many_are_one_sentence_with_the_number_that_would_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert server.room() == 256
    with pytest.raises(FrostwatchError, match="ask for 4096 guests at the most"):
        Drill(plan(5000)).start()


@pytest.mark.parametrize(("files", "most"), [(256, 896), (300, 1072), (64, 128)])
def test_where_few_files_may_be_open_more_processes_simulate_as_many_guests_as_can_be(
    monkeypatch: pytest.MonkeyPatch, files: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert server.room() * 4 + 32 <= files, "each socket may have its client"
    with pytest.raises(FrostwatchError, match=f"ask for {most} guests at the most"):
        Drill(plan(5000)).start()
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    server.make_room(server.room())
    assert asked == []


def test_nobody_is_told_to_ask_for_no_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, 32))
    with pytest.raises(FrostwatchError, match="too few open files") as told:
        Drill(plan(1)).start()
    assert "0 guests" not in str(told.value)


def test_the_soft_limit_is_raised_as_far_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 40_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    server.make_room(200)
    assert asked == []
    server.make_room(1000)
    assert asked == [(2512, 40_000)]


def test_a_server_that_fails_is_one_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentclient.backends.drill.processes._MODULE", "agentclient.drill.nothing")
    with pytest.raises(FrostwatchError, match="no drill: its process has failed"):
        Drill(plan(1)).start()


# -- one client at a time -----------------------------------------------------------------------


def test_a_second_client_waits_in_silence_and_the_fourth_is_refused(drill: Drill) -> None:
    vm = drill.vms[0]
    first = client(vm)
    first.sendall(SYNC)
    assert b"JSON parse error" in first.recv(4096)
    second, third = client(vm), client(vm)
    second.sendall(STATUS)
    second.settimeout(0.2)
    with pytest.raises(TimeoutError):
        second.recv(4096)
    with pytest.raises(ConnectFailed) as failure:
        UnixEndpoint(agent_of(vm)).connect()
    assert failure.value.problem is ConnectProblem.QUEUE_FULL
    first.close()
    second.settimeout(60.0)
    assert second.recv(4096) == b'{"return": "thawed"}\n'
    second.close()
    third.close()


def test_what_a_client_wrote_while_it_waited_runs_though_it_has_left(drill: Drill) -> None:
    vm = drill.vms[0]
    access = open_local(vm)
    with client(vm) as first:
        first.sendall(STATUS)
        assert first.recv(4096)
        with client(vm) as second:
            second.sendall(FREEZE)
    # Its answer waits for whoever comes next (protocol §3.5).
    until(lambda: access.observe().reads == RING + 2)
    with client(vm) as third:
        third.sendall(SYNC + STATUS)
        data = b""
        while b"frozen" not in data:
            data += third.recv(4096)
    assert data.startswith(b'{"return": 2}\n')
    assert data.endswith(b'\xff{"return": 5}\n{"return": "frozen"}\n')


def test_clients_that_follow_each_other_are_all_served(drill: Drill) -> None:
    for _ in range(200):
        with client(drill.vms[0]) as one:
            one.sendall(STATUS)
            assert one.recv(4096) == b'{"return": "thawed"}\n'


def test_somebody_else_keeps_the_channel(drill: Drill) -> None:
    view = open_local(drill.vms[1]).observe()
    assert (view.port_open, view.client) == (True, True)
    with client(drill.vms[1]) as one:
        one.sendall(SYNC)
        one.settimeout(0.2)
        with pytest.raises(TimeoutError):
            one.recv(4096)


def test_the_rungs_round_the_agent_do_what_they_do_to_a_real_guest(place: Path) -> None:
    """test_a_thaw_follows_sysrq_as_soon_as_an_agent_answers, and the reset's beside it."""
    with drill_of({"a": Trouble.FOREIGN, "b": Trouble.SILENT}, speed=20.0) as drill:
        fleet, accesses = Fleet(), AccessPool()
        fleet.set_vms("drill", drill.vms)
        operations = OperationManager(fleet, accesses)
        frozen, silent = drill.vms
        offers = operations.ladder(frozen).result(60.0)
        assert "sysrq by key" in [one.title for one in offers if one.possible]
        steps = (
            (frozen, Step(Rung.SYSRQ, Means.KEY)), (silent, Step(Rung.RESET, name=silent.name))
        )  # fmt: skip
        begun = [operations.rescue(vm, step) for vm, step in steps]
        pressed, reset = [one.wait(60.0) for one in begun]
        assert isinstance(pressed, RescueOutcome)
        assert (pressed.found, pressed.thawed) == (RungResult.THAWED, 0), pressed.reason
        assert isinstance(reset, RescueOutcome)
        assert (reset.found, reset.state) == (RungResult.RESET, FreezeState.THAWED)
        assert fleet.get(silent.id).freeze.state is FreezeState.THAWED
        assert operations.stop(60.0)
        accesses.close()


def test_without_monitors() -> None:
    with Drill(plan(1), monitors=False) as drill:
        assert drill.vms[0].monitor is None
        with client(drill.vms[0]) as one:
            one.sendall(STATUS)
            assert one.recv(4096) == b'{"return": "thawed"}\n'
