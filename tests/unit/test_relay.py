"""The relay passes on what each side says, no more than the other one takes, and tells its end."""

from __future__ import annotations

import errno
import selectors

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.holder.relay import READ_BYTES, Relay
from tests.unit.fake_sockets import FakeSelector, FakeSocket

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Between:
    """A relay, and both its sides."""

    def __init__(self) -> None:
        self.selector = FakeSelector()
        self.guest = FakeSocket()
        self.console = FakeSocket()
        self.ended: list[str] = []
        self.relay = Relay(
            self.selector.real, self.guest.real, self.console.real, self.ended.append
        )

    def turn(self) -> None:
        self.selector.turn(self.guest, self.console)


@pytest.fixture
def between() -> Between:
    return Between()


def test_what_one_side_says_the_other_one_hears_and_it_is_counted(between: Between) -> None:
    between.console.incoming += [b"freeze\n", b"status\n"]
    between.guest.incoming.append(b"2\n")
    for _ in range(3):
        between.turn()
    assert (between.guest.taken, between.console.taken) == (b"freeze\nstatus\n", b"2\n")
    assert (between.relay.to_guest, between.relay.from_guest) == (14, 2)
    assert between.ended == []


def test_a_console_that_does_not_read_stops_the_guest_from_being_read(between: Between) -> None:
    """What a stopped console does not take costs no memory beyond one read (P7)."""
    between.console.room = 10
    between.guest.incoming += [b"x" * READ_BYTES] * 100
    for _ in range(50):
        between.turn()
    assert between.relay.from_guest == READ_BYTES
    assert between.selector.events(between.guest) == 0
    assert between.selector.events(between.console) == READ | WRITE
    between.console.room = None
    between.turn()
    assert len(between.console.taken) == READ_BYTES
    assert between.selector.events(between.guest) == READ
    assert between.selector.events(between.console) == READ
    between.turn()
    assert between.relay.from_guest == 2 * READ_BYTES


def test_the_other_direction_goes_on_meanwhile(between: Between) -> None:
    """A console that reads no flood can still send its thaw."""
    between.console.room = 0
    between.guest.incoming.append(b"flood")
    between.turn()
    between.console.incoming.append(b"thaw\n")
    between.turn()
    assert between.guest.taken == b"thaw\n"


def test_what_the_guest_has_not_taken_is_not_counted_as_sent(between: Between) -> None:
    """Whether a freeze may have run is concluded from that count."""
    between.guest.room = 3
    between.console.incoming.append(b"freeze\n")
    between.turn()
    assert between.relay.to_guest == 3
    between.guest.room = None
    between.turn()
    assert between.relay.to_guest == 7
    assert between.guest.taken == b"freeze\n"


@pytest.mark.parametrize("side", ["guest", "console"])
@pytest.mark.parametrize("end", [b"", OSError(errno.ECONNRESET, "reset by peer")])
def test_a_side_that_ends_is_told(between: Between, side: str, end: bytes | OSError) -> None:
    getattr(between, side).incoming.append(end)
    between.turn()
    assert between.ended == [side]


@pytest.mark.parametrize(("side", "other"), [("guest", "console"), ("console", "guest")])
def test_a_side_that_takes_nothing_any_more_has_ended(
    between: Between, side: str, other: str
) -> None:
    getattr(between, side).send_error = BrokenPipeError(errno.EPIPE, "broken pipe")
    getattr(between, other).incoming.append(b"data")
    between.turn()
    assert between.ended == [side]


@pytest.mark.parametrize("short", [errno.ENOMEM, errno.ENOBUFS])
def test_a_system_without_memory_for_a_moment_ends_nothing(between: Between, short: int) -> None:
    between.guest.incoming.append(OSError(short, "no memory"))
    between.turn()
    between.guest.send_error = OSError(short, "no memory")
    between.console.incoming.append(b"thaw\n")
    between.turn()
    assert (between.relay.to_guest, between.ended) == (0, [])
    assert between.selector.events(between.guest) == READ | WRITE
    between.guest.send_error = None
    between.turn()
    assert (between.guest.taken, between.relay.to_guest) == (b"thaw\n", 5)


def test_a_wake_up_for_nothing_changes_nothing(between: Between) -> None:
    _, _, handler = between.selector.registered[between.guest.fd]
    handler(READ)
    handler(WRITE)
    assert (between.ended, between.relay.from_guest) == ([], 0)


def test_stopped_it_passes_nothing_on_and_refuses_the_console(between: Between) -> None:
    between.guest.room = 0
    between.console.incoming.append(b"freeze\n")
    between.turn()
    between.relay.stop()
    between.guest.room = None
    assert between.selector.registered == {}
    assert (between.console.closed, between.guest.closed) == (True, False)
    between.relay.stop()
    assert between.guest.taken == b"", "not even what was read already"


def test_what_was_ready_in_the_same_turn_is_not_read_after_the_stop(between: Between) -> None:
    _, _, handler = between.selector.registered[between.guest.fd]
    between.guest.incoming.append(b"answer")
    between.relay.stop()
    handler(READ | WRITE)
    assert between.relay.from_guest == 0


def test_an_end_in_the_writing_keeps_the_reading_of_the_same_turn_away() -> None:
    """Its owner stops it in the middle of the handler."""
    selector, guest, console = FakeSelector(), FakeSocket(), FakeSocket()
    relay: Relay
    relay = Relay(selector.real, guest.real, console.real, lambda _: relay.stop())
    guest.room = 0
    console.incoming.append(b"x")
    selector.turn(console)
    guest.room, guest.send_error = 1, BrokenPipeError(errno.EPIPE, "broken pipe")
    guest.incoming.append(b"late")
    selector.turn(guest)
    assert (relay.from_guest, console.closed, selector.registered) == (0, True, {})


def test_an_end_after_the_stop_is_not_told(between: Between) -> None:
    _, _, handler = between.selector.registered[between.guest.fd]
    between.relay.stop()
    between.guest.incoming.append(b"")
    handler(READ)
    assert between.ended == []


def test_who_can_not_be_registered_leaves_nothing_behind() -> None:
    selector, guest, console = FakeSelector(), FakeSocket(), FakeSocket()
    selector.refused = 2
    with pytest.raises(OSError, match="no watch"):
        Relay(selector.real, guest.real, console.real, lambda _: None)
    assert selector.registered == {}
    closed = (guest.closed, console.closed)
    assert closed == (False, False), "whoever gave them closes them"


def test_sides_that_are_closed_already_can_be_forgotten(between: Between) -> None:
    between.guest.close()
    between.console.close()
    between.relay.stop()
    assert between.ended == []


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["guest", "console"]), st.binary(min_size=1, max_size=9)),
        st.tuples(st.sampled_from(["guest room", "console room"]), st.integers(0, 7)),
    ),
    max_size=40,
)


@given(steps)
def test_in_whatever_order_nothing_is_lost_doubled_or_moved(
    said: list[tuple[str, bytes | int]],
) -> None:
    between = Between()
    spoken = {"guest": b"", "console": b""}
    for word, value in said:
        if isinstance(value, bytes):
            getattr(between, word).incoming.append(value)
            spoken[word] += value
        else:
            getattr(between, word.partition(" ")[0]).room = value
        between.turn()
        assert spoken["guest"].startswith(between.console.taken)
        assert spoken["console"].startswith(between.guest.taken)
        assert between.relay.to_guest == len(between.guest.taken)
    between.guest.room = between.console.room = None
    for _ in range(2 * len(said) + 4):
        between.turn()
    assert between.console.taken == spoken["guest"]
    assert between.guest.taken == spoken["console"]
    assert between.relay.from_guest == len(spoken["guest"])
