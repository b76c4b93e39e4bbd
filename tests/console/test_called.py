"""The console on VMs that are reached by calls, in memory: no socket, no descriptor, no process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentclient.access.access_pool import AccessPool
from agentclient.backends.base import Backends
from agentclient.fleet.store import Fleet
from agentclient.fleet.watcher import Watcher
from agentclient.journal.writer import Journal
from agentclient.model.events import EventKind
from agentclient.model.states import Cause, FreezeState, OutcomeKind
from tests.console.console_session import LARGE
from tests.console.test_drill import Console
from tests.drilled import Ready
from tests.unit.holder_thread import HolderThread
from tests.unit.journals import add_event, begin, number, of_a_dead_process, rows
from tests.unit.memory_backend import MemoryBackend
from tui.console.app import FrostwatchApp


@asynccontextmanager
async def sitting(backend: MemoryBackend, journal: Journal | None = None) -> AsyncIterator[Console]:
    """Open the console on a backend's VMs."""
    fleet, accesses = Fleet(), AccessPool(Backends([backend]))
    watcher = Watcher(
        fleet, accesses, [backend], port_interval_s=0.2, agent_interval_s=0.5, journal=journal
    )
    operations = Ready(fleet, accesses, holder=HolderThread(), journal=journal)
    app = FrostwatchApp(fleet, operations, watcher, read_only=False, interval_s=0.5)
    try:
        watcher.list_first()
        async with app.run_test(size=LARGE) as pilot:
            console = Console(app, pilot, fleet)
            await console.until(lambda: len(app.view.rows) == len(backend.guests))
            yield console
    finally:
        operations.stop(2.0)
        watcher.stop()
        accesses.close()


async def test_it_is_listed_visited_frozen_and_thawed_by_its_keys() -> None:
    backend = MemoryBackend("db1", "web1")
    for guest in backend.guests.values():
        guest.freezable = True
    async with sitting(backend) as console:
        await console.until(lambda: "alive" in console.screen)
        await console.until(lambda: console.state("db1").freeze.state is FreezeState.THAWED)
        await console.freeze("db1")
        await console.until(lambda: console.state("db1").last is not None)
        last = console.state("db1").last
        assert last is not None
        assert (last.kind, last.thawed, last.settled) == (OutcomeKind.VERIFIED, 2, True)
        assert not backend.guests["db1"].frozen
        await console.until(lambda: "certified" in console.screen)
        assert backend.guests["web1"].called == [], "nobody has asked anything of the other one"


async def test_what_somebody_else_froze_is_foreign_and_asked_about_before_it_is_thawed() -> None:
    backend = MemoryBackend("db1")
    guest = backend.guests["db1"]
    guest.freezable = guest.frozen = True
    async with sitting(backend) as console:
        await console.until(
            lambda: "◈ foreign: frozen" in console.screen
        )  # a key means what is seen
        await console.choose("db1")
        await console.pilot.press("t")
        await console.until(lambda: bool(console.dialog))
        await console.pilot.press("enter")  # the default leaves it
        assert guest.frozen, "a person decides"
        await console.pilot.press("t", "right", "enter")
        await console.until(lambda: not guest.frozen)
        await console.until(lambda: console.state("db1").freeze.state is FreezeState.THAWED)


async def test_what_a_dead_frostwatch_has_left_is_found_and_thawed_as_ours(tmp_path: Path) -> None:
    backend, path = MemoryBackend("db1"), tmp_path / "journal.db"
    guest = backend.guests["db1"]
    guest.freezable = guest.frozen = True
    journal = Journal(path)
    entry = begin(journal, guest.vm)
    entry.armed()
    add_event(entry, guest.vm, EventKind.SENT)
    add_event(entry, guest.vm, EventKind.REPLY, frozen=2)
    of_a_dead_process(path, number(journal, entry))
    async with sitting(backend, journal) as console:
        await console.until(lambda: console.state("db1").left_by is not None)
        assert not console.state("db1").freeze.foreign
        await console.choose("db1")
        await console.pilot.press("t", "enter")
        await console.until(lambda: not guest.frozen)
        await console.until(lambda: console.state("db1").freeze.state is FreezeState.THAWED)
    assert all(row.settled for row in rows(journal))
    journal.close()


async def test_an_agent_that_dies_in_its_call_is_lost_on_the_screen() -> None:
    backend = MemoryBackend("db1")
    guest = backend.guests["db1"]
    guest.freezable, guest.dies = True, Cause.AGENT_GONE
    async with sitting(backend) as console:
        await console.until(lambda: console.state("db1").freeze.state is FreezeState.THAWED)
        await console.freeze("db1")
        await console.until(lambda: guest.called.count("guest-fsfreeze-freeze") == 1)
        await console.until(lambda: "✗ lost" in console.screen)
        guest.dies, guest.agent = None, True  # somebody has started another one
        await console.until(lambda: console.state("db1").progress is None)
        last = console.state("db1").last
        assert last is not None
        assert (last.kind, last.settled) == (OutcomeKind.LOST, True)
        assert last.cause is Cause.AGENT_GONE


async def test_a_vm_about_which_nothing_is_known_is_not_called_well() -> None:
    backend = MemoryBackend("db1")
    guest = backend.guests["db1"]
    guest.agent, guest.unknown = False, True
    async with sitting(backend) as console:
        await console.until(lambda: "closed" in console.screen)
        assert console.state("db1").freeze.state is None
        assert "thawed" not in console.screen
