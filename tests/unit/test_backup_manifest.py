"""A backup's manifest is written whole, and read as what anybody may have written."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.jobs.archive import (
    Begun,
    backups_in,
    make_folder,
    read_backup,
    remove_folder,
    safe_name,
    write_begun,
    write_manifest,
)
from agentclient.jobs.manifest import (
    MIRROR,
    MOST_BYTES,
    DiskRecord,
    Manifest,
    ManifestError,
    Parent,
    is_plain,
    parse,
    written,
)
from agentclient.journal.identity import this_process
from agentclient.model.job import Consistency, LeftOut, WhyLeftOut

AT = datetime(2026, 11, 29, 2, 15, tzinfo=UTC)
SUM = "0" * 64


def manifest(**changes: Any) -> Manifest:
    """A full backup of one disk."""
    disk = DiskRecord("a", "#block1", "qcow2", 1 << 20, "a.qcow2", "qcow2", 5, SUM, "b", 7)
    made = Manifest(
        id="0123abcd",
        chain="0123abcd",
        mode="full",
        parent=None,
        vm={"id": "qemu:db", "name": "db", "uuid": None},
        host="host1",
        versions={"frostwatch": "1", "qemu": None, "agent": "7.2"},
        consistency=Consistency.CONSISTENT,
        why="it was taken within a certified freeze window",
        policy="require",
        paused=False,
        compressed=False,
        times={"taken": "2026-11-29T02:15:00.000+00:00", "thawed": None},
        window={"outcome": "verified", "certified": True},
        disks=(disk,),
    )
    return made._replace(**changes)


def changed(path: str, value: object) -> bytes:
    """A manifest's text with one value changed, or taken away (by `...`)."""
    found = json.loads(written(manifest()))
    *above, last = path.split(".")
    place = found
    for key in above:
        place = place[int(key)] if isinstance(place, list) else place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(found).encode()


def test_what_is_written_is_read() -> None:
    full = manifest()
    assert parse(written(full)) == full
    child = full._replace(
        id="11112222", mode="incremental", parent=Parent("0123abcd", "20261129T021500Z", SUM)
    )
    assert parse(written(child)) == child
    lacking = full._replace(left_out=(LeftOut("sd0", WhyLeftOut.REMOVABLE),))
    assert parse(written(lacking)) == lacking
    assert child.certified
    assert child.disk("a") == child.disks[0]
    assert child.disk("b") is None


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schema", 2, "its schema is 2, not 1"),
        ("schema", "\x1b[2J", "its schema is"),
        ("kind", "x", "no manifest of a backup"),
        ("kind", ["frostwatch-mirror"], "no manifest of a backup"),
        ("disks.0.sha256", None, "disks[0].sha256 is no text"),
        ("mode", "half", "neither full nor incremental"),
        ("mode", "incremental", "an incremental backup has a parent"),
        ("id", "../..", "id can't be"),
        ("chain", 5, "chain is no text"),
        ("disks", [], "it has no disk"),
        ("disks", {}, "disks is no list"),
        ("disks", [5], "something else than objects"),
        ("disks.0.file", "../../etc/shadow", "disks[0].file can't be"),
        ("disks.0.file", "/etc/shadow", "disks[0].file can't be"),
        ("disks.0.file", "..", "disks[0].file can't be"),
        ("disks.0.file", "a\nb", "disks[0].file can't be"),
        ("disks.0.file", "-rf", "disks[0].file can't be"),
        ("disks.0.file", "a\x00b", "disks[0].file can't be"),
        ("disks.0.size", -1, "disks[0].size is no number of bytes"),
        ("disks.0.size", 10**40, "disks[0].size is no number of bytes"),
        ("disks.0.size", True, "disks[0].size is no number of bytes"),
        ("disks.0.size", 1.5, "disks[0].size is no number of bytes"),
        ("disks.0.sha256", "abc", "disks[0].sha256 can't be"),
        ("disks.0.format", "raw", "disks[0].format is not qcow2"),
        ("disks.0.name", "x" * 5000, "disks[0].name is no text"),
        ("parent", {"id": "0123abcd"}, "and a full one has none"),
        ("vm", [], "vm is no object"),
        ("vm.name", 5, "vm.name is no text"),
        ("times", None, "times is no object"),
        ("paused", 1, "paused is neither true nor false"),
        ("consistency", "perfect", "neither consistent nor crash-consistent"),
        ("window", None, "its window is not certified"),
        ("window.certified", False, "its window is not certified"),
        ("window.certified", "true", "its window is not certified"),
        ("why", ..., "why is no text"),
        ("left_out", [{"disk": "a", "why": "no mood"}], "a reason that is not known here"),
        ("left_out", "a", "left_out is no list"),
        ("disks.0.in_the_clear", "no", "in_the_clear is neither true nor false"),
    ],
)
def test_what_cannot_be_is_one_clear_sentence(path: str, value: object, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(changed(path, value))
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"1" * 5000, "no JSON"),
        (b"[]", "no manifest"),
        (b"NaN", "no JSON"),
        (b" " * (MOST_BYTES + 1), "larger than 4 MiB"),
    ],
)
def test_what_is_no_manifest_is_told(content: bytes, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        parse(content)


def test_an_incremental_one_has_a_parent_beside_it() -> None:
    child = manifest(mode="incremental", parent=Parent("0123abcd", "../elsewhere", SUM))
    with pytest.raises(ManifestError, match=r"parent\.folder can't be"):
        parse(written(child))


def test_two_disks_have_two_names() -> None:
    disk = manifest().disks[0]
    for other in (disk._replace(file="b.qcow2"), disk._replace(name="b")):
        with pytest.raises(ManifestError, match="two of its disks have one"):
            parse(written(manifest(disks=(disk, other))))


def test_a_mirror_is_full_and_may_be_raw_and_without_checksums() -> None:
    disk = manifest().disks[0]._replace(format="raw", sha256=None)
    made = manifest(kind=MIRROR, disks=(disk,))
    assert parse(written(made)) == made
    assert made.word == "mirror"
    child = made._replace(mode="incremental", parent=Parent("0123abcd", "20261129T021500Z", SUM))
    with pytest.raises(ManifestError, match="a mirror is full"):
        parse(written(child))
    with pytest.raises(ManifestError, match="format is not qcow2 or raw"):
        parse(written(made._replace(disks=(disk._replace(format="vmdk"),))))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_told(content: bytes) -> None:
    with pytest.raises(ManifestError):
        parse(content)


@given(st.text(max_size=300))
def test_names_lead_nowhere_else(name: str) -> None:
    safe = safe_name(name)
    assert is_plain(safe)
    assert safe_name(name, frozenset({safe})) != safe or safe != name


def test_names_that_differ_stay_different() -> None:
    names = ["a", "a/b", "a_b", "a:b", "", ".", "..", "-a", "ä", "a" * 300, "a" * 301]
    assert len({safe_name(name) for name in names}) == len(names)
    assert safe_name("drive-scsi0") == "drive-scsi0"
    assert safe_name("a", frozenset({"a"})) != "a"


def test_each_backup_has_a_folder_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "db"
    first = make_folder(home, AT)
    assert first.name == "20261129T021500Z"
    assert make_folder(home, AT).name == "20261129T021500Z-2"
    (tmp_path / "link").symlink_to(home)
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "link", AT)


def test_without_a_manifest_it_is_not_complete(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "db", AT)
    assert read_backup(folder) is None
    (folder / "a.qcow2").touch()
    found = read_backup(folder)
    assert found is not None
    assert found.problem == "it has no manifest: it is not complete"
    write_begun(folder, Begun("01234567", "89abcdef"))
    found = read_backup(folder)
    assert found is not None
    host, process = socket.gethostname(), this_process()
    assert found.begun == Begun("01234567", "89abcdef", host, process)
    write_manifest(folder, manifest())
    found = read_backup(folder)
    assert found is not None
    assert found.manifest == manifest()
    assert found.begun is None
    assert sorted(one.name for one in folder.iterdir()) == ["a.qcow2", "manifest.json"]
    assert (folder / "manifest.json").stat().st_mode & 0o777 == 0o600


def test_no_link_is_followed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "db", AT)
    write_manifest(folder, manifest())
    other = tmp_path / "db" / "20261130T000000Z"
    other.mkdir()
    (other / "manifest.json").symlink_to(folder / "manifest.json")
    (tmp_path / "db" / "20261131T000000Z").symlink_to(folder)
    first, second = backups_in(tmp_path / "db")
    assert first.manifest is not None
    assert second.manifest is None
    assert "its manifest can't be read" in str(second.problem)
    through = read_backup(tmp_path / "db" / "20261131T000000Z")
    assert through is not None
    assert "can't be opened" in str(through.problem)


def test_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "db", AT)
    os.mkfifo(folder / "manifest.json")
    found = read_backup(folder)
    assert found is not None
    assert found.problem == "its manifest can't be read: it is no plain file"


def test_what_was_made_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "db", AT)
    write_begun(folder, Begun("01234567", "89abcdef"))
    (folder / "somebody's").touch()
    (left,) = remove_folder(folder, parent=True)
    assert str(folder) in left
    (folder / "somebody's").unlink()
    assert remove_folder(folder, parent=True) == []
    assert not (tmp_path / "db").exists()
    assert remove_folder(folder, parent=True) == []


@pytest.mark.parametrize("path", ["left_out", "disks.0.in_the_clear"])
def test_an_older_one_tells_not_what_it_lacks(path: str) -> None:
    assert parse(changed(path, ...)) == manifest()
