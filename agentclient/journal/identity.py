"""The identities of frostwatch processes and of VMs, by which a later run recognises them."""

from __future__ import annotations

import functools
import os
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path

from agentclient.access.host.process import (
    PROC,
    process_of,
    socket_identity,
    user_name,
)
from agentclient.access.presence import is_gone
from agentclient.model.text import printable
from agentclient.model.vm import Process, Vm

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# The start time of a process where it could not be read, such as when no descriptor was free.
_NOT_KNOWN = 0


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """The identity of a frostwatch process.

    Attributes:
        command: its command line, quoted for a shell.
        host: the name of its host.
        boot: the id of the host's boot: pids and start times are unique only within one boot.
    """

    uid: int
    user: str
    process: Process
    command: str
    host: str
    boot: str


@functools.cache
def own_identity() -> ProcessIdentity:
    """Return the full identity of this process."""
    uid = os.getuid()
    return ProcessIdentity(
        uid, user_name(uid), this_process(), _command(), socket.gethostname(), boot_id()
    )


def this_process() -> Process:
    """Return the pid and the start time of this process."""
    return process_of(os.getpid()) or Process(os.getpid(), _NOT_KNOWN)


@functools.cache
def boot_id() -> str:
    """Return the id of the host's current boot; empty if the kernel gives none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def is_dead(process: Process, host: str, boot: str) -> bool | None:
    """Return whether a process has ended; None if that can't be told on this host.

    Args:
        process: the process.
        host: the name of its host.
        boot: the id of the boot in which it ran.
    """
    if not is_here(host):
        return None  # the journal's file is shared with another host
    here = boot_id()
    if not here or not boot:
        return None
    if boot != here:
        return True
    if process.start_ticks == _NOT_KNOWN and (PROC / str(process.pid)).exists():
        return None  # the process that has this pid now may be the same one
    return is_gone(process)


def is_here(host: str) -> bool:
    """Return whether `host` is this host's name: another host may share the journal's file."""
    return host == socket.gethostname()


def socket_of(vm: Vm) -> str | None:
    """Return the identity of the agent's socket of a VM; the socket of a later QEMU has another.

    It is needed for a VM that is given by its sockets, whose process is not known: each QEMU makes
    its sockets anew.
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
