"""Guests in the hands of another frostwatch: by the journal, and by the holder's process."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.host.other_holders import HOLDER, seen_among
from agentclient.access.host.socket_clients import Client
from agentclient.fleet.health import looked, may_ask
from agentclient.journal.held_by_others import HeldGuest, held_by, held_guest
from agentclient.journal.identity import own_identity
from agentclient.model.snapshot import (
    AgentHealth,
    FreezeInfo,
    HeldBy,
    LeftBy,
    MonitorView,
    Progress,
    VmState,
)
from agentclient.model.states import AgentState, FreezeState, Phase, RunState
from agentclient.model.vm import AgentChannel, Process, Vm, VmId

AT = datetime(2026, 3, 1, 17, 20, 0, tzinfo=UTC)
TAKEN = MonitorView(RunState.RUNNING, port_open=True, client=True)
FREE = TAKEN._replace(client=False)
ASKED = {"hold_s": 355.0, "first_timeout_s": 600.0, "probe_timeout_s": 300.0, "probes": 2}


def row(**more: Any) -> dict[str, Any]:
    moments = ("sent", "replied", "thaw_sent", "thawed", "ended")
    times = {f"{name}_{kind}": None for name in moments for kind in ("at", "s")}
    who = own_identity()
    begun = {"id": 7, "kind": "freeze", "pid": who.process.pid, "ticks": who.process.start_ticks,
             "user": "root", "host": who.host, "boot": who.boot,
             "holder_pid": None, "holder_ticks": None,
             "vm_pid": None, "vm_ticks": None, "socket": "1:2:3",
             "request": json.dumps(ASKED), "hold_s": None, "mono": None}  # fmt: skip
    return begun | times | more


def found(**more: Any) -> HeldBy | None:
    one = held_guest(row(**more))
    return one.by if one is not None else None


def told(held: HeldBy | None) -> tuple[FreezeState | None, datetime | None, datetime | None]:
    assert held is not None
    return held.state, held.since, held.until


def test_what_a_window_says_about_its_guest_now() -> None:
    sent, replied = AT.isoformat(), (AT + timedelta(seconds=5)).isoformat()
    assert found() is None, "nothing was sent"
    longest = AT + timedelta(seconds=600 + 2 * 300)
    assert told(found(sent_at=sent)) == (FreezeState.FREEZING, AT, longest)
    frozen = told(found(sent_at=sent, replied_at=replied))
    assert frozen == (FreezeState.FROZEN, AT + timedelta(seconds=5), AT + timedelta(seconds=360))
    thawing = {"sent_at": sent, "replied_at": replied, "thaw_sent_at": replied}
    assert told(found(**thawing))[0] is FreezeState.THAWING
    assert found(**thawing, thawed_at=replied) is None, "it is over, but for the writing down"
    alone = found(kind="thaw", thaw_sent_at=replied, request="{}")
    assert told(alone)[0] is FreezeState.THAWING


def test_who_is_not_known_to_live_is_at_work_on_nothing() -> None:
    sent = {"sent_at": AT.isoformat()}
    for unknown in ({"host": "elsewhere"}, {"ticks": 1}, {"boot": "of before"}):
        assert found(**sent, **unknown) is None
    who = own_identity().process
    holder = {"holder_pid": who.pid, "holder_ticks": who.start_ticks}
    for dead in ({"ticks": 1}, {"ended_at": AT.isoformat()}):
        held = found(**sent, **holder, **dead)
        assert held is not None
        assert (held.holder, held.ended) == (who.pid, True)


def test_a_window_that_was_left_is_held_by_its_holder_until_its_end() -> None:
    who = own_identity().process
    frozen = {"sent_at": AT.isoformat(), "replied_at": AT.isoformat(), "key": "k1", "kept": 1,
              "ended_at": AT.isoformat(), "hold_s": 60.0,
              "holder_pid": who.pid, "holder_ticks": who.start_ticks}  # fmt: skip
    held = found(**frozen)
    assert held is not None
    assert (held.kept, held.ended, held.key) == (True, True, "k1")
    assert held.until == AT + timedelta(seconds=60)
    assert not held.is_waited_for(0), "it thaws at its end, and not before"
    assert str(held).endswith(f" until 17:21:00, left to its holder (pid {who.pid})")
    thawing = found(**frozen, thaw_sent_at=AT.isoformat())
    assert thawing is not None
    assert not thawing.kept
    assert found(**{**frozen, "holder_ticks": 1}) is None


def test_a_window_that_cannot_be_read_has_no_end_that_is_known() -> None:
    for request in ("{", "[]", "null", '{"hold_s": "x"}'):
        assert told(found(sent_at=AT.isoformat(), request=request))[2] is None


def test_a_hold_that_was_extended_ends_later() -> None:
    frozen = {"sent_at": AT.isoformat(), "replied_at": AT.isoformat()}
    assert told(found(**frozen, hold_s=400.0))[2] == AT + timedelta(seconds=400)


def test_which_vm_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "web.qga"
    path.touch()
    by = HeldBy(1316, "root")
    web = Vm(VmId("qemu", "web"), AgentChannel(path), process=Process(4711, 1))
    same = HeldGuest("another", Process(4711, 1), by)
    later = HeldGuest("another", Process(4711, 2), by)
    assert held_by(web, [later]) is None
    assert held_by(web, [later, same]) is by
    unknown = HeldGuest(None, None, by)
    assert held_by(Vm(VmId("qemu", "x")), [unknown]) is None


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (
            HeldBy(1316, "root", FreezeState.FROZEN, AT, AT),
            "frozen by root (pid 1316) until 17:20:00",
        ),
        (
            HeldBy(1316, "root", FreezeState.FREEZING, AT, AT),
            "freezing by root (pid 1316) until 17:20:00 at the most",
        ),
        (HeldBy(1316, "root", FreezeState.THAWING), "thawing by root (pid 1316)"),
        (
            HeldBy(1316, "root", holder=1320),
            "frozen or freezing by root (pid 1316), until when isn't known",
        ),
        (
            HeldBy(1316, "root", FreezeState.FROZEN, holder=1320, ended=True),
            "frozen by root (pid 1316), which has ended; its holder (pid 1320) thaws it",
        ),
    ],
)
def test_it_says_whose_it_is_and_until_when(held: HeldBy, words: str) -> None:
    assert str(held) == words


def test_the_holders_process_tells_it_where_the_journal_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "1320"
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"python\0-c\0boot\0/lib\x005\x001316\0")
    waits, serves = Client(9, HOLDER, waiting=True), Client(1320, HOLDER, waiting=False)
    assert seen_among([Client(7, "qm", waiting=False), waits], tmp_path) is None
    held = seen_among([serves], tmp_path)
    assert held is not None
    assert (held.pid, held.holder, held.state, held.ended) == (1316, 1320, None, True)
    (tmp_path / "1316").mkdir()
    held = seen_among([serves], tmp_path)
    assert held is not None
    assert not held.ended
    (folder / "cmdline").write_bytes(b"python\0")
    assert seen_among([serves], tmp_path) is None


HELD = HeldBy(1316, "root", FreezeState.FROZEN, AT, AT, 1320, window=7)
WEB = VmState(Vm(VmId("qemu", "web"), AgentChannel(Path("/x"))), agent=AgentHealth(AgentState.BUSY))


def test_the_state_is_what_the_other_has_made_of_it() -> None:
    state = WEB.with_held_by(HELD)
    assert state.freeze == FreezeInfo(FreezeState.FROZEN, AT, foreign=False)
    assert looked(TAKEN, AT, has_monitor=True)(state).freeze == state.freeze
    assert not may_ask(state, FREE)
    over = state.with_held_by(None)
    assert (over.freeze, over.held_by) == (FreezeInfo(), None)
    assert may_ask(over, FREE)


def test_what_is_known_better_stays() -> None:
    ours = WEB._replace(progress=Progress("freeze", Phase.PENDING, "x", 0.0))
    assert ours.with_held_by(HELD) == ours
    thawed = WEB.with_held_by(HELD)._replace(freeze=FreezeInfo(FreezeState.THAWED, AT))
    assert thawed.with_held_by(None).freeze.state is FreezeState.THAWED
    left = WEB._replace(left=LeftBy(1, 2, "root", AT), freeze=FreezeInfo(FreezeState.FROZEN, AT))
    assert left.with_held_by(None) == left


def test_where_its_holder_alone_was_seen_it_ends_with_the_holding() -> None:
    state = WEB.with_held_by(HeldBy(1316, "root", holder=1320))
    assert looked(TAKEN, AT, has_monitor=True)(state).held_by is not None
    assert looked(FREE, AT, has_monitor=True)(state).held_by is None
