"""The wire's rules about order and ownership (protocol §1.1, §1.2, §2)."""

from __future__ import annotations

import json
from itertools import count

import pytest

from agentclient.protocol.qga import LARGEST_ID, AgentWire, NotSynced, random_id
from agentclient.protocol.qga_events import Dropped, Failure, PassedOver, Reply, Synced, WireEvent
from tests.unit.fakes import failed, line

PARSE_ERROR = failed("JSON parse error")


def new_wire(*, max_line: int = 1000, max_depth: int = 8) -> AgentWire:
    """A wire whose sync ids are 101, 102, … (100 went into its tags)."""
    return AgentWire(max_line=max_line, max_depth=max_depth, new_id=count(100).__next__)


def owned_wire(*, tags: bool | None = None, max_line: int = 1000) -> AgentWire:
    """A wire whose first sync, ticket 1, was answered."""
    wire = new_wire(max_line=max_line)
    wire.sync(1)
    assert wire.feed(synced(101)) == [Synced(1)]
    wire.tags = tags
    return wire


def synced(sync_id: int) -> bytes:
    return b"\xff" + line({"return": sync_id})


def tagged(ticket: int, value: object) -> bytes:
    return line({"return": value, "id": f"fw64.{ticket}"})


def answers(events: list[WireEvent]) -> list[WireEvent]:
    return [event for event in events if not isinstance(event, Dropped)]


# -- what is written --------------------------------------------------------------------------


def test_a_sync_is_the_sentinel_and_one_line_with_its_id() -> None:
    written = new_wire().sync(1)
    assert written[:1] == b"\xff"
    assert written.count(b"\xff") == 1
    assert written.endswith(b"}\n")
    assert written.count(b"\n") == 1
    assert json.loads(written[1:]) == {
        "execute": "guest-sync-delimited",
        "arguments": {"id": 101},
    }


def test_each_sync_has_a_fresh_id() -> None:
    wire = AgentWire()
    lines = [wire.sync(ticket).lstrip(b"\xff") for ticket in range(100)]
    ids = {json.loads(one)["arguments"]["id"] for one in lines}
    assert len(ids) == 100
    assert all(1 <= one <= LARGEST_ID for one in ids)


def test_every_second_sync_is_plain_until_one_is_answered() -> None:
    wire = new_wire()
    written = [wire.sync(ticket) for ticket in (1, 2, 3)]
    assert [one.startswith(b"\xff") for one in written] == [True, False, True]
    assert json.loads(written[1]) == {"execute": "guest-sync", "arguments": {"id": 102}}
    assert wire.feed(line({"return": 102})) == [PassedOver(1), Synced(2)]
    assert (wire.owned, wire.plain) == (True, True)
    assert not wire.sync(4).startswith(b"\xff"), "the other kind was not answered"


def test_who_answers_the_first_sync_goes_on_with_its_kind() -> None:
    wire = new_wire()
    wire.sync(1)
    wire.sync(2)
    assert answers(wire.feed(PARSE_ERROR + synced(101) + line({"return": 102}))) == [
        Synced(1),
        Synced(2),
    ]
    assert not wire.plain
    assert wire.sync(3).startswith(b"\xff")


@pytest.mark.parametrize("value", [True, 102.0, "102", 103, None])
def test_a_plain_syncs_reply_is_its_own_id(value: object) -> None:
    wire = new_wire()
    wire.sync(1)
    wire.sync(2)
    wire.feed(line({"return": value}) + line({"return": 102, "id": "x"}))
    assert not wire.owned


def test_random_ids_stay_inside_of_what_json_and_agents_take() -> None:
    assert LARGEST_ID == 2**53
    ids = [random_id() for _ in range(200)]
    assert all(1 <= one <= 2**53 for one in ids)
    assert max(ids) > 2**45  # they use the range: a guess is hopeless


def test_two_conversations_do_not_share_tags() -> None:
    def tag(wire: AgentWire) -> str:
        wire.owned = True
        return str(json.loads(wire.request(1, "guest-ping", tag=True))["id"])

    assert tag(AgentWire()) != tag(AgentWire())


def test_a_request_is_one_line_without_a_sentinel() -> None:
    wire = owned_wire()
    assert wire.request(2, "guest-ping") == b'{"execute":"guest-ping"}\n'
    written = wire.request(3, "x", {"mountpoints": ["/\n"]})
    assert json.loads(written) == {"execute": "x", "arguments": {"mountpoints": ["/\n"]}}
    assert written.count(b"\n") == 1


@pytest.mark.parametrize(
    "heard",
    [b"", synced(999), line({"return": 101}), line({"return": {}}), PARSE_ERROR, b"\xff\n"],
)
def test_nothing_but_a_sync_is_written_before_a_sync_was_answered(heard: bytes) -> None:
    wire = new_wire()
    with pytest.raises(NotSynced):
        wire.request(1, "guest-fsfreeze-freeze")
    wire.sync(2)
    wire.feed(heard)
    with pytest.raises(NotSynced):
        wire.request(3, "guest-fsfreeze-freeze")
    assert wire.waiting == (2,)
    assert wire.feed(synced(101))[-1] == Synced(2)
    assert wire.request(4, "guest-fsfreeze-freeze")
    assert wire.waiting == (4,)


# -- what comes before the sync's answer --------------------------------------------------------


def test_the_first_sync_is_answered_behind_the_parse_error_that_it_provokes() -> None:
    wire = new_wire()
    wire.sync(7)
    events = wire.feed(PARSE_ERROR + synced(101))
    assert events == [Dropped("the error that our sync's leading 0xFF provokes"), Synced(7)]
    assert wire.waiting == ()


@pytest.mark.parametrize(
    "stale",
    [
        line({"return": {}}),
        line({"return": 2}),
        line({"return": "frozen"}),
        failed("somebody's error"),
        synced(999),
        b'{"return": {"half": ',
        b"\n\r\n \t \n",
        b'\xff\xff{"return": 998}\n',
    ],
)
def test_what_an_earlier_client_left_is_dropped(stale: bytes) -> None:
    wire = new_wire()
    wire.sync(7)
    events = wire.feed(stale + synced(101))
    assert answers(events) == [Synced(7)]
    assert not any(event.violation for event in events if isinstance(event, Dropped))


def test_another_clients_sync_reply_is_not_ours() -> None:
    wire = new_wire()
    wire.sync(7)
    assert wire.feed(synced(102)) == [Dropped("a sync reply with another id")]
    assert not wire.owned
    assert wire.waiting == (7,)


@pytest.mark.parametrize("value", [True, 101.0, "101", [101], None, {"id": 101}])
def test_a_sync_reply_is_an_integer(value: object) -> None:
    wire = AgentWire(new_id=lambda: 1) if value is True else new_wire()
    wire.sync(7)
    wire.feed(b"\xff" + line({"return": value}))
    assert not wire.owned


def test_the_reply_to_a_sync_needs_the_sentinel_on_its_own_line() -> None:
    wire = new_wire()
    wire.sync(7)
    wire.feed(b"\xff" + line({"return": 5}) + line({"return": 101}))
    assert not wire.owned


def test_an_unasked_sync_reply_owns_nothing() -> None:
    wire = new_wire()
    assert answers(wire.feed(synced(101))) == []
    assert not wire.owned


def test_a_later_syncs_reply_passes_the_earlier_ones() -> None:
    wire = new_wire()
    wire.sync(7)
    wire.sync(8)
    assert wire.feed(synced(102)) == [PassedOver(7), Synced(8)]
    assert answers(wire.feed(synced(101))) == []


# -- torn lines -------------------------------------------------------------------------------


def test_a_sentinel_cuts_off_half_a_line() -> None:
    wire = owned_wire(tags=True)
    wire.request(2, "guest-info")
    wire.sync(3)
    events = wire.feed(b'{"return": {"ver' + synced(102))
    assert events == [Dropped('half a line: b\'{"return": {"ver\''), PassedOver(2), Synced(3)]


@pytest.mark.parametrize("tags", [True, False])
@pytest.mark.parametrize("text", [b"\xff", b"\xcf\xf0\xff\xf2", b"\xff\xff", b"a\xff{b}"])
def test_a_byte_0xff_inside_of_a_line_is_a_byte_of_it(tags: bool, text: bytes) -> None:
    wire = owned_wire(tags=tags)
    wire.request(2, "guest-fsfreeze-freeze")
    echo = b', "id": "fw64.2"' if tags else b""
    said = b'{"error": {"class": "GenericError", "desc": "%s!"}%s}\n' % (text, echo)
    shown = text.decode(errors="replace")
    assert wire.feed(said) == [Failure(2, "GenericError", f"{shown}!")]


def test_a_byte_0xff_inside_of_a_line_is_told_from_a_syncs_sentinel() -> None:
    wire = owned_wire(tags=True)
    wire.request(2, "guest-fsfreeze-freeze")
    wire.sync(3)
    said = b'{"error": {"desc": "\xff{\\"return\\": 102}"}, "id": "fw64.2"}\n'
    assert wire.feed(said) == [Failure(2, "GenericError", '\ufffd{"return": 102}')]
    assert wire.feed(synced(102)) == [Synced(3)]


@pytest.mark.parametrize("tags", [True, False])
def test_an_answer_may_have_0xff_before_it(tags: bool) -> None:
    wire = owned_wire(tags=tags)
    wire.request(2, "guest-fsfreeze-freeze")
    answer = tagged(2, 2) if tags else line({"return": 2})
    assert wire.feed(b"\xff") == []
    assert wire.unfinished
    assert wire.feed(answer) == [Reply(2, 2)]
    assert not wire.unfinished


@pytest.mark.parametrize("half", [b'{"return": 2', b"\xff", b'{"return": "', b"nonsense "])
def test_an_answer_with_our_id_is_found_behind_half_a_line(half: bytes) -> None:
    wire = owned_wire(tags=True)
    wire.request(2, "guest-fsfreeze-freeze")
    wire.request(3, "guest-fsfreeze-status")
    assert wire.feed(half + tagged(3, "thawed")) == [PassedOver(2), Reply(3, "thawed")]


def test_an_answer_without_an_id_is_not_guessed_behind_half_a_line() -> None:
    wire = owned_wire(tags=False)
    wire.request(2, "guest-fsfreeze-freeze")
    assert answers(wire.feed(b'{"return": {"return": ' + line({"return": 2}))) == []


def test_the_rest_of_a_torn_line_is_no_answer() -> None:
    wire = new_wire()
    wire.sync(7)
    events = wire.feed(b'"half": 1}}\n' + synced(101))
    assert events == [Dropped("no JSON: b'\"half\": 1}}'", violation=True), Synced(7)]


def test_half_a_line_says_nothing_until_its_end_comes() -> None:
    wire = owned_wire()
    wire.request(2, "guest-ping")
    whole = line({"return": {}})
    assert wire.feed(whole[:-1]) == []
    assert wire.waiting == (2,)
    assert wire.feed(whole[-1:]) == [Reply(2, {})]


def test_a_line_may_end_with_carriage_return_and_have_blanks_around() -> None:
    wire = owned_wire()
    wire.request(2, "guest-ping")
    assert wire.feed(b' \t{"return": 1} \r\n') == [Reply(2, 1)]


# -- order ------------------------------------------------------------------------------------


def test_untagged_answers_come_in_the_order_of_the_requests() -> None:
    wire = owned_wire(tags=False)
    wire.request(2, "a")
    wire.request(3, "b")
    assert wire.feed(line({"return": "A"}) + failed("B", "X")) == [
        Reply(2, "A"),
        Failure(3, "X", "B"),
    ]
    assert wire.waiting == ()


def test_an_answer_to_a_later_request_means_that_the_earlier_ones_will_not_be_answered() -> None:
    wire = owned_wire(tags=True)
    for ticket in (2, 3, 4):
        wire.request(ticket, "a")
    assert wire.feed(tagged(4, "late")) == [PassedOver(2), PassedOver(3), Reply(4, "late")]
    assert wire.waiting == ()


def test_a_late_reply_to_a_passed_request_finds_its_home_once() -> None:
    wire = owned_wire(tags=True)
    wire.request(2, "guest-fsfreeze-freeze")
    wire.sync(3)
    assert wire.feed(synced(102)) == [PassedOver(2), Synced(3)]
    assert wire.feed(tagged(2, 2)) == [Reply(2, 2)]
    assert answers(wire.feed(tagged(2, 2))) == []


def test_a_late_error_to_a_passed_request_finds_its_home_too() -> None:
    wire = owned_wire(tags=True)
    wire.request(2, "guest-fsfreeze-freeze")
    wire.request(3, "guest-fsfreeze-status")
    wire.feed(tagged(3, "thawed"))
    late = line({"error": {"class": "GenericError", "desc": "hook"}, "id": "fw64.2"})
    assert wire.feed(late) == [Failure(2, "GenericError", "hook")]


def test_only_so_many_passed_requests_are_remembered() -> None:
    wire = owned_wire(tags=True)
    for ticket in range(2, 200):
        wire.request(ticket, "a")
    wire.feed(tagged(199, "last"))
    assert answers(wire.feed(tagged(2, "forgotten"))) == []
    assert wire.feed(tagged(198, "known")) == [Reply(198, "known")]
    assert wire.feed(tagged(135, "just known")) == [Reply(135, "just known")]
    assert answers(wire.feed(tagged(134, "just forgotten"))) == []


def test_a_sync_answered_passes_an_untagged_request_for_good() -> None:
    wire = owned_wire(tags=False)
    wire.request(2, "guest-fsfreeze-freeze")
    wire.sync(3)
    assert wire.feed(synced(102)) == [PassedOver(2), Synced(3)]
    assert answers(wire.feed(line({"return": 2}))) == []


def test_a_late_untagged_reply_before_the_sync_is_the_requests_own() -> None:
    wire = owned_wire(tags=False)
    wire.request(2, "guest-fsfreeze-freeze")
    wire.sync(3)
    wire.request(4, "guest-fsfreeze-status")
    events = wire.feed(line({"return": 2}) + synced(102) + line({"return": "frozen"}))
    assert events == [Reply(2, 2), Synced(3), Reply(4, "frozen")]


# -- the error line that a sync's 0xFF provokes -------------------------------------------------


def test_the_parse_error_is_no_answer_to_a_tagged_request() -> None:
    wire = owned_wire(tags=True)
    wire.request(2, "guest-fsfreeze-freeze")
    assert wire.sync(3).startswith(b"\xff")
    events = wire.feed(PARSE_ERROR + synced(102))
    assert answers(events) == [PassedOver(2), Synced(3)]


def test_a_sync_goes_without_0xff_while_an_untagged_request_is_outstanding() -> None:
    wire = owned_wire(tags=False)
    wire.request(2, "guest-fsfreeze-freeze")
    assert wire.sync(3).startswith(b"{")
    wire.feed(line({"return": 2}))
    assert wire.sync(4).startswith(b"\xff")  # answered: nothing can be taken for it any more


def test_the_parse_error_is_no_answer_to_an_untagged_request_behind_the_sync() -> None:
    wire = owned_wire(tags=False)
    assert wire.sync(2).startswith(b"\xff")
    wire.request(3, "guest-fsfreeze-thaw")
    events = wire.feed(PARSE_ERROR + synced(102) + line({"return": 2}))
    assert answers(events) == [Synced(2), Reply(3, 2)]


def test_an_untagged_requests_true_error_is_taken_when_it_is_first() -> None:
    wire = owned_wire(tags=False)
    wire.request(2, "guest-fsfreeze-freeze")
    wire.sync(3)
    events = wire.feed(failed("the hook failed") + synced(102))
    assert events == [Failure(2, "GenericError", "the hook failed"), Synced(3)]
