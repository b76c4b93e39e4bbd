"""An action hits the VM that was meant, or nothing (P6)."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from agentclient.access.host.process import has_gone, owner_of
from agentclient.model.vm import Process


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "self").mkdir()
    (tmp_path / "7").mkdir()
    rest = " ".join(["0"] * 18 + ["12345"] + ["0"] * 30)
    (tmp_path / "7" / "stat").write_text(f"7 (qemu) S 1 (x) S {rest}\n".replace(" (x) S ", " "))
    return tmp_path


def test_the_same_process_is_there(proc: Path) -> None:
    fields = (proc / "7" / "stat").read_text().rpartition(")")[2].split()
    assert not has_gone(Process(7, int(fields[19])), proc)


def test_another_process_has_its_pid(proc: Path) -> None:
    assert has_gone(Process(7, 1), proc)


def test_it_has_ended(proc: Path) -> None:
    assert has_gone(Process(8, 12345), proc)


def test_nothing_is_sure_where_nothing_can_be_read(proc: Path, tmp_path: Path) -> None:
    (proc / "7" / "stat").write_text("nonsense")
    assert not has_gone(Process(7, 1), proc)
    assert not has_gone(Process(7, 1), tmp_path / "no-proc-here")
    assert not has_gone(None, proc)


def test_this_process_is_alive() -> None:
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert not has_gone(Process(os.getpid(), ticks))
    assert has_gone(Process(os.getpid(), ticks - 1))


def test_whose_a_process_is_is_looked_up_each_time(tmp_path: Path) -> None:
    """In weeks a pid is another process's."""
    assert owner_of(4711, tmp_path) is None
    (tmp_path / "4711").mkdir()
    assert owner_of(4711, tmp_path) == pwd.getpwuid(os.getuid()).pw_name
