"""The guest's image: kernel, first root file system and empty disks, built once and cached.

The cache is outside the repository and keyed by what the image is made of, so that a changed script
or a new package version gives a new image beside the old one.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.guests.lab import cpio, kernel, modules, packages, qemu
from tests.guests.lab.errors import LabUnavailable
from tests.guests.lab.qemu import Qemu
from tests.guests.lab.release import Release, keep, tool, wanted

INSIDE = Path(__file__).parent / "inside"
DISKS_MB = {"a": 64, "b": 64, "x": 320, "y": 320, "efi": 34, "swap": 32}
# The others are ext4, but for efi and swap. A smaller xfs than 300 MB is not to be had.
XFS = ("x", "y")
FORMATS = ("qcow2", "raw")
# The names that programs ask for: libc.so.6, and not libglib-2.0.so.0.7400.6.
_SONAME = re.compile(r".+\.so\.\d+")
_SOURCES = tuple(Path(str(made_by.__file__)) for made_by in (cpio, kernel, modules))


@dataclass(frozen=True)
class Image:
    """What a guest boots from; read-only, shared by all guests.

    Attributes:
        directory: holds its files.
        qemu: what runs it.
    """

    directory: Path
    qemu: Qemu

    @property
    def kernel(self) -> Path:
        """The kernel, unpacked if it can be."""
        return self.directory / "kernel"

    @property
    def packed_kernel(self) -> Path:
        """The kernel, as it comes in its package."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The guest's root file system, not compressed: unpacking costs more than loading."""
        return self.directory / "initrd"

    @property
    def initrd_with_tools(self) -> Path:
        """The same with perl, sqlite3 and xfs."""
        return self.directory / "initrd-tools"

    def disk(self, name: str, disk_format: str) -> Path:
        """An empty disk to copy; `name` as in `DISKS_MB`, `disk_format` as in `FORMATS`."""
        return self.directory / f"{name}.{disk_format}"


def ensure(codename: str | None = None) -> Image:
    """The image for this code and a release's packages; built if there is none.

    Safe when several processes ask at once: one builds, the others wait for it.

    Args:
        codename: the release; the environment's or this machine's own without one.

    Raises:
        LabUnavailable: a tool or a package is missing; the message says what to do.
    """
    reason = packages.why_not()
    if reason is not None:
        raise LabUnavailable(reason)
    release = wanted(codename)
    release.folder.mkdir(parents=True, exist_ok=True)
    with locked(release.folder / "lock"):
        files = packages.resolve(release)
        if not (_place(files, release).exists() and qemu.is_there(release, files.qemu)):
            # Versions that were current some days ago may not be there any more.
            files = packages.resolve(release, fresh=True)
        image = Image(_place(files, release), qemu.ensure(release, files.qemu))
        if not image.directory.exists():
            _build(files, release, image.directory)
        keep(image.directory)
    return image


def _place(files: packages.Resolved, release: Release) -> Path:
    """Where the image of these packages is."""
    return release.folder / "images" / _key((*files.guest, *files.tools))


def _key(files: tuple[str, ...]) -> str:
    """A name for the image that changes with everything it is made of."""
    digest = hashlib.sha256("\n".join(files).encode())
    for path in sorted([*INSIDE.iterdir(), *_SOURCES, Path(__file__)]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(files: packages.Resolved, release: Release, target: Path) -> None:
    """Build the image beside its place, then move it there whole."""
    target.parent.mkdir(exist_ok=True)
    store = release.folder / "packages"
    packages.download((*files.guest, *files.tools), store, release)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as name:
        work = Path(name)
        tree, tools, result = work / "tree", work / "tools", work / "image"
        result.mkdir()
        packages.unpack(files.guest, store, tree)
        packages.unpack(files.tools, store, tools)
        packed = next(tree.glob("boot/vmlinuz-*")).read_bytes()
        (result / "vmlinuz").write_bytes(packed)
        (result / "kernel").write_bytes(kernel.unpacked(packed) or packed)
        root = _root_files(tree)
        (result / "initrd").write_bytes(cpio.archive(root))
        more = _tool_files(tools, tree, root)
        (result / "initrd-tools").write_bytes(cpio.archive(root | more))
        for disk in DISKS_MB:
            _make_disk(disk, result)
        result.rename(target)


def _root_files(tree: Path) -> dict[str, cpio.Entry]:
    """Everything in the guest's root file system, by path."""
    busybox = next(tree.glob("**/bin/busybox")).resolve()  # Debian 13 packs it in usr/bin
    agent = next(tree.glob("**/sbin/qemu-ga"))
    entries = {
        "dev/console": cpio.character_device(5, 1),
        "dev/null": cpio.character_device(1, 3),
        "bin/busybox": cpio.file(busybox.read_bytes()),
        "sbin/qemu-ga": cpio.file(agent.read_bytes()),
        "init": cpio.file((INSIDE / "init.sh").read_bytes()),
        "sbin/shutdown": cpio.file((INSIDE / "shutdown.sh").read_bytes()),
        "usr/lib": cpio.link("../lib"),
        "lib64": cpio.link("lib/x86_64-linux-gnu"),
    }
    for applet in _tool([str(busybox), "--list"]).split():
        entries.setdefault(f"bin/{applet}", cpio.link("busybox"))
    for script in INSIDE.iterdir():
        entries[f"lab/{script.name}"] = cpio.file(script.read_bytes())
    return entries | _libraries(tree) | _modules("order", modules.load_order(tree))


def _tool_files(tools: Path, tree: Path, root: dict[str, cpio.Entry]) -> dict[str, cpio.Entry]:
    """What a guest with tools has beside `root`: programs, and a file system's kernel module."""
    order = modules.load_order(tree, modules.TOOLS)
    new = [(name, content) for name, content in order if f"lib/modules/{name}" not in root]
    programs = {
        f"bin/{name}": cpio.file((tools / "usr/bin" / name).read_bytes())
        for name in ("perl", "sqlite3")
    }
    return programs | _libraries(tools) | _modules("order.tools", new)


def _libraries(tree: Path) -> dict[str, cpio.Entry]:
    """The shared libraries of unpacked packages, under the names that programs ask for."""
    return {
        f"lib/x86_64-linux-gnu/{library.name}": cpio.file(library.resolve().read_bytes())
        for library in tree.glob("**/lib/x86_64-linux-gnu/*.so.*")
        if _SONAME.fullmatch(library.name) and library.resolve().is_file()
    }


def _modules(name: str, order: list[tuple[str, bytes]]) -> dict[str, cpio.Entry]:
    """Kernel modules, and a file of this name that tells their order."""
    entries = {f"lib/modules/{module}": cpio.file(content) for module, content in order}
    names = "".join(f"{module}\n" for module, _ in order)
    return entries | {f"lib/modules/{name}": cpio.file(names.encode())}


def _make_disk(name: str, directory: Path) -> None:
    """An empty disk in each format: raw for those who read it on the host, qcow2 for snapshots."""
    raw = directory / f"{name}.raw"
    with raw.open("wb") as disk:
        disk.truncate(DISKS_MB[name] << 20)
    if name == "efi":
        _tool(["mkfs.vfat", "-F", "32", "-n", "EFI", str(raw)])
    elif name in XFS:
        _tool(["mkfs.xfs", "-q", "-L", name, str(raw)])
    elif name != "swap":
        # Nothing is left for the guest's kernel to initialise later: an idle guest writes nothing.
        lazy = "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
        _tool(["mke2fs", "-q", "-t", "ext4", "-L", name, "-J", "size=4", "-E", lazy, str(raw)])
    qcow2 = directory / f"{name}.qcow2"
    _tool(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2)])


def _tool(command: list[str]) -> str:
    """Run a tool of the host and give its output."""
    program = tool(command[0]) or command[0]
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabUnavailable(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the kernel frees it should this one die."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
