"""Facts about libvirt's calls to an agent, seen on a real daemon with real guests.

The backend builds on them. Errors are told by code: their texts say the same for several things.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from agentclient.late import load_module
from tests.guests.lab import PATIENCE_S, DomainGuest, Libvirtd
from tests.guests.lab.process import make_disk
from tests.guests.lab.shell import wait_until

try:
    libvirt: Any = load_module("libvirt")
    libvirt_qemu: Any = load_module("libvirt_qemu")
except ImportError:  # the fixture `libvirtd` tells it
    libvirt = libvirt_qemu = None

STATUS = json.dumps({"execute": "guest-fsfreeze-status"})
FREEZE = json.dumps({"execute": "guest-fsfreeze-freeze"})
# What a busy machine may take for anything that comes at once.
BUSY, INVALID, UNRESPONSIVE = 68, 55, 86
# Of copies: virDomainMetadataType, virDomainModificationImpact, and others of its numbers.
ELEMENT, LIVE, DISK_ONLY, COMPLETED, BACKUP = 2, 1, 16, 1 | 2, 9
# libvirt 11 tells an agent that has no answer from one that can't be asked; 9 does not.
NO_ANSWER = (UNRESPONSIVE, 112)


@pytest.fixture(scope="module", autouse=True)
def events(libvirtd: Libvirtd) -> None:
    """Run libvirt's own loop of events, which has to be there before the first connection."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    libvirt.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, daemon=True).start()


@pytest.fixture
def connection(libvirtd: Libvirtd) -> Iterator[Any]:
    """A connection to the daemon."""
    opened = libvirt.open(libvirtd.uri)
    yield opened
    opened.close()


@pytest.fixture
def domain(connection: Any, calm_domain: DomainGuest) -> Any:
    """The shared guest, as libvirt has it."""
    return connection.lookupByName(calm_domain.name)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for calls that block."""
    with ThreadPoolExecutor(4) as threads:
        yield threads


def ask(domain: Any, command: str, timeout_s: int) -> Any:
    """Send the agent one command."""
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, command, timeout_s, 0))["return"]


def code_of(call: Callable[[], object]) -> tuple[int, float]:
    """The error code that a call ends with, and the seconds until then."""
    began = time.monotonic()
    with pytest.raises(libvirt.libvirtError) as error:
        call()
    return error.value.get_error_code(), time.monotonic() - began


def freezing(guest: DomainGuest) -> bool:
    return guest.hook_log()[-1:] == ["freeze"]


def begin(pool: ThreadPoolExecutor, guest: DomainGuest, call: Callable[[], Any]) -> Future[Any]:
    """Begin a freeze in a thread, and return when its hook runs."""
    pending = pool.submit(call)
    wait_until(lambda: freezing(guest), PATIENCE_S, "the hook")
    return pending


def test_fact_one_call_returns_the_true_count_whenever_it_comes(
    calm_domain: DomainGuest, domain: Any, pool: ThreadPoolExecutor
) -> None:
    calm_domain.slow_hook(1.5)
    pending = begin(pool, calm_domain, lambda: ask(domain, FREEZE, 60))
    assert not pending.done()
    assert domain.info()[0] == libvirt.VIR_DOMAIN_RUNNING, "what is no agent's answers meanwhile"
    assert pending.result(PATIENCE_S) == 2
    assert calm_domain.frozen_mounts() == {"a", "b"}
    assert ask(domain, STATUS, 10) == "frozen"
    assert domain.fsThaw() == 2


def test_fact_a_freeze_that_timed_out_freezes_all_the_same(
    calm_domain: DomainGuest, domain: Any
) -> None:
    calm_domain.slow_hook(3.0)
    code, took_s = code_of(lambda: ask(domain, FREEZE, 1))
    assert code in NO_ANSWER
    assert took_s >= 1.0
    wait_until(lambda: calm_domain.frozen_mounts() == {"a", "b"}, PATIENCE_S, "the freeze")
    wait_until(lambda: ask(domain, STATUS, 10) == "frozen", PATIENCE_S, "the agent")
    assert domain.fsThaw() == 2


def test_fact_killed_while_pending_the_call_ends_at_once(
    calm_domain: DomainGuest, domain: Any, pool: ThreadPoolExecutor
) -> None:
    calm_domain.hanging_hook()
    pending = begin(pool, calm_domain, lambda: ask(domain, FREEZE, 300))
    calm_domain.kill_agent()
    code, _ = code_of(lambda: pending.result(PATIENCE_S))
    assert code in NO_ANSWER, "the same as of one that timed out"


def test_fact_paused_nothing_can_be_asked(calm_domain: DomainGuest, domain: Any) -> None:
    domain.suspend()
    for call in (lambda: ask(domain, STATUS, 10), domain.fsFreeze, domain.fsThaw):
        assert code_of(call)[0] == INVALID
    domain.resume()
    assert ask(domain, STATUS, 10) == "thawed"


def test_fact_an_agent_that_comes_and_goes_is_told(
    calm_domain: DomainGuest, connection: Any, domain: Any
) -> None:
    told: list[int] = []
    number = connection.domainEventRegisterAny(
        domain,
        libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
        lambda _connection, _domain, state, _reason, _opaque: told.append(state),
        None,
    )
    gone, there = (
        libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED,
        libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED,
    )
    assert "state='connected'" in domain.XMLDesc()
    calm_domain.kill_agent()
    wait_until(lambda: told == [gone], PATIENCE_S, "the agent to be gone")
    assert "state='disconnected'" in domain.XMLDesc()
    assert code_of(lambda: ask(domain, STATUS, 10))[0] == UNRESPONSIVE
    calm_domain.start_agent()
    wait_until(lambda: told == [gone, there], PATIENCE_S, "the agent to be there")
    connection.domainEventDeregisterAny(number)


def test_fact_raw_commands_taint_a_domain_and_libvirts_own_do_not(domain: Any) -> None:
    def tainted() -> bool:
        return any("guest agent" in one for one in domain.messages(0))

    was = tainted()
    domain.fsFreeze()
    domain.fsThaw()
    domain.fsInfo()
    assert tainted() is was, "what other tests have asked counts, and no more"
    ask(domain, STATUS, 10)
    wait_until(tainted, PATIENCE_S, "the taint")


def test_fact_a_killed_daemon_is_told_by_its_connection_and_thaws_when_it_is_back(
    calm_domain: DomainGuest, libvirtd: Libvirtd, connection: Any, domain: Any
) -> None:
    closed = threading.Event()
    connection.registerCloseCallback(lambda *_: closed.set(), None)
    assert domain.fsFreeze() == 2
    libvirtd.kill()
    assert closed.wait(PATIENCE_S)
    libvirtd.start_again()
    assert calm_domain.frozen_mounts() == {"a", "b"}, "a daemon that starts thaws nothing"
    anew = libvirt.open(libvirtd.uri)
    again = anew.lookupByName(calm_domain.name)
    wait_until(lambda: _thaws(again), PATIENCE_S, "the agent to be connected again")
    calm_domain.assert_thawed()
    anew.close()


def _thaws(domain: Any) -> bool:
    try:
        return int(domain.fsThaw()) == 2
    except libvirt.libvirtError:
        return False


def test_fact_who_waits_for_anothers_agent_job_is_told_whose_it_is(
    calm_domain: DomainGuest, domain: Any, pool: ThreadPoolExecutor
) -> None:
    calm_domain.hanging_hook()
    pending = begin(pool, calm_domain, lambda: ask(domain, FREEZE, 300))
    began = time.monotonic()
    with pytest.raises(libvirt.libvirtError, match="held by agent=") as error:
        ask(domain, STATUS, 5)
    assert error.value.get_error_code() == BUSY
    assert time.monotonic() - began >= 29.0, "it waits for so long, whatever bound it was given"
    calm_domain.clear_hook()
    with pytest.raises(libvirt.libvirtError):
        pending.result(PATIENCE_S)


def test_fact_no_snapshot_inside_of_images_without_the_memory(domain: Any) -> None:
    xml = "<domainsnapshot><memory snapshot='no'/><disks>{}</disks></domainsnapshot>"
    inside = xml.format("<disk name='vda' snapshot='internal'/><disk name='vdb' snapshot='no'/>")
    atomic, disks_alone = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC, DISK_ONLY
    for flags in (atomic, atomic | disks_alone):
        code, _ = code_of(partial(domain.snapshotCreateXML, inside, flags))
        assert code in (67, 84)
    assert domain.listAllSnapshots(0) == []


def test_fact_metadata_of_the_run_are_seen_by_all_under_each_namespace(
    domain: Any, libvirtd: Libvirtd
) -> None:
    for number in (1, 2):
        domain.setMetadata(ELEMENT, f"<copy n='{number}'/>", "fw", f"urn:test:{number}", LIVE)
    try:
        seen = libvirtd.virsh("dumpxml", domain.name())
        assert "urn:test:1" in seen
        assert "urn:test:2" in seen
    finally:
        for number in (1, 2):
            domain.setMetadata(ELEMENT, None, "fw", f"urn:test:{number}", LIVE)
    assert "urn:test" not in libvirtd.virsh("dumpxml", domain.name())


def test_fact_a_backup_that_ended_is_told_once_it_has(
    domain: Any, calm_domain: DomainGuest
) -> None:
    file = calm_domain.directory / "fact.qcow2"
    make_disk(file, domain.blockInfo("vda")[0])
    others = "".join(f"<disk name='vd{one}' backup='no'/>" for one in "bc")
    domain.backupBegin(
        "<domainbackup mode='push'><disks><disk name='vda' backup='yes' type='file'>"
        f"<driver type='qcow2'/><target file='{file}'/></disk>{others}</disks></domainbackup>",
        None,
        libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL,
    )
    wait_until(lambda: domain.jobStats(0)["type"] == 0, PATIENCE_S, "its end")
    for _ in range(2):
        told = domain.jobStats(COMPLETED)
        assert (told["operation"], told["type"]) == (BACKUP, libvirt.VIR_DOMAIN_JOB_COMPLETED)
    assert dict(domain.blockJobInfo("vda", 0)) == {}
    file.unlink()
