"""What each trouble does to the real freeze procedure, in virtual time and at its own pace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentclient.backends.drill.plan import make_guest
from agentclient.backends.drill.troubles import OF_OTHERS, PLAYED, REFREEZE_S, TROUBLES, Trouble
from agentclient.freeze.coverage import Coverage
from agentclient.model.events import EventKind
from agentclient.model.request import Schedule
from agentclient.model.states import Cause, OutcomeKind
from tests.unit import virtual_freeze as virtual
from tests.unit.drill_virtual import Drilled, drill_guest, virtual_freeze

GUESTS = Path(__file__).parents[1] / "guests"


def test_every_behaviour_was_seen_on_a_real_guest() -> None:
    assert set(TROUBLES) == set(Trouble)
    text = "\n".join(path.read_text() for path in sorted(GUESTS.glob("test_*.py")))
    there = set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))
    for trouble in PLAYED:
        assert TROUBLES[trouble].shown_by in there, trouble
    # No real agent answers so: it is what a guest might do that nobody may trust.
    assert [each for each in Trouble if TROUBLES[each].shown_by is None] == [Trouble.HUGE]


@pytest.mark.parametrize("trouble", Trouble)
def test_each_is_told_in_one_clause(trouble: Trouble) -> None:
    clause = TROUBLES[trouble].clause
    assert 10 < len(clause) <= 100
    assert clause[0].islower()
    assert clause[-1] != "."


@pytest.mark.parametrize(
    ("trouble", "seconds"),
    [(Trouble.FAST, 0.25), (Trouble.SLOW_HOOK, 25.2), (Trouble.SLOW_FLUSH, 40.2)],
)
def test_a_slow_freeze_is_certified_after_its_time(trouble: Trouble, seconds: float) -> None:
    freeze = virtual_freeze(trouble)
    outcome = freeze.run_out(step_s=0.05)
    assert (outcome.kind, outcome.certified) == (OutcomeKind.VERIFIED, True)
    assert (outcome.frozen, outcome.thawed) == (2, 2)
    assert outcome.seconds == pytest.approx(seconds, abs=0.5)


def test_a_flush_writes_until_the_guest_is_frozen_and_no_byte_after_it() -> None:
    freeze = virtual_freeze(Trouble.SLOW_FLUSH, schedule=Schedule(hold_s=60.0))
    freeze.run(39.0)
    assert freeze.procedure.freeze.watch.written_bytes == pytest.approx(39 * 3.5e6, rel=0.02)
    freeze.run(3.0)
    assert freeze.guest.frozen == {"vda1", "vdb1"}
    written = freeze.guest.view().written_bytes
    freeze.run(50.0)
    assert freeze.guest.view().written_bytes == written
    assert freeze.run_out().certified


def test_lost_is_known_at_once_and_thawed_when_a_person_starts_an_agent() -> None:
    freeze = virtual_freeze(Trouble.LOST)
    outcome = freeze.run_out(step_s=0.05)
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.AGENT_GONE)
    assert 3.0 < freeze.at(EventKind.VERDICT) < 4.0
    assert 33.0 < freeze.at(EventKind.OUTCOME) < 34.0
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (None, 0, True)


@pytest.mark.parametrize("look_every_s", [0.05, 0.25])
def test_respawned_is_lost_though_nobody_saw_the_port_closed(look_every_s: float) -> None:
    freeze = virtual_freeze(Trouble.RESPAWNED, look_every_s=look_every_s)
    outcome = freeze.run_out(step_s=0.05)
    assert outcome.kind is OutcomeKind.LOST
    assert outcome.cause in (Cause.AGENT_GONE, Cause.AGENT_RESTARTED)
    assert freeze.at(EventKind.VERDICT) < 4.0
    assert (outcome.thawed, outcome.settled) == (0, True)


def test_after_what_was_perhaps_a_reset_nothing_is_thawed_unasked() -> None:
    freeze = virtual_freeze(Trouble.RESET)
    outcome = freeze.run_out(step_s=0.05)
    assert (outcome.kind, outcome.cause) == (OutcomeKind.LOST, Cause.UNKNOWN)
    assert freeze.asked("guest-fsfreeze-thaw") == [], "after a reset there is nothing to thaw"
    assert outcome.settled


def test_half_frozen_is_partial_and_what_was_frozen_is_thawed() -> None:
    freeze = virtual_freeze(Trouble.HALF_FROZEN)
    freeze.run(5.0)
    assert freeze.guest.frozen == {"vdb1"}
    outcome = freeze.run_out(step_s=0.05)
    assert (outcome.kind, outcome.frozen, outcome.thawed) == (OutcomeKind.PARTIAL, None, 1)
    assert freeze.guest.frozen == set()


@pytest.mark.parametrize("trouble", [Trouble.FAILING_HOOK, Trouble.HOSTILE])
def test_a_failing_hook_freezes_nothing(trouble: Trouble) -> None:
    freeze = virtual_freeze(trouble)
    outcome = freeze.run_out(step_s=0.05)
    assert (outcome.kind, outcome.thawed, outcome.settled) == (OutcomeKind.FAILED, 0, True)
    assert "hook" in outcome.reason


def test_not_covered_freezes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = make_guest("db", 1, Trouble.NOT_COVERED).file_systems
    monkeypatch.setattr(virtual, "FILE_SYSTEMS", mounts)
    outcome = virtual_freeze(Trouble.NOT_COVERED).run_out(step_s=0.05)
    assert (outcome.kind, outcome.frozen) == (OutcomeKind.VERIFIED, 2)
    assert outcome.coverage == Coverage(mounts).text == "2 of 3"


@pytest.mark.parametrize(
    "trouble",
    [one for one in PLAYED if TROUBLES[one].freeze_behaviour.dies_s and one not in OF_OTHERS],
)
def test_it_strikes_again(trouble: Trouble) -> None:
    first = virtual_freeze(trouble)
    before = first.run_out(step_s=0.05)
    first.guest.advance(60.0)
    again = virtual.VirtualFreeze(first.guest).run_out(step_s=0.05)
    assert (again.kind, again.settled) == (before.kind, True)


def test_a_foreign_freeze_comes_back_a_minute_after_its_thaw() -> None:
    guest = Drilled(drill_guest(Trouble.FOREIGN)).truth
    assert (guest.flag, set(guest.disks.frozen)) == (True, {"vda1", "vdb1"})
    guest.receive(1.0, b'{"execute": "guest-fsfreeze-thaw"}\n')
    guest.advance(2.0)
    assert guest.take_output() == b'{"return": 2}\n'
    guest.advance(REFREEZE_S + 10.0)
    assert not guest.flag, "somebody is connected: it is left alone"
    guest.client_left(REFREEZE_S + 11.0)
    guest.advance(REFREEZE_S + 20.0)
    assert (guest.flag, set(guest.disks.frozen)) == (True, {"vda1", "vdb1"})
