"""What a freeze must cover, what it can't, and how both are told."""

from __future__ import annotations

import time

import pytest

from agentclient.freeze.coverage import (
    CANNOT_FREEZE,
    Coverage,
    System,
    count,
    describe,
    system_by,
    system_of,
)
from agentclient.model.outcome import FileSystem
from agentclient.model.request import FreezeRequest
from agentclient.model.text import plain_path

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
    assert describe([EFI]) == "vda15 (vfat at /boot/efi)"
    assert describe([]) == ""
    many = [FileSystem(f"d{number}", f"/{number}", "ext4") for number in range(9)]
    assert describe(many).endswith("d5 (ext4 at /5) and 3 more")
    assert describe(many[:6]).endswith("d5 (ext4 at /5)")
    assert describe(many, 9).endswith("d8 (ext4 at /8)")


def test_a_device_is_named_once_with_its_shortest_paths() -> None:
    paths = ["/mnt/data/supervisor", "/etc/hosts", "/mnt/data", "/etc/hostname"]
    listed = [FileSystem("sda8", path, "ext4") for path in paths]
    assert describe(listed[:2]) == "sda8 (ext4 at /etc/hosts, /mnt/data/supervisor)"
    assert describe(listed) == "sda8 (ext4 at /mnt/data, /etc/hosts and 2 more paths)"
    crowd = [FileSystem("sda8", f"/var/lib/x/{number}", "ext4") for number in range(600)]
    assert len(describe(crowd)) < 80


@pytest.mark.parametrize("kind", ["erofs", "squashfs", "iso9660", "CDFS"])
def test_what_nobody_can_write_to_is_no_gap(kind: str) -> None:
    coverage = Coverage((FileSystem("sda2", "/", kind), DATA))
    assert (coverage.text, coverage.not_covered, coverage.full) == ("1 of 1", (), True)


def test_what_could_not_freeze_is_named_once_a_device() -> None:
    bound = FileSystem("vda15", "/srv/a/long/way/to/efi", "vfat")
    assert Coverage((bound, EFI, ROOT)).not_covered == (EFI,)


def test_a_named_path_says_what_freezes_with_it() -> None:
    hosts = FileSystem("vda1", "/etc/hosts", "ext4")
    coverage = Coverage((hosts, BIND, ROOT, DATA), ("/etc/hosts",))
    assert (coverage.expected, coverage.along) == (1, (BIND, ROOT))
    assert Coverage((ROOT, DATA), ("/data",)).along == ()
    assert Coverage((ROOT, EFI), ("/boot/efi",)).along == ()


# -- mounted over ---------------------------------------------------------------------------


OVER = FileSystem("vdc", "/data", "ext4")


def test_what_another_one_is_mounted_over_can_not_be_reached() -> None:
    coverage = Coverage((OVER, DATA, ROOT))  # as the agent lists them: the last mount first
    assert (coverage.expected, coverage.text) == (2, "2 of 3")
    assert coverage.not_covered == coverage.covered_by_others == (DATA,)
    assert coverage.gaps is not None
    assert "mounted over it: vdb (xfs at /data)" in coverage.gaps
    assert not coverage.full
    assert Coverage((OVER, DATA, ROOT), ("/data",)).text == "1 of 2"


def test_what_is_on_top_decides_whether_it_can_freeze() -> None:
    vfat = FileSystem("vdc", "/data", "vfat")
    assert Coverage((vfat, DATA, ROOT)).expected == 1
    assert Coverage((DATA, vfat, ROOT)).expected == 2


def test_a_list_from_the_root_on_is_read_the_other_way() -> None:
    assert Coverage((ROOT, DATA, OVER)).not_covered == (DATA,)


def test_what_is_below_another_one_and_elsewhere_too_is_reached_there() -> None:
    elsewhere = FileSystem("vdb", "/srv", "xfs")
    assert Coverage((OVER, DATA, elsewhere, ROOT)).text == "3 of 3"


def test_a_mount_on_the_way_hides_what_was_mounted_below_it_before() -> None:
    below = FileSystem("vdb", "/mnt/a/b", "ext4")
    for path, hidden in (("/mnt", True), ("/mnt/a", True), ("/mnt/a/b", True)):
        over = FileSystem("vdc", path, "ext4")
        assert (Coverage((over, below, ROOT)).not_covered == (below,)) is hidden
    for path in ("/", "/mn", "/mnt/a/bc", "/mnt/a/b/c"):
        over = FileSystem("vdc", path, "ext4")
        assert Coverage((over, below, ROOT)).covered_by_others in ((), (ROOT,))
    assert Coverage((below, FileSystem("vdc", "/mnt", "ext4"), ROOT)).gaps is None


def test_a_drive_of_windows_hides_nothing() -> None:
    drives = (FileSystem("1", "C:\\", "NTFS"), FileSystem("2", "C:\\data\\", "NTFS"))
    assert Coverage(drives).text == "2 of 2"


def test_many_mounts_take_no_time() -> None:
    def processor_s(count: int) -> float:
        listed = tuple(FileSystem("vda", f"/{n}/a/b/c/d/e", "ext4") for n in range(count))
        began = time.thread_time()
        assert Coverage(listed).text == "1 of 1"
        return time.thread_time() - began

    few, many = (min(processor_s(count) for _ in range(3)) for count in (512, 8192))
    assert many < 64 * few, "16 times as many take 16 times as long, and not 256 times"


# -- disks ----------------------------------------------------------------------------------


def test_disks_without_a_file_system_are_told_in_the_coverage() -> None:
    coverage = Coverage((ROOT,), disks=("vdb",))
    assert coverage.text == "1 of 1 that the agent knows; vdb is not covered by any"
    assert not coverage.full
    assert Coverage((ROOT,), disks=("b", "c")).text.endswith("b, c are not covered by any")
    assert Coverage((ROOT,), ("/",), disks=("vdb",)).text == "1 of 1"
    for unknown in (None, ()):
        assert Coverage((ROOT,), disks=unknown).text == "1 of 1"
        assert Coverage((ROOT,), disks=unknown).full


# -- FreeBSD --------------------------------------------------------------------------------


BSD = (
    FileSystem("default", "/usr/home", "zfs"),
    FileSystem("tmpfs", "/tmp", "tmpfs"),
    FileSystem("fdescfs", "/dev/fd", "fdescfs"),
    FileSystem("devfs", "/dev", "devfs"),
    FileSystem("rootfs", "/", "ufs"),
)


def test_freebsd_freezes_ufs_and_nothing_else() -> None:
    coverage = Coverage(BSD, system=System.FREEBSD)
    assert (coverage.expected, coverage.text) == (1, "1 of 2")
    assert [one.kind for one in coverage.not_covered] == ["zfs"]
    assert Coverage(BSD[1:], system=System.FREEBSD).full
    assert Coverage((FileSystem("rootfs", "/", "ufs"),)).expected == 0, "on Linux it can't freeze"
    assert Coverage(BSD).text == "1 of 2", "devfs tells whose it is"
    assert Coverage(BSD, system=System.OTHER).not_covered, "unless the guest says otherwise"


@pytest.mark.parametrize(
    ("said", "system"),
    [
        ({"kernel-version": "FreeBSD 14.1-RELEASE-p5 GENERIC"}, System.FREEBSD),
        ({"id": "freebsd"}, System.FREEBSD),
        ({"id": "opnsense", "kernel-version": "?"}, System.FREEBSD),
        ({"name": "pfSense"}, System.FREEBSD),
        ({"id": "debian", "kernel-version": "#1 SMP Debian 6.1.192-2"}, System.OTHER),
        ({"id": "mswindows", "kernel-version": "10.0"}, System.OTHER),
        ({"kernel-version": ["FreeBSD"]}, System.OTHER),
        ({}, System.OTHER),
        (None, System.OTHER),
        ("FreeBSD", System.OTHER),
    ],
)
def test_whose_kernel_it_is(said: object, system: System) -> None:
    assert system_of(said) is system


def test_whose_kernel_it_is_by_what_is_mounted() -> None:
    assert system_by(BSD) is System.FREEBSD
    assert system_by((FileSystem("sdb", "/old", "ufs"), ROOT)) is System.OTHER


# -- paths ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("/mnt/data/", "/mnt/data"),
        ("//mnt//data", "/mnt/data"),
        ("/mnt/./data/.", "/mnt/data"),
        ("/", "/"),
        ("//", "/"),
        ("/mnt/../data", "/mnt/../data"),
        ("/...", "/..."),
        ("C:\\", "C:\\"),
        ("data/", "data/"),
        ("", ""),
    ],
)
def test_a_mount_point_is_named_as_the_guest_names_it(given: str, plain: str) -> None:
    assert plain_path(given) == plain
    assert FreezeRequest((given, plain)).mounts == (plain,)


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
