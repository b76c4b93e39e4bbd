"""Debian packages for the guest: resolved, downloaded and unpacked, without root.

Nothing is installed on this machine: `apt-get download` fetches the files, `dpkg -x` unpacks them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.guests.lab.errors import LabUnavailable

KERNEL = "linux-image-cloud-amd64"
AGENT = "qemu-guest-agent"
BUSYBOX = "busybox-static"
ROOTS = (KERNEL, AGENT, BUSYBOX)

# How long a resolved list of versions is believed before apt is asked again (it takes seconds).
RESOLVED_FOR_S = 7 * 24 * 3600.0

# Tools of the host, and the Debian package that has each.
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "apt-get": "apt",
    "apt-cache": "apt",
    "dpkg": "dpkg",
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "setpriv": "util-linux",
}
_SBIN = "/usr/sbin:/sbin"


def tool(name: str) -> str | None:
    """The path of a program of this host; also where a plain user's PATH does not look."""
    return shutil.which(name) or shutil.which(name, path=_SBIN)


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
    return tuple(sorted(set(TOOLS.values())))


def resolve(cache: Path, fresh: bool = False) -> tuple[str, ...]:
    """The file names (with their versions) of all packages that the guest is made of.

    Args:
        cache: the lab's cache directory; the answer is kept there for a week, and used longer
            when apt can't answer.
        fresh: ask apt in any case.

    Raises:
        LabUnavailable: apt does not know the packages, and never did.
    """
    memory = cache / "resolved.json"
    known = _remembered(memory)
    if known is not None and not fresh and time.time() - memory.stat().st_mtime < RESOLVED_FOR_S:
        return known
    try:
        files = _ask_apt()
    except LabUnavailable:
        if known is None:
            raise
        return known
    beside = memory.with_suffix(".new")
    beside.write_text(json.dumps(files))
    beside.replace(memory)
    return files


def download(files: tuple[str, ...], directory: Path) -> None:
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
        done = _run(command, Path(work))
        if done.returncode == 0:
            for file in Path(work).iterdir():
                file.rename(directory / file.name)
    left = [file for file in absent if not (directory / file).exists()]
    if done.returncode != 0 or left:
        raise LabUnavailable(
            "real guests need packages that apt could not fetch "
            f"({', '.join(left or names)}); run: apt-get update; apt said: {_tail(done.stderr)}"
        )


def unpack(files: tuple[str, ...], directory: Path, target: Path) -> None:
    """Unpack package files into one tree.

    Raises:
        LabUnavailable: dpkg refuses one of them.
    """
    for file in files:
        done = _run(["dpkg", "-x", str(directory / file), str(target)], directory)
        if done.returncode != 0:
            raise LabUnavailable(f"dpkg can't unpack {file}: {_tail(done.stderr)}")


def _ask_apt() -> tuple[str, ...]:
    """Ask apt for the closure of the packages, and for each one's file name."""
    options = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    depends = _run(
        ["apt-cache", "depends", "--recurse", *(f"--no-{option}" for option in options), *ROOTS]
    )
    if depends.returncode != 0:
        raise LabUnavailable(
            f"real guests are built from Debian packages ({', '.join(ROOTS)}) that apt does not "
            f"know here; run: apt-get update; apt said: {_tail(depends.stderr)}"
        )
    names = closure(depends.stdout)
    uris = _run(["apt-get", "download", "--print-uris", *names])
    files = tuple(line.split()[1] for line in uris.stdout.splitlines() if line.startswith("'"))
    if uris.returncode != 0 or len(files) != len(names):
        raise LabUnavailable(
            f"apt can't tell where {', '.join(names)} are; run: apt-get update; "
            f"apt said: {_tail(uris.stderr)}"
        )
    return files


def closure(depends: str) -> list[str]:
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
    todo = list(ROOTS)
    while todo:
        name = todo.pop()
        if name not in found:
            found.append(name)
            todo.extend(edges.get(name, []))
    return sorted(set(found) - {KERNEL})


def _remembered(memory: Path) -> tuple[str, ...] | None:
    """The list that was resolved before, if there is a whole one."""
    try:
        return tuple(str(name) for name in json.loads(memory.read_text()))
    except (OSError, ValueError):
        return None


def _run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool of the host with untranslated messages."""
    path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}"
    environment = os.environ | {"LC_ALL": "C", "PATH": path}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def _tail(text: str) -> str:
    """The last line of a tool's complaint."""
    return text.strip().splitlines()[-1] if text.strip() else "nothing"
