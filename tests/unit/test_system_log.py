"""A holder's word to the system's log, whose daemon may be stopped."""

from __future__ import annotations

import syslog
import threading
from collections.abc import Callable

import pytest

from agentclient.holder import system_log
from agentclient.holder.system_log import MOST_WAITING, SystemLog
from tests.unit.no_thread import each_lack


def test_a_log_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    written: list[str] = []

    def hangs(_level: int, said: str) -> None:
        goes_on.wait(60.0)
        written.append(said)

    monkeypatch.setattr(syslog, "syslog", hangs)
    monkeypatch.setattr(system_log, "CLOSING_S", 0.1)
    log = SystemLog()
    for number in range(MOST_WAITING + 3):
        log.tell(f"still frozen {number}")
    log.close()
    assert written == [], "it hangs still"
    goes_on.set()
    monkeypatch.setattr(system_log, "CLOSING_S", 60.0)
    log.close()
    assert len(written) == MOST_WAITING


def test_the_same_sentence_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda _, said: written.append(said))
    log = SystemLog()
    for said in ("a", "a", "b"):
        log.tell(said)
    log.close()
    assert sorted(written) == ["a", "b"]


@each_lack
def test_without_a_thread_it_is_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[[threading.Thread], None],
    why: str,
) -> None:
    written: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda _, said: written.append(said))
    monkeypatch.setattr(threading.Thread, "start", start)
    SystemLog().tell("still frozen")
    assert written == ["still frozen"]
