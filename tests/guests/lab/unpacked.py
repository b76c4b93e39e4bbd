"""Programs of this machine's release, unpacked and never installed: to install may start them."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Literal

from tests.guests.lab import image, packages
from tests.guests.lab.release import Release, keep

Kind = Literal["libvirt", "ssh"]


def unpacked(release: Release, kind: Kind) -> Path:
    """The packages of one of these, unpacked: their libraries are those that are installed."""
    with image.locked(release.folder / "lock"):
        files = _files(packages.resolve(release), kind)
        key = hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]
        target = release.folder / kind / key
        if not target.exists():
            _unpack(release, kind, target)
        keep(target)
    return target


def _files(found: packages.Resolved, kind: Kind) -> tuple[str, ...]:
    return found.libvirt if kind == "libvirt" else found.ssh


def _unpack(release: Release, kind: Kind, target: Path) -> None:
    """Unpack beside the place, then move it there whole."""
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpacking-") as name:
        work = Path(name)
        files = _files(packages.resolve(release, fresh=True), kind)
        (work / "tree").mkdir()
        packages.download(files, work / "packages", release)
        packages.unpack(files, work / "packages", work / "tree")
        (work / "tree").rename(target)
