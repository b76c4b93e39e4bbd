"""Debian packages for the guest: resolved, downloaded and unpacked, without root.

Nothing is installed on this machine: `apt-get download` fetches the files, `dpkg -x` unpacks them.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.guests.lab.errors import LabUnavailable
from tests.guests.lab.release import Apt, Release, apt_of, run, tail, tool

KERNEL = "linux-image-cloud-amd64"
AGENT = "qemu-guest-agent"
BUSYBOX = "busybox-static"
ROOTS = (KERNEL, AGENT, BUSYBOX)
# What a guest that writes has as well: perl for a load with gaps of milliseconds, and a database.
TOOL_ROOTS = ("perl-base", "sqlite3", "zlib1g")
# The daemon of libvirt that is started, of each release: it is unpacked.
LIBVIRT_ROOTS = ("libvirt-daemon", "libvirt-daemon-driver-qemu")
# The daemon of ssh: to install it starts it as well. Of its libraries, those that are not here.
SSH_ROOT = "openssh-server"
# What runs guests of another release; patchelf tells its QEMU where its libraries are.
HOST_ROOTS = ("qemu-system-x86", "patchelf", *LIBVIRT_ROOTS)

_KINDS = ("guest", "qemu", "tools", "libvirt", "ssh")
# How long a resolved list of versions is believed before apt is asked again (it takes seconds).
RESOLVED_FOR_S = 7 * 24 * 3600.0
# And where what it names is downloaded next, which the mirror may have replaced since.
FRESH_FOR_S = 600.0

# Tools of the host, and the Debian package that has each.
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "apt-get": "apt",
    "apt-cache": "apt",
    "dpkg": "dpkg",
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mkfs.xfs": "xfsprogs",
    "setpriv": "util-linux",
}
# What no guest needs: it makes single system calls fail (tests/faults).
FAULTS = ("strace",)
# What guests under libvirt need: its client; what a daemon calls at fixed places to save a domain,
# and its clients on other hosts (this package starts nothing: libvirt-daemon-system does); and its
# binding for Python (see `.ci/setup`).
LIBVIRT_TOOLS = {"virsh": "libvirt-clients", "libvirtd": "libvirt-daemon"}
# What those on another host need: the client alone.
SSH_TOOLS = {"ssh": "openssh-client"}
LIBVIRT_BINDING = "python3-libvirt"


@dataclass(frozen=True)
class Resolved:
    """File names of packages, with their versions.

    Attributes:
        guest: what a guest is made of.
        qemu: QEMU and its libraries, with libvirt's daemon; none where the machine's own is used.
        tools: what a guest with tools has beside that.
        libvirt: libvirt's daemon for the machine's own QEMU, without the libraries.
        ssh: this machine's daemon of ssh; none for another release, or where it is installed.
    """

    guest: tuple[str, ...]
    qemu: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    libvirt: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()


def why_not() -> str | None:
    """The reason, in one sentence, why real guests can't be had here; None when they can.

    It looks at this machine alone and downloads nothing: missing package lists show up later, as
    `LabUnavailable` from the first boot.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "real guests need Linux on x86_64: the guest is built from amd64 packages"
    missing = sorted({package for name, package in TOOLS.items() if tool(name) is None})
    if missing:
        return f"real guests need: apt-get install {' '.join(missing)}"
    return None


def needs() -> tuple[str, ...]:
    """The Debian packages that must be installed on the host."""
    clients = {*LIBVIRT_TOOLS.values(), *SSH_TOOLS.values()}
    return tuple(sorted({*TOOLS.values(), *FAULTS, *clients, LIBVIRT_BINDING}))


def resolve(release: Release, fresh: bool = False) -> Resolved:
    """All packages that the guests of a release are made of.

    Args:
        release: whose; the answer is kept in its folder for a week, and used longer when apt can't
            answer.
        fresh: they are downloaded next: believe no answer of more than ten minutes ago.

    Raises:
        LabUnavailable: apt does not know the packages, and never did.
    """
    memory = release.folder / "resolved.json"
    known = _remembered(memory)
    believed_for_s = FRESH_FOR_S if fresh else RESOLVED_FOR_S
    if known is not None and time.time() - memory.stat().st_mtime < believed_for_s:
        return known
    try:
        files = _ask_apt(release)
    except LabUnavailable:
        if known is None:
            raise
        return known
    beside = memory.with_suffix(".new")
    beside.write_text(json.dumps(asdict(files)))
    beside.replace(memory)
    return files


def download(files: tuple[str, ...], directory: Path, release: Release) -> None:
    """Bring the package files into a directory, those that are not there yet; others leave it.

    Raises:
        LabUnavailable: a package can't be fetched in the version that was resolved.
    """
    directory.mkdir(parents=True, exist_ok=True)
    absent = [file for file in files if not (directory / file).exists()]
    if not absent:
        return
    for old in directory.glob("*.deb"):
        if old.name not in files:
            old.unlink()
    names = [file.split("_")[0] for file in absent]
    # Moved when all are whole: an interrupted download leaves a torn file of the right name.
    with tempfile.TemporaryDirectory(dir=directory) as work:
        # As root apt drops to a user who may not write here; nothing is executed by a download.
        command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *names]
        done = Apt(None if release.own else release.folder / "apt").run(command, Path(work))
        if done.returncode == 0:
            for file in Path(work).iterdir():
                file.rename(directory / file.name)
    left = [file for file in absent if not (directory / file).exists()]
    if done.returncode != 0 or left:
        raise LabUnavailable(
            "real guests need packages that apt could not fetch "
            f"({', '.join(left or names)}); run: apt-get update; apt said: {tail(done.stderr)}"
        )


def unpack(files: tuple[str, ...], directory: Path, target: Path) -> None:
    """Unpack package files into one tree.

    Raises:
        LabUnavailable: dpkg refuses one of them.
    """
    for file in files:
        done = run(["dpkg", "-x", str(directory / file), str(target)], directory)
        if done.returncode != 0:
            raise LabUnavailable(f"dpkg can't unpack {file}: {tail(done.stderr)}")


def _ask_apt(release: Release) -> Resolved:
    """Ask apt for the closure of the packages, and for each one's file name."""
    apt = apt_of(release)
    guest = _guest_files(apt, ROOTS)
    tools = tuple(file for file in _guest_files(apt, TOOL_ROOTS) if file not in guest)
    if not release.own:
        return Resolved(guest, _qemu_files(apt), tools)
    return Resolved(guest, (), tools, _files_of(apt, LIBVIRT_ROOTS), _ssh_files(apt))


def _guest_files(apt: Apt, roots: tuple[str, ...]) -> tuple[str, ...]:
    """The files of packages and of the libraries that they need."""
    options = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    depends = apt.run(
        ["apt-cache", "depends", "--recurse", *(f"--no-{option}" for option in options), *roots]
    )
    if depends.returncode != 0:
        raise LabUnavailable(
            f"real guests are built from Debian packages ({', '.join(roots)}) that apt does not "
            f"know here; run: apt-get update; apt said: {tail(depends.stderr)}"
        )
    return _files_of(apt, closure(depends.stdout, roots))


def _files_of(apt: Apt, names: Sequence[str]) -> tuple[str, ...]:
    """The files of these packages alone."""
    uris = apt.run(["apt-get", "download", "--print-uris", *names])
    files = _file_names(uris.stdout)
    if uris.returncode != 0 or len(files) != len(names):
        raise LabUnavailable(
            f"apt can't tell where {', '.join(names)} are; run: apt-get update; "
            f"apt said: {tail(uris.stderr)}"
        )
    return files


def _qemu_files(apt: Apt) -> tuple[str, ...]:
    """The package files of a QEMU with all its libraries, as if nothing were installed."""
    install = ["apt-get", "install", "--print-uris", "-qq", "--yes", "--no-install-recommends"]
    uris = apt.run([*install, *HOST_ROOTS])
    files = _file_names(uris.stdout)
    if uris.returncode != 0 or not files:
        raise LabUnavailable(
            f"apt can't tell where {', '.join(HOST_ROOTS)} are: {tail(uris.stderr)}"
        )
    return files


def _ssh_files(apt: Apt) -> tuple[str, ...]:
    """The package files of the daemon of ssh, and of its libraries that are not installed here."""
    install = ["apt-get", "install", "--simulate", "--yes", "--no-install-recommends", SSH_ROOT]
    done = apt.run(install)
    if done.returncode != 0:
        raise LabUnavailable(f"apt can't tell what {SSH_ROOT} needs: {tail(done.stderr)}")
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("Inst ")]
    new = [name for _, name, version, *_ in lines if not version.startswith("[")]
    names = [name for name in new if name.startswith((SSH_ROOT, "lib"))]
    return _files_of(apt, names) if names else ()


def _file_names(uris: str) -> tuple[str, ...]:
    """The file names in the output of apt's `--print-uris`."""
    return tuple(line.split()[1] for line in uris.splitlines() if line.startswith("'"))


def closure(depends: str, roots: tuple[str, ...] = ROOTS) -> list[str]:
    """The packages to download, from the output of `apt-cache depends --recurse`.

    The kernel's meta package leads to the real one; of everything else only libraries are followed:
    the guest has no use for the perl and the initramfs tools that the packages ask for as well.
    """
    edges: dict[str, list[str]] = {}
    current: list[str] = []
    for line in depends.splitlines():
        word = line.split()[-1] if line.split() else ""
        if not line.startswith(" "):
            current = edges.setdefault(line.strip(), [])
        elif "Depends:" in line and word.startswith(("lib", "linux-image-")):
            current.append(word)
    found: list[str] = []
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in found:
            found.append(name)
            todo.extend(edges.get(name, []))
    return sorted(set(found) - {KERNEL})


def _remembered(memory: Path) -> Resolved | None:
    """The list that was resolved before, if there is a whole one."""
    try:
        known = json.loads(memory.read_text())
        return Resolved(*(tuple(map(str, known[name])) for name in _KINDS))
    except (OSError, ValueError, TypeError, KeyError):
        return None
