"""Who we are, and whether another process of frostwatch has ended: what the journal rests on."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentclient.access.host import process as process_module
from agentclient.access.host.process import start_ticks, stat_fields
from agentclient.journal.identity import (
    boot_id,
    is_dead,
    own_identity,
    socket_of,
    this_process,
)
from agentclient.model.vm import AgentChannel, Process, Vm, VmId
from tests.unit.fake_proc import make_socket

HERE = socket.gethostname()


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """Who we are is found out once; here it is found out for each test."""
    own_identity.cache_clear()
    boot_id.cache_clear()
    yield
    own_identity.cache_clear()
    boot_id.cache_clear()


def refuse(*_: object) -> object:
    raise OSError(24, "Too many open files")


# -- who we are ----------------------------------------------------------------------------------


def test_we_are_this_process_of_this_user_on_this_host_and_boot() -> None:
    who = own_identity()
    assert (who.uid, who.host, who.boot) == (os.getuid(), HERE, boot_id())
    assert who.user == pwd.getpwuid(os.getuid()).pw_name
    assert who.process == this_process()
    assert who.process.pid == os.getpid()
    assert len(who.boot) == 36
    assert os.path.basename(sys.executable) in who.command  # noqa: PTH119 - no path is asked for


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert own_identity().user == "4000000"


def test_a_command_line_can_be_copied_and_does_not_repaint_the_screen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = b"frostwatch\0freeze\0a b\0\x1b[2J\0\xff\0"
    read = Path.read_bytes

    def of_ours(path: Path) -> bytes:
        return words if path == Path("/proc/self/cmdline") else read(path)

    monkeypatch.setattr(Path, "read_bytes", of_ours)
    command = own_identity().command
    assert command.startswith("frostwatch freeze 'a b' ")
    assert "\x1b" not in command


def test_without_a_descriptor_left_we_are_known_by_our_pid_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_module, "stat_fields", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    who = own_identity()
    assert (who.process, who.command, who.boot) == (Process(os.getpid(), 0), "", "")


@pytest.mark.parametrize("fields", [[], [b"S"], [b"x"] * 30])
def test_a_proc_that_says_nothing_of_use(
    monkeypatch: pytest.MonkeyPatch, fields: list[bytes]
) -> None:
    monkeypatch.setattr(process_module, "stat_fields", lambda _: (b"x", fields))
    assert this_process() == Process(os.getpid(), 0)


# -- whether a process has ended -----------------------------------------------------------------


def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], close_fds=True)


def process_of(pid: int) -> Process:
    _, fields = stat_fields(Path(f"/proc/{pid}"))
    return Process(pid, start_ticks(fields))


def test_a_process_lives_until_it_ends() -> None:
    with child() as other:
        process = process_of(other.pid)
        assert is_dead(process, HERE, boot_id()) is False
        other.kill()
    assert is_dead(process, HERE, boot_id()) is True


def test_another_process_with_its_pid_is_another_one() -> None:
    ours = this_process()
    assert is_dead(ours, HERE, boot_id()) is False
    assert is_dead(Process(ours.pid, ours.start_ticks - 1), HERE, boot_id()) is True


@pytest.mark.parametrize(
    ("host", "boot", "dead"),
    [
        ("elsewhere", None, None),
        ("elsewhere", "another boot", None),
        (HERE, "another boot", True),
        (HERE, "", None),
    ],
)
def test_pids_count_on_one_host_and_within_one_boot(
    host: str, boot: str | None, dead: bool | None
) -> None:
    assert is_dead(this_process(), host, boot_id() if boot is None else boot) is dead


def test_where_our_own_boot_is_not_known_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", refuse)
    assert is_dead(Process(1, 1), HERE, "another boot") is None


def test_a_process_that_could_not_tell_its_start_may_be_the_one_with_its_pid() -> None:
    """P9, P4: its freeze would be thawed as that of a dead frostwatch."""
    assert is_dead(Process(os.getpid(), 0), HERE, boot_id()) is None
    with child() as other:
        other.kill()
    assert is_dead(Process(other.pid, 0), HERE, boot_id()) is True
    assert is_dead(Process(os.getpid(), 0), HERE, "another boot") is True


# -- which socket it is --------------------------------------------------------------------------


def made_anew(path: Path) -> Path:
    path.unlink()
    return make_socket(path)


def touched(path: Path) -> Path:
    os.utime(path, ns=(1, 1))
    return path


@pytest.mark.parametrize("change", [made_anew, touched])
def test_each_qemu_makes_its_sockets_anew(tmp_path: Path, change: Callable[[Path], Path]) -> None:
    path = make_socket(tmp_path / "db.qga")
    vm = Vm(VmId("socket", "db"), AgentChannel(path))
    before = socket_of(vm)
    assert before is not None
    assert socket_of(vm) == before
    change(path)
    assert socket_of(vm) not in (before, None)


def test_a_socket_that_is_away_is_no_socket(tmp_path: Path) -> None:
    assert socket_of(Vm(VmId("socket", "db"), AgentChannel(tmp_path / "no.qga"))) is None
    assert socket_of(Vm(VmId("socket", "db"), AgentChannel(Path("a\0b")))) is None
    assert socket_of(Vm(VmId("socket", "db"))) is None
