"""A guest that migrates while it is frozen runs on elsewhere, frozen: it is thawed where it is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentclient.access.access_pool import AccessPool
from agentclient.backends.qemu.backend import QemuBackend
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.journal.writer import Journal
from agentclient.model.events import EventKind
from agentclient.model.outcome import ThawOutcome
from agentclient.model.snapshot import LeftBy
from agentclient.model.states import Cause, RunState
from agentclient.model.vm import Vm
from agentclient.operations.manager import OperationManager
from tests.guests.command import Frostwatch, Json, kill_holder_and_console
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until

OWN = ("qga.sock", "qmp.sock", "lab-qmp.sock", "shell.sock", "console.sock", "console.log")
# What is told stands in the journal a moment later: nobody waits for the disk.
WRITTEN_S = 1.0
UUID = "8d5c1f5e-3a52-4f0c-9d8e-0b6c6f1f7a11"


@contextmanager
def target_of(guest: Guest, folder: Path, *, uuid: str = UUID) -> Iterator[Path]:
    """Start a second QEMU that takes the guest; yield where it listens for the migration."""
    incoming = folder / "incoming.sock"
    words = guest.command_line
    own = [word.replace(UUID, uuid) for word in words]
    # Its sockets and logs are its own, the disks are the same.
    for name in (
        "qga.sock",
        "qmp.sock",
        "lab-qmp.sock",
        "shell.sock",
        "console.sock",
        "console.log",
    ):
        own = [word.replace(str(guest.directory / name), str(folder / name)) for word in own]
    process = subprocess.Popen(
        [*own, "-incoming", f"unix:{incoming}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(incoming.exists, PATIENCE_S, "the target")
        yield incoming
    finally:
        process.kill()
        process.wait()


def migrate(guest: Guest, incoming: Path) -> None:
    """Move the guest, and wait until it has left."""
    guest.qmp("migrate", uri=f"unix:{incoming}")
    wait_until(lambda: guest.status() == "postmigrate", PATIENCE_S, "the migration")


@pytest.fixture
def guest(boot: Boot) -> Guest:
    return boot(name="moves", mounts=("a",), extra=("-uuid", UUID))


@pytest.mark.parametrize("ends", [False, True], ids=["source-stays", "source-ends"])
def test_a_guest_that_migrates_within_this_host_is_thawed_there(
    guest: Guest, tmp_path: Path, ends: bool
) -> None:
    with Operator(guest) as operator, target_of(guest, tmp_path) as incoming:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        migrate(guest, incoming)
        if ends:
            guest.kill_qemu()
        outcome = running.outcome()
        assert outcome.cause is Cause.MIGRATED, running.texts
        assert (outcome.thawed, outcome.settled, outcome.certified) == (1, True, False)
        assert "runs on this host now" in outcome.reason


def test_a_guest_that_has_left_this_host_is_told_at_once(guest: Guest, tmp_path: Path) -> None:
    """A target of another UUID is another VM: it is not touched."""
    other = UUID.replace("8d5c", "0000")
    with Operator(guest) as operator, target_of(guest, tmp_path, uuid=other) as incoming:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        migrate(guest, incoming)
        outcome = running.outcome()
        assert (outcome.cause, outcome.settled, outcome.thawed) == (Cause.MIGRATED, False, None)
        assert "may be frozen where it runs now" in outcome.reason
        assert "on the host where it runs now" in (outcome.next or "")
        assert operator.accesses.of(operator.vm).observe().run_state is RunState.MIGRATED
        thaw = operator.thaw(foreign=True).thaw_outcome()
        assert not thaw.ok
        assert "migrated away" in thaw.reason


class Only(QemuBackend):
    """The QEMUs of a UUID: the guests of other tests are not visited."""

    def list_vms(self) -> list[Vm]:
        return [one for one in super().list_vms() if one.uuid == UUID]


def test_the_next_frostwatch_finds_by_its_uuid_what_was_left_and_migrated(
    guest: Guest, tmp_path: Path
) -> None:
    frostwatch = Frostwatch(guest)
    with target_of(guest, tmp_path) as incoming:
        child = frostwatch.freeze_until("held", "--hold", "100")
        time.sleep(WRITTEN_S)
        kill_holder_and_console(child.pid)
        child.wait()
        migrate(guest, incoming)
        guest.kill_qemu()
        frostwatch.run("list")  # it sees nothing but the VM that has gone
        (window,) = history(frostwatch)
        assert (window["state"], window["settled"]) == ("left", False), "nobody knows its end"
        found = find_and_thaw()
        assert found.pid == child.pid
        thaw, window = history(frostwatch)
        assert (thaw["thaw"]["ok"], thaw["thaw"]["thawed"]) == (True, 1)
        assert (window["state"], window["settled"]) == ("closed", True)
    frostwatch.close()


def history(frostwatch: Frostwatch) -> list[Json]:
    """Return all windows of the test, the newest first."""
    return frostwatch.run("history")[1]


def find_and_thaw() -> LeftBy:
    """Look as the next frostwatch would; thaw what is provably ours, and return whose it was."""
    fleet, links, journal = Fleet(), AccessPool(), Journal()
    watcher = Watcher(fleet, links, [Only()], journal=journal)
    watcher.visit_all(PATIENCE_S)
    (state,) = fleet.states()
    assert state.left_by is not None
    operations = OperationManager(fleet, links, journal=journal)
    outcome = operations.thaw(state.vm, foreign=False).wait(PATIENCE_S)
    assert isinstance(outcome, ThawOutcome)
    assert outcome.ok
    operations.stop(1.0)
    watcher.stop()
    links.close()
    journal.close()
    return state.left_by
