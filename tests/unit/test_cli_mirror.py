"""``frostwatch mirror``: what it is given, and when somebody asks it to complete."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.unit.cli_fakes import World, world
from tui.cli.commands import mirror
from tui.main import run

__all__ = ["world"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rate", "fast"], "'fast' is no rate: write bytes a second: 500K, 10M or 1G"),
        (["--at", "noon"], "'noon' is no time: write 02:30, or 2026-03-01T02:30:00+01:00"),
        (["--at", "2020-01-01T00:00:00Z"], "is over already"),
        (["--at", "02:30", "--wait"], "--at and --wait exclude each other"),
        (["--format", "vmdk"], "'vmdk' is not one of 'qcow2', 'raw'"),
        (["--policy", "maybe"], "'maybe' is not one of 'require', 'prefer', 'never', 'suspend'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    world: World,
    words: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.add("web1")
    assert run(["mirror", "web1", "--to", str(tmp_path), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_bad_input(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("web1")
    assert run(["mirror", "web1", "--to", str(tmp_path / "none")]) == 2
    assert "is no folder: make it, or name another one" in capsys.readouterr().err


def test_an_unknown_vm_is_bad_input(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mirror", "web9", "--to", str(tmp_path)]) == 2
    assert "web9" in capsys.readouterr().err


def test_a_signal_or_enter_asks_to_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    with mirror.asked_to_complete() as asked:
        monkeypatch.setattr(mirror, "entered", lambda: False)
        assert not asked()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert asked()
    with mirror.asked_to_complete() as asked:
        monkeypatch.setattr(mirror, "entered", lambda: True)
        assert asked()


def test_in_a_terminal_of_somebody_else_nobody_has_pressed_enter() -> None:
    master, slave = os.openpty()
    try:
        os.write(master, b"\n")
        assert not mirror.entered(slave)
    finally:
        os.close(master)
        os.close(slave)
