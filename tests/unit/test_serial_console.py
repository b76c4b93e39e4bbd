"""The guest's serial console: which port it is, and how it is connected and written to."""

from __future__ import annotations

import os
import socket
import tty
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentclient.access import guest_inputs as guest_inputs_module
from agentclient.access.guest_inputs import Inputs, Serial, connect_serial, find_inputs
from agentclient.access.monitor import Monitor
from agentclient.access.stream import ConnectFailed, ConnectProblem, StreamEnded
from agentclient.journal.identity import this_process
from agentclient.model.vm import MonitorChannel, Peer, Process
from tests.unit.fakes import Error, Raw
from tests.unit.frozen_vm import VM, FrozenVm, frozen_vm

US = Peer(this_process(), os.getuid())
OURS = VM._replace(peer=US)
FREE = Serial("serial0", "disconnected:unix:/run/db.serial0,server=on")


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    return frozen_vm(monkeypatch)


def inputs(vm: FrozenVm) -> Inputs:
    return find_inputs(Monitor(vm.monitor, VM.agent), VM)


# -- which port is the console -------------------------------------------------------------------


def test_where_nothing_could_be_seen_the_trouble_is_what_is_said() -> None:
    trouble = Inputs(serials=(FREE,), trouble="monitor: busy")
    assert trouble.console(None) == "monitor: busy"
    assert trouble.console("serial0") == "monitor: busy"


def test_one_of_several_has_to_be_named() -> None:
    several = Inputs(serials=(FREE, Serial("com\x1b2", "null")))
    said = several.console(None)
    assert said == (
        "which serial port is the guest's console can't be told: name one of serial0, com\\x1b2"
    )
    assert several.console("serial0") == FREE
    assert Inputs().console(None) == "the guest has no serial port"
    assert Inputs().console("x") == "x is no serial port of the guest (they are: none)"


def test_three_short_visits_find_them(vm: FrozenVm) -> None:
    assert inputs(vm) == Inputs(True, (FREE,))
    assert len(vm.monitor.channels) == 2
    assert all(one.closed for one in vm.monitor.channels)
    assert vm.channel.channels == []


@pytest.mark.parametrize("command", ["qom-list", "qom-get", "query-chardev"])
@pytest.mark.parametrize("answer", [Error("no"), None, 5, [], {}, [None], [{"type": 1}], [[]]])
def test_no_answer_of_the_wrong_type_raises(vm: FrozenVm, command: str, answer: object) -> None:
    vm.qemu.answers[command] = answer
    found = inputs(vm)
    assert (found.serials, found.trouble) == ((), None)


def test_a_monitor_that_falls_silent_in_the_middle_is_trouble(vm: FrozenVm) -> None:
    vm.qemu.answers["qom-get"] = Raw()
    found = inputs(vm)
    assert found.serials == ()
    assert "did not answer qom-get" in str(found.trouble)
    assert all(one.closed for one in vm.monitor.channels)


def test_a_port_that_shares_its_backend_with_the_monitor_is_none(
    vm: FrozenVm, tmp_path: Path
) -> None:
    """By whatever name the monitor's socket is reached."""
    path = tmp_path / "db.qmp"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        link = tmp_path / "other-name"
        link.symlink_to(path)
        vm.serials["mux"] = f"unix:{path},server=on"
        monitored = VM._replace(monitor=MonitorChannel(link))
        found = find_inputs(Monitor(vm.monitor, VM.agent), monitored)
        assert [one.label for one in found.serials] == ["serial0"]
        away = VM._replace(monitor=MonitorChannel(tmp_path / "away"))
        found = find_inputs(Monitor(vm.monitor, VM.agent), away)
        assert [one.label for one in found.serials] == ["serial0", "mux"]


def test_a_vm_without_an_agent_or_a_monitor_has_its_ports(vm: FrozenVm) -> None:
    bare = VM._replace(agent=None, monitor=None)
    found = find_inputs(Monitor(vm.monitor, None), bare)
    assert [one.label for one in found.serials] == ["serial0"]


# -- a socket ------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    path = tmp_path / "db.serial0"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.setblocking(False)
        yield path, listening


def test_a_socket_of_the_vms_own_is_typed_at(served: tuple[Path, socket.socket]) -> None:
    path, listening = served
    serial = Serial("serial0", f"disconnected:unix:{path},server=on")
    with closing(connect_serial(serial, OURS)) as channel:
        end, _ = listening.accept()
        with end:
            channel.send(b"j", 1.0)
            assert end.recv(10) == b"j"


def test_a_socket_that_somebody_else_serves_gets_no_byte(
    served: tuple[Path, socket.socket],
) -> None:
    path, listening = served
    serial = Serial("serial0", f"disconnected:unix:{path},server=on")
    stranger = Peer(Process(1, 1), os.getuid() + 1)
    with pytest.raises(ConnectFailed) as caught:
        connect_serial(serial, VM._replace(peer=stranger))
    assert caught.value.problem is ConnectProblem.NOT_THE_VM
    end, _ = listening.accept()
    with end:
        assert end.recv(10) == b""


def test_who_serves_the_monitor_serves_the_serial_port(
    served: tuple[Path, socket.socket],
) -> None:
    """The agent may be reached through somebody who passes on what is said."""
    path, _ = served
    serial = Serial("serial0", f"disconnected:unix:{path},server=on")
    passed_on = VM._replace(peer=Peer(Process(1, 1), os.getuid() + 1), monitor_peer=US)
    connect_serial(serial, passed_on).close()


# -- a terminal ----------------------------------------------------------------------------------


@pytest.fixture
def pty() -> Iterator[tuple[int, Path]]:
    """A terminal of ours: the end behind it, and its name."""
    behind, end = os.openpty()
    tty.setraw(end)
    os.set_blocking(behind, False)
    yield behind, Path(os.ttyname(end))
    os.close(end)
    os.close(behind)


def test_a_terminal_is_no_channel_to_read_and_closes_once(pty: tuple[int, Path]) -> None:
    behind, path = pty
    channel = connect_serial(Serial("serial0", f"pty:{path}"), OURS)
    fd = channel.fileno()
    os.write(behind, b"login: ")
    assert channel.receive() == b"", "what a guest says there is nobody's business"
    channel.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    channel.close()  # somebody else may have that number by now
    assert channel.fileno() == -1


def test_a_terminal_that_takes_nothing_is_told(pty: tuple[int, Path]) -> None:
    behind, path = pty
    with closing(connect_serial(Serial("serial0", f"pty:{path}"), OURS)) as channel:
        with open("/dev/null", "rb") as other:  # noqa: PTH123 - its descriptor is wanted
            os.dup2(other.fileno(), channel.fileno())
        with pytest.raises(StreamEnded):
            channel.send(b"j", 1.0)
    with pytest.raises(BlockingIOError):
        os.read(behind, 10)


@pytest.mark.parametrize("peer", [None, Peer(None, os.getuid())])
def test_a_terminal_needs_a_process_that_is_behind_it(
    pty: tuple[int, Path], peer: Peer | None
) -> None:
    _, path = pty
    with pytest.raises(ConnectFailed, match="which process is the VM's is not known"):
        connect_serial(Serial("serial0", f"pty:{path}"), VM._replace(peer=peer))


def test_a_user_that_cannot_be_told_leaves_it_to_the_process(pty: tuple[int, Path]) -> None:
    _, path = pty
    connect_serial(
        Serial("serial0", f"pty:{path}"), VM._replace(peer=Peer(US.process, None))
    ).close()
    connect_serial(Serial("serial0", f"pty:{path}"), VM._replace(process=US.process)).close()


def test_a_process_whose_descriptors_cannot_be_seen_is_not_behind_it(
    pty: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = pty
    assert US.process is not None
    root = tmp_path / str(US.process.pid) / "root"
    root.parent.mkdir()
    root.symlink_to("/")
    monkeypatch.setattr(guest_inputs_module, "PROC", tmp_path)
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names
    with pytest.raises(ConnectFailed, match=f"pid {US.process.pid} is not behind it"):
        connect_serial(Serial("serial0", f"pty:{path}"), OURS)
    assert set(os.listdir("/proc/self/fd")) == before, "nothing stays open"  # noqa: PTH208


def test_a_descriptor_that_closes_while_it_is_looked_at(tmp_path: Path) -> None:
    assert guest_inputs_module._lines(tmp_path / "closed") == []
