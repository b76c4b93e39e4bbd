"""A daemon of libvirt of our own: its sockets, state and settings in a folder, nothing installed.

It is a session's daemon. Root's would be the system's, and use the machine's folders: as root it is
started in a user namespace, in which it is not root, and may do what root may with root's files.
Everything that it has started ends with it, or with whoever has started it, see `keeper.py`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from tests.guests.lab import image, process
from tests.guests.lab.errors import LabError
from tests.guests.lab.libvirt_programs import Programs, ensure, not_root, on_host
from tests.guests.lab.patience import PATIENCE_S
from tests.guests.lab.release import tool, wanted
from tests.guests.lab.shell import wait_until
from tests.processes import killed_on_failure

_KEEPER = Path(__file__).with_name("keeper.py")
_VIRSH_S = 120.0
_SETTINGS = 'stdio_handler = "file"\nsecurity_driver = "none"\n'
_LOG = 'log_level = 3\nlog_outputs = "1:file:{log}"\n'


class VirshError(LabError):
    """`virsh` has failed; the text is what it said."""


class Libvirtd:
    """A daemon of libvirt, and those who ask it; a context manager.

    Args:
        codename: the Debian whose libvirt and QEMU it has; as for `image.ensure`.
        host: the name of the host that it takes itself to be on; None for this one's. A guest
            migrates to another host alone.

    Raises:
        LabUnavailable: there is none to be had here.
        LabError: it does not start.

    Attributes:
        folder: everything of it is in there.
        emulator: the QEMU that it starts.
        pid: its process, also after it was killed.
    """

    def __init__(self, codename: str | None = None, host: str | None = None) -> None:
        self._host = host
        release = wanted(codename)
        built = image.ensure(codename)
        programs = ensure(release, built.qemu)
        self.folder = process.make_directory()
        self._known = release.folder / "libvirt-capabilities"
        self.emulator = programs.emulator
        self._keeper: subprocess.Popen[str] | None = None
        try:
            self._keeper = self._start(programs)
            self._read_pid()
            self.wait_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def socket(self) -> Path:
        """Its socket."""
        return self.folder / "r" / "libvirt" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """Its address."""
        return f"qemu:///session?socket={self.socket}"

    @property
    def log(self) -> str:
        """The end of what it said."""
        return process.tail(self.folder / "libvirtd.log") + process.tail(self.folder / "output")

    def virsh(self, *arguments: str, timeout: float = _VIRSH_S) -> str:
        """Run one of virsh's commands, as another client; seconds.

        Raises:
            VirshError: it fails.
        """
        with self.start_virsh(*arguments) as child:
            said, complaint = child.communicate(timeout=timeout)
        if child.returncode != 0:
            raise VirshError(f"virsh {shlex.join(arguments)}: {complaint.strip()}")
        return said

    def start_virsh(self, *arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
        """Start one of virsh's commands, which may take long; it ends if what follows fails."""
        virsh = subprocess.Popen(
            [tool("virsh") or "virsh", "--connect", self.uri, *arguments],
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return killed_on_failure(virsh)

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            LabError: it does not.
        """
        wait_until(self._answers, PATIENCE_S, "libvirt's daemon to answer", step=0.05)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send the daemon alone a signal; its guests go on."""
        os.kill(self.pid, number)

    def start_again(self, *, wait: bool = True) -> None:
        """Start a daemon that has ended once more, on the same state."""
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        wait_until(lambda: not Path(f"/proc/{self.pid}").exists(), PATIENCE_S, "the daemon's end")
        self._keeper.stdin.write("\n")
        self._keeper.stdin.flush()
        self._read_pid()
        if wait:
            self.wait_ready()

    def close(self) -> None:
        """End the daemon with all its guests, and remove everything of it."""
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None
            self._remember()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        if not Path(f"/proc/{self.pid}").exists():
            raise LabError(f"libvirt's daemon has ended: {self.log}")
        if not self.socket.exists():
            return False
        try:
            self.virsh("uri", timeout=10.0)
        except (VirshError, subprocess.TimeoutExpired):
            return False
        return True

    def _start(self, programs: Programs) -> subprocess.Popen[str]:
        settings = self.folder / "c" / "libvirt"
        settings.mkdir(parents=True)
        (self.folder / "r").mkdir(mode=0o700)
        (settings / "qemu.conf").write_text(_SETTINGS)
        log = self.folder / "libvirtd.log"
        host_uuid = f'host_uuid = "{uuid.uuid4()}"\n' if self._host else ""
        (settings / "libvirtd.conf").write_text(_LOG.format(log=log) + host_uuid)
        if self._known.exists():
            shutil.copytree(self._known, self._capabilities)
        environment = {
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder / "r"),
            "XDG_CONFIG_HOME": str(self.folder / "c"),
            "XDG_DATA_HOME": str(self.folder / "d"),
            "XDG_CACHE_HOME": str(self.folder / "k"),
            "LIBVIRT_DRIVER_DIR": str(programs.drivers),
            "LC_ALL": "C",
        }
        before = not_root() if self._host is None else on_host(self._host)
        with (self.folder / "output").open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(_KEEPER), *before, str(programs.daemon)],
                env=environment,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,
            )

    @property
    def _capabilities(self) -> Path:
        """Where it keeps what it has found out about its QEMU, in seconds of a core."""
        return self.folder / "k/libvirt/qemu/cache/capabilities"

    def _remember(self) -> None:
        """Keep that for the next daemon, which checks that it is about the same QEMU."""
        if not self._capabilities.exists():
            return
        self._known.mkdir(exist_ok=True)
        for file in self._capabilities.iterdir():
            beside = self._known / f"{file.name}.{os.getpid()}"
            shutil.copyfile(file, beside)
            beside.replace(self._known / file.name)

    def _read_pid(self) -> None:
        assert self._keeper is not None
        assert self._keeper.stdout is not None
        said = self._keeper.stdout.readline()
        if not said:
            raise LabError(f"libvirt's daemon does not start: {self.log}")
        self.pid = int(said)
