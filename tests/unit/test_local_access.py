"""The shared handles: nothing is connected by making them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from agentclient.access.access_pool import AccessPool, open_local
from agentclient.access.local_access import ANOTHERS_MONITOR
from agentclient.access.monitor import Monitor
from agentclient.access.presence import Server
from agentclient.access.stream import UnixEndpoint
from agentclient.journal.identity import this_process
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState
from agentclient.model.vm import AgentChannel, MonitorChannel, Process, Vm, VmId

VM = Vm(
    VmId("qemu", "db"),
    AgentChannel(Path("/run/x.qga")),
    MonitorChannel(Path("/run/x.qmp")),
    Process(1, 1),
)


def test_a_link_goes_where_the_vm_says() -> None:
    access = open_local(VM)
    assert isinstance(access.agent, UnixEndpoint)
    assert access.agent.path == Path("/run/x.qga")
    assert isinstance(access.monitor, Monitor)
    assert open_local(VM._replace(agent=None)).agent is None


def test_without_a_monitor_nothing_is_known() -> None:
    access = open_local(VM._replace(monitor=None, process=None))
    assert access.monitor is None
    assert access.observe() == MonitorView(problem="no monitor")
    access.close()


def test_whoever_has_the_sockets_of_a_process_that_has_ended_is_not_asked() -> None:
    view = open_local(VM).observe()
    assert (view.gone, view.run_state) == (True, RunState.GONE)
    assert view.problem == "the VM's process has ended"


def test_all_users_of_a_vm_share_its_link_and_its_lock() -> None:
    accesses = AccessPool()
    access = accesses.of(VM)
    assert accesses.of(VM._replace(locked_by="backup")) is access
    other = accesses.of(VM._replace(id=VmId("qemu", "other")))
    assert other is not access
    assert other.channel_lock is not access.channel_lock


@pytest.mark.parametrize(
    "changes",
    [
        {"process": Process(2, 1)},
        {"agent": AgentChannel(Path("/run/y.qga"))},
        {"monitor": None},
    ],
)
def test_a_vm_that_is_reached_otherwise_gets_a_new_link(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    closed: list[object] = []
    monkeypatch.setattr(Monitor, "close", lambda monitor: closed.append(monitor))
    accesses = AccessPool()
    old = accesses.of(VM)
    new_vm = VM._replace(**changes)
    new = accesses.of(new_vm)
    assert new is not old
    assert new.vm == new_vm
    assert accesses.of(new_vm) is new
    assert closed == [old.monitor]


def test_nobody_waits_for_the_end_of_an_old_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is begun on a thousand VMs is not to wait for one whose monitor hangs (P8)."""
    accesses, other = AccessPool(), VM._replace(id=VmId("qemu", "other"))
    asked: list[threading.Thread] = []

    def close(_: Monitor) -> None:
        asked.append(threading.Thread(target=accesses.of, args=(other,), daemon=True))
        asked[-1].start()
        asked[-1].join(60.0)

    accesses.of(VM)
    monkeypatch.setattr(Monitor, "close", close)
    accesses.of(VM._replace(process=Process(2, 1)))
    assert [one.is_alive() for one in asked] == [False]


def test_what_is_forgotten_is_closed_and_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []
    monkeypatch.setattr(Monitor, "close", lambda monitor: closed.append(monitor))
    accesses = AccessPool()
    old = accesses.of(VM)
    accesses.forget(VM.id)
    accesses.forget(VM.id)
    assert closed == [old.monitor]
    assert accesses.of(VM) is not old


def test_closing_closes_them_all_whatever_one_of_them_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[object] = []

    def close(monitor: Monitor) -> None:
        closed.append(monitor)
        raise OSError("broken")

    monkeypatch.setattr(Monitor, "close", close)
    accesses = AccessPool()
    accesses.of(VM)
    accesses.of(VM._replace(id=VmId("qemu", "other")))
    accesses.close()
    assert len(closed) == 2
    accesses.close()
    assert len(closed) == 2


# -- whose monitor it is -----------------------------------------------------------------------

SEEN = MonitorView(RunState.RUNNING, port_open=True, client=True, reads=5)
BEFORE = SEEN._replace(client=False, reads=4)
ONE = Process(70, 1)


@pytest.mark.parametrize(
    ("agents", "monitors", "view", "counts"),
    [
        pytest.param(None, None, SEEN, True, id="it shows us, and that we were read"),
        pytest.param(None, None, SEEN._replace(client=False), False, id="it shows nobody"),
        pytest.param(None, None, SEEN._replace(client=None), False, id="it knows no such channel"),
        pytest.param(None, None, SEEN._replace(reads=4), False, id="somebody, who was not read"),
        pytest.param(None, None, SEEN._replace(reads=None), True, id="reads can't be seen"),
        pytest.param(ONE, None, SEEN._replace(client=False), False, id="passed on, not shown"),
        pytest.param(ONE, ONE, SEEN._replace(reads=4), True, id="one process serves both"),
        pytest.param(ONE, ONE, SEEN._replace(client=None), True, id="one process, no chardev"),
        pytest.param(ONE, ONE, SEEN._replace(client=False), False, id="one process, not shown"),
        pytest.param(ONE, Process(71, 1), SEEN._replace(client=False), False, id="two processes"),
    ],
)
def test_a_monitor_counts_if_it_shows_our_own_connection(
    agents: Process | None, monitors: Process | None, view: MonitorView, counts: bool
) -> None:
    access = open_local(VM._replace(process=None))
    access.server = Server(agents)
    assert access.monitor is not None
    access.monitor._process = monitors
    judged = access.holds(view, BEFORE)
    assert (judged == view) is counts
    if not counts:
        assert judged.run_state is RunState.UNKNOWN
        assert judged.problem is not None
        assert "the monitor does not show our connection" in judged.problem
    if agents == monitors == ONE:
        assert access.doubt is None
    else:
        assert (access.doubt is None) is counts
        assert (access.trusted.monitor is None) is not counts


def test_what_is_unreachable_is_no_other_vms(tmp_path: Path) -> None:
    access = open_local(VM._replace(process=None))
    silent = MonitorView(problem="monitor: busy")
    assert access.holds(silent) == silent
    assert access.doubt is None


def test_another_vms_monitor_says_nothing_of_ours_and_nothing_of_its_end() -> None:
    access = open_local(VM._replace(process=None))
    access.server = Server(this_process())
    assert access.monitor is not None
    access.monitor._process = Process(1, 1)  # which has ended
    assert access.process == this_process()
    view = access.observe()
    assert (view.gone, view.run_state) == (False, RunState.UNKNOWN)
    assert view.problem == ANOTHERS_MONITOR


def test_what_was_doubted_is_looked_at_once_more() -> None:
    access = open_local(VM._replace(process=None))
    access.holds(SEEN._replace(client=False))
    assert access.doubt is not None
    access.observe_anew()
    assert access.doubt is None
