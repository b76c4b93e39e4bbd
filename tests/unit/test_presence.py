"""Gone is proven, never inferred: three values, and what each of them needs (P9)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.access import presence
from agentclient.access.host.process import start_ticks, stat_fields
from agentclient.access.presence import NOBODY_S, GoneCheck, Server, is_gone, server_of
from agentclient.access.stream import ConnectProblem, UnixChannel, UnixEndpoint
from agentclient.model.vm import Process
from tests.unit.fake_proc import FakeProc

NOBODY = (ConnectProblem.REFUSED, ConnectProblem.MISSING)
SOMEBODY = (None, *(one for one in ConnectProblem if one not in NOBODY))


def myself() -> Process:
    _, fields = stat_fields(Path("/proc/self"))
    return Process(os.getpid(), start_ticks(fields))


# -- the process --------------------------------------------------------------------------------


def test_a_process_that_runs_is_there_and_its_end_is_proven() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    _, fields = stat_fields(Path(f"/proc/{child.pid}"))
    process = Process(child.pid, start_ticks(fields))
    assert is_gone(process) is False
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(process) is True, "a zombie has ended"
    child.communicate()
    assert is_gone(process) is True


def test_another_process_with_its_pid_is_not_it() -> None:
    me = myself()
    assert is_gone(me) is False
    assert is_gone(me._replace(start_ticks=me.start_ticks - 1)) is True


def test_what_cant_be_read_is_not_known(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path / "proc")
    assert is_gone(None) is None
    assert is_gone(Process(7, 1), proc.path) is True
    assert is_gone(Process(7, 1), tmp_path / "nothing") is None
    (proc.add(7, ["qemu"]) / "stat").write_text("nonsense")
    assert is_gone(Process(7, 1), proc.path) is None


def test_a_process_that_is_hidden_from_us_has_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hiding = FakeProc(tmp_path / "proc").path
    monkeypatch.setattr(presence, "PROC", hiding)
    assert is_gone(myself(), hiding) is None


# -- who serves a connection ----------------------------------------------------------------------


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[UnixChannel]:
    """A connection that is served by this very process."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        connected = UnixEndpoint(tmp_path / "socket").connect()
        yield connected
        connected.close()


def test_a_qemu_behind_a_connection_is_its_process(tmp_path: Path, channel: UnixChannel) -> None:
    proc = FakeProc(tmp_path / "proc")
    proc.add(os.getpid(), ["qemu"], ticks=77)
    assert server_of(channel, proc.path) == Server(Process(os.getpid(), 77))


def test_another_program_behind_it_is_known_for_one(channel: UnixChannel) -> None:
    assert server_of(channel) == Server(other=True)


def test_behind_a_simulated_guests_connection_it_is_the_guest(channel: UnixChannel) -> None:
    assert server_of(channel, simulated=True) == Server(myself())


def test_who_cant_be_seen_is_not_known(tmp_path: Path, channel: UnixChannel) -> None:
    assert server_of(channel, FakeProc(tmp_path / "proc").path) == Server()
    channel.close()
    assert server_of(channel) == Server()


# -- nobody listens -------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", NOBODY)
def test_nobody_who_listens_for_seconds_proves_it_where_nothing_better_can(
    problem: ConnectProblem,
) -> None:
    gone_check = GoneCheck(Server())
    assert gone_check.tried(100.0, problem) is None
    assert gone_check.tried(100.0 + NOBODY_S - 0.1, problem) is None
    assert gone_check.tried(100.0 + NOBODY_S, problem) is True


@pytest.mark.parametrize("somebody", SOMEBODY)
def test_whoever_listens_in_between_begins_it_anew(somebody: ConnectProblem | None) -> None:
    gone_check = GoneCheck(Server())
    gone_check.tried(100.0, ConnectProblem.MISSING)
    assert gone_check.tried(102.0, somebody) is None
    assert gone_check.tried(104.0, ConnectProblem.MISSING) is None
    assert gone_check.tried(106.0, ConnectProblem.REFUSED) is None
    assert gone_check.tried(107.0, ConnectProblem.REFUSED) is True


@given(
    server=st.sampled_from([Server(), Server(Process(7, 7)), Server(other=True)]),
    tries=st.lists(
        st.tuples(st.floats(0.0, 2.0), st.sampled_from([None, *ConnectProblem])), max_size=40
    ),
)
def test_it_is_never_said_of_a_vm_that_may_be_there(
    server: Server, tries: list[tuple[float, ConnectProblem | None]]
) -> None:
    gone_check, now, silent_since = GoneCheck(server), 0.0, 0.0
    for after, problem in tries:
        now += after
        if problem not in NOBODY:
            silent_since = now
        if gone_check.tried(now, problem):
            assert server == Server(), "a forward's end, or a QEMU that runs, proves nothing"
            assert now - silent_since >= NOBODY_S


def test_the_end_of_a_forward_proves_nothing() -> None:
    gone_check = GoneCheck(Server(other=True))
    assert {gone_check.tried(float(at), ConnectProblem.MISSING) for at in range(600)} == {None}


def test_asking_leaves_the_connection_open(channel: UnixChannel) -> None:
    server_of(channel)
    channel.send(b"x", float("inf"))


@pytest.mark.parametrize("pid", [2**31, 36**12, 10**200])
def test_a_number_that_no_process_can_have_is_no_trouble(pid: int) -> None:
    assert is_gone(Process(pid, 1)) in (True, None)
