"""The shell around the machines writes, reads, looks and waits for them, each within its bound."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentclient.access.guest_link import NOT_SHOWN
from agentclient.access.presence import NOBODY_S
from agentclient.access.stream import ConnectProblem
from agentclient.freeze.effects import Resync, Send, Tell
from agentclient.holder import care
from agentclient.holder.care import Care
from agentclient.model.events import EventKind
from agentclient.model.request import Instruction
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import Level, RunState
from agentclient.operations import driver
from agentclient.operations.driver import (
    CLOSE_LOOKS_A_SECOND,
    LEAVING_S,
    LONGEST_WAIT_S,
    LOOK_AGAIN_S,
    LOOK_S,
    CloseLooks,
    Driver,
    Round,
)
from agentclient.protocol.qga_commands import FREEZE, STATUS, THAW
from agentclient.protocol.qga_events import Dropped, Reply, Synced
from tests.unit.virtual_guest import VirtualGuest
from tests.unit.virtual_holder import VirtualHolder
from tests.unit.virtual_host import VirtualHost, VirtualLink, VirtualReporter

FAR = 1e9
SLOWLY = 5.0


class Stage:
    """A driver of a conversation with a virtual guest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, monitor: bool = True) -> None:
        self.host = VirtualHost(VirtualGuest())
        self.host.live_in(monkeypatch, driver, care)
        self.reporter = VirtualReporter()
        self.link = VirtualLink(self.host, monitor=monitor)
        self.conversation = self.host.conversation()
        self.began_at = self.host.now
        self.before_thaw: list[int] = []
        self.driver = self.drive()

    def drive(self, keeps: Care | None = None) -> Driver:
        return Driver(
            self.link,
            self.conversation,
            self.host.control,
            self.reporter,
            keeps,
            before_thaw=lambda: self.before_thaw.append(self.host.asked(THAW)),
        )

    def guarded(self) -> VirtualHolder:
        """Have a holder pass on what is said, and a freeze sent."""
        holder = VirtualHolder(self.host)
        keeps = Care(holder, self.link.vm, 60.0, None, self.reporter.tell)
        self.conversation.divert(keeps.begin(self.conversation.channel))
        keeps.intend(bound_s=100.0, hold_s=10.0)
        keeps.sent = True
        self.driver = self.drive(keeps)
        return holder

    def round(
        self, for_s: float = FAR, every_s: float = SLOWLY, *, look_now: bool = False
    ) -> Round:
        return self.driver.round(self.host.now + for_s, every_s, look_now=look_now)

    def ask(self, command: str) -> int:
        ticket = self.conversation.ticket()
        self.driver.perform([Send(ticket, command)])
        return ticket

    def breaks(self) -> Round:
        self.host.cut()
        return self.round()

    @property
    def took_s(self) -> float:
        return self.host.now - self.began_at


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A VM without a monitor."""
    return Stage(monkeypatch, monitor=False)


# -- writing --------------------------------------------------------------------------------


def test_what_a_machine_asks_is_told_written_and_answered(stage: Stage) -> None:
    tell = Tell(EventKind.NOTE, Level.INFO, "a word")
    sync, status = stage.conversation.ticket(), stage.conversation.ticket()
    stage.driver.perform([tell, Resync(sync), Send(status, STATUS)])
    assert stage.reporter.told == [tell]
    heard = [event for event in stage.round().heard if not isinstance(event, Dropped)]
    assert heard == [Synced(sync), Reply(status, "thawed")]


def test_whoever_thaws_in_our_place_hears_of_our_thaw_before_it_is_written(stage: Stage) -> None:
    stage.ask(FREEZE)
    stage.ask(STATUS)
    assert stage.before_thaw == []
    stage.ask(THAW)
    assert stage.before_thaw == [0]
    assert stage.host.asked(THAW) == 1


def test_arguments_are_written_with_their_command(stage: Stage) -> None:
    mounts = {"mountpoints": ["/a"]}
    stage.driver.perform([Send(stage.conversation.ticket(), "guest-fsfreeze-freeze-list", mounts)])
    assert b'"mountpoints":["/a"]' in stage.host.sent[-1]


@pytest.mark.parametrize("sync", [True, False])
def test_a_guest_that_does_not_read_is_told_of_and_the_channel_kept(
    stage: Stage, sync: bool
) -> None:
    stage.host.stalled = True
    ticket = stage.conversation.ticket()
    stage.driver.perform([Resync(ticket) if sync else Send(ticket, THAW)])
    (note,) = stage.reporter.told
    assert note.level is Level.WARNING
    assert ("a sync" if sync else THAW) in note.text
    assert stage.took_s == pytest.approx(2.0), "within the time that a write may take"
    assert stage.driver.connected
    stage.host.stalled = False
    assert stage.round(1.0).ended is None


def test_a_write_that_fails_shows_in_the_next_round(stage: Stage) -> None:
    stage.host.cut()
    stage.ask(STATUS)
    assert not stage.driver.connected
    stage.ask(THAW)
    assert stage.host.asked(THAW) == 0, "nothing is written to what has ended"
    assert stage.round().ended == "broken pipe"


def test_closed_it_closes_the_conversation(stage: Stage) -> None:
    stage.driver.close()
    assert stage.conversation.channel.fileno() == -1


# -- waiting --------------------------------------------------------------------------------


def test_a_round_ends_when_the_machine_wants_its_tick(stage: Stage) -> None:
    assert stage.round(0.5).heard == []
    assert stage.took_s == pytest.approx(0.5)


def test_a_round_ends_in_a_second_whatever_is_waited_for(blind: Stage) -> None:
    blind.round()
    assert blind.took_s == pytest.approx(LONGEST_WAIT_S)


def test_a_tick_that_is_overdue_does_not_wait(stage: Stage) -> None:
    """After a stop of ours the clock is far beyond it."""
    stage.driver.round(stage.host.now - 100.0, SLOWLY)
    assert stage.took_s == 0.0


@pytest.mark.parametrize("instruction", [Instruction.CANCEL, Instruction.END_HOLD])
def test_what_the_operator_asks_ends_the_wait_at_once(
    stage: Stage, instruction: Instruction
) -> None:
    stage.host.after(0.3, lambda: stage.host.control.add(instruction))
    assert stage.round().instructions == [instruction]
    assert stage.took_s < 0.32
    assert stage.round(0.1).instructions == [], "each is taken once"


def test_an_answer_ends_the_wait_at_once(stage: Stage) -> None:
    stage.host.after(0.4, lambda: stage.ask(STATUS))
    assert stage.round().heard
    assert stage.took_s < 0.43


def test_a_guest_that_floods_is_read_slowly_and_that_is_told(stage: Stage) -> None:
    """Nothing but noise: it must not keep us from anything else (P7)."""
    stage.host.guest.outbox += b"x" * (9 << 20)
    flooded = stage.round()
    assert flooded.flood is not None
    stage.host.guest.outbox += b"more"
    at = stage.host.now
    stage.round(0.04)
    assert stage.host.guest.outbox, "not read before a pause"
    stage.round(0.1)
    stage.round(0.1)
    assert stage.host.guest.outbox == b""
    assert stage.host.now - at < 0.3


def test_an_answer_is_read_before_what_ends_the_pause_of_a_flood(stage: Stage) -> None:
    stage.host.guest.outbox += b"x" * (9 << 20)
    stage.round()
    stage.host.after(0.01, lambda: stage.host.control.add(Instruction.CANCEL))
    stage.host.guest.outbox += b"y"
    assert stage.round(1.0).instructions == [Instruction.CANCEL], "the operator is heard in it"


def test_a_line_that_does_not_end_is_told_once(stage: Stage) -> None:
    stage.host.guest.outbox += b'{"return": '
    stage.round(0.1)
    assert stage.round(0.5).heard == []
    (dropped,) = stage.round(1.0).heard
    assert isinstance(dropped, Dropped)
    assert "a line without an end for 1 s" in dropped.text
    assert stage.round(1.0).heard == []
    stage.round(1.0)
    assert stage.round(1.0).heard == []


def test_a_line_that_ends_in_time_is_not_told(stage: Stage) -> None:
    stage.host.guest.outbox += b'{"return": '
    stage.round(0.1)
    stage.host.guest.outbox += b"1}\n"
    stage.round(0.1)
    stage.host.sleep(2.0)
    assert not any("without an end" in str(event) for event in stage.round(0.5).heard)


# -- looking --------------------------------------------------------------------------------


def test_the_monitor_is_looked_at_as_often_as_is_wanted(stage: Stage) -> None:
    while stage.took_s < 2.0:
        stage.round(1.0, 0.25)
    assert 7 <= len(stage.host.monitor.looks) <= 8


def test_a_conclusion_that_waits_for_a_look_has_one_soon(stage: Stage) -> None:
    shown = stage.round(1.0, SLOWLY, look_now=True)
    assert shown.view is not None
    assert stage.took_s == pytest.approx(LOOK_AGAIN_S)


def test_what_a_look_shows_is_reported(stage: Stage) -> None:
    stage.round(1.0, 0.1)
    assert stage.reporter.run_states == [RunState.RUNNING]
    assert stage.reporter.ports == [True]
    stage.host.unseen = MonitorView(problem="it does not answer")
    stage.round(1.0, 0.1)
    assert (len(stage.reporter.run_states), len(stage.reporter.ports)) == (1, 1)


def test_a_slow_monitor_keeps_the_answer_waiting_for_a_moment_only(stage: Stage) -> None:
    stage.host.monitor.look_s = 60.0
    stage.round(1.0, 0.1)
    assert stage.took_s == pytest.approx(0.1 + LOOK_S)


def test_what_a_held_monitor_tells_is_looked_at_at_once(stage: Stage) -> None:
    stage.host.monitor.held = True
    stage.host.after(0.2, lambda: setattr(stage.host.monitor, "told", True))
    assert stage.round().view is not None
    assert stage.took_s < 0.22


def test_a_monitor_that_does_not_show_our_channel_counts_for_nothing(stage: Stage) -> None:
    """Once the agent has answered us, the monitor must show that we are connected (P10)."""
    stage.host.unseen = MonitorView(RunState.RUNNING, port_open=True, client=False)
    seen = stage.round(1.0, 0.1).view
    assert seen is not None
    assert seen.port_open, "not answered yet in this driver's time: nothing speaks against it"
    stage.ask(STATUS)
    stage.round()
    judged = stage.round(1.0, 0.1).view
    assert judged is not None
    assert (judged.port_open, judged.problem) == (None, NOT_SHOWN)


def test_a_look_beside_an_end_that_is_not_read_yet_is_not_believed(stage: Stage) -> None:
    """What it showed may come after a thaw of the holder's, if we were stopped before it (P3)."""
    stage.host.monitor.look_s = 0.1
    stage.host.after(0.15, stage.host.cut)
    unread = stage.round(1.0, 0.1)
    assert (unread.view, unread.ended) == (None, None)
    assert stage.host.monitor.looks
    assert stage.round().ended is not None


def test_those_that_look_closely_share_what_a_host_can_bear() -> None:
    looks, many = CloseLooks(), [Driver.__new__(Driver) for _ in range(100)]
    assert looks.every_s(many[0], 0.03) == 0.03
    for one in many:
        shared_s = looks.every_s(one, 0.03)
    assert shared_s == pytest.approx(100 / CLOSE_LOOKS_A_SECOND)
    assert looks.every_s(many[0], 0.25) == 0.25
    for one in many[1:90]:
        looks.every_s(one, 1.0)
    assert looks.every_s(many[99], 0.03) == pytest.approx(0.04)
    del one, many[1:]
    assert looks.every_s(many[0], 0.03) == 0.03, "who has ended is not counted"


# -- the end of the channel -----------------------------------------------------------------


def test_an_end_is_told_once_with_what_is_seen_of_the_vm(stage: Stage) -> None:
    broken = stage.breaks()
    assert broken.ended == "the other side has closed the connection"
    assert broken.view is not None
    assert broken.view.gone is None
    assert stage.took_s == pytest.approx(LEAVING_S, abs=0.15), "a QEMU may be about to leave"
    assert stage.round(0.1).ended is None


def test_a_qemu_that_leaves_a_moment_later_is_seen_gone(stage: Stage) -> None:
    stage.host.after(0.2, lambda: setattr(stage.host, "process_gone", True))
    broken = stage.breaks()
    assert broken.view is not None
    assert (broken.view.gone, broken.view.run_state) == (True, RunState.GONE)
    assert stage.took_s < 0.35


def test_an_end_of_the_holders_needs_no_look_for_a_death(stage: Stage) -> None:
    holder = stage.guarded()
    holder.die()
    broken = stage.round()
    assert broken.ended
    assert stage.took_s < 0.1
    assert len(stage.host.monitor.looks) == 1


def test_the_guests_end_behind_a_holder_waits_for_a_death_as_well(stage: Stage) -> None:
    stage.guarded().guests_end()
    assert stage.round().ended
    assert not stage.driver.connected
    assert stage.took_s == pytest.approx(LEAVING_S, abs=0.15)


# -- connecting again -----------------------------------------------------------------------


def test_a_new_channel_is_a_strangers(stage: Stage) -> None:
    stage.breaks()
    assert stage.driver.reconnect().connected
    assert stage.driver.connected
    assert not stage.conversation.wire.owned, "nothing is proven to be ours on it"
    assert stage.round(0.1).ended is None


def test_without_an_agent_channel_there_is_nothing_to_connect_to(
    stage: Stage,
) -> None:
    stage.breaks()
    stage.link.agent = None
    tried = stage.driver.reconnect()
    assert (tried.connected, tried.gone) == (False, None)
    assert "no agent channel" in tried.why


def test_it_never_connects_behind_another_client(stage: Stage) -> None:
    stage.breaks()
    stage.host.other_client = True
    tried = stage.driver.reconnect()
    assert (tried.connected, tried.gone) == (False, False)
    assert "another client" in tried.why
    assert len(stage.host.connects) == 1


def known_gone(stage: Stage) -> None:
    stage.host.process_gone = True


def seen_gone(stage: Stage) -> None:
    stage.host.unseen = MonitorView(RunState.GONE, gone=True)


@pytest.mark.parametrize("proof", [known_gone, seen_gone])
def test_a_channel_that_can_not_be_had_says_whether_the_vm_has_gone(
    stage: Stage, proof: Callable[[Stage], None]
) -> None:
    stage.breaks()
    stage.host.refuse()
    tried = stage.driver.reconnect()
    assert (tried.connected, tried.gone) == (False, None), "a refused connection proves nothing"
    proof(stage)
    assert stage.driver.reconnect().gone is True


@pytest.mark.parametrize("there", [False, None])
def test_nobody_listening_for_seconds_is_a_proof_where_there_is_no_better_one(
    stage: Stage, there: bool | None
) -> None:
    stage.breaks()
    stage.host.refuse(ConnectProblem.MISSING)
    stage.host.process_gone = there
    assert stage.driver.reconnect().gone is there
    stage.host.sleep(NOBODY_S + 0.1)
    assert stage.driver.reconnect().gone is (True if there is None else there)


def test_somebody_who_listens_in_between_begins_that_anew(stage: Stage) -> None:
    stage.breaks()
    stage.host.refuse(ConnectProblem.MISSING)
    stage.driver.reconnect()
    stage.host.sleep(NOBODY_S - 0.1)
    stage.host.refuse(ConnectProblem.QUEUE_FULL)
    stage.driver.reconnect()
    stage.host.refuse(ConnectProblem.MISSING)
    stage.host.sleep(0.2)
    assert stage.driver.reconnect().gone is None


def test_each_channel_that_breaks_is_told(stage: Stage) -> None:
    for _ in range(3):
        assert stage.breaks().ended
        assert stage.driver.reconnect().connected


def test_with_a_dead_holder_it_goes_on_through_the_connection_itself(stage: Stage) -> None:
    holder = stage.guarded()
    holder.die()
    stage.round()
    assert stage.driver.reconnect().connected
    assert len(stage.host.connects) == 1
    assert holder.words()[2:] == ["forget", "arm", "intend"]


def test_without_a_monitor_it_connects_all_the_same(blind: Stage) -> None:
    assert blind.breaks().ended
    assert blind.driver.reconnect().connected
