"""The QEMU that runs a guest: this machine's own, or another release's from where it is unpacked.

An unpacked QEMU starts through the dynamic loader and the libraries that came with it. Both are
written into a copy of the program, so that the process is called as any other QEMU.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.guests.lab import packages
from tests.guests.lab.errors import LabUnavailable
from tests.guests.lab.release import Release, keep, run, tail, tool

_NAME = "qemu-system-x86_64"
_NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/icons")


@dataclass(frozen=True)
class Qemu:
    """A QEMU that can be started.

    Attributes:
        program: its path.
        arguments: what each start of it has before everything else.
        environment: what it needs beside this process's own.
    """

    program: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def ensure(release: Release, files: tuple[str, ...]) -> Qemu:
    """The QEMU of a release; unpacked if need be, under the caller's lock.

    Args:
        release: whose.
        files: the package files that it is made of; none for the machine's own.

    Raises:
        LabUnavailable: a package can't be fetched or unpacked.
    """
    # Without the option QEMU 5.2 pauses as well, as long as it has -no-shutdown.
    on_panic = () if release.codename == "bullseye" else ("-action", "panic=pause")
    if release.own:
        return Qemu(tool(_NAME) or _NAME, on_panic)
    tree = _place(release, files)
    if not tree.exists():
        _unpack(release, files, tree)
    keep(tree)
    modules = next(tree.glob("usr/lib/*/qemu"), tree)
    data = [part for name in ("qemu", "seabios") for part in ("-L", f"{tree}/usr/share/{name}")]
    return Qemu(f"{tree}/usr/bin/{_NAME}", (*data, *on_panic), {"QEMU_MODULE_DIR": str(modules)})


def is_there(release: Release, files: tuple[str, ...]) -> bool:
    """Whether the QEMU of a release needs no unpacking; arguments as for `ensure`."""
    return release.own or _place(release, files).exists()


def _place(release: Release, files: tuple[str, ...]) -> Path:
    """Where these packages are unpacked."""
    digest = hashlib.sha256("\n".join([*files, Path(__file__).read_text()]).encode())
    return release.folder / "qemu" / digest.hexdigest()[:16]


def _unpack(release: Release, files: tuple[str, ...], target: Path) -> None:
    """Unpack beside the place, then move it there whole."""
    target.parent.mkdir(exist_ok=True)
    store = release.folder / "packages-qemu"
    packages.download(files, store, release)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpacking-") as name:
        tree = Path(name) / "tree"
        packages.unpack(files, store, tree)
        for folder in _NOT_NEEDED:
            shutil.rmtree(tree / folder, ignore_errors=True)
        _bind(tree, target)
        tree.rename(target)
    shutil.rmtree(store)


def _bind(tree: Path, target: Path) -> None:
    """Write into the program which loader and which libraries it is to use.

    Args:
        tree: where everything is now.
        target: where it will be.

    Raises:
        LabUnavailable: the packages are not made as they were.
    """
    folders = [folder for folder in tree.glob("**/lib/x86_64-linux-gnu") if folder.is_dir()]
    loaders = [folder / "ld-linux-x86-64.so.2" for folder in folders]
    loaders = [loader for loader in loaders if loader.exists()]
    if not loaders:
        raise LabUnavailable("the unpacked packages have no dynamic loader")
    later = [target / path.relative_to(tree) for path in (loaders[0], *folders)]
    # The tool that does it comes unpacked as well, and starts the long way.
    patch = [str(loaders[0]), "--library-path", ":".join(map(str, folders))]
    patch += [str(tree / "usr/bin/patchelf"), "--set-interpreter", str(later[0])]
    # The forced kind is also looked at for the libraries of libraries, and for QEMU's modules.
    patch += ["--force-rpath", "--set-rpath", ":".join(map(str, later[1:]))]
    for program in (f"bin/{_NAME}", "sbin/libvirtd"):
        done = run([*patch, str(tree / "usr" / program)])
        if done.returncode != 0:
            raise LabUnavailable(f"patchelf failed: {tail(done.stderr)}")
