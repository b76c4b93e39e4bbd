"""What is known of a copy, written beside its files; and how it is read, whoever has written it.

A manifest is written last. So a folder without one holds no complete backup, and no mirror.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeGuard

from agentclient.model.errors import FrostwatchError
from agentclient.model.job import Consistency, LeftOut, WhyLeftOut
from agentclient.model.text import printable

SCHEMA: Final = 1
BACKUP: Final = "frostwatch-backup"
MIRROR: Final = "frostwatch-mirror"
# What each kind of manifest is of, in a word.
WORDS: Final = MappingProxyType({BACKUP: "backup", MIRROR: "mirror"})
NAME: Final = "manifest.json"
# Some kilobytes for each disk; the window's evidence some more.
MOST_BYTES: Final = 4 << 20
MOST_DISKS: Final = 1024
MOST_SIZE: Final = 1 << 63

FULL: Final = "full"
INCREMENTAL: Final = "incremental"

_TOKEN: Final = re.compile(r"[0-9a-f]{8,32}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_LONGEST: Final = 4096
_FORMATS: Final = MappingProxyType({BACKUP: ("qcow2",), MIRROR: ("qcow2", "raw")})

Json = dict[str, Any]


class ManifestError(FrostwatchError):
    """A manifest can't be used; the text is one clause for a person."""


class DiskRecord(NamedTuple):
    """One disk in a manifest.

    Attributes:
        name: the disk's name, as the operator may give it.
        node: its node in QEMU.
        source_format: the format of the disk's own image.
        size: the disk's size as the guest sees it, in bytes.
        file: the name of the file that holds the copy, in the manifest's folder.
        format: the file's format.
        bytes: the file's length.
        sha256: its checksum, in hexadecimal digits; None if it was not taken (of a mirror alone).
        bitmap: the bitmap of the disk that records what is written since; None without one.
        copied: bytes that were copied.
        in_the_clear: the disk's own image is encrypted, and the file is not.
    """

    name: str
    node: str
    source_format: str
    size: int
    file: str
    format: str
    bytes: int
    sha256: str | None
    bitmap: str | None
    copied: int
    in_the_clear: bool = False

    @property
    def is_qcow2(self) -> bool:
        """Whether the file is a qcow2."""
        return self.format == "qcow2"


class Parent(NamedTuple):
    """The backup on which an incremental one builds.

    Attributes:
        id: its id.
        folder: the name of its folder, which is beside this one's.
        manifest_sha256: the checksum of its manifest.
    """

    id: str
    folder: str
    manifest_sha256: str


class Manifest(NamedTuple):
    """What is known of one backup, or of one mirror.

    Attributes:
        id: tells it from all others.
        chain: the id that a full backup and all that builds on it have in common.
        mode: ``full`` or ``incremental``.
        parent: on which one it builds; None for a full one.
        vm: the VM's ``id``, ``name`` and ``uuid``.
        host: the host's name.
        versions: of ``frostwatch``, ``qemu`` and ``agent``; None where not known.
        consistency: what it is worth.
        why: why, as a clause.
        policy: what was to be done about the freeze.
        paused: the VM was paused instead of frozen.
        compressed: its data are compressed.
        times: when what happened, as in a job's JSON.
        window: how its freeze ended, as in a job's JSON; None if nothing was frozen.
        disks: its disks.
        kind: `BACKUP` or `MIRROR`; a mirror is full, and a chain of its own.
        left_out: the VM's disks that it lacks.
    """

    id: str
    chain: str
    mode: str
    parent: Parent | None
    vm: Mapping[str, str | None]
    host: str
    versions: Mapping[str, str | None]
    consistency: Consistency
    why: str
    policy: str
    paused: bool
    compressed: bool
    times: Mapping[str, str | None]
    window: Mapping[str, Any] | None
    disks: tuple[DiskRecord, ...]
    kind: str = BACKUP
    left_out: tuple[LeftOut, ...] = ()

    @property
    def word(self) -> str:
        """What it is: ``backup`` or ``mirror``."""
        return WORDS[self.kind]

    @property
    def certified(self) -> bool:
        """Whether its own evidence says that its window was certified."""
        return self.window is not None and self.window.get("certified") is True

    def disk(self, name: str) -> DiskRecord | None:
        """Return the disk of a name; None if it has none."""
        return next((one for one in self.disks if one.name == name), None)


def written(manifest: Manifest) -> bytes:
    """Return a manifest's text, for a file."""
    head: Json = {"schema": SCHEMA, "kind": manifest.kind}
    body = manifest._asdict() | {
        "parent": manifest.parent._asdict() if manifest.parent is not None else None,
        "consistency": manifest.consistency.value,
        "disks": [one._asdict() for one in manifest.disks],
        "left_out": [{"disk": one.disk, "why": one.why.value} for one in manifest.left_out],
    }
    return (json.dumps(head | body, indent=1, allow_nan=False) + "\n").encode("ascii")


def parse(content: bytes) -> Manifest:
    """Read a manifest strictly: it may come from anybody.

    Raises:
        ManifestError: it is none, is of a newer kind, or something in it can't be.
    """
    if len(content) > MOST_BYTES:
        raise ManifestError(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        found = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise ManifestError("it is nested too deeply") from None
    except (UnicodeDecodeError, ValueError):
        raise ManifestError("it is no JSON") from None
    kind = found.get("kind") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(kind, str) or kind not in WORDS:
        raise ManifestError("it is no manifest of a backup, nor of a mirror")
    if found.get("schema") != SCHEMA:
        raise ManifestError(f"its schema is {printable(str(found.get('schema'))[:40], 40)}, not 1")
    return _manifest(_Fields(found, ""), kind)


def is_token(value: object) -> TypeGuard[str]:
    """Whether something is an id of a copy, or of a chain."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in the same folder, and needs no quoting."""
    return _PLAIN.fullmatch(name) is not None


def _manifest(fields: _Fields, kind: str) -> Manifest:
    mode = fields.text("mode")
    if mode not in (FULL, INCREMENTAL):
        raise ManifestError("its mode is neither full nor incremental")
    above = fields.mapping("parent", optional=True)
    if (above is None) != (mode == FULL):
        raise ManifestError("an incremental backup has a parent, and a full one has none")
    if kind == MIRROR and mode != FULL:
        raise ManifestError("a mirror is full")
    window = fields.mapping("window", optional=True)
    disks = fields.items("disks", MOST_DISKS)
    if not disks:
        raise ManifestError("it has no disk")
    manifest = Manifest(
        id=fields.match("id", _TOKEN),
        chain=fields.match("chain", _TOKEN),
        mode=mode,
        parent=_parent(above) if above is not None else None,
        vm=fields.needed("vm").texts(),
        host=fields.text("host"),
        versions=fields.needed("versions").texts(),
        consistency=_consistency(fields.text("consistency")),
        why=fields.text("why"),
        policy=fields.text("policy"),
        paused=fields.flag("paused"),
        compressed=fields.flag("compressed"),
        times=fields.needed("times").texts(),
        window=window.values if window is not None else None,
        disks=tuple(_disk(one, kind) for one in disks),
        kind=kind,
        left_out=_left_out(fields),
    )
    for what in ("name", "file"):
        names = [getattr(one, what) for one in manifest.disks]
        if len(set(names)) != len(names):
            raise ManifestError(f"two of its disks have one {what}")
    if manifest.consistency is Consistency.CONSISTENT and not manifest.certified:
        raise ManifestError("it says consistent, and its window is not certified")
    return manifest


def _parent(fields: _Fields) -> Parent:
    return Parent(
        id=fields.match("id", _TOKEN),
        folder=fields.match("folder", _PLAIN),
        manifest_sha256=fields.match("manifest_sha256", _SHA256),
    )


def _disk(fields: _Fields, kind: str) -> DiskRecord:
    formats = _FORMATS[kind]
    if fields.text("format") not in formats:
        raise ManifestError(f"{fields.name('format')} is not {' or '.join(formats)}")
    no_sum = kind == MIRROR and fields.values.get("sha256") is None
    return DiskRecord(
        name=fields.text("name"),
        node=fields.text("node"),
        source_format=fields.text("source_format"),
        size=fields.number("size"),
        file=fields.match("file", _PLAIN),
        format=fields.text("format"),
        bytes=fields.number("bytes"),
        sha256=None if no_sum else fields.match("sha256", _SHA256),
        bitmap=fields.text("bitmap") if fields.values.get("bitmap") is not None else None,
        copied=fields.number("copied"),
        in_the_clear="in_the_clear" in fields.values and fields.flag("in_the_clear"),
    )


def _left_out(fields: _Fields) -> tuple[LeftOut, ...]:
    """Return the disks that a copy lacks; none where it does not tell them."""
    found = fields.items("left_out", MOST_DISKS) if "left_out" in fields.values else []
    try:
        return tuple(LeftOut(one.text("disk"), WhyLeftOut(one.text("why"))) for one in found)
    except ValueError:
        raise ManifestError("it lacks a disk for a reason that is not known here") from None


def _consistency(word: str) -> Consistency:
    if word not in (Consistency.CONSISTENT, Consistency.CRASH_CONSISTENT):
        raise ManifestError("its consistency is neither consistent nor crash-consistent")
    return Consistency(word)


def _no_constant(_: str) -> float:
    raise ValueError


class _Fields:
    """One object of a manifest, whose values are checked as they are taken."""

    def __init__(self, values: Json, where: str) -> None:
        self.values = values
        self._where = where

    def name(self, key: str) -> str:
        return printable(f"{self._where}{key}", 80)

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise ManifestError(f"{self.name(key)} is no text")
        return value

    def match(self, key: str, pattern: re.Pattern[str]) -> str:
        value = self.text(key)
        if pattern.fullmatch(value) is None:
            raise ManifestError(f"{self.name(key)} can't be {printable(value, 60)!r}")
        return value

    def number(self, key: str) -> int:
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST_SIZE:
            raise ManifestError(f"{self.name(key)} is no number of bytes")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key)
        if not isinstance(value, bool):
            raise ManifestError(f"{self.name(key)} is neither true nor false")
        return value

    def mapping(self, key: str, *, optional: bool = False) -> _Fields | None:
        value = self.values.get(key)
        if value is None and optional:
            return None
        if not isinstance(value, dict):
            raise ManifestError(f"{self.name(key)} is no object")
        return _Fields(value, f"{self.name(key)}.")

    def needed(self, key: str) -> _Fields:
        found = self.mapping(key)
        assert found is not None, "only an optional one is None"
        return found

    def items(self, key: str, most: int) -> list[_Fields]:
        value = self.values.get(key)
        if not isinstance(value, list) or len(value) > most:
            raise ManifestError(f"{self.name(key)} is no list of up to {most}")
        if not all(isinstance(one, dict) for one in value):
            raise ManifestError(f"{self.name(key)} has something else than objects")
        return [_Fields(one, f"{self.name(key)}[{n}].") for n, one in enumerate(value)]

    def texts(self) -> dict[str, str | None]:
        return {
            key: None if value is None else self.text(key) for key, value in self.values.items()
        }
