"""The transitions of which a person is told wherever they are: each once, and no other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agentclient.config.load import load_settings
from agentclient.fleet.transitions import NEARLY_S, TransitionLog
from agentclient.model.others import ChannelClient, Others
from agentclient.model.others_past import OthersEnded, OthersResult
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import FreezeInfo, HeldBy, LeftBy, Progress, VmState
from agentclient.model.states import FreezeState, OthersState, OutcomeKind, Phase, Refusal
from agentclient.model.transition import HOOK_VARIABLES, hook_variables
from tests.unit.cli_fakes import AT, VERIFIED, vm

ONE = vm("db1")
BY = ChannelClient("task UPID:n:1:2:3:vzdump:101:root@pam:", 4711, "root")
LOST = Outcome(OutcomeKind.LOST, "no answer will come", settled=True)
BROKEN = Outcome(OutcomeKind.BROKEN, "thawed while it was held", frozen=2, settled=True)
KINDS = {one: one.value for one in OutcomeKind}


class Told:
    """What is told of one VM, in the order in which its states are seen."""

    def __init__(self) -> None:
        self.log = TransitionLog()
        self.state = VmState(ONE)
        self.all: list[str] = []
        self.see()

    def see(self, **news: Any) -> list[str]:
        self.state = self.state._replace(**news)
        told = [one.kind.value for one in self.log.take(self.state, AT)]
        self.all += told
        return told

    def pending(self, started_at: float, verdict: Outcome | None = None) -> list[str]:
        progress = Progress("freeze", Phase.PENDING, "x", started_at, verdict=verdict)
        return self.see(progress=progress)

    def tick(self, monotonic: float, seconds: float = 0.0) -> list[str]:
        at = AT + timedelta(seconds=seconds)
        return [one.kind.value for one in self.log.tick([self.state], at, monotonic)]


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (VERIFIED, "answered"),
        (Outcome(OutcomeKind.UNVERIFIED, "r", frozen=2, settled=True), "answered"),
        (Outcome(OutcomeKind.PARTIAL, "r", frozen=1, settled=True), "answered"),
        (Outcome(OutcomeKind.PARTIAL, "r", settled=True), "lost"),
        (Outcome(OutcomeKind.FAILED, "r", frozen=0, settled=True), "answered"),
        (Outcome(OutcomeKind.TIMEOUT, "r", settled=True), "lost"),
        (LOST, "lost"),
        (BROKEN, "broken"),
        (Outcome(OutcomeKind.REFUSED, "r", Refusal.SILENT, settled=True), None),
    ],
)
def test_a_verdict_is_told_once(outcome: Outcome, told: str | None) -> None:
    seen = Told()
    assert seen.pending(1.0) == []
    assert seen.pending(1.0, outcome) == ([told] if told else [])
    assert seen.pending(1.0, outcome._replace(reason="more is known")) == []
    assert seen.see(progress=None, last=outcome) == []
    assert seen.see() == []


def test_a_verdict_that_changes_is_told_again_and_so_is_the_next_freeze() -> None:
    seen = Told()
    seen.pending(1.0, LOST)
    assert seen.pending(1.0, VERIFIED) == ["answered"], "a late reply"
    assert seen.see(progress=None, last=BROKEN) == ["broken"]
    assert seen.pending(2.0) == []
    assert seen.pending(2.0, BROKEN) == ["broken"], "of another freeze"
    assert seen.see(progress=None, last=BROKEN._replace(seconds=9.0)) == []
    assert seen.see(last=BROKEN._replace(seconds=10.0)) == ["broken"], "too fast to be seen"


def test_what_was_so_before_is_no_news_unless_somebody_has_to_act() -> None:
    log = TransitionLog()
    state = VmState(
        ONE,
        last=LOST,
        others_last=OthersEnded(OthersResult.ANSWERED, BY, AT, AT, 3.0),
        freeze=FreezeInfo(FreezeState.FROZEN, AT),
        left=LeftBy(1, 4711, "root", AT),
    )
    assert [one.kind.value for one in log.take(state, AT)] == ["left-frozen"]


def test_a_window_that_is_nearly_over_is_told_once_for_each_end() -> None:
    seen = Told()
    progress = Progress("freeze", Phase.HELD, "x", 0.0, held_since=100.0, hold_ends_at=160.0)
    seen.see(progress=progress)
    assert seen.tick(160.0 - NEARLY_S - 1) == []
    assert seen.tick(160.0 - NEARLY_S) == ["nearly-over"]
    assert seen.tick(155.0) == []
    seen.see(progress=progress._replace(hold_ends_at=220.0))
    assert seen.tick(156.0) == []
    assert seen.tick(215.0) == ["nearly-over"]
    assert seen.tick(230.0) == [], "it is over"
    seen.see(progress=progress._replace(held_since=300.0, hold_ends_at=310.0))
    assert seen.tick(301.0) == [], "a short one is always nearly over"
    held = HeldBy(7, "root", FreezeState.FROZEN, AT, AT + timedelta(seconds=60))
    seen.see(progress=None, held_by=held)
    assert seen.tick(0.0, 45.0) == []
    assert seen.tick(0.0, 55.0) == ["nearly-over"], "another frostwatch's as well"
    assert seen.tick(0.0, 56.0) == []


def test_others_commands() -> None:
    seen = Told()
    first = OthersEnded(OthersResult.ANSWERED, BY, AT, AT, 3.0)
    assert seen.see(others_last=first) == ["answered"]
    since = AT + timedelta(minutes=1)
    assert seen.see(others=Others(OthersState.LOST, since, BY)) == ["lost"]
    lost = OthersEnded(OthersResult.LOST, BY, since, since, 900.0).after(first)
    assert seen.see(others_last=lost) == [], "it was told while they waited"
    assert seen.see(others=None) == []
    thawed = OthersEnded(OthersResult.THAWED, BY, since, since, 900.0).after(lost)
    assert seen.see(others_last=thawed) == []
    frozen = FreezeInfo(FreezeState.FROZEN, since, foreign=True)
    assert seen.see(freeze=frozen) == []
    assert seen.see(freeze=frozen._replace(overdue="for 3 h")) == ["left-frozen"]
    assert seen.see(freeze=frozen._replace(overdue="for 4 h")) == []


def test_another_frostwatchs_freeze_and_one_of_ours_that_is_left() -> None:
    seen = Told()
    held = HeldBy(7, "root", FreezeState.FREEZING, AT)
    assert seen.see(held_by=held) == []
    assert seen.see(held_by=held._replace(state=FreezeState.FROZEN)) == ["answered"]
    seen.see(held_by=None)
    stuck = LOST._replace(settled=False)
    assert seen.see(last=stuck) == ["lost", "left-frozen"]
    assert seen.see() == []
    kept = VERIFIED._replace(settled=False, kept=True, seconds=7.0)
    assert seen.see(last=kept) == ["answered"], "it is left as was asked"


def test_a_vm_that_is_forgotten_begins_anew() -> None:
    seen = Told()
    left = {"freeze": FreezeInfo(FreezeState.FROZEN, AT), "left": LeftBy(1, 4711, "root", AT)}
    assert seen.see(**left) == ["left-frozen"]
    seen.log.forget(ONE.id)
    assert seen.see() == ["left-frozen"]


def test_what_a_hook_finds_is_no_setting_that_is_mistyped(monkeypatch: pytest.MonkeyPatch) -> None:
    (happened,) = (seen := Told()).log.take(seen.state._replace(last=LOST), AT)
    variables = hook_variables(happened)
    assert set(variables) == HOOK_VARIABLES
    assert variables["FROSTWATCH_EVENT"] == "lost"
    assert variables["FROSTWATCH_VM"] == "qemu:db1"
    assert variables["FROSTWATCH_STATE"] == "lost"
    load_settings(no_file=True, environment=variables)
