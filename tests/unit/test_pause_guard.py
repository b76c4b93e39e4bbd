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
from typing import Any

import pytest

from agentclient.jobs import pause_guard

PATIENCE_S = 20.0


class Monitor:
    """The monitor of a VM that is paused; like QEMU it serves one client at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status = "paused"
        self.silent = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def connect(self) -> socket.socket:
        """Connect, and be served."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        assert connection.recv(100) == b"{}\n"
        connection.setblocking(False)
        return connection

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, client.makefile("rwb") as stream, suppress(OSError):
                    self._talk(stream)

    def _talk(self, stream: Any) -> None:
        stream.write(b"{}\n")
        stream.flush()
        while line := stream.readline():
            stream.write(self._answer(line.rpartition(b"\xff")[2]))
            stream.flush()

    def _answer(self, line: bytes) -> bytes:
        if not line.strip():
            return b'{"error": {"class": "GenericError", "desc": "JSON parse error"}}\n'
        asked = json.loads(line)
        if self.silent and asked["execute"] != "qmp_capabilities":
            self.silent -= 1
            return b""
        if asked["execute"] == "cont":
            self.status = "running"
        value = {"status": self.status} if asked["execute"] == "query-status" else {}
        return json.dumps({"return": value, "id": asked.get("id")}).encode() + b"\n"


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    monitor = Monitor(tmp_path / "qmp")
    yield monitor
    monitor.close()


@pytest.fixture
def shared(monitor: Monitor) -> Iterator[socket.socket]:
    """The connection by which frostwatch has paused the VM, and which stays open."""
    with monitor.connect() as connection:
        yield connection


def _guard(monitor: Monitor, most_s: float, shared: socket.socket) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-I", "-S", pause_guard.__file__]
    guard = subprocess.Popen(
        [*words, str(monitor.path), "0", str(most_s), str(shared.fileno())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[shared.fileno()],
    )
    assert guard.stdout is not None
    assert guard.stdout.readline() == pause_guard.READY.encode()
    return guard


def _say(guard: subprocess.Popen[bytes], word: str) -> None:
    assert guard.stdin is not None
    guard.stdin.write(word.encode())
    guard.stdin.flush()


def test_a_vm_goes_on_if_nothing_is_heard_for_too_long(
    monitor: Monitor, shared: socket.socket
) -> None:
    guard = _guard(monitor, 0.3, shared)
    began = time.monotonic()
    _say(guard, pause_guard.ARMED)
    assert guard.wait(PATIENCE_S) == 0
    assert time.monotonic() - began >= 0.3
    assert monitor.status == "running"
    guard.communicate()


def test_a_vm_goes_on_if_frostwatch_ends(monitor: Monitor, shared: socket.socket) -> None:
    guard = _guard(monitor, 600.0, shared)
    _say(guard, pause_guard.ARMED)
    guard.communicate(timeout=PATIENCE_S)
    assert guard.returncode == 0
    assert monitor.status == "running"


def test_nothing_is_done_once_frostwatch_has_let_it_go_on(
    monitor: Monitor, shared: socket.socket
) -> None:
    guard = _guard(monitor, 600.0, shared)
    _say(guard, pause_guard.ARMED)
    _say(guard, pause_guard.DONE)
    assert guard.wait(PATIENCE_S) == 0
    assert monitor.status == "paused"
    guard.communicate()


def test_before_the_vm_is_paused_there_is_no_bound(monitor: Monitor, shared: socket.socket) -> None:
    guard = _guard(monitor, 0.1, shared)
    with pytest.raises(subprocess.TimeoutExpired):
        guard.wait(0.5)
    guard.communicate(timeout=PATIENCE_S)
    assert guard.returncode == 0
    assert monitor.status == "paused"


def test_a_half_of_a_command_is_forgotten(monitor: Monitor, shared: socket.socket) -> None:
    guard = _guard(monitor, 0.1, shared)
    shared.send(b'{"execute": "sto')
    _say(guard, pause_guard.ARMED)
    assert guard.wait(PATIENCE_S) == 0
    assert monitor.status == "running"
    guard.communicate()


def test_an_answer_that_somebody_else_received_is_asked_for_again(
    monitor: Monitor, shared: socket.socket
) -> None:
    monitor.silent = 1
    guard = _guard(monitor, 0.1, shared)
    _say(guard, pause_guard.ARMED)
    assert guard.wait(PATIENCE_S) == 0
    assert (monitor.status, monitor.silent) == ("running", 0)
    guard.communicate()


def test_a_connection_that_has_ended_is_made_anew(monitor: Monitor, shared: socket.socket) -> None:
    guard = _guard(monitor, 0.1, shared)
    shared.shutdown(socket.SHUT_RDWR)
    _say(guard, pause_guard.ARMED)
    assert guard.wait(PATIENCE_S) == 0
    assert monitor.status == "running"
    guard.communicate()


def test_nobody_pauses_the_vm_once_nobody_stands_by(
    monitor: Monitor, shared: socket.socket
) -> None:
    monitor.status = "running"
    guard = _guard(monitor, 0.1, shared)
    _say(guard, pause_guard.ARMED)
    assert guard.wait(PATIENCE_S) == 0
    with pytest.raises(BrokenPipeError):
        shared.send(b'{"execute": "stop"}\n')
    guard.communicate()
