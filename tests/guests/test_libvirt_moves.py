"""A guest under libvirt that leaves its QEMU and goes on in another one: saved, and restored."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.engine import Engine
from agentclient.model.events import EventKind
from agentclient.model.outcome import ThawOutcome
from agentclient.model.states import Cause, OutcomeKind, Stuck
from tests.guests.command import ROOT, Json, ended, holders_of
from tests.guests.freezing import in_the_hook
from tests.guests.lab import PATIENCE_S, DomainGuest, Libvirtd, boot_domain
from tests.guests.lab.shell import wait_until
from tests.guests.libvirt_operator import DomainOperator, restore, save

pytestmark = pytest.mark.soak

NAME = "mover"


@pytest.fixture
def guest(libvirtd: Libvirtd) -> Iterator[DomainGuest]:
    """A guest that a test moves; its domain is transient, so that libvirt forgets it meanwhile."""
    with boot_domain(libvirtd, name=NAME, mounts=("a",)) as guest:
        yield guest


def frostwatch(guest: DomainGuest, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tui.main", "-c", guest.daemon.uri, *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def held_by_a_holder_alone(guest: DomainGuest) -> int:
    """Have the console of a freeze killed while its holder can't thaw the guest; return its pid."""
    words = ("freeze", f"libvirt:{NAME}", "--hold", "100", "--json")
    with frostwatch(guest, *words) as console:
        assert console.stdout is not None
        assert any('"event": "held"' in line for line in console.stdout)
        (holder,) = holders_of(console.pid)
        guest.daemon.virsh("suspend", NAME)  # libvirt asks no agent of a VM that is paused
        console.kill()
    return holder


def window(guest: DomainGuest) -> Json:
    """The newest window of a guest, as the journal has it."""
    _, lines, said = ended(frostwatch(guest, "history", f"libvirt:{guest.name}", "--json"))
    assert len(lines) > 1, said
    return lines[0]


@pytest.fixture
def elsewhere(libvirtd: Libvirtd) -> Iterator[Libvirtd]:
    """The daemon of another host, as far as libvirt can tell."""
    del libvirtd  # it says why there can be none
    with Libvirtd(host="elsewhere") as daemon:
        yield daemon


def test_migrated_while_it_is_held_it_is_frozen_still_on_the_other_host(
    guest: DomainGuest, elsewhere: Libvirtd
) -> None:
    with DomainOperator(guest) as operator:
        running = operator.freeze(hold_s=100.0)
        running.wait_event(EventKind.HELD)
        guest.migrate(elsewhere)
        outcome = running.outcome()
        assert (outcome.kind, outcome.cause, outcome.stuck, outcome.settled) == (
            OutcomeKind.BROKEN,
            Cause.MIGRATED,
            Stuck.MIGRATED,
            False,
        ), running.texts
    guest.take_again()
    assert guest.frozen_mounts() == {"a"}
    with DomainOperator(guest) as operator:
        assert operator.vm.incoming
        assert operator.thaw(foreign=True).thaw_outcome().thawed == 1
    guest.assert_thawed()


def test_migrated_while_nobody_but_a_holder_has_it_it_has_not_ended(
    guest: DomainGuest, elsewhere: Libvirtd
) -> None:
    holder = held_by_a_holder_alone(guest)
    guest.migrate(elsewhere)
    wait_until(lambda: not Path(f"/proc/{holder}/cmdline").exists(), PATIENCE_S, "its end")
    guest.take_again()
    left = window(guest)
    assert left["settled"] is False, left
    elsewhere.virsh("resume", NAME)
    assert guest.frozen_mounts() == {"a"}
    code, told, said = ended(frostwatch(guest, "thaw", f"libvirt:{NAME}", "--json"), PATIENCE_S)
    assert code == 0, (told, said)
    assert (told[-1]["ok"], told[-1]["thawed"]) == (True, 1), "it is ours: it needs no --foreign"
    guest.assert_thawed()


def test_saved_while_a_freeze_is_pending_it_is_lost_and_may_be_frozen(guest: DomainGuest) -> None:
    with DomainOperator(guest) as operator:
        running = in_the_hook(guest, operator)
        place = save(guest)
        outcome = running.outcome()
        assert (outcome.kind, outcome.cause, outcome.settled) == (
            OutcomeKind.LOST,
            Cause.MIGRATED,
            False,
        ), running.texts
    restore(guest, place)
    guest.release_hook()
    wait_until(lambda: guest.frozen_mounts() == {"a"}, PATIENCE_S, "the freeze, which goes on")
    with DomainOperator(guest) as operator:
        thaw = operator.thaw(foreign=True).thaw_outcome()
        assert thaw.ok
    guest.assert_thawed()


def test_saved_while_nobody_but_a_holder_has_it_it_has_not_ended_and_the_next_one_thaws_it(
    guest: DomainGuest,
) -> None:
    holder = held_by_a_holder_alone(guest)
    place = save(guest)
    wait_until(lambda: not Path(f"/proc/{holder}/cmdline").exists(), PATIENCE_S, "its end")
    left = window(guest)
    assert left["settled"] is False, left
    restore(guest, place)
    assert guest.frozen_mounts() == {"a"}
    code, told, said = ended(frostwatch(guest, "thaw", f"libvirt:{NAME}", "--json"), PATIENCE_S)
    assert code == 0, (told, said)
    assert (told[-1]["ok"], told[-1]["thawed"]) == (True, 1), "it is ours: it needs no --foreign"
    guest.assert_thawed()


def test_one_whose_managed_save_is_started_is_thawed_within_the_thaws_bound(
    guest: DomainGuest, tmp_path: Path
) -> None:
    libvirtd = guest.daemon
    file = tmp_path / "domain.xml"
    file.write_text(libvirtd.virsh("dumpxml", NAME))
    libvirtd.virsh("define", str(file))
    with Engine(connect=[libvirtd.uri], journal=tmp_path / "journal.db") as engine:
        engine.watch()
        libvirtd.virsh("domfsfreeze", NAME)
        libvirtd.virsh("managedsave", NAME)
        libvirtd.virsh("start", NAME)
        guest.take_again()
        assert guest.frozen_mounts() == {"a"}
        vm = engine.find_one(f"libvirt:{NAME}")
        thaw = engine.thaw(vm, foreign=True).wait(PATIENCE_S)
        assert isinstance(thaw, ThawOutcome)
        assert (thaw.ok, thaw.thawed) == (True, 1)
    guest.assert_thawed()
    libvirtd.virsh("undefine", NAME)
