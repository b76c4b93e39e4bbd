"""The guard that never freezes the machine on which frostwatch itself runs."""

from __future__ import annotations

import pytest

from agentclient.access import self_check as own
from agentclient.access.qmp_session import Ask
from agentclient.model.states import OutcomeKind, Refusal
from agentclient.operations import preflight
from agentclient.protocol.qmp import QmpReply
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator

OURS = "6f1c84f0-6c5a-4b39-9f3e-0d6f7f0a4c11"


def test_a_guest_with_our_own_uuid_is_never_frozen(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = boot(name="self", mounts=("a",), extra=("-uuid", OURS))
    with Operator(guest) as operator:
        link = operator.accesses.of(operator.vm)
        assert link.monitor is not None
        (answer,) = link.monitor.ask([Ask("query-uuid")])
        assert isinstance(answer, QmpReply)
        assert isinstance(answer.value, dict)
        uuid = str(answer.value["UUID"]).lower()
        hooks = guest.hook_log()
        monkeypatch.setattr(preflight, "own_uuid", lambda: uuid)
        outcome = operator.freeze().outcome()
        assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.SELF)
        assert guest.hook_log() == hooks
        monkeypatch.setattr(preflight, "own_uuid", own.own_uuid)
        assert operator.freeze().outcome().certified
