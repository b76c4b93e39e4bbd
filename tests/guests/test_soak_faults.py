"""Random faults at random moments: no guest stays frozen unless somebody says so (`make soak`).

Each round freezes a real guest with ``frostwatch freeze``, waits for a moment (sending, pending,
frozen, thawing), does one harm for a while, and looks at the guest until console and holder have
ended. What is said at the end has to be true: *settled* of a guest that can write, and something
to do for a person otherwise.
"""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.guests.command import ROOT
from tests.guests.conftest import Boot
from tests.guests.faults import FAULTS, Scene, small_disk, why_not
from tests.guests.lab import Guest

ROUNDS = 50
HOOK_S = 1.0
HOLD_S = 2.0
# How long a freeze may take in all: its schedule, its hold, its thaw's bound, and some room.
SCHEDULE = ("--first-timeout", "6s", "--probe-timeout", "2s", "--probes", "2")
BOUND_S = 10.0 + HOLD_S + 180.0 + 20.0
# An outcome that says *settled* has to stay true for so long.
STAYS_S = 1.5
# The event that a moment begins with, and how long the moment lasts.
MOMENTS = {
    "sending": ("preparing", 0.3),
    "pending": ("sent", HOOK_S),
    "frozen": ("held", HOLD_S),
    "thawing": ("thaw-sent", 0.1),
}


@dataclass
class Round:
    """One freeze with one fault, and what came of it."""

    moment: str
    fault: str
    killed: bool
    delay_s: float
    frozen: set[str]
    said: dict[str, Any] | None
    errors: str

    def __str__(self) -> str:
        return f"{self.fault} while {self.moment}: {self.said}\n{self.errors}"


class Console:
    """One ``frostwatch freeze`` as a process, whose events are read while it runs."""

    def __init__(self, guest: Guest, state: Path, clock: Path) -> None:
        command = [sys.executable, "-m", "tests.guests.other_clock", str(clock)]
        command += ["--vm", guest.vm_argument, "--named-only"]
        command += ["freeze", f"socket:{guest.name}", "--json", "--hold", f"{HOLD_S:g}", *SCHEDULE]
        self.child = subprocess.Popen(
            command,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"XDG_STATE_HOME": str(state)},
        )
        self.told: list[dict[str, Any]] = []
        self._news: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, event: str) -> bool:
        """Wait until an event was told; False if the console ended without it."""
        while True:
            told = self._news.get(timeout=BOUND_S)
            if told is None or told["event"] == event:
                return told is not None

    def last_word(self) -> tuple[dict[str, Any] | None, str]:
        """Return its outcome, if it told one, and what it said on stderr."""
        self._reader.join(timeout=10.0)
        assert self.child.stderr is not None
        errors = self.child.stderr.read()
        outcomes = [told for told in self.told if told["event"] == "outcome"]
        return (outcomes[-1] if outcomes else None), errors

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            told = json.loads(line)
            self.told.append(told)
            self._news.put(told)
        self._news.put(None)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with small_disk(tmp_path / "state") as path:
        yield path


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize("batch", range(4))
def test_random_faults(
    boot: Boot, disk: Path, batch: int, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = boot(name=f"faults{batch}", mounts=("a", "b"), respawn=0.0)
    dice = random.Random(int(os.environ.get("FROSTWATCH_SEED", "0")) + batch)
    rounds = [_round(guest, disk, dice) for _ in range(_how_many())]
    wrong = [what for what in map(_wrong, rounds) if what is not None]
    with capsys.disabled():
        print(f"\n  batch {batch}: {_figures(rounds)}; wrong: {len(wrong)}")
    assert not wrong, "\n\n".join(wrong)


def _how_many() -> int:
    return int(os.environ.get("FROSTWATCH_ROUNDS", str(ROUNDS)))


def _round(guest: Guest, state: Path, dice: random.Random) -> Round:
    moment, fault = dice.choice(list(MOMENTS)), dice.choice(list(FAULTS))
    event, within_s = MOMENTS[moment]
    guest.slow_hook(HOOK_S)
    clock = Path(tempfile.gettempdir()) / f"{guest.name}-{os.getpid()}.clock"
    clock.write_text("0")
    console = Console(guest, state, clock)
    scene = Scene(guest, console.child, state, clock)
    try:
        if not console.wait_for(event):  # such as one that the last round's holder has still had
            said, errors = console.last_word()
            return Round(moment, "none", False, 0.0, guest.frozen_mounts(), said, errors)
        time.sleep(dice.uniform(0.0, within_s))
        scene.find_holders()
        with ExitStack() as harm:
            harm.enter_context(FAULTS[fault](scene))
            _watch(scene, until=time.monotonic() + dice.choice((0.5, 1.0, 3.0, 3.5)))
        undone = time.monotonic()
        last_frozen = _watch(scene, until=undone + BOUND_S, to_the_end=True)
        frozen = guest.frozen_mounts()
        said, errors = console.last_word() if console.child.poll() is not None else (None, "")
        killed = console.child.poll() == -signal.SIGKILL
        delay = max(0.0, (last_frozen or undone) - undone)
        return Round(moment, fault, killed, delay, frozen, said, errors)
    finally:
        console.child.kill()
        clock.unlink(missing_ok=True)
        guest.calm_down()


def _watch(scene: Scene, *, until: float, to_the_end: bool = False) -> float | None:
    """Look at the guest until a moment, or until console and holders have ended.

    Returns:
        When it was seen frozen last; None if never.
    """
    seen, ended_at = None, None
    while time.monotonic() < until:
        if scene.guest.frozen_mounts():
            seen = time.monotonic()
        if scene.console.poll() is None:
            scene.find_holders()
        elif not any(_alive(pid) for pid in scene.holders):
            ended_at = ended_at or time.monotonic()
        if to_the_end and ended_at is not None and time.monotonic() > ended_at + STAYS_S:
            break
        time.sleep(0.1)
    return seen


def _alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def _wrong(done: Round) -> str | None:
    """Return what is wrong: frozen without a loud word, a false *settled*, or no last word."""
    if done.frozen and done.said is None:
        return f"frozen, and nobody was told: {done}"
    if done.frozen and done.said is not None and done.said["settled"]:
        return f"frozen, and called settled: {done}"
    if done.frozen and done.said is not None and not done.said["next"]:
        return f"frozen, and nothing to do was told: {done}"
    if not done.killed and (done.said is None or "Traceback" in done.errors):
        return f"no last word: {done}"
    return None


def _figures(rounds: list[Round]) -> str:
    worst = max(rounds, key=lambda one: one.delay_s)
    kinds = Counter("killed" if one.said is None else str(one.said["outcome"]) for one in rounds)
    told = sum(one.said is not None and not one.said["settled"] for one in rounds)
    stayed = sum(bool(one.frozen) for one in rounds)
    return (
        f"{len(rounds)} faults: {dict(kinds)}; frozen in the end: {stayed}; told that it may be: "
        f"{told}; longest after the fault's end: {worst.delay_s:.1f} s "
        f"({worst.fault}, {worst.moment})"
    )
