"""What the unit tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agentclient.jobs import follow, storage_process
from agentclient.journal import writer
from agentclient.journal.writer import Journal


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have copies look at simulated jobs more often: it is all that takes time."""
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.02)


@pytest.fixture(autouse=True)
def takes_no_disk_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a journal's process as long as a busy machine takes to start it."""
    monkeypatch.setattr(writer, "HANG_S", 60.0)
    monkeypatch.setattr(writer, "START_S", 60.0)


@pytest.fixture(autouse=True)
def deletes_here(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Have files deleted in this process: another one for each copy that fails takes long."""
    if "storage_process" not in request.module.__name__:
        monkeypatch.setattr(storage_process, "call_in_order", _call_in_order)


@pytest.fixture(autouse=True)
def ends_its_journals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the journals that a test has begun, each of which has a process of its own."""
    begun: list[Journal] = []
    begin = Journal.__init__

    def init(journal: Journal, path: Path | None = None) -> None:
        begin(journal, path)
        begun.append(journal)

    monkeypatch.setattr(Journal, "__init__", init)
    yield
    for one in begun:
        one.close()


def _call_in_order(calls: Sequence[Callable[[], object]]) -> list[object]:
    found: list[object] = []
    for call in calls:
        try:
            found.append(call())
        except OSError as error:
            found.append(error)
    return found
