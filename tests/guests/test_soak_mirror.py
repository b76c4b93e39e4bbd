"""Twenty mirrors under a write load, and what each costs the guest in its writes."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from agentclient.model.job import Consistency, JobStage
from agentclient.model.request import FreezeRequest, Schedule
from tests.guests.conftest import Boot
from tests.guests.lab import check_copy, check_database
from tests.guests.lab.loads import AppendLoad
from tests.guests.mirroring import Mirrors

TIMES = 20
# What a mirror may cost beyond a freeze and a thaw, in the median.
MORE_MS = 20.0


def _bare(mirrors: Mirrors) -> None:
    """Freeze, and thaw at once."""
    request = FreezeRequest(schedule=Schedule(hold_s=0.0))
    outcome = mirrors.engine.freeze(mirrors.vm, request).wait(60)
    assert outcome is not None
    assert outcome.certified


def _stall(load: AppendLoad, since: int) -> float:
    """The longest gap of the load's writes since a record, in milliseconds."""
    load.wait_for(10)
    return load.stalls(since=since).worst_ms


@pytest.mark.soak
@pytest.mark.alone
@pytest.mark.timeout(2400)
def test_twenty_mirrors_are_consistent_and_cost_little_more_than_a_freeze(
    boot: Boot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = boot(name="soaked", mounts=("a", "b", "x"), tools=True)
    bare: list[float] = []
    cost: list[float] = []
    windows: list[float] = []
    with Mirrors(guest, tmp_path / "to") as mirrors:
        for number in range(TIMES):
            kind = ("qcow2", "raw")[number % 2]
            at: list[int] = []
            with guest.append_load("a", "b", "x", pause_ms=0) as load, guest.database("b") as rows:
                load.wait_for(20)
                since = load.counter()
                _bare(mirrors)
                bare.append(_stall(load, since))
                outcome = mirrors.make(
                    format=kind,
                    at_stage={
                        JobStage.FREEZING: lambda at=at, load=load: at.append(load.counter())
                    },
                )
                cost.append(_stall(load, at[0]))
                committed = rows.committed()
            assert outcome.consistency is Consistency.CONSISTENT, outcome.reason
            assert outcome.times.frozen is not None
            assert outcome.times.taken is not None
            windows.append((outcome.times.taken - outcome.times.frozen).total_seconds() * 1000)
            mirrors.nothing_is_left(files=True)
            first, second = (check_copy(mirrors.copy / f"{disk}.{kind}") for disk in "ab")
            third = check_copy(mirrors.copy / f"x.{kind}", "xfs")
            for one in (first, second, third):
                assert one.consistent, one.said
                assert one.gapless
                assert one.last >= at[0]
            assert first.last - second.last in (0, 1)
            assert second.last - third.last in (0, 1)
            database = check_database(mirrors.copy / f"b.{kind}")
            assert database.whole
            assert 0 < database.last <= committed
            mirrors.remove()
    with capsys.disabled():
        print(
            f"\nmirror: {TIMES} consistent; write stall, median (worst) of {TIMES}: "
            f"bare freeze + thaw {median(bare):.0f} ({max(bare):.0f}) ms, "
            f"mirror {median(cost):.0f} ({max(cost):.0f}) ms; "
            f"from frozen to taken {median(windows):.1f} ({max(windows):.1f}) ms"
        )
    assert median(cost) - median(bare) <= MORE_MS
