"""One real freeze of more than ten minutes, with the default schedule (`make soak`)."""

from __future__ import annotations

import pytest

from agentclient.model.events import EventKind
from tests.guests.conftest import Boot
from tests.guests.freezing import Operator, assert_certified

HOOK_S = 607.0


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_freeze_of_ten_minutes_by_the_default_schedule(boot: Boot) -> None:
    guest = boot(name="patient")
    guest.slow_hook(HOOK_S)
    with Operator(guest) as operator:
        running = operator.freeze(thaw_timeout_s=180.0)
        outcome = running.outcome(HOOK_S + 120)
        assert_certified(outcome)
        assert outcome.seconds >= HOOK_S
        # The first ten minutes were over: one status was queued behind the freeze.
        assert len(running.find(EventKind.STEP)) == 1
        assert "50 min left" in running.find(EventKind.STEP)[0].event.text
        print(running.texts)
    guest.assert_thawed()
