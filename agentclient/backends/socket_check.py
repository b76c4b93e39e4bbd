"""Checks a socket's file without connecting: it exists, is a socket, and may be opened.

Nothing here connects: a connection to an agent's socket occupies it, and may have to wait for
another client to leave (protocol §1.2).
"""

from __future__ import annotations

import grp
import os
import stat
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from agentclient.model.errors import BadInput
from agentclient.model.text import printable
from agentclient.model.vm import Vm


class SocketFault(StrEnum):
    """Why a socket can't be opened."""

    MISSING = "missing"
    NOT_A_SOCKET = "not-a-socket"
    NO_PERMISSION = "no-permission"
    OTHER = "other"


class SocketProblem(NamedTuple):
    """What is wrong with a socket's file.

    Attributes:
        fault: the kind of problem.
        text: one sentence without a full stop, safe to show.
        advice: what to do about it.
    """

    fault: SocketFault
    text: str
    advice: str


def check_socket(path: Path) -> SocketProblem | None:
    """Return why the socket at `path` can't be opened; None if no reason is seen."""
    shown = printable(path)
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _missing(path)
    except PermissionError:
        return _locked_folder(path)
    except (OSError, ValueError) as error:
        return SocketProblem(
            SocketFault.OTHER, f"{shown} can't be looked at: {error}", "Check the path."
        )
    if not stat.S_ISSOCK(found.st_mode):
        return SocketProblem(
            SocketFault.NOT_A_SOCKET,
            f"{shown} is {_kind(found.st_mode)}, not a socket",
            "Name the socket that QEMU's -chardev or -qmp option names.",
        )
    return None if _may_write(path) else _forbidden(path, found)


def _missing(path: Path) -> SocketProblem:
    return SocketProblem(
        SocketFault.MISSING,
        f"{printable(path)} does not exist",
        "Check the path, and whether the VM runs: QEMU makes its sockets when it starts.",
    )


def _locked_folder(path: Path) -> SocketProblem:
    folder = next((p for p in reversed(path.parents) if not _may_search(p)), path.parent)
    return SocketProblem(
        SocketFault.NO_PERMISSION,
        f"no permission to look into {printable(folder)}, where {printable(path.name)} is",
        "Run frostwatch as root, or as the user that owns the VM.",
    )


def _forbidden(path: Path, found: os.stat_result) -> SocketProblem:
    group = _group_name(found.st_gid) if found.st_mode & stat.S_IWGRP else None
    who = f", or as a member of the group {group}" if group else ""
    return SocketProblem(
        SocketFault.NO_PERMISSION,
        f"no permission to connect to {printable(path)}",
        f"Run frostwatch as root{who}.",
    )


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _may_search(path: Path) -> bool:
    return os.access(path, os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a file" if stat.S_ISREG(mode) else "a device or pipe"


def is_libvirts_path(path: str) -> bool:
    """Return whether a path is in a folder of libvirt's sockets (system or session daemon)."""
    return "/libvirt/qemu/" in path


def check_agent_socket(vm: Vm) -> None:
    """Check a VM's agent socket without connecting. A VM without a monitor has less evidence.

    Raises:
        BadInput: the socket can't be used.
    """
    problem = check_socket(vm.agent.path) if vm.agent is not None else None
    if problem is not None:
        advice = f". {problem.advice}" if problem.advice else ""
        raise BadInput(f"{printable(str(vm.id), 80)}: the agent's socket: {problem.text}{advice}")
