"""Who stands by while a VM is paused: it goes on if frostwatch is killed, or stopped too long."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from agentclient.jobs import pause_guard

PATIENCE_S = 20.0


class Monitor:
    """The monitor of a VM that is paused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status = "paused"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, client.makefile("rw") as stream:
                    self._talk(stream)

    def _talk(self, stream: TextIO) -> None:
        stream.write("{}\n")
        stream.flush()
        while line := stream.readline():
            command = json.loads(line)["execute"]
            if command == "cont":
                self.status = "running"
            value = {"status": self.status} if command == "query-status" else {}
            stream.write(json.dumps({"return": value}) + "\n")
            stream.flush()


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    monitor = Monitor(tmp_path / "qmp")
    yield monitor
    monitor.close()


def _guard(monitor: Monitor, most_s: float) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-I", "-S", pause_guard.__file__]
    guard = subprocess.Popen(
        [*words, str(monitor.path), "0", str(most_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert guard.stdout is not None
    assert guard.stdout.readline() == pause_guard.READY.encode()
    return guard


def _say(guard: subprocess.Popen[bytes], word: str) -> None:
    assert guard.stdin is not None
    guard.stdin.write(word.encode())
    guard.stdin.flush()


def test_a_vm_goes_on_if_nothing_is_heard_for_too_long(monitor: Monitor) -> None:
    guard = _guard(monitor, 0.3)
    began = time.monotonic()
    _say(guard, pause_guard.ARMED)
    assert guard.wait(PATIENCE_S) == 0
    assert time.monotonic() - began >= 0.3
    assert monitor.status == "running"
    guard.communicate()


def test_a_vm_goes_on_if_frostwatch_ends(monitor: Monitor) -> None:
    guard = _guard(monitor, 600.0)
    _say(guard, pause_guard.ARMED)
    guard.communicate(timeout=PATIENCE_S)
    assert guard.returncode == 0
    assert monitor.status == "running"


def test_nothing_is_done_once_frostwatch_has_let_it_go_on(monitor: Monitor) -> None:
    guard = _guard(monitor, 600.0)
    _say(guard, pause_guard.ARMED)
    _say(guard, pause_guard.DONE)
    assert guard.wait(PATIENCE_S) == 0
    assert monitor.status == "paused"
    guard.communicate()


def test_before_the_vm_is_paused_there_is_no_bound(monitor: Monitor) -> None:
    guard = _guard(monitor, 0.1)
    with pytest.raises(subprocess.TimeoutExpired):
        guard.wait(0.5)
    guard.communicate(timeout=PATIENCE_S)
    assert guard.returncode == 0
    assert monitor.status == "paused"
