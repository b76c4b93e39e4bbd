"""The agent's calls on a guest in memory, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentclient.access import agent as agent_module
from agentclient.access import exchange as exchange_module
from agentclient.access.agent import (
    DEFAULT_TIMEOUT_S,
    SYNC_TIMEOUT_S,
    TIMEOUTS,
    GuestAgent,
    timeout_of,
)
from agentclient.access.agent_session import StreamSession
from agentclient.access.cancel import Cancellation
from agentclient.access.stream import StreamEnded
from agentclient.model.errors import (
    AgentError,
    AgentTimeout,
    Cancelled,
    ChannelBroken,
    CommandFailed,
    CommandLost,
    ProtocolViolation,
)
from agentclient.model.states import Cause, FreezeState
from tests.unit.fakes import ENDED, GREETING, Clock, Error, FakeAgent, FakeChannel, Raw, line

STATUS, FREEZE, THAW = "guest-fsfreeze-status", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"
FREEZE_LIST, OS_INFO, SYNC = (
    "guest-fsfreeze-freeze-list",
    "guest-get-osinfo",
    "guest-sync-delimited",
)


class Guest:
    """A conversation with a fake agent."""

    def __init__(self, clock: Clock, **answers: object) -> None:
        self.clock = clock
        self.answers: dict[str, object] = {
            name.replace("_", "-"): value for name, value in answers.items()
        }
        self.fake = FakeAgent(self.answers)
        self.channel = FakeChannel(clock, self.fake)
        self.cancellation = Cancellation()
        self.session = StreamSession(self.channel)
        self.agent = GuestAgent("qemu:db", self.session, self.cancellation)

    @property
    def commands(self) -> list[object]:
        return self.channel.commands


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.install(monkeypatch, agent_module, exchange_module)
    return made


# -- the table of timeouts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (SYNC, 3.0),
        ("guest-ping", 5.0),
        (STATUS, 5.0),
        ("guest-get-fsinfo", 5.0),
        (FREEZE, 600.0),
        ("guest-fsfreeze-freeze-list", 600.0),
        (THAW, 180.0),
        ("guest-fstrim", 600.0),
        ("guest-shutdown", 600.0),
        ("guest-set-vcpus", 60.0),
        ("anything", 5.0),
    ],
)
def test_timeouts_by_command(command: str, seconds: float) -> None:
    assert timeout_of(command) == seconds
    assert TIMEOUTS.get(command, DEFAULT_TIMEOUT_S) == seconds


CALLS: list[tuple[str, Callable[[GuestAgent], object]]] = [
    (FREEZE, lambda agent: agent.request(FREEZE)),
    (FREEZE_LIST, lambda agent: agent.request(FREEZE_LIST, {"mountpoints": ["/"]})),
    (THAW, lambda agent: agent.request(THAW)),
    (STATUS, lambda agent: agent.probe_status()),
    ("guest-get-fsinfo", lambda agent: agent.fsinfo()),
    ("guest-get-osinfo", lambda agent: agent.request(OS_INFO)),
    ("guest-info", lambda agent: agent.info()),
    ("guest-ping", lambda agent: agent.request("guest-ping")),
]


@pytest.mark.parametrize(("command", "call"), CALLS)
def test_a_silent_agent_is_waited_for_as_the_table_says(
    clock: Clock, command: str, call: Callable[[GuestAgent], object]
) -> None:
    guest = Guest(clock)
    guest.answers[command] = Raw()
    guest.agent.sync()
    started = clock.now
    with pytest.raises(AgentTimeout) as caught:
        call(guest.agent)
    assert clock.now - started == timeout_of(command)
    assert isinstance(caught.value, AgentTimeout)
    assert (caught.value.vm, caught.value.command) == ("qemu:db", command)
    assert caught.value.seconds == timeout_of(command)
    assert "qemu:db" in str(caught.value)
    assert command in str(caught.value)


def test_a_timeout_can_be_chosen(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_freeze=Raw(line({"return": 2}), delay_s=30.0))
    with pytest.raises(AgentTimeout):
        guest.agent.request(FREEZE, timeout_s=29.0)
    guest = Guest(clock, guest_fsfreeze_freeze=Raw(line({"return": 2}), delay_s=30.0))
    assert guest.agent.request(FREEZE, timeout_s=31.0) == 2


def test_an_agent_that_talks_without_end_does_not_keep_us(clock: Clock) -> None:
    guest = Guest(clock)
    guest.agent.sync()
    guest.answers["guest-ping"] = Raw()
    guest.channel.arrive((0.5, line({"return": 1, "id": number})) for number in range(100))
    started = clock.now
    with pytest.raises(AgentTimeout):
        guest.agent.request("guest-ping")
    assert clock.now - started <= 5.5


# -- synchronising ------------------------------------------------------------------------------


def test_the_first_request_synchronises_before_it_is_written(clock: Clock) -> None:
    guest = Guest(clock, guest_ping={})
    guest.agent.request("guest-ping")
    guest.agent.request("guest-ping")
    assert guest.commands == [SYNC, "guest-ping", "guest-ping"]
    assert guest.channel.written.startswith(b"\xff")


def test_without_an_answer_to_the_sync_nothing_else_is_written(clock: Clock) -> None:
    guest = Guest(clock)
    guest.fake.silent = True
    started = clock.now
    with pytest.raises(AgentTimeout) as caught:
        guest.agent.request(FREEZE)
    assert clock.now - started == SYNC_TIMEOUT_S
    assert caught.value.command == SYNC
    assert guest.commands == [SYNC, "guest-sync"]


def test_an_agent_that_refuses_the_sync_is_sent_the_plain_one_at_once(clock: Clock) -> None:
    guest = Guest(clock, guest_sync_delimited=Error("disabled", "CommandNotFound"), guest_ping={})
    guest.fake.answers["guest-sync"] = lambda given: given["id"]
    began = clock.now
    guest.agent.request("guest-ping")
    assert clock.now - began < 1.0
    assert guest.commands == [SYNC, "guest-sync", "guest-ping"]


def test_an_agent_that_takes_no_sync_at_all_has_answered(clock: Clock) -> None:
    guest = Guest(clock, guest_sync_delimited=Error("no"), guest_sync=Error("nor that"))
    with pytest.raises(CommandFailed, match="nor that"):
        guest.agent.request("guest-ping")
    assert guest.commands == [SYNC, "guest-sync"]


def test_a_sync_that_is_answered_late_counts_after_all_errors(clock: Clock) -> None:
    """The errors may be what another client has left: a refusal is believed at the end alone."""
    guest = Guest(clock, guest_sync_delimited=Raw(), guest_fsfreeze_status="thawed")
    guest.channel.arrive([line({"error": {"class": "GenericError", "desc": "left"}})] * 4)
    guest.fake.answers["guest-sync"] = lambda given: Raw(line({"return": given["id"]}), 1.0)
    began = clock.now
    guest.agent.sync()
    assert 1.0 <= clock.now - began < SYNC_TIMEOUT_S
    assert guest.commands == [SYNC, "guest-sync"]
    assert guest.agent.request(STATUS) == "thawed"


def test_an_agent_that_takes_one_kind_of_sync_is_sent_no_second_one_later(clock: Clock) -> None:
    guest = Guest(clock, guest_sync_delimited=Error("disabled"), guest_ping=Raw())
    guest.fake.answers["guest-sync"] = lambda given: given["id"]
    with pytest.raises(AgentTimeout):
        guest.agent.request("guest-ping")
    guest.answers["guest-ping"] = {}
    guest.agent.request("guest-ping")
    assert guest.commands == [SYNC, "guest-sync", "guest-ping", "guest-sync", "guest-ping"]


def test_a_monitor_in_the_agents_place_is_told_at_once(clock: Clock) -> None:
    guest = Guest(clock)
    guest.fake.silent = True
    guest.channel.arrive([GREETING])
    began = clock.now
    with pytest.raises(ProtocolViolation, match="are the two sockets swapped"):
        guest.agent.sync()
    assert clock.now == began
    assert guest.commands == [SYNC]


def test_what_was_left_in_the_channel_is_skipped(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_status="thawed")
    guest.channel.arrive(
        [line({"return": 7}), b'half a line{"', b'\xff{"return": 99}\n', b"junk\n"]
    )
    guest.agent.sync()
    assert guest.agent.request(STATUS) == "thawed"


@pytest.mark.parametrize("probed", [True, False])
def test_after_a_timeout_the_channel_is_synchronised_before_anything_else(
    clock: Clock, probed: bool
) -> None:
    guest = Guest(clock, guest_get_osinfo=Raw(), guest_fsfreeze_status="thawed")
    guest.agent.sync()
    if probed:
        guest.agent.probe_status()
    with pytest.raises(AgentTimeout):
        guest.agent.request(OS_INFO)
    # The late answer comes with the next one's sync, and is nobody's.
    guest.channel.arrive([line({"return": {"name": "late"}})])
    assert guest.agent.request(STATUS) == "thawed"
    assert guest.commands[-3:] == ["guest-get-osinfo", SYNC, STATUS]


def test_a_probe_that_timed_out_is_followed_by_a_sync(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_status=Raw(), guest_ping={})
    guest.agent.sync()
    with pytest.raises(AgentTimeout):
        guest.agent.probe_status()
    guest.agent.request("guest-ping")
    assert guest.commands == [SYNC, STATUS, SYNC, "guest-ping"]


def test_a_sync_that_timed_out_is_followed_by_another(clock: Clock) -> None:
    guest = Guest(clock, guest_ping={})
    guest.agent.sync()
    guest.fake.silent = True
    with pytest.raises(AgentTimeout):
        guest.agent.sync()
    guest.fake.silent = False
    guest.agent.request("guest-ping")
    assert guest.commands == [SYNC, SYNC, SYNC, SYNC, "guest-ping"]


def test_an_error_needs_no_new_sync(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_freeze=Error("hook"), guest_ping={})
    with pytest.raises(CommandFailed):
        guest.agent.request(FREEZE)
    guest.agent.request("guest-ping")
    assert guest.commands == [SYNC, FREEZE, "guest-ping"]


# -- ids ----------------------------------------------------------------------------------------


def test_the_probe_teaches_that_ids_are_taken(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_status="frozen", guest_ping={})
    guest.agent.sync()
    assert guest.agent.probe_status() is FreezeState.FROZEN
    assert guest.agent.probe_status() is FreezeState.FROZEN
    guest.agent.request("guest-ping")
    assert guest.commands == [SYNC, STATUS, STATUS, "guest-ping"]
    assert all("id" in sent for sent in guest.channel.lines[1:])


def test_an_agent_that_refuses_ids_is_asked_again_without(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_status="frozen", guest_ping={})
    guest.fake.takes_ids = False
    guest.agent.sync()
    assert guest.agent.probe_status() is FreezeState.FROZEN
    assert guest.session.wire.tags is False
    guest.agent.request("guest-ping")
    assert guest.commands == [SYNC, STATUS, STATUS, "guest-ping"]
    assert ["id" in sent for sent in guest.channel.lines[1:]] == [True, False, False]


def test_a_missing_command_is_no_refusal_of_ids(clock: Clock) -> None:
    guest = Guest(clock)
    guest.agent.sync()
    with pytest.raises(CommandFailed) as caught:
        guest.agent.probe_status()
    assert caught.value.error_class == "CommandNotFound"
    assert guest.commands == [SYNC, STATUS]
    assert guest.session.wire.tags is True


# -- what can go wrong ----------------------------------------------------------------------------


def test_an_agents_error_has_its_class_and_its_words_made_safe(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_thaw=Error("hook \x1b[2J failed", "GenericError"))
    with pytest.raises(CommandFailed) as caught:
        guest.agent.request(THAW)
    assert (caught.value.error_class, caught.value.desc) == ("GenericError", "hook \\x1b[2J failed")
    assert not isinstance(caught.value, AgentTimeout)


def test_a_later_answer_means_that_the_command_is_lost(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_status="thawed")
    guest.agent.sync()
    guest.agent.probe_status()

    def restarted(_: object) -> Raw:
        # The freeze dies with its agent; the next one answers what was queued behind it.
        sync = guest.session.wire.sync(90)
        return Raw(b"".join(one for one in guest.fake(sync) if isinstance(one, bytes)))

    guest.answers[FREEZE] = restarted
    with pytest.raises(CommandLost) as caught:
        guest.agent.request(FREEZE)
    assert caught.value.cause is Cause.UNKNOWN
    assert guest.agent.request(STATUS) == "thawed"
    assert guest.commands[-2:] == [SYNC, STATUS]


def test_a_stream_that_ends_is_a_broken_channel(clock: Clock) -> None:
    guest = Guest(clock)
    guest.agent.sync()
    guest.channel.arrive([(1.5, ENDED)])
    guest.answers["guest-ping"] = Raw()
    with pytest.raises(ChannelBroken) as caught:
        guest.agent.request("guest-ping")
    assert caught.value.seconds == 1.5
    assert not isinstance(caught.value, AgentTimeout)


def test_a_stream_that_does_not_take_our_bytes_is_a_timeout(clock: Clock) -> None:
    guest = Guest(clock)
    guest.channel.send_error = TimeoutError("the other side does not take our bytes")
    with pytest.raises(AgentTimeout, match="does not take"):
        guest.agent.sync()
    guest.channel.send_error = StreamEnded("broken pipe")
    with pytest.raises(ChannelBroken, match="broken pipe"):
        guest.agent.request("guest-ping")


def test_a_cancellation_ends_the_wait(clock: Clock) -> None:
    guest = Guest(clock, guest_fsfreeze_freeze=Raw(), guest_ping={})
    guest.agent.sync()
    started = clock.now
    guest.cancellation.set()
    with pytest.raises(Cancelled):
        guest.agent.request(FREEZE)
    assert clock.now == started


@pytest.mark.parametrize("junk", [b"no json\n", b"[]\n", b"{}\n", b"[" * 70 + b"\n"])
def test_what_is_no_protocol_is_a_violation_once_in_step(clock: Clock, junk: bytes) -> None:
    guest = Guest(clock, guest_ping=Raw(junk), guest_get_osinfo={})
    guest.agent.sync()
    with pytest.raises(ProtocolViolation):
        guest.agent.request("guest-ping")
    assert guest.agent.request(OS_INFO) == {}
    assert guest.commands == [SYNC, "guest-ping", SYNC, "guest-get-osinfo"]


def test_leftovers_of_others_are_no_violation(clock: Clock) -> None:
    stray = line({"return": 5, "id": "somebody"}) + line({"error": {}, "id": 7})
    guest = Guest(clock, guest_fsfreeze_status="thawed", guest_ping=Raw(stray))
    guest.agent.sync()
    guest.agent.probe_status()
    with pytest.raises(AgentTimeout):
        guest.agent.request("guest-ping")


def test_errors_say_what_to_do_next() -> None:
    error = AgentTimeout("qemu:db", STATUS, "no answer", 5.04, "Look into the guest")
    assert (
        str(error) == "qemu:db: guest-fsfreeze-status: no answer (after 5.0 s). Look into the guest"
    )
    assert str(AgentError("v", "c", "m")) == "v: c: m (after 0.0 s)"
    lost = CommandLost("v", "c", Cause.AGENT_GONE, 1.0)
    assert lost.cause is Cause.AGENT_GONE
    assert "agent-gone" in str(lost)
