"""The addresses of libvirt's daemons: which are asked for, and which one is there anyway."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from agentclient.backends.base import LIBVIRT_FOLDER, LIBVIRT_VARIABLE
from agentclient.model.errors import BadInput
from agentclient.model.text import printable

SYSTEM: Final = "qemu:///system"
_SOCKETS: Final = ("libvirt-sock", "virtqemud-sock")
_MOST: Final = 500


class Uri(NamedTuple):
    """The address of a daemon.

    Attributes:
        text: as libvirt takes it.
        named: a person has named it: it has to be there.
    """

    text: str
    named: bool

    @property
    def address(self) -> str:
        """The address to connect to: never with a question at the terminal, which is drawn on."""
        parts = urlsplit(self.text)
        if not parts.scheme.endswith(("+ssh", "+libssh", "+libssh2")) or "no_tty" in parts.query:
            return self.text
        return f"{self.text}{'&' if parts.query else '?'}no_tty=1"

    @property
    def host(self) -> str:
        """The host that the daemon is on; empty for this one."""
        return urlsplit(self.text).hostname or ""

    @property
    def run_folder(self) -> Path | None:
        """Where a daemon of this host keeps the numbers of its QEMU processes; None elsewhere."""
        folder = self._folder
        if folder is None:
            return None
        session = urlsplit(self.text).path == "/session"
        return folder / "qemu" / "run" if session else folder / "qemu"

    @property
    def sockets(self) -> tuple[Path, ...]:
        """Where a daemon of this host may listen; none elsewhere."""
        folder = self._folder
        if folder is None:
            return ()
        named = parse_qs(urlsplit(self.text).query).get("socket")
        return (Path(named[0]),) if named else tuple(folder / name for name in _SOCKETS)

    @property
    def _folder(self) -> Path | None:
        """The folder of a daemon of this host; None elsewhere."""
        parts = urlsplit(self.text)
        if parts.hostname or not parts.scheme.startswith("qemu"):
            return None
        named = parse_qs(parts.query).get("socket")
        if named:
            return Path(named[0]).parent
        if parts.path != "/session":
            return LIBVIRT_FOLDER
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        return Path(runtime or f"/run/user/{os.getuid()}") / "libvirt"


def checked(text: str, where: str) -> str:
    """Return an address unchanged, if it can be one.

    Args:
        text: the address.
        where: the option, or the variable, that has it.

    Raises:
        BadInput: it can't be one.
    """
    said = f"{where}: {printable(text, 80)!r}"
    try:
        parts = urlsplit(text)
        _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"{said} is no address of libvirt's: {error}") from None
    if not text.isascii() or not text.isprintable() or len(text) > _MOST or " " in text:
        raise BadInput(f"{said} is no address of libvirt's")
    if not parts.scheme or "://" not in text:
        hint = f"such as {SYSTEM} or qemu:///session"
        raise BadInput(f"{said} is no address of libvirt's: write one {hint}")
    return text


def wanted(
    named: Iterable[str],
    environment: Mapping[str, str] | None = None,
    folder: Path = LIBVIRT_FOLDER,
) -> tuple[Uri, ...]:
    """Return the daemons to connect to: those that are named, else the one of this system.

    Args:
        named: what a person has named, by an option or a setting.
        environment: the environment; None for this process's.
        folder: the system daemon's folder.

    Raises:
        BadInput: one of them can't be an address.
    """
    found = tuple(dict.fromkeys(checked(one, "--connect") for one in named))
    if found:
        return tuple(Uri(one, named=True) for one in found)
    default = (os.environ if environment is None else environment).get(LIBVIRT_VARIABLE)
    if default:
        return (Uri(checked(default, LIBVIRT_VARIABLE), named=True),)
    if any((folder / name).exists() for name in _SOCKETS):
        return (Uri(SYSTEM, named=False),)
    return ()
