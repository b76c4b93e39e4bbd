"""Which disks hold no file system that the agent knows."""

from __future__ import annotations

import pytest

from agentclient.freeze.disks import without_file_systems, writable_disks
from agentclient.protocol.qga_replies import Disk

VDA, VDB, VDC = (Disk(f"/dev/vd{letter}", False, ()) for letter in "abc")
VDA1 = Disk("/dev/vda1", True, ("/dev/vda",))
VDB1 = Disk("/dev/vdb1", True, ("/dev/vdb",))


def test_a_disk_on_which_nothing_is_known_is_named() -> None:
    assert without_file_systems([VDA, VDA1, VDB], ["/dev/vda1"]) == ("vdb",)
    assert without_file_systems([VDC, VDB, VDA], ["/dev/vda"]) == ("vdb", "vdc")
    assert without_file_systems([VDA, VDB, VDB1], ["/dev/vda"]) == ("vdb",), "a raw partition"
    assert without_file_systems([VDA, VDB], ["/dev/vda", "/dev/vdb"]) == ()


def test_what_a_volume_is_made_of_is_known() -> None:
    root = Disk("/dev/dm-0", False, ("/dev/md0",))
    array = Disk("/dev/md0", False, ("/dev/vda1", "/dev/vdb1"))
    found = [VDA, VDA1, VDB, VDB1, VDC, array, root]
    assert without_file_systems(found, ["/dev/dm-0"]) == ("vdc",)


def test_a_volume_without_a_file_system_is_told_by_its_disk() -> None:
    swap = Disk("/dev/dm-1", False, ("/dev/vdb",))
    assert without_file_systems([VDA, VDB, swap], ["/dev/vda"]) == ("vdb",)


@pytest.mark.parametrize("name", ["loop0", "ram15", "zram0", "sr0", "fd0", "nbd3"])
def test_what_is_no_disk_of_the_vm_is_left_out(name: str) -> None:
    other = Disk(f"/dev/{name}", False, ())
    assert without_file_systems([VDA, other], ["/dev/vda"]) == ()


def test_lists_that_do_not_match_tell_nothing() -> None:
    assert without_file_systems([VDA, VDB], ["/dev/gpt/rootfs"]) is None
    assert without_file_systems([], ["/dev/vda"]) is None


def test_dependencies_in_a_circle_end() -> None:
    one, two = Disk("/dev/dm-0", False, ("/dev/dm-1",)), Disk("/dev/dm-1", False, ("/dev/dm-0",))
    assert without_file_systems([one, two], ["/dev/dm-0"]) == ()


def test_windows_names_its_disks_in_both_lists() -> None:
    disks = [Disk(rf"\\.\PhysicalDrive{number}", False, ()) for number in (0, 1)]
    assert without_file_systems(disks, [r"\\.\PhysicalDrive0"]) == (r"\\.\PhysicalDrive1",)


def test_the_writable_disks_of_qemu() -> None:
    value = [
        {"device": "drive-virtio0", "qdev": "/machine/a", "removable": False,
         "inserted": {"ro": False}},
        {"device": "", "qdev": "/machine/b", "removable": False,
         "inserted": {"ro": False, "node-name": "data"}},
        {"device": "drive-ide2", "removable": True, "inserted": {"ro": False}},
        {"device": "drive-ro", "removable": False, "inserted": {"ro": True}},
        {"device": "pflash1", "removable": False, "inserted": {"ro": False}},
        {"device": "drive-efidisk0", "qdev": "/machine/system.flash1", "removable": False,
         "inserted": {"ro": False}},
        {"device": "empty", "removable": True},
        "junk",
    ]  # fmt: skip
    assert writable_disks(value) == ("data", "drive-virtio0")
    assert writable_disks({}) is None
