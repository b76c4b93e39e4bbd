"""Ids are for agents that take them (protocol §2.4), and nobody else's id is taken for ours."""

from __future__ import annotations

import json

import pytest

from agentclient.protocol.qga_events import Dropped, Failure, PassedOver, Reply, Synced
from tests.unit.fakes import failed, line
from tests.unit.test_qga import PARSE_ERROR, answers, owned_wire, synced, tagged


@pytest.mark.parametrize(("tags", "carries"), [(None, False), (False, False), (True, True)])
def test_an_id_goes_only_to_an_agent_that_is_known_to_take_one(
    tags: bool | None, carries: bool
) -> None:
    written = json.loads(owned_wire(tags=tags).request(2, "guest-fsfreeze-freeze"))
    assert ("id" in written) is carries


def test_the_caller_decides_for_one_request() -> None:
    assert "id" in json.loads(owned_wire(tags=None).request(2, "guest-ping", tag=True))
    assert "id" not in json.loads(owned_wire(tags=True).request(2, "guest-ping", tag=False))


def test_an_echoed_probe_teaches_that_the_agent_takes_ids() -> None:
    wire = owned_wire()
    assert json.loads(wire.request(2, "guest-ping", tag=True))["id"] == "fw64.2"
    assert wire.tags is None
    assert wire.feed(tagged(2, {})) == [Reply(2, {})]
    assert wire.tags is True


def test_an_error_with_the_id_teaches_it_too() -> None:
    wire = owned_wire()
    wire.request(2, "guest-none", tag=True)
    missing = {"error": {"class": "CommandNotFound", "desc": "gone"}, "id": "fw64.2"}
    assert wire.feed(line(missing)) == [Failure(2, "CommandNotFound", "gone")]
    assert wire.tags is True


def test_an_untagged_answer_teaches_nothing() -> None:
    wire = owned_wire()
    wire.request(2, "guest-ping")
    wire.feed(line({"return": {}}))
    assert wire.tags is None


def test_an_old_agents_refusal_of_the_probe_answers_it() -> None:
    wire = owned_wire()
    wire.request(2, "guest-ping", tag=True)
    refusal = failed("QMP input member 'id' is unexpected")
    assert wire.feed(refusal) == [Failure(2, "GenericError", "QMP input member 'id' is unexpected")]
    assert wire.tags is None
    assert wire.waiting == ()


@pytest.mark.parametrize("tags", [None, True])
def test_an_answer_without_id_belongs_to_the_only_request_in_flight(tags: bool | None) -> None:
    wire = owned_wire(tags=tags)
    wire.request(2, "guest-fsfreeze-freeze", tag=True)
    assert wire.feed(failed("why")) == [Failure(2, "GenericError", "why")]
    wire.request(3, "guest-fsfreeze-freeze", tag=True)
    assert wire.feed(line({"return": 2})) == [Reply(3, 2)]
    assert wire.tags is (tags or False), "who ignores ids is asked without from now on"


def test_an_answer_without_id_is_nobodys_while_several_are_in_flight() -> None:
    wire = owned_wire(tags=True)
    wire.request(2, "guest-fsfreeze-freeze")
    wire.request(3, "guest-fsfreeze-status")
    assert answers(wire.feed(failed("whose?") + line({"return": 2}))) == []
    assert wire.waiting == (2, 3)


def test_a_refusal_behind_an_open_sync_is_that_syncs_parse_error() -> None:
    wire = owned_wire()
    wire.sync(2)
    wire.request(3, "guest-ping", tag=True)
    assert answers(wire.feed(PARSE_ERROR)) == []
    assert wire.feed(synced(102)) == [Synced(2)]
    assert wire.feed(failed("no ids")) == [Failure(3, "GenericError", "no ids")]


@pytest.mark.parametrize(
    "foreign",
    [
        2,
        "2",
        "fw64",
        "fw64.",
        "fw64.x",
        "fw64.-2",
        "fw64.2.2",
        "fw64. 2",
        "fw65.2",
        "fw6.42",
        ".2",
        "FW64.2",
        None,
        True,
        2.0,
        ["fw64.2"],
        {"fw64": 2},
        "libvirt-2",
        "fw64.99",
        "fw64." + "9" * 5000,
    ],
)
def test_a_foreign_id_answers_nothing(foreign: object) -> None:
    wire = owned_wire(tags=True)
    wire.request(2, "guest-fsfreeze-freeze")
    assert answers(wire.feed(line({"return": 2, "id": foreign}))) == []
    assert wire.waiting == (2,)
    assert wire.feed(tagged(2, 2)) == [Reply(2, 2)]


def test_a_foreign_id_does_not_answer_an_untagged_request_either() -> None:
    wire = owned_wire(tags=False)
    wire.request(2, "guest-fsfreeze-freeze")
    assert answers(wire.feed(line({"return": 2, "id": "fw64.2"}))) == []
    assert wire.feed(line({"return": 2})) == [Reply(2, 2)]


def test_an_id_of_another_conversation_of_ours_is_foreign() -> None:
    wire = owned_wire(tags=True)
    wire.request(2, "guest-fsfreeze-freeze")
    wire.feed(line({"return": 2, "id": "fwabcdef.2"}))
    assert wire.waiting == (2,)


def test_a_tagged_answer_reaches_over_an_untagged_request() -> None:
    wire = owned_wire()
    wire.request(2, "a", tag=False)
    wire.request(3, "b", tag=True)
    assert wire.feed(tagged(3, 0)) == [PassedOver(2), Reply(3, 0)]


def test_an_answer_before_a_sync_was_answered_is_nobodys() -> None:
    wire = owned_wire(tags=True)
    wire.owned = False
    wire.sync(2)
    assert wire.feed(tagged(1, 5)) == [
        Dropped(f"not ours: {line({'return': 5, 'id': 'fw64.1'}).decode().strip()}")
    ]
