"""A guest under libvirt on another host: the link is cut, comes back, and is never let in."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentclient.engine import Engine
from agentclient.model.events import EventKind
from agentclient.model.snapshot import VmState
from agentclient.model.states import Cause, FreezeState, OutcomeKind, Refusal
from tests.guests.command import ROOT, ended, holders_of, kill_holder_and_console
from tests.guests.cut_link import CutLink
from tests.guests.freezing import in_the_hook
from tests.guests.lab import DomainGuest, Libvirtd
from tests.guests.lab.shell import wait_until
from tests.guests.lab.sshd import HOST, Sshd
from tests.guests.libvirt_operator import DomainOperator
from tests.guests.test_libvirt import assert_certified
from tests.processes import children, told

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

# Libvirt asks for a sign of life every 2 s, and gives up after the third; a loaded machine is late.
NOTICED_S = 60.0
BACK_S = 90.0
A_WHILE_S = 3.0


@pytest.fixture
def far(sshd: Sshd) -> Iterator[CutLink]:
    """The way to the host, whole at first; whatever a test does to the host's ssh is undone."""
    with CutLink(HOST, sshd.port) as link:
        yield link
        link.mend()
    sshd.know_host()
    sshd.accept_key()


@pytest.fixture
def operator(calm_domain: DomainGuest, sshd: Sshd, far: CutLink) -> Iterator[DomainOperator]:
    """Somebody with frostwatch, who reaches the module's guest by that way alone."""
    with DomainOperator(calm_domain, sshd.uri(far.port)) as somebody:
        yield somebody


def drop(_sshd: Sshd, link: CutLink) -> Callable[[], None]:
    """Cut the link, and tell both ends: the network is reset."""
    link.cut()
    link.drop()
    return link.mend


def pull(_sshd: Sshd, link: CutLink) -> Callable[[], None]:
    """Cut the link, and tell nobody: a cable is pulled."""
    link.cut()
    return link.mend


def kill(sshd: Sshd, _link: CutLink) -> Callable[[], None]:
    """Kill what serves the connections there: the next one is let in."""
    sshd.kill_sessions()
    return lambda: None


def stop(sshd: Sshd, _link: CutLink) -> Callable[[], None]:
    """Have the host hang."""
    sshd.signal(signal.SIGSTOP)
    return lambda: sshd.signal(signal.SIGCONT)


WAYS = [drop, pull, kill, stop]


@pytest.mark.parametrize("cut", WAYS, ids=[one.__name__ for one in WAYS])
def test_cut_in_the_hook_the_freeze_goes_on_there_and_is_thawed_when_the_link_is_back(
    operator: DomainOperator,
    calm_domain: DomainGuest,
    sshd: Sshd,
    far: CutLink,
    cut: Callable[[Sshd, CutLink], Callable[[], None]],
) -> None:
    running = in_the_hook(calm_domain, operator, 1.5, thaw_timeout_s=BACK_S, hold_s=0.5)
    mend = cut(sshd, far)
    try:
        verdict = running.verdict(NOTICED_S)
        assert (verdict.kind, verdict.cause) == (OutcomeKind.LOST, Cause.CHANNEL_BROKEN)
        assert "the link to 127.0.0.1 is cut" in verdict.reason, running.texts
        assert "what was sent goes on there" in running.texts
        if cut is not kill:  # whose thaw may have come by now
            frozen = {"a", "b"}
            wait_until(lambda: calm_domain.frozen_mounts() == frozen, NOTICED_S, "the freeze there")
            time.sleep(A_WHILE_S)
            assert calm_domain.frozen_mounts() == frozen, "nobody there thaws it"
    finally:
        mend()
    outcome = running.outcome(2 * BACK_S)
    assert outcome.settled, running.texts
    calm_domain.assert_thawed()


@pytest.mark.parametrize("cut", WAYS, ids=[one.__name__ for one in WAYS])
def test_cut_while_held_it_stays_frozen_there_and_is_thawed_when_the_link_is_back(
    operator: DomainOperator,
    calm_domain: DomainGuest,
    sshd: Sshd,
    far: CutLink,
    cut: Callable[[Sshd, CutLink], Callable[[], None]],
) -> None:
    running = operator.freeze(hold_s=1.0, thaw_timeout_s=BACK_S)
    running.wait_event(EventKind.HELD)
    mend = cut(sshd, far)
    try:
        if cut is not kill:
            time.sleep(A_WHILE_S)
            assert calm_domain.frozen_mounts() == {"a", "b"}
    finally:
        mend()
    outcome = running.outcome(2 * BACK_S)
    assert (outcome.frozen, outcome.thawed, outcome.settled) == (2, 2, True), running.texts
    calm_domain.assert_thawed()


def test_what_stays_cut_is_left_to_the_holder_with_the_command_for_its_host(
    operator: DomainOperator, calm_domain: DomainGuest, sshd: Sshd, far: CutLink
) -> None:
    running = operator.freeze(hold_s=0.5, thaw_timeout_s=4.0)
    running.wait_event(EventKind.HELD)
    far.cut()
    far.drop()
    outcome = running.outcome(BACK_S)
    assert not outcome.settled
    assert outcome.holder is not None
    assert outcome.next is not None
    there = operator.vm.far.thaw if operator.vm.far is not None else ""
    assert outcome.next.endswith(f"; while the link to {HOST} is cut, there: {there}")
    assert calm_domain.frozen_mounts() == {"a", "b"}
    # What a person would do on another way than the one that is cut.
    way = there.replace(f"-p {far.port}", f"-p {sshd.port}")
    subprocess.run(["sh", "-c", way], check=True, capture_output=True, timeout=NOTICED_S)
    calm_domain.assert_thawed()
    far.mend()


# -- consoles that die ---------------------------------------------------------------------------


def frostwatch(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tui.main", *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def frozen_by(uri: str, vm: str) -> subprocess.Popen[str]:
    """Return a console that holds a freeze."""
    words = ("-c", uri, "freeze", "--remote-hold", vm, "--hold", "100", "--json")
    console = frostwatch(*words)
    assert console.stdout is not None
    told = []
    for line in console.stdout:
        told.append(line)
        if '"event": "held"' in line:
            return console
    said = console.stderr.read() if console.stderr is not None else ""
    pytest.fail(f"it ended without a window: {told} {said}")


def test_a_console_that_is_killed_while_the_link_is_cut_leaves_it_to_its_holder(
    calm_domain: DomainGuest, sshd: Sshd, far: CutLink
) -> None:
    uri = sshd.uri(far.port)
    with frozen_by(uri, f"libvirt:{HOST}/db1") as console:
        (holder,) = holders_of(console.pid)
        far.cut()
        far.drop()
        console.kill()
    time.sleep(A_WHILE_S)
    assert calm_domain.frozen_mounts() == {"a", "b"}
    far.mend()
    wait_until(lambda: calm_domain.hook_log()[-1:] == ["thaw"], BACK_S, "the holder's thaw")
    calm_domain.assert_thawed()
    wait_until(lambda: not Path(f"/proc/{holder}/cmdline").exists(), BACK_S, "the holder's end")


def test_what_console_and_holder_have_left_there_is_ours_to_thaw(
    calm_domain: DomainGuest, sshd: Sshd, far: CutLink
) -> None:
    uri, vm = sshd.uri(far.port), f"libvirt:{HOST}/db1"
    with frozen_by(uri, vm) as console:
        time.sleep(0.5)  # what is told stands in the journal a moment later
        far.cut()
        far.drop()
        kill_holder_and_console(console.pid)
    far.mend()
    assert calm_domain.frozen_mounts() == {"a", "b"}
    code, lines, said = ended(frostwatch("-c", uri, "list", "--json"))
    assert code == 0, said
    (line,) = [one for one in lines if one["id"] == vm]
    assert (line["host"], line["name"]) == (HOST, "db1")
    assert line["freeze"]["left_by"], line
    code, lines, said = ended(frostwatch("-c", uri, "thaw", vm, "--json"))
    assert code == 0, f"{lines} {said}"
    calm_domain.assert_thawed()


# -- what is in the way --------------------------------------------------------------------------


def refused(uri: str) -> str:
    """Return why a daemon that was named can't be reached; it is one sentence."""
    code, told, said = ended(frostwatch("-c", uri, "list", "--json"))
    assert (code, told) == (2, [])
    assert said.startswith(f"frostwatch: --connect {uri}: ")
    assert len(said.strip().splitlines()) == 1
    return said


def test_whoever_is_not_let_in_is_told_why_in_one_sentence(
    libvirtd: Libvirtd, sshd: Sshd, far: CutLink
) -> None:
    uri = sshd.uri(far.port)
    sshd.forget_host()
    assert "the host key of 127.0.0.1 is not known here: connect once by hand" in refused(uri)
    sshd.know_host()
    sshd.refuse_keys()
    assert "takes none of our keys, and no password is asked for here" in refused(uri)
    sshd.accept_key()
    nowhere = f"{uri}&socket=/nowhere"
    # A socket of its own is reached by nc, which the lab has not.
    assert "neither virt-ssh-helper nor nc" in refused(nowhere)
    system = uri.replace("/session", "/system")
    assert "no daemon of libvirt answers on 127.0.0.1" in refused(system)
    far.cut()
    assert "127.0.0.1 does not answer" in refused(uri)
    far.close()
    assert "no sshd listens on 127.0.0.1" in refused(uri)


def test_nobody_on_the_way_asks_at_the_terminal(
    libvirtd: Libvirtd, sshd: Sshd, far: CutLink, tmp_path: Path
) -> None:
    """A host to be jumped over asks whether its key is right, whatever its own ssh was told."""
    jumping = tmp_path / "ssh"
    config = tmp_path / "config"
    own = (sshd.folder / "config").read_text()
    jump = f"Host jump\nHostName {HOST}\nPort {sshd.port}\nUser {sshd.user}\nHostKeyAlias unknown\n"
    config.write_text(f"{jump}Host *\n{own}")
    jumping.write_text(f'#!/bin/sh\nexec ssh -F {config} -J jump "$@"\n')
    jumping.chmod(0o755)
    uri = sshd.uri(program=jumping)
    by_hand = [str(jumping), "-p", str(sshd.port), f"{sshd.user}@{HOST}", "true"]
    assert "Are you sure you want to continue" in on_terminal(by_hand, until=b"continue")
    told = on_terminal([sys.executable, "-m", "tui.main", "-c", uri, "list"])
    assert "Are you sure" not in told
    assert "the host key of 127.0.0.1 is not known here" in " ".join(told.split()), told


def on_terminal(command: list[str], until: bytes = b"\0") -> str:
    """Return what a command, and what it has started, have written to its terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execvp(command[0], command)
    said, end = b"", time.monotonic() + NOTICED_S
    try:
        while time.monotonic() < end and until not in said:
            if not select.select([terminal], [], [], 0.5)[0]:
                continue
            try:
                said += os.read(terminal, 1 << 16)
            except OSError:  # the last one has closed it
                break
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)
    return said.decode(errors="replace")


def test_ctrl_c_in_our_terminal_does_not_cut_the_link(
    operator: DomainOperator, calm_domain: DomainGuest, sshd: Sshd
) -> None:
    running = operator.freeze(hold_s=60.0)
    running.wait_event(EventKind.HELD)
    own = own_ssh(os.getpid(), sshd)
    assert own
    assert all(session_and_terminal(pid) == (pid, 0) for pid in own)
    running.operation.cancel()
    assert_certified(running)


def own_ssh(parent: int, sshd: Sshd) -> list[int]:
    """Return the processes of a process's own ssh that lead there."""
    config = str(sshd.folder / "config")
    return [pid for pid in children(parent) if config in told(pid, "cmdline")]


def session_and_terminal(pid: int) -> tuple[int, int]:
    """Return a process's session, and its controlling terminal; 0 if it has none (proc(5))."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[3]), int(words[4])


# -- several hosts -------------------------------------------------------------------------------


def test_one_guest_by_two_ways_is_two_rows_that_agree(
    libvirtd: Libvirtd, calm_domain: DomainGuest, sshd: Sshd, tmp_path: Path
) -> None:
    """As its host's own daemon and that of another host would show it: with its UUID in both."""
    connect = [libvirtd.uri, sshd.uri()]

    def rows(engine: Engine) -> dict[str, VmState]:
        mine = (one for one in engine.states() if one.vm.source == "libvirt")
        return {str(one.id): one for one in mine if one.vm.title == "db1"}

    with Engine(connect=connect, journal=tmp_path / "journal.db") as engine:
        engine.watch()
        ids = {"libvirt:db1", f"libvirt:{HOST}/db1"}
        wait_until(lambda: set(rows(engine)) == ids, NOTICED_S, "both rows")
        near, far = (rows(engine)[one].vm for one in sorted(ids, key=len))
        assert near.uuid == far.uuid
        assert (near.far, far.far is not None) == (None, True)
        refusal = engine.freeze(far).wait(NOTICED_S)
        assert getattr(refusal, "refusal", None) is Refusal.HOLDER, "nobody has insisted"
        calm_domain.daemon.virsh("domfsfreeze", "db1")
        for vm in (near, far):
            engine.watcher.visit_soon(vm.id)
        frozen = FreezeState.FROZEN
        wait_until(
            lambda: all(one.freeze.state is frozen for one in rows(engine).values()),
            NOTICED_S,
            "both to be frozen",
        )
        calm_domain.daemon.virsh("domfsthaw", "db1")
