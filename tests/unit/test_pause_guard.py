"""Who stands by while a VM is paused: it goes on if frostwatch is killed, or stopped too long."""

from __future__ import annotations

import json
import os
import signal
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

PATIENCE_S = 60.0


class Monitor:
    """The monitor of a VM that is paused; like QEMU it serves one client at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status = "paused"
        self.silent = 0
        self.refuses = ""
        self.asked: list[str] = []
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
        self.asked.append(asked["execute"])
        if asked["execute"] == self.refuses:
            error = {"class": "GenericError", "desc": "not now"}
            return json.dumps({"error": error, "id": asked.get("id")}).encode() + b"\n"
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
    monitor: Monitor, shared: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause_guard, "TIMEOUT_S", 0.1)
    monitor.silent = 1
    assert pause_guard._resume_by(pause_guard.Talk(shared))
    assert (monitor.status, monitor.silent) == ("running", 0)


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


def test_no_signal_ends_it_before_the_vm_goes_on(monitor: Monitor, shared: socket.socket) -> None:
    guard = _guard(monitor, 600.0, shared)
    _say(guard, pause_guard.ARMED)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        guard.send_signal(number)
    guard.communicate(timeout=PATIENCE_S)
    assert (guard.returncode, monitor.status) == (0, "running")


# -- by a connection of its own -------------------------------------------------------------


def test_the_vm_that_was_paused_goes_on(monitor: Monitor) -> None:
    assert pause_guard.resume(str(monitor.path), os.getpid())
    assert monitor.status == "running"
    monitor.status = "paused"
    assert pause_guard.resume(str(monitor.path), 0), "whose process is not known"
    assert monitor.status == "running"


def test_another_vm_in_its_place_is_left_alone(monitor: Monitor) -> None:
    assert pause_guard.resume(str(monitor.path), os.getpid() + 1)
    assert (monitor.status, monitor.asked) == ("paused", [])


def test_a_vm_that_goes_on_already_is_asked_alone(monitor: Monitor) -> None:
    monitor.status = "running"
    assert pause_guard.resume(str(monitor.path), 0)
    assert "cont" not in monitor.asked


def test_a_vm_that_may_not_go_on_yet_is_not_called_resumed(monitor: Monitor) -> None:
    monitor.refuses = "cont"
    with pytest.raises(OSError, match="not now"):
        pause_guard.resume(str(monitor.path), 0)
    assert monitor.status == "paused"


def test_it_is_tried_again_until_it_is_given_up(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause_guard, "EVERY_S", 0.001)
    monkeypatch.setattr(pause_guard, "TRIES_FOR_S", 0.02)
    tries: list[int] = []

    def resume(_: str, pid: int) -> bool:
        tries.append(pid)
        if len(tries) == 1:
            raise OSError("it serves another client")
        return len(tries) == 3

    monkeypatch.setattr(pause_guard, "resume", resume)
    assert pause_guard._resume_anew("", 7) == 0
    assert tries == [7, 7, 7]
    assert pause_guard._resume_anew("", 7) == 1, "nobody is heard any more"
