"""Twenty snapshots of each kind under a write load, and what each costs the guest in its writes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import pytest

from agentclient.model.disk_snapshot import SnapshotKind
from agentclient.model.job import Consistency, JobOutcome, JobStage
from agentclient.model.request import FreezeRequest, Schedule
from tests.guests.conftest import Boot
from tests.guests.lab import check_copy, check_database
from tests.guests.lab.loads import AppendLoad
from tests.guests.snapshotting import Photographer

pytestmark = [pytest.mark.soak, pytest.mark.alone]
TIMES = 20
# What a snapshot may cost beyond a freeze and a thaw, in the median.
MORE_MS = 20.0
MOUNTS: dict[str, Literal["ext4", "xfs"]] = {"a": "ext4", "b": "ext4", "x": "xfs"}


def _bare(photographer: Photographer) -> None:
    """Freeze, and thaw at once."""
    request = FreezeRequest(schedule=Schedule(hold_s=0.0))
    outcome = photographer.engine.freeze(photographer.vm, request).wait(60)
    assert outcome is not None
    assert outcome.certified, outcome.reason


def _take(photographer: Photographer, name: str, kind: SnapshotKind, **more: Any) -> JobOutcome:
    outcome = photographer.take(name, external=kind is SnapshotKind.EXTERNAL, **more)
    assert outcome.consistency is Consistency.CONSISTENT, outcome.reason
    return outcome


def _remember(durable: dict[str, int], load: AppendLoad) -> None:
    durable.update(load.durable())


def _stall(load: AppendLoad, since: int) -> float:
    """The longest gap of the load's writes since a record, in milliseconds."""
    load.wait_for(10)
    return load.stalls(since=since).worst_ms


@pytest.mark.parametrize("kind", list(SnapshotKind))
def test_twenty_snapshots_are_consistent_and_cost_little_more_than_a_freeze(
    boot: Boot, kind: SnapshotKind, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = boot(name="soaked", mounts=tuple(MOUNTS), tools=True)
    external = kind is SnapshotKind.EXTERNAL
    bare, taken = [], []
    windows = []
    with Photographer(guest) as photographer:
        for number in range(TIMES):
            name = f"n{number}"
            durable: dict[str, int] = {}
            with (
                guest.append_load("a", "b", "x", pause_ms=0) as load,
                guest.database("a") as database,
            ):
                load.wait_for(20)
                since = load.counter()
                _bare(photographer)
                bare.append(_stall(load, since))
                since = load.counter()
                outcome = _take(photographer, name, kind)
                taken.append(_stall(load, since))
                assert outcome.times.frozen is not None
                assert outcome.times.taken is not None
                windows.append((outcome.times.taken - outcome.times.frozen).total_seconds() * 1000)
                photographer.delete(name, external=external)
                load.wait_for(10)
                # What the guest had written when the copy was taken, in another one.
                remember = {JobStage.THAWING: partial(_remember, durable, load)}
                _take(photographer, name, kind, at=remember)
                committed = database.committed()
            last = {}
            for disk, file_system in MOUNTS.items():
                image = photographer.image(disk)
                inside = None if external else name
                verdict = check_copy(image, file_system, snapshot=inside)
                assert verdict.consistent, verdict.said
                assert verdict.gapless
                assert durable[disk] <= verdict.last <= durable[disk] + 1
                last[disk] = verdict.last
            assert max(last.values()) - min(last.values()) <= 1
            rows = check_database(photographer.image("a"), snapshot=None if external else name)
            assert rows.whole
            assert 0 < rows.last <= committed + 1
            assert photographer.delete(name, external=external).ok
        assert photographer.list() == {}
    with capsys.disabled():
        print(
            f"\n{kind}: {TIMES} consistent; write stall, median (worst) of {TIMES}: "
            f"bare freeze + thaw {median(bare):.0f} ({max(bare):.0f}) ms, "
            f"snapshot {median(taken):.0f} ({max(taken):.0f}) ms; "
            f"from frozen to taken {median(windows):.1f} ({max(windows):.1f}) ms"
        )
    assert median(taken) - median(bare) <= MORE_MS
    assert not list(Path(guest.places.directory).glob("*.json"))
