"""What an explanation names to be done by hand: each of virsh's commands, on a real domain."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentclient.model.explanation.by_hand import by_hand
from agentclient.model.explanation.entry import Hand
from agentclient.model.states import RunState
from agentclient.model.vm import Vm
from tests.guests.lab import PATIENCE_S, DomainGuest, Libvirtd, boot_domain, start_bare
from tests.guests.lab.libvirtd import VirshError
from tests.guests.lab.process import make_disk
from tests.guests.lab.shell import wait_until
from tests.guests.lab.sshd import Sshd
from tests.guests.libvirt_copying import LARGE, RoomyGuest
from tests.guests.libvirt_operator import DomainOperator

OPEN, CLOSED = "state='connected'", "state='disconnected'"
# Of a guest with the lab's disks: all but the large one.
OTHERS = ("vda", "vdb", "vdc")
LARGE_SIZE = 1 << 30
SYSRQ_ALLOWED = 1


def by(vm: Vm, hand: Hand) -> str:
    """Do one thing by hand, as a shell does it, and return what the command says."""
    (one,) = by_hand([hand], vm)
    done = subprocess.run(
        ["sh", "-c", one.command],
        env=os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, f"{one.command}: {done.stderr}"
    return done.stdout.strip()


def written(vm: Vm) -> int:
    """How many bytes the guest has written, as it is seen by hand."""
    found = re.findall(r"block\.\d+\.wr\.bytes=(\d+)", by(vm, Hand.WRITES))
    assert found
    return sum(map(int, found))


@pytest.fixture
def operator(calm_domain: DomainGuest) -> Iterator[DomainOperator]:
    """Somebody with frostwatch and the module's guest."""
    with DomainOperator(calm_domain) as somebody:
        yield somebody


def test_what_is_looked_at_is_as_it_is(calm_domain: DomainGuest, operator: DomainOperator) -> None:
    vm = operator.vm
    assert by(vm, Hand.RUN_STATE) == "running (booted)"
    assert OPEN in by(vm, Hand.PORT)
    assert json.loads(by(vm, Hand.STATUS)) == {"return": "thawed"}
    assert "guest-fsfreeze-freeze" in by(vm, Hand.INFO)
    assert {"/mnt/a", "/mnt/b"} <= set(by(vm, Hand.FILE_SYSTEMS).split())
    before = written(vm)
    calm_domain.shell("echo new >/mnt/a/new && sync")
    assert written(vm) > before
    assert "None" in by(vm, Hand.MIGRATION)
    calm_domain.kill_agent()
    wait_until(lambda: CLOSED in by(vm, Hand.PORT), PATIENCE_S, "the port's end")
    tainted = calm_domain.daemon.virsh("dominfo", calm_domain.name)
    assert "custom-monitor" not in tainted
    assert "monitor control" not in tainted


def test_it_is_frozen_and_thawed(calm_domain: DomainGuest, operator: DomainOperator) -> None:
    vm = operator.vm
    assert by(vm, Hand.FREEZE) == "Froze 2 filesystem(s)"
    assert calm_domain.frozen_mounts() == {"a", "b"}
    assert json.loads(by(vm, Hand.STATUS)) == {"return": "frozen"}
    before = written(vm)
    calm_domain.shell("echo new >/mnt/a/new &")
    assert written(vm) == before
    assert by(vm, Hand.THAW) == "Thawed 2 filesystem(s)"
    calm_domain.assert_thawed()


def test_it_is_thawed_by_its_kernel_alone(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    by(operator.vm, Hand.FREEZE)
    calm_domain.kill_agent()
    calm_domain.shell(f"echo {SYSRQ_ALLOWED} >/proc/sys/kernel/sysrq")
    by(operator.vm, Hand.SYSRQ)
    wait_until(lambda: calm_domain.frozen_mounts() == set(), PATIENCE_S, "the kernel to thaw it")


def test_it_runs_on(calm_domain: DomainGuest, operator: DomainOperator) -> None:
    calm_domain.daemon.virsh("suspend", calm_domain.name)
    assert by(operator.vm, Hand.RUN_STATE) == "paused (user)"
    by(operator.vm, Hand.RESUME)
    assert by(operator.vm, Hand.RUN_STATE).startswith("running")
    assert calm_domain.status() == "running"


def test_a_command_of_others_is_seen_by_its_client(
    calm_domain: DomainGuest, operator: DomainOperator
) -> None:
    calm_domain.held_hook()
    with calm_domain.daemon.start_virsh("domfsfreeze", calm_domain.name) as theirs:
        wait_until(lambda: bool(calm_domain.hook_log()), PATIENCE_S, "their freeze")
        assert f"pid={theirs.pid}," in by(operator.vm, Hand.CLIENTS)
        calm_domain.release_hook()
        assert theirs.wait(PATIENCE_S) == 0
    assert by(operator.vm, Hand.THAW) == "Thawed 2 filesystem(s)"


def test_it_is_reset(calm_domain: DomainGuest, operator: DomainOperator) -> None:
    by(operator.vm, Hand.FREEZE)
    by(operator.vm, Hand.RESET)
    calm_domain.wait_reset()
    calm_domain.assert_thawed()


@pytest.mark.soak
def test_it_is_woken_up(libvirtd: Libvirtd) -> None:
    with (
        boot_domain(libvirtd, name="sleeper", mounts=("a",), suspendable=True) as guest,
        DomainOperator(guest) as operator,
    ):
        guest.suspend()
        wait_until(
            lambda: by(operator.vm, Hand.RUN_STATE).startswith("pmsuspended"),
            PATIENCE_S,
            "its sleep",
        )
        by(operator.vm, Hand.WAKE)
        wait_until(lambda: guest.status() == "running", PATIENCE_S, "it to wake up")
        assert by(operator.vm, Hand.RUN_STATE).startswith("running")


def test_one_that_is_off_is_started(libvirtd: Libvirtd, operator: DomainOperator) -> None:
    start_bare(libvirtd, "starter", define=True)

    def listed() -> list[Vm]:
        return [vm for vm in operator.backend.list_vms() if vm.title == "starter"]

    try:
        wait_until(lambda: bool(listed()), PATIENCE_S, "it to be listed")
        (vm,) = listed()
        libvirtd.virsh("destroy", "starter")
        assert by(vm, Hand.RUN_STATE) == "shut off (destroyed)"
        by(vm, Hand.START)
        assert by(vm, Hand.RUN_STATE) == "running (booted)"
    finally:
        libvirtd.virsh("destroy", "starter")
        libvirtd.virsh("undefine", "starter")


@pytest.mark.soak
def test_what_is_copied_is_seen(libvirtd: Libvirtd, tmp_path: Path) -> None:
    target, xml = tmp_path / "large.qcow2", tmp_path / "backup.xml"
    make_disk(target, LARGE_SIZE)
    left_out = "".join(f"<disk name='{one}' backup='no'/>" for one in OTHERS)
    xml.write_text(
        f"<domainbackup><disks><disk name='{LARGE}' backup='yes' type='file'>"
        f"<driver type='qcow2'/><target file='{target}'/></disk>{left_out}</disks></domainbackup>"
    )
    with RoomyGuest(libvirtd, name="copied") as guest:
        guest.wait_up()
        with DomainOperator(guest) as operator:

            def jobs() -> list[str]:
                found = json.loads(by(operator.vm, Hand.JOBS))["return"]
                return [f"{one['type']} {one['status']}" for one in found]

            assert jobs() == []
            libvirtd.virsh("backup-begin", "copied", str(xml), "--reuse-external")
            assert jobs() == ["backup running"]
            libvirtd.virsh("domjobabort", "copied")
            wait_until(lambda: jobs() == [], PATIENCE_S, "its end")


@contextmanager
def migrating(guest: DomainGuest, to: Libvirtd) -> Iterator[None]:
    """Have a guest migrate, slower than anybody waits; it stays in the end."""

    def migrate() -> None:
        try:
            guest.migrate(to)
        except VirshError as error:
            said.append(str(error))

    said: list[str] = []
    guest.daemon.virsh("migrate-setspeed", guest.name, "1")
    thread = threading.Thread(target=migrate)
    thread.start()
    try:
        yield
    finally:
        guest.daemon.virsh("domjobabort", guest.name)
        thread.join(PATIENCE_S)
    assert said, "it was to be cancelled"


@pytest.mark.soak
def test_how_far_a_migration_is_is_seen(libvirtd: Libvirtd) -> None:
    with (
        Libvirtd(host="elsewhere") as elsewhere,
        boot_domain(libvirtd, name="mover", mounts=("a",)) as guest,
        DomainOperator(guest) as operator,
        migrating(guest, elsewhere),
    ):

        def seen() -> bool:
            said = by(operator.vm, Hand.MIGRATION)
            return "Outgoing migration" in said and "Data remaining" in said

        wait_until(seen, PATIENCE_S, "how far it is")
        assert operator.look().run_state in (RunState.RUNNING, RunState.MIGRATING)


def test_on_another_host_it_is_done_from_here(calm_domain: DomainGuest, sshd: Sshd) -> None:
    with DomainOperator(calm_domain, sshd.uri()) as operator:
        assert by(operator.vm, Hand.RUN_STATE).startswith("running")
        assert by(operator.vm, Hand.FREEZE) == "Froze 2 filesystem(s)"
        assert by(operator.vm, Hand.THAW) == "Thawed 2 filesystem(s)"
