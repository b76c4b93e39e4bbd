"""A guest that migrates while it is frozen runs on elsewhere, frozen: it is thawed where it is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentclient.model.events import EventKind
from agentclient.model.states import Cause, RunState
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator
from tests.guests.lab import Guest
from tests.guests.lab.shell import wait_until

OWN = ("qga.sock", "qmp.sock", "lab-qmp.sock", "shell.sock", "console.sock", "console.log")
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
        wait_until(incoming.exists, 20.0, "the target")
        yield incoming
    finally:
        process.kill()
        process.wait()


def migrate(guest: Guest, incoming: Path) -> None:
    """Move the guest, and wait until it has left."""
    guest.qmp("migrate", uri=f"unix:{incoming}")
    wait_until(lambda: guest.status() == "postmigrate", 40.0, "the migration")


@pytest.fixture
def guest(boot: Boot) -> Guest:
    return boot(name="moves", mounts=("a",), extra=("-uuid", UUID))


@pytest.mark.parametrize("ends", [False, True], ids=["source-stays", "source-ends"])
def test_a_guest_that_migrates_within_this_host_is_thawed_there(
    guest: Guest, tmp_path: Path, ends: bool
) -> None:
    with Operator(guest) as operator, target_of(guest, tmp_path) as incoming:
        running = operator.freeze(hold_s=60.0)
        running.wait_event(EventKind.HELD)
        began = time.monotonic()
        migrate(guest, incoming)
        if ends:
            guest.kill_qemu()
        outcome = running.outcome()
        assert time.monotonic() - began < 30.0
        assert outcome.cause is Cause.MIGRATED, running.texts
        assert (outcome.thawed, outcome.settled, outcome.certified) == (1, True, False)
        assert "runs on this host now" in outcome.reason


def test_a_guest_that_has_left_this_host_is_told_at_once(guest: Guest, tmp_path: Path) -> None:
    """A target of another UUID is another VM: it is not touched."""
    other = UUID.replace("8d5c", "0000")
    with Operator(guest) as operator, target_of(guest, tmp_path, uuid=other) as incoming:
        running = operator.freeze(hold_s=60.0)
        running.wait_event(EventKind.HELD)
        migrate(guest, incoming)
        outcome = running.outcome(30.0)
        assert (outcome.cause, outcome.settled, outcome.thawed) == (Cause.MIGRATED, False, None)
        assert "may be frozen where it runs now" in outcome.reason
        assert "on the host where it runs now" in (outcome.next or "")
        assert operator.accesses.of(operator.vm).look().run_state is RunState.MIGRATED
        thaw = operator.thaw(foreign=True).thaw_outcome()
        assert not thaw.ok
        assert "migrated away" in thaw.reason
