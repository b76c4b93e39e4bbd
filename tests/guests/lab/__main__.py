"""A few guests with speaking names, for a command or for a person at a terminal.

python -m tests.guests.lab --guests 3 -- COMMAND...
    boots the guests, runs COMMAND and takes everything down when it ends, however it does.
    FROSTWATCH_LAB in its environment is JSON, a list of name, agent, monitor; {vms} in COMMAND
    is replaced by `--vm name=...,agent=...,monitor=...` for each guest.

python -m tests.guests.lab
    prints the `--vm` arguments and waits for Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType
from typing import NamedTuple

from tests.guests.lab import BootOptions, Guest, LabUnavailable, boot

_UNAVAILABLE = 69
_SLOW_HOOK_S = 30.0


class _Role(NamedTuple):
    """What a guest is for."""

    name: str
    options: BootOptions
    says: str
    hook_seconds: float = 0.0


_ROLES = (
    _Role("db", {"mounts": ("a", "b")}, "a freeze takes 30 s: its hook is slow", _SLOW_HOOK_S),
    _Role("web", {"respawn": 0}, "has a vfat, which can't freeze; its agent restarts at once"),
    _Role("mail", {"mounts": ("a",)}, "one file system, nothing special"),
)


def main(argv: Sequence[str]) -> int:
    """Run the lab; gives the command's exit status."""
    own, command = _split(argv)
    parser = argparse.ArgumentParser(prog="python -m tests.guests.lab", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--guests", type=int, default=len(_ROLES), help="how many (default: 3)")
    count = parser.parse_args(own).guests
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        with ExitStack() as stack:
            guests = _boot(count, stack)
            return _run(command, guests) if command else _wait(guests)
    except LabUnavailable as reason:
        print(reason, file=sys.stderr)
        return _UNAVAILABLE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def replaced(command: Sequence[str], guests: Sequence[Guest]) -> list[str]:
    """The command with `{vms}` replaced: as arguments, or quoted inside a longer argument."""
    arguments = [part for guest in guests for part in ("--vm", guest.vm_argument)]
    result: list[str] = []
    for part in command:
        if part == "{vms}":
            result += arguments
        else:
            result.append(part.replace("{vms}", shlex.join(arguments)))
    return result


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and the command behind `--`."""
    if "--" not in argv:
        return list(argv), []
    at = argv.index("--")
    return list(argv[:at]), list(argv[at + 1 :])


def _boot(count: int, stack: ExitStack) -> list[Guest]:
    """Boot so many guests, and say what each is for."""
    print(f"booting {count} guests (the first time builds them) ...", file=sys.stderr)
    guests: list[Guest] = []
    roles = [_ROLES[n % len(_ROLES)] for n in range(count)]
    for n, role in enumerate(roles):
        options: BootOptions = {**role.options, "name": f"{role.name}{n // len(_ROLES) + 1}"}
        guests.append(stack.enter_context(boot(**options)))
    for guest, role in zip(guests, roles, strict=True):
        if role.hook_seconds:
            guest.slow_hook(role.hook_seconds)
        print(f"{guest.name}: {role.says}", file=sys.stderr)
    return guests


def _run(command: Sequence[str], guests: Sequence[Guest]) -> int:
    """Run the command while the guests live."""
    places = [
        {"name": g.name, "agent": str(g.agent_socket), "monitor": str(g.monitor_socket)}
        for g in guests
    ]
    environment = os.environ | {"FROSTWATCH_LAB": json.dumps(places)}
    process = subprocess.Popen(replaced(command, guests), env=environment)
    # A Ctrl-C at the terminal is the command's own business, the console's for example.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = process.wait()
    finally:
        _end(process)
    return status if status >= 0 else 128 - status


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command if it still runs: politely first."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(guests: Sequence[Guest]) -> int:
    """Show the guests and wait for a signal."""
    print(" ".join(f"--vm {shlex.quote(guest.vm_argument)}" for guest in guests), flush=True)
    print("Ctrl-C ends them", file=sys.stderr)
    while True:
        signal.pause()


def _leave(number: int, _: FrameType | None) -> None:
    """A signal that asks us to go: through all clean-up."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
