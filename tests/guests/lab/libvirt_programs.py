"""Libvirt's daemon as it comes from Debian's packages: unpacked, never installed."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.guests.lab import packages
from tests.guests.lab.errors import LabUnavailable
from tests.guests.lab.qemu import Qemu
from tests.guests.lab.release import Release, run, tail, tool
from tests.guests.lab.unpacked import unpacked

_DRIVERS = "usr/lib/x86_64-linux-gnu/libvirt/connection-driver"
_RUN_QEMU = '#!/bin/sh\nexec env {environment} {program} {arguments} "$@"\n'


@dataclass(frozen=True)
class Programs:
    """Libvirt's daemon.

    Attributes:
        daemon: its program.
        drivers: the folder of its drivers.
        emulator: the QEMU for it to start.
    """

    daemon: Path
    drivers: Path
    emulator: Path


def ensure(release: Release, qemu: Qemu) -> Programs:
    """The daemon of a release, unpacked if need be.

    Args:
        release: whose.
        qemu: the QEMU of that release: another's was unpacked with its libvirt.

    Raises:
        LabUnavailable: it can't be had.
    """
    missing = [package for name, package in packages.LIBVIRT_TOOLS.items() if tool(name) is None]
    if missing:
        raise LabUnavailable(f"guests under libvirt need: apt-get install {' '.join(missing)}")
    not_root()
    tree = unpacked(release, "libvirt") if release.own else Path(qemu.program).parents[2]
    daemon = tree / "usr/sbin/libvirtd"
    if not daemon.exists():
        raise LabUnavailable(f"Debian's {release.codename} has no libvirtd where it is looked for")
    return Programs(daemon, tree / _DRIVERS, _emulator(qemu))


def not_root() -> list[str]:
    """What a command begins with that must not be root's.

    Raises:
        LabUnavailable: we are root, and may not make a user namespace.
    """
    if os.geteuid() != 0:
        return []
    command = [tool("unshare") or "unshare", "--user", "--map-user=1000"]
    done = run([*command, "true"])
    if done.returncode != 0:
        raise LabUnavailable(
            "guests under libvirt need somebody who is not root, or a user namespace: "
            f"unshare said: {tail(done.stderr)}"
        )
    return command


def on_host(name: str) -> list[str]:
    """What a command begins with that takes itself to be on a host of that name, and not root's."""
    unshare = tool("unshare") or "unshare"
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    named = ["sh", "-c", 'echo "$0" >/proc/sys/kernel/hostname && exec "$@"', name]
    return [unshare, *as_root, "--uts", *named, unshare, "--user", "--map-user=1000"]


def _emulator(qemu: Qemu) -> Path:
    """The program that libvirt starts as its QEMU: beside another release's, one that adds what it
    needs. It stays the same, so that what libvirt knows of it holds.
    """
    program = Path(qemu.program)
    if not qemu.environment:
        return program
    _hide_modules(program.parents[2])
    emulator = program.with_name("lab-qemu")
    text = _RUN_QEMU.format(
        environment=shlex.join(f"{name}={value}" for name, value in qemu.environment.items()),
        program=shlex.quote(qemu.program),
        arguments=shlex.join(qemu.arguments),
    )
    if not emulator.exists() or emulator.read_text() != text:
        beside = emulator.with_suffix(f".{os.getpid()}")
        beside.write_text(text)
        beside.chmod(0o755)
        beside.replace(emulator)
    return emulator


def _hide_modules(tree: Path) -> None:
    """Keep an unpacked QEMU from the modules of this machine's own, which may end it.

    libvirt has it load all that there are. A module that it finds first, and can't load, is told
    and passed over.
    """
    for module in Path("/usr/lib/x86_64-linux-gnu/qemu").glob("*.so"):
        ours = tree / module.relative_to("/")
        if ours.parent.exists() and not ours.exists():
            ours.touch()
