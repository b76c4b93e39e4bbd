from __future__ import annotations

import pytest

from agentclient.coverage import CANNOT_FREEZE, Coverage, count, describe
from agentclient.vm import FileSystem

ROOT = FileSystem("vda1", "/", "ext4")
DATA = FileSystem("vdb", "/data", "xfs")
EFI = FileSystem("vda15", "/boot/efi", "vfat")
BIND = FileSystem("vda1", "/srv", "ext4")


def test_what_can_freeze_is_expected_and_the_rest_is_named() -> None:
    coverage = Coverage((ROOT, DATA, EFI))
    assert (coverage.expected, coverage.total, coverage.text) == (2, 3, "2 of 3")
    assert coverage.not_covered == (EFI,)


def test_the_agent_counts_devices_and_not_mount_points() -> None:
    assert Coverage((ROOT, BIND, DATA)).text == "2 of 2"


def test_nothing_known_is_nothing_expected() -> None:
    assert Coverage(()).text == "0 of 0"
    assert Coverage((EFI,)).text == "0 of 1"


def test_named_mount_points_narrow_it() -> None:
    coverage = Coverage((ROOT, DATA, EFI), ("/data", "/boot/efi"))
    assert coverage.wanted == (DATA, EFI)
    assert coverage.text == "1 of 2"
    assert coverage.not_covered == (EFI,)
    assert coverage.unknown_mounts == ()


@pytest.mark.parametrize("path", ["/dat", "/data/", "data", "/DATA", ""])
def test_a_mount_point_that_the_guest_does_not_have_is_named(path: str) -> None:
    coverage = Coverage((ROOT, DATA), ("/", path))
    assert coverage.unknown_mounts == (path,)
    assert coverage.text == "1 of 1"


@pytest.mark.parametrize(
    "kind", ["vfat", "VFAT", "tmpfs", "iso9660", "nfs4", "9p", "overlay", "squashfs"]
)
def test_kinds_that_cannot_freeze(kind: str) -> None:
    assert Coverage((FileSystem("x", "/x", kind),)).expected == 0


@pytest.mark.parametrize(
    "kind", ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "NTFS", "ReFS", "?", ""]
)
def test_every_other_kind_is_expected_to_freeze(kind: str) -> None:
    assert kind.lower() not in CANNOT_FREEZE
    assert Coverage((FileSystem("x", "/x", kind),)).expected == 1


def test_a_device_with_both_kinds_is_expected_once() -> None:
    assert Coverage((FileSystem("x", "/a", "ext4"), FileSystem("x", "/b", "vfat"))).text == "1 of 1"


def test_file_systems_as_a_person_reads_them() -> None:
    assert describe([EFI]) == "/boot/efi (vfat on vda15)"
    assert describe([]) == ""
    many = [FileSystem(f"d{number}", f"/{number}", "ext4") for number in range(9)]
    assert describe(many).endswith("/5 (ext4 on d5) and 3 more")
    assert describe(many[:6]).endswith("/5 (ext4 on d5)")
    assert describe(many, 9).endswith("/8 (ext4 on d8)")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 file systems"), (1, "1 file system"), (2, "2 file systems")]
)
def test_a_number_of_file_systems(number: int, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("mountpoint", "windows"),
    [("C:\\", True), ("d:\\data\\", True), ("/", False), ("/mnt/C:\\", False), ("C:", False)],
)
def test_a_windows_guest_is_known_by_its_drives(mountpoint: str, windows: bool) -> None:
    assert Coverage((FileSystem("x", mountpoint, "NTFS"),)).windows is windows
