"""Daemons of libvirt on other hosts: how ssh is started, what it says, and what may be frozen."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from agentclient.access.call_session import AgentGone
from agentclient.backends.libvirt import link
from agentclient.backends.libvirt.backend import LibvirtBackend
from agentclient.backends.libvirt.calls import DomainCalls
from agentclient.backends.libvirt.connections import Connections
from agentclient.backends.libvirt.ends import End
from agentclient.backends.libvirt.link import NotConnected, connected
from agentclient.backends.libvirt.reasons import reason_of
from agentclient.backends.libvirt.ssh import wrapped
from agentclient.backends.libvirt.uris import Uri
from agentclient.jobs.command.request import CommandRequest
from agentclient.model.errors import BadInput
from agentclient.model.meaning import thaw_with_meaning, with_meaning
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.request import FreezeRequest
from agentclient.model.states import Cause, OutcomeKind, Refusal, Stuck
from agentclient.model.vm import FarHost, Vm, VmId
from agentclient.operations.freeze import FreezeOperation
from tests.unit.freeze_harness import FreezeHarness
from tests.unit.test_libvirt_daemon import (
    FREEZE,
    STATUS,
    UUID,
    FakeDomain,
    FakeError,
    FakeHost,
)
from tests.unit.test_libvirt_daemon import host as host  # noqa: PLC0414 - a fixture
from tests.waiting import until

FAR = Uri("qemu+ssh://ops@far:2222/system", named=True)
THERE = "ssh -p 2222 ops@far virsh -c qemu:///system domfsthaw db1"
FAR_VM = Vm(
    VmId("libvirt", "db1", "far"),
    by_call=True,
    far=FarHost("far", FAR.text, THERE),
    uuid=UUID,
    title="db1",
)


VIRSH, SOCKET = "virsh", "qemu:///session?socket=/a%20b"


class NoEnds:
    """Knows of no end of any domain."""

    def end_of(self, _uuid: str, _generation: str) -> End | None:
        return None


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for what can be made anew, which has nothing of ours."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


RESCUED = {Stuck.CHANNEL: "thaw", Stuck.SILENT: "rescue"}


# -- how ssh is started ----------------------------------------------------------------------------


def test_ssh_has_a_session_of_its_own_and_nobody_to_ask(tmp_path: Path) -> None:
    fake = tmp_path / "my ssh"
    told = tmp_path / "told"
    fake.write_text(
        f'#!/bin/sh\necho $$ $(cut -d" " -f6 /proc/$$/stat) $SSH_ASKPASS_REQUIRE "$@" > "{told}"\n'
    )
    fake.chmod(0o755)
    subprocess.run([wrapped(str(fake)), "-T", "far"], check=True)
    pid, session, askpass, *words = told.read_text().split()
    assert (session, askpass) == (pid, "never")
    assert session != str(os.getsid(0))
    assert words[-2:] == ["-T", "far"]
    assert {"ConnectTimeout=10", "ControlMaster=no"} <= set(words)
    assert "ControlPath=none" not in words
    subprocess.run([wrapped(str(fake), alone=True), "far"], check=True)
    assert "ControlPath=none" in told.read_text()


def test_the_script_is_kept_and_made_anew_where_it_is_another(cache: Path) -> None:
    path = Path(wrapped("ssh"))
    assert path.parent == cache / "frostwatch"
    kept = path.stat().st_ino
    assert (wrapped("ssh"), path.stat().st_ino) == (str(path), kept)
    path.write_text("#!/bin/sh\nexit 1\n")
    assert wrapped("ssh") == str(path)
    assert "SSH_ASKPASS_REQUIRE" in path.read_text()
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o700


def test_where_others_can_write_it_is_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(cache / "tmp"))
    (cache / "frostwatch").mkdir()
    (cache / "frostwatch").chmod(0o777)
    path = Path(wrapped("ssh"))
    assert path.parent == cache / "tmp" / f"frostwatch-{os.getuid()}"
    path.parent.chmod(0o722)
    assert wrapped("ssh") == "ssh", "it is started as it is"


@pytest.mark.parametrize(
    ("text", "program", "word", "there"),
    [
        (FAR.text, "ssh", "qemu://far:2222/system", THERE),
        (
            "qemu+ssh://me@far/session?socket=/a%20b&keyfile=/k&command=/x/ssh",
            "/x/ssh",
            "qemu://me@far/session?socket=/a%20b",
            "/x/ssh -i /k me@far " + shlex.quote(f"{VIRSH} -c '{SOCKET}' domfsthaw db1"),
        ),
        (
            "qemu+tls://far:16514/system",
            None,
            "qemu://far:16514/system",
            "ssh far virsh -c qemu:///system domfsthaw db1",
        ),
    ],
)
def test_what_an_address_says(text: str, program: str | None, word: str, there: str) -> None:
    uri = Uri(text, named=True)
    assert (uri.program, uri.word) == (program, word)
    assert uri.virsh_there("domfsthaw", "db1") == there


def test_a_name_with_a_blank_survives_the_shell_there() -> None:
    words = subprocess.run(
        ["sh", "-c", f"set -- {FAR.virsh_there('domfsthaw', 'a b')}; eval set -- $5; echo $5"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert words.stdout == "a b\n"


def test_an_ssh_that_hangs_is_ended_with_all_that_it_has_started(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "OPEN_S", 0.2)
    ways: list[str] = []

    def hanging(way: str) -> FakeHost:
        ways.append(way)
        child = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
        assert child.wait(60.0) == -9
        raise FakeError(38, "Cannot recv data: Connection reset by peer")

    monkeypatch.setattr(host, "open", hanging)
    for _ in range(2):
        with pytest.raises(NotConnected, match=r"far has not let us in within 0\.2 s") as told:
            connected(host.binding(), FAR)
        assert told.value.reason.host
    first, second = (Path(way.partition("command=")[2]).read_text() for way in ways)
    assert ("ControlPath=none" in first, "ControlPath=none" in second) == (False, True)


# -- what it says ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told", "host", "lasting"),
    [
        ("No ED25519 host key is known for far\r\nHost key verification failed.", "by hand", 1, 1),
        ("@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@", "another host key", 1, 1),
        ("ops@far: Permission denied (publickey).", "takes none of our keys", 1, 1),
        ("ssh: Could not resolve hostname far: Name or service not known", "not known here", 1, 1),
        ("ssh: connect to host far port 22: Connection refused", "no sshd listens", 1, 0),
        ("ssh: connect to host far port 22: No route to host", "does not answer", 1, 0),
        ("Connection timed out during banner exchange", "does not answer", 1, 0),
        ("Timeout, server far not responding.", "does not answer", 1, 0),
        ("kex_exchange_identification: Connection closed by remote host", "MaxStartups", 1, 0),
        ("sh: 1: nc: not found", "neither virt-ssh-helper nor nc", 0, 1),
        ("unable to connect to server at '/run/libvirt/libvirt-sock'", "no daemon of", 0, 0),
        ("something else", "; see whether this works: ssh -p 2222 ops@far", 0, 0),
    ],
)
def test_what_ssh_says_is_one_clause_with_what_to_do(
    said: str, told: str, host: int, lasting: int
) -> None:
    reason = reason_of(FAR, f"Cannot recv data: {said}: Connection reset by peer")
    assert told in reason.text
    assert (reason.host, reason.lasting) == (bool(host), bool(lasting))
    assert reason.text.isprintable()
    assert told not in reason_of(Uri("qemu:///system", named=True), "that").text


def test_a_host_that_takes_no_key_is_not_asked_every_two_seconds(host: FakeHost) -> None:
    host.refuses, host.read_only = FakeError(38, "ops@far: Permission denied (publickey)"), True
    far = LibvirtBackend([FAR])
    with pytest.raises(BadInput) as told:
        far.check()
    assert str(told.value).startswith(
        "--connect qemu+ssh://ops@far:2222/system: far takes none of our keys, and no password is "
        "asked for here: see ssh-add -l, and let this work first: ssh -p 2222 ops@far true (since "
    )
    far.subscribe(lambda _: None)
    assert "tried every 30 s" in far.problems()[0]
    assert far.daemons[0].read_only is None, "nobody gets through, who only looks neither"
    (note,) = far.notes()
    assert note.advice is None, "the text says what to do"
    far.close()


def test_a_link_that_is_cut_is_told_as_that(host: FakeHost) -> None:
    far = LibvirtBackend([FAR])
    (vm,) = far.list_vms()
    host.refuses = FakeError(38, "ssh: connect to host far port 2222: No route to host")
    host.closed(host, 1, None)
    until(far.problems)
    assert "the link to far is cut" in far.problems()[0] or "does not answer" in far.problems()[0]
    assert vm.identity is not None
    assert far.has_ended(vm.identity) is None
    host.refuses = None
    until(lambda: far.problems() == ())
    far.close()


# -- what is listed --------------------------------------------------------------------------------


def test_a_domain_of_another_host_is_named_with_it(host: FakeHost) -> None:
    far = LibvirtBackend([FAR])
    (vm,) = far.list_vms()
    assert (str(vm.id), vm.name, vm.title) == ("libvirt:far/db1", "far/db1", "db1")
    assert (vm.by_call, vm.freeze_disabled, vm.far) == (True, None, FAR_VM.far)
    far.close()


def test_one_name_on_several_hosts_is_several_vms(host: FakeHost) -> None:
    addresses = ("qemu+ssh://far/system", "qemu+ssh://near/system", "qemu:///system")
    hosts = LibvirtBackend([Uri(one, named=True) for one in addresses])
    assert {str(vm.id) for vm in hosts.list_vms()} == {
        "libvirt:far/db1",
        "libvirt:near/db1",
        "libvirt:db1",
    }
    assert {vm.far is None for vm in hosts.list_vms() if not vm.id.host} == {True}
    hosts.close()


def test_one_daemon_of_another_host_under_two_addresses_is_listed_once(host: FakeHost) -> None:
    addresses = ("qemu+ssh://far/system", "qemu+ssh://ops@far/system?keyfile=/k")
    twice = LibvirtBackend([Uri(one, named=True) for one in addresses])
    (vm,) = twice.list_vms()
    assert (vm.generation or "").startswith("qemu://far/system#")
    assert vm.far is not None
    assert vm.far.address == addresses[0]
    twice.close()
    other = LibvirtBackend([Uri(one, named=True) for one in (addresses[0], addresses[0] + "/x")])
    assert len(other.list_vms()) == 2
    other.close()


# -- what may be frozen ----------------------------------------------------------------------------


def test_a_freeze_is_not_sent_by_a_connection_that_took_long(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 3))
    # For that module alone: threads that others have left look at the time as well.
    time = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("agentclient.backends.libvirt.calls.time", time)
    calls = DomainCalls(Connections(FAR.text), UUID, f"{FAR.word}#{UUID}#3", NoEnds())
    with pytest.raises(AgentGone, match="it took 3 s to connect: the freeze was not sent"):
        calls.call(FREEZE, None, 60.0)
    assert host.domains[0].asked == []
    calls.call(STATUS, None, 60.0)
    assert len(host.domains[0].asked) == 1, "whatever else is asked is sent"


def test_a_cut_link_says_that_what_was_sent_goes_on(host: FakeHost) -> None:
    def cut() -> str:
        host.alive = False
        raise FakeError(1, "client socket is closed")

    host.domains = [FakeDomain()]
    host.domains[0].answer = cut
    calls = DomainCalls(Connections(FAR.text), UUID, f"{FAR.word}#{UUID}#3", NoEnds())
    with pytest.raises(AgentGone, match=r"link to far is cut.*what was sent goes on there") as told:
        calls.call(FREEZE, None, 60.0)
    assert told.value.cause is Cause.CHANNEL_BROKEN


def test_where_nobody_stands_by_nothing_is_frozen_unless_a_person_insists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = FreezeHarness(monkeypatch)
    context = replace(harness.context(), vm=FAR_VM)
    outcome = FreezeOperation(context, FreezeRequest()).run()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.HOLDER)
    assert outcome.settled
    assert "nobody there would thaw it if the link to far were cut" in outcome.reason
    assert outcome.next == (
        f"if you could do it there yourself ({THERE}): "
        f"frostwatch freeze -c {FAR.text} --remote-hold libvirt:far/db1"
    )
    insisted = FreezeHarness(monkeypatch)
    insisted.access.vm = FAR_VM
    insisted.remote_hold = True
    assert insisted.run().certified


@pytest.mark.parametrize("stuck", [Stuck.CHANNEL, Stuck.SILENT])
@pytest.mark.parametrize("holder", [None, 4711])
def test_what_may_be_frozen_there_names_the_command_for_its_host(
    stuck: Stuck, holder: int | None
) -> None:
    outcome = Outcome(OutcomeKind.LOST, "the link is cut", stuck=stuck, holder=holder)
    step = with_meaning(outcome, FAR_VM).next or ""
    assert step.endswith(f"; while the link to far is cut, there: {THERE}")
    assert holder is not None or f"frostwatch {RESCUED[stuck]} -c {FAR.text} libvirt:far" in step
    settled = with_meaning(outcome._replace(settled=True, stuck=None, holder=None), FAR_VM)
    assert THERE not in (settled.next or "")


def test_a_thaw_that_is_stuck_there_names_it_too() -> None:
    thaw = ThawOutcome(FAR_VM.id, None, None, False, "no link", 9.0, stuck=Stuck.CHANNEL)
    assert (thaw_with_meaning(thaw, FAR_VM).next or "").endswith(THERE)


def test_a_command_that_is_asked_for_again_insists_again() -> None:
    request = CommandRequest(argv=("true",), remote_hold=True)
    assert "--remote-hold" in request.again([FAR_VM])
    assert request.freeze_of(None).remote_hold
    assert not CommandRequest(argv=("true",)).freeze_of(None).remote_hold
