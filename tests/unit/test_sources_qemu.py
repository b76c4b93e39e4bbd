"""The source that finds QEMU processes, on a proc file system made of files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from agentclient.access.host.process import is_qemu
from agentclient.backends.qemu.backend import Name, QemuBackend, give_ids
from agentclient.backends.qemu.pve_config import parse_config
from agentclient.model.errors import FrostwatchError
from agentclient.model.states import Transport
from agentclient.model.vm import AgentChannel, MonitorChannel, Peer, Process, Vm, VmId
from tests.unit import command_lines
from tests.unit.fake_proc import FakeProc, make_socket

AGENT = ["-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"]


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def pve(tmp_path: Path) -> Path:
    folder = tmp_path / "pve"
    (folder / "qemu-server").mkdir(parents=True)
    return folder


@pytest.fixture
def source(proc: FakeProc, tmp_path: Path) -> QemuBackend:
    return QemuBackend(proc.path, tmp_path / "pve")


def argv(*more: str, name: str = "web", agent: str = "/run/web.qga") -> list[str]:
    chardev = f"socket,id=qga0,path={agent},server=on,wait=off"
    return ["qemu-system-x86_64", "-name", name, "-chardev", chardev, *AGENT, *more]


def only(source: QemuBackend) -> Vm:
    (vm,) = source.list_vms()
    return vm


def texts(source: QemuBackend) -> str:
    return "\n".join(note.text for note in source.notes())


def test_a_vm_with_all_that_is_known_about_it(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, argv("-qmp", "unix:/run/web.qmp,server=on,wait=off"), ticks=4711)
    assert source.list_vms() == [
        Vm(
            VmId("qemu", "web"),
            agent=AgentChannel(Path("/run/web.qga"), "qga0", Transport.VIRTIO_SERIAL),
            monitor=MonitorChannel(Path("/run/web.qmp")),
            process=Process(70, 4711),
            peer=Peer(Process(70, 4711), 0),
            user="root",
            title="web",
        )
    ]
    assert source.notes() == ()


@pytest.mark.parametrize("comm", ["qemu-system-x86", "a) S 1 (b", "  ", "((", "9 9 9"])
def test_the_start_time_is_found_behind_any_program_name(
    proc: FakeProc, source: QemuBackend, comm: str
) -> None:
    proc.add(70, argv(), comm=comm, ticks=12345)
    assert only(source).process == Process(70, 12345)


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("/usr/bin/qemu-system-x86_64", True),
        ("/usr/bin/qemu-system-x86_64 (deleted)", True),
        ("/usr/libexec/qemu-kvm", True),
        ("/usr/bin/kvm", True),
        ("/nix/store/x/bin/.qemu-system-aarch64-wrapped", True),
        ("/usr/bin/qemu-img", False),
        ("/usr/bin/qemu-system-", False),
        ("/usr/bin/python3.11", False),
        ("/usr/bin/kvmtool", False),
        ("", False),
    ],
)
def test_programs(program: str, found: bool) -> None:
    assert is_qemu(program) is found


def test_a_program_that_only_calls_itself_qemu_is_none(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, argv(), exe="/usr/bin/sleep")
    assert source.list_vms() == []


def test_an_odd_argv0_of_a_real_qemu_does_not_hide_it(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, ["my-vm", *argv()[1:]])
    assert only(source).name == "web"


def test_an_unreadable_program_is_judged_by_its_command_line(
    proc: FakeProc, source: QemuBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.add(70, argv())
    proc.add(71, ["/usr/bin/sleep", "9"], exe="/usr/bin/sleep")
    _refuse(monkeypatch, "exe")
    assert only(source).process == Process(70, 1000)
    (note,) = source.notes()
    assert note.subject == "process 70"
    assert note.advice is not None
    assert "root" in note.advice


def test_hidden_processes_are_told_of(
    proc: FakeProc, source: QemuBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(proc.path / "1")  # hidepid=2
    assert source.list_vms() == []
    assert "hidden" in texts(source)
    proc.add(1, ["init"])
    _refuse(monkeypatch, "exe")
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", _raiser(PermissionError(1, "hidepid=1"), real))
    assert source.list_vms() == []
    assert "hidden" in texts(source)


@pytest.mark.parametrize("missing", ["exe", "stat", "cmdline"])
def test_a_process_that_vanishes_in_the_middle_is_left_out(
    proc: FakeProc, source: QemuBackend, missing: str
) -> None:
    proc.add(69, argv(name="other", agent="/run/other"))
    (proc.add(70, argv()) / missing).unlink()
    assert only(source).name == "other"
    assert source.notes() == ()


def test_a_pid_that_is_used_again_in_the_middle_is_left_out(
    proc: FakeProc, source: QemuBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = proc.add(70, argv(), ticks=1)
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        data = real(path)
        if path == folder / "cmdline":
            shutil.rmtree(folder)
            proc.add(70, ["qemu", "-name", "new"], ticks=2)
        return data

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert source.list_vms() == []


def test_zombies_kernel_threads_and_nonsense_are_left_out(
    proc: FakeProc, source: QemuBackend
) -> None:
    proc.add(70, [])
    (proc.add(71, argv()) / "stat").write_text("71 (x")
    (proc.path / "uptime").write_text("1 1")
    assert source.list_vms() == []


def test_no_proc_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(FrostwatchError, match="can't list the processes"):
        QemuBackend(tmp_path / "nothing").list_vms()


def test_a_program_that_asks_qemu_what_it_can_do_is_no_vm(
    proc: FakeProc, source: QemuBackend
) -> None:
    proc.add(70, argv("-machine", "none,accel=kvm:tcg"))
    assert source.list_vms() == []


def test_names_that_are_not_unique_and_no_name(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, argv(agent="/a"))
    proc.add(71, argv(agent="/b"))
    proc.add(72, ["qemu-system-x86_64", "-m", "1"])
    assert [str(vm.id) for vm in source.list_vms()] == ["qemu:web#70", "qemu:web#71", "qemu:pid72"]


def test_a_running_vm_keeps_its_id_when_a_namesake_comes_and_goes(
    proc: FakeProc, source: QemuBackend
) -> None:
    proc.add(70, argv(agent="/a"))
    assert [vm.name for vm in source.list_vms()] == ["web"]
    proc.add(71, argv(agent="/b"))
    assert [vm.name for vm in source.list_vms()] == ["web", "web#71"]
    shutil.rmtree(proc.path / "70")
    assert [vm.name for vm in source.list_vms()] == ["web#71"]
    proc.add(70, argv(agent="/a"), ticks=2000)
    assert [vm.name for vm in source.list_vms()] == ["web#70", "web#71"]


def test_ids_are_unique_whatever_the_names() -> None:
    titles = ("a", "a", "a#2", "a#2", "b", "b", "c", "c")
    marks = ("", "", "", "", "7", "7", "8", "pid1")
    names = {Process(n, 1): Name(*each) for n, each in enumerate(zip(titles, marks, strict=True))}
    ids = give_ids(names, {Process(9, 9): VmId("qemu", "gone")})
    assert set(ids) == set(names)
    assert len(set(ids.values())) == len(titles)
    assert [ids[Process(n, 1)].name for n in range(4, 8)] == ["b#4", "b#5", "c#8", "c#pid1"]


def test_the_launcher_of_a_daemon_is_not_a_second_vm(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, argv("-daemonize"), ticks=5)
    proc.add(72, argv("-daemonize"), ticks=5)
    assert only(source).process == Process(72, 5)


def test_a_helper_that_qemu_is_about_to_start_is_not_a_second_vm(
    proc: FakeProc, source: QemuBackend
) -> None:
    proc.add(70, argv())
    proc.add(71, argv(), parent=70)
    assert only(source).process == Process(70, 1000)


def test_a_helper_of_a_daemon_does_not_take_its_place(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, argv("-daemonize"), ticks=5)
    proc.add(90, argv("-daemonize"), ticks=9, parent=70)
    assert only(source).process == Process(70, 5)


def test_the_process_that_frees_a_dead_vms_memory_is_no_vm(
    proc: FakeProc, source: QemuBackend
) -> None:
    proc.add(71, argv(), comm="cleanup/70")
    assert source.list_vms() == []


def test_a_known_vm_is_not_read_again_but_another_program_in_its_place_is_seen(
    proc: FakeProc, source: QemuBackend
) -> None:
    folder = proc.add(70, argv())
    first = only(source)
    (folder / "cmdline").unlink()
    assert only(source) == first
    (folder / "exe").unlink()
    (folder / "exe").symlink_to("/bin/sh")
    assert source.list_vms() == []


def test_two_processes_that_name_one_agents_socket_are_not_frozen(
    proc: FakeProc, source: QemuBackend
) -> None:
    proc.add(70, argv(name="a"))
    proc.add(71, argv(name="b"))
    proc.add(72, argv(name="c", agent="/run/c"))
    disabled = [vm.freeze_disabled for vm in source.list_vms()]
    assert disabled[2] is None
    assert all(reason is not None and "/run/web.qga" in reason for reason in disabled[:2])


@pytest.mark.parametrize("path", [r"/run/\u0000.qga", r"/run/\ud800.qga"])
def test_a_path_that_none_can_be_costs_no_other_vm(
    proc: FakeProc, source: QemuBackend, path: str
) -> None:
    odd = f'{{"backend":"socket","id":"qga0","path":"{path}","server":true}}'
    proc.add(70, argv())
    proc.add(71, ["qemu-system-x86_64", "-name", "odd", "-chardev", odd, *AGENT])
    usual, other = source.list_vms()
    assert (usual.name, usual.freeze_disabled) == ("web", None)
    assert (other.name, other.agent) == ("odd", None)
    assert "no UNIX socket" in (other.out_of_reach or "")


def test_relative_paths_start_at_the_process_folder(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, argv("-qmp", "unix:qmp,server=on", agent="run/qga"), cwd="/srv/vm")
    vm = only(source)
    assert vm.agent is not None
    assert vm.agent.path == Path("/srv/vm/run/qga")
    assert vm.monitor is not None
    assert vm.monitor.path == Path("/srv/vm/qmp")


@pytest.mark.parametrize("more", [["-daemonize"], ["-chroot", "/jail"]])
def test_relative_paths_are_lost_where_qemu_has_left_its_folder(
    proc: FakeProc, source: QemuBackend, more: list[str]
) -> None:
    proc.add(70, argv(*more, agent="qga"))
    vm = only(source)
    assert vm.agent is None
    assert vm.out_of_reach is not None
    assert "relative" in vm.out_of_reach
    assert vm.freeze_disabled == vm.out_of_reach


def test_relative_path_and_unreadable_folder(proc: FakeProc, source: QemuBackend) -> None:
    (proc.add(70, argv(agent="qga")) / "cwd").unlink()
    assert "folder can't be seen" in (only(source).out_of_reach or "")


def test_a_chroot_is_entered_after_the_sockets_were_made(
    proc: FakeProc, source: QemuBackend
) -> None:
    proc.add(70, argv("-chroot", "/jail"), root="/jail")
    vm = only(source)
    assert vm.agent is not None
    assert vm.agent.path == Path("/run/web.qga")


def test_a_vm_in_a_container_is_reached_through_its_root(
    proc: FakeProc, source: QemuBackend, tmp_path: Path
) -> None:
    inside = tmp_path / "container"
    (inside / "run").mkdir(parents=True)
    make_socket(inside / "run" / "web.qga")
    proc.add(70, argv(), root=str(inside), names=2)
    vm = only(source)
    assert vm.agent is not None
    assert vm.agent.path == proc.path / "70" / "root" / "run" / "web.qga"
    assert vm.agent.path.is_socket()


def test_a_private_name_space_with_the_same_file_changes_nothing(
    proc: FakeProc, source: QemuBackend, tmp_path: Path
) -> None:
    made = make_socket(tmp_path / "qga")
    proc.add(70, argv(agent=str(made)), names=2)
    vm = only(source)
    assert vm.agent is not None
    assert vm.agent.path == made


@pytest.mark.parametrize("line", [command_lines.LIBVIRT_9, command_lines.LIBVIRT_5])
def test_libvirts_sockets_are_never_offered(
    proc: FakeProc, source: QemuBackend, line: list[str]
) -> None:
    proc.add(70, line)
    vm = only(source)
    assert str(vm.id) == "qemu:db"
    assert vm.agent is None
    assert vm.monitor is None
    assert vm.out_of_reach is not None
    assert "libvirt" in vm.out_of_reach
    assert vm.freeze_disabled == vm.out_of_reach


def test_proxmox_gives_name_lock_and_switches(
    proc: FakeProc, source: QemuBackend, pve: Path
) -> None:
    (pve / "qemu-server" / "104.conf").write_text(
        "#lock: a description\nagent: 1,freeze-fs-on-backup=0\nlock: backup\nname: renamed\n"
        "\n[before]\nlock: snapshot\nname: old\nagent: 0\n"
    )
    proc.add(70, command_lines.PROXMOX_8, exe="/usr/bin/qemu-system-x86_64")
    vm = only(source)
    assert str(vm.id) == "qemu:renamed"
    assert vm.locked_by == "backup"
    assert vm.freeze_disabled is not None
    assert "freeze-fs-on-backup=0" in vm.freeze_disabled
    assert vm.agent == AgentChannel(
        Path("/var/run/qemu-server/104.qga"), "qga0", Transport.VIRTIO_SERIAL
    )
    assert vm.monitor == MonitorChannel(Path("/var/run/qemu-server/104.qmp"))


def test_a_lock_that_comes_and_goes_is_seen(proc: FakeProc, source: QemuBackend, pve: Path) -> None:
    conf = pve / "qemu-server" / "104.conf"
    proc.add(70, command_lines.PROXMOX_8)
    seen = []
    for lock in ("", "lock: snapshot\n", ""):
        conf.write_text(f"name: web\n{lock}agent: 1\n")
        seen.append(only(source).locked_by)
    assert seen == [None, "snapshot", None]


def test_no_configuration_on_a_proxmox_host_forbids_freezes(
    proc: FakeProc, source: QemuBackend, pve: Path
) -> None:
    proc.add(70, command_lines.PROXMOX_8)
    vm = only(source)
    assert vm.name == "web-01"
    assert vm.freeze_disabled is not None
    assert "migrating" in vm.freeze_disabled
    assert "104.conf" in texts(source)


def test_proxmox_qemu_without_its_management_can_be_frozen(
    proc: FakeProc, source: QemuBackend
) -> None:
    proc.add(70, ["/usr/bin/kvm", "-id", "104"])
    vm = only(source)
    assert vm.name == "vm104"
    assert vm.freeze_disabled is None


@pytest.mark.parametrize(
    ("agent", "disabled"),
    [
        ("1", False),
        ("enabled=1", False),
        ("enabled=1,fstrim_cloned_disks=1,type=virtio", False),
        ("1,freeze-fs-on-backup=1", False),
        ("", False),
        ("0", True),
        ("enabled=0", True),
        ("1,freeze-fs=0", True),
        ("enabled=1,guest-fsfreeze=off", True),
        ("freeze-fs-on-backup=no,enabled=1", True),
    ],
)
def test_switches_against_freezes(agent: str, disabled: bool) -> None:
    assert (parse_config(f"agent: {agent}\n").freeze_disabled is not None) is disabled


def test_only_line_feeds_end_a_line_of_a_configuration() -> None:
    config = parse_config("name: a\x0block: x\r\nmemory: 1\r\n")
    assert config.locked_by is None
    assert config.name == "a\x0block: x"


def test_a_name_is_kept_as_it_is(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, argv(name="db[/]1 \x1b[31m"))
    assert only(source).name == "db[/]1 \x1b[31m"


def test_what_only_looks_like_an_agents_and_unseen_configuration_are_noted(
    proc: FakeProc, source: QemuBackend
) -> None:
    line = ["qemu", "-serial", "unix:/run/x.qga,server=on", "-readconfig", "/etc/x"]
    proc.add(70, line)
    vm = only(source)
    assert vm.agent is None
    assert vm.out_of_reach is not None
    assert "perhaps an agent's (the word 'qga' is in its name)" in vm.out_of_reach
    assert "--vm name=NAME,agent=/run/x.qga,transport=isa-serial" in vm.out_of_reach
    assert vm.freeze_disabled == vm.out_of_reach
    assert vm.out_of_reach in texts(source)
    assert "/etc/x" in texts(source)
    assert {note.subject for note in source.notes()} == {"qemu:pid70"}


def _refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = os.readlink

    def readlink(path: str | Path) -> str:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "readlink", readlink)


def _raiser(error: OSError, _real: object) -> object:
    def read_bytes(path: Path) -> bytes:
        raise error

    return read_bytes
