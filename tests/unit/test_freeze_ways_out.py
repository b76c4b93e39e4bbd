"""A freeze whose holder, channel, agent or VM ends in the middle of it: somebody thaws (P4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentclient.access.access_pool import open_local
from agentclient.access.local_access import LocalAccess
from agentclient.access.stream import ConnectProblem
from agentclient.model.events import EventKind
from agentclient.model.instruction import Instruction
from agentclient.model.outcome import ThawOutcome
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Cause, FreezeState, OutcomeKind, Phase, RunState, Stuck
from agentclient.model.vm import AgentChannel, Process, Vm, VmId
from agentclient.operations import thaw
from agentclient.operations.context import OperationContext
from agentclient.protocol.qga_commands import FREEZE, THAW
from tests.unit.freeze_harness import FreezeHarness
from tests.unit.virtual_guest import VirtualGuest
from tests.unit.virtual_holder import PID, report


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> FreezeHarness:
    return FreezeHarness(monkeypatch)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> FreezeHarness:
    """A freeze whose hook takes 20 s."""
    return FreezeHarness(monkeypatch, VirtualGuest(hook_s=20.0))


# -- the holder -----------------------------------------------------------------------------


def test_a_holder_killed_in_the_hold_is_replaced_and_the_guest_thawed_at_once(
    harness: FreezeHarness,
) -> None:
    harness.when_held(1.0, harness.holder.die)
    outcome = harness.run()
    assert (outcome.settled, outcome.thawed, outcome.certified) == (True, 2, False)
    assert harness.took_s < 3.0
    assert harness.guest.frozen == set()
    assert len(harness.host.connects) == 1, "on the spare connection"
    words = [(word, number) for word, number, _ in harness.holder.said]
    assert words[3:] == [
        ("forget", 0), ("arm", 1), ("intend", 1), ("hold", 1), ("thaws", 1), ("disarm", 1),
    ]  # fmt: skip
    assert harness.holder.armed_as[1]["sent"] is True
    assert harness.holder.said[5][2]["sent"] is True


def test_a_holder_killed_with_a_pending_freeze_leaves_the_guest_to_nobody_else(
    slow: FreezeHarness,
) -> None:
    """No freeze is held without somebody who thaws: the thaw waits behind the freeze."""
    slow.host.after(5.0, slow.holder.die)
    outcome = slow.run()
    assert outcome.settled
    assert 20.0 <= slow.took_s < 25.0
    assert slow.guest.frozen == set()
    assert slow.host.asked(FREEZE) == 1


def test_where_no_holder_can_be_had_for_a_new_channel_it_goes_on_alone_and_tries_again(
    slow: FreezeHarness,
) -> None:
    def dies_and_none_comes() -> None:
        slow.holder.refusal = "no process can be started"
        slow.holder.die()

    slow.host.after(1.0, dies_and_none_comes)
    slow.host.after(8.0, lambda: setattr(slow.holder, "refusal", None))
    outcome = slow.run()
    assert outcome.settled
    assert slow.guest.frozen == set()
    alone = [text for text in slow.reporter.texts() if "nobody would thaw" in text]
    assert len(alone) == 1, "it is told once, though it is tried each 5 s"
    assert any("a holder stands by again" in text for text in slow.reporter.texts())
    assert slow.holder.words()[-1] == "disarm"
    assert slow.holder.armed.spare.fileno() == -1


@pytest.mark.parametrize("over", [True, False])
def test_a_holder_that_takes_over_in_the_hold_thaws_and_its_report_is_the_last_word(
    harness: FreezeHarness, over: bool
) -> None:
    harness.when_held(1.0, lambda: harness.holder.take("the console was silent", over=over))
    outcome = harness.run()
    assert (outcome.settled, outcome.thawed) == (True, 2)
    assert (outcome.kind is OutcomeKind.BROKEN) is not over
    assert harness.took_s < 2.5
    assert harness.host.asked(THAW) == 0, "we thaw nothing that another one thaws"
    assert any("the console was silent" in text for text in harness.reporter.texts())
    assert harness.holder.words()[-1] == "disarm"


def test_a_holder_that_dies_in_its_own_thaw_leaves_it_to_the_console(
    harness: FreezeHarness,
) -> None:
    def takes_and_dies() -> None:
        harness.holder.take("it was told to", thaws_in_s=None)
        harness.host.after(0.5, harness.holder.die)

    harness.when_held(1.0, takes_and_dies)
    outcome = harness.run()
    assert outcome.settled
    assert harness.guest.frozen == set()
    assert harness.host.asked(THAW) == 1
    assert harness.took_s < 4.0


def test_a_holder_whose_thaw_was_in_vain_keeps_the_guest(harness: FreezeHarness) -> None:
    found = report(settled=False, count=None, reason="the agent does not answer")
    harness.when_held(1.0, lambda: harness.holder.take("it was told to", found=found))
    outcome = harness.run()
    assert (outcome.settled, outcome.holder) == (False, PID)
    assert "the agent does not answer" in outcome.reason


@pytest.mark.parametrize("hurried", [True, False])
def test_a_holder_that_never_says_what_came_of_its_thaw_is_waited_for_within_a_bound(
    harness: FreezeHarness, hurried: bool
) -> None:
    harness.first_s, harness.probes, harness.thaw_s = 20.0, 0, 15.0
    harness.when_held(1.0, lambda: harness.holder.take("it was told to", thaws_in_s=None))
    if hurried:
        harness.host.after(3.0, lambda: harness.host.control.add(Instruction.GIVE_UP))
    outcome = harness.run()
    assert (outcome.settled, outcome.stuck) == (False, Stuck.SILENT)
    assert "THE GUEST MAY STILL BE FROZEN" in outcome.reason
    assert outcome.next
    bound_s = 3.0 if hurried else 20.0 + 2 * 15.0
    assert bound_s <= harness.took_s < bound_s + 1.0


# -- the channel, the agent and the VM ------------------------------------------------------


def test_a_channel_that_breaks_in_the_hold_is_opened_anew_and_the_guest_thawed(
    harness: FreezeHarness,
) -> None:
    harness.when_held(1.0, harness.holder.guests_end)
    outcome = harness.run()
    assert (outcome.settled, outcome.thawed, outcome.certified) == (True, 2, False)
    assert len(harness.host.connects) == 2
    assert harness.took_s < 3.0
    disarmed = [number for word, number, _ in harness.holder.said if word == "disarm"]
    assert disarmed == [0, 1]
    assert harness.holder.said[4][:2] == ("arm", 1), "armed before a byte is written to it"


def test_a_channel_that_can_not_be_had_again_is_tried_until_it_can(harness: FreezeHarness) -> None:
    def breaks() -> None:
        harness.host.refuse(ConnectProblem.QUEUE_FULL)
        harness.holder.guests_end()

    harness.when_held(1.0, breaks)
    harness.host.after(30.0, lambda: setattr(harness.host, "refusal", None))
    outcome = harness.run()
    assert outcome.settled
    assert 30.0 <= harness.took_s < 33.0
    assert harness.guest.frozen == set()


def test_nobody_connects_behind_another_client(harness: FreezeHarness) -> None:
    def breaks() -> None:
        harness.host.other_client = True
        harness.holder.guests_end()

    harness.when_held(1.0, breaks)
    harness.host.after(12.0, lambda: setattr(harness.host, "other_client", False))
    assert harness.run().settled
    assert harness.host.connects[1] >= harness.began_at + 12.0
    assert any("another client holds it" in one.waiting_for for one in harness.reporter.shown)


def test_a_vm_that_ends_in_the_hold_is_frozen_no_more(harness: FreezeHarness) -> None:
    harness.when_held(1.0, harness.host.leave)
    outcome = harness.run()
    assert (outcome.settled, outcome.cause) == (True, Cause.VM_GONE)
    assert harness.took_s < 3.0
    assert harness.host.asked(THAW) == 0


def test_an_agent_that_is_killed_while_it_freezes_is_presumed_lost_within_a_second(
    slow: FreezeHarness,
) -> None:
    slow.host.after(5.0, lambda: slow.guest.kill(lose_unread=True))
    slow.host.after(30.0, slow.guest.respawn)
    outcome = slow.run()
    assert outcome.kind is OutcomeKind.LOST
    assert outcome.settled
    lost = next(one for one in slow.reporter.shown if one.verdict is not None)
    assert lost.phase is Phase.THAWING
    assert slow.took_s >= 30.0, "it is thawed by the next agent"


def test_what_outlasts_every_bound_is_left_to_the_holder(harness: FreezeHarness) -> None:
    harness.guest.hook_s = 1e6
    harness.first_s, harness.probes, harness.thaw_s = 10.0, 1, 15.0
    outcome = harness.run()
    assert (outcome.kind, outcome.settled) == (OutcomeKind.TIMEOUT, False)
    assert outcome.holder == PID
    assert 35.0 <= harness.took_s < 40.0
    assert harness.holder.words()[-1] == "take"
    assert harness.reporter.states[-1] == (None, False)


def test_what_nobody_takes_over_is_told_to_a_person(harness: FreezeHarness) -> None:
    harness.guest.hook_s = 1e6
    harness.first_s, harness.probes, harness.thaw_s = 10.0, 0, 15.0
    harness.holder.never_acknowledges = True
    outcome = harness.run()
    assert (outcome.settled, outcome.holder) == (False, None)
    (loud,) = [text for text in harness.reporter.texts() if "NOBODY STANDS BY" in text]
    assert "frostwatch thaw" in loud
    assert harness.reporter.texts()[-1] == loud


def test_a_flood_ends_the_wait(harness: FreezeHarness) -> None:
    """Where no answer could be heard any more, nobody is to be kept frozen."""
    harness.guest.hook_s = 5.0
    harness.host.after(1.0, lambda: harness.guest.outbox.extend(b"x" * 9 * 1024 * 1024))
    outcome = harness.run()
    assert outcome.settled
    assert not outcome.certified
    assert harness.guest.frozen == set()
    assert harness.took_s < 7.0


def test_a_console_that_was_stopped_goes_on_where_the_clock_is(harness: FreezeHarness) -> None:
    """Its holder has taken over at the hold's end; no second thaw is sent."""
    stopped: list[float] = []

    def stop() -> None:
        stopped.append(harness.host.now)
        harness.host.after(4.25, lambda: harness.holder.take("it was silent", over=True))
        harness.host.sleep(60.0)

    harness.when_held(1.0, stop)
    outcome = harness.run()
    assert (outcome.settled, outcome.thawed) == (True, 2)
    assert harness.host.asked(THAW) == 0
    assert harness.host.now - stopped[0] < 61.0


# -- migration ------------------------------------------------------------------------------

TARGET = Vm(VmId("qemu", "db1"), AgentChannel(Path("/run/target.qga")), process=Process(12, 34))
THAWED = ThawOutcome(TARGET.id, FreezeState.THAWED, 2, False, "thawed 2 there", 0.5)


class Migrations:
    """A guest that migrates away in its hold, and what is found of it."""

    def __init__(self, harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        self.searches: list[float] = []
        self.listed_at = float("inf")
        self.thawed = THAWED
        self.thaws: list[dict[str, Any]] = []
        self.harness = harness
        harness.host.monitor.uuid = "ab-cd"
        monkeypatch.setattr(harness.access, "successor", self._find)
        monkeypatch.setattr(thaw, "ThawOperation", self._thaw)

    def migrate(self) -> None:
        self.harness.host.unseen = MonitorView(RunState.MIGRATED)
        self.harness.holder.guests_end()
        self.harness.host.refuse()

    def _find(self, uuid: str | None) -> LocalAccess | None:
        assert uuid == "ab-cd"
        self.searches.append(self.harness.host.now)
        return open_local(TARGET) if self.harness.host.now >= self.listed_at else None

    def _thaw(self, context: OperationContext, **more: Any) -> Migrations:
        assert (context.vm, context.access.vm) == (TARGET, TARGET)
        self.thaws.append(more)
        return self

    def run(self) -> ThawOutcome:
        return self.thawed


@pytest.fixture
def migrations(harness: FreezeHarness, monkeypatch: pytest.MonkeyPatch) -> Migrations:
    return Migrations(harness, monkeypatch)


def test_a_guest_that_has_migrated_on_this_host_is_thawed_there(
    harness: FreezeHarness, migrations: Migrations
) -> None:
    migrations.listed_at = harness.began_at + 3.0
    harness.when_held(1.0, migrations.migrate)
    outcome = harness.run()
    assert (outcome.settled, outcome.thawed, outcome.cause) == (True, 2, Cause.MIGRATED)
    assert "it runs on this host now, as qemu:db1 (pid 12); thawed 2 there" in outcome.reason
    (more,) = migrations.thaws
    assert more["ours"] is True
    assert "foreign" not in more
    assert more["told_as"] is EventKind.NOTE, "the freeze says the last word"
    assert harness.reporter.kinds().count(EventKind.OUTCOME) == 1


def test_a_guest_that_is_found_nowhere_is_looked_for_within_a_bound(
    harness: FreezeHarness, migrations: Migrations
) -> None:
    harness.when_held(1.0, migrations.migrate)
    outcome = harness.run()
    assert (outcome.settled, outcome.cause) == (False, Cause.MIGRATED)
    assert outcome.stuck is Stuck.MIGRATED
    assert 5.0 <= migrations.searches[-1] - migrations.searches[0] < 5.5
    assert migrations.thaws == []
    assert harness.holder.words()[-1] == "take", "what is not settled is not let go"


def test_a_thaw_in_vain_where_it_runs_now_is_told_with_the_command_for_there(
    harness: FreezeHarness, migrations: Migrations
) -> None:
    migrations.listed_at = 0.0
    migrations.thawed = THAWED._replace(state=None, thawed=None, reason="it is silent")
    harness.when_held(1.0, migrations.migrate)
    outcome = harness.run()
    assert (outcome.settled, outcome.stuck) == (False, Stuck.MIGRATED)
    assert outcome.next == "frostwatch thaw --foreign qemu:db1"


def test_a_vm_that_has_ended_is_looked_for_once(
    harness: FreezeHarness, migrations: Migrations
) -> None:
    """Its end may have been that of a migration which nobody saw; it is not waited for."""
    harness.when_held(1.0, harness.host.leave)
    outcome = harness.run()
    assert (outcome.settled, outcome.cause) == (True, Cause.VM_GONE)
    assert len(migrations.searches) == 1
