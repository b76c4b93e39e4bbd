"""A daemon of libvirt and its backend, with a binding that says what a test wants."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentclient.access.buttons import SYSRQ_J
from agentclient.access.call_session import AgentBusy, AgentGone, CallFailed, CallTimedOut
from agentclient.access.qmp_session import MonitorError
from agentclient.backends.libvirt import backend as backend_module
from agentclient.backends.libvirt import buttons as buttons_module
from agentclient.backends.libvirt import connections, daemon_watch, end_watch, probe
from agentclient.backends.libvirt.backend import LibvirtBackend
from agentclient.backends.libvirt.binding import Binding
from agentclient.backends.libvirt.buttons import LibvirtButtons
from agentclient.backends.libvirt.callers import asked_by
from agentclient.backends.libvirt.calls import DomainCalls, HeldCalls
from agentclient.backends.libvirt.connections import MOST_FREEZES, Connections
from agentclient.backends.libvirt.end_watch import EndWatch
from agentclient.backends.libvirt.ends import End
from agentclient.backends.libvirt.probe import Probes, who_is_busy
from agentclient.backends.libvirt.uris import Uri
from agentclient.model.errors import BadInput
from agentclient.model.states import Cause, FreezeState, RunState
from tests.waiting import until

ROOT = Path(__file__).parents[2]
UUID = "46eb9f11-4b64-487c-8a8b-f8abfa3617e3"
XML = (
    "<domain><devices><channel type='unix'><target name='org.qemu.guest_agent.0'"
    " state='connected'/><alias name='channel0'/></channel></devices></domain>"
)
FREEZE, STATUS, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-status", "guest-fsfreeze-thaw"
RUNNING, PAUSED, SHUTTING_DOWN, SHUT_OFF = 1, 3, 4, 5
DESTROYED = 2
SOON_S = 60.0


class FakeError(Exception):
    """Stands for libvirtError."""

    def __init__(self, code: int, text: str = "so it is") -> None:
        self.code = code
        super().__init__(text)

    def get_error_code(self) -> int:
        return self.code


class FakeDomain:
    """One domain, and what a command to its agent comes to."""

    def __init__(self, name: str = "db1", number: int = 3) -> None:
        self.number = number
        self.domain_name = name
        self.run_state = RUNNING
        self.reason = 0
        self.asked: list[str] = []
        self.connected = True
        self.pressed: list[object] = []
        self.on_pressed: Callable[[], object] = lambda: None
        self.on_described: Callable[[], None] = lambda: None
        self.answer: Callable[[], str] = lambda: '{"return": "thawed"}'

    def UUIDString(self) -> str:  # noqa: N802 - as libvirt calls it
        return UUID

    def ID(self) -> int:  # noqa: N802
        return self.number

    def name(self) -> str:
        return self.domain_name

    def XMLDesc(self) -> str:  # noqa: N802
        xml = XML if self.connected else XML.replace("'connected'", "'disconnected'")
        self.on_described()
        return xml

    def state(self) -> tuple[int, int]:
        return self.run_state, self.reason

    def sendKey(self, codes: int, _held_ms: int, keys: list[int], *_: int) -> None:  # noqa: N802
        self.on_pressed()
        self.pressed.append((codes, tuple(keys)))

    def reset(self, _flags: int) -> None:
        self.on_pressed()
        self.pressed.append("reset")


class FakeHost:
    """A daemon with some domains, and the binding that leads there."""

    def __init__(self) -> None:
        self.domains = [FakeDomain()]
        self.refuses: FakeError | None = None
        self.read_only = False
        self.alive = True
        self.opened = 0
        self.events: dict[int, Any] = {}
        self.closed: Any = None
        self.on_port: Any = None
        self.heard: set[str] = set()
        self.fails: FakeError | None = None

    def binding(self) -> Binding:
        libvirt = SimpleNamespace(
            libvirtError=FakeError, open=self.open, openReadOnly=self.open_read_only
        )
        qemu = SimpleNamespace(
            qemuMonitorEventRegister=self.register_port,
            qemuMonitorEventDeregister=lambda _, number: self.heard.remove(number),
            qemuAgentCommand=self.command,
        )
        return Binding(libvirt, qemu)

    def open(self, _uri: str) -> FakeHost:
        if self.refuses is not None:
            raise self.refuses
        self.opened += 1
        self.alive = True
        return self

    def open_read_only(self, _uri: str) -> FakeHost:
        if not self.read_only:
            raise FakeError(38, "not this one either")
        return self

    def setKeepAlive(self, *_: int) -> None:  # noqa: N802
        pass

    def isAlive(self) -> bool:  # noqa: N802
        return self.alive

    def close(self) -> None:
        pass

    def registerCloseCallback(self, heard: Any, _opaque: object) -> None:  # noqa: N802
        self.closed = heard
        self.heard.add("close")

    def unregisterCloseCallback(self) -> None:  # noqa: N802
        self.heard.remove("close")

    def domainEventRegisterAny(self, _domain: Any, number: int, heard: Any, _o: Any) -> str:  # noqa: N802
        self.events[number] = heard
        self.heard.add(f"{number}")
        return f"{number}"

    def domainEventDeregisterAny(self, number: str) -> None:  # noqa: N802
        self.heard.remove(number)

    def register_port(
        self, _connection: Any, _domain: Any, _event: str, heard: Any, _o: Any
    ) -> str:
        self.on_port = heard
        self.heard.add("port")
        return "port"

    def getAllDomainStats(self, _kinds: int, _flags: int) -> list[Any]:  # noqa: N802
        if self.fails is not None:
            raise self.fails
        return [(one, self.figures(one)) for one in self.domains]

    def domainListGetStats(self, asked: list[Any], _kinds: int, _flags: int) -> list[Any]:  # noqa: N802
        return [(one, self.figures(one)) for one in asked]

    def figures(self, one: FakeDomain) -> dict[str, int]:
        return {
            "state.state": one.run_state,
            "state.reason": one.reason or 1,
            "block.count": 0,
        }

    def lookupByUUIDString(self, _uuid: str) -> FakeDomain:  # noqa: N802
        if not self.domains:
            raise FakeError(42, "no domain")
        return self.domains[0]

    def command(self, domain: FakeDomain, text: str, _timeout_s: int, _flags: int) -> str:
        domain.asked.append(text)
        return domain.answer()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    host = FakeHost()
    for module in (daemon_watch, connections, end_watch, backend_module):
        monkeypatch.setattr(module, "load_binding", host.binding)
    monkeypatch.setattr("agentclient.backends.libvirt.daemon.AGAIN_S", 0.02)
    return host


@pytest.fixture
def backend(host: FakeHost) -> Iterator[LibvirtBackend]:
    backend = LibvirtBackend([Uri("qemu:///system", named=False)])
    yield backend
    backend.close()


# -- what is listed --------------------------------------------------------------------------------


def test_a_domain_is_listed_with_what_tells_its_start(backend: LibvirtBackend) -> None:
    (vm,) = backend.list_vms()
    assert (str(vm.id), vm.uuid, vm.by_call, vm.freeze_disabled) == (
        "libvirt:db1",
        UUID,
        True,
        None,
    )
    assert vm.generation == f"qemu:///system#{UUID}#3"
    assert vm.identity is not None
    assert backend.has_ended(vm.identity) is False


def test_a_domain_that_was_started_anew_is_another(host: FakeHost, backend: LibvirtBackend) -> None:
    (vm,) = backend.list_vms()
    host.domains = [FakeDomain(number=4)]
    host.events[0](host, host.domains[0], 0, 0, None)
    until(lambda: backend.list_vms()[0].generation != vm.generation)
    assert vm.identity is not None
    assert backend.has_ended(vm.identity) is True


def test_names_that_several_have_are_told_apart(host: FakeHost) -> None:
    two = LibvirtBackend([Uri("qemu:///system", False), Uri("qemu:///session", False)])
    ids = {vm.id.name for vm in two.list_vms()}
    assert ids == {f"db1#{UUID[:8]}", f"db1#{UUID[:8]}#3"}
    assert {vm.id.name for vm in two.list_vms()} == ids, "they stay"
    two.close()


def test_one_daemon_under_two_addresses_is_listed_once(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generation(domain: FakeDomain, uri: Uri) -> str:
        return f"{uri.text}#{UUID}#3#4711.99"

    monkeypatch.setattr(daemon_watch, "generation_of", generation)
    two = LibvirtBackend([Uri("qemu:///system", False), Uri("qemu:///system?a=b", False)])
    (vm,) = two.list_vms()
    assert (vm.id.name, vm.generation) == ("db1", f"qemu:///system#{UUID}#3#4711.99")
    two.close()


def test_a_daemon_that_lets_us_look_alone_is_looked_at(
    host: FakeHost, backend: LibvirtBackend
) -> None:
    host.refuses, host.read_only = FakeError(45, "authentication failed"), True
    (vm,) = backend.list_vms()
    assert (vm.by_call, vm.freeze_disabled) == (
        False,
        "libvirt lets us look alone: authentication failed",
    )
    (note,) = backend.notes()
    assert "look alone" in note.text
    assert backend.problems() == ()


def test_a_daemon_that_refuses_is_told_and_tried_again(
    host: FakeHost, backend: LibvirtBackend
) -> None:
    host.refuses = FakeError(38, "Connection refused")
    assert backend.list_vms() == []
    assert backend.problems() == (), "it was not named, and has never been seen"
    (note,) = backend.notes()
    assert "Connection refused" in note.text
    host.refuses = None
    until(backend.list_vms)
    assert backend.notes() == ()


def test_one_that_was_named_is_bad_input(host: FakeHost) -> None:
    host.refuses = FakeError(38, "Connection refused")
    named = LibvirtBackend([Uri("qemu:///system", named=True)])
    with pytest.raises(BadInput, match="--connect qemu:///system: Connection refused") as told:
        named.check()
    assert str(told.value).endswith("see whether that daemon runs: virsh -c qemu:///system list")
    assert "tried every" not in str(told.value), "the command ends"
    named.subscribe(lambda _: None)
    assert "; tried every " in named.problems()[0], "now it is watched"
    named.close()


def test_a_connection_that_ends_is_told_and_its_domains_stay(
    host: FakeHost, backend: LibvirtBackend
) -> None:
    (vm,) = backend.list_vms()
    assert vm.identity is not None
    host.refuses = FakeError(38, "Connection refused")
    host.closed(host, 1, None)
    until(backend.problems)
    (problem,) = backend.problems()
    assert "its VMs are shown as they were seen last" in problem
    assert [one.id for one in backend.list_vms()] == [vm.id]
    assert backend.has_ended(vm.identity) is None, "nothing is proven (P9)"
    host.refuses = None
    until(lambda: backend.problems() == ())
    assert backend.has_ended(vm.identity) is False
    assert host.opened == 2


def test_events_of_the_agents_port_alone_are_its(host: FakeHost, backend: LibvirtBackend) -> None:
    (vm,) = backend.list_vms()
    access: Any = backend.open(vm, SimpleNamespace(open=None, successor=None))
    seen = access.calls.glance()
    assert seen.port_open is True
    told = ('{"open": true, "id": "channel1"}', "no JSON", '{"id": "channel0"}')
    for text in told:
        host.on_port(host, host.domains[0], "VSERPORT_CHANGE", 0, 0, text, None)
    assert access.calls.glance() == seen
    host.on_port(host, host.domains[0], "", 0, 0, '{"open": true, "id": "channel0"}', None)
    assert access.calls.glance().openings == (seen.openings or 0) + 1
    host.events[1](host, host.domains[0], None)
    assert access.calls.glance().resets == 1


@pytest.mark.parametrize("detail", [3, 4], ids=["migrated", "saved"])
def test_a_guest_that_has_moved_has_not_ended(
    host: FakeHost, backend: LibvirtBackend, detail: int
) -> None:
    """It goes on, perhaps frozen, where it has migrated to, or when it is started again."""
    (vm,) = backend.list_vms()
    access: Any = backend.open(vm, SimpleNamespace(open=None, successor=None))
    (domain,), host.domains = host.domains, []
    host.events[0](host, domain, 5, detail, None)
    until(lambda: backend.list_vms() == [])
    assert access.observe().run_state is RunState.MIGRATED
    assert access.is_gone() is None
    with pytest.raises(AgentGone) as gone:
        access.calls.call(THAW, None, 5.0)
    assert (gone.value.cause, access.is_gone()) == (Cause.MIGRATED, None)
    assert vm.identity is not None
    assert backend.has_ended(vm.identity) is None
    host.domains = [FakeDomain(number=4)]
    host.events[0](host, host.domains[0], 2, 0, None)
    until(backend.list_vms)
    restored = backend.successor(access, UUID)
    assert restored is not None
    assert restored.generation == f"qemu:///system#{UUID}#4"


@pytest.mark.parametrize(
    ("off", "ended"),
    [(None, None), (2, True), (4, None), (5, None), (6, None), (8, True)],
    ids=["transient", "destroyed", "migrated", "saved", "unknown", "found-dead"],
)
def test_a_domain_that_goes_while_nothing_is_heard_has_ended_only_if_libvirt_says_how(
    host: FakeHost, backend: LibvirtBackend, off: int | None, ended: bool | None
) -> None:
    (vm,) = backend.list_vms()
    access: Any = backend.open(vm, SimpleNamespace(open=None, successor=None))
    host.domains = []
    if off is not None:
        host.domains = [FakeDomain(number=-1)]
        host.domains[0].run_state, host.domains[0].reason = SHUT_OFF, off
    host.closed(host, 1, None)
    until(lambda: backend.list_vms() == [])
    assert vm.identity is not None
    assert (access.is_gone(), backend.has_ended(vm.identity)) == (ended, ended)
    seen = access.observe()
    assert seen.gone is ended
    assert ("is not known" in (seen.problem or "")) is (ended is None)


@pytest.mark.parametrize(("reason", "ended"), [(1, True), (3, None), (5, None)])
def test_another_start_proves_the_end_of_the_one_before_if_it_was_booted(
    host: FakeHost, backend: LibvirtBackend, reason: int, ended: bool | None
) -> None:
    """One that was restored, or of which that is not known, may run the same guest."""
    (vm,) = backend.list_vms()
    host.domains = [FakeDomain(number=4)]
    host.domains[0].reason = reason
    host.closed(host, 1, None)
    until(lambda: backend.list_vms()[0].generation != vm.generation)
    assert vm.identity is not None
    assert backend.has_ended(vm.identity) is ended
    assert backend.list_vms()[0].incoming is (reason == 3)


def test_a_start_stays_the_same_when_its_process_is_not_seen_any_more(
    host: FakeHost, backend: LibvirtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A QEMU that ends is described once more, since its guest has shut down; then it has ended."""
    seen = [f"qemu:///system#{UUID}#3#4711.99", f"qemu:///system#{UUID}#3"]
    monkeypatch.setattr(daemon_watch, "generation_of", lambda *_: seen[0])
    (vm,) = backend.list_vms()
    (domain,) = host.domains
    described = threading.Event()
    domain.on_described, domain.run_state = described.set, SHUTTING_DOWN
    seen.pop(0)
    host.events[0](host, domain, 6, 1, None)
    assert described.wait(SOON_S)
    host.domains = []
    host.events[0](host, domain, 5, 0, None)
    assert vm.identity is not None
    assert backend.has_ended(vm.identity) is True


@pytest.mark.parametrize(
    ("detail", "state"), [(1, RunState.SHUTDOWN), (0, RunState.UNKNOWN), (2, RunState.UNKNOWN)]
)
def test_a_guest_that_shuts_down_says_so_and_a_qemu_that_is_ended_does_not(
    host: FakeHost, backend: LibvirtBackend, detail: int, state: RunState
) -> None:
    (vm,) = backend.list_vms()
    access: Any = backend.open(vm, SimpleNamespace(open=None, successor=None))
    assert access.observe().run_state is RunState.RUNNING
    host.domains[0].run_state = SHUTTING_DOWN
    host.events[0](host, host.domains[0], 6, detail, None)
    until(lambda: access.observe().run_state is state)
    assert access.is_gone() is False


@pytest.mark.parametrize(("detail", "ended"), [(0, True), (1, None), (2, None)])
def test_how_a_start_has_begun_is_told_by_its_event_also_if_it_is_paused(
    host: FakeHost, backend: LibvirtBackend, detail: int, ended: bool | None
) -> None:
    (vm,) = backend.list_vms()
    host.domains = [FakeDomain(number=4)]
    host.domains[0].run_state = PAUSED
    host.events[0](host, host.domains[0], 2, detail, None)
    until(lambda: backend.list_vms()[0].generation != vm.generation)
    assert vm.identity is not None
    assert backend.has_ended(vm.identity) is ended
    assert backend.list_vms()[0].incoming is (detail > 0)


def test_a_domain_that_was_started_anew_has_not_taken_its_guest(
    host: FakeHost, backend: LibvirtBackend
) -> None:
    (vm,) = backend.list_vms()
    access: Any = backend.open(vm, SimpleNamespace(open=None, successor=None))
    host.domains = [FakeDomain(number=4)]
    host.events[0](host, host.domains[0], 5, 1, None)
    until(lambda: backend.list_vms()[0].generation != vm.generation)
    assert access.is_gone() is True
    assert backend.successor(access, UUID) is None


def test_a_port_that_closes_while_its_domain_is_described_is_seen(
    host: FakeHost, backend: LibvirtBackend
) -> None:
    """Between a domain's XML and the end of a list of a thousand, a second may pass."""
    domain = host.domains[0]

    def closes() -> None:
        if domain.connected:
            domain.connected = False
            told = '{"open": false, "id": "channel0"}'
            host.on_port(host, domain, "VSERPORT_CHANGE", 0, 0, told, None)

    domain.on_described = closes
    (vm,) = backend.list_vms()
    access: Any = backend.open(vm, SimpleNamespace(open=None, successor=None))
    until(lambda: access.calls.glance().port_open is False)


def test_a_connection_that_is_given_up_is_not_listened_to_any_more(
    host: FakeHost, backend: LibvirtBackend
) -> None:
    """Else the daemon keeps it, and each event is told twice: an agent that was restarted."""
    (vm,) = backend.list_vms()
    access: Any = backend.open(vm, SimpleNamespace(open=None, successor=None))
    before, heard = host.on_port, set(host.heard)
    host.fails = FakeError(88, "access denied")
    host.events[0](host, host.domains[0], 2, 0, None)
    until(lambda: backend.problems() and not host.heard)
    host.fails = None
    until(lambda: backend.problems() == ())
    assert host.heard == heard
    openings = access.calls.glance().openings
    told = '{"open": true, "id": "channel0"}'
    for each in (before, host.on_port):
        each(host, host.domains[0], "VSERPORT_CHANGE", 0, 0, told, None)
    assert access.calls.glance().openings == openings + 1


# -- what a call comes to --------------------------------------------------------------------------


class Told:
    """Who knows how a start has ended."""

    def __init__(self) -> None:
        self.end: End | None = None

    def end_of(self, _uuid: str, _generation: str) -> End | None:
        return self.end


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def calls(host: FakeHost, told: Told) -> DomainCalls:
    return DomainCalls(Connections("qemu:///system"), UUID, f"qemu:///system#{UUID}#3", told)


@pytest.fixture
def held(host: FakeHost) -> HeldCalls:
    """What a holder has of it."""
    watch = EndWatch("qemu:///system")
    return HeldCalls(Connections("qemu:///system"), UUID, f"qemu:///system#{UUID}#3", watch)


def fails(code: int) -> Callable[[], str]:
    def answer() -> str:
        raise FakeError(code, "unable to execute QEMU agent command 'x': its own words")

    return answer


def test_a_call_returns_the_value(calls: DomainCalls, host: FakeHost) -> None:
    assert calls.call(STATUS, None, 5.0) == "thawed"
    calls.call("guest-fsfreeze-freeze-list", {"mountpoints": ["/a"]}, 5.0)
    assert '"arguments": {"mountpoints": ["/a"]}' in host.domains[0].asked[-1]
    assert host.opened == 1, "a connection that is free is used again"


@pytest.mark.parametrize("reply", ["[" * 65 + "]" * 65, '"x', "1"])
def test_a_reply_is_within_the_caps_of_every_agents(
    calls: DomainCalls, host: FakeHost, reply: str
) -> None:
    """What is nested too deeply to be written again would end the holder's hearing of a guest."""
    host.domains[0].answer = lambda: f'{{"return": {reply}}}'
    if reply == "1":
        assert calls.call(STATUS, None, 5.0) == 1
        return
    with pytest.raises(CallFailed, match="can't be read"):
        calls.call(STATUS, None, 5.0)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, CallFailed),
        (113, CallFailed),
        (29, CallFailed),
        (55, AgentBusy),
        (68, AgentBusy),
        (86, AgentGone),
        (112, AgentGone),
        (38, AgentGone),
    ],
)
def test_each_error_is_what_it_means(
    calls: DomainCalls, host: FakeHost, code: int, kind: type[Exception]
) -> None:
    host.domains[0].answer = fails(code)
    with pytest.raises(kind):
        calls.call(STATUS, None, 60.0)
    assert calls.is_gone() is None


def test_the_end_of_its_channel_is_told_from_an_agents_own_error(
    calls: DomainCalls, host: FakeHost
) -> None:
    """Before libvirt 11.2 both are error 1: an agent that has answered answers again."""
    errors = [1, 86]
    host.domains[0].answer = lambda: fails(errors.pop(0))()
    with pytest.raises(AgentGone) as gone:
        calls.call(FREEZE, None, 60.0)
    assert gone.value.cause is Cause.AGENT_GONE
    assert [json.loads(one)["execute"] for one in host.domains[0].asked] == [FREEZE, STATUS]


def test_the_end_of_its_channel_with_its_domain_is_no_answer_either(
    calls: DomainCalls, host: FakeHost, told: Told
) -> None:
    def answer() -> str:
        host.domains.clear()
        raise FakeError(1, "End of file from agent socket")

    host.domains[0].answer = answer
    with pytest.raises(AgentGone, match="is not known yet") as gone:
        calls.call(FREEZE, None, 60.0)
    assert (gone.value.cause, calls.is_gone()) == (Cause.CHANNEL_BROKEN, None)
    told.end = End.GONE
    with pytest.raises(AgentGone) as gone:
        calls.call(THAW, None, 60.0)
    assert (gone.value.cause, calls.is_gone()) == (Cause.VM_GONE, True)


def test_an_agents_own_words_are_shown(calls: DomainCalls, host: FakeHost) -> None:
    host.domains[0].answer = fails(113)
    with pytest.raises(CallFailed, match=r"^its own words$"):
        calls.call(STATUS, None, 60.0)


def test_a_call_without_an_answer_at_its_bound_has_timed_out(
    calls: DomainCalls, host: FakeHost
) -> None:
    def answer() -> str:
        time.sleep(1.0)
        raise FakeError(86)

    host.domains[0].answer = answer
    with pytest.raises(CallTimedOut):
        calls.call(FREEZE, None, 1.0)


def test_a_domain_that_has_ended_is_gone_and_a_paused_one_is_not(
    calls: DomainCalls, host: FakeHost
) -> None:
    host.domains[0].answer = fails(55)
    with pytest.raises(AgentBusy):
        calls.call(THAW, None, 5.0)
    assert calls.is_gone() is None
    host.domains[0].run_state = SHUT_OFF
    with pytest.raises(AgentGone) as gone:
        calls.call(THAW, None, 5.0)
    assert (gone.value.cause, calls.is_gone()) == (Cause.CHANNEL_BROKEN, None), "no reason is told"
    host.domains[0].reason = DESTROYED
    with pytest.raises(AgentGone) as gone:
        calls.call(THAW, None, 5.0)
    assert (gone.value.cause, calls.is_gone()) == (Cause.VM_GONE, True)


@pytest.mark.parametrize("reason", [4, 5], ids=["migrated", "saved"])
def test_a_domain_whose_guest_has_moved_is_not_gone(
    calls: DomainCalls, host: FakeHost, reason: int
) -> None:
    host.domains[0].answer = fails(55)
    host.domains[0].run_state, host.domains[0].reason = SHUT_OFF, reason
    with pytest.raises(AgentGone) as gone:
        calls.call(THAW, None, 5.0)
    assert (gone.value.cause, calls.is_gone()) == (Cause.MIGRATED, None)


def test_another_start_is_never_asked(calls: DomainCalls, host: FakeHost, told: Told) -> None:
    host.domains[0].number = 4
    with pytest.raises(AgentGone, match="started anew"):
        calls.call(FREEZE, None, 5.0)
    assert not host.domains[0].asked
    assert calls.is_gone() is None, "it may be the same guest, which was saved"
    told.end = End.GONE
    assert calls.is_gone() is True


@pytest.mark.parametrize(
    ("detail", "cause", "gone"),
    [(1, Cause.VM_GONE, True), (3, Cause.MIGRATED, None), (4, Cause.MIGRATED, None)],
    ids=["destroyed", "migrated", "saved"],
)
def test_a_holder_hears_how_a_domain_ends_that_leaves_nothing_to_be_asked_about(
    held: HeldCalls, host: FakeHost, detail: int, cause: Cause, gone: bool | None
) -> None:
    """One that is transient, while nobody but the holder is there."""
    assert held.call(STATUS, None, 5.0) == "thawed"
    assert held.is_gone() is None
    (domain,), host.domains = host.domains, []
    with pytest.raises(AgentGone) as failed:
        held.call(THAW, None, 5.0)
    assert (failed.value.cause, held.is_gone()) == (Cause.CHANNEL_BROKEN, None)
    host.events[0](host, domain, 5, detail, None)
    with pytest.raises(AgentGone) as failed:
        held.call(THAW, None, 5.0)
    assert (failed.value.cause, held.is_gone()) == (cause, gone)


def test_a_holder_that_may_have_missed_an_end_does_not_know_it(
    held: HeldCalls, host: FakeHost
) -> None:
    held.call(STATUS, None, 5.0)
    host.closed(host, 1, None)
    (domain,), host.domains = host.domains, []
    for _ in range(2):
        with pytest.raises(AgentGone):
            held.call(THAW, None, 5.0)
        host.events[0](host, domain, 5, 1, None)
        assert held.is_gone() is None


@pytest.mark.parametrize("code", [55, 68, 113])
def test_a_call_that_libvirt_has_answered_leaves_its_connection_open(
    calls: DomainCalls, host: FakeHost, code: int
) -> None:
    """A thaw of a paused guest is called four times a second, for as long as it is paused."""
    host.domains[0].answer = fails(code)
    for _ in range(3):
        with pytest.raises((AgentBusy, CallFailed)):
            calls.call(THAW, None, 5.0)
    assert host.opened == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"error": 1}', "[" * 100_000])
def test_what_is_no_reply_fails(calls: DomainCalls, host: FakeHost, text: str) -> None:
    host.domains[0].answer = lambda: text
    with pytest.raises(CallFailed):
        calls.call(STATUS, None, 5.0)


@pytest.fixture
def pending(calls: DomainCalls, host: FakeHost) -> Iterator[threading.Event]:
    """Have a freeze of the domain pending, until this is set."""
    go_on, began = threading.Event(), threading.Semaphore(0)

    def answer() -> str:
        began.release()
        go_on.wait(SOON_S)
        return '{"return": 1}'

    host.domains[0].answer = answer
    thread = threading.Thread(target=calls.call, args=(FREEZE, None, 60.0))
    thread.start()
    began.acquire(timeout=SOON_S)
    host.domains[0].answer = lambda: '{"return": 2}'
    yield go_on
    go_on.set()
    thread.join(SOON_S)
    assert calls.call(FREEZE, None, 5.0) == 2


def test_freezes_are_limited_and_thaws_are_not(host: FakeHost, told: Told) -> None:
    connections = Connections("qemu:///system")
    calls = DomainCalls(connections, UUID, f"qemu:///system#{UUID}#3", told)
    host.domains[0].answer = lambda: '{"return": 2}'
    with ExitStack() as others:
        for number in range(MOST_FREEZES):
            others.enter_context(connections.freeze(f"another {number}"))
        with pytest.raises(AgentBusy, match="8 freezes are pending"):
            calls.call(FREEZE, None, 60.0)
        assert calls.call(THAW, None, 5.0) == 2
    assert calls.call(FREEZE, None, 5.0) == 2


def test_a_domain_whose_freeze_hangs_takes_one_place_and_is_thawed(
    calls: DomainCalls, pending: threading.Event
) -> None:
    for _ in range(MOST_FREEZES * 2):
        with pytest.raises(AgentBusy, match="an earlier freeze of this domain"):
            calls.call(FREEZE, None, 60.0)
    with calls._connections.freeze("another"):
        pass
    assert calls.call(THAW, None, 5.0) == 2


# -- what is pressed -------------------------------------------------------------------------------


@pytest.fixture
def buttons(host: FakeHost) -> LibvirtButtons:
    return LibvirtButtons(Connections("qemu:///system"), UUID, f"qemu:///system#{UUID}#3")


def test_keys_and_the_reset_are_pressed_at_the_domain(
    buttons: LibvirtButtons, host: FakeHost
) -> None:
    buttons.press(SYSRQ_J)
    buttons.reset()
    assert host.domains[0].pressed == [(0, (56, 99, 36)), "reset"]


def test_what_libvirt_refuses_or_has_not_done_is_told(
    buttons: LibvirtButtons, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.domains[0].on_pressed = fails(55)
    with pytest.raises(MonitorError, match="libvirt refused it"):
        buttons.reset()
    monkeypatch.setattr(buttons_module, "ASK_S", 0.05)
    go_on = threading.Event()
    host.domains[0].on_pressed = lambda: go_on.wait(SOON_S)
    with pytest.raises(MonitorError, match="it may do it yet"):
        buttons.reset()
    go_on.set()


def test_another_start_is_never_pressed_at(buttons: LibvirtButtons, host: FakeHost) -> None:
    host.domains[0].number = 4
    with pytest.raises(MonitorError, match="started anew"):
        buttons.reset()
    host.domains = []
    with pytest.raises(MonitorError, match="refused"):
        buttons.press(SYSRQ_J)
    host.refuses = FakeError(38, "Connection refused")
    with pytest.raises(MonitorError, match="can't be reached"):
        buttons.reset()


def test_who_may_only_look_presses_nothing(host: FakeHost, backend: LibvirtBackend) -> None:
    host.refuses, host.read_only = FakeError(45, "authentication failed"), True
    (vm,) = backend.list_vms()
    assert backend.open(vm, SimpleNamespace(open=None, successor=None)).buttons is None
    assert "look alone" in (vm.no_monitor or "")


# -- visits ----------------------------------------------------------------------------------------


class Slow:
    """An agent whose call comes to what a test wants, when it wants."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.error: Exception | None = None
        self.asked = 0

    def call(self, command: str, arguments: Any, timeout_s: float) -> object:
        self.asked += 1
        self.go_on.wait(SOON_S)
        if self.error is not None:
            raise self.error
        return "thawed"


def test_a_question_that_hangs_is_asked_once_and_what_it_comes_to_is_known() -> None:
    slow = Slow()
    slow.error = AgentBusy("state change lock (held by agent=remoteDispatchDomainFSFreeze)")
    probes = Probes(slow)
    for _ in range(3):
        assert probes.ask(first=False, timeout_s=0.05).rtt_s is None
    assert slow.asked == 1
    assert probes.busy is None
    slow.go_on.set()
    until(lambda: probes.busy == "another caller's freeze (domfsfreeze)")
    slow.error = None
    until(lambda: probes.ask(first=False, timeout_s=1.0).frozen is FreezeState.THAWED)
    assert probes.busy is None


def test_while_a_question_is_out_it_is_looked_for_whose_command_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "SUSPECT_AGAIN_S", 0.0)
    slow, sure = Slow(), list[bool]()
    seen: list[str | None] = [None, "by its looks virsh domfsfreeze (pid 4711)"]

    def suspect(one: bool) -> str | None:
        sure.append(one)
        return seen.pop(0)

    probes = Probes(slow, suspect)
    probes.ask(first=False, timeout_s=0.05)
    assert (probes.busy, sure) == (None, [False]), "nobody is seen, and it may hang as well"
    monkeypatch.setattr(probe, "SURE_S", 0.0)
    probes.ask_again()
    assert (probes.busy, sure) == ("by its looks virsh domfsfreeze (pid 4711)", [False, True])
    slow.go_on.set()
    until(lambda: probes.busy is None)
    probes.ask_again()
    assert slow.asked == len(sure) - 1 == 1, "nothing is out"


def test_what_libvirt_has_told_is_not_replaced_by_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SUSPECT_AGAIN_S", 0.0)
    monkeypatch.setattr(probe, "AGAIN_S", 0.0)
    slow = Slow()
    slow.error = AgentBusy("state change lock (held by agent=remoteDispatchDomainFSFreeze)")
    slow.go_on.set()
    probes = Probes(slow, lambda _: "by its looks virsh domtime (pid 1)")
    probes.ask(first=False, timeout_s=SOON_S)
    told = probes.busy
    assert told == "another caller's freeze (domfsfreeze)"
    slow.go_on.clear()
    probes.ask_again()
    until(lambda: slow.asked == 2)
    probes.ask_again()
    assert probes.busy == told
    slow.go_on.set()


@pytest.mark.parametrize(
    ("line", "verb"),
    [
        ("virsh domfsfreeze db1", "domfsfreeze"),
        (f"virsh -c qemu:///system qemu-agent-command {UUID} {{}}", "qemu-agent-command"),
        ("virsh\0domfsfreeze --domain=db1", "domfsfreeze"),
        ("virsh snapshot-create-as db1 x --quiesce --disk-only", "snapshot-create-as"),
        ("virsh domifaddr 3 --source agent", "domifaddr"),
        ("virsh snapshot-create-as db1 x", None),
        ("virsh domfsfreeze db10", None),
        ("virsh dominfo db1", None),
        ("python3 backup.py db1", None),
        ("", None),
    ],
)
def test_what_a_client_was_started_to_ask_is_on_its_command_line(
    line: str, verb: str | None
) -> None:
    assert asked_by(line.split("\0"), ("db1", UUID, "3")) == verb


def test_a_caller_that_is_not_known_is_named_by_its_call() -> None:
    assert who_is_busy("x (held by monitor=none agent=fooBar)") == "another caller's fooBar"
    assert who_is_busy("odd\x1b").isprintable()


# -- without libvirt -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["-c", "LIBVIRT_DEFAULT_URI"])
def test_without_its_binding_one_sentence_says_what_to_install(tmp_path: Path, how: str) -> None:
    (tmp_path / "libvirt.py").write_text("raise ImportError('not here')")
    uri = "qemu:///system"
    words = ["-c", uri] if how == "-c" else []
    done = subprocess.run(
        [sys.executable, "-m", "tui.main", *words, "list"],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path), "FROSTWATCH_CONFIG": "/dev/null", "HOME": str(tmp_path)}
        | ({} if words else {how: uri}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'frostwatch[libvirt]'" in done.stderr


def test_nothing_of_libvirt_is_imported_where_there_is_none(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import agentclient; from agentclient.backends import"
        " choice;"
        "choice.LIBVIRT_FOLDER = Path('/nowhere'); agentclient.Engine().look(); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"FROSTWATCH_CONFIG": "/dev/null", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "agentclient.backends.qemu" in done.stdout
    assert "libvirt" not in done.stdout
