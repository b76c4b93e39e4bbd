"""Guests of a drill whose channel others hold: what their monitor shows, to those who watch it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, cast

import pytest

from agentclient.access.local_access import holders_of
from agentclient.backends.drill.backend import DrillBackend
from agentclient.backends.drill.guest import DrillGuest
from agentclient.backends.drill.others_client import AGAIN_S, OTHERS, clients_of
from agentclient.backends.drill.troubles import OF_OTHERS, Trouble
from agentclient.freeze.others_watch import OthersEventKind, OthersWatch
from agentclient.model.others_freeze import Grade, graded_of
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, OthersState, RunState
from agentclient.protocol import qemu_port as port
from tests.drilled import drill_of
from tests.unit.drill_virtual import DEVICE, ask, drill_guest

STATUS = b'{"execute": "guest-fsfreeze-status"}\n'


class Watched:
    """A guest that is looked at four times a second, as a held channel is."""

    def __init__(self, trouble: Trouble) -> None:
        self.guest = drill_guest(trouble)
        self.now = 0.25
        self.watch = OthersWatch(self.look(), self.now)
        self.client = True
        self.seen: list[tuple[float, OthersEventKind]] = []

    def look(self) -> MonitorView:
        chardevs, control, element, receive, transmit = ask(
            self.guest,
            self.now,
            ("query-chardev", {}),
            ("x-query-virtio-queue-status", {"path": DEVICE, "queue": 3}),
            ("x-query-virtio-queue-element", {"path": DEVICE, "queue": 4, "index": 0}),
            ("x-query-virtio-queue-status", {"path": DEVICE, "queue": 4}),
            ("x-query-virtio-queue-status", {"path": DEVICE, "queue": 5}),
        )
        chardev = port.chardevs(chardevs)[0]
        return MonitorView(
            RunState.RUNNING,
            port_open=chardev.open,
            client=chardev.client,
            openings=port.queue_index(control, "used-idx"),
            reads=port.index_of_reads(element),
            traffic=port.traffic(element, receive, transmit),
        )

    def until(self, end: float) -> list[tuple[float, OthersEventKind]]:
        """Look until then; return what was seen, and when."""
        before = len(self.seen)
        while self.now < end and self.client:
            self.now += 0.25
            events = self.watch.on_look(self.now, self.look())
            self.client = all(event.kind is not OthersEventKind.LEFT for event in events)
            self.seen += [(event.at, event.kind) for event in events]
        return self.seen[before:]


def accepts(guest: DrillGuest) -> bool:
    return guest.accepts


def status_of(guest: DrillGuest, now: float) -> bytes:
    guest.client_came(now)
    guest.receive(now, STATUS)
    said = guest.take_output()
    guest.client_left(now)
    return said


def test_a_stuck_backup_is_pending_for_an_hour_and_leaves_its_freeze_behind() -> None:
    watched = Watched(Trouble.BACKUP_STUCK)
    (first,) = watched.until(1000.0)
    assert first[1] is OthersEventKind.PENDING
    assert first[0] < 5.0
    assert watched.watch.certain, "a status is queued behind it after 10 min"
    assert not accepts(watched.guest)
    (left,) = watched.until(3700.0)
    assert left[1] is OthersEventKind.LEFT
    assert accepts(watched.guest)
    assert b"frozen" in status_of(watched.guest, 3701.0), "what they sent runs on without them"


def test_a_lost_backup_waits_on_and_comes_again() -> None:
    watched = Watched(Trouble.BACKUP_LOST)
    pending, lost = watched.until(60.0)
    assert (pending[1], lost[1]) == (OthersEventKind.PENDING, OthersEventKind.LOST)
    assert 23.0 <= lost[0] < 24.0
    assert watched.watch.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    watched.until(599.0)
    assert watched.watch.state is OthersState.LOST
    assert not accepts(watched.guest)
    leaves = OTHERS[Trouble.BACKUP_LOST].leaves_s
    watched.until(leaves + 2.0)
    assert accepts(watched.guest)
    assert b"thawed" in status_of(watched.guest, leaves + 3.0)
    again = Watched(Trouble.BACKUP_LOST)
    again.guest.advance(leaves + AGAIN_S + 1.0)
    assert not accepts(again.guest)


def test_a_killed_backup_leaves_it_frozen_and_comes_again_after_a_thaw() -> None:
    watched = Watched(Trouble.BACKUP_LEFT)
    kinds = [kind for _, kind in watched.until(14.0)]
    assert kinds == [OthersEventKind.PENDING, OthersEventKind.ANSWERED, OthersEventKind.LEFT]
    guest = watched.guest
    assert accepts(guest)
    assert b"frozen" in status_of(guest, 15.0)
    guest.advance(1000.0)
    assert accepts(guest), "it waits for a thaw"
    guest.client_came(1001.0)
    guest.receive(1001.0, b'{"execute": "guest-fsfreeze-thaw"}\n')
    guest.advance(1002.0)
    guest.client_left(1002.0)
    assert not guest.flag
    guest.advance(1020.0 + AGAIN_S)
    assert guest.flag


def test_who_is_served_is_not_pushed_away_by_them() -> None:
    guest = drill_guest(Trouble.BACKUP_LEFT)
    guest.advance(14.0)
    guest.client_came(14.0)
    guest.receive(14.0, b'{"execute": "guest-fsfreeze-thaw"}\n')
    guest.advance(500.0)
    assert accepts(guest)
    assert b"return" in guest.take_output()
    assert not guest.flag
    guest.client_left(500.0)
    guest.advance(520.0 + AGAIN_S)
    assert guest.flag


@pytest.mark.parametrize("trouble", OF_OTHERS)
def test_they_look_like_a_task_of_proxmox_that_freezes(trouble: Trouble) -> None:
    with drill_of({"a": trouble, "b": Trouble.FAST}) as drill:
        backend = DrillBackend(drill)
        first, second = (cast(Any, backend.open(vm, cast(Any, None))) for vm in drill.vms)
        held = first.holders()
        assert held is not None
        assert held.client is not None
        assert held.client.short == "vzdump"
        assert held.client.asked_by == "root@pam"
        assert graded_of(held.client, None).grade is Grade.LIKELY
        assert not Path(f"/proc/{held.client.pid}").exists(), "nobody ends a real process for it"
        found = holders_of([first, second])
        assert found[first.vm.id] == held
        assert found[second.vm.id].client is None
    assert not clients_of(Trouble.FAST)


def test_whoever_waits_is_served_when_they_have_left() -> None:
    with drill_of({"a": Trouble.BACKUP_LEFT}, speed=20.0) as drill:
        agent = drill.vms[0].agent
        assert agent is not None
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.settimeout(60.0)
            waiting.connect(str(agent.path))
            waiting.sendall(STATUS)
            assert b"frozen" in waiting.recv(4096)
