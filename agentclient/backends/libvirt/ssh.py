"""The program that leads to a daemon on another host: the operator's own ssh, which can't ask.

libvirt starts it as a child of ours, on our terminal. There a host on the way (``ProxyJump``) asks
for its password, across the console, whatever ssh itself was told; and Ctrl-C ends it, and cuts the
link in the middle of a freeze. So it is started in a session of its own, without a terminal, by a
script: libvirt takes the path of a program, and no words for it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentclient.config.home import home

# Seconds in which ssh gets as far as its keys, and then for each answer of the other host, so that
# a host that is down, hangs, or has gone ends it (ssh_config(5)).
CONNECT_S: Final = 10
_ALIVE_S: Final = 5
_UNANSWERED: Final = 2
_BOUNDS: Final = {
    "ConnectTimeout": CONNECT_S,
    "ServerAliveInterval": _ALIVE_S,
    "ServerAliveCountMax": _UNANSWERED,
    # A connection of ours that others share ends theirs when it ends, the holder's too.
    "ControlMaster": "no",
}
# The operator's own shared connection, if there is one, is used; but not where it may hang.
_ALONE: Final = {"ControlPath": "none"}
_SCRIPT: Final = """#!/bin/sh
# Written by frostwatch: starts ssh where it can ask nobody.
SSH_ASKPASS_REQUIRE=never
export SSH_ASKPASS_REQUIRE
set -- {program} {options} "$@"
command -v setsid >/dev/null && exec setsid "$@"
exec "$@"
"""
_OURS: Final = 0o700


def wrapped(program: str, *, alone: bool = False) -> str:
    """Return the path of a program that starts ssh so; `program` itself where none can be kept.

    Args:
        program: the operator's own one, such as ``ssh``.
        alone: no connection is shared with others.
    """
    text = _script(program, alone=alone)
    name = f"ssh-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    for folder in _folders():
        with suppress(OSError):
            folder.mkdir(mode=_OURS, parents=True, exist_ok=True)
            if _is_ours(folder) and _keeps(folder / name, text):
                return str(folder / name)
    return program


@functools.cache
def _script(program: str, *, alone: bool) -> str:
    options = _BOUNDS | (_ALONE if alone else {})
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return _SCRIPT.format(program=shlex.quote(program), options=shlex.join(given))


def _folders() -> Iterator[Path]:
    """Yield where it may be kept: in what is mounted *noexec* nothing can be started."""
    cache, runtime = (os.environ.get(f"XDG_{name}", "") for name in ("CACHE_HOME", "RUNTIME_DIR"))
    own = home()
    if cache.startswith("/") or own is not None:
        yield Path(cache if cache.startswith("/") else f"{own}/.cache") / "frostwatch"
    if runtime.startswith("/"):
        yield Path(runtime) / "frostwatch"
    yield Path(tempfile.gettempdir()) / f"frostwatch-{os.getuid()}"


def _is_ours(folder: Path) -> bool:
    """Return whether nobody else can put anything in there: others may have made it."""
    found = folder.lstat()
    writable = stat.S_IMODE(found.st_mode) & 0o022
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not writable


def _keeps(path: Path, text: str) -> bool:
    """Return whether the script is there and can be started; write it if need be."""
    if not path.is_file() or path.read_text() != text:
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(beside).chmod(_OURS)
        Path(beside).replace(path)
    return os.access(path, os.X_OK)
