"""A daemon of ssh of our own, on loopback, that leads to a libvirt's daemon as on another host.

Its port, its keys and its settings are its own; nothing of the machine's is touched. As root it is
started in a user namespace, where it is not root and the user it lets in is the only one.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.guests.lab import process
from tests.guests.lab.errors import LabError, LabUnavailable
from tests.guests.lab.libvirt_programs import not_root
from tests.guests.lab.libvirtd import Libvirtd
from tests.guests.lab.packages import SSH_TOOLS
from tests.guests.lab.patience import PATIENCE_S
from tests.guests.lab.release import own_codename, run, tail, tool, wanted
from tests.guests.lab.shell import wait_until
from tests.guests.lab.unpacked import unpacked
from tests.processes import descendants

HOST = "127.0.0.1"
ALIAS = "the-lab"  # what its host key is known as, whichever port leads there
_KEEPER = Path(__file__).with_name("keeper.py")
_LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
_USER_IN_NAMESPACE = "lab"
_SETTINGS = """
ListenAddress {host}:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
MaxStartups 100
SetEnv PATH={path} XDG_RUNTIME_DIR={run}
"""
# Since OpenSSH 9.8 the daemon starts programs of its own for each connection.
_PARTS = {"SshdSessionPath": "sshd-session", "SshdAuthPath": "sshd-auth"}
_CLIENT = """
IdentityFile {folder}/user
IdentitiesOnly yes
UserKnownHostsFile {folder}/known
GlobalKnownHostsFile none
HostKeyAlias {alias}
"""


class Sshd:
    """A daemon of ssh; a context manager.

    Args:
        daemon: the daemon of libvirt that its user has there.

    Raises:
        LabUnavailable: there is none to be had here.
        LabError: it does not start.

    Attributes:
        folder: everything of it is in there.
        port: where it listens.
        program: an ssh that knows its host key, and has a key for it.
        user: whom it lets in.
    """

    def __init__(self, daemon: Libvirtd) -> None:
        if missing := [package for name, package in SSH_TOOLS.items() if tool(name) is None]:
            raise LabUnavailable(f"a host of its own needs: apt-get install {' '.join(missing)}")
        own = wanted(own_codename())
        tree = unpacked(own, "ssh")
        helper = unpacked(own, "libvirt") / "usr/bin"
        self.folder = process.make_directory()
        self.port = _free_port()
        self.program = self.folder / "ssh"
        self._keeper: subprocess.Popen[str] | None = None
        try:
            in_namespace = bool(not_root())
            self.user = _USER_IN_NAMESPACE if in_namespace else pwd.getpwuid(os.getuid()).pw_name
            self._write(tree, helper, daemon)
            self._keeper = self._start(tree, in_namespace=in_namespace)
            wait_until(self._listens, PATIENCE_S, "the daemon of ssh", step=0.02)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def uri(self, port: int | None = None, program: Path | None = None) -> str:
        """The address of the daemon of libvirt, as if it were on another host.

        Args:
            port: what leads to this one; None for its own.
            program: another ssh than its own.
        """
        command = quote(str(program or self.program))
        return f"qemu+ssh://{self.user}@{HOST}:{port or self.port}/session?command={command}"

    def signal(self, number: signal.Signals) -> None:
        """Send it and all of its connections a signal: a host that hangs (SIGSTOP), and goes on."""
        for pid in [self.pid, *descendants(self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill_sessions(self) -> None:
        """Kill what serves its connections: each of them breaks, and new ones are let in."""
        for pid in descendants(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def forget_host(self) -> None:
        """Have its host key not be known any more."""
        (self.folder / "known").unlink(missing_ok=True)

    def know_host(self) -> None:
        """Have its host key be known."""
        key = (self.folder / "host.pub").read_text()
        (self.folder / "known").write_text(f"{ALIAS} {key}")

    def refuse_keys(self) -> None:
        """Let nobody in any more."""
        (self.folder / "authorized").write_text("")

    def accept_key(self) -> None:
        """Let those in who have its key."""
        shutil.copyfile(self.folder / "user.pub", self.folder / "authorized")

    def close(self) -> None:
        """End it with all its connections, and remove everything of it."""
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, tree: Path, helper: Path, daemon: Libvirtd) -> None:
        for name in ("host", "user"):
            new = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            done = run(new)
            if done.returncode != 0:
                raise LabError(f"ssh-keygen says: {tail(done.stderr)}")
        self.know_host()
        self.accept_key()
        path = f"{helper}:/usr/bin:/bin"
        run_in = daemon.folder / "r"
        settings = _SETTINGS.format(
            host=HOST, port=self.port, folder=self.folder, path=path, run=run_in
        )
        for option, name in _PARTS.items():
            part = tree / "usr/lib/openssh" / name
            settings += f"{option} {part}\n" if part.exists() else ""
        (self.folder / "sshd_config").write_text(settings)
        client = _CLIENT.format(folder=self.folder, alias=ALIAS)
        (self.folder / "config").write_text(client)
        ssh, config = shlex.quote(tool("ssh") or "ssh"), shlex.quote(str(self.folder / "config"))
        self.program.write_text(f'#!/bin/sh\nexec {ssh} -F {config} "$@"\n')
        self.program.chmod(0o755)
        account = f"{_USER_IN_NAMESPACE}:x:1000:1000::{self.folder}:/bin/sh\n"
        (self.folder / "passwd").write_text(account)

    def _start(self, tree: Path, *, in_namespace: bool) -> subprocess.Popen[str]:
        daemon = tree / "usr/sbin/sshd"
        program = str(daemon) if daemon.exists() else tool("sshd") or "sshd"
        command = [program, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        if in_namespace:
            account = shlex.quote(str(self.folder / "passwd"))
            own = (
                f"mount --bind {account} /etc/passwd && exec {shlex.join([*not_root(), *command])}"
            )
            unshare = [tool("unshare") or "unshare", "--user", "--mount", "--map-root-user"]
            command = [*unshare, "sh", "-c", own]
        libraries = ":".join(str(tree / part) for part in _LIBRARIES)
        with (self.folder / "output").open("w") as output:
            keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_KEEPER), *command],
                env=os.environ | {"LD_LIBRARY_PATH": libraries, "LC_ALL": "C"},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        assert keeper.stdout is not None
        self.pid = int(keeper.stdout.readline() or 0)
        return keeper

    def _listens(self) -> bool:
        if not Path(f"/proc/{self.pid}").exists():
            raise LabUnavailable(f"sshd does not start: {process.tail(self.folder / 'output')}")
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


def _free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
