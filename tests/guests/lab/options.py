"""What a guest is made of, and the QEMU command line that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from tests.guests.lab.image import XFS, Image
from tests.guests.lab.ticks import megahertz

AGENT_PORT = "org.qemu.guest_agent.0"
# The agent's chardev label, the same as Proxmox's.
AGENT_CHARDEV = "qga0"


class BootOptions(TypedDict, total=False):
    """The keyword arguments of `Guest(...)` and of the fixture `boot`; see `Options`."""

    name: str
    mounts: Sequence[str]
    agent: Literal["virtio", "isa", "none"]
    autostart: bool
    respawn: float | None
    port_id: str | None
    monitor: bool
    throttle: int | None
    swap: bool
    extra_port: bool
    keyboard: bool
    console: Literal["socket", "pty"]
    pvpanic: bool
    no_shutdown: bool
    suspendable: bool
    disk_format: Literal["qcow2", "raw"]
    attach: Literal["drive", "blockdev"]
    tools: bool
    memory: int
    release: str | None
    extra: Sequence[str]
    fresh: bool


@dataclass(frozen=True)
class Options:
    """How to make one guest.

    Attributes:
        name: QEMU's `-name`.
        mounts: the disks, in mount order, out of "a", "b" (ext4, 64 MB), "x", "y" (xfs, 320 MB)
            and "efi" (vfat), each at /mnt/<name>. The agent freezes in the reverse order.
        agent: the agent's transport: a virtio-serial port, an ISA serial port, or no channel.
        autostart: start the agent at boot.
        respawn: seconds until an ended agent is started again; 0 at once; None never.
        port_id: the `id=` of the agent's port: with one QEMU sends VSERPORT_CHANGE, as under
            libvirt; without one it does not, as under Proxmox.
        monitor: have a monitor for the product, beside the lab's own.
        throttle: bytes per second that disk b takes; None without a limit.
        swap: have a swap disk in use.
        extra_port: have one more port on the agent's controller.
        keyboard: have a keyboard.
        console: how the host reaches the kernel's serial console.
        pvpanic: have a device that reports a panic of the guest's kernel.
        no_shutdown: QEMU stays after the guest has powered off, as under libvirt and Proxmox.
        suspendable: it can be suspended to RAM; its resets take 15 s instead of 5 then (see
            `kernel.py`).
        disk_format: "qcow2", or "raw" (to read on the host).
        attach: how QEMU is told of the disks: "drive", as Proxmox VE does (disk "a" is the drive
            "a", with a node name that QEMU makes up), or "blockdev", as libvirt does (disk "a" is
            the node "a", on the node "a-file", and there are no drives).
        tools: the guest has perl and sqlite3, for `append_load` and `database`; so has one with
            an xfs.
        memory: MiB.
        release: the codename of the Debian that QEMU, kernel and agent come from; None for what
            the environment says (see `release.py`).
        extra: more QEMU arguments, at the end.
        fresh: boot it, where one like it that has booted could go on (see `saved.py`).
    """

    name: str = "guest"
    mounts: Sequence[str] = ("a", "b", "efi")
    agent: Literal["virtio", "isa", "none"] = "virtio"
    autostart: bool = True
    respawn: float | None = None
    port_id: str | None = None
    monitor: bool = True
    throttle: int | None = None
    swap: bool = False
    extra_port: bool = False
    keyboard: bool = True
    console: Literal["socket", "pty"] = "socket"
    pvpanic: bool = False
    no_shutdown: bool = False
    suspendable: bool = False
    disk_format: Literal["qcow2", "raw"] = "qcow2"
    attach: Literal["drive", "blockdev"] = "drive"
    tools: bool = False
    memory: int = 192
    release: str | None = None
    extra: Sequence[str] = ()
    fresh: bool = False

    @property
    def disks(self) -> tuple[str, ...]:
        """All disks by name; the block device of disk "a" is called "a" in QMP as well."""
        return (*self.mounts, *(("swap",) if self.swap else ()))

    @property
    def with_tools(self) -> bool:
        """Whether the guest has them: for its own sake, or for an xfs."""
        return self.tools or any(name in XFS for name in self.mounts)


@dataclass(frozen=True)
class Places:
    """Where one guest's files and sockets are.

    Attributes:
        directory: all of them are in there.
        taker: what the sockets of the QEMU to which it has migrated have in their names more.
    """

    directory: Path
    taker: str = ""

    @property
    def agent(self) -> Path:
        """The agent's socket."""
        return self.directory / "qga.sock"

    @property
    def monitor(self) -> Path:
        """The product's monitor."""
        return self.directory / "qmp.sock"

    @property
    def lab_monitor(self) -> Path:
        """The lab's own monitor."""
        return self.directory / f"lab-qmp{self.taker}.sock"

    @property
    def shell(self) -> Path:
        """The control shell's serial port."""
        return self.directory / f"shell{self.taker}.sock"

    @property
    def console(self) -> Path:
        """What the guest's kernel said; a file."""
        return self.directory / "console.log"

    @property
    def console_socket(self) -> Path:
        """The kernel's serial console, to type at it."""
        return self.directory / f"console{self.taker}.sock"

    @property
    def stderr(self) -> Path:
        """What QEMU said; a file."""
        return self.directory / "qemu.log"

    def disk(self, name: str, disk_format: str) -> Path:
        """One of the guest's disks."""
        return self.directory / f"{name}.{disk_format}"


def kernel_arguments(options: Options) -> str:
    """The kernel's command line; `inside/init.sh` reads the words that start with `lab.`."""
    respawn = "never" if options.respawn is None else f"{options.respawn:g}"
    rate = megahertz()
    return " ".join(
        (
            *(() if rate is None else (f"tsc_early_khz={rate}000",)),
            "console=ttyS0 quiet loglevel=4 panic=0 mitigations=off nokaslr no_timer_check",
            "tsc=reliable i8042.noaux random.trust_cpu=on cryptomgr.notests noreplace-smp",
            # Self-tests and tracing, a third of a second; names that a kernel lacks are ignored.
            "initcall_blacklist=crypto_kdf108_init",
            f"lab.mounts={','.join(options.mounts)}",
            f"lab.agent={options.agent}",
            f"lab.respawn={respawn}",
            f"lab.autostart={int(options.autostart)}",
        )
    )


def qemu_arguments(options: Options, image: Image, places: Places) -> list[str]:
    """QEMU's arguments, without the program itself."""
    arguments = ["-name", options.name, "-accel", "tcg", "-cpu", "qemu64,+rdrand"]
    arguments += ["-M", "q35" if options.keyboard else "q35,i8042=off"]
    arguments += ["-m", str(options.memory), "-nodefaults", "-display", "none", "-no-user-config"]
    arguments += ["-global", f"ICH9-LPC.disable_s3={int(not options.suspendable)}"]
    kernel = image.packed_kernel if options.suspendable else image.kernel
    initrd = image.initrd_with_tools if options.with_tools else image.initrd
    arguments += ["-kernel", str(kernel), "-initrd", str(initrd)]
    arguments += ["-append", kernel_arguments(options)]
    backends = {"socket": f"socket,path={places.console_socket},server=on,wait=off", "pty": "pty"}
    arguments += _serial("console", f"{backends[options.console]},logfile={places.console}", 0)
    arguments += _serial("shell", f"socket,path={places.shell},server=on,wait=off", 1)
    monitors = [places.monitor, places.lab_monitor] if options.monitor else [places.lab_monitor]
    for monitor in monitors:
        arguments += ["-qmp", f"unix:{monitor},server=on,wait=off"]
    arguments += _agent(options, places)
    for disk in options.disks:
        arguments += _disk(disk, options, places)
    if options.pvpanic:
        arguments += ["-device", "pvpanic-pci"]
    if options.no_shutdown:
        arguments += ["-no-shutdown"]
    return [*arguments, *options.extra]


def _serial(name: str, backend: str, index: int) -> list[str]:
    """A PC's serial port number `index`, connected to a chardev of this name."""
    kind, _, rest = backend.partition(",")
    chardev = f"{kind},id={name},{rest}"
    return ["-chardev", chardev, "-device", f"isa-serial,chardev={name},index={index}"]


def _agent(options: Options, places: Places) -> list[str]:
    """The agent's channel, with its controller."""
    chardev = f"socket,id={AGENT_CHARDEV},path={places.agent},server=on,wait=off"
    if options.agent == "isa":
        # The third port shares its usual interrupt with the console: it gets one of its own.
        device = f"isa-serial,chardev={AGENT_CHARDEV},index=2,irq=5"
        return ["-chardev", chardev, "-device", device]
    arguments = ["-device", "virtio-serial-pci,id=vser"]
    if options.agent == "virtio":
        port = f"virtserialport,bus=vser.0,chardev={AGENT_CHARDEV},name={AGENT_PORT}"
        named = "" if options.port_id is None else f",id={options.port_id}"
        arguments += ["-chardev", chardev, "-device", port + named]
    if options.extra_port:
        arguments += ["-chardev", "null,id=other"]
        arguments += ["-device", "virtserialport,bus=vser.0,chardev=other,name=org.example.other"]
    return arguments


def _disk(name: str, options: Options, places: Places) -> list[str]:
    """A virtio disk; its serial number tells the guest which one it is."""
    file = places.disk(name, options.disk_format)
    device = f"virtio-blk-pci,drive={name},id=disk-{name},serial={name}"
    if options.attach == "blockdev":
        cache = "cache.no-flush=on"
        node = f"driver=file,node-name={name}-file,filename={file},{cache}"
        over = f"driver={options.disk_format},node-name={name},file={name}-file,{cache}"
        return ["-blockdev", node, "-blockdev", over, "-device", device]
    drive = f"if=none,id={name},file={file},format={options.disk_format},cache=unsafe"
    if name == "b" and options.throttle is not None:
        drive += f",throttling.bps-write={options.throttle}"
    return ["-drive", drive, "-device", device]
