"""Commands that tell of something: bounded in time and number, and never in anybody's way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentclient.config.defaults import CALLS, DEFAULTS, WAYS
from agentclient.config.load import load_settings
from agentclient.model.errors import BadInput
from agentclient.model.transition import Transition
from tests.waiting import until
from tui.shared import bounded_commands
from tui.shared.bounded_commands import MOST_AT_ONCE, MOST_WAITING, BoundedCommands
from tui.shared.notify import Notify

PATIENT_S = 60.0


def script(tmp_path: Path, text: str) -> tuple[str, ...]:
    """A command that runs some Python, with the folder as its argument."""
    file = tmp_path / "hook.py"
    file.write_text(f"import os, sys, time\nfolder = sys.argv[1]\n{text}\n")
    return (sys.executable, "-S", "-E", str(file), str(tmp_path))


def test_it_finds_its_variables_and_nobody_reads_or_feeds_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failures: list[str] = []
    commands = BoundedCommands(failures.append)
    said = (
        "print('noise'); print('noise', file=sys.stderr)\n"
        "name, leads = os.environ['FROSTWATCH_VM'], os.getpid() == os.getpgid(0)\n"
        "open(folder + '/new', 'w').write(f'{name}|{sys.stdin.read()}|{leads}')\n"
        "os.rename(folder + '/new', folder + '/out')"
    )
    name = "$(touch owned); `id` 'x\""
    commands.begin("x", script(tmp_path, said), {"FROSTWATCH_VM": name})
    until((tmp_path / "out").exists, "it has run")
    commands.close()
    assert (tmp_path / "out").read_text() == f"{name}||True"
    assert failures == []
    assert capfd.readouterr() == ("", "")


def test_it_is_ended_with_all_of_its_group_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_commands, "KILLED_S", 0.05)
    failures: list[str] = []
    commands = BoundedCommands(failures.append, within_s=0.5)
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "open(folder + f'/{os.getpid()}', 'w').close()\n"
        "time.sleep(600)"
    )
    commands.begin("hook", script(tmp_path, stubborn))
    until(lambda: failures, "it was ended")
    assert "hook: " in failures[0]
    assert (
        "it was ended after 0.5 s, its bound (told once, until it does well again)" in failures[0]
    )
    pids = [int(path.name) for path in tmp_path.glob("[0-9]*")]

    def gone(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    until(lambda: all(map(gone, pids)), "all of its group have ended")
    commands.close()


def test_a_failure_is_told_once_until_it_does_well_again(tmp_path: Path) -> None:
    failures: list[str] = []
    commands = BoundedCommands(failures.append)
    flag = tmp_path / "well"
    argv = script(tmp_path, "sys.exit(0 if os.path.exists(folder + '/well') else 3)")

    def ran() -> None:
        commands.begin("hook", argv)
        until(lambda: commands.idle, "it has run")

    ran()
    ran()
    assert len(failures) == 1
    assert "it failed (exit code 3)" in failures[0]
    flag.touch()
    ran()
    flag.unlink()
    ran()
    assert len(failures) == 2
    commands.begin("other", ("/no/such/program",))
    until(lambda: len(failures) == 3, "that of another name is told")
    assert failures[2].startswith("other: /no/such/program: it can't be started: No such file")
    commands.close()


def test_no_more_run_or_wait_than_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_commands, "LEAVING_S", 0.1)
    failures: list[str] = []
    commands = BoundedCommands(failures.append)
    argv = script(tmp_path, "open(f'{folder}/{os.getpid()}', 'w').close(); time.sleep(600)")
    began = time.monotonic()
    for _ in range(MOST_WAITING + 50):
        commands.begin("hook", argv)
    assert time.monotonic() - began < PATIENT_S, "nobody waits for them"
    until(lambda: len(list(tmp_path.glob("[0-9]*"))) == MOST_AT_ONCE, "some run")
    until(lambda: len(commands._running) == MOST_AT_ONCE, "it knows of them")
    assert len(failures) == 1
    assert f"{MOST_WAITING} wait for their turn" in failures[0]
    running = [one.child for one in commands._running]
    commands.close()
    assert [child.returncode for child in running] == [-9] * MOST_AT_ONCE
    commands.begin("hook", argv)
    assert not commands._waiting, "it is closed"


def test_whoever_ignores_how_children_end_is_no_trouble(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from tui.shared.bounded_commands import BoundedCommands\n"
        "commands = BoundedCommands(print)\n"
        "commands.begin('hook', ('true',))\n"
        "commands.close()\n"
        "print('well')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENT_S, check=True
    )
    assert (done.stdout, done.stderr) == ("well\n", "")


def test_settings_say_how_somebody_is_called(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('bell = true\nnotify = ["tmux"]\nnotify_command = ["page-me", "-v"]\n')
    general = load_settings(str(file), environment={}).general
    assert Notify.of(general) == Notify(frozenset({"tmux"}), ("page-me", "-v"))
    assert Notify.of(DEFAULTS) == Notify()
    assert not Notify.of(DEFAULTS).wanted
    assert Notify.of(DEFAULTS._replace(bell=True)) == Notify(frozenset(WAYS))
    file.write_text('bell = true\nnotify_on = ["lost", "left-frozen"]\n')
    on = Notify.of(load_settings(str(file), environment={}).general).on
    assert on == frozenset({"lost", "left-frozen"})
    assert set(CALLS) == {one.value for one in Transition}
    file.write_text('notify_on = ["answerd"]\n')
    with pytest.raises(BadInput, match=r"'answerd' is none of .*did you mean answered"):
        load_settings(str(file), environment={})
    file.write_text('notify = ["bel"]\n')
    with pytest.raises(
        BadInput, match=r"'bel' is none of bell, terminal, tmux \(did you mean bell"
    ):
        load_settings(str(file), environment={})
