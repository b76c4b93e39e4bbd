"""Who we are, and which QEMU a VM is: what a later run needs to recognise them."""

from __future__ import annotations

import functools
import os
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path

from agentclient.access.host.process import (
    PROC,
    socket_identity,
    start_ticks,
    stat_fields,
    user_name,
)
from agentclient.access.presence import is_gone
from agentclient.model.text import printable
from agentclient.model.vm import Process, Vm

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# A process whose start could not be told, as where no descriptor was left to read it with.
_NOT_KNOWN = 0


@dataclass(frozen=True, slots=True)
class Who:
    """A process of frostwatch.

    Attributes:
        command: its command line, as a shell would read it.
        boot: the host's boot: pids and start times count within one alone.
    """

    uid: int
    user: str
    process: Process
    command: str
    host: str
    boot: str


@functools.cache
def ourselves() -> Who:
    """Return who we are."""
    uid = os.getuid()
    return Who(uid, user_name(uid), this_process(), _command(), socket.gethostname(), boot_id())


def this_process() -> Process:
    """Return the process that runs this."""
    try:
        _, fields = stat_fields(Path("/proc/self"))
        return Process(os.getpid(), start_ticks(fields))
    except (OSError, ValueError, IndexError):
        return Process(os.getpid(), _NOT_KNOWN)


@functools.cache
def boot_id() -> str:
    """Return what tells this boot of the host from another one; empty if nothing does."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def is_dead(process: Process, host: str, boot: str) -> bool | None:
    """Return whether a process has ended; None if that can't be told from here.

    Args:
        process: it.
        host: the name of the host that it ran on.
        boot: the boot that it ran in.
    """
    if not is_here(host):
        return None  # the file is shared with another host
    here = boot_id()
    if not here or not boot:
        return None
    if boot != here:
        return True
    if process.start_ticks == _NOT_KNOWN and (PROC / str(process.pid)).exists():
        return None  # whoever has its pid now may be itself
    return is_gone(process)


def is_here(host: str) -> bool:
    """Return whether this is the host of a name: another one may share the file."""
    return host == socket.gethostname()


def socket_of(vm: Vm) -> str | None:
    """Return what tells the socket of a VM's agent from one that another QEMU makes later.

    A VM that is named by its sockets has no process that we know; but each QEMU makes them anew.
    """
    if vm.agent is None:
        return None
    return socket_identity(vm.agent.path)


def _command() -> str:
    try:
        words = Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    return printable(shlex.join(os.fsdecode(word) for word in words))
