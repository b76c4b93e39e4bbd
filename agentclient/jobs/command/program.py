"""Finds the program of a command, before anything is frozen for it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.model.errors import BadInput
from agentclient.model.text import printable

_HEAD: Final = 256
_ELF: Final = b"\x7fELF"
# Linux takes no longer word, and no more of all words and the environment together than it says.
_LONGEST: Final = 131_071
_POINTER: Final = 8
_SPARE: Final = 4096


class Program(NamedTuple):
    """A program that can be started.

    Attributes:
        argv: the command and its arguments, as they were given.
        path: its file.
    """

    argv: tuple[str, ...]
    path: Path


def find_program(argv: Sequence[str], environment: Mapping[str, str]) -> Program:
    """Find a command's program as a shell does: by its path, or in ``PATH``.

    Args:
        argv: the command and its arguments.
        environment: the environment, for its ``PATH``.

    Raises:
        BadInput: there is no such program, or it can't be started; one sentence.
    """
    if not argv or not argv[0]:
        raise BadInput("there is no command: write it after --")
    if any("\0" in word for word in argv):
        raise BadInput("a command can't have a NUL character in it")
    _check_size(argv, environment)
    shown = printable(argv[0], 200)
    try:
        path = _found(argv[0], environment)
        if path.is_dir():
            raise BadInput(f"{shown} is a directory, and no command")
        if not os.access(path, os.X_OK):
            raise BadInput(f"{shown} can't be started: it is not executable for this user")
    except OSError as error:
        raise BadInput(f"{shown} can't be started: {error.strerror}") from None
    _check_head(path, shown)
    return Program(tuple(argv), path)


def _check_size(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    words = [os.fsencode(word) for word in argv]
    words += [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    longest = max(map(len, words))
    size = sum(len(word) + 1 + _POINTER for word in words) + _SPARE
    if longest > _LONGEST or size > os.sysconf("SC_ARG_MAX"):
        raise BadInput(
            f"the command can't be started: it and its environment are too long ({size:,} bytes, "
            f"the longest word has {longest:,})"
        )


def _found(name: str, environment: Mapping[str, str]) -> Path:
    if "/" in name:
        path = Path(name).absolute()
        path.stat()
        return path
    files = [path for path in _in_path(name, environment) if _is_file(path)]
    for path in files:
        if os.access(path, os.X_OK):
            return path
    if not files:
        raise BadInput(f"no command is called {printable(name, 200)!r}; PATH was searched")
    return files[0]


def _in_path(name: str, environment: Mapping[str, str]) -> list[Path]:
    return [Path(folder or ".", name).absolute() for folder in os.get_exec_path(environment)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder of PATH that this user may not enter
        return False


def _check_head(path: Path, shown: str) -> None:
    """Look at its first bytes: a script names an interpreter that is there.

    Raises:
        BadInput: it does not.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:  # it may be executable without being readable
        return
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n", 1)[0].split()
        interpreter = os.fsdecode(words[0]) if words else ""
        if not os.access(interpreter, os.X_OK):
            what = printable(interpreter, 200) or "nothing"
            raise BadInput(
                f"{shown} can't be started: its first line names {what}, which is no program"
            )
    elif not head.startswith(_ELF) and b"\0" not in head:
        raise BadInput(
            f"{shown} can't be started: it has no first line with an interpreter (#!/bin/sh); "
            f"start it with: sh {shown}"
        )
