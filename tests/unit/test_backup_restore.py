"""Whole images are made of a copy that was checked, all or none, and nothing is overwritten."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import threading
from pathlib import Path

import pytest

from agentclient.jobs.image_tool import convert_image
from agentclient.jobs.restore import RestoreFailed, plan_restore, restore
from agentclient.model.errors import BadInput
from agentclient.model.job import LeftOut, WhyLeftOut
from tests.unit.archives import Archive, archive
from tui.main import run

__all__ = ["archive"]

# What stands for qemu-img: `check` is well, and `convert` copies the last image but one.
SCRIPT = """#!/bin/sh
[ "$1" = check ] && exit 0
echo "$@" >> {log}
printf '    (0.00/100%%)\\r    (55.5/100%%)\\r'
{more}
for last; do before=$to; to=$last; done
cat "$before" > "$to"
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    write(folder / "qemu-img", tmp_path)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "qemu-img"


def write(program: Path, folder: Path, more: str = "") -> None:
    program.write_text(SCRIPT.format(log=folder / "log", more=more))
    program.chmod(0o755)


def test_a_chain_becomes_whole_images(archive: Archive, tool: Path, tmp_path: Path) -> None:
    full = archive.add()
    second = archive.add(full)
    told: list[tuple[str, float | None]] = []
    plan = plan_restore(second, tmp_path / "new")
    (made,) = restore(plan, str(tool), lambda doing, far: told.append((doing, far)))
    assert made.file == tmp_path / "new" / "a.qcow2"
    assert made.file.read_bytes() == (second / "a.qcow2").read_bytes()
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["a.qcow2"]
    words = (tmp_path / "log").read_text().split()
    assert words[:6] == ["convert", "-p", "-f", "qcow2", "-O", "qcow2"]
    assert words[6] == str(second / "a.qcow2")
    checked = {doing.split("/")[0] for doing, _ in told if doing.startswith("checking")}
    assert checked == {f"checking {second.name}", f"checking {full.name}"}


def test_a_mirror_keeps_its_format_unless_another_is_asked_for(
    archive: Archive, tool: Path, tmp_path: Path
) -> None:
    folder = archive.mirror(b"1" * (1 << 20))
    for format_, name in ((None, "a.raw"), ("qcow2", "a.qcow2")):
        plan = plan_restore(folder, tmp_path / name, format_=format_)
        (made,) = restore(plan, str(tool), lambda *_: None)
        assert made.file == tmp_path / name / name
    assert "-f raw -O raw" in (tmp_path / "log").read_text().splitlines()[0]
    assert "-f raw -O qcow2" in (tmp_path / "log").read_text().splitlines()[1]


def test_what_has_changed_is_not_restored(archive: Archive, tool: Path, tmp_path: Path) -> None:
    full = archive.add()
    second = archive.add(full)
    content = bytearray((full / "a.qcow2").read_bytes())
    content[-1] ^= 1
    (full / "a.qcow2").write_bytes(content)
    plan = plan_restore(second, tmp_path / "new")
    with pytest.raises(RestoreFailed, match=r"nothing is made of .* its checksum is not"):
        restore(plan, str(tool), lambda *_: None)
    assert not (tmp_path / "new").exists()
    (full / "manifest.json").unlink()
    with pytest.raises(RestoreFailed, match="its chain is broken"):
        plan_restore(second, tmp_path / "new")


@pytest.mark.parametrize("ours", [True, False])
def test_what_fails_leaves_nothing(
    archive: Archive, tool: Path, tmp_path: Path, ours: bool
) -> None:
    folder, to = archive.add(), tmp_path / "new"
    if not ours:
        to.mkdir()
    write(tool, tmp_path, "echo 'qemu-img: No space left on device' >&2; exit 1")
    with pytest.raises(RestoreFailed, match="can't convert it: qemu-img: No space left"):
        restore(plan_restore(folder, to), str(tool), lambda *_: None)
    assert to.exists() is not ours
    assert ours or not list(to.iterdir())


def test_what_is_stopped_leaves_nothing_and_ends_the_tool(
    archive: Archive, tool: Path, tmp_path: Path
) -> None:
    folder = archive.add()
    write(tool, tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 100")

    def stop(doing: str, far: float | None) -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() and far:
            assert far == 55.5
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(plan_restore(folder, tmp_path / "new"), str(tool), stop)
    assert not (tmp_path / "new").exists()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_one_that_stands_still_is_ended(
    tmp_path: Path, tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentclient.jobs.image_tool.STANDS_S", 0.3)
    write(tool, tmp_path, "exec sleep 100")
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    said = convert_image(
        str(tool), (tmp_path / "a", "raw"), (tmp_path / "b", "raw"), lambda _: None
    )
    assert said == "qemu-img convert stands still for 0.3 s"


def test_nothing_is_overwritten(archive: Archive, tmp_path: Path) -> None:
    folder, to = archive.add(), tmp_path / "new"
    to.mkdir()
    (to / "somebody's").touch()
    with pytest.raises(BadInput, match="has files already, and nothing is overwritten"):
        plan_restore(folder, to)
    (tmp_path / "link").symlink_to(tmp_path)
    for wrong, words in (
        (to / "somebody's", "exists, and is no folder"),
        (tmp_path / "link", "exists, and is no folder"),
        (tmp_path / "none" / "new", "is no folder: make it"),
        (folder / "new", "is within the copy itself"),
    ):
        with pytest.raises(BadInput, match=words):
            plan_restore(folder, wrong)


def test_one_copy_and_its_own_disks_are_named(archive: Archive, tmp_path: Path) -> None:
    first, second = archive.add(), archive.add()
    with pytest.raises(BadInput, match=f"there are 2 copies .* such as {second}"):
        plan_restore(archive.folder, tmp_path / "new")
    with pytest.raises(BadInput, match="has no disk 'b'; its disks are: a"):
        plan_restore(first, tmp_path / "new", ["b"])
    with pytest.raises(BadInput, match="there is no backup"):
        plan_restore(tmp_path, tmp_path / "new")
    assert plan_restore(first, tmp_path / "new", ["a", "a"]).disks[0].name == "a"


def test_the_command_says_how_to_start_a_vm_with_it(
    archive: Archive, tool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, to = archive.add(), tmp_path / "new"
    assert run(["backup", "restore", str(folder), "--to", str(to)]) == 0
    said = capsys.readouterr().out
    assert f"restored: db as of 2026-11-29T03:15:00+00:00, certified consistent, in {to}" in said
    assert f"-drive file={to}/a.qcow2,format=qcow2,if=virtio" in said
    other = tmp_path / "other"
    assert run(["backup", "restore", str(folder), "--to", str(other), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["disk"], found["file"]) == ("a", str(other / "a.qcow2"))
    assert (found["consistency"], found["source_format"]) == ("consistent", "qcow2")
    assert run(["backup", "restore", str(folder), "--to", str(other)]) == 2


def test_what_the_copy_lacks_and_what_is_in_the_clear_is_said(
    archive: Archive, tool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, to = archive.add(left_out=(LeftOut("sd0", WhyLeftOut.REMOVABLE),)), tmp_path / "new"
    manifest = folder / "manifest.json"
    clear = manifest.read_text().replace('"in_the_clear": false', '"in_the_clear": true')
    manifest.write_text(clear)
    assert run(["backup", "restore", str(folder), "--to", str(to)]) == 0
    said = capsys.readouterr().out
    assert "note: the VM had other disks, which the copy lacks: sd0 (removable)" in said
    assert "note: encrypted in the VM, and in the clear here: a" in said


def test_what_could_not_be_compared_is_said(
    archive: Archive, tool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = b"1" * (1 << 20)
    for number, checksum in enumerate((True, False)):
        folder, to = archive.mirror(content, checksum=checksum), tmp_path / str(number)
        assert run(["backup", "restore", str(folder), "--to", str(to)]) == 0
        assert ("no checksum was taken" in capsys.readouterr().out) is not checksum


def test_without_the_tool_it_says_what_to_install(
    archive: Archive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = archive.add()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert run(["backup", "restore", str(folder), "--to", str(tmp_path / "new")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "qemu-img is not here: install it (Debian, Ubuntu: qemu-utils" in line
    assert not (tmp_path / "new").exists()


def test_a_signal_stops_the_command(
    archive: Archive, tool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = archive.add()
    write(tool, tmp_path, f"kill -{signal.SIGTERM.value} $PPID; exec sleep 100")
    assert run(["backup", "restore", str(folder), "--to", str(tmp_path / "new")]) == 1
    assert "SIGTERM: stopped; nothing was restored, and nothing is left" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_signal_ends_the_wait_for_a_storage_that_hangs(
    archive: Archive,
    tool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    back, returned = threading.Event(), threading.Event()

    def hangs(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        back.wait(60.0)
        returned.set()

    monkeypatch.setattr("agentclient.jobs.restore._sync", hangs)
    assert run(["backup", "restore", str(archive.add()), "--to", str(tmp_path / "new")]) == 1
    assert not returned.is_set(), "the command has waited for the storage"
    back.set()
    assert "SIGINT: stopped; nothing was restored" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_room_is_looked_for_where_the_images_go(
    archive: Archive, tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(
        "agentclient.jobs.restore.check_space", lambda folder, needed: looked.append(folder)
    )
    folder, mounted = archive.add(), tmp_path / "mounted"
    mounted.mkdir()
    for to in (mounted, tmp_path / "new"):
        restore(plan_restore(folder, to), str(tool), lambda *_: None)
    assert looked == [mounted, tmp_path]


def test_the_options_to_start_a_vm_with_it_are_never_cut(
    archive: Archive, tool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    above = tmp_path.joinpath(*[letter * 200 for letter in "xyzw"])
    above.mkdir(parents=True)
    to = above / "new, it's"
    assert run(["backup", "restore", str(archive.add()), "--to", str(to)]) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "-drive" in one]
    (_, value) = shlex.split(line)
    path = str(to / "a.qcow2").replace(",", ",,")
    assert value == f"file={path},format=qcow2,if=virtio"
