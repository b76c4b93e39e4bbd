"""What docs/copies.md recommends to run under a freeze, on loop devices (real guests)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guests.command import Frostwatch
from tests.guests.conftest import Boot
from tests.guests.lab import Guest, check_copy
from tests.guests.test_command import job_of, run
from tests.needed import program

SIZE = 2 << 30
pytestmark = pytest.mark.soak


@dataclass(frozen=True)
class Storage:
    """A file system that can copy without copying.

    Attributes:
        kind: btrfs or xfs.
        root: where it is mounted.
        images: where guests have their disks; on btrfs a subvolume.
    """

    kind: str
    root: Path
    images: Path


def _sh(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture(params=["btrfs", "xfs"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """Storage on a loop device, where all guests of the test have their files."""
    kind = str(request.param)
    program(f"mkfs.{kind}", package=f"{kind}progs" if kind == "xfs" else "btrfs-progs")
    program("losetup", package="mount")
    top = Path(tempfile.mkdtemp(prefix="fw-"))  # short: there will be sockets below it
    image, root = top / "disk", top / "m"
    root.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    try:
        _sh(f"mkfs.{kind}", "-q", str(image))
        mounted = subprocess.run(["mount", "-o", "loop", image, root], check=False)
        if mounted.returncode != 0:
            pytest.skip("nothing can be mounted here")
        images = root / "vms"
        if kind == "btrfs":
            _sh("btrfs", "subvolume", "create", str(images))
        else:
            images.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(images))
        yield Storage(kind, root, images)
    finally:
        subprocess.run(["umount", root], check=False, capture_output=True)
        shutil.rmtree(top, ignore_errors=True)


def _proved(guest: Guest, words: list[str], copies: dict[str, Path]) -> None:
    """Run a command under a freeze of a guest that writes, and look at its copies."""
    frostwatch = Frostwatch(guest)
    with guest.append_load("a", "b") as load:
        load.wait_for(30)
        begun = load.counter()
        code, lines, err = run(frostwatch, *words)
        load.wait_for(30)
    frostwatch.close()
    assert code == 0, err
    assert job_of(lines)["consistency"] == "consistent"
    verdicts = {disk: check_copy(path) for disk, path in copies.items()}
    for verdict in verdicts.values():
        assert verdict.consistent, verdict.said
        assert verdict.gapless
    assert verdicts["a"].last - verdicts["b"].last in (0, 1)
    assert verdicts["b"].last >= begun


def _image(guest: Guest, disk: str) -> Path:
    return guest.places.disk(disk, guest.options.disk_format)


def test_a_btrfs_snapshot(storage: Storage, boot: Boot) -> None:
    if storage.kind != "btrfs":
        pytest.skip("for btrfs alone")
    guest = boot(name="recipe", mounts=("a", "b"), tools=True)
    taken = storage.root / "taken"
    words = ["btrfs", "subvolume", "snapshot", "-r", str(storage.images), str(taken)]
    inside = {disk: taken / _image(guest, disk).relative_to(storage.images) for disk in "ab"}
    _proved(guest, words, inside)

    control = storage.root / "control"
    with guest.append_load("a", "b") as load:
        load.wait_for(30)
        _sh(*words[:-1], str(control))
    for disk in "ab":
        path = control / _image(guest, disk).relative_to(storage.images)
        assert check_copy(path).needs_recovery, "without a freeze it is crash-consistent"


def test_a_copy_that_shares_its_blocks(storage: Storage, boot: Boot) -> None:
    guest = boot(name="recipe", mounts=("a", "b"), tools=True)
    copies = {disk: storage.root / f"{disk}.qcow2" for disk in "ab"}
    images = [str(_image(guest, disk)) for disk in "ab"]
    _proved(guest, ["cp", "--reflink=always", *images, f"{storage.root}/"], copies)
