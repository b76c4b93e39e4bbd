"""The parts of the backend ``libvirt`` that need no libvirt: addresses, errors, XML, figures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentclient.backends.base import LIBVIRT, merge
from agentclient.backends.libvirt.domain_xml import Channel, channel_of
from agentclient.backends.libvirt.ends import MOST, End, ToldEnds
from agentclient.backends.libvirt.error_codes import Trouble, trouble_of
from agentclient.backends.libvirt.generation import (
    daemon_of,
    generation_of,
    number_of,
    process_of_start,
    uuid_of,
    was_to_take_a_guest,
)
from agentclient.backends.libvirt.uris import SYSTEM, Uri, wanted
from agentclient.backends.libvirt.watched_domain import WatchedDomain, run_state_of
from agentclient.model.errors import BadInput
from agentclient.model.states import RunState
from agentclient.model.vm import LIBVIRT_SOURCE, Process, Vm, VmId
from tests.processes import killed_on_failure

UUID = "46eb9f11-4b64-487c-8a8b-f8abfa3617e3"


# -- addresses -------------------------------------------------------------------------------------


def test_what_is_named_counts_then_the_variable_then_this_systems_own(tmp_path: Path) -> None:
    variable = {"LIBVIRT_DEFAULT_URI": "qemu:///session"}
    named = ("qemu+ssh://root@host/system", SYSTEM, SYSTEM)
    assert wanted(named, variable, tmp_path) == (Uri(named[0], True), Uri(SYSTEM, True))
    assert wanted((), variable, tmp_path) == (Uri("qemu:///session", True),)
    assert wanted((), {}, tmp_path) == ()
    (tmp_path / "virtqemud-sock").touch()
    assert wanted((), {}, tmp_path) == (Uri(SYSTEM, False),)


@pytest.mark.parametrize(
    "address", ["nonsense", "qemu:/system", "qemu:///sys tem", "qemu://[/system", "qemu:///\x1b[1m"]
)
def test_what_is_no_address_is_refused_in_one_sentence(address: str) -> None:
    with pytest.raises(BadInput, match="is no address of libvirt's") as error:
        wanted((address,), {})
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("address", "host", "folder"),
    [
        ("qemu:///system", "", "/run/libvirt/qemu"),
        ("qemu:///session", "", "/run/user/7/libvirt/qemu/run"),
        ("qemu:///session?socket=/a/libvirt-sock", "", "/a/qemu/run"),
        ("qemu+ssh://me@far:22/system", "far", None),
        ("test:///default", "", None),
    ],
)
def test_where_a_daemon_is(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str, folder: str | None
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    uri = Uri(address, True)
    assert (uri.host, uri.run_folder) == (host, None if folder is None else Path(folder))


def test_nobody_is_asked_for_a_password_under_the_console() -> None:
    assert Uri("qemu+ssh://far/system", True).address == "qemu+ssh://far/system?no_tty=1"
    assert Uri("qemu+ssh://far/system?a=b", True).address.endswith("?a=b&no_tty=1")
    asked = "qemu+libssh2://far/system?no_tty=0&a=b"
    assert Uri(asked, True).address == "qemu+libssh2://far/system?a=b&no_tty=1"
    assert Uri("qemu:///system", True).address == "qemu:///system"


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "connected", "trouble"),
    [
        (1, True, Trouble.UNSURE),  # an agent's error before libvirt 11.2, or its channel's end
        (113, True, Trouble.ANSWERED),  # the same, since then
        (1, False, Trouble.DAEMON),  # a connection that has ended
        (38, True, Trouble.DAEMON),
        (42, True, Trouble.DOMAIN),
        (55, True, Trouble.NOT_RUNNING),
        (68, True, Trouble.BUSY),
        (86, True, Trouble.AGENT),
        (112, True, Trouble.AGENT),
        (29, True, Trouble.FORBIDDEN),
        (9999, True, Trouble.OTHER),
        (86, False, Trouble.DAEMON),
    ],
)
def test_an_error_is_told_by_its_code_and_the_connection(
    code: int, connected: bool, trouble: Trouble
) -> None:
    assert trouble_of(code, connected=connected) is trouble


# -- what is seen of a domain ----------------------------------------------------------------------


def xml(*channels: str) -> str:
    return f"<domain><devices>{''.join(channels)}</devices></domain>"


AGENT = (
    "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='{}'/>"
    "<alias name='channel0'/></channel>"
)
SPICE = "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>"


def test_the_agents_channel_is_found_among_others() -> None:
    assert channel_of(xml(SPICE, AGENT.format("connected"))) == Channel("channel0", True)
    assert channel_of(xml(AGENT.format("disconnected"))) == Channel("channel0", False)
    assert channel_of(xml(AGENT.format("odd"))) == Channel("channel0", None)
    assert channel_of(xml(SPICE)) is None
    with pytest.raises(ValueError, match="can't be read"):
        channel_of("<domain>")


def watched() -> WatchedDomain:
    return WatchedDomain(UUID, "db1", 3, f"{SYSTEM}#{UUID}#3")


def test_an_opening_after_an_opening_is_a_restart_that_nobody_saw() -> None:
    domain = watched()
    domain.take_channel(Channel("channel0", True))
    before = domain.view.openings
    domain.take_port(is_open=True)
    assert (domain.view.port_open, domain.view.openings) == (True, (before or 0) + 1)


def test_what_has_changed_while_nothing_was_heard_counts_as_one_change() -> None:
    domain = watched()
    domain.take_channel(Channel("channel0", True))
    before = domain.openings
    domain.take_channel(Channel("channel0", True))
    assert domain.openings == before
    domain.take_channel(Channel("channel0", False))
    assert (domain.openings, domain.port_open) == (before + 1, False)


def test_writes_are_those_to_all_disks_and_an_empty_drive_writes_nothing() -> None:
    domain = watched()
    figures = {"state.state": 1, "state.reason": 1, "block.count": 3}
    domain.take_statistics({**figures, "block.0.wr.bytes": 5, "block.2.wr.bytes": 7}, 1.0)
    assert (domain.view.run_state, domain.view.written_bytes) == (RunState.RUNNING, 12)
    domain.take_statistics({"state.state": 3, "state.reason": 1}, 2.0)
    assert (domain.view.run_state, domain.view.written_bytes) == (RunState.PAUSED, None)


def test_a_pause_has_its_reason() -> None:
    assert run_state_of(3, 5) is RunState.IO_ERROR
    assert run_state_of(3, 2) is RunState.MIGRATING
    assert run_state_of(3, 10) is RunState.PANICKED
    assert run_state_of(7, 0) is RunState.SUSPENDED
    assert run_state_of(99, 0) is RunState.UNKNOWN


def test_a_qemu_that_ends_is_no_guest_that_has_shut_down() -> None:
    """One whose guest has migrated ends as well (seen on libvirt 11.3)."""
    for state, reason in ((4, 0), (3, 8), (5, 0)):
        domain = watched()
        domain.take_statistics({"state.state": 3, "state.reason": 2}, 1.0)
        domain.take_statistics({"state.state": state, "state.reason": reason}, 2.0)
        assert (domain.view.run_state, domain.view.gone) == (RunState.UNKNOWN, None)
        domain.powered_off = True
        seen = [domain.view.run_state]
        domain.take_statistics({"state.state": 1, "state.reason": 1}, 3.0)
        assert [*seen, domain.view.run_state] == [RunState.SHUTDOWN, RunState.RUNNING]


def test_a_word_for_a_start_has_its_daemon_its_domain_and_its_number() -> None:
    word = f"{SYSTEM}#{UUID}#3#4711.99"
    assert (daemon_of(word), uuid_of(word), number_of(word)) == (SYSTEM, UUID, 3)
    assert (uuid_of("odd"), number_of("odd")) == ("", -1)


@pytest.mark.parametrize(
    ("words", "takes"), [(["-incoming", "defer"], True), (["-S"], False), (["-loadvm", "x"], None)]
)
def test_a_process_that_was_started_to_take_a_guest_says_so(
    words: list[str], takes: bool | None
) -> None:
    sleeps = [sys.executable, "-I", "-S", "-c", "input()", *words]
    with killed_on_failure(subprocess.Popen(sleeps, stdin=subprocess.PIPE)) as child:
        while not Path(f"/proc/{child.pid}/cmdline").read_bytes():
            pass  # the kernel is about to write it
        assert was_to_take_a_guest(f"{SYSTEM}#{UUID}#3#{child.pid}.99") is takes
        child.kill()
    assert was_to_take_a_guest(f"{SYSTEM}#{UUID}#3") is None
    assert was_to_take_a_guest(f"{SYSTEM}#{UUID}#3#0.0") is None


# -- one row ---------------------------------------------------------------------------------------


def test_a_domain_that_is_seen_as_a_process_is_one_row() -> None:
    domain = Vm(VmId(LIBVIRT_SOURCE, "db1"), uuid=UUID, generation="x", by_call=True)
    far = domain._replace(id=VmId(LIBVIRT_SOURCE, "db1", "far"))
    process = Vm(
        VmId("qemu", "db1@libvirt-qemu"), process=Process(7, 8), out_of_reach=LIBVIRT, domain=UUID
    )
    other = Vm(VmId("qemu", "web"), process=Process(9, 8), uuid=UUID)
    assert merge([[domain], [process, other]]) == [[domain], [other]]
    assert merge([[far], [process]]) == [[far], [process]], "it is another host's"


def _start_with(folder: Path, name: str = "db1") -> str:
    """Return what is told of the process of a domain whose daemon keeps its numbers in a folder."""
    domain = SimpleNamespace(UUIDString=lambda: UUID, ID=lambda: 3, name=lambda: name)
    uri = Uri(f"qemu:///system?socket={folder.parent}/sock", named=True)
    return process_of_start(generation_of(domain, uri))


def test_a_start_is_told_by_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "qemu"
    folder.mkdir()
    assert _start_with(folder) == ""
    (folder / "db1.pid").write_text(f"{os.getpid()}\n")
    assert _start_with(folder).startswith(f"{os.getpid()}.")


@pytest.mark.parametrize("what", ["pipe", "device", "link", "no number", "outside"])
def test_what_a_daemon_of_anybodys_puts_in_its_folder_does_no_harm(
    tmp_path: Path, what: str
) -> None:
    folder = tmp_path / "qemu"
    folder.mkdir()
    (tmp_path / "own.pid").write_text(f"{os.getpid()}")
    path = folder / "db1.pid"
    match what:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "link":
            path.symlink_to(tmp_path / "own.pid")
        case "no number":
            path.write_bytes(b"\xff" * 100)
    assert _start_with(folder, "../own" if what == "outside" else "db1") == ""


# -- how a start has ended -------------------------------------------------------------------------

FIRST, SECOND = "qemu:///system#u#3", "qemu:///system#u#4"


def test_an_end_is_that_of_the_start_that_ran() -> None:
    told = ToldEnds()
    told.runs(FIRST)
    told.on_stopped("u", End.MOVED)
    told.on_started("u", 4)
    told.runs(SECOND)
    told.on_stopped("u", End.GONE)
    assert (told.get(FIRST), told.get(SECOND)) == (End.MOVED, End.GONE)


def test_the_next_start_may_be_seen_before_the_end_is_heard() -> None:
    told = ToldEnds()
    told.runs(FIRST)
    told.runs(SECOND)
    told.on_stopped("u", End.MOVED)
    assert (told.get(FIRST), told.get(SECOND)) == (End.MOVED, None)
    told.on_started("u", 4)
    told.on_stopped("u", End.GONE)
    assert told.get(SECOND) is End.GONE


def test_an_end_may_be_heard_before_its_start_is_seen() -> None:
    told = ToldEnds()
    told.on_stopped("u", End.MOVED)
    told.runs(FIRST)
    told.runs(FIRST)
    assert told.get(FIRST) is End.MOVED
    told.on_started("u", 4)
    told.on_stopped("u", End.GONE)
    told.on_started("u", 5)
    told.runs(SECOND)
    assert (told.get(FIRST), told.get(SECOND)) == (End.MOVED, End.GONE)


def test_what_may_have_been_missed_is_not_known() -> None:
    told = ToldEnds()
    told.runs(FIRST)
    told.miss()
    told.on_stopped("u", End.GONE)
    assert told.get(FIRST) is None
    told.runs(SECOND)
    assert told.get(SECOND) is End.GONE, "the answer that has shown it is older"


def test_ends_are_not_remembered_without_bound() -> None:
    told = ToldEnds()
    for number in range(MOST + 10):
        told.runs(f"uri#u{number}#1")
        told.on_stopped(f"u{number}", End.GONE)
    assert told.get("uri#u0#1") is None
    assert told.get(f"uri#u{MOST}#1") is End.GONE
