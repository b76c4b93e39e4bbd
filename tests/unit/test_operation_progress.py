"""Many freezes on a terminal: a bar for all, those at work, and when the last turn comes."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.place import NO_PLACE, Place
from agentclient.model.snapshot import Progress, VmState
from agentclient.model.states import FreezeState, OutcomeKind, Phase
from agentclient.operations.threads import WorkQueue
from tests.unit.cli_fakes import VERIFIED, FakeOperation, vm
from tui.cli import operation_progress
from tui.cli.job_bar import JobBars
from tui.cli.operation_progress import OperationBar, OperationLines, queue_text
from tui.shared.bulk_words import ordinal, queued, recap, word_of

LOST = Outcome(OutcomeKind.LOST, "no answer", settled=True)


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd"), (113, "113th")],
)
def test_numbers_as_one_counts(number: int, said: str) -> None:
    assert ordinal(number) == said


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Place(3, 485.0), "queued 3rd; about 8 min"),
        (Place(1, 12.4), "queued 1st; about 12 s"),
        (Place(2), "queued 2nd"),
        (Place(2, 0.1), "queued 2nd"),
        (NO_PLACE, "queued"),
    ],
)
def test_a_place_in_words(place: Place, said: str) -> None:
    assert queued(place) == said


def test_what_came_of_each_in_a_word() -> None:
    one = vm("a")
    thawed = ThawOutcome(one.id, FreezeState.THAWED, 2, False, "r", 0.1)
    cases = {
        "ok": (VERIFIED, thawed),
        "lost": (LOST,),
        "refused": (ThawOutcome(one.id, None, None, True, "r", 0.1),),
        "failed": (ThawOutcome(one.id, None, None, False, "r", 0.1),),
        "verified": (VERIFIED._replace(settled=False),),
        "no-group": (VERIFIED._replace(not_together=True),),
        "left": (None,),
    }
    for word, outcomes in cases.items():
        assert [word_of(outcome) for outcome in outcomes] == [word] * len(outcomes)
    assert recap(["lost", "ok", "lost", "odd"]) == "ok=1 lost=2 odd=1"


@given(st.lists(st.floats(0.1, 1000), min_size=1, max_size=40), st.integers(1, 5))
def test_a_turn_comes_by_how_long_the_last_ones_took(took: list[float], most: int) -> None:
    """The clock says for each piece of work how long it takes; nothing waits."""
    times = iter([at for seconds in took for at in (0.0, seconds)])
    queue = WorkQueue(most, "x", monotonic=lambda: next(times))
    for _ in took:
        queue._busy += 1
        queue._run(lambda: None)
    queue._busy = most
    turns = [queue.submit(lambda: None) for _ in range(3)]
    last = took[-32:]
    for number, turn in enumerate(turns, start=1):
        place = queue.place(turn)
        assert place == number
        assert place.begins_in_s == pytest.approx(number * sum(last) / len(last) / most)


class Screen:
    """Takes what is kept below all lines."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def footer(self, lines: list[str]) -> None:
        self.shown = list(lines)


def states(count: int, phase: Phase) -> list[VmState]:
    progress = Progress("freeze", phase, "the agent's answer", 0.0, sent_at=0.0)
    return [VmState(vm(f"vm-{number}"), progress=progress) for number in range(count)]


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 10), (200, 60), (20, 5)])
def test_a_bar_for_many(monkeypatch: pytest.MonkeyPatch, columns: int, lines: int) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    monkeypatch.setenv("TERM", "xterm")
    operations = [
        FakeOperation(vm(f"vm-{number}"), VERIFIED, lambda _: None) for number in range(40)
    ]
    for operation in operations[30:]:
        operation.result = LOST if operation is operations[30] else VERIFIED
        operation.end()
    for number, operation in enumerate(operations[12:30], start=1):
        operation.place = Place(number, number * 30.0)
    screen = Screen()
    clock = [10.0]
    bar = OperationBar(
        cast(Any, None), cast(Any, screen), JobBars(), lambda: clock[0], lambda: (columns, lines)
    )
    bar.show([*states(12, Phase.PENDING)], cast(Any, operations))
    assert 1 < len(screen.shown) <= max(2, lines // 2)
    assert all(len(line) < columns for line in screen.shown)
    if columns >= 80:
        last = screen.shown[-1]
        assert "10/40 ok=9 lost=1; 18 queued, last in about 9 min" in last
        assert last.endswith(" 25%")
        assert "pending: waits for the agent's a" in screen.shown[0]
    bar.end()
    assert screen.shown == []


def test_one_alone_and_what_is_no_terminal_is_told_in_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for is_terminal, count, silent, kind in (
        (True, 2, False, OperationBar),
        (True, 1, False, OperationLines),
        (True, 2, True, OperationLines),
        (False, 2, False, OperationLines),
    ):
        monkeypatch.setattr("sys.stderr.isatty", lambda answer=is_terminal: answer)
        monkeypatch.setenv("TERM", "xterm")
        made = operation_progress.display_for(
            cast(Any, None), cast(Any, None), count, silent=silent
        )
        assert type(made) is kind
    assert queue_text([]) == ""
