"""Backups are checked again, whoever has changed them, and nothing outside of them is opened."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentclient.jobs.archive import Begun, make_folder, read_backup, write_begun
from agentclient.jobs.catalogue import find_homes
from agentclient.jobs.image_tool import check_image, convert_image, make_image
from agentclient.jobs.verify import (
    NO_SUM,
    NO_TOOL,
    Verifier,
    verified_object,
)
from agentclient.model.errors import BadInput
from agentclient.protocol.qcow2 import parse_head
from tests.unit.archives import SIZE, Archive, archive, copies_in, image
from tests.unit.cli_fakes import World, world
from tui.main import run

__all__ = ["archive", "world"]


def test_a_whole_chain_is_well_and_says_what_it_needs(archive: Archive) -> None:
    full = archive.add()
    second = archive.add(full)
    third = archive.add(second)
    found = archive.verify()
    assert [one.ok for one in found] == [True, True, True]
    assert found[2].needs == (third, second, full)
    assert found[2].notes == (NO_TOOL,)
    assert found[2].restore == (
        f"qemu-img convert -p -f qcow2 -O qcow2 {third}/a.qcow2 RESTORED/a.qcow2",
    )
    (alone,) = archive.verify(third)
    assert alone.ok
    assert alone.needs == (third, second, full)
    assert [one.folder for one in archive.verify(archive.home)] == [full, second, third]


def _truncate(folder: Path) -> None:
    os.truncate(folder / "a.qcow2", 50)


def _flip(folder: Path) -> None:
    content = bytearray((folder / "a.qcow2").read_bytes())
    content[-1] ^= 1
    (folder / "a.qcow2").write_bytes(content)


def _link(folder: Path) -> None:
    (folder / "a.qcow2").rename(folder / "b.qcow2")
    (folder / "a.qcow2").symlink_to(folder / "b.qcow2")


def _pipe(folder: Path) -> None:
    (folder / "a.qcow2").unlink()
    os.mkfifo(folder / "a.qcow2")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "a.qcow2").unlink(), "a.qcow2: it can't be opened: No such file"),
        (_truncate, "it has 50 bytes, and the manifest says"),
        (_flip, "its checksum is not that of the manifest"),
        (_link, "a.qcow2: it can't be opened: Too many levels of symbolic links"),
        (_pipe, "a.qcow2: it can't be opened: it is no plain file"),
        (lambda folder: (folder / "manifest.json").unlink(), "is not there|has no manifest"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "manifest can't be used"),
        (lambda folder: (folder / "manifest.json").write_bytes(b"x" * (5 << 20)), "than 4 MiB"),
        (lambda folder: folder.rename(folder.parent / "x"), "on which it builds, is not there"),
    ],
)
def test_one_that_is_harmed_breaks_those_behind_it(
    archive: Archive, harm: Callable[[Path], object], words: str
) -> None:
    full = archive.add()
    second = archive.add(full)
    third = archive.add(second)
    harm(second)
    found = {one.folder: one for one in archive.verify()}
    assert found[full].ok
    assert not found[third].ok
    assert re.search(words, "; ".join(found[third].problems)), found[third].problems
    if second in found:
        assert not found[second].ok
    assert all(len(problem) < 300 for one in found.values() for problem in one.problems)


def test_a_manifest_that_was_changed_breaks_the_chain(archive: Archive) -> None:
    full = archive.add()
    second = archive.add(full)
    archive.change(full, lambda found: found.update(why="because"))
    (_, later) = archive.verify()
    assert later.problems == (
        f"its chain is broken: {full.name} is not what it was: its manifest has changed",
    )
    assert later.folder == second
    assert verified_object(later)["restore"] == []  # it would make a wrong image


def test_a_chain_that_builds_on_itself_ends(archive: Archive) -> None:
    full = archive.add()
    second = archive.add(full)
    found = read_backup(second)
    assert found is not None

    def onto_itself(text: dict[str, object]) -> None:
        text["parent"] = {"id": "01234567", "folder": second.name, "manifest_sha256": "0" * 64}

    archive.change(second, onto_itself)
    problems = archive.verify(second)[0].problems
    assert problems[0] == f"its chain is broken: {second.name} builds on itself"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no image, and long enough to have a head" * 3, "it is no qcow2 image"),
        (image("/etc/shadow"), "it builds on /etc/shadow"),
        (image("../../../secret"), "it builds on ../../../secret"),
        (image("json:{}"), "it builds on json:{}"),
        (image(features=4), "its data are in another file"),
        (image(size=5), "the size of its disk is not that of the manifest"),
    ],
)
def test_an_image_that_leads_elsewhere_is_told(
    archive: Archive, content: bytes, words: str
) -> None:
    archive.add(content=content)
    (found,) = archive.verify()
    assert not found.ok
    assert words in found.problems[0]


@pytest.mark.parametrize("backing", [None, "../x/a.qcow2", "../{0}/../../../secret", "/etc/shadow"])
def test_an_incremental_image_builds_on_the_backup_before_it(
    archive: Archive, backing: str | None
) -> None:
    full = archive.add()
    archive.add(full, image(backing.format(full.name) if backing is not None else None))
    (_, found) = archive.verify()
    assert not found.ok
    assert "it builds on" in found.problems[0]


def test_an_incremental_image_builds_on_no_other_file_beside_the_one_it_should(
    archive: Archive, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:x:")
    full = archive.add()
    (full / "b.qcow2").symlink_to(secret)
    archive.add(full, image(f"../{full.name}/b.qcow2"))
    (_, found) = archive.verify()
    assert not found.ok
    words = f"it builds on ../{full.name}/b.qcow2, not on the file of this disk"
    assert words in found.problems[0]


def test_a_mirror_is_checked_as_well_as_it_can_be(archive: Archive) -> None:
    folder = archive.mirror(b"\0" * SIZE)
    (found,) = archive.verify()
    assert found.ok
    assert found.restore == (f"qemu-img convert -p -f raw -O raw {folder}/a.raw RESTORED/a.raw",)
    assert verified_object(found)["kind"] == "mirror"
    (folder / "a.raw").write_bytes(b"\1" + b"\0" * (SIZE - 1))
    assert "it has changed" in archive.verify()[0].problems[0]


def test_without_a_checksum_that_is_said(archive: Archive) -> None:
    folder = archive.mirror(b"\0" * SIZE, checksum=False)
    (found,) = archive.verify()
    assert found.ok
    assert f"{NO_SUM}: a.raw" in found.notes
    os.truncate(folder / "a.raw", SIZE - 512)
    assert "the manifest says" in archive.verify()[0].problems[0]


def test_a_raw_file_is_as_long_as_its_disk(archive: Archive) -> None:
    archive.mirror(b"\0" * 512)
    assert archive.verify()[0].problems == ("a.raw: its length is not the size of its disk",)


def test_one_that_was_never_completed_is_told(archive: Archive) -> None:
    archive.add()
    folder = make_folder(archive.home, datetime.now(UTC))
    write_begun(folder, Begun("01234567", "89abcdef"))
    (found,) = [one for one in archive.verify() if one.folder == folder]
    assert not found.ok
    assert found.problems == ("it has no manifest: it is not complete",)
    assert verified_object(found)["consistency"] == "none"


def test_each_file_is_read_once(archive: Archive) -> None:
    full = archive.add()
    second = archive.add(full)
    archive.add(second)
    told: list[str] = []
    verifier = Verifier(told.append)
    for one in copies_in(archive.folder):
        verifier.verify(one)
    assert len([text for text in told if text.startswith("checking")]) == 3


def test_it_can_be_stopped(archive: Archive) -> None:
    archive.add()

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Verifier(stop).verify(copies_in(archive.folder)[0])


def test_where_there_is_none_it_is_bad_input(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(BadInput):
            find_homes(folder)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 0", None),
        ("exit 3", None),
        ("echo 'ERROR: cluster 5'; exit 2", "qemu-img finds it damaged: ERROR: cluster 5"),
        ("printf '\\033[2Jno'; exit 1", "qemu-img can't check it"),
        ("exit 1", "qemu-img can't check it: exit 1"),
    ],
)
def test_what_the_image_tool_says_is_passed_on(
    tmp_path: Path, script: str, words: str | None
) -> None:
    program = tmp_path / "qemu-img"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    found = check_image(str(program), tmp_path, "a.qcow2", lambda: None)
    assert (found is None) if words is None else (found is not None and found.startswith(words))
    assert found is None or found.isprintable()


def test_an_image_tool_whose_end_nobody_can_tell_has_not_found_it_whole(tmp_path: Path) -> None:
    program = tmp_path / "qemu-img"
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o755)
    read, write = tmp_path / "a.qcow2", tmp_path / "b.qcow2"
    write.touch()
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        checked = check_image(str(program), tmp_path, read.name, lambda: None)
        formats = (read, "qcow2"), (write, "qcow2")
        converted = convert_image(str(program), *formats, lambda _: None)
        made = make_image(str(program), write, SIZE, None, lambda: None)
    finally:
        signal.signal(signal.SIGCHLD, old)
    for found in (checked, converted, made):
        assert found is not None
        assert "can't be told" in found


def test_whoever_does_not_want_to_know_how_our_children_end_changes_nothing(
    archive: Archive, tmp_path: Path
) -> None:
    archive.add()
    program = tmp_path / "bin" / "qemu-img"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho damaged >&2\nexit 2\n")
    program.chmod(0o755)
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'tui.main', *sys.argv[1:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "backup", "verify", str(archive.folder)],
        env={**os.environ, "PATH": str(program.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "qemu-img finds it damaged: damaged" in done.stdout


def test_an_image_tool_that_hangs_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "qemu-img"
    program.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nsleep 100\n")
    program.chmod(0o755)

    def stop() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_image(str(program), tmp_path, "a.qcow2", stop)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_heads_are_read() -> None:
    head = parse_head(image("../x/a.qcow2"))
    assert head is not None
    assert (head.size, head.backing, head.external_data) == (SIZE, "../x/a.qcow2", False)
    for content in (b"", b"QFI\xfb", image()[:60], b"X" * 200, image("y" * 2000)):
        assert parse_head(content) is None


def test_the_command_tells_and_exits(
    archive: Archive, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    full = archive.add()
    assert run(["backup", "verify", str(archive.folder)]) == 0
    said = capsys.readouterr().out
    assert f"{full}: OK: db, full, taken 2026-11-29T03:15:00+00:00, certified" in said
    assert NO_TOOL in said
    assert "qemu-img convert" in said
    assert "mkdir RESTORED" in said
    assert run(["backup", "verify", str(archive.folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["schema"] == 1
    (full / "a.qcow2").unlink()
    assert run(["backup", "verify", str(full)]) == 1
    assert "NOT OK" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify"],
        ["verify", "/nonexistent"],
        ["verify", "/dev/null"],
        ["db"],
        ["db", "--to", "/no"],
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backup", *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_folder_may_be_set(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world.add("web1")
    for words in (["backup", "web1"], ["mirror", "web1"]):
        monkeypatch.delenv("FROSTWATCH_COPY_TO", raising=False)
        assert run(words) == 2
        assert "give --to DIR, or set copy_to" in capsys.readouterr().err
        monkeypatch.setenv("FROSTWATCH_COPY_TO", str(tmp_path / "none"))
        assert run(words) == 2
        assert "none' is no folder: make it" in capsys.readouterr().err
        monkeypatch.setenv("FROSTWATCH_COPY_TO", str(tmp_path))
        assert run([words[0], "lsit"]) == 2
        assert "no VM is called 'lsit'" in capsys.readouterr().err


def test_a_vm_called_verify_is_reached_by_its_id(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("other")
    assert run(["backup", "qemu:verify", "--to", str(tmp_path)]) == 2
    assert "no VM is called 'qemu:verify'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_not_well_and_the_others_are_checked(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = archive.add()
    (archive.folder / "web").mkdir()
    whole: Any = os.scandir

    def scandir(path: object) -> Any:
        if str(path).endswith("/web"):
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setenv("PATH", "/nonexistent")  # a real qemu-img would find these images damaged
    assert run(["backup", "verify", "--json", str(archive.folder)]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["backup"], one["ok"]) for one in found] == [
        (str(folder), True),
        (str(archive.folder / "web"), False),
    ]
    assert found[1]["problems"] == ["it can't be read: Permission denied"]
