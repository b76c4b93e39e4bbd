"""Each refusal before a byte of the freeze is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentclient.access import agent as agent_module
from agentclient.access import exchange as exchange_module
from agentclient.access.agent_session import StreamSession
from agentclient.access.guest_access import CHANNEL_WAIT_S, Holders
from agentclient.access.local_access import LocalAccess
from agentclient.access.monitor import Monitor
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.fleet.store import Fleet
from agentclient.model.others import ChannelClient
from agentclient.model.outcome import FileSystem, Outcome
from agentclient.model.snapshot import AgentHealth, HeldBy, MonitorView
from agentclient.model.states import (
    AgentState,
    FreezeState,
    KnownBy,
    Level,
    OutcomeKind,
    Refusal,
    RunState,
)
from agentclient.model.vm import AgentChannel, Vm, VmId
from agentclient.operations import preflight as preflight_module
from agentclient.operations.context import OperationContext
from agentclient.operations.control import Control
from agentclient.operations.preflight import MOST_PATIENCE_S, Preflight, Prepared
from agentclient.protocol.qga_commands import FREEZE, FREEZE_LIST, THAW
from tests.unit.fakes import ENDED, Clock, Error, FakeAgent, FakeEndpoint, FakeReporter, Raw, line

UP = MonitorView(RunState.RUNNING, port_open=True, client=False, openings=5, written_bytes=7)
LISTED = [
    {"name": "vda1", "mountpoint": "/", "type": "ext4"},
    {"name": "vda15", "mountpoint": "/boot/efi", "type": "vfat"},
]
COMMANDS = [{"name": name, "enabled": True} for name in (FREEZE, FREEZE_LIST, THAW)]
READING = {
    "guest-sync-delimited",
    "guest-sync",
    "guest-fsfreeze-status",
    "guest-info",
    "guest-get-fsinfo",
    "guest-get-disks",
    "guest-get-osinfo",
}


class Scripted(Monitor):
    """A monitor that shows one view after another, and the last one for ever."""

    process = None

    def __init__(self, *views: MonitorView) -> None:
        self.views = list(views)

    def look(self, timeout_s: float = 0.5) -> MonitorView:
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]


class World:
    """A VM whose guest and monitor agree to a freeze, until a test changes that."""

    def __init__(self, clock: Clock) -> None:
        self.fake = FakeAgent(
            {
                "guest-fsfreeze-status": "thawed",
                "guest-info": {"version": "7.2.0", "supported_commands": COMMANDS},
                "guest-get-fsinfo": LISTED,
            }
        )
        self.endpoint = FakeEndpoint(clock, self.fake)
        self.vm = Vm(VmId("qemu", "db"), AgentChannel(Path("/run/x.qga")))
        self.views: tuple[MonitorView, ...] = (UP, UP._replace(client=True))
        self.reporter = FakeReporter()
        self.control = Control()
        self.fleet: Fleet | None = None
        self.mounts: tuple[str, ...] = ()
        self.patience_s = 60.0

    def run(self) -> Prepared | Outcome:
        endpoint = self.endpoint if self.vm.agent else None
        monitor = Scripted(*self.views) if self.views else None
        context = OperationContext(
            self.vm,
            LocalAccess(self.vm, endpoint, monitor),
            self.reporter,
            self.control,
            fleet=self.fleet,
        )
        return Preflight(context, self.mounts, self.patience_s).run()

    def outcome(self) -> Outcome:
        """Run it, and see that it left nothing behind."""
        result = self.run()
        assert isinstance(result, Outcome)
        assert all(channel.closed == 1 for channel in self.endpoint.channels)
        assert set(self.commands) <= READING
        assert result.settled
        assert result.thawed == 0
        assert result.reason
        return result

    @property
    def commands(self) -> list[object]:
        return [command for channel in self.endpoint.channels for command in channel.commands]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.install(monkeypatch, agent_module, exchange_module, preflight_module)
    return made


@pytest.fixture
def world(clock: Clock) -> World:
    return World(clock)


def test_a_guest_that_is_ready_is_prepared(world: World, clock: Clock) -> None:
    prepared = world.run()
    assert isinstance(prepared, Prepared)
    assert prepared.coverage is not None
    assert prepared.coverage.text == "1 of 2"
    assert prepared.covered_at == clock.now
    assert prepared.baseline == UP._replace(client=True)
    assert not world.endpoint.channels[0].closed
    assert isinstance(prepared.session, StreamSession)
    assert prepared.session.tags is True
    assert prepared.session.wire.waiting == ()
    assert world.commands == [
        "guest-sync-delimited",
        "guest-fsfreeze-status",
        "guest-info",
        "guest-get-fsinfo",
    ]
    assert world.reporter.listed == [
        (FileSystem("vda1", "/", "ext4"), FileSystem("vda15", "/boot/efi", "vfat"))
    ]
    assert world.reporter.health == [
        AgentHealth(AgentState.ALIVE, KnownBy.REPLY, rtt_s=0.0, version="7.2.0")
    ]
    assert any("vda15 (vfat at /boot/efi)" in tell.text for tell in world.reporter.told)


def test_what_each_look_shows_is_told_and_what_none_shows_is_not(world: World) -> None:
    world.views = (UP._replace(client=True), UP, UP._replace(run_state=RunState.UNKNOWN))
    assert isinstance(world.run(), Prepared)
    assert world.reporter.run_states == [RunState.RUNNING], "the look that has counted"


@pytest.mark.parametrize("why", [None, "several VMs share it"])
def test_a_monitor_that_can_not_be_used_is_less_evidence_and_none_is_as_it_was_meant(
    world: World, why: str | None
) -> None:
    world.views, world.vm = (), world.vm._replace(no_monitor=why)
    assert isinstance(world.run(), Prepared)
    assert any("less evidence" in tell.text for tell in world.reporter.told) is (why is not None)


# -- what needs nobody to be asked ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"locked_by": "backup"}, Refusal.LOCKED),
        ({"freeze_disabled": "freeze-fs=0"}, Refusal.DISABLED),
        ({"agent": None}, Refusal.NO_AGENT),
    ],
)
def test_the_configuration_refuses(world: World, changes: dict[str, Any], refusal: Refusal) -> None:
    world.vm = world.vm._replace(**changes)
    outcome = world.outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, refusal)
    assert world.endpoint.channels == []
    assert all(str(value) in outcome.reason for value in changes.values() if value)


def test_what_its_source_lists_now_counts_not_what_was_captured(world: World) -> None:
    world.fleet = Fleet()
    world.fleet.set_vms("qemu", [world.vm._replace(locked_by="backup")])
    assert world.outcome().refusal is Refusal.LOCKED
    world.fleet.set_vms("qemu", [world.vm])
    world.vm = world.vm._replace(locked_by="backup")  # it has been unlocked since
    assert isinstance(world.run(), Prepared)


# -- what the monitor shows -----------------------------------------------------------------------

REFUSED_BY_VIEW = [
    (UP._replace(run_state=RunState.PAUSED), Refusal.PAUSED, "resume"),
    (UP._replace(run_state=RunState.IO_ERROR), Refusal.PAUSED, "io-error"),
    (UP._replace(run_state=RunState.SUSPENDED, port_open=False), Refusal.SUSPENDED, "wake"),
    (UP._replace(run_state=RunState.MIGRATING), Refusal.MIGRATING, "migrat"),
    (UP._replace(run_state=RunState.SHUTDOWN), Refusal.NO_AGENT, "shutdown"),
    (UP._replace(run_state=RunState.PANICKED), Refusal.NO_AGENT, "panicked"),
    (UP._replace(port_open=False), Refusal.NO_AGENT, "port is closed"),
    (MonitorView(RunState.GONE, gone=True), Refusal.NO_AGENT, "does not run"),
]


@pytest.mark.parametrize(("view", "refusal", "word"), REFUSED_BY_VIEW)
def test_the_monitor_refuses(world: World, view: MonitorView, refusal: Refusal, word: str) -> None:
    world.views = (view,)
    outcome = world.outcome()
    assert outcome.refusal is refusal
    assert word in f"{outcome.reason} {outcome.next}"
    assert world.endpoint.channels == []


@pytest.mark.parametrize(("view", "refusal", "word"), REFUSED_BY_VIEW)
def test_the_monitor_refuses_still_at_the_last_look(
    world: World, view: MonitorView, refusal: Refusal, word: str
) -> None:
    world.views = (UP, view._replace(client=True))  # our own connection
    assert world.outcome().refusal is refusal


def test_another_client_is_never_joined(world: World, clock: Clock) -> None:
    world.views = (UP._replace(client=True),)
    began = clock.now
    assert world.outcome().refusal is Refusal.BUSY
    assert world.endpoint.channels == []
    assert clock.now - began == pytest.approx(CHANNEL_WAIT_S, abs=0.2)


def test_another_client_that_leaves_is_waited_for(world: World, clock: Clock) -> None:
    """As another console's visit, or a page of Proxmox that shows the guest's addresses."""
    taken = UP._replace(client=True)
    world.views = (taken, taken, taken, UP, taken)
    assert isinstance(world.run(), Prepared)
    assert not any("another client" in tell.text for tell in world.reporter.told)


BLIND = MonitorView(problem="monitor: no answer in time")


@pytest.mark.parametrize("views", [(BLIND, UP._replace(client=True)), (BLIND,)])
def test_where_the_monitor_is_late_the_kernel_tells_another_client(
    world: World, monkeypatch: pytest.MonkeyPatch, views: tuple[MonitorView, ...]
) -> None:
    """On a busy host: to connect would be to wait in silence behind that client."""
    backup = Holders("vzdump (pid 99)", None, ChannelClient("vzdump", 99))
    monkeypatch.setattr(LocalAccess, "holders", lambda _: backup)
    world.views = views
    outcome = world.outcome()
    assert (outcome.refusal, world.endpoint.channels) == (Refusal.BUSY, [])
    assert "vzdump (pid 99)" in outcome.reason


def test_where_the_monitor_is_late_a_client_that_was_seen_is_waited_for(world: World) -> None:
    world.fleet = Fleet()
    world.fleet.set_vms("qemu", [world.vm])
    busy = AgentHealth(AgentState.BUSY, KnownBy.CLIENT)
    world.fleet.update(world.vm.id, lambda state: state._replace(agent=busy))
    world.views = (BLIND, UP._replace(client=True))
    assert world.outcome().refusal is Refusal.BUSY
    assert world.endpoint.channels == []


def test_a_client_that_was_seen_counts_until_a_look_is_answered(world: World) -> None:
    """Under libvirt no look tells of a client, an answered one neither."""
    world.fleet = Fleet()
    world.fleet.set_vms("qemu", [world.vm])
    busy = AgentHealth(AgentState.BUSY, KnownBy.CLIENT)
    world.fleet.update(world.vm.id, lambda state: state._replace(agent=busy))
    world.views = (UP._replace(client=None),)
    assert isinstance(world.run(), Prepared)


def test_where_the_monitor_is_late_and_the_client_has_left_it_is_frozen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = Holders("vzdump (pid 99)", None, ChannelClient("vzdump", 99))
    monkeypatch.setattr(LocalAccess, "holders", lambda _: backup)
    world.views = (BLIND, BLIND, UP, UP._replace(client=True))
    assert isinstance(world.run(), Prepared)


def test_what_happens_to_the_vm_while_another_client_is_there_counts(world: World) -> None:
    taken = UP._replace(client=True)
    world.views = (taken, taken, MonitorView(RunState.PAUSED, port_open=True, client=True))
    assert world.outcome().refusal is Refusal.PAUSED


def test_the_wait_for_another_client_is_cancelled(world: World, clock: Clock) -> None:
    world.views = (UP._replace(client=True),)
    world.control.cancellation.set()
    began = clock.now
    assert world.outcome().refusal is Refusal.CANCELLED
    assert clock.now == began


def test_another_frostwatch_is_not_waited_for(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldBy(pid=1316, user="root", holder=1317)
    monkeypatch.setattr(LocalAccess, "holders", lambda _: Holders(None, held))
    world.views = (UP._replace(client=True),)
    began = clock.now
    assert "pid 1316" in world.outcome().reason
    assert clock.now == began


@pytest.mark.parametrize(
    "views",
    [(), (MonitorView(problem="monitor: busy"),), (UP, UP._replace(port_open=None, client=True))],
)
def test_less_to_see_is_no_refusal(world: World, views: tuple[MonitorView, ...]) -> None:
    world.views = views
    assert isinstance(world.run(), Prepared)
    warned = any("less evidence" in tell.text for tell in world.reporter.told)
    assert warned is bool(views and views[0].problem)


# -- what the channel and the guest say ---------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "refusal"),
    [
        (ConnectProblem.QUEUE_FULL, Refusal.BUSY),
        (ConnectProblem.MISSING, Refusal.NO_AGENT),
        (ConnectProblem.REFUSED, Refusal.NO_AGENT),
        (ConnectProblem.NO_PERMISSION, Refusal.NO_AGENT),
    ],
)
def test_a_channel_that_cannot_be_had(
    world: World, problem: ConnectProblem, refusal: Refusal
) -> None:
    world.endpoint.failures = [ConnectFailed(problem, "why it failed")]
    outcome = world.outcome()
    assert outcome.refusal is refusal
    assert "why it failed" in outcome.reason


def test_a_silent_agent_is_sent_nothing_but_the_sync(world: World) -> None:
    world.fake.silent = True
    outcome = world.outcome()
    assert outcome.refusal is Refusal.SILENT
    assert "3.0 s" in outcome.reason
    assert "without a monitor" not in outcome.reason
    assert world.commands == ["guest-sync-delimited", "guest-sync"]
    assert world.reporter.health == [AgentHealth(AgentState.SILENT, KnownBy.DEADLINE)]


def test_without_a_monitor_silence_may_be_another_client(world: World) -> None:
    world.fake.silent, world.views = True, ()
    assert "without a monitor" in world.outcome().reason


@pytest.mark.parametrize("suspect", [None, "vzdump (pid 99)"])
def test_who_may_keep_a_silent_agent_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch, suspect: str | None
) -> None:
    monkeypatch.setattr(LocalAccess, "suspect", lambda _: suspect)
    world.fake.silent = True
    reason = world.outcome().reason
    assert ("it may be kept by another client: " in reason) is (suspect is not None)
    assert str(suspect or "") in reason


@pytest.mark.parametrize("command", ["guest-fsfreeze-status", "guest-info", "guest-get-fsinfo"])
def test_an_agent_that_falls_silent_in_between(world: World, command: str) -> None:
    world.fake.answers[command] = Raw()
    outcome = world.outcome()
    assert outcome.refusal is Refusal.NOT_BEGUN, "it has just answered: it is not silent"
    assert f"the agent answers, but not {command} within" in outcome.reason
    assert AgentState.SILENT not in [health.state for health in world.reporter.health]


@pytest.mark.parametrize("command", ["guest-get-fsinfo", "guest-get-disks"])
def test_a_slow_list_is_waited_for(world: World, clock: Clock, command: str) -> None:
    listed: object = LISTED if command == "guest-get-fsinfo" else []
    world.fake.answers["guest-info"] = with_commands("guest-get-disks")
    world.fake.answers[command] = Raw(line({"return": listed}), delay_s=12.0)
    began = clock.now
    assert isinstance(world.run(), Prepared)
    assert clock.now - began == pytest.approx(12.0, abs=1.0)


def test_a_list_is_waited_for_no_longer_than_the_freeze_may_take(
    world: World, clock: Clock
) -> None:
    world.fake.answers["guest-get-fsinfo"] = Raw()
    for patience_s, waited_s in ((7.0, 7.0), (3600.0, MOST_PATIENCE_S)):
        began, world.patience_s = clock.now, patience_s
        assert world.outcome().refusal is Refusal.NOT_BEGUN
        assert clock.now - began == pytest.approx(waited_s, abs=1.0)


def test_a_vm_that_leaves_while_a_list_is_waited_for_is_seen(world: World, clock: Clock) -> None:
    closed = UP._replace(port_open=False)
    world.fake.answers["guest-get-fsinfo"], world.views = Raw(), (UP, closed)
    began = clock.now
    assert world.outcome().refusal is Refusal.NO_AGENT
    assert clock.now - began < 3.0


def test_a_frozen_guest_is_foreign(world: World) -> None:
    world.fake.answers["guest-fsfreeze-status"] = "frozen"
    outcome = world.outcome()
    assert outcome.refusal is Refusal.ALREADY_FROZEN
    assert world.reporter.states == [(FreezeState.FROZEN, True)]


def test_an_agent_without_a_status_is_refused(world: World) -> None:
    world.fake.answers["guest-fsfreeze-status"] = Error("disabled", "CommandNotFound")
    assert world.outcome().refusal is Refusal.DISABLED


@pytest.mark.parametrize(("mounts", "needed"), [((), FREEZE), (("/",), FREEZE_LIST)])
@pytest.mark.parametrize("how", ["disabled", "not known"])
def test_a_command_that_is_blocked_in_the_agent_is_disabled(
    world: World, mounts: tuple[str, ...], needed: str, how: str
) -> None:
    entry = [{"name": needed, "enabled": False}] if how == "disabled" else []
    others = [one for one in COMMANDS if one["name"] != needed]
    answer = {"version": "7.2.0", "supported_commands": others + entry}
    world.fake.answers["guest-info"], world.mounts = answer, mounts
    outcome = world.outcome()
    assert outcome.refusal is Refusal.DISABLED
    assert how in outcome.reason
    assert needed in outcome.reason


def test_only_the_command_that_is_used_has_to_be_enabled(world: World) -> None:
    commands = [one for one in COMMANDS if one["name"] != FREEZE_LIST]
    world.fake.answers["guest-info"] = {"version": "7.2.0", "supported_commands": commands}
    assert isinstance(world.run(), Prepared)


@pytest.mark.parametrize("entry", [[], [{"name": THAW, "enabled": False}]])
def test_an_agent_that_may_not_thaw_is_not_frozen(world: World, entry: list[object]) -> None:
    others = [one for one in COMMANDS if one["name"] != THAW]
    answer = {"version": "7.2.0", "supported_commands": others + entry}
    world.fake.answers["guest-info"] = answer
    outcome = world.outcome()
    assert outcome.refusal is Refusal.DISABLED
    assert f"may freeze, but not thaw: {THAW}" in outcome.reason


def test_a_filter_is_named_where_the_agent_lets_it_be_seen(world: World) -> None:
    world.fake.answers["guest-fsfreeze-status"] = Error("no", "CommandNotFound")
    blocked = {"name": "guest-fsfreeze-status", "enabled": False}
    answer = {"version": "7.2.0", "supported_commands": [*COMMANDS, blocked]}
    world.fake.answers["guest-info"] = answer
    assert "guest-fsfreeze-status is disabled by the agent's own filter" in world.outcome().reason
    world.fake.answers["guest-info"] = Error("no", "CommandNotFound")
    assert world.outcome().refusal is Refusal.DISABLED


def test_an_agent_that_does_not_tell_what_it_may_is_not_frozen(world: World) -> None:
    world.fake.answers["guest-info"] = Error("blocked", "CommandNotFound")
    outcome = world.outcome()
    assert outcome.refusal is Refusal.DISABLED
    assert "guest-info is refused (blocked), perhaps by the agent's own filter" in outcome.reason


def with_commands(*names: str) -> dict[str, object]:
    more = [{"name": name, "enabled": True} for name in names]
    return {"version": "7.2.0", "supported_commands": COMMANDS + more}


DISK = {"name": "/dev/vda", "partition": False, "dependencies": []}


def test_a_disk_that_the_list_does_not_know_is_told_and_is_no_shout(world: World) -> None:
    part = {"name": "/dev/vda1", "partition": True, "dependencies": ["/dev/vda"]}
    efi = {**part, "name": "/dev/vda15"}
    world.fake.answers["guest-info"] = with_commands("guest-get-disks")
    world.fake.answers["guest-get-disks"] = [DISK, part, efi, {**DISK, "name": "/dev/vdb"}]
    world.fake.answers["guest-get-fsinfo"] = LISTED[:1]
    prepared = world.run()
    assert isinstance(prepared, Prepared)
    assert prepared.coverage is not None
    assert prepared.coverage.disks == ("vdb",)
    (tell,) = [tell for tell in world.reporter.told if "vdb is not covered by any" in tell.text]
    assert tell.level is Level.INFO


@pytest.mark.parametrize("answer", [Error("no"), {}, None, [None]])
def test_without_a_list_of_disks_nothing_is_said_of_them(world: World, answer: object) -> None:
    world.fake.answers["guest-info"] = with_commands("guest-get-disks")
    world.fake.answers["guest-get-disks"] = answer
    world.views = ()
    prepared = world.run()
    assert isinstance(prepared, Prepared)
    assert prepared.coverage is not None
    assert prepared.coverage.disks is None


@pytest.mark.parametrize("told", [{"kernel-version": "FreeBSD 14.1-RELEASE"}, Error("blocked")])
def test_a_freebsd_guest_is_judged_by_its_own_kinds(world: World, told: object) -> None:
    world.fake.answers["guest-get-fsinfo"] = [
        {"name": "devfs", "mountpoint": "/dev", "type": "devfs"},
        {"name": "rootfs", "mountpoint": "/", "type": "ufs"},
    ]
    world.fake.answers["guest-get-osinfo"] = told
    prepared = world.run()
    assert isinstance(prepared, Prepared)
    assert prepared.coverage is not None
    assert prepared.coverage.text == "1 of 1"


def test_only_a_guest_that_may_be_a_freebsd_one_is_asked_whose_it_is(world: World) -> None:
    assert isinstance(world.run(), Prepared)
    assert "guest-get-osinfo" not in world.commands


@pytest.mark.parametrize("bad", [{}, None, 5, {"name": "vdb"}])
def test_a_malformed_list_is_prepared_with_less_evidence(world: World, bad: object) -> None:
    world.fake.answers["guest-get-fsinfo"] = [bad, *LISTED]
    world.mounts = ("/nope",)
    prepared = world.run()
    assert isinstance(prepared, Prepared), "it may be there, in what can't be read"
    assert prepared.coverage is not None
    assert prepared.coverage.problem is not None
    assert any("coverage is not known" in tell.text for tell in world.reporter.told)


def test_naming_one_path_says_what_freezes_with_it(world: World) -> None:
    bound = {"name": "vda1", "mountpoint": "/etc/hosts", "type": "ext4"}
    world.fake.answers["guest-get-fsinfo"] = [bound, *LISTED]
    world.mounts = ("/etc/hosts",)
    assert isinstance(world.run(), Prepared)
    text = "with /etc/hosts freezes all of vda1 (ext4 at /)"
    assert any(text in tell.text for tell in world.reporter.told)


@pytest.mark.parametrize("mounts", [(), ("/",)])
def test_nothing_is_said_of_what_was_named_itself(world: World, mounts: tuple[str, ...]) -> None:
    world.mounts = mounts
    assert isinstance(world.run(), Prepared)
    assert not any("freezes all of" in tell.text for tell in world.reporter.told)


def test_an_unknown_mount_point_is_named_and_nothing_is_sent(world: World) -> None:
    world.mounts = ("/", "/nope")
    outcome = world.outcome()
    assert (outcome.kind, outcome.refusal) == (OutcomeKind.REFUSED, Refusal.MOUNTS)
    assert "/nope" in outcome.reason
    assert "vda1 (ext4 at /)" in outcome.reason


def test_a_guest_that_cannot_list_its_file_systems_is_frozen_with_less_evidence(
    world: World,
) -> None:
    world.fake.answers["guest-get-fsinfo"] = Error("not supported", "Unsupported")
    prepared = world.run()
    assert isinstance(prepared, Prepared)
    assert prepared.coverage is None
    assert [tell.level for tell in world.reporter.told] == [Level.WARNING]


@pytest.mark.parametrize("answer", [None, 5, "x", [], True])
def test_a_guest_that_talks_nonsense_is_not_frozen(world: World, answer: object) -> None:
    for command in ("guest-fsfreeze-status", "guest-info"):
        world.fake.answers[command] = answer
        outcome = world.outcome()
        assert outcome.refusal is Refusal.NOT_BEGUN
        assert "was not sent" in outcome.reason


def test_a_channel_that_breaks_meanwhile(world: World) -> None:
    world.fake.silent = True
    world.endpoint.greeting = (ENDED,)
    outcome = world.outcome()
    assert outcome.refusal is Refusal.NOT_BEGUN
    assert "was not sent" in outcome.reason


def test_a_cancellation_before_the_freeze_sends_nothing(world: World) -> None:
    world.control.cancellation.set()
    outcome = world.outcome()
    assert outcome.refusal is Refusal.CANCELLED
    assert "cancelled before the freeze was sent" in outcome.reason


def test_an_old_agent_is_prepared_without_ids(world: World) -> None:
    world.fake.takes_ids = False
    prepared = world.run()
    assert isinstance(prepared, Prepared)
    assert prepared.session.tags is False
