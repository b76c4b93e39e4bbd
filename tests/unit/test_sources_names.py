"""What VMs are called: stable selectors, namesakes, and whose name counts (P10)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentclient.access.access_pool import open_local
from agentclient.access.host.peer import is_another
from agentclient.access.host.process import start_ticks, stat_fields
from agentclient.backends.base import merge
from agentclient.backends.explicit import ExplicitBackend, parse_vm_spec
from agentclient.backends.qemu.backend import QemuBackend
from agentclient.backends.qemu.pve_config import ProxmoxConfigs
from agentclient.fleet.store import Fleet
from agentclient.model.errors import BadInput
from agentclient.model.vm import Peer, Process, Vm
from agentclient.operations.refusals import refuse_by_configuration
from tests.processes import killed_on_failure
from tests.unit.fake_proc import FakeProc
from tests.unit.no_thread import each_lack

UUID = "6b9f6d3e-37d1-4f0d-9c59-0f0a3a5be111"
NOBODY = 65534
STRANGER = NOBODY if os.geteuid() != NOBODY else 65533


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def pve(tmp_path: Path) -> Path:
    folder = tmp_path / "pve" / "qemu-server"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def source(proc: FakeProc, tmp_path: Path) -> QemuBackend:
    return QemuBackend(proc.path, tmp_path / "pve")


def line(name: str, *more: str, agent: str | None = None) -> list[str]:
    path = agent or f"/run/{name}.qga"
    chardev = f"socket,id=qga0,path={path},server=on,wait=off"
    port = "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"
    return ["kvm", "-name", name, "-chardev", chardev, "-device", port, *more]


def fleet(source: QemuBackend) -> Fleet:
    made = Fleet()
    made.set_vms("qemu", source.list_vms())
    return made


def why_not(fleet: Fleet, name: str) -> str:
    with pytest.raises(BadInput) as caught:
        fleet.find(name)
    return str(caught.value)


# -- selectors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "selector",
    ["qemu:web", "web", "102", "web#102", UUID, "web#6b9f6d3e", "qemu:102", "qemu:web#102"],
)
def test_a_vm_is_found_by_what_does_not_change_when_it_starts_anew(
    proc: FakeProc, source: QemuBackend, pve: Path, selector: str
) -> None:
    (pve / "102.conf").write_text("name: web\n")
    proc.add(70, line("web", "-id", "102", "-smbios", f"type=1,uuid={UUID}"))
    assert fleet(source).find(selector).vm.process == Process(70, 1000)


def test_namesakes_have_ids_that_stay_when_they_start_anew(
    proc: FakeProc, source: QemuBackend, pve: Path, tmp_path: Path
) -> None:
    for vmid in (101, 102):
        (pve / f"{vmid}.conf").write_text("name: web\n")
        proc.add(vmid, line("web", "-id", str(vmid), agent=f"/run/{vmid}"))
    ids = [str(vm.id) for vm in source.list_vms()]
    assert ids == ["qemu:web#101", "qemu:web#102"]
    proc.add(900, line("web", "-id", "103", agent="/run/103"))
    (pve / "103.conf").write_text("name: other\n")
    assert [str(vm.id) for vm in source.list_vms()] == [*ids, "qemu:other"]
    # Another frostwatch, later, and other pids: the ids are the same.
    later = FakeProc(tmp_path / "later")
    for pid, vmid in ((5, 102), (6, 101)):
        later.add(pid, line("web", "-id", str(vmid), agent=f"/run/{vmid}"))
    again = QemuBackend(later.path, pve.parent).list_vms()
    assert sorted(str(vm.id) for vm in again) == ids
    assert "web#101" in why_not(fleet(source), "web")


def test_one_that_does_not_run_makes_its_name_ambiguous(
    proc: FakeProc, source: QemuBackend, pve: Path
) -> None:
    for vmid in (101, 102):
        (pve / f"{vmid}.conf").write_text("name: web\n[snapshot]\nname: old\n")
    (pve / "103.conf").write_text("name: db\n")
    (pve / "x.conf").write_text("name: web\n")
    proc.add(70, line("web", "-id", "102"))
    made = fleet(source)
    said = why_not(made, "web")
    assert "qemu:web#102 (also 102)" in said
    assert "web#101 (which does not run)" in said
    assert made.find("102").vm.process == Process(70, 1000)
    assert made.find("qemu:web#102").vm.process == Process(70, 1000)
    (pve / "101.conf").write_text("name: renamed, of another length\n")
    source.list_vms()
    made.set_vms("qemu", source.list_vms())
    assert made.find("web").vm.process == Process(70, 1000)


def test_without_proxmox_a_uuid_tells_namesakes_apart(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, line("web", "-uuid", UUID, agent="/a"))
    proc.add(71, line("web", agent="/b"))
    assert [vm.name for vm in source.list_vms()] == ["web#6b9f6d3e", "web#71"]


# -- whose name it is --------------------------------------------------------------------------


def test_the_name_of_a_vm_that_is_down_is_not_a_strangers(
    proc: FakeProc, source: QemuBackend, pve: Path
) -> None:
    (pve / "109.conf").write_text("name: web9\n")
    proc.add(70, line("web9", "-id", "109", "-uuid", UUID), uid=STRANGER)
    made = fleet(source)
    (state,) = made.states()
    assert state.vm.name.startswith("web9@")
    assert state.vm.user == state.vm.name.removeprefix("web9@")
    assert state.vm.selectors == ()
    said = why_not(made, "web9")
    assert "another user runs a VM" in said
    assert str(state.id) in said
    for selector in ("109", UUID, "web9#109"):
        why_not(made, selector)
    assert made.find(state.vm.name).id == state.id


def test_a_strangers_vm_takes_no_name_away(proc: FakeProc, source: QemuBackend) -> None:
    proc.add(70, line("web9"), uid=STRANGER)
    source.list_vms()  # it was there first
    proc.add(71, line("web9", agent="/real"), uid=0)
    made = fleet(source)
    assert made.find("web9").vm.process == Process(71, 1000)
    assert str(made.find("web9").id) == "qemu:web9"


def test_a_program_that_takes_more_rights_has_the_user_who_started_it(
    proc: FakeProc, source: QemuBackend
) -> None:
    folder = proc.add(70, line("web9"))
    (folder / "status").write_text(f"Name:\tx\nUid:\t{STRANGER}\t0\t0\t0\n")
    (vm,) = source.list_vms()
    assert vm.peer == Peer(Process(70, 1000), STRANGER)


# -- sockets that several name -----------------------------------------------------------------


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[tuple[Process, Path]]:
    """A process that listens."""
    path = tmp_path / "real.qga"
    serve = (
        "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]);"
        "s.listen(8); print(flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", serve, str(path)]
    with killed_on_failure(subprocess.Popen(command, stdout=subprocess.PIPE)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        _, fields = stat_fields(Path(f"/proc/{process.pid}"))
        yield Process(process.pid, start_ticks(fields)), path
        process.kill()


@pytest.fixture
def all_are_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentclient.access.host.peer.is_qemu", lambda _: True)


@pytest.mark.usefixtures("all_are_qemu")
def test_who_shares_a_socket_and_does_not_listen_there_is_the_one_disabled(
    proc: FakeProc, source: QemuBackend, qemu: tuple[Process, Path], tmp_path: Path
) -> None:
    process, path = qemu
    (tmp_path / "link").symlink_to(path)
    proc.add(process.pid, line("db", agent=str(path)), ticks=process.start_ticks, uid=os.getuid())
    proc.add(3, line("fake", agent=str(tmp_path / "link")), uid=os.getuid())
    proc.add(4, line("other", agent=f"{tmp_path}/./real.qga"), uid=STRANGER)
    disabled = {vm.title or "": vm.freeze_disabled for vm in source.list_vms()}
    assert disabled.pop("db") is None
    assert all(f"pid {process.pid} listens there" in str(why) for why in disabled.values())
    assert len(disabled) == 2


@pytest.mark.usefixtures("all_are_qemu")
def test_a_named_vm_is_whoever_listens_not_who_says_so(
    proc: FakeProc, source: QemuBackend, qemu: tuple[Process, Path]
) -> None:
    process, path = qemu
    proc.add(3, line("fake", agent=str(path)), uid=os.getuid())
    explicit = ExplicitBackend([parse_vm_spec(f"name=mine,agent={path}")])
    found, (mine,) = merge([source.list_vms(), explicit.list_vms()])
    assert mine.process == process
    assert mine.peer == Peer(process, os.getuid())
    assert [vm.name.partition("@")[0] for vm in found] == ["fake"]


@pytest.mark.usefixtures("all_are_qemu")
def test_two_sockets_of_two_vms_are_not_one(qemu: tuple[Process, Path], tmp_path: Path) -> None:
    process, path = qemu
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(tmp_path / "b.qmp"))
        ours.listen(8)
        spec = f"name=mine,agent={path},monitor={tmp_path / 'b.qmp'}"
        (vm,) = ExplicitBackend([parse_vm_spec(spec)]).list_vms()
    assert vm.monitor is None
    assert vm.process == process
    assert vm.no_monitor is not None
    assert f"pid {os.getpid()} listens there" in vm.no_monitor


def test_another_socket_in_a_sockets_place_is_another_vm(tmp_path: Path) -> None:
    source = ExplicitBackend([parse_vm_spec(f"name=mine,agent={tmp_path / 'a'}")])
    seen: list[Vm] = []
    with ExitStack() as open_ones:
        for _ in range(2):
            (tmp_path / "a").unlink(missing_ok=True)
            made = open_ones.enter_context(socket.socket(socket.AF_UNIX))
            made.bind(str(tmp_path / "a"))
            made.listen(8)
            seen += source.list_vms() * 2
            time.sleep(0.01)
        # What was captured with a question is not what is there at Enter.
        assert [is_another(vm) for vm in seen] == [True, True, False, False]
        for stale, refused in ((seen[0], True), (seen[2], False)):
            outcome = refuse_by_configuration(open_local(stale), stale, stale)
            assert (outcome is not None) is refused
        (tmp_path / "a").unlink()
        assert not is_another(seen[2])  # away is not another
    assert seen[0] == seen[1] != seen[2] == seen[3]
    assert seen[0].peer == Peer(None, os.getuid())  # no QEMU: it may be replaced


# -- Proxmox's configuration -------------------------------------------------------------------

PROXMOXS = {"agent": "/var/run/qemu-server/104.qga"}


@pytest.mark.parametrize("there", ["nothing", "empty", "no file"])
def test_proxmoxs_vms_without_their_configuration_are_not_frozen(
    proc: FakeProc, tmp_path: Path, there: str
) -> None:
    pve = tmp_path / "etc-pve"
    if there != "nothing":
        pve.mkdir()
    if there == "no file":
        (pve / "qemu-server").mkdir()
    proc.add(70, line("web", "-id", "104", **PROXMOXS))
    source = QemuBackend(proc.path, pve)
    (vm,) = source.list_vms()
    assert vm.freeze_disabled is not None
    assert "so a lock would go unseen" in vm.freeze_disabled
    assert any("pve-cluster" in note.text or "104.conf" in note.text for note in source.notes())
    assert vm.agent is not None  # a thaw needs no configuration


def test_a_number_alone_makes_no_proxmox(proc: FakeProc, tmp_path: Path) -> None:
    proc.add(70, line("web", "-id", "104"))
    (vm,) = QemuBackend(proc.path, tmp_path / "none").list_vms()
    assert vm.freeze_disabled is None


def test_a_read_that_hangs_costs_a_note_and_no_row(
    proc: FakeProc, pve: Path, tmp_path: Path
) -> None:
    os.mkfifo(pve / "104.conf")  # nobody writes: it is opened for ever
    proc.add(70, line("web", "-id", "104", **PROXMOXS))
    proc.add(71, line("db"))
    source = QemuBackend(proc.path, tmp_path / "pve")
    source._configs._read_s = 0.1
    for _ in range(3):
        web, db = source.list_vms()
        assert web.name == "web"
        assert web.freeze_disabled is not None
        assert "a read hangs" in web.freeze_disabled
        assert db.freeze_disabled is None
    # It hangs still, so nobody has waited for its end.
    assert sum(thread.name == "proxmox" for thread in threading.enumerate()) == 1
    with (pve / "104.conf").open("w") as file:
        file.write("name: web\n")
    deadline = time.monotonic() + 60
    while any(each.name == "proxmox" for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (pve / "104.conf").unlink()
    (pve / "104.conf").write_text("name: web\n")
    source._configs._read_s = 60.0
    assert [vm.freeze_disabled for vm in source.list_vms()] == [None, None]


def test_what_a_read_that_hung_has_found_is_not_taken_for_the_present(
    pve: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(pve / "104.conf")
    configs = ProxmoxConfigs(pve.parent, read_s=0.1)
    configs.read({104: True})
    alive = threading.Thread.is_alive

    def ends_now(thread: threading.Thread) -> bool:
        before = alive(thread)
        if thread.name == "proxmox" and before:
            (pve / "104.conf").write_text("name: web\n")
            while alive(thread):
                time.sleep(0.01)
        return before

    monkeypatch.setattr(threading.Thread, "is_alive", ends_now)
    found = configs.read({104: True, 105: True})
    assert ["a read hangs" in (found[vmid].freeze_disabled or "") for vmid in (104, 105)] == [
        True,
        True,
    ]


@each_lack
def test_without_a_thread_nothing_is_read_and_nothing_frozen(
    pve: Path, start: Callable[..., None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = ProxmoxConfigs(pve.parent)
    with monkeypatch.context() as poor:
        poor.setattr(threading.Thread, "start", start)
        config = configs.read({104: True})[104]
    assert config.freeze_disabled is not None
    assert f"can't be read: {why}" in config.freeze_disabled
    (pve / "104.conf").write_text("name: web\n")
    assert configs.read({104: True})[104].freeze_disabled is None
