"""Commands on copies whose storage hangs: each ends, and names what could not be deleted."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.command import Frostwatch, ended
from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until
from tests.guests.storages import ROOT, hanging, on_loop
from tests.processes import children, threads, told

# Two files and a folder have half a minute each.
ENDS_WITHIN_S = 200.0


@pytest.fixture(scope="module")
def guest(module_boot: Boot) -> Guest:
    """A guest that writes nothing by itself."""
    return module_boot(name="hung", mounts=("a",))


@pytest.fixture
def frostwatch(guest: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(guest)
    yield started
    started.close()


@ROOT
@pytest.mark.soak
def test_a_command_ends_though_its_files_can_not_be_deleted(
    guest: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    with on_loop(tmp_path) as place:
        to = ("--to", str(place), "--format", "raw", "--policy", "never", "--wait", "--json")
        mirror = frostwatch.start("mirror", guest.name, *to)

        def ready() -> bool:
            jobs = guest.qmp("query-jobs")
            return bool(jobs) and all(one["status"] == "ready" for one in jobs)

        wait_until(ready, PATIENCE_S, "the mirror")
        with hanging(place):
            began = time.monotonic()
            mirror.send_signal(signal.SIGINT)
            code, lines, said = ended(mirror, ENDS_WITHIN_S)
            assert time.monotonic() - began < ENDS_WITHIN_S
            assert code == 1, said
            left = lines[-1]["left"]
            assert any(".raw (its storage has not answered for" in one for one in left), left
            assert any("the folder" in one for one in left)
        assert guest.qmp("query-jobs") == []


@ROOT
@pytest.mark.soak
def test_what_was_left_can_not_be_deleted_while_its_storage_hangs(
    guest: Guest, frostwatch: Frostwatch, tmp_path: Path
) -> None:
    with on_loop(tmp_path) as place:
        to = ("--to", str(place), "--format", "raw", "--policy", "never", "--wait", "--json")
        mirror = frostwatch.start("mirror", guest.name, *to)
        wait_until(lambda: bool(guest.qmp("query-jobs")), PATIENCE_S, "the mirror")
        mirror.kill()
        mirror.wait()
        with hanging(place):
            clear = frostwatch.start("jobs", "--clear", guest.name, "--json")
            code, lines, said = ended(clear, ENDS_WITHIN_S)
            assert code == 1, said
            left = lines[-1]["cleared"]["left"]
            assert any("its storage has not answered for" in one for one in left), left


@ROOT
@pytest.mark.parametrize("which", ["folder", "fleece", "snapshot"])
def test_a_command_ends_though_its_files_can_not_be_made_and_they_are_not_left(
    guest: Guest, frostwatch: Frostwatch, tmp_path: Path, which: str
) -> None:
    """What was asked of the storage happens once that answers, when nobody expects it any more."""
    copies = tmp_path / "copies"
    copies.mkdir()
    with on_loop(tmp_path) as place:
        with hanging(place):
            backup = ("backup", guest.name, "--to")
            snapshot = ("snapshot", "create", guest.name, "s", "--external", "--to")
            words = {
                "folder": (*backup, str(place)),
                "fleece": (*backup, str(copies), "--fleece", str(place)),
                "snapshot": (*snapshot, str(place)),
            }[which]
            copying = frostwatch.start(*words, "--policy", "never", "--json")
            wait_until(lambda: _waits_for_storage(copying.pid), PATIENCE_S, "it hangs")
            copying.send_signal(signal.SIGINT)
            code, lines, said = ended(copying)
            assert (code, lines[-1]["result"], lines[-1]["left"]) == (1, "cancelled", []), said
        wait_until(
            lambda: {one.name for one in place.iterdir()} == {"lost+found"}, PATIENCE_S, "it"
        )
    assert list(copies.rglob("*")) == []
    assert guest.qmp("query-jobs") == []


def _waits_for_storage(pid: int) -> bool:
    """Whether a process, or one that it has started, is in the kernel for a storage."""
    every = (thread for each in (pid, *children(pid)) for thread in threads(each))
    return any(") D " in told(thread, "stat") for thread in every)
