"""Is a copy of a disk what a freeze promises? Looked at on the host, without mounting it.

What the tools say, and what it means (seen on real guests, see tests/guests/test_facts_copy.py):

ext4 carries the feature `needs_recovery` for as long as it is mounted for writing, but not while it
is frozen: a freeze empties the journal and takes the feature away.

xfs is never told clean while it is mounted. A freeze writes everything to its place, and ends with
records in the log that hold the superblock alone, so that a mount will look for unlinked files: the
log is "dirty", `xfs_repair -n` warns of it, and finds the superblock's count of free blocks other
than its own, since a mounted xfs sets some aside. A log that holds anything else needs recovery.
"""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.guests.lab.errors import LabError
from tests.guests.lab.loads import COUNTER, DATABASE
from tests.guests.lab.release import run, tool

FileSystem = Literal["ext4", "xfs"]

_RECORD = re.compile(rb"(\d{10}) (\d{20})\n")
_RECORD_SIZE = 32
# What xfs_repair -n says without having found anything.
_XFS_TALK = re.compile(
    r"\s*$|Phase \d|\s+- |No modify flag|Cannot get host|Repair may fail|the image and the host"
    r"|ALERT: The filesystem has valuable|ignored because the -n option|which may be resolved by"
)
_XFS_COUNTS = re.compile(r"sb_(fdblocks|ifree|icount) \d+, counted \d+$")
# Each item of a transaction begins with its kind and how many regions it has.
_XFS_ITEM = re.compile(r"([A-Z]+):\s*cnt:\d+")


@dataclass(frozen=True)
class Records:
    """What a copy has of the file that `append_load` writes.

    Attributes:
        last: the counter of the last record; 0 without any, or without the file.
        gapless: the counters are 1, 2, 3, ... `last`, and there is nothing else in the file.
    """

    last: int
    gapless: bool


@dataclass(frozen=True)
class Verdict:
    """What a copy of one file system is.

    Attributes:
        clean: the checker has nothing to repair, as the copy is, without any recovery.
        needs_recovery: there is a journal (or log) to replay before it is consistent.
        last: as in `Records`.
        gapless: as in `Records`.
        complaints: what the checker found, line by line.
        said: all that the tools said.
    """

    clean: bool
    needs_recovery: bool
    last: int
    gapless: bool
    complaints: tuple[str, ...]
    said: str

    @property
    def consistent(self) -> bool:
        """It can be used as it is."""
        return self.clean and not self.needs_recovery


@dataclass(frozen=True)
class Rows:
    """What a copy has of the database that `database` writes.

    Attributes:
        check: what its own check says; "ok" if nothing is wrong.
        rows: how many there are.
        last: the number of the last one.
        total: how many the other table counts.
    """

    check: str
    rows: int
    last: int
    total: int

    @property
    def whole(self) -> bool:
        """It passes its check, no row is missing, and both tables are of one transaction."""
        return self.check == "ok" and self.rows == self.last == self.total


def check_copy(
    path: Path, fs: FileSystem = "ext4", *, snapshot: str | None = None, counter: str = COUNTER
) -> Verdict:
    """Check a copy of a disk that holds one file system; the copy is only read.

    Args:
        path: an image, of any format that `qemu-img` knows; its backing files have to be there.
        fs: what is on it.
        snapshot: an internal snapshot of a qcow2, instead of its present contents. Its guest may
            run.
        counter: the file of `append_load`, at the root.

    Raises:
        LabError: it can't be read.
    """
    with tempfile.TemporaryDirectory(prefix="frostwatch-copy-") as folder:
        raw = raw_copy(path, Path(folder), snapshot)
        verdict = _ext4(raw) if fs == "ext4" else _xfs(raw)
        records = parse_records(_read(raw, fs, counter) or b"")
    clean, needs_recovery, complaints, said = verdict
    return Verdict(clean, needs_recovery, records.last, records.gapless, complaints, said)


def check_database(path: Path, fs: FileSystem = "ext4", *, snapshot: str | None = None) -> Rows:
    """Open the database in a copy, as one would after restoring it; arguments as `check_copy`.

    Raises:
        LabError: there is none.
    """
    with tempfile.TemporaryDirectory(prefix="frostwatch-copy-") as name:
        folder = Path(name)
        raw = raw_copy(path, folder, snapshot)
        for suffix in ("", "-wal", "-journal"):
            content = _read(raw, fs, DATABASE + suffix)
            if content is not None:
                (folder / (DATABASE + suffix)).write_bytes(content)
        if not (folder / DATABASE).exists():
            raise LabError(f"{path} has no {DATABASE}")
        with closing(sqlite3.connect(folder / DATABASE)) as database:
            try:
                check = "; ".join(str(row[0]) for row in database.execute("PRAGMA integrity_check"))
                rows = database.execute("SELECT count(*), coalesce(max(number), 0) FROM rows")
                total = database.execute("SELECT rows FROM total")
                return Rows(check, *rows.fetchone(), *total.fetchone())
            except sqlite3.DatabaseError as error:
                return Rows(str(error), 0, 0, 0)


def read_file(
    path: Path, name: str, fs: FileSystem = "ext4", *, snapshot: str | None = None
) -> bytes | None:
    """A file out of a copy, as it is without recovery; None if there is none.

    Args:
        path: as for `check_copy`; so are the others.
        name: its path in the file system, without a leading slash.
    """
    with tempfile.TemporaryDirectory(prefix="frostwatch-copy-") as folder:
        return _read(raw_copy(path, Path(folder), snapshot), fs, name)


def raw_copy(path: Path, folder: Path, snapshot: str | None = None) -> Path:
    """What an image holds, as a raw file with holes in this folder; its guest may run.

    Raises:
        LabError: it can't be read.
    """
    raw = folder / "copy.raw"
    how = ["-f", str(_info(path)["format"])]
    if snapshot is not None:
        how += ["-l", f"snapshot.name={snapshot}"]
    _do(["qemu-img", "convert", "-U", *how, "-O", "raw", str(path), str(raw)])
    return raw


def snapshots(path: Path) -> list[str]:
    """The names of a qcow2's internal snapshots; its guest may run."""
    return [one["name"] for one in _info(path).get("snapshots", [])]


def parse_records(content: bytes) -> Records:
    """What the file of `append_load` says."""
    last, gapless = 0, True
    for start in range(0, len(content), _RECORD_SIZE):
        found = _RECORD.fullmatch(content, start, start + _RECORD_SIZE)
        if found is None:
            return Records(last, gapless=False)
        gapless = gapless and int(found.group(1)) == last + 1
        last = int(found.group(1))
    return Records(last, gapless)


_Found = tuple[bool, bool, tuple[str, ...], str]


def _ext4(raw: Path) -> _Found:
    """Check an ext4: `clean`, `needs_recovery`, `complaints` and `said` of its verdict."""
    checked = run([tool("e2fsck") or "e2fsck", "-fn", str(raw)])
    header = _do(["dumpe2fs", "-h", str(raw)])
    found = re.search(r"^Filesystem features:(.*)$", header, re.MULTILINE)
    if found is None:
        raise LabError(f"no ext4: {header[-300:]}")
    said = checked.stdout + checked.stderr
    complaints = tuple(line for line in said.splitlines() if line.endswith("? no"))
    return checked.returncode == 0, "needs_recovery" in found.group(1).split(), complaints, said


def _xfs(raw: Path) -> _Found:
    """The same for an xfs."""
    checked = run([tool("xfs_repair") or "xfs_repair", "-n", "-f", str(raw)])
    # Its option -f is for a log in a file of its own.
    log = _do(["xfs_logprint", "-t", str(raw)])
    state = re.search(r"state: <(CLEAN|DIRTY)>", log)
    if state is None:
        raise LabError(f"no log of an xfs: {log[-300:]}")
    items = len(_XFS_ITEM.findall(log))
    only_superblock = items == log.count("SUPER Block Buffer:") > 0
    needs_recovery = state.group(1) == "DIRTY" and not only_superblock
    lines = (checked.stdout + checked.stderr).splitlines()
    complaints = tuple(line for line in lines if not _XFS_TALK.match(line))
    clean = checked.returncode == 0 or all(_XFS_COUNTS.match(line) for line in complaints)
    return clean, needs_recovery, complaints, checked.stdout + checked.stderr + log


def _read(raw: Path, fs: FileSystem, name: str) -> bytes | None:
    """A file out of a raw image; None if it is not there."""
    return _read_ext4(raw, name) if fs == "ext4" else _read_xfs(raw, name)


def _read_ext4(raw: Path, name: str) -> bytes | None:
    """By e2fsprogs, which reads any file system of its kind, recovered or not."""
    target = raw.with_name("file")
    target.unlink(missing_ok=True)
    # The tool succeeds always.
    _do(["debugfs", "-R", f"dump /{name} {target}", str(raw)])
    return target.read_bytes() if target.exists() else None


def _read_xfs(raw: Path, name: str) -> bytes | None:
    """By the places of its blocks: xfsprogs knows where they are, and does not read them."""
    tell = ["sb 0", "print blocksize agblocks", f"path /{name}", "print core.size", "bmap"]
    commands = [part for command in tell for part in ("-c", command)]
    # It fails where there is no such path.
    said = run([tool("xfs_db") or "xfs_db", "-r", "-f", *commands, str(raw)]).stdout
    fields = dict(re.findall(r"^(\S+) = (\d+)$", said, re.MULTILINE))
    if "core.size" not in fields:
        return None
    block, group = int(fields["blocksize"]), int(fields["agblocks"])
    content = bytearray(int(fields["core.size"]))
    with raw.open("rb") as disk:
        for found in re.finditer(
            r"^data offset (\d+) startblock \d+ \((\d+)/(\d+)\) count (\d+) flag (\d)", said, re.M
        ):
            offset, number, start, count, unwritten = map(int, found.groups())
            if unwritten:
                continue
            disk.seek((number * group + start) * block)
            piece = disk.read(count * block)[: max(0, len(content) - offset * block)]
            content[offset * block : offset * block + len(piece)] = piece
    return bytes(content)


def _info(path: Path) -> dict[str, Any]:
    """What `qemu-img` says of an image."""
    info = json.loads(_do(["qemu-img", "info", "-U", "--output=json", str(path)]))
    assert isinstance(info, dict)
    return info


def _do(command: list[str]) -> str:
    """Run a tool of the host and give all that it said.

    Raises:
        LabError: it failed.
    """
    done = run([tool(command[0]) or command[0], *command[1:]])
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout + done.stderr
