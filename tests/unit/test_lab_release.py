"""Which Debian the lab boots, decided without one."""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

import pytest

from tests.guests.lab import kernel, release
from tests.guests.lab.packages import Resolved, resolve
from tests.guests.lab.release import HOMES, VARIABLE, Release, wanted


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A Debian 12 with a cache of its own."""
    monkeypatch.setattr(release, "own_codename", lambda: "bookworm")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return monkeypatch


def test_nothing_said_is_the_machines_own(machine: pytest.MonkeyPatch) -> None:
    assert wanted() == Release("bookworm", own=True)
    machine.setenv(VARIABLE, "")
    assert wanted() == Release("bookworm", own=True)
    machine.setenv(VARIABLE, "bookworm")
    assert wanted() == Release("bookworm", own=True)


def test_the_other_home_is_the_one_that_this_machine_is_not(machine: pytest.MonkeyPatch) -> None:
    machine.setenv(VARIABLE, "other")
    assert wanted() == Release("trixie", own=False)
    machine.setattr(release, "own_codename", lambda: "trixie")
    assert wanted() == Release("bookworm", own=False)
    for stranger in ("", "sid", "noble"):
        machine.setattr(release, "own_codename", lambda name=stranger: name)
        assert wanted() == Release(HOMES[0], own=False)


def test_a_guest_may_say_which(machine: pytest.MonkeyPatch) -> None:
    machine.setenv(VARIABLE, "other")
    assert wanted("bookworm") == Release("bookworm", own=True)
    assert wanted("bullseye") == Release("bullseye", own=False)


def test_each_release_has_a_folder_of_its_own(machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = tmp_path / "frostwatch" / "lab"
    assert wanted().folder == cache
    assert wanted("trixie").folder == cache / "releases" / "trixie"


def test_where_home_can_not_be_written_the_cache_is_beside_the_code(
    machine: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine.setattr("os.access", lambda path, _: path != tmp_path)
    beside = Path(__file__).parents[2] / ".venv" / "lab"
    assert wanted().folder == beside
    machine.delenv("XDG_CACHE_HOME")
    machine.setenv("HOME", str(tmp_path / "absent"))
    assert wanted().folder == beside


@pytest.mark.parametrize(
    "memory", ['["a_1_amd64.deb"]', "{", "null", '{"guest": ["a"]}', '{"guest": 1, "qemu": 2}']
)
def test_a_list_of_another_kind_is_asked_for_again(
    machine: pytest.MonkeyPatch, memory: str
) -> None:
    found = Resolved(("kernel_1_amd64.deb",))
    machine.setattr("tests.guests.lab.packages._ask_apt", lambda _: found)
    own = wanted()
    own.folder.mkdir(parents=True)
    (own.folder / "resolved.json").write_text(memory)
    assert resolve(own) == found
    machine.setattr("tests.guests.lab.packages._ask_apt", lambda _: Resolved(()))
    assert resolve(own) == found, "it is remembered"


def test_a_kernel_in_zstd_is_unpacked() -> None:
    content = b"\x7fELF" + bytes(5000) + b"the end"
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compress.restype = ctypes.c_size_t
    room = ctypes.create_string_buffer(10000)
    size = library.ZSTD_compress(
        room, ctypes.c_size_t(10000), content, ctypes.c_size_t(len(content)), 3
    )
    payload = room.raw[:size] + struct.pack("<I", len(content))
    head = bytearray(1024)
    head[0x1F1] = 1
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    assert kernel.unpacked(bytes(head) + payload) == content
    assert kernel.unpacked(bytes(head) + payload[:-40]) is None
