"""VMs named with ``--vm``, and the merging of several sources' lists."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.access.host.peer import PeersOfSockets
from agentclient.backends.base import merge
from agentclient.backends.explicit import ExplicitBackend, parse_vm_spec
from agentclient.backends.option_string import quote
from agentclient.backends.socket_check import SocketFault, check_socket
from agentclient.model.errors import BadInput
from agentclient.model.states import Transport
from agentclient.model.vm import AgentChannel, MonitorChannel, Peer, Process, Vm, VmId
from tests.unit.fake_proc import make_socket


def test_a_whole_specification() -> None:
    assert parse_vm_spec(
        "name=web,agent=/run/a,,b,monitor=/run/m,monitor-ours=on,transport=isa-serial"
    ) == Vm(
        VmId("socket", "web"),
        agent=AgentChannel(Path("/run/a,b"), transport=Transport.ISA_SERIAL),
        monitor=MonitorChannel(Path("/run/m"), ours=True),
    )


def test_one_socket_is_enough_and_nothing_is_assumed() -> None:
    agent_only = parse_vm_spec("name=web,agent=/a")
    assert agent_only.agent == AgentChannel(Path("/a"))
    assert agent_only.monitor is None
    assert parse_vm_spec("name=web,monitor=/m").monitor == MonitorChannel(Path("/m"), ours=False)


def test_a_relative_path_starts_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    agent = parse_vm_spec("name=web,agent=./x/../qga").agent
    assert agent is not None
    assert agent.path == tmp_path / "qga"


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("", "name= is missing"),
        ("agent=/a", "name= is missing"),
        ("name=web", "both agent= and monitor= are missing"),
        ("name=,agent=/a", "name= has no value"),
        ("name,agent=/a", "name= has no value"),
        ("name=web,agent=", "agent= has no value"),
        ("name=web,agent=/a,agent=/b", "agent= is given twice"),
        ("name=web,agent=/a,socket=/b", "'socket' is no key"),
        ("name=web,agent=/a,b", "'b' is no key"),
        ("web", "'web' is no key"),
        ("name=web,agent=/a\0b", "agent= contains a zero byte"),
        ("name=web,agent=/a,transport=usb", "transport=usb is not known"),
        ("name=web,agent=/a,transport=unknown", "virtio-serial or isa-serial"),
        ("name=web,monitor=/m,transport=isa-serial", "transport= needs agent="),
        ("name=web,agent=/a,monitor-ours=on", "monitor-ours= needs monitor="),
        ("name=web,monitor=/m,monitor-ours=perhaps", "monitor-ours=perhaps is not known"),
        ("name=web,agent=/run/libvirt/qemu/channel/1-web/ga", "libvirt's own socket"),
        ("name=web,monitor=/var/lib/libvirt/qemu/domain-1-web/monitor.sock", "libvirt's own"),
    ],
)
def test_bad_specifications_say_what_is_wrong(spec: str, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_vm_spec(spec)
    message = str(caught.value)
    assert message.startswith("--vm ")
    assert what in message
    assert message.isprintable()


NAMES = st.text(min_size=1)


@given(NAMES, st.text(alphabet=st.characters(exclude_characters="\0/"), min_size=1))
def test_any_name_and_any_path_can_be_written(name: str, file: str) -> None:
    vm = parse_vm_spec(f"name={quote(name)},agent={quote('/d/x' + file)}")
    assert vm.name == name
    assert vm.agent is not None
    assert str(vm.agent.path) == f"/d/x{file}"


@given(st.text())
def test_a_specification_is_a_vm_or_bad_input(spec: str) -> None:
    try:
        vm = parse_vm_spec(spec)
    except BadInput:
        return
    assert vm.name


def test_a_name_or_an_agent_used_twice_is_refused() -> None:
    first = parse_vm_spec("name=web,agent=/a")
    with pytest.raises(BadInput, match="name=web is given for 2 VMs"):
        ExplicitBackend([first, parse_vm_spec("name=web,agent=/b")])
    with pytest.raises(BadInput, match="agent=/a is given for 2 VMs"):
        ExplicitBackend([first, parse_vm_spec("name=db,agent=/a")])


def test_the_source_lists_what_it_was_given() -> None:
    vms = [parse_vm_spec("name=web,agent=/a"), parse_vm_spec("name=db,agent=/b")]
    source = ExplicitBackend(vms)
    assert source.name == "socket"
    assert source.list_vms() == vms
    assert source.abilities().freeze
    assert not source.abilities().monitor


def test_sockets_are_checked_without_connecting(tmp_path: Path) -> None:
    path = tmp_path / "qga"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.setblocking(False)
        ExplicitBackend([parse_vm_spec(f"name=web,agent={path}")]).check_sockets()
        with pytest.raises(BlockingIOError):
            server.accept()


def test_sockets_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    faults = {
        "nothing": SocketFault.MISSING,
        "file/below": SocketFault.MISSING,
        "file": SocketFault.NOT_A_SOCKET,
        "folder": SocketFault.NOT_A_SOCKET,
        "x" * 200: SocketFault.MISSING,
        "x" * 300: SocketFault.OTHER,
    }
    for name, fault in faults.items():
        problem = check_socket(tmp_path / name)
        assert problem is not None
        assert problem.fault is fault
        with pytest.raises(BadInput) as caught:
            ExplicitBackend([parse_vm_spec(f"name=web,monitor={tmp_path / name}")]).check_sockets()
        assert str(caught.value).startswith("--vm web: monitor=: ")
        assert problem.text in str(caught.value)


def test_a_link_to_libvirts_socket_is_refused_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "libvirt" / "qemu"
    folder.mkdir(parents=True)
    make_socket(folder / "ga")
    (tmp_path / "link").symlink_to(folder / "ga")
    with pytest.raises(BadInput, match="libvirt's own socket"):
        ExplicitBackend([parse_vm_spec(f"name=web,agent={tmp_path / 'link'}")]).check_sockets()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("folder_mode", "socket_mode"), [(0o700, 0o777), (0o755, 0o700)])
def test_permissions_are_those_of_the_user_who_runs_us(folder_mode: int, socket_mode: int) -> None:
    # Not pytest's own folder: nobody else may enter that.
    script = (
        "import sys, os, tempfile, socket; from pathlib import Path\n"
        "from agentclient.backends.socket_check import check_socket\n"
        "d = Path(tempfile.mkdtemp(dir='/tmp')); p = d / 's'\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(str(p))\n"
        f"p.chmod({socket_mode}); d.chmod({folder_mode}); assert check_socket(p) is None\n"
        "os.setegid(65534); os.seteuid(65534); problem = check_socket(p)\n"
        "os.seteuid(0); p.unlink(); d.rmdir()\n"
        "print(problem.fault, problem.advice)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("no-permission Run frostwatch as root")


def vm(source: str, name: str, agent: str | None = None, monitor: str | None = None) -> Vm:
    return Vm(
        VmId(source, name),
        agent=AgentChannel(Path(agent), "qga0", Transport.VIRTIO_SERIAL) if agent else None,
        monitor=MonitorChannel(Path(monitor)) if monitor else None,
    )


def test_the_explicit_vm_wins_and_learns_what_the_other_knows() -> None:
    found = vm("qemu", "web", "/a", "/m")._replace(
        process=Process(70, 1),
        locked_by="backup",
        freeze_disabled="switched off",
    )
    mine = parse_vm_spec("name=mine,agent=/a")
    qemu, explicit = merge([[found, vm("qemu", "db", "/b")], [mine]])
    assert [one.name for one in qemu] == ["db"]
    (merged,) = explicit
    assert merged == mine._replace(
        agent=AgentChannel(Path("/a"), "qga0", Transport.VIRTIO_SERIAL),
        process=Process(70, 1),
        locked_by="backup",
        freeze_disabled="switched off",
    )
    assert merged.monitor is None


def test_what_a_person_wrote_is_not_overruled() -> None:
    mine = parse_vm_spec("name=mine,agent=/a,transport=isa-serial")
    ((merged,), rest) = merge([[mine], [vm("qemu", "web", "/a")]])
    assert merged.agent is not None
    assert merged.agent.transport is Transport.ISA_SERIAL
    assert rest == []


def test_one_file_under_two_names_is_one_vm(tmp_path: Path) -> None:
    real = make_socket(tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    os.link(real, tmp_path / "hard")
    for other in ("link", "hard"):
        mine = parse_vm_spec(f"name=mine,agent={tmp_path / other}")
        assert [len(one) for one in merge([[vm("qemu", "web", str(real))], [mine]])] == [0, 1]


def test_a_shared_monitor_is_the_same_vm_too() -> None:
    lists = merge([[parse_vm_spec("name=mine,monitor=/m")], [vm("qemu", "web", "/a", "/m")]])
    assert [[str(one.id) for one in part] for part in lists] == [["socket:mine"], []]
    assert lists[0][0].agent is None


def test_without_anything_shared_everything_stays_where_it_is() -> None:
    lists = [[vm("qemu", "a"), vm("qemu", "b", "/b")], [], [vm("socket", "c", "/c")]]
    assert merge(lists) == lists


def test_twins_inside_of_one_source_are_its_own_affair() -> None:
    lists = [[vm("qemu", "a", "/a"), vm("qemu", "b", "/a")]]
    assert merge(lists) == lists


def test_who_listened_last_is_the_vm_while_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process tells whether it has ended; that its sockets are away tells nothing."""
    vm = parse_vm_spec("name=a,agent=/run/a.qga,monitor=/run/a.qmp")
    source = ExplicitBackend([vm])
    agent, monitor, qemu = Path("/run/a.qga"), Path("/run/a.qmp"), Peer(Process(5, 7), 0)
    found = iter([{}, {agent: qemu, monitor: qemu}, {}, {monitor: Peer(Process(6, 8), 0)}])
    monkeypatch.setattr(PeersOfSockets, "of_all", lambda *_: next(found))
    processes = [source.list_vms()[0].process for _ in range(4)]
    assert processes == [None, Process(5, 7), Process(5, 7), Process(6, 8)]
