"""``frostwatch`` as a process of its own, on real guests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentclient.access.host.other_holders import holders_for
from agentclient.access.host.process import process_of
from agentclient.holder.other_holder import NotAsked, OtherHolder
from agentclient.model.vm import Vm
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until
from tests.processes import children, told

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


class Frostwatch:
    """Starts ``frostwatch`` on some guests, and kills what a test leaves behind.

    Args:
        *guests: the guests.
        named_only: the guests of other tests are neither looked for nor visited.
    """

    def __init__(self, *guests: Guest, named_only: bool = True) -> None:
        self.vms = [f"socket:{guest.name}" for guest in guests]
        self.vm = self.vms[0]
        self.known = [word for guest in guests for word in ("--vm", guest.vm_argument)]
        if named_only:
            self.known.append("--named-only")
        self._started: list[subprocess.Popen[str]] = []

    def reach_through(self, agent: Path) -> None:
        """Reach the (first) guest's agent by another path than QEMU's own."""
        spec = self.known[1].split(",")
        spec[1] = f"agent={agent}"
        self.known[1] = ",".join(spec)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-m", "tui.main", *self.known, *arguments],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._started.append(child)
        return child

    def run(self, *arguments: str) -> tuple[int, list[Json], str]:
        return ended(self.start(*arguments, "--json"))

    def freeze_until(self, event: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a freeze of all guests, and return when `event` was told of each."""
        child = self.start("freeze", *self.vms, "--json", *arguments)
        assert child.stdout is not None
        missing = set(self.vms)
        for line in child.stdout:
            told = json.loads(line)
            if told["event"] == event:
                missing.discard(told["vm"])
            if not missing:
                return child
        raise AssertionError(f"ended without {event} of {missing}")

    def close(self) -> None:
        for child in self._started:
            child.kill()
            child.communicate()
        for holder in [one.pid for child in self._started for one in holders_for(child.pid)]:
            # A window that was left is thawed at once, and not in the middle of the next test.
            for each in (signal.SIGCONT, signal.SIGTERM):
                with suppress(ProcessLookupError):
                    os.kill(holder, each)


def ended(
    child: subprocess.Popen[str], timeout_s: float = PATIENCE_S
) -> tuple[int, list[Json], str]:
    """Wait for its end; return its exit code, what it told, and what it said to a person."""
    out, err = child.communicate(timeout=timeout_s)
    return child.returncode, [json.loads(line) for line in out.splitlines()], err


def holders_of(console: int) -> list[int]:
    """Return the holders that stand by for a console's process."""
    return [pid for pid in children(console) if told(pid, "comm").startswith("frostwatch-hold")]


def await_armed(holder: int, vm: Vm) -> None:
    """Wait until a holder has a VM's guest: it does not thaw what it was not told of."""

    def has_it() -> bool:
        process = process_of(holder)
        assert process is not None, "it has ended"
        try:
            with OtherHolder(process, vm, None) as asked:
                asked.look()
        except NotAsked:
            return False
        return True

    wait_until(has_it, PATIENCE_S, "a holder that has the guest")
    time.sleep(0.5)  # the console says next what it has sent already


def kill_holder_and_console(console: int) -> None:
    """Kill both so quickly one after the other that neither notices."""
    (holder,) = holders_of(console)
    os.kill(holder, signal.SIGSTOP)
    os.kill(console, signal.SIGKILL)
    os.kill(holder, signal.SIGKILL)
