"""A guest that libvirt runs: the same image, the same shell and faults, another owner of QEMU."""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Final, Unpack
from xml.sax.saxutils import escape, quoteattr

from tests.guests.lab.guest import Guest
from tests.guests.lab.image import Image
from tests.guests.lab.libvirtd import Libvirtd, VirshError
from tests.guests.lab.options import (
    AGENT_PORT,
    BootOptions,
    kernel_arguments,
)
from tests.guests.lab.patience import BOOT_S, PATIENCE_S
from tests.guests.lab.process import Running
from tests.guests.lab.qmp import LabMonitor
from tests.guests.lab.shell import SerialShell, wait_until

_DOMAIN = """
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{arguments}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>qemu64</model>
    <feature policy='require' name='rdrand'/>
  </cpu>
  <on_crash>preserve</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='usb' model='none'/>
    <controller type='virtio-serial' index='0'/>
    <memballoon model='none'/>
    <serial type='unix'>
      <source mode='bind' path={console}/>
      <log file={console_log} append='off'/>
      <target port='0'/>
    </serial>
    <serial type='unix'><source mode='bind' path={shell}/><target port='1'/></serial>
    {channel}
    {disks}
  </devices>
  <qemu:commandline>
    {extra}
  </qemu:commandline>
</domain>
"""
_DISK = """
    <disk type='file' device='disk'>
      <driver name='qemu' type='{kind}' cache='unsafe'/>
      <source file={file}/>
      <target dev='vd{letter}' bus='virtio'/>
      <serial>{name}</serial>
      <alias name='ua-disk-{name}'/>
    </disk>"""
_BARE = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""
# QEMU tells of a port once a second at the most: who is started again sooner was never away.
PORT_TOLD_S: Final = 1.1

_CHANNEL = f"<channel type='unix'><target type='virtio' name='{AGENT_PORT}'/></channel>"
# libvirt 9.0 has no word for the one on PCI, and the guest's kernel no driver for another.
_PANIC = ("-device", "pvpanic-pci,addr=0x1d")


class DomainGuest(Guest):
    """A guest as a domain of libvirt. Making it starts it; `boot_domain` also waits until it is up.

    The lab's monitor is a second one, beside libvirt's own. The lab never opens the agent's socket.

    Args:
        daemon: whose domain it is.
        **options: see `Options`; the channel, its id and its place are libvirt's affair.

    Raises:
        LabUnavailable: real guests can't be had here.
        LabError: it does not start.
    """

    def __init__(self, daemon: Libvirtd, **options: Unpack[BootOptions]) -> None:
        self.daemon = daemon
        self._told_of: int | None = None
        options["fresh"] = True
        super().__init__(**options)

    @property
    def uuid(self) -> str:
        """Its UUID."""
        return self.daemon.virsh("domuuid", self.name).strip()

    def agent_open(self) -> bool | None:
        """Whether an agent has its port open, as QEMU says; None without a channel."""
        if self.options.agent == "none":
            return None
        ports = [one for one in self.qmp("query-chardev") if one["label"] == "charchannel0"]
        return bool(ports[0]["frontend-open"])

    def wait_up(self, timeout: float = BOOT_S) -> None:
        """Wait until the guest is up, and libvirt knows that its agent is; seconds.

        Raises:
            LabError: it did not boot.
        """
        super().wait_up(timeout)
        self._told_of = None
        self.wait_connected()

    def calm_down(self) -> None:
        """Put everything back as after boot, until libvirt knows it too."""
        super().calm_down()
        self.wait_connected()

    def wait_connected(self, timeout: float = PATIENCE_S) -> None:
        """Wait until libvirt has an agent connected, if one is started at boot; seconds.

        It has been told of that agent's start then: until QEMU has told of it, it tells of no end.

        Raises:
            LabError: it has none.
        """
        if self.options.agent == "none" or not self.options.autostart:
            return
        if (agent := self.agent_pid()) != self._told_of:
            time.sleep(PORT_TOLD_S)
            self._told_of = agent
        wait_until(self._connected, timeout, f"libvirt to know of {self.name}'s agent")

    def _connected(self) -> bool:
        return "state='connected'" in self.daemon.virsh("dumpxml", self.name)

    def take_again(self) -> None:
        """Take hold of a guest that goes on in another QEMU: libvirt has restored it.

        Raises:
            LabError: it is not there.
        """
        self._shell.close()
        self._monitor.close()
        self._process = self._started_by_libvirt()
        self._shell = SerialShell(self._connect(self.places.shell))
        self._shell.expect_none()
        self._monitor = LabMonitor(self._connect(self.places.lab_monitor), on_event=self._on_event)

    def migrate(self, to: Libvirtd) -> None:
        """Have it migrate to another host's daemon.

        Raises:
            VirshError: it does not.
        """
        before, after = self.places, replace(self.places, taker=f"{self.places.taker}-2")
        text = self.daemon.virsh("dumpxml", self.name, "--migratable")
        for old, new in (
            (before.console_socket, after.console_socket),
            (before.shell, after.shell),
            (before.lab_monitor, after.lab_monitor),
        ):
            text = text.replace(str(old), str(new))
        file = before.directory / "taker.xml"
        file.write_text(text)
        through = ("--migrateuri", f"unix://{before.directory}/moving")
        how = ("--live", "--unsafe", "--xml", str(file), *through)
        self.daemon.virsh("migrate", *how, self.name, to.uri)
        self.daemon, self.places = to, after

    def disk_device(self, disk: str) -> str:
        """What QEMU calls the device of a disk."""
        return f"ua-disk-{disk}"

    def _start(self, built: Image) -> Running:
        file = self.places.directory / "domain.xml"
        file.write_text(self._xml(built))
        wait_until(lambda: self._created(file), PATIENCE_S, "the end of the last one of that name")
        return self._started_by_libvirt()

    def _created(self, file: Path) -> bool:
        """Create the domain; False while libvirt does not know that the last one's QEMU ended."""
        try:
            self.daemon.virsh("create", str(file))
        except VirshError as error:
            if "already exists" not in str(error):
                raise
            return False
        return True

    def _started_by_libvirt(self) -> DaemonsChild:
        pid_file = self.daemon.folder / "r/libvirt/qemu/run" / f"{self.name}.pid"
        return DaemonsChild(int(pid_file.read_text()))

    def _xml(self, built: Image) -> str:
        """What libvirt makes it of."""
        options, places = self.options, self.places
        disks = [
            _DISK.format(
                kind=options.disk_format,
                file=quoteattr(str(places.disk(name, options.disk_format))),
                letter="abcdefgh"[number],
                name=name,
            )
            for number, name in enumerate(options.disks)
        ]
        extra = ["-qmp", f"unix:{places.lab_monitor},server=on,wait=off", *options.extra]
        extra += _PANIC if options.pvpanic else ()
        return _DOMAIN.format(
            name=escape(options.name),
            memory=options.memory,
            kernel=escape(str(built.kernel)),
            initrd=escape(str(built.initrd_with_tools if options.with_tools else built.initrd)),
            arguments=escape(kernel_arguments(options)),
            emulator=escape(str(self.daemon.emulator)),
            console=quoteattr(str(places.console_socket)),
            console_log=quoteattr(str(places.console)),
            shell=quoteattr(str(places.shell)),
            channel="" if options.agent == "none" else _CHANNEL,
            disks="".join(disks),
            extra="".join(f"<qemu:arg value={quoteattr(one)}/>" for one in extra),
        )


class DaemonsChild:
    """A process that somebody else has started (see `Running`)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd: int | None = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """None while it runs; 0 once it has ended, however it did."""
        if self._fd is None:
            return 0
        if not select.select([self._fd], [], [], 0)[0]:
            return None
        self._close()
        return 0

    def kill(self) -> None:
        """Kill it."""
        if self.poll() is None and self._fd is not None:
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it has ended."""
        if self._fd is not None:
            select.select([self._fd], [], [])
            self._close()
        return 0

    def _close(self) -> None:
        assert self._fd is not None
        os.close(self._fd)
        self._fd = None


def start_bare(daemon: Libvirtd, name: str, *, define: bool = False) -> None:
    """Start a domain without disks, which is paused before its first instruction: it costs nothing.

    Args:
        daemon: whose.
        name: its name.
        define: it stays defined when it has ended.
    """
    file = daemon.folder / f"{name}.xml"
    file.write_text(_BARE.format(name=escape(name), emulator=escape(str(daemon.emulator))))
    if define:
        daemon.virsh("define", str(file))
        daemon.virsh("start", name, "--paused")
    else:
        daemon.virsh("create", str(file), "--paused")


def boot_domain(daemon: Libvirtd, **options: Unpack[BootOptions]) -> DomainGuest:
    """Start a guest under libvirt, and wait until it is up; close it in the end.

    Raises:
        LabUnavailable: real guests can't be had here.
        LabError: it does not boot.
    """
    guest = DomainGuest(daemon, **options)
    try:
        guest.wait_up()
    except BaseException:
        guest.close()
        raise
    return guest
