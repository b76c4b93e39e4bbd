"""Who thaws one guest if we die: armed, renewed, mended, handed over and taken back (P4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentclient.access.stream import Channel
from agentclient.freeze.effects import ReportEvent
from agentclient.holder import standby
from agentclient.holder.client import ArmedChannel, ChannelEnd, NoHolder
from agentclient.holder.guest_standby import AskedFor
from agentclient.holder.standby import AGAIN_S, Standby
from agentclient.journal.rows import Reference
from agentclient.model.states import Level
from agentclient.model.vm import Vm, VmId
from tests.unit.virtual_holder import PID, VirtualHolder, report
from tests.unit.virtual_host import VirtualChannel, VirtualHost

WINDOW = Reference(Path("/journal"), "key", 1.0)


class Harness:
    """A guest's connection, and the standby for it, which has not begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.host = VirtualHost()
        self.host.live_in(monkeypatch, standby)
        self.holder = VirtualHolder(self.host)
        self.told: list[ReportEvent] = []
        self.standby = Standby(self.holder, Vm(VmId("qemu", "db1")), 60.0, WINDOW, self.told.append)
        self.raw = self.host.connect()

    def begin(self) -> Channel:
        channel = self.standby.begin(self.raw)
        self.standby.intend(bound_s=100.0, hold_s=10.0)
        self.standby.sent = True
        return channel

    @property
    def texts(self) -> list[str]:
        return [tell.text for tell in self.told]

    def last(self, word: str) -> dict[str, object]:
        return [more for said, _, more in self.holder.said if said == word][-1]

    def breaks(self) -> VirtualChannel:
        """The guest's end closes, and another connection is made."""
        self.holder.guests_end()
        self.standby.spare()
        return self.host.connect()


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)


# -- before and while it lasts --------------------------------------------------------------


def test_armed_it_is_talked_through_the_holder(harness: Harness) -> None:
    channel = harness.begin()
    assert channel is harness.holder.armed.channel
    assert harness.holder.armed.spare is harness.raw
    assert harness.holder.armed_as == [{"thaw_s": 60.0, "window": WINDOW, "sent": False}]
    assert harness.last("intend") == {"bound_s": 100.0, "hold_s": 10.0}


def test_without_a_holder_it_does_not_begin(harness: Harness) -> None:
    harness.holder.refusal = "no process"
    with pytest.raises(NoHolder, match="no process"):
        harness.standby.begin(harness.raw)
    assert harness.raw.fileno() >= 0, "the connection is as it was"
    harness.standby.end()
    assert harness.holder.said == []


def test_the_end_of_the_hold_is_said_when_it_is_news(harness: Harness) -> None:
    harness.begin()
    ends_at = harness.host.now + 10.0
    for _ in range(3):
        harness.standby.hold(ends_at, harness.host.now + 120.0)
    harness.host.sleep(4.0)
    harness.standby.hold(ends_at + 5.0, harness.host.now + 120.0)
    said = [more["seconds"] for word, _, more in harness.holder.said if word == "hold"]
    assert said == [10.0, 11.0]


def test_a_hold_that_is_over_already_ends_now_and_not_before(harness: Harness) -> None:
    """A console that was stopped says it late."""
    harness.begin()
    ends_at = harness.host.now + 1.0
    harness.host.sleep(60.0)
    harness.standby.hold(ends_at, ends_at)
    assert harness.last("hold") == {"seconds": 0.0, "most_s": 0.0}


def test_why_a_channel_has_ended_is_the_holders_word(harness: Harness) -> None:
    assert harness.standby.why_ended() is ChannelEnd.BROKEN, (
        "without one, it is the guest's own end"
    )
    harness.begin()
    harness.host.after(0.2, lambda: harness.holder.take("silence", over=True, thaws_in_s=1.0))
    assert harness.standby.why_ended() is ChannelEnd.TAKEN
    assert (harness.standby.taken, harness.standby.over) == ("silence", True)
    assert harness.standby.wait(0.5) is None
    assert harness.standby.wait(5.0) == report()


def test_who_has_died_since_has_not_taken_over(harness: Harness) -> None:
    harness.begin()
    harness.holder.take("silence", thaws_in_s=None)
    harness.holder.die()
    assert harness.standby.taken is None
    assert harness.standby.wait(0.0) is None


def test_without_a_holder_nothing_is_taken_waited_for_or_said(harness: Harness) -> None:
    assert (harness.standby.taken, harness.standby.over, harness.standby.wait(5.0)) == (
        None,
        False,
        None,
    )
    harness.standby.hold(harness.host.now + 5.0, harness.host.now + 120.0)
    harness.standby.thaws()
    harness.standby.end()
    assert harness.standby.spare() is None
    assert harness.holder.said == []


# -- renewed --------------------------------------------------------------------------------


def test_what_a_dead_holder_leaves_is_the_connection_itself(harness: Harness) -> None:
    harness.begin()
    harness.holder.die()
    assert harness.standby.spare() is harness.raw
    assert harness.raw.fileno() >= 0


def test_the_connection_to_a_guest_that_has_hung_up_is_closed(harness: Harness) -> None:
    """QEMU would take it for its one client."""
    harness.begin()
    harness.holder.guests_end()
    assert harness.standby.spare() is None
    assert harness.raw.fileno() == -1


def test_a_new_connection_is_armed_with_all_that_was_said_of_the_old_one(harness: Harness) -> None:
    harness.begin()
    harness.standby.hold(harness.host.now + 10.0, harness.host.now + 120.0)
    harness.standby.thaws()
    harness.host.sleep(4.0)
    channel = harness.standby.renewed(harness.breaks())
    assert channel is harness.holder.armed.channel
    assert harness.holder.armed_as[1]["sent"] is True
    assert harness.last("intend") == {
        "bound_s": pytest.approx(96.0),
        "hold_s": 10.0,
        "sent": True,
        "thawing": True,
    }
    assert harness.last("hold") == {
        "seconds": pytest.approx(6.0),
        "most_s": pytest.approx(116.0),
    }
    assert [number for word, number, _ in harness.holder.said if word == "disarm"] == [0]
    assert harness.told == []


def test_a_bound_and_a_hold_that_have_passed_are_not_negative(harness: Harness) -> None:
    harness.begin()
    harness.standby.hold(harness.host.now + 10.0, harness.host.now + 120.0)
    harness.host.sleep(500.0)
    harness.standby.renewed(harness.breaks())
    assert (harness.last("intend")["bound_s"], harness.last("hold")["seconds"]) == (0.0, 0.0)


def test_on_the_spare_connection_the_old_guard_alone_is_forgotten(harness: Harness) -> None:
    channel = harness.begin()
    harness.holder.die()
    spare = harness.standby.spare()
    assert spare is not None
    harness.standby.renewed(spare)
    assert channel.fileno() == -1
    assert harness.raw.fileno() >= 0, "it is what we go on with"
    assert "disarm" not in harness.holder.words()


def no_holder(harness: Harness) -> None:
    harness.holder.refusal = "no process can be started"


def ignores_intent(harness: Harness) -> None:
    harness.holder.ignores_intent = True


def no_descriptor(harness: Harness) -> None:
    def refuse(*_: object, **__: object) -> ArmedChannel:
        raise OSError(24, "too many open files")

    harness.patch.setattr(harness.holder, "arm", refuse)


@pytest.mark.parametrize("why", [no_holder, ignores_intent, no_descriptor])
def test_where_none_can_be_had_it_goes_on_alone_and_says_so_once(
    harness: Harness, why: Callable[[Harness], None]
) -> None:
    harness.begin()
    new = harness.breaks()
    why(harness)
    assert harness.standby.renewed(new) is new
    assert harness.standby.retry_arming(new) is None, "not at once"
    harness.host.sleep(AGAIN_S)
    assert harness.standby.retry_arming(new) is None
    (alone,) = harness.told
    assert alone.level is Level.ERROR
    assert "nobody would thaw the guest if frostwatch died now" in alone.text
    assert new.fileno() >= 0


def test_alone_it_tries_again_every_few_seconds_until_one_stands_by(harness: Harness) -> None:
    harness.begin()
    new = harness.breaks()
    no_holder(harness)
    harness.standby.renewed(new)
    assert harness.standby.why_ended() is ChannelEnd.BROKEN
    harness.host.sleep(AGAIN_S - 0.1)
    harness.holder.refusal = None
    assert harness.standby.retry_arming(new) is None
    harness.host.sleep(0.1)
    assert harness.standby.retry_arming(new) is harness.holder.armed.channel
    assert harness.texts[1:] == ["a holder stands by again"]
    harness.host.sleep(60.0)
    assert harness.standby.retry_arming(harness.holder.armed.channel) is None, (
        "there is nothing to mend"
    )


def test_a_holder_that_has_not_heard_what_is_intended_has_nothing_of_ours(harness: Harness) -> None:
    harness.begin()
    new = harness.breaks()
    ignores_intent(harness)
    harness.standby.renewed(new)
    assert harness.holder.armed.channel.fileno() == -1
    harness.standby.end()
    assert [number for word, number, _ in harness.holder.said if word == "disarm"] == [0]


def test_a_channel_that_was_made_for_a_holder_that_does_not_listen_is_closed(
    harness: Harness,
) -> None:
    harness.begin()
    new = harness.breaks()
    new.close()
    ignores_intent(harness)
    harness.standby.renewed(new)
    assert harness.holder.armed.spare is not new
    assert harness.holder.armed.spare.fileno() == -1


# -- left -----------------------------------------------------------------------------------


def test_left_it_is_the_holders_and_only_our_own_ends_are_closed(harness: Harness) -> None:
    channel = harness.begin()
    assert harness.standby.leave(channel) == PID
    assert (harness.standby.handed_over_to, harness.standby.hand_over_tried) == (PID, True)
    harness.standby.end()
    assert harness.holder.words()[-1] == "take"
    assert (channel.fileno(), harness.raw.fileno()) == (-1, -1)


def test_it_is_left_once(harness: Harness) -> None:
    channel = harness.begin()
    assert harness.standby.leave(channel) == harness.standby.leave(channel) == PID
    assert harness.holder.words().count("take") == 1


def test_what_came_of_it_is_told_after_we_have_left(harness: Harness) -> None:
    harness.standby.leave(harness.begin())
    harness.holder.armed.end(report())
    assert [tell.level for tell in harness.told] == [Level.GOOD]
    assert "thawed 2" in harness.told[0].text


def test_what_came_of_it_in_vain_is_told_with_the_next_step(harness: Harness) -> None:
    harness.standby.leave(harness.begin())
    harness.holder.armed.end(report(settled=False, reason="it is silent"))
    assert [tell.level for tell in harness.told] == [Level.ERROR]
    assert "it is silent. NEXT: look" in harness.told[0].text


def one_that_keeps_it(harness: Harness) -> None:
    """The holder that there is does not acknowledge; the next one does."""
    taken: list[ArmedChannel] = []

    def hand_over(armed: ArmedChannel) -> int:
        taken.append(armed)
        if len(taken) == 1:
            raise NoHolder("it has gone")
        return PID

    harness.patch.setattr(harness.holder, "hand_over", hand_over)


def test_a_holder_that_does_not_acknowledge_is_replaced_by_another_one(harness: Harness) -> None:
    channel = harness.begin()
    one_that_keeps_it(harness)
    assert harness.standby.leave(channel) == PID
    assert len(harness.holder.all_armed) == 2
    assert harness.holder.all_armed[1].spare is harness.raw, "with the connection itself"
    assert channel.fileno() == -1


def test_where_nobody_takes_it_it_is_left_to_nobody(harness: Harness) -> None:
    channel = harness.begin()
    harness.holder.never_acknowledges = True
    assert harness.standby.leave(channel) is None
    assert (harness.standby.handed_over_to, harness.standby.hand_over_tried) == (None, True)
    assert len(harness.holder.all_armed) == 2, "one more was asked"


def test_alone_it_is_left_to_a_new_holder_with_the_connection_that_there_is(
    harness: Harness,
) -> None:
    harness.begin()
    new = harness.breaks()
    no_holder(harness)
    harness.standby.renewed(new)
    harness.holder.refusal = None
    assert harness.standby.leave(new) == PID
    assert harness.holder.armed.spare is new


def test_a_channel_that_is_closed_already_is_left_all_the_same(harness: Harness) -> None:
    """The holder is given one that has ended, and opens the guest's anew."""
    harness.begin()
    new = harness.breaks()
    no_holder(harness)
    harness.standby.renewed(new)
    new.close()
    harness.holder.refusal = None
    assert harness.standby.leave(new) == PID
    assert harness.holder.armed.spare is not new
    harness.standby.end()
    assert harness.holder.armed.spare.fileno() == -1


def test_a_holder_that_dies_as_it_is_left_the_guest_is_replaced(harness: Harness) -> None:
    channel = harness.begin()
    real = harness.holder.hand_over

    def dies(armed: ArmedChannel) -> int:
        pid = real(armed)
        if armed is harness.holder.all_armed[0]:
            harness.holder.die()
        return pid

    harness.patch.setattr(harness.holder, "hand_over", dies)
    assert harness.standby.leave(channel) == PID
    assert len(harness.holder.all_armed) == 2


# -- deserted -------------------------------------------------------------------------------


def test_a_holder_that_dies_with_what_was_left_to_it_is_replaced_and_that_is_told(
    harness: Harness,
) -> None:
    harness.standby.leave(harness.begin())
    harness.standby.end()
    harness.holder.die()
    assert harness.standby.handed_over_to == PID
    assert len(harness.holder.all_armed) == 2
    assert harness.texts == [f"the holder has gone: another one (pid {PID}) goes on with the thaw"]
    armed = harness.holder.armed
    assert (armed.channel.fileno(), armed.spare.fileno()) == (-1, -1), "nothing of ours is open"


def test_where_no_other_one_can_be_had_a_person_is_told_how_to_thaw(harness: Harness) -> None:
    harness.standby.leave(harness.begin())
    harness.standby.end()
    no_holder(harness)
    harness.holder.die()
    assert harness.standby.handed_over_to is None
    assert harness.told[-1].level is Level.ERROR
    assert "NOBODY STANDS BY. NEXT: frostwatch thaw" in harness.texts[-1]


def test_without_a_descriptor_for_another_one_a_person_is_told(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Channel:
        raise OSError(24, "too many open files")

    harness.standby.leave(harness.begin())
    harness.standby.end()
    monkeypatch.setattr(standby, "_ended_channel", refuse)
    harness.holder.die()
    assert "NOBODY STANDS BY" in harness.texts[-1]


# -- the end --------------------------------------------------------------------------------


def test_what_is_settled_is_disarmed_once(harness: Harness) -> None:
    channel = harness.begin()
    harness.standby.end()
    harness.standby.end()
    assert harness.holder.words()[2:] == ["disarm"]
    assert (channel.fileno(), harness.raw.fileno()) == (-1, -1)


def test_a_holder_given_an_ended_channel_sees_its_end_at_once() -> None:
    channel = standby._ended_channel()
    with pytest.raises(Exception, match="closed the connection"):
        channel.receive()
    channel.close()


# -- others ---------------------------------------------------------------------------------


def test_what_another_process_asks_for_is_passed_on_by_each_holder(harness: Harness) -> None:
    asked: list[AskedFor] = []
    harness.standby.on_asked = asked.append
    harness.begin()
    harness.holder.armed.on_asked(AskedFor("root (pid 7)"))
    harness.standby.renewed(harness.breaks())
    harness.holder.armed.on_asked(AskedFor("root (pid 7)", 5.0))
    assert [one.longer_s for one in asked] == [None, 5.0]


def test_a_window_is_left_to_the_holder_and_to_another_if_that_goes(harness: Harness) -> None:
    harness.begin()
    assert harness.standby.keep() == PID
    harness.standby.end()
    assert "disarm" not in harness.holder.words()
    harness.holder.die()
    assert harness.holder.words()[-2:] == ["intend", "take"], "it is thawed at once"


def test_a_window_is_not_left_to_a_holder_that_does_not_take_it(harness: Harness) -> None:
    harness.begin()
    harness.holder.never_acknowledges = True
    assert harness.standby.keep() is None
    assert not harness.standby.hand_over_tried, "somebody has to take it yet"
