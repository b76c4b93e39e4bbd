"""A rescue in the journal: it settles what was left only where somebody has seen it thawed."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentclient.journal.entry import begin_rescue
from agentclient.journal.writer import Journal
from agentclient.model.events import EventKind
from agentclient.model.rescue import RescueOutcome, Rung, RungResult, Step
from agentclient.model.states import FreezeState, WindowKind
from tests.unit.journals import LOST, add_event, of_a_dead_process, rows, vm, whole


@pytest.mark.parametrize(
    ("rung", "found", "state", "settled"),
    [
        (Rung.CONNECT, RungResult.THAWED, FreezeState.THAWED, True),
        (Rung.RESET, RungResult.RESET, FreezeState.THAWED, True),
        # The next agent still says frozen, and has to be thawed once more.
        (Rung.SYSRQ, RungResult.WRITES, None, False),
        (Rung.CONNECT, RungResult.ANSWERS, FreezeState.FROZEN, False),
        (Rung.WAIT, RungResult.NO_AGENT, None, False),
    ],
)
def test_what_was_left_is_settled_by_what_was_seen(
    tmp_path: Path, rung: Rung, found: RungResult, state: FreezeState | None, settled: bool
) -> None:
    path = tmp_path / "state" / "journal.db"
    journal, one = Journal(path), vm(tmp_path)
    left = whole(journal, one, LOST)
    of_a_dead_process(path, left)
    entry = begin_rescue(journal, one, Step(rung), person=True)
    assert entry is not None
    outcome = RescueOutcome(one.id, rung, None, found, state, None, "as it was found", 1.0)
    add_event(entry, one, EventKind.RUNG)
    add_event(entry, one, EventKind.OUTCOME, rescue=outcome)
    rescue, older = rows(journal)
    assert (rescue.kind, rescue.thaw) == (WindowKind.RESCUE, None)
    assert rescue.rescue is not None
    assert (rescue.rescue["rung"], rescue.rescue["found"]) == (rung, found)
    assert [event.kind for event in rescue.events] == ["rung", "outcome"]
    assert older.window == left
    assert older.settled is settled
    journal.close()
