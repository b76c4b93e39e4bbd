"""What the host sees, from a fake QEMU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentclient.access import exchange as steps
from agentclient.access import monitor as monitor_module
from agentclient.access.host.process import start_ticks, stat_fields
from agentclient.access.monitor import Monitor
from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState, Transport
from agentclient.model.vm import AgentChannel, Process
from tests.unit.fakes import (
    ENDED,
    GREETING,
    Clock,
    Ended,
    Error,
    FakeEndpoint,
    FakeQemu,
    Raw,
    line,
    monitor_endpoint,
)

AGENT = AgentChannel(Path("/run/x.qga"))
BUS = "/machine/peripheral/vs/virtio-backend/virtio-serial-bus.0"
DEVICE = "/machine/peripheral/vs/virtio-backend"
NO_QUEUES = Error("no such command", "CommandNotFound")


class Host:
    """A QEMU with an agent's port, as most have one."""

    def __init__(self, clock: Clock, *, port_id: str | None = None) -> None:
        self.clock = clock
        self.open, self.client = True, False
        self.openings, self.reads, self.status = 5, 9, "running"
        self.directory = "/machine/peripheral" if port_id else "/machine/peripheral-anon"
        self.ports = {port_id or "device[2]": ("qga0", 1, BUS)}
        self.qemu = FakeQemu(
            {
                "query-status": lambda _: {"status": self.status},
                "query-migrate": {},
                "query-blockstats": [{"stats": {"wr_bytes": 40}}, {"stats": {"wr_bytes": 2}}],
                "query-chardev": lambda _: self.chardevs(),
                "qom-list": self.listing,
                "qom-get": self.get,
                "x-query-virtio-queue-status": self.queue,
                "x-query-virtio-queue-element": self.element,
            }
        )
        self.endpoint = monitor_endpoint(clock, self.qemu)

    def chardevs(self) -> object:
        prefix = "" if self.client else "disconnected:"
        return [
            {"label": "mon", "filename": "unix:/run/x.qmp,server=on", "frontend-open": True},
            {
                "label": "qga0",
                "filename": f"{prefix}unix:/run/x.qga,server=on",
                "frontend-open": self.open,
            },
        ]

    def listing(self, arguments: object) -> object:
        if not isinstance(arguments, dict) or arguments["path"] != self.directory:
            return [{"name": "type", "type": "string"}]
        return [{"name": name, "type": "child<virtserialport>"} for name in self.ports]

    def get(self, arguments: object) -> object:
        assert isinstance(arguments, dict)
        values = self.ports[arguments["path"].rpartition("/")[2]]
        return dict(zip(("chardev", "nr", "parent_bus"), values, strict=True))[
            arguments["property"]
        ]

    def queue(self, arguments: object) -> object:
        assert isinstance(arguments, dict)
        assert arguments == {"path": DEVICE, "queue": 3}
        return {"used-idx": self.openings, "shadow-avail-idx": 1}

    def element(self, arguments: object) -> object:
        assert arguments == {"path": DEVICE, "queue": 4, "index": 0}
        return {"avail": {"flags": 0, "idx": self.reads, "ring": 0}, "descs": [], "index": 0}

    def monitor(self, agent: AgentChannel | None = AGENT, *, ours: bool = False) -> Monitor:
        return Monitor(self.endpoint, agent, ours=ours)

    def look(self, monitor: Monitor) -> MonitorView:
        """Look a moment after the last look."""
        self.clock.sleep(0.25)
        return monitor.look()

    @property
    def commands(self) -> list[str]:
        return [command for command, _ in self.qemu.asked]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.install(monkeypatch, steps, monitor_module)
    return made


@pytest.fixture
def host(clock: Clock) -> Host:
    return Host(clock)


# -- a visit ------------------------------------------------------------------------------------


def test_one_look_shows_everything_and_leaves_no_socket_open(host: Host) -> None:
    assert host.monitor().look() == MonitorView(
        RunState.RUNNING,
        port_open=True,
        client=False,
        openings=5,
        reads=9,
        written_bytes=42,
        gone=False,
    )
    (channel,) = host.endpoint.channels
    assert channel.closed


def test_the_port_is_looked_for_once(host: Host) -> None:
    monitor = host.monitor()
    host.look(monitor)
    host.qemu.asked.clear()
    host.open, host.client, host.openings, host.reads = False, True, 6, 10
    view = host.look(monitor)
    assert (view.port_open, view.client, view.openings, view.reads) == (False, True, 6, 10)
    assert host.commands == [
        "qmp_capabilities",
        "query-status",
        "query-migrate",
        "query-chardev",
        "query-blockstats",
        "x-query-virtio-queue-status",
        "x-query-virtio-queue-element",
    ]


@pytest.mark.parametrize(
    ("status", "migration", "state"),
    [
        ("running", {}, RunState.RUNNING),
        ("paused", {}, RunState.PAUSED),
        ("prelaunch", {}, RunState.PAUSED),
        ("io-error", {}, RunState.IO_ERROR),
        ("suspended", {}, RunState.SUSPENDED),
        ("shutdown", {}, RunState.SHUTDOWN),
        ("guest-panicked", {}, RunState.PANICKED),
        ("postmigrate", {}, RunState.MIGRATED),
        ("postmigrate", {"status": "active"}, RunState.MIGRATED),
        ("running", {"status": "active"}, RunState.MIGRATING),
        ("running", {"status": "completed"}, RunState.RUNNING),
        ("running", {"status": ["active"]}, RunState.RUNNING),
        ("paused", NO_QUEUES, RunState.PAUSED),
        ("newly-invented", {}, RunState.UNKNOWN),
        (None, {}, RunState.UNKNOWN),
        ([], None, RunState.UNKNOWN),
    ],
)
def test_run_states(host: Host, status: object, migration: object, state: RunState) -> None:
    host.qemu.answers["query-status"] = {"status": status}
    host.qemu.answers["query-migrate"] = migration
    assert host.monitor().look().run_state is state


# -- finding the port ---------------------------------------------------------------------------


def test_a_second_port_of_the_same_controller_makes_its_counter_a_hint(host: Host) -> None:
    assert host.monitor().look().sole_port
    host.ports["device[3]"] = ("spice", 2, BUS)
    assert not host.monitor().look().sole_port
    host.ports["device[3]"] = ("spice", 1, "/machine/peripheral/other/virtio-backend/bus.0")
    assert host.monitor().look().sole_port


def test_a_label_goes_before_the_path(host: Host) -> None:
    view = host.monitor(AgentChannel(Path("/elsewhere"), "qga0")).look()
    assert (view.port_open, view.openings) == (True, 5)


def test_an_unknown_chardev_is_a_problem_and_no_state(host: Host) -> None:
    view = host.monitor(AgentChannel(Path("/run/\x1by.qga"), "qga7")).look()
    assert view.port_open is view.client is view.openings is None
    assert view.run_state is RunState.RUNNING
    assert view.problem == "monitor: it knows no chardev for /run/\\x1by.qga"


def test_an_isa_serial_agent_has_no_port_state(host: Host) -> None:
    host.ports = {}
    view = host.monitor().look()
    assert view.port_open is None
    assert view.openings is view.reads is None
    assert view.client is False
    assert view.written_bytes == 42


def test_a_port_that_is_known_to_be_virtio_has_its_state_without_the_tree(host: Host) -> None:
    host.qemu.answers["qom-list"] = NO_QUEUES
    virtio = AgentChannel(AGENT.path, transport=Transport.VIRTIO_SERIAL)
    view = host.monitor(virtio).look()
    assert (view.port_open, view.openings) == (True, None)


def test_without_an_agent_only_the_vm_is_looked_at(host: Host) -> None:
    view = host.monitor(None).look()
    assert view == MonitorView(RunState.RUNNING, written_bytes=42, gone=False)
    assert "qom-list" not in host.commands


# -- fallbacks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        NO_QUEUES,
        Error("Packed ring not supported"),
        {},
        {"avail": None},
        {"avail": {"idx": "9"}},
        {"avail": {"idx": True}},
    ],
)
def test_reads_are_unknown_where_the_guests_own_index_can_not_be_had(
    clock: Clock, answer: object
) -> None:
    host = Host(clock)
    host.qemu.answers["x-query-virtio-queue-element"] = answer
    view = host.look(host.monitor())
    assert (view.openings, view.reads) == (5, None)


@pytest.mark.parametrize("answer", [NO_QUEUES, None, [], {"used-idx": "5"}])
def test_a_qemu_that_does_not_show_its_queues_is_not_asked_again(
    host: Host, answer: object
) -> None:
    host.qemu.answers["x-query-virtio-queue-status"] = answer
    monitor = host.monitor()
    view = host.look(monitor)
    assert (view.port_open, view.openings, view.reads) == (True, None, None)
    host.qemu.asked.clear()
    assert host.look(monitor).port_open is True
    assert "x-query-virtio-queue-status" not in host.commands


def test_an_object_that_has_moved_is_looked_for_again(host: Host) -> None:
    monitor = host.monitor()
    queue = host.qemu.answers["x-query-virtio-queue-status"]
    host.qemu.answers["x-query-virtio-queue-status"] = Error("Path not found")
    assert host.look(monitor).openings is None
    host.qemu.answers["x-query-virtio-queue-status"] = queue
    host.qemu.asked.clear()
    assert host.look(monitor).openings == 5
    assert "qom-list" in host.commands


@pytest.mark.parametrize(
    "command",
    ["query-status", "query-migrate", "query-blockstats", "query-chardev", "qom-list", "qom-get"],
)
@pytest.mark.parametrize(
    "answer", [Error(), None, 5, "x", [], {}, [None], [[]], {"status": {}}, [{}]]
)
def test_no_answer_of_the_wrong_type_raises(host: Host, command: str, answer: object) -> None:
    host.qemu.answers[command] = answer
    assert isinstance(host.monitor().look(), MonitorView)
    assert isinstance(host.monitor(ours=True).look(), MonitorView)


def test_a_listing_with_a_nameless_port_does_not_raise(host: Host) -> None:
    host.qemu.answers["qom-list"] = [{"type": "child<virtserialport>"}]
    assert host.monitor().look().run_state is RunState.RUNNING


# -- trouble ------------------------------------------------------------------------------------


def test_no_greeting_means_that_another_client_holds_it_or_that_qemu_hangs(
    clock: Clock, host: Host
) -> None:
    host.endpoint.greeting = ()
    started = clock.now
    view = host.monitor().look(0.5)
    assert view == MonitorView(
        problem="monitor: the monitor does not greet: another client holds it, or QEMU hangs",
        late=True,
    )
    assert clock.now - started == 0.5
    assert host.endpoint.channels[0].closed


@pytest.mark.parametrize("problem", ConnectProblem)
@pytest.mark.parametrize("gone", [True, False, None])
def test_only_its_process_tells_whether_a_vm_that_cant_be_asked_has_gone(
    host: Host, problem: ConnectProblem, gone: bool | None
) -> None:
    me = stat_fields(Path("/proc/self"))[1]
    process = None if gone is None else Process(os.getpid(), start_ticks(me) - gone)
    host.endpoint.failures = [ConnectFailed(problem, "why")]
    view = Monitor(host.endpoint, AGENT, process=process).look()
    assert view.gone is gone
    assert view.run_state is (RunState.GONE if gone else RunState.UNKNOWN)
    assert view.problem == "monitor: why"


@pytest.mark.parametrize("answer", [ENDED, Raw(b"nonsense\n")])
def test_a_broken_look_is_a_problem_and_the_next_one_connects_again(
    host: Host, answer: Ended | Raw
) -> None:
    monitor = host.monitor(ours=True)
    good = host.qemu.answers["query-status"]
    host.qemu.answers["query-status"] = answer
    view = host.look(monitor)
    assert view.problem is not None
    assert view.run_state is RunState.UNKNOWN
    assert not view.gone
    assert monitor.event_fd() is None
    assert host.endpoint.channels[0].closed
    host.qemu.answers["query-status"] = good
    assert host.look(monitor).run_state is RunState.RUNNING
    assert len(host.endpoint.channels) == 2


def test_a_held_session_waits_for_a_qemu_that_is_busy(host: Host) -> None:
    """As with a reset, whose event would be lost with the session."""
    monitor = host.monitor(ours=True)
    good = host.qemu.answers["query-status"]
    assert host.look(monitor).resets == 0
    host.qemu.answers["query-status"] = Raw()
    assert host.look(monitor).problem is not None
    host.qemu.answers["query-status"] = good
    host.qemu.events.append(line({"event": "RESET"}))
    assert host.look(monitor).resets == 1
    assert len(host.endpoint.channels) == 1
    host.qemu.answers["query-status"] = Raw()
    host.look(monitor)
    host.clock.sleep(monitor_module.LATE_S)
    host.look(monitor)  # but not for ever
    host.qemu.answers["query-status"] = good
    assert host.look(monitor).run_state is RunState.RUNNING
    assert len(host.endpoint.channels) == 2


def test_a_slow_monitor_is_given_up_at_the_deadline(clock: Clock, host: Host) -> None:
    host.qemu.answers["query-chardev"] = Raw(b"", delay_s=60.0)
    started = clock.now
    assert host.monitor().look(0.3).problem is not None
    assert clock.now - started == pytest.approx(0.3)


# -- a monitor of our own -----------------------------------------------------------------------


def port_event(name: str, is_open: bool) -> bytes:
    return line({"event": "VSERPORT_CHANGE", "data": {"id": name, "open": is_open}})


def test_a_monitor_of_our_own_is_held(host: Host) -> None:
    monitor = host.monitor(ours=True)
    assert monitor.event_fd() is None
    host.look(monitor)
    host.look(monitor)
    (channel,) = host.endpoint.channels
    assert monitor.event_fd() == channel.fileno()
    monitor.close()
    assert channel.closed == 1
    assert monitor.event_fd() is None


def test_resets_are_counted_where_events_are_told(host: Host) -> None:
    monitor = host.monitor(ours=True)
    assert host.look(monitor).resets == 0
    host.qemu.events += [
        line({"event": "RESET"}),
        line({"event": "STOP"}),
        line({"event": "RESET"}),
    ]
    assert host.look(monitor).resets == 2
    assert host.look(monitor).resets == 2
    assert host.monitor().look().resets is None


def test_a_reset_is_known_that_was_told_before_the_session_broke(host: Host) -> None:
    monitor = host.monitor(ours=True)
    assert host.look(monitor).resets == 0
    blocks = host.qemu.answers["query-blockstats"]
    host.qemu.events.append(line({"event": "RESET"}))
    host.qemu.answers["query-blockstats"] = Ended()
    broken = host.look(monitor)
    assert broken.problem is not None
    assert broken.resets == 1
    host.qemu.answers["query-blockstats"] = blocks
    assert host.look(monitor).resets == 1


def test_events_stand_in_for_the_queues_where_the_port_has_an_id(clock: Clock) -> None:
    host = Host(clock, port_id="agent")
    host.qemu.answers["x-query-virtio-queue-status"] = NO_QUEUES
    monitor = host.monitor(ours=True)
    assert host.look(monitor).openings == 0
    host.qemu.events += [port_event("agent", True), port_event("other", False)]
    assert host.look(monitor).openings == 1
    # "Open" after "open" is a restart that the event's rate limit hid (protocol §1.5).
    host.qemu.events += [port_event("agent", True)]
    assert host.look(monitor).openings == 2


def test_without_an_id_no_event_says_which_port(host: Host) -> None:
    host.qemu.answers["x-query-virtio-queue-status"] = NO_QUEUES
    monitor = host.monitor(ours=True)
    host.look(monitor)
    host.qemu.events += [port_event("device[2]", False)]
    assert host.look(monitor).openings is None


def test_the_queues_count_where_they_can_be_seen(clock: Clock) -> None:
    host = Host(clock, port_id="agent")
    monitor = host.monitor(ours=True)
    host.qemu.events += [port_event("agent", True)]
    assert host.look(monitor).openings == 5


def test_a_monitor_greets_before_it_is_asked(clock: Clock) -> None:
    host = Host(clock)
    endpoint = FakeEndpoint(clock, host.qemu, greeting=((0.2, GREETING),))
    assert Monitor(endpoint, AGENT).look(0.5).run_state is RunState.RUNNING


def test_one_connection_is_kept_while_it_is_shared_whatever_fails(host: Host) -> None:
    monitor = host.monitor()
    with monitor.held():
        host.qemu.answers["query-name"] = Raw()
        with pytest.raises(MonitorError, match="in time"):
            monitor.ask([Ask("query-name")])
        host.look(monitor)
        assert [one.closed for one in host.endpoint.channels] == [False]
    host.look(monitor)
    assert [one.closed for one in host.endpoint.channels] == [True, True]


def test_nobody_connects_anew_for_one_that_has_ended_until_it_is_let_go(host: Host) -> None:
    monitor = host.monitor()
    with monitor.held():
        host.endpoint.channels[0].arrive([ENDED])
        with pytest.raises(MonitorError, match="broke"):
            monitor.ask([Ask("stop")])
        monitor.ask([Ask("query-status")])
        assert len(host.endpoint.channels) == 1
        monitor.let_go()
        monitor.ask([Ask("query-status")])
        assert len(host.endpoint.channels) == 2
