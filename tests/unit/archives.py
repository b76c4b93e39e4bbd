"""Folders of backups and mirrors, made without a VM."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentclient.jobs.archive import Backup, make_folder, read_backup, write_manifest
from agentclient.jobs.catalogue import find_homes
from agentclient.jobs.manifest import MIRROR, DiskRecord, Parent
from agentclient.jobs.verify import Verified, Verifier
from tests.unit.test_backup_manifest import AT, manifest

SIZE = 1 << 20


def image(backing: str | None = None, *, size: int = SIZE, features: int = 0) -> bytes:
    """The head of a qcow2, with something behind it."""
    name = backing.encode() if backing is not None else b""
    offset = 104 if name else 0
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, offset, len(name), 16, size)
    head += bytes(72 - len(head)) + struct.pack(">Q", features) + bytes(24)
    return head + name + b"data"


def copies_in(folder: Path) -> list[Backup]:
    """All copies below a folder."""
    return [copy.backup for home in find_homes(folder) for copy in home.copies]


class Archive:
    """Backups of one VM in a folder, made without a VM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "db"
        self._at = AT

    def add(self, above: Path | None = None, content: bytes | None = None, **changes: Any) -> Path:
        """Add a backup: a full one, or one that builds on another."""
        self._at += timedelta(hours=1)
        folder = make_folder(self.home, self._at)
        parent, chain = None, None
        if above is not None:
            found = read_backup(above)
            assert found is not None
            assert found.manifest is not None
            chain = found.manifest.chain
            parent = Parent(found.manifest.id, above.name, found.sha256)
        data = content
        if data is None:
            data = image(f"../{above.name}/a.qcow2" if above is not None else None)
        (folder / "a.qcow2").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        disk = DiskRecord("a", "n", "qcow2", SIZE, "a.qcow2", "qcow2", len(data), digest, "b", 4)
        mode = "full" if parent is None else "incremental"
        number = hashlib.sha256(folder.name.encode()).hexdigest()[:8]
        times = {"taken": self._at.isoformat()}
        made = manifest(id=number, chain=chain or number, mode=mode, parent=parent, times=times)
        write_manifest(folder, made._replace(**{"disks": (disk,), **changes}))
        return folder

    def mirror(self, content: bytes, *, checksum: bool = True) -> Path:
        """Add a raw mirror."""
        self._at += timedelta(hours=1)
        folder = make_folder(self.home, self._at)
        (folder / "a.raw").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest() if checksum else None
        size = len(content)
        disk = DiskRecord("a", "n", "raw", SIZE, "a.raw", "raw", size, digest, None, size)
        times = {"taken": self._at.isoformat()}
        write_manifest(folder, manifest(kind=MIRROR, disks=(disk,), times=times))
        return folder

    def verify(self, folder: Path | None = None) -> list[Verified]:
        """Verify all, or one."""
        verifier = Verifier()
        return [verifier.verify(one) for one in copies_in(folder or self.folder)]

    def change(self, folder: Path, change: Callable[[dict[str, object]], object]) -> None:
        """Change a manifest."""
        path = folder / "manifest.json"
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    folder = tmp_path / "to"
    folder.mkdir()
    return Archive(folder)
