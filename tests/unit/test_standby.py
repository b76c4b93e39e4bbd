"""Who thaws one guest if we die: armed, renewed, mended, handed over and taken back (P4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentclient.access.stream import Channel
from agentclient.freeze.effects import Tell
from agentclient.holder import standby
from agentclient.holder.client import ArmedChannel, ChannelEnd, NoHolder
from agentclient.holder.standby import AGAIN_S, Standby
from agentclient.journal.rows import Reference
from agentclient.model.states import Level
from agentclient.model.vm import Vm, VmId
from tests.unit.virtual_holder import PID, VirtualHolder, report
from tests.unit.virtual_host import VirtualChannel, VirtualHost

WINDOW = Reference(Path("/journal"), "key", 1.0)


class Stage:
    """A guest's connection, and the standby for it, which has not begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.host = VirtualHost()
        self.host.live_in(monkeypatch, standby)
        self.holder = VirtualHolder(self.host)
        self.told: list[Tell] = []
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
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


# -- before and while it lasts --------------------------------------------------------------


def test_armed_it_is_talked_through_the_holder(stage: Stage) -> None:
    channel = stage.begin()
    assert channel is stage.holder.armed.channel
    assert stage.holder.armed.spare is stage.raw
    assert stage.holder.armed_as == [{"thaw_s": 60.0, "window": WINDOW, "sent": False}]
    assert stage.last("intend") == {"bound_s": 100.0, "hold_s": 10.0}


def test_without_a_holder_it_does_not_begin(stage: Stage) -> None:
    stage.holder.refusal = "no process"
    with pytest.raises(NoHolder, match="no process"):
        stage.standby.begin(stage.raw)
    assert stage.raw.fileno() >= 0, "the connection is as it was"
    stage.standby.end()
    assert stage.holder.said == []


def test_the_end_of_the_hold_is_said_when_it_is_news(stage: Stage) -> None:
    stage.begin()
    ends_at = stage.host.now + 10.0
    for _ in range(3):
        stage.standby.hold(ends_at)
    stage.host.sleep(4.0)
    stage.standby.hold(ends_at + 5.0)
    said = [more["seconds"] for word, _, more in stage.holder.said if word == "hold"]
    assert said == [10.0, 11.0]


def test_a_hold_that_is_over_already_ends_now_and_not_before(stage: Stage) -> None:
    """A console that was stopped says it late."""
    stage.begin()
    ends_at = stage.host.now + 1.0
    stage.host.sleep(60.0)
    stage.standby.hold(ends_at)
    assert stage.last("hold") == {"seconds": 0.0}


def test_why_a_channel_has_ended_is_the_holders_word(stage: Stage) -> None:
    assert stage.standby.why_ended() is ChannelEnd.BROKEN, "without one, it is the guest's own end"
    stage.begin()
    stage.host.after(0.2, lambda: stage.holder.take("silence", over=True, thaws_in_s=1.0))
    assert stage.standby.why_ended() is ChannelEnd.TAKEN
    assert (stage.standby.taken, stage.standby.over) == ("silence", True)
    assert stage.standby.wait(0.5) is None
    assert stage.standby.wait(5.0) == report()


def test_who_has_died_since_has_not_taken_over(stage: Stage) -> None:
    stage.begin()
    stage.holder.take("silence", thaws_in_s=None)
    stage.holder.die()
    assert stage.standby.taken is None
    assert stage.standby.wait(0.0) is None


def test_without_a_holder_nothing_is_taken_waited_for_or_said(stage: Stage) -> None:
    assert (stage.standby.taken, stage.standby.over, stage.standby.wait(5.0)) == (None, False, None)
    stage.standby.hold(stage.host.now + 5.0)
    stage.standby.thaws()
    stage.standby.end()
    assert stage.standby.spare() is None
    assert stage.holder.said == []


# -- renewed --------------------------------------------------------------------------------


def test_what_a_dead_holder_leaves_is_the_connection_itself(stage: Stage) -> None:
    stage.begin()
    stage.holder.die()
    assert stage.standby.spare() is stage.raw
    assert stage.raw.fileno() >= 0


def test_the_connection_to_a_guest_that_has_hung_up_is_closed(stage: Stage) -> None:
    """QEMU would take it for its one client."""
    stage.begin()
    stage.holder.guests_end()
    assert stage.standby.spare() is None
    assert stage.raw.fileno() == -1


def test_a_new_connection_is_armed_with_all_that_was_said_of_the_old_one(stage: Stage) -> None:
    stage.begin()
    stage.standby.hold(stage.host.now + 10.0)
    stage.standby.thaws()
    stage.host.sleep(4.0)
    channel = stage.standby.renewed(stage.breaks())
    assert channel is stage.holder.armed.channel
    assert stage.holder.armed_as[1]["sent"] is True
    assert stage.last("intend") == {
        "bound_s": pytest.approx(96.0),
        "hold_s": 10.0,
        "sent": True,
        "thawing": True,
    }
    assert stage.last("hold") == {"seconds": pytest.approx(6.0)}
    assert [number for word, number, _ in stage.holder.said if word == "disarm"] == [0]
    assert stage.told == []


def test_a_bound_and_a_hold_that_have_passed_are_not_negative(stage: Stage) -> None:
    stage.begin()
    stage.standby.hold(stage.host.now + 10.0)
    stage.host.sleep(500.0)
    stage.standby.renewed(stage.breaks())
    assert (stage.last("intend")["bound_s"], stage.last("hold")["seconds"]) == (0.0, 0.0)


def test_on_the_spare_connection_the_old_guard_alone_is_forgotten(stage: Stage) -> None:
    channel = stage.begin()
    stage.holder.die()
    spare = stage.standby.spare()
    assert spare is not None
    stage.standby.renewed(spare)
    assert channel.fileno() == -1
    assert stage.raw.fileno() >= 0, "it is what we go on with"
    assert "disarm" not in stage.holder.words()


def no_holder(stage: Stage) -> None:
    stage.holder.refusal = "no process can be started"


def deaf(stage: Stage) -> None:
    stage.holder.deaf = True


def no_descriptor(stage: Stage) -> None:
    def refuse(*_: object, **__: object) -> ArmedChannel:
        raise OSError(24, "too many open files")

    stage.patch.setattr(stage.holder, "arm", refuse)


@pytest.mark.parametrize("why", [no_holder, deaf, no_descriptor])
def test_where_none_can_be_had_it_goes_on_alone_and_says_so_once(
    stage: Stage, why: Callable[[Stage], None]
) -> None:
    stage.begin()
    new = stage.breaks()
    why(stage)
    assert stage.standby.renewed(new) is new
    assert stage.standby.mend(new) is None, "not at once"
    stage.host.sleep(AGAIN_S)
    assert stage.standby.mend(new) is None
    (alone,) = stage.told
    assert alone.level is Level.ERROR
    assert "nobody would thaw the guest if frostwatch died now" in alone.text
    assert new.fileno() >= 0


def test_alone_it_tries_again_every_few_seconds_until_one_stands_by(stage: Stage) -> None:
    stage.begin()
    new = stage.breaks()
    no_holder(stage)
    stage.standby.renewed(new)
    assert stage.standby.why_ended() is ChannelEnd.BROKEN
    stage.host.sleep(AGAIN_S - 0.1)
    stage.holder.refusal = None
    assert stage.standby.mend(new) is None
    stage.host.sleep(0.1)
    assert stage.standby.mend(new) is stage.holder.armed.channel
    assert stage.texts[1:] == ["a holder stands by again"]
    stage.host.sleep(60.0)
    assert stage.standby.mend(stage.holder.armed.channel) is None, "there is nothing to mend"


def test_a_holder_that_has_not_heard_what_is_intended_has_nothing_of_ours(stage: Stage) -> None:
    stage.begin()
    new = stage.breaks()
    deaf(stage)
    stage.standby.renewed(new)
    assert stage.holder.armed.channel.fileno() == -1
    stage.standby.end()
    assert [number for word, number, _ in stage.holder.said if word == "disarm"] == [0]


# -- left -----------------------------------------------------------------------------------


def test_left_it_is_the_holders_and_only_our_own_ends_are_closed(stage: Stage) -> None:
    channel = stage.begin()
    assert stage.standby.leave(channel) == PID
    assert (stage.standby.left_to, stage.standby.tried_to_leave) == (PID, True)
    stage.standby.end()
    assert stage.holder.words()[-1] == "take"
    assert (channel.fileno(), stage.raw.fileno()) == (-1, -1)


def test_it_is_left_once(stage: Stage) -> None:
    channel = stage.begin()
    assert stage.standby.leave(channel) == stage.standby.leave(channel) == PID
    assert stage.holder.words().count("take") == 1


def test_what_came_of_it_is_told_after_we_have_left(stage: Stage) -> None:
    stage.standby.leave(stage.begin())
    stage.holder.armed.end(report())
    assert [tell.level for tell in stage.told] == [Level.GOOD]
    assert "thawed 2" in stage.told[0].text


def test_what_came_of_it_in_vain_is_told_with_the_next_step(stage: Stage) -> None:
    stage.standby.leave(stage.begin())
    stage.holder.armed.end(report(settled=False, reason="it is silent"))
    assert [tell.level for tell in stage.told] == [Level.ERROR]
    assert "it is silent. NEXT: look" in stage.told[0].text


def one_that_keeps_it(stage: Stage) -> None:
    """The holder that there is does not acknowledge; the next one does."""
    taken: list[ArmedChannel] = []

    def hand_over(armed: ArmedChannel) -> int:
        taken.append(armed)
        if len(taken) == 1:
            raise NoHolder("it has gone")
        return PID

    stage.patch.setattr(stage.holder, "hand_over", hand_over)


def test_a_holder_that_does_not_acknowledge_is_replaced_by_another_one(stage: Stage) -> None:
    channel = stage.begin()
    one_that_keeps_it(stage)
    assert stage.standby.leave(channel) == PID
    assert len(stage.holder.all_armed) == 2
    assert stage.holder.all_armed[1].spare is stage.raw, "with the connection itself"
    assert channel.fileno() == -1


def test_where_nobody_takes_it_it_is_left_to_nobody(stage: Stage) -> None:
    channel = stage.begin()
    stage.holder.keeps_nothing = True
    assert stage.standby.leave(channel) is None
    assert (stage.standby.left_to, stage.standby.tried_to_leave) == (None, True)
    assert len(stage.holder.all_armed) == 2, "one more was asked"


def test_alone_it_is_left_to_a_new_holder_with_the_connection_that_there_is(stage: Stage) -> None:
    stage.begin()
    new = stage.breaks()
    no_holder(stage)
    stage.standby.renewed(new)
    stage.holder.refusal = None
    assert stage.standby.leave(new) == PID
    assert stage.holder.armed.spare is new


def test_a_channel_that_is_closed_already_is_left_all_the_same(stage: Stage) -> None:
    """The holder is given one that has ended, and opens the guest's anew."""
    stage.begin()
    new = stage.breaks()
    no_holder(stage)
    stage.standby.renewed(new)
    new.close()
    stage.holder.refusal = None
    assert stage.standby.leave(new) == PID
    assert stage.holder.armed.spare is not new
    stage.standby.end()
    assert stage.holder.armed.spare.fileno() == -1


def test_a_holder_that_dies_as_it_is_left_the_guest_is_replaced(stage: Stage) -> None:
    channel = stage.begin()
    real = stage.holder.hand_over

    def dies(armed: ArmedChannel) -> int:
        pid = real(armed)
        if armed is stage.holder.all_armed[0]:
            stage.holder.die()
        return pid

    stage.patch.setattr(stage.holder, "hand_over", dies)
    assert stage.standby.leave(channel) == PID
    assert len(stage.holder.all_armed) == 2


# -- deserted -------------------------------------------------------------------------------


def test_a_holder_that_dies_with_what_was_left_to_it_is_replaced_and_that_is_told(
    stage: Stage,
) -> None:
    stage.standby.leave(stage.begin())
    stage.standby.end()
    stage.holder.die()
    assert stage.standby.left_to == PID
    assert len(stage.holder.all_armed) == 2
    assert stage.texts == [f"the holder has gone: another one (pid {PID}) goes on with the thaw"]
    armed = stage.holder.armed
    assert (armed.channel.fileno(), armed.spare.fileno()) == (-1, -1), "nothing of ours is open"


def test_where_no_other_one_can_be_had_a_person_is_told_how_to_thaw(stage: Stage) -> None:
    stage.standby.leave(stage.begin())
    stage.standby.end()
    no_holder(stage)
    stage.holder.die()
    assert stage.standby.left_to is None
    assert stage.told[-1].level is Level.ERROR
    assert "NOBODY STANDS BY. NEXT: frostwatch thaw" in stage.texts[-1]


def test_without_a_descriptor_for_another_one_a_person_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Channel:
        raise OSError(24, "too many open files")

    stage.standby.leave(stage.begin())
    stage.standby.end()
    monkeypatch.setattr(standby, "_ended_channel", refuse)
    stage.holder.die()
    assert "NOBODY STANDS BY" in stage.texts[-1]


# -- the end --------------------------------------------------------------------------------


def test_what_is_settled_is_disarmed_once(stage: Stage) -> None:
    channel = stage.begin()
    stage.standby.end()
    stage.standby.end()
    assert stage.holder.words()[2:] == ["disarm"]
    assert (channel.fileno(), stage.raw.fileno()) == (-1, -1)


def test_a_holder_given_an_ended_channel_sees_its_end_at_once() -> None:
    channel = standby._ended_channel()
    with pytest.raises(Exception, match="closed the connection"):
        channel.receive()
    channel.close()
