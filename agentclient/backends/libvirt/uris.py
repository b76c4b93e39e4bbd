"""The addresses of libvirt's daemons: which are asked for, and which one is there anyway."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from agentclient.backends.base import LIBVIRT_FOLDER, LIBVIRT_VARIABLE
from agentclient.model.errors import BadInput
from agentclient.model.shell_words import joined
from agentclient.model.text import printable

SYSTEM: Final = "qemu:///system"
_SOCKETS: Final = ("libvirt-sock", "virtqemud-sock")
_MOST: Final = 500
SSH: Final = "ssh"
# The transports that ssh is: a program of its own, or one of two libraries.
_BY_SSH: Final = ("+ssh", "+libssh", "+libssh2")
_PROGRAM: Final = "+ssh"


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
        by_ssh = urlsplit(self.text).scheme.endswith(_BY_SSH)
        return _with(self.text, no_tty="1") if by_ssh else self.text

    @property
    def program(self) -> str | None:
        """The program that libvirt runs to reach the daemon's host; None if it runs none."""
        parts = urlsplit(self.text)
        if not parts.scheme.endswith(_PROGRAM):
            return None
        return parse_qs(parts.query).get("command", [SSH])[-1]

    def by(self, program: str) -> str:
        """Return the address to connect to by another program."""
        return _with(self.address, command=program)

    @property
    def host(self) -> str:
        """The host that the daemon is on; empty for this one."""
        return urlsplit(self.text).hostname or ""

    @property
    def broken(self) -> str:
        """What has happened when a connection to the daemon has ended, as a clause."""
        if not self.host:
            return "the connection to its daemon has ended"
        host = printable(self.host, 80)
        return f"the link to {host} is cut, or libvirt's daemon there has ended"

    @property
    def word(self) -> str:
        """What the daemon is called in the word for a start of a domain (`generation_of`).

        One of another host is the same by whatever way, with whatever key it is reached; only who
        asks makes another one of a session's.
        """
        parts = urlsplit(self.text)
        if not parts.hostname:
            return self.text
        driver = parts.scheme.partition("+")[0]
        way = parts.netloc if parts.path == "/session" else parts.netloc.rpartition("@")[2]
        return f"{driver}://{way}{parts.path}{_socket(parts.query)}"

    def command_there(self, *words: str) -> str:
        """Return the command by which a person has the daemon's host do something.

        Args:
            words: what is done there.
        """
        parts = urlsplit(self.text)
        keys = parse_qs(parts.query).get("keyfile", [])
        login = [self.program or SSH, *(word for key in keys for word in ("-i", key))]
        login += ["-p", str(parts.port)] if parts.port and self.program else []
        user = f"{parts.username}@" if parts.username else ""
        there = joined(words)
        # The shell there reads it once more: what it would take apart is one word here.
        plain = there == " ".join(words)
        return joined([*login, f"{user}{parts.hostname}", *(words if plain else (there,))])

    def virsh_there(self, *words: str) -> str:
        """Return the command by which a person has the daemon do something, on its own host.

        Args:
            words: one of virsh's commands, with its arguments.
        """
        parts = urlsplit(self.text)
        driver = parts.scheme.partition("+")[0]
        bare = f"{driver}://{parts.path or '/system'}{_socket(parts.query)}"
        return self.command_there("virsh", "-c", bare, *words)

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


def _socket(query: str) -> str:
    """Return the parameter that names a daemon's socket; empty if none does."""
    named = parse_qs(query).get("socket")
    return f"?socket={quote(named[-1])}" if named else ""


def _with(address: str, **values: str) -> str:
    """Return an address with these parameters in the place of its own ones."""
    daemon, _, query = address.partition("?")
    own = [one for one in re.split("[&;]", query) if one]
    kept = [one for one in own if one.partition("=")[0].lower() not in values]
    given = [f"{name}={quote(value)}" for name, value in values.items()]
    return f"{daemon}?{'&'.join([*kept, *given])}"
