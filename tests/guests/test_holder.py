"""The dead man's switch: whatever ends a console, no guest stays frozen (P4)."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guests.command import Frostwatch, holders_of
from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until

# From the kill to a guest that can write, where its freeze was answered; on a busy machine.
HOOK_S = 1.0


@dataclass(frozen=True)
class Clock:
    """Tells host times by a guest's uptime."""

    guest: Guest
    offset: float

    @classmethod
    def of(cls, guest: Guest) -> Clock:
        before = time.monotonic()
        uptime = float(guest.shell("read -r up _ </proc/uptime; echo $up"))
        return cls(guest, (before + time.monotonic()) / 2 - uptime)

    def leave_writer(self) -> None:
        """Leave a writer in the guest that notes when its write goes through."""
        self.guest.shell(
            "rm -f /run/lab/wrote\n"
            "(dd if=/dev/zero of=/mnt/a/late bs=4k count=1 conv=fsync 2>/dev/null\n"
            "read -r up _ </proc/uptime; echo $up >/run/lab/wrote) >/dev/null 2>&1 &"
        )

    def wrote_at(self) -> float:
        """When it has gone through (monotonic clock of the host)."""

        def seen() -> str:
            return self.guest.shell("cat /run/lab/wrote 2>/dev/null || true")

        wait_until(lambda: bool(seen()), PATIENCE_S, "the write to go through")
        return float(seen()) + self.offset


@pytest.fixture
def frostwatch(calm: Guest) -> Iterator[Frostwatch]:
    started = Frostwatch(calm)
    yield started
    started.close()


def await_end(holder: int) -> None:
    """Wait until a holder has nothing left to do."""

    def gone() -> bool:
        try:
            return b") Z " in Path(f"/proc/{holder}/stat").read_bytes()
        except OSError:
            return True

    wait_until(gone, PATIENCE_S, "the holder's end")


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.timeout(900)
def test_a_console_killed_while_it_holds(
    calm: Guest,
    frostwatch: Frostwatch,
    kills: int,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock.of(calm)
    took = []
    for _ in range(kills):
        child = frostwatch.freeze_until("held", "--hold", "100")
        (holder,) = holders_of(child.pid)
        assert calm.frozen_mounts() == {"a", "b"}
        clock.leave_writer()
        killed = time.monotonic()
        child.kill()
        took.append(clock.wrote_at() - killed)
        await_end(holder)
        calm.assert_thawed()
    figures = {
        "kills": kills,
        "median": round(statistics.median(took), 3),
        "worst": round(max(took), 3),
    }
    with capsys.disabled():
        print("\n  kill to writable:", ", ".join(f"{name} {it}" for name, it in figures.items()))
    record_property("kill_to_writable", figures)


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.timeout(900)
def test_a_console_killed_at_any_moment(calm: Guest, frostwatch: Frostwatch, kills: int) -> None:
    """From before the freeze is sent until after its thaw, in the middle of whatever it does."""
    calm.set_hook(f"sleep {HOOK_S}")
    dice = random.Random(kills)
    for _ in range(kills):
        child = frostwatch.freeze_until("preparing", "--hold", "1")
        time.sleep(dice.uniform(0.0, 3.6))
        holders = holders_of(child.pid) if child.poll() is None else []
        child.kill()
        child.wait()
        for holder in holders:
            await_end(holder)
        calm.assert_thawed()
        assert calm.hook_log().count("freeze") == calm.hook_log().count("thaw")


@pytest.mark.parametrize("respawn", [0.0, 1.0], ids=["at-once", "later"])
def test_console_and_agent_killed_together(
    calm: Guest, frostwatch: Frostwatch, respawn: float
) -> None:
    calm.set_respawn(respawn)
    for event in ("held", "sent"):
        if event == "sent":
            calm.slow_hook(1.0)
        child = frostwatch.freeze_until(event, "--hold", "100")
        (holder,) = holders_of(child.pid)
        calm.kill_agent()
        child.kill()
        await_end(holder)
        calm.assert_thawed()


def test_a_stopped_console_is_taken_over_at_the_holds_end(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    clock = Clock.of(calm)
    child = frostwatch.freeze_until("held", "--hold", "3")
    child.send_signal(signal.SIGSTOP)
    clock.leave_writer()
    clock.wrote_at()
    calm.assert_thawed()
    child.send_signal(signal.SIGCONT)
    out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0
    last = out.splitlines()[-1]
    assert '"certified": false' in last
    assert "the holder took over" in out
    # What the guest has written since is by the holder's thaw: the hold was as it was to be.
    assert json.loads(last)["outcome"] == "verified"
    assert "contradiction" not in out
    assert calm.hook_log()[-2:] == ["freeze", "thaw"]


def test_a_console_stopped_while_its_freeze_is_pending(calm: Guest, frostwatch: Frostwatch) -> None:
    calm.slow_hook(2.0)
    child = frostwatch.freeze_until("sent", "--hold", "2")
    child.send_signal(signal.SIGSTOP)
    # Not by a look at it while it is frozen, which a slow machine may miss.
    wait_until(lambda: calm.hook_log()[-2:] == ["freeze", "thaw"], PATIENCE_S, "the thaw")
    calm.assert_thawed()
    child.send_signal(signal.SIGCONT)
    child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 1


def test_a_console_that_is_only_slow_is_left_alone(calm: Guest, frostwatch: Frostwatch) -> None:
    child = frostwatch.freeze_until("held", "--hold", "4")
    child.send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    child.send_signal(signal.SIGCONT)
    out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0
    assert "took over" not in out


def test_a_killed_holder_is_noticed_and_the_guest_thawed(
    calm: Guest, frostwatch: Frostwatch
) -> None:
    child = frostwatch.freeze_until("held", "--hold", "100")
    (holder,) = holders_of(child.pid)
    os.kill(holder, signal.SIGKILL)
    out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 1
    assert '"thawed": 2' in out.splitlines()[-1]
    calm.assert_thawed()


def test_a_holder_that_is_told_to_end_thaws_first(calm: Guest, frostwatch: Frostwatch) -> None:
    child = frostwatch.freeze_until("held", "--hold", "100")
    (holder,) = holders_of(child.pid)
    os.kill(holder, signal.SIGTERM)
    out, _ = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 1
    assert json.loads(out.splitlines()[-1])["outcome"] == "broken", "its hold was cut short"
    calm.assert_thawed()


def test_two_consoles_have_two_holders(boot: Boot) -> None:
    one, two = boot(name="one", mounts=("a",)), boot(name="two", mounts=("a",))
    first, second = Frostwatch(one), Frostwatch(two)
    try:
        dies = first.freeze_until("held", "--hold", "100")
        lives = second.freeze_until("held", "--hold", "3")
        assert holders_of(dies.pid) != holders_of(lives.pid)
        dies.kill()
        one.assert_thawed()
        lives.communicate(timeout=PATIENCE_S)
        assert lives.returncode == 0, "its window was held for as long as it was to be"
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.soak)])
@pytest.mark.timeout(600)
def test_three_guests_of_a_killed_console(boot: Boot, kills: int) -> None:
    guests = [boot(name=f"three{number}", mounts=("a",)) for number in range(3)]
    frostwatch = Frostwatch(*guests)
    try:
        for _ in range(kills):
            child = frostwatch.freeze_until("held", "--hold", "100")
            child.kill()
            for guest in guests:
                guest.assert_thawed()
    finally:
        frostwatch.close()


@pytest.mark.parametrize("event", ["held", "sent"])
def test_console_and_qemu_killed_together(boot: Boot, event: str) -> None:
    """The holder finds the VM gone, and leaves: a guest that is no more keeps nobody."""
    guest, other = boot(name="gone", mounts=("a",)), boot(name="stays", mounts=("a",))
    frostwatch = Frostwatch(guest, other)
    try:
        if event == "sent":
            guest.hanging_hook()
            other.slow_hook(1.0)
        child = frostwatch.freeze_until(event, "--hold", "100")
        (holder,) = holders_of(child.pid)
        child.kill()
        guest.kill_qemu()
        other.assert_thawed()
        await_end(holder)
    finally:
        frostwatch.close()
