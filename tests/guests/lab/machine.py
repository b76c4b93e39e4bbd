"""The virtual machine: started, asked, paused, reset, suspended, ended."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from tests.guests.lab import image, process, saved
from tests.guests.lab.errors import LabError
from tests.guests.lab.options import AGENT_CHARDEV, Options, Places
from tests.guests.lab.options import qemu_arguments as make_arguments
from tests.guests.lab.patience import BOOT_S, PATIENCE_S
from tests.guests.lab.qmp import Json, LabMonitor
from tests.guests.lab.shell import SerialShell, wait_until


class Machine:
    """A guest's virtual machine, without what is special about agents and file systems.

    Making one starts QEMU; `wait_ready()` waits until the guest is up. Where one like it was saved
    after its boot, it goes on from there, and is up at once.

    Args:
        options: what it is made of.

    Attributes:
        name: QEMU's name of it.
        booted: it boots, and does not go on from a saved state.
        directory: its own, removed by `close()`; console log and QEMU's output are in it.
        agent_socket: the agent's UNIX socket. The lab never opens it.
        monitor_socket: the product's monitor. The lab never opens it.
        console_socket: the kernel's serial console (chardev "console"), to type at it.

    Raises:
        LabUnavailable: there is no image, and none can be built.
        LabError: QEMU does not start, or can't load the state; the next one boots.
    """

    def __init__(self, options: Options) -> None:
        built = image.ensure(options.release)
        self._state = saved.place(options, built)
        state = self._state if self._state is not None and self._state.exists else None
        self.booted = state is None
        self.options = options
        self.name = options.name
        self.directory = process.make_directory()
        self.places = Places(self.directory)
        self.agent_socket = self.places.agent
        self.monitor_socket = self.places.monitor
        self.console_socket = self.places.console_socket
        self.boot_seconds = 0.0
        self._started = time.monotonic()
        self._closed = False
        self._last_words = ("", "")
        try:
            for disk in options.disks:
                source = (state or built).disk(disk, options.disk_format)
                process.copy_disk(source, self.places.disk(disk, options.disk_format))
            self._process = self._start(built)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        try:
            # The shell first of all, so that the guest's greeting is not missed.
            self._shell = SerialShell(self._connect(self.places.shell))
            monitor = self._connect(self.places.lab_monitor)
            self._monitor = LabMonitor(monitor, on_event=self._on_event)
            if state is not None:
                self._go_on(state)
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def qemu_pid(self) -> int:
        """The process id of QEMU."""
        return self._process.pid

    @property
    def command_line(self) -> list[str]:
        """QEMU's command line, as the kernel shows it."""
        raw = Path(f"/proc/{self.qemu_pid}/cmdline").read_bytes()
        return [part.decode() for part in raw.split(b"\0")[:-1]]

    @property
    def events(self) -> list[Json]:
        """QEMU's events since the start, as its monitor sent them."""
        return self._monitor.events

    @property
    def console_log(self) -> str:
        """The end of what the guest's kernel and init said; also after `close()`."""
        return process.tail(self.places.console) or self._last_words[0]

    @property
    def qemu_log(self) -> str:
        """The end of what QEMU said; also after `close()`."""
        return process.tail(self.places.stderr) or self._last_words[1]

    @property
    def alive(self) -> bool:
        """Whether QEMU runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout: float = BOOT_S) -> None:
        """Wait until the guest's disks are mounted and its shell answers; seconds.

        Raises:
            LabError: it did not boot; with the console's last words.
        """
        if not self._shell.wait_ready(timeout):
            raise LabError(
                f"{self.name} did not boot in {timeout:g} s\n{self.console_log}\n{self.qemu_log}"
            )
        if not self.boot_seconds:
            self.boot_seconds = time.monotonic() - self._started

    def shell(self, cmd: str, timeout: float = PATIENCE_S) -> str:
        """Run a command in the guest as root; see `SerialShell.run`.

        Raises:
            ShellError: it failed, took too long (code 124), or the guest is mute (code None).
        """
        return self._shell.run(cmd, timeout)

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Run a command in the lab's own monitor; `_` in an argument's name stands for `-`.

        Raises:
            QmpError: QEMU refused it.
        """
        return self._monitor.execute(
            command, {name.replace("_", "-"): value for name, value in arguments.items()}
        )

    def wait_event(self, name: str, timeout: float = PATIENCE_S, after: int = 0) -> Json:
        """Wait for one of QEMU's events; `after` as in `LabMonitor.wait_event`.

        Raises:
            LabError: it did not come.
        """
        return self._monitor.wait_event(name, timeout, after)

    def status(self) -> str:
        """QMP's run state: running, paused, suspended, guest-panicked, ..."""
        return str(self.qmp("query-status")["status"])

    def agent_open(self) -> bool | None:
        """Whether an agent has its port open (`frontend-open`); None without a channel."""
        for device in self.qmp("query-chardev"):
            if device["label"] == AGENT_CHARDEV:
                return bool(device["frontend-open"])
        return None

    def wait_agent(self, timeout: float = PATIENCE_S, is_open: bool = True) -> None:
        """Wait until the agent's port is open (or closed), as the lab's monitor sees it.

        An ISA serial port has no state: there the agent's process is asked for its open files.

        Args:
            timeout: seconds.
            is_open: False waits for the port to close.

        Raises:
            LabError: it does not in time.
        """
        if self.options.agent == "isa":
            look = "ls -l /proc/$(pidof qemu-ga)/fd 2>/dev/null | grep -c ttyS2 || true"
            wait_until(lambda: (self.shell(look) != "0\n") is is_open, timeout, "the agent")
            return
        what = f"the port of {self.name}'s agent to be {'open' if is_open else 'closed'}"
        wait_until(lambda: self.agent_open() is is_open, timeout, what)

    def pause(self) -> None:
        """Stop the virtual CPU."""
        self.qmp("stop")

    def resume(self) -> None:
        """Let the virtual CPU run again."""
        self.qmp("cont")

    def suspend(self, timeout: float = PATIENCE_S) -> None:
        """Suspend to RAM (S3) from inside the guest; seconds.

        Raises:
            LabError: it does not fall asleep, or was not made `suspendable`.
        """
        if not self.options.suspendable:
            raise LabError("only boot(suspendable=True) makes a guest that can be suspended")
        seen = len(self.events)
        self._shell.fire("echo mem >/sys/power/state &")
        self.wait_event("SUSPEND", timeout, after=seen)

    def wake(self, timeout: float = PATIENCE_S) -> None:
        """Wake a suspended guest up, and wait until it answers; seconds.

        Raises:
            LabError: it does not.
        """
        seen = len(self.events)
        self.qmp("system_wakeup")
        self.wait_event("WAKEUP", timeout, after=seen)
        wait_until(self._shell.answers, timeout, "the shell after waking up")

    def panic(self, timeout: float = PATIENCE_S) -> None:
        """Make the guest's kernel panic, and wait until it has.

        Raises:
            LabError: it does not.
        """
        self._shell.fire("echo c >/proc/sysrq-trigger")
        if self.options.pvpanic:
            self.wait_event("GUEST_PANICKED", timeout)
        else:
            wait_until(lambda: "Kernel panic" in self.console_log, timeout, "a kernel panic")

    def power_off(self, timeout: float = PATIENCE_S) -> None:
        """Power the guest off from inside; waits for QEMU's word on it (SHUTDOWN)."""
        self._shell.fire("poweroff -f")
        self.wait_event("SHUTDOWN", timeout)

    def kill_qemu(self) -> None:
        """Kill QEMU; sockets and directory stay until `close()`."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Kill QEMU and remove everything of this guest; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._end()
        self._shell.close()
        self._monitor.close()

    def save(self) -> None:
        """Keep the state of this guest, which has just booted, for those like it; then close it.

        Raises:
            LabError: QEMU can't.
        """
        if self._state is not None:
            saved.save(self._state, self._monitor, self.options, self.places)

    def _start(self, built: image.Image) -> process.Running:
        """Start QEMU, by whatever starts it."""
        arguments = make_arguments(self.options, built, self.places)
        return process.start(built.qemu, arguments, self.places.stderr)

    def _go_on(self, state: saved.Saved) -> None:
        """Go on from a saved state, with today's time.

        Raises:
            LabError: it can't be loaded; it is removed.
        """
        self._shell.expect_none()
        try:
            saved.load(state, self._monitor, self.places)
        except (LabError, OSError, subprocess.CalledProcessError) as error:
            state.forget()
            raise LabError(f"{self.name} can't go on from {state.directory}: {error}") from error
        self.shell(f"date -s @{time.time():.0f}")

    def _end(self) -> None:
        self.kill_qemu()
        self._last_words = (self.console_log, self.qemu_log)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _on_event(self, event: Json) -> None:
        """Whoever resets the guest: its shell is gone until it has booted again."""
        if event["event"] == "RESET":
            self._shell.expect_boot()

    def _connect(self, path: Path) -> socket.socket:
        """Connect to one of the sockets that QEMU makes.

        Raises:
            LabError: QEMU ended, or hangs; with what it said.
        """
        connection = process.connect(path, self._process)
        if connection is None:
            raise LabError(f"QEMU ({self._process.poll()}) has no {path.name}: {self.qemu_log}")
        return connection
