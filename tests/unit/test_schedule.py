from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.model.errors import BadInput
from agentclient.model.request import Schedule


def test_the_default_is_one_hour_in_six_steps() -> None:
    schedule = Schedule()
    assert (schedule.first_timeout_s, schedule.probe_timeout_s, schedule.probes) == (600, 600, 5)
    assert (schedule.steps, schedule.total_s) == (6, 3600)
    assert (schedule.hold_s, schedule.maximum_hold_s, schedule.thaw_timeout_s) == (0, 120, 180)


def test_without_probes_there_is_one_step() -> None:
    schedule = Schedule(first_timeout_s=7, probes=0)
    assert (schedule.steps, schedule.total_s) == (1, 7)


@pytest.mark.parametrize("wrong", [0, -1, -0.1, inf, -inf, nan])
def test_every_wait_is_longer_than_nothing_and_ends(wrong: float) -> None:
    with pytest.raises(BadInput, match="timeout"):
        Schedule(first_timeout_s=wrong)
    with pytest.raises(BadInput, match="timeout"):
        Schedule(probe_timeout_s=wrong)
    with pytest.raises(BadInput, match="timeout"):
        Schedule(thaw_timeout_s=wrong)


def test_probes_are_counted_from_none_on() -> None:
    with pytest.raises(BadInput, match="probes"):
        Schedule(probes=-1)


@pytest.mark.parametrize("hold", [-0.1, 120.1, inf, nan])
def test_a_hold_has_a_maximum(hold: float) -> None:
    with pytest.raises(BadInput, match="hold"):
        Schedule(hold_s=hold)


def test_the_maximum_can_be_moved_but_not_taken_away() -> None:
    assert Schedule(hold_s=120).hold_s == 120
    assert Schedule(hold_s=600, maximum_hold_s=600).hold_s == 600
    with pytest.raises(BadInput, match="hold"):
        Schedule(hold_s=5, maximum_hold_s=inf)


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e6), st.integers(0, 100))
def test_the_total_is_the_sum_of_the_steps(first: float, probe: float, probes: int) -> None:
    schedule = Schedule(first_timeout_s=first, probe_timeout_s=probe, probes=probes)
    steps = [first] + [probe] * (schedule.steps - 1)
    assert schedule.total_s == pytest.approx(sum(steps))
