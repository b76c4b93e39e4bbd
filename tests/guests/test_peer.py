"""Root's frostwatch, and what others would have it do: no byte where it does not belong (P10)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.access.host.peer import find_peer
from agentclient.backends.explicit import ExplicitBackend, parse_vm_spec
from agentclient.backends.qemu.backend import QemuBackend
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.model.rescue import Rung, RungResult, Step
from agentclient.model.states import EvidenceResult, OutcomeKind, Refusal, RunState
from agentclient.model.vm import AgentChannel, MonitorChannel, Vm, VmId
from tests.guests import impostor
from tests.guests.command import ROOT, Frostwatch, Json, ended
from tests.guests.conftest import Boot
from tests.guests.forward import Forward
from tests.guests.freezing import Operator, assert_certified
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")


class Victim:
    """A socket of root's that nobody else can reach; it keeps every byte that comes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.came = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._read, args=(client,), daemon=True).start()

    def _read(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            # As a monitor would, so that one who waits for a greeting goes on.
            client.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\n')
            while data := client.recv(4096):
                self.came += data

    def close(self) -> None:
        self._listener.close()


class Impostors:
    """Processes of nobody that call themselves QEMU."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._program = folder / "qemu-system-x86_64"
        shutil.copy(Path(sys.executable).resolve(), self._program)
        self._processes: list[subprocess.Popen[str]] = []

    def start(
        self, name: str, agent: Path, monitor: Path, serials: tuple[str, ...] = (), *, own: bool
    ) -> int:
        own_sockets = [str(monitor), str(agent)] if own else ["none", "none"]
        command = [str(self._program), impostor.__file__, *own_sockets, *serials, "-name", name]
        command += ["-chardev", f"socket,id=qga0,path={agent},server=on,wait=off"]
        command += ["-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"]
        command += ["-qmp", f"unix:{monitor},server=on,wait=off", "-serial", "none"]
        process = subprocess.Popen(
            command,
            env={"PYTHONHOME": sys.base_prefix, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            text=True,
            stdout=subprocess.PIPE,
        )
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def pair(module_boot: Boot) -> tuple[Guest, Guest]:
    return module_boot(name="peer-a"), module_boot(name="peer-b")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may use."""
    folder = Path(tempfile.mkdtemp(prefix="frostwatch-public-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[list[Victim]]:
    found = [Victim(tmp_path / f"victim-{number}") for number in range(4)]
    yield found
    for one in found:
        one.close()


def frostwatch(*arguments: str) -> tuple[int, list[Json], str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tui.main", *arguments, "--json"],
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return ended(child)


FAKES = ("fake-victim", "fake-real", "fake-mixed", "web9")


class OnlyOurs(QemuBackend):
    """The VMs of this test; whoever freezes another test's guest is not to meet a visitor."""

    def list_vms(self) -> list[Vm]:
        """Return those that have one of our names."""
        ours = ("peer-a", "peer-b", *FAKES)
        return [vm for vm in super().list_vms() if vm.id.name.partition("@")[0] in ours]


def visit_often(seconds: float, until: set[str]) -> None:
    """Do what an open console does, only more often, and until it has seen these VMs."""
    fleet, links = Fleet(), AccessPool()
    watcher = Watcher(fleet, links, [OnlyOurs()], port_interval_s=0.1, agent_interval_s=0.2)
    watcher.start()
    time.sleep(seconds)
    wait_until(lambda: until <= {str(one.id) for one in fleet.states()}, PATIENCE_S, "the VMs")
    watcher.stop()
    links.close()


@ROOT_ONLY
@pytest.mark.timeout(900)  # it starts frostwatch eleven times
def test_nobody_leads_root_nowhere(
    pair: tuple[Guest, Guest], public: Path, victims: list[Victim], tmp_path: Path
) -> None:
    """All that a user without rights can have root's frostwatch do, and each of its actors."""
    real, _ = pair
    file = tmp_path / "of-root"
    file.write_text("as it was")
    (public / "agent").symlink_to(real.agent_socket)
    (public / "monitor").symlink_to(real.monitor_socket)
    up = os.path.relpath(file, "/dev/pts")
    serials = (f"pty:/dev/pts/{up}", f"disconnected:unix:{victims[2].path},server=on")
    with Impostors(public) as impostors:
        impostors.start("fake-victim", victims[0].path, victims[1].path, own=False)
        impostors.start("fake-real", public / "agent", public / "monitor", own=False)
        impostors.start("fake-mixed", public / "qga", victims[3].path, own=False)
        impostors.start("web9", public / "own.qga", public / "own.qmp", serials, own=True)

        visit_often(2.0, {f"qemu:{name}@nobody" for name in FAKES})

        _, listed, _ = frostwatch("list")
        users = {line["id"]: line["user"] for line in listed}
        assert {users[f"qemu:{name}@nobody"] for name in FAKES} == {"nobody"}
        assert users[f"qemu:{real.name}"] == "root"

        # Its name is not the name of a VM of root's that happens to be down.
        for command in (("freeze", "web9"), ("rescue", "web9", "--rung", "sysrq", "--yes")):
            code, told, said = frostwatch(*command)
            assert (code, told) == (2, [])
            assert "qemu:web9@nobody" in said
        for name in ("fake-victim", "fake-real", "fake-mixed"):
            assert frostwatch("freeze", f"qemu:{name}@nobody", "--hold", "0s")[0] != 0
        fake = "fake-real@nobody"
        assert frostwatch("thaw", f"qemu:{fake}", "--foreign")[0] != 0
        reset = ("rescue", f"qemu:{fake}", "--rung", "reset", "--confirm-name", fake)
        assert frostwatch(*reset)[0] == 1
        for label in ("s0", "s1"):
            rung = ("rescue", "qemu:web9@nobody", "--rung", "sysrq", "--serial", label, "--yes")
            assert frostwatch(*rung)[0] == 1

        assert [one.came for one in victims] == [b""] * 4
        assert file.read_text() == "as it was"
        assert real.frozen_mounts() == set()
        assert "RESET" not in [event["event"] for event in real.events]
        # And none of it keeps the real one from being frozen.
        code, told, said = frostwatch("freeze", real.name, "--hold", "0s")
        assert code == 0, said
        assert told[-1]["outcome"] == "verified"


def crossed(one: Guest, other: Guest) -> Vm:
    return Vm(
        VmId("socket", "crossed"),
        AgentChannel(one.agent_socket),
        MonitorChannel(other.monitor_socket),
    )


def test_another_vms_monitor_is_evidence_of_nothing_and_does_nothing(
    pair: tuple[Guest, Guest],
) -> None:
    one, other = pair
    with Operator(one, monitor_path=other.monitor_socket) as operator:
        outcome = operator.freeze(hold_s=0.5).outcome()
        assert outcome.kind is OutcomeKind.UNVERIFIED
        assert not outcome.certified
        assert outcome.settled
        results = {piece.name: piece.result for piece in outcome.evidence}
        for name in ("port", "writes"):
            assert results.get(name, EvidenceResult.UNKNOWN) is EvidenceResult.UNKNOWN
        for step in (Step(Rung.RESET, name=one.name), Step(Rung.SYSRQ)):
            running = operator.rescue(step)
            rescue = running.rescue_outcome()
            assert rescue.found is RungResult.REFUSED
            assert "another VM's" in rescue.reason
    assert not {"RESET"} & {event["event"] for event in (*one.events, *other.events)}


def test_a_named_vm_is_who_listens_and_a_crossed_monitor_is_left_out(
    pair: tuple[Guest, Guest],
) -> None:
    one, other = pair
    spec = f"name=x,agent={one.agent_socket},monitor={other.monitor_socket}"
    (vm,) = ExplicitBackend([parse_vm_spec(spec)]).list_vms()
    assert vm.process is not None
    assert vm.process.pid == one.qemu_pid
    assert vm.monitor is None
    assert vm.no_monitor is not None
    assert f"pid {other.qemu_pid}" in vm.no_monitor
    code, told, said = frostwatch("--vm", spec, "--named-only", "freeze", "x", "--hold", "0s")
    assert code == 1
    assert told[-1]["outcome"] == "unverified"
    assert "another VM's" in said + json.dumps(told)


def test_both_sockets_of_one_vm_are_its_own(pair: tuple[Guest, Guest]) -> None:
    one, _ = pair
    (vm,) = ExplicitBackend([parse_vm_spec(one.vm_argument)]).list_vms()
    assert vm.monitor is not None
    assert vm.process is not None
    assert vm.process.pid == one.qemu_pid
    assert vm.user == "root"
    with Operator(one) as operator:
        operator.vm = vm
        assert_certified(operator.freeze(hold_s=0.5).outcome())


def test_a_path_beyond_what_an_address_has_room_for(
    pair: tuple[Guest, Guest], tmp_path: Path
) -> None:
    """Listed, frozen, thawed, and thawed by the holder: one rule for all of them."""
    one, _ = pair
    folder = tmp_path / ("long-" * 30)
    folder.mkdir()
    for what, path in (("agent", one.agent_socket), ("monitor", one.monitor_socket)):
        (folder / what).symlink_to(path)
    named = ("--vm", f"name=x,agent={folder / 'agent'},monitor={folder / 'monitor'}")
    code, listed, _ = frostwatch(*named, "--named-only", "list")
    assert [vm["agent"]["state"] for vm in listed] == ["alive"]
    code, told, said = frostwatch(*named, "--named-only", "freeze", "x", "--hold", "0s")
    assert (code, told[-1]["outcome"], told[-1]["certified"]) == (0, "verified", True), said
    code, _, said = frostwatch(*named, "--named-only", "thaw", "x")
    assert code == 0, said


def test_who_takes_the_sockets_after_the_question_is_not_frozen(
    boot: Boot, pair: tuple[Guest, Guest], tmp_path: Path
) -> None:
    """Between the question and Enter; the paths lead to another VM then."""
    _, other = pair
    meant = boot(name="meant")
    for what, path in (("agent", meant.agent_socket), ("monitor", meant.monitor_socket)):
        (tmp_path / what).symlink_to(path)
    spec = f"name=meant,agent={tmp_path / 'agent'},monitor={tmp_path / 'monitor'}"
    source = ExplicitBackend([parse_vm_spec(spec)])
    with Operator(meant) as operator:
        (operator.vm,) = source.list_vms()
        for what, path in (("agent", other.agent_socket), ("monitor", other.monitor_socket)):
            (tmp_path / what).unlink()
            (tmp_path / what).symlink_to(path)
        outcome = operator.freeze(hold_s=0.5).outcome()
        assert outcome.kind is OutcomeKind.REFUSED
        assert outcome.refusal is Refusal.NO_AGENT
        assert "not the VM that listens" in outcome.reason
        assert (
            operator.rescue(Step(Rung.RESET, name="meant")).rescue_outcome().found
            is RungResult.REFUSED
        )
        # As soon as it is listed anew, it is the other one.
        (now,) = source.list_vms()
        assert now.process is not None
        assert now.process.pid == other.qemu_pid
    assert other.frozen_mounts() == set()
    assert meant.frozen_mounts() == set()
    assert "RESET" not in [event["event"] for event in other.events]


@pytest.mark.parametrize("killed", [False, True], ids=["console", "holder"])
def test_another_vm_in_a_forwards_place_is_not_thawed_instead(
    pair: tuple[Guest, Guest], tmp_path: Path, killed: bool
) -> None:
    """The forward ends in the hold; its path leads to another VM of the same user for a while."""
    one, other = pair
    hooks = len(other.hook_log())
    with Forward(one.agent_socket, tmp_path / one.agent_socket.name) as forward:
        started = Frostwatch(one)
        started.reach_through(forward.path)
        try:
            child = started.freeze_until("held", "--hold", "100")
            forward.end()
            forward.path.symlink_to(other.agent_socket)
            if killed:
                child.kill()
            time.sleep(3.0)
            assert one.frozen_mounts() == {"a", "b"}
            forward.path.unlink()
            forward.begin()
            if not killed:
                assert ended(child)[1][-1]["thawed"] == 2
            wait_until(lambda: not one.frozen_mounts(), PATIENCE_S, "the thaw")
            one.assert_thawed()
            assert other.hook_log()[hooks:] == []
        finally:
            started.close()


BARE = ["qemu-system-x86_64", "-S", "-M", "q35", "-nodefaults", "-display", "none"]


def _runas() -> list[str]:
    """Return how this QEMU gives up root's rights; the older option went with QEMU 10."""
    said = subprocess.run([BARE[0], "-help"], capture_output=True, text=True, check=True).stdout
    if "-runas" in said:
        return ["-runas", "nobody"]
    return ["-run-with", "user=nobody"]


@pytest.mark.usefixtures("pair")  # skips where there is no QEMU
@pytest.mark.parametrize("way", ["plain", "daemonize", "runas", "fd", "namespace"])
def test_qemu_listens_itself_however_it_is_started(way: str, public: Path) -> None:
    if way in ("runas", "namespace") and os.geteuid() != 0:
        pytest.skip("only root can do that")
    path, pidfile = public / "m", public / "pid"
    command = [*BARE, "-name", f"peer-{way}", "-pidfile", str(pidfile)]
    monitor = ["-qmp", f"unix:{path},server=on,wait=off"]
    with socket.socket(socket.AF_UNIX) as handed:
        match way:
            case "daemonize":
                monitor += ["-daemonize"]
            case "runas":
                monitor += _runas()
            case "namespace":
                command = ["unshare", "--pid", "--fork", *command]
            case "fd":
                handed.bind(str(path))
                handed.listen(1)  # we do; QEMU does it once more
                monitor = ["-chardev", f"socket,id=m,fd={handed.fileno()},server=on,wait=off"]
                monitor += ["-mon", "chardev=m,mode=control"]
        fds = (handed.fileno(),) if way == "fd" else ()
        with subprocess.Popen([*command, *monitor], pass_fds=fds, cwd=public) as process:
            try:
                pid = _wait_for(path, process.pid)
                found = find_peer(path)
                assert found is not None
                assert found.process is not None
                assert found.process.pid == pid
                if way != "fd":  # whose path its command line does not tell
                    _look_at(pid)
            finally:
                os.kill(_qemu_of(path) or process.pid, 9)
                process.kill()


def _wait_for(path: Path, _pid: int) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = _qemu_of(path)
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("it does not listen")


def _qemu_of(path: Path) -> int | None:
    found = find_peer(path)
    return found.process.pid if found is not None and found.process is not None else None


def _look_at(pid: int) -> None:
    """See that the VM that is found is asked, and answers."""
    (vm,) = [one for one in QemuBackend().list_vms() if one.process and one.process.pid == pid]
    accesses = AccessPool()
    view = accesses.of(vm).observe(PATIENCE_S)
    accesses.close()
    assert view.run_state is RunState.PAUSED, view.problem
