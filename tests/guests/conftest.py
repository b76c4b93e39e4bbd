"""Fixtures for tests against real guests."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn, Protocol, Unpack

import pytest

from agentclient.access.host.socket_clients import clients
from tests.guests.both import CHOSEN
from tests.guests.freezing import Operator
from tests.guests.lab import (
    PATIENCE_S,
    BootOptions,
    DomainGuest,
    Guest,
    LabUnavailable,
    Libvirtd,
    RawClient,
    boot_domain,
)
from tests.guests.lab import boot as boot_guest
from tests.guests.lab.release import VARIABLE, wanted
from tests.guests.lab.shell import wait_until
from tests.guests.lab.sshd import Sshd
from tests.guests.seldom import SELDOM
from tests.needed import missing

_HERE = Path(__file__).parent
_GUESTS: list[Guest] = []
# Why there can be no guests, once it is known: to find out may take a minute without a network.
_WHY_NOT: dict[str | None, LabUnavailable] = {}


# With these begun first, no worker has a long file left when the others are done.
_LONG = (
    "test_holder.py",
    "test_snapshot_faults.py",
    "test_snapshot.py",
    "test_mirror.py",
    "test_rescue.py",
    "test_lost_guest.py",
    "test_lost_latency.py",
    "test_facts_copy.py",
    "test_lab_copies.py",
    "test_facts_fleecing.py",
    "test_facts_jobs.py",
    "test_lab.py",
    "test_recovery.py",
    "test_group.py",
    "test_lost_agent.py",
    "test_lost_silent.py",
    "test_cli.py",
    "test_freeze_slow.py",
    "test_monitor.py",
)


# How long a test of a guest may take on a machine that is ten times slower than an idle one.
TEST_S = 600.0

# What QEMU, the agent and the lab do, which no change of ours changes: `make test` runs those of
# `both` on the other Debian, and `make soak` all.
_FACTS = (
    "test_facts_channel.py",
    "test_facts_copy.py",
    "test_facts_fleecing.py",
    "test_facts_freeze.py",
    "test_facts_jobs.py",
    "test_facts_libvirt.py",
    "test_lab_copies.py",
)


class Boot(Protocol):
    """The type of the fixture `boot`."""

    def __call__(self, **options: Unpack[BootOptions]) -> Guest:
        """Boot a guest; it is closed at the end of the test (or module)."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    """Know the markers also where no project file names them."""
    config.addinivalue_line("markers", "guest: needs a real guest under QEMU")
    config.addinivalue_line("markers", "both: runs on the other Debian's QEMU and guest as well")


def pytest_report_header() -> str:
    """Say which Debian the guests and their QEMU are of."""
    release = wanted()
    whose = "this machine's own" if release.own else f"another than this machine's: {VARIABLE}"
    return f"real guests: Debian {release.codename or 'unknown'} ({whose})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this folder, and those that are run on both Debians; long files first.

    Each may take long, unless it or the command line says for how long: it waits for guests that
    boot, and each wait has a limit of its own.
    """
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.guest)
            if item.get_closest_marker("timeout") is None and not _timeout_is_given(item.config):
                item.add_marker(pytest.mark.timeout(TEST_S))
            if item.nodeid in CHOSEN:
                item.add_marker(pytest.mark.both)
            if item.path.name in _FACTS or item.nodeid in SELDOM:
                item.add_marker(pytest.mark.soak)
    items.sort(key=_rank)


def _timeout_is_given(config: pytest.Config) -> bool:
    """Whether the command line says for how long a test may take."""
    return config.getoption("timeout", None) is not None


def _rank(item: pytest.Item) -> int:
    """Where the file of a test comes in a run; those of one rank stay in their order."""
    here = _HERE in item.path.parents and item.path.name in _LONG
    return _LONG.index(item.path.name) if here else len(_LONG)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the guests and their QEMU said to the report of a failed test."""
    report = yield
    if report.failed and _HERE in item.path.parents:
        for guest in _GUESTS:
            report.sections.append((f"console of {guest.name}", guest.console_log))
            report.sections.append((f"QEMU of {guest.name}", guest.qemu_log))
    return report


def _no_guest(reason: LabUnavailable) -> NoReturn:
    """Skip a test that needs a real guest; where those must be, fail it."""
    missing(f"no real guest: {reason}")


def _booter() -> Generator[Boot, None, None]:
    """A function that boots guests, and closes them all when the fixture ends."""
    mine: list[Guest] = []

    def remember(guest: Guest) -> None:
        mine.append(guest)
        _GUESTS.append(guest)

    def boot(**options: Unpack[BootOptions]) -> Guest:
        key = options.get("release")
        try:
            if key in _WHY_NOT:
                raise _WHY_NOT[key]
            return boot_guest(on_start=remember, **options)
        except LabUnavailable as reason:
            _WHY_NOT[key] = reason
            _no_guest(reason)

    try:
        yield boot
    finally:
        for guest in mine:
            _GUESTS.remove(guest)
            guest.close()


@pytest.fixture
def boot() -> Iterator[Boot]:
    """Boot guests with options (see `Options`); all are closed at the test's end."""
    yield from _booter()


@pytest.fixture(scope="module")
def module_boot() -> Iterator[Boot]:
    """The same for guests that the tests of a module share."""
    yield from _booter()


@pytest.fixture
def guest(boot: Callable[[], Guest]) -> Guest:
    """One fresh guest with the default options."""
    return boot()


@pytest.fixture(scope="module")
def shared(module_boot: Boot) -> Guest:
    """One guest, with a named port, for all tests of a module that ask for `calm`."""
    return module_boot(port_id="channel0")


@pytest.fixture
def calm(shared: Guest) -> Iterator[Guest]:
    """The module's shared guest, put back to how it was after each test."""
    yield shared
    shared.calm_down()
    # A test that failed may have left its freeze to a holder, which thaws it now.
    wait_until(lambda: not clients(shared.agent_socket), PATIENCE_S, "its channel to be free")


@pytest.fixture(scope="module")
def libvirtd() -> Iterator[Libvirtd]:
    """A daemon of libvirt of our own, for all tests of a module."""
    try:
        if find_spec("libvirt") is None:
            raise LabUnavailable("guests under libvirt need its binding: .ci/setup packages")
        daemon = Libvirtd()
    except LabUnavailable as reason:
        _no_guest(reason)
    with daemon:
        yield daemon


@pytest.fixture(scope="module")
def sshd(libvirtd: Libvirtd) -> Iterator[Sshd]:
    """A daemon of ssh that leads to that of libvirt, for all tests of a module."""
    try:
        daemon = Sshd(libvirtd)
    except LabUnavailable as reason:
        _no_guest(reason)
    with daemon:
        yield daemon


@pytest.fixture(scope="module")
def shared_domain(libvirtd: Libvirtd) -> Iterator[DomainGuest]:
    """One guest under libvirt, for all tests of a module that ask for `calm_domain`."""
    with boot_domain(libvirtd, name="db1") as guest:
        _GUESTS.append(guest)
        yield guest
        _GUESTS.remove(guest)


@pytest.fixture
def calm_domain(shared_domain: DomainGuest) -> Iterator[DomainGuest]:
    """The module's guest under libvirt, put back to how it was after each test."""
    yield shared_domain
    shared_domain.calm_down()


@pytest.fixture
def client(calm: Guest) -> Iterator[RawClient]:
    """Somebody on the shared guest's agent channel, synchronised."""
    with RawClient(calm.agent_socket) as raw:
        raw.sync()
        yield raw


@pytest.fixture
def operator(calm: Guest) -> Iterator[Operator]:
    """Somebody with frostwatch and the module's shared guest, who may look at its monitor."""
    with Operator(calm) as somebody:
        yield somebody
