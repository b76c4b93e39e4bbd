"""What another client has pending, from looks alone; tests/guests/test_others_watch.py saw each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.freeze.others_watch import OthersEvent, OthersEventKind, OthersWatch
from agentclient.model.snapshot import MonitorView, Traffic
from agentclient.model.states import Cause, OthersState, RunState

PENDING, ANSWERED, LOST, LEFT = (
    OthersEventKind.PENDING,
    OthersEventKind.ANSWERED,
    OthersEventKind.LOST,
    OthersEventKind.LEFT,
)


class Channel:
    """A channel that somebody holds, looked at four times a second."""

    def __init__(self, **of_view: Any) -> None:
        self.now = 100.0
        self.handed = self.answers = self.unread = 0
        self.waits = False
        self.more: dict[str, Any] = {"openings": 3, "port_open": True} | of_view
        self.watch = OthersWatch(self.view(), self.now)
        self.events: list[OthersEvent] = []

    def view(self) -> MonitorView:
        traffic = Traffic(self.handed % 65536, self.unread, self.answers % 65536)
        values: dict[str, Any] = {"run_state": RunState.RUNNING, "client": True}
        return MonitorView(**(values | {"traffic": traffic} | self.more))

    def look(self, seconds: float = 0.25) -> None:
        self.now += seconds
        self.events += self.watch.on_look(self.now, self.view(), waits=self.waits)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.look()

    def kinds(self) -> list[OthersEventKind]:
        return [event.kind for event in self.events]

    def state(self) -> OthersState:
        return self.watch.state


@pytest.fixture
def channel() -> Channel:
    return Channel()


def _freeze(channel: Channel) -> None:
    channel.handed += 1
    channel.wait(2)


def test_a_command_is_pending_after_a_second_and_then_answered(channel: Channel) -> None:
    channel.handed += 1
    channel.look()
    assert channel.state() is OthersState.TALKING or channel.kinds() == []
    channel.wait(10)
    assert (channel.state(), channel.kinds()) == (OthersState.PENDING, [PENDING])
    assert channel.events[0].at - channel.events[0].since == pytest.approx(1.0)
    channel.answers += 1
    channel.look()
    assert channel.kinds() == [PENDING, ANSWERED]
    assert channel.watch.took_s == pytest.approx(10.0, abs=0.5)
    channel.wait(2)
    assert channel.state() is OthersState.IDLE


def test_quick_answers_are_talk(channel: Channel) -> None:
    for _ in range(20):
        channel.handed += 1
        channel.look()
        channel.answers += 1
        channel.look()
        assert channel.state() is OthersState.TALKING
    channel.wait(2)
    assert (channel.state(), channel.kinds()) == (OthersState.IDLE, [])


def test_a_freeze_behind_a_sync_in_one_look_is_pending(channel: Channel) -> None:
    channel.handed += 2
    channel.answers += 1
    channel.wait(2)
    assert channel.state() is OthersState.PENDING
    assert not channel.watch.certain


def test_what_is_not_read_is_certain(channel: Channel) -> None:
    channel.handed += 1
    channel.answers += 1  # sync and freeze in one write: one answer of two
    channel.wait(2)
    assert channel.state() is OthersState.IDLE
    channel.handed, channel.unread = channel.handed + 1, 1  # a probe is queued behind it
    channel.wait(2)
    assert (channel.state(), channel.watch.certain) == (OthersState.PENDING, True)


def test_who_comes_later_sees_what_waits() -> None:
    channel = Channel()
    channel.unread = 1
    later = OthersWatch(channel.view(), 0.0)
    later.on_look(2.0, channel.view())
    assert (later.state, later.certain) == (OthersState.PENDING, True)


# -- who connects for one command alone, as Proxmox's programs do ---------------------------------


@pytest.fixture
def worker(channel: Channel) -> Channel:
    """A sync and a freeze came in one piece, and the sync was answered before the first look."""
    channel.waits = True
    return channel


def test_who_stays_without_a_word_waits_since_the_first_look(worker: Channel) -> None:
    worker.wait(0.75)
    assert worker.kinds() == []
    worker.wait(41)
    assert (worker.kinds(), worker.state()) == ([PENDING], OthersState.PENDING)
    assert worker.watch.since == 100.0
    assert not worker.watch.certain
    worker.answers += 1
    worker.more |= {"client": False}  # it leaves with its answer
    worker.look()
    assert worker.kinds() == [PENDING, ANSWERED, LEFT]
    assert worker.events[1].at - worker.events[1].since == pytest.approx(42, abs=0.5)
    assert not worker.events[2].certain


def test_a_sync_that_is_answered_late_is_not_the_answer(worker: Channel) -> None:
    worker.look()
    worker.answers += 1
    worker.wait(3)
    assert worker.kinds() == [PENDING]
    assert worker.watch.since == pytest.approx(100.5)


def test_a_probe_that_is_queued_on_a_new_connection_makes_it_certain(worker: Channel) -> None:
    worker.wait(600)
    worker.handed, worker.unread = worker.handed + 1, 1
    worker.look()
    assert (worker.kinds(), worker.watch.certain) == ([PENDING], True)
    assert worker.watch.since == 100.0


def test_a_worker_whose_agent_is_killed_at_once_has_lost_its_command(worker: Channel) -> None:
    worker.look()
    worker.more |= {"port_open": False, "openings": 4}
    worker.wait(60)
    assert worker.kinds() == [LOST]
    assert worker.watch.cause is Cause.AGENT_GONE


def test_a_worker_that_talks_to_nobody_has_nothing_pending() -> None:
    channel = Channel(port_open=False)
    channel.waits = True
    channel.wait(3)  # what is written to a closed port goes with its client
    channel.more |= {"client": False}
    channel.look()
    assert [event for event in channel.events if event.kind is not LEFT or event.certain] == []


def test_short_commands_of_a_worker_are_talk(worker: Channel) -> None:
    for _ in range(20):
        worker.handed += 1
        worker.answers += 2
        worker.look()
    worker.more |= {"client": False}
    worker.look()
    assert worker.kinds() == [LEFT]
    assert not worker.events[0].certain


@pytest.mark.parametrize(
    ("shows", "cause"),
    [
        ({"port_open": False, "openings": 4}, Cause.AGENT_GONE),
        ({"openings": 5}, Cause.AGENT_RESTARTED),
        ({"run_state": RunState.PANICKED}, Cause.GUEST_PANICKED),
        ({"run_state": RunState.SHUTDOWN}, Cause.GUEST_SHUTDOWN),
        ({"gone": True}, Cause.VM_GONE),
    ],
)
def test_what_loses_their_command(channel: Channel, shows: dict[str, Any], cause: Cause) -> None:
    _freeze(channel)
    channel.more |= shows
    channel.look()
    lost = next(event for event in channel.events if event.kind is LOST)
    assert lost.cause is cause
    assert lost.since < lost.at


def test_a_better_cause_comes_later(channel: Channel) -> None:
    _freeze(channel)
    channel.more |= {"port_open": False, "openings": 4}
    channel.look()
    channel.more |= {"run_state": RunState.SHUTDOWN}
    channel.look()
    assert channel.watch.cause is Cause.GUEST_SHUTDOWN
    assert channel.kinds() == [PENDING, LOST]


def test_a_lost_command_stays_lost_until_a_new_agent_answers(channel: Channel) -> None:
    _freeze(channel)
    channel.more |= {"openings": 5}
    channel.wait(60)
    assert channel.state() is OthersState.LOST
    channel.handed += 1
    channel.look()
    channel.answers += 1
    channel.look()
    assert channel.state() is OthersState.TALKING


def test_what_befell_an_earlier_command_explains_no_later_loss(channel: Channel) -> None:
    _freeze(channel)
    channel.more["openings"] = 0  # as at a reset
    channel.look()
    channel.answers += 1  # by the next agent
    channel.wait(2)
    _freeze(channel)
    channel.more |= {"openings": 1, "port_open": False}
    channel.look()
    lost = [event.cause for event in channel.events if event.kind is LOST]
    assert lost == [Cause.UNKNOWN, Cause.AGENT_GONE]


def test_an_idle_client_loses_nothing(channel: Channel) -> None:
    channel.more |= {"openings": 5}
    channel.wait(3)
    assert channel.kinds() == []


@pytest.mark.parametrize("pending", [True, False])
def test_they_leave(channel: Channel, pending: bool) -> None:
    if pending:
        _freeze(channel)
    channel.more |= {"client": False}
    channel.look()
    assert channel.events[-1].kind is LEFT
    assert channel.events[-1].certain is pending
    assert channel.state() is (OthersState.LEFT if pending else OthersState.IDLE)


def test_a_lost_command_stays_lost_when_its_client_has_left(channel: Channel) -> None:
    _freeze(channel)
    channel.more |= {"port_open": False, "openings": 4}
    channel.look()
    channel.handed += 1  # what it leaves unread is handed over
    channel.more |= {"client": False}
    channel.wait(60)
    assert channel.kinds() == [PENDING, LOST, LEFT]
    assert (channel.state(), channel.watch.has_left) == (OthersState.LOST, True)
    assert not channel.events[-1].certain
    channel.more |= {"client": True}  # of a closed port: nobody answers it
    channel.wait(2)
    channel.more |= {"client": False}
    channel.wait(2)
    assert (channel.state(), channel.watch.has_left) == (OthersState.LOST, True)
    channel.more |= {"client": True, "port_open": True, "openings": 5}
    channel.handed += 1
    channel.look()
    channel.answers += 1  # an agent has answered, if not us
    channel.look()
    assert (channel.state(), channel.watch.has_left) == (OthersState.TALKING, False)


@pytest.mark.parametrize("asked", [False, True])
def test_what_was_left_pending_is_lost_with_its_agent(channel: Channel, asked: bool) -> None:
    _freeze(channel)
    channel.more |= {"client": False}
    channel.wait(5)
    if asked:  # by us, say: then what was sent before has run, whatever came of it
        channel.handed, channel.answers = channel.handed + 1, channel.answers + 2
        channel.look()
    channel.more |= {"port_open": False, "openings": 4}
    channel.wait(5)
    assert channel.kinds() == [PENDING, LEFT, *([] if asked else [LOST])]
    assert channel.state() is (OthersState.LEFT if asked else OthersState.LOST)
    assert channel.watch.has_left
    assert channel.events[-1].left is not asked


def test_who_comes_back_to_what_it_left_pending_waits_since_then(channel: Channel) -> None:
    _freeze(channel)
    since = channel.watch.since
    channel.more |= {"client": False}
    channel.wait(5)
    channel.more |= {"client": True}
    channel.wait(1)
    assert channel.kinds() == [PENDING, LEFT, PENDING]
    assert (channel.watch.since, channel.watch.has_left) == (since, False)
    channel.answers += 1
    channel.look()
    assert channel.events[-1].kind is ANSWERED
    assert channel.events[-1].since == since


def test_who_has_left_when_nothing_was_counted_is_looked_at_once_more(channel: Channel) -> None:
    _freeze(channel)
    channel.answers += 1
    channel.more |= {"client": False, "traffic": None}  # an ordinary look
    channel.look()
    assert (channel.kinds(), channel.watch.leaving) == ([PENDING], True)
    del channel.more["traffic"]
    channel.look()
    assert channel.kinds() == [PENDING, ANSWERED, LEFT]
    assert not channel.events[-1].certain


def test_who_has_left_and_is_never_counted_again_has_left_it_pending(channel: Channel) -> None:
    _freeze(channel)
    channel.more |= {"client": False, "traffic": None}
    channel.wait(0.5)
    assert (channel.kinds(), channel.events[-1].certain) == ([PENDING, LEFT], True)
    assert not channel.watch.leaving, "or its agent would never be asked again"


def test_without_counters_it_is_held_and_no_more_is_claimed() -> None:
    channel = Channel(traffic=None)
    channel.wait(60)
    assert (channel.state(), channel.kinds()) == (OthersState.HELD, [])
    assert channel.watch.why_blind is not None


def test_indexes_wrap(channel: Channel) -> None:
    channel.handed = channel.answers = 65535
    channel.watch = OthersWatch(channel.view(), channel.now)
    channel.handed += 1
    channel.wait(2)
    assert channel.state() is OthersState.PENDING
    channel.answers += 1
    channel.look()
    assert channel.kinds()[-1] is ANSWERED


LOOKS = st.lists(
    st.fixed_dictionaries(
        {
            "handed": st.integers(0, 3),
            "answers": st.integers(0, 3),
            "unread": st.integers(0, 2),
            "port_open": st.sampled_from([True, False, None]),
            "openings": st.sampled_from([None, 0, 3, 4, 5]),
            "client": st.sampled_from([True, True, True, False, None]),
            "traffic": st.booleans(),
            "run_state": st.sampled_from(list(RunState)),
            "seconds": st.sampled_from([0.1, 0.25, 2.0]),
            "waits": st.booleans(),
        }
    ),
    max_size=30,
)


@given(looks=LOOKS)
def test_whatever_comes_each_command_is_pending_before_it_is_answered(
    looks: list[dict[str, Any]],
) -> None:
    channel = Channel()
    for look in looks:
        channel.handed += look["handed"]
        channel.answers += look["answers"]
        channel.unread = look["unread"]
        names = ("port_open", "openings", "client", "run_state")
        channel.more |= {name: look[name] for name in names}
        if look["traffic"]:
            channel.more.pop("traffic", None)
        else:
            channel.more["traffic"] = None
        channel.waits = look["waits"]
        channel.look(look["seconds"])
    open_since: float | None = None
    for event in channel.events:
        assert event.since <= event.at
        if event.kind is PENDING:
            assert event.at - event.since >= 1.0
            open_since = event.since
        elif event.kind is ANSWERED:
            assert open_since == event.since
            open_since = None
        elif event.kind is LOST:
            assert event.cause is not None
