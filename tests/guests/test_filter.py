"""A real agent whose own filter forbids some of what a freeze takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentclient.model.states import OutcomeKind, Refusal
from tests.guests.freezing import Operator
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until

THAW = "guest-fsfreeze-thaw"


@pytest.fixture
def blocking(calm: Guest) -> Iterator[Guest]:
    """The shared guest, whose agent's filter a test may change; without one in the end."""
    yield calm
    block(calm, "")


def block(guest: Guest, commands: str) -> None:
    """Start the agent again with a filter of its own; empty for none."""
    options = f"-b {commands}" if commands else ""
    guest.shell(f"echo '{options}' >/run/lab/agent.options")
    deaths = guest.agent_deaths()
    guest.kill_agent()
    wait_until(lambda: guest.agent_deaths() > deaths, PATIENCE_S, "the agent's end")
    guest.start_agent()


def test_an_agent_that_may_not_thaw_is_not_frozen(blocking: Guest, operator: Operator) -> None:
    block(blocking, THAW)
    hooks = len(blocking.hook_log())
    outcome = operator.freeze().outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.DISABLED)
    assert "may freeze, but not thaw" in outcome.reason
    assert "filter" in outcome.reason
    assert (len(blocking.hook_log()), blocking.frozen_mounts()) == (hooks, set())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("guest-info", "perhaps by the agent's own filter"),
        ("guest-fsfreeze-status", "guest-fsfreeze-status is disabled by the agent's own filter"),
        ("guest-sync-delimited,guest-sync", "takes no sync"),
    ],
)
def test_a_filter_is_named(blocking: Guest, operator: Operator, command: str, words: str) -> None:
    block(blocking, command)
    outcome = operator.freeze().outcome()
    assert outcome.refusal is Refusal.DISABLED
    assert words in outcome.reason
    assert blocking.frozen_mounts() == set()


def test_without_the_delimited_sync_the_plain_one_does(blocking: Guest, operator: Operator) -> None:
    block(blocking, "guest-sync-delimited,guest-get-fsinfo")
    running = operator.freeze()
    outcome = running.outcome()
    assert (outcome.kind, outcome.frozen, outcome.thawed) == (OutcomeKind.UNVERIFIED, 2, 2)
    assert "guest-get-fsinfo is disabled by the agent's own filter" in running.texts
    blocking.assert_thawed()
