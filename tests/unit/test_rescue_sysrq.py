"""The rung *sysrq*: the guest's kernel is asked to thaw everything, and writes tell whether it did.

QEMU answers the same whether anybody heard it or not (protocol §3.17).
"""

from __future__ import annotations

import pytest

from agentclient.access.buttons import ASK_S
from agentclient.access.stream import Channel, ConnectFailed, ConnectProblem, StreamEnded
from agentclient.model.events import EventKind
from agentclient.model.rescue import Means, RescueOutcome, RescueTimes, Rung, RungResult, Step
from agentclient.model.states import FreezeState, Level
from agentclient.model.vm import Vm
from agentclient.operations.rescue import monitor_rungs as monitor_rungs_module
from agentclient.operations.rescue.monitor_rungs import CONSOLE_HELD_S, sysrq
from tests.unit.fakes import Error, Raw
from tests.unit.frozen_vm import TIMES, VM, FrozenVm, frozen_vm

KEY, SERIAL = Step(Rung.SYSRQ), Step(Rung.SYSRQ, Means.SERIAL)
RUNG = "frostwatch rescue qemu:db --rung"


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch) -> FrozenVm:
    return frozen_vm(monkeypatch)


def take(vm: FrozenVm, step: Step = KEY, on: Vm = VM, **more: object) -> RescueOutcome:
    """Take the rung where it was decided that it may be taken."""
    return sysrq(vm.rung(step, on, **more), step)


def notes(vm: FrozenVm) -> list[str]:
    return vm.reporter.texts(EventKind.NOTE)


# -- what tells that it worked --------------------------------------------------------------------


def test_an_agent_that_finds_nothing_frozen_proves_it(vm: FrozenVm) -> None:
    outcome = take(vm)
    assert (outcome.found, outcome.state, outcome.thawed) == (
        RungResult.THAWED,
        FreezeState.THAWED,
        0,
    )
    assert outcome.reason == "thawed: the agent found nothing that was still frozen"
    assert vm.thaws == 1, "its flag is cleared, whatever it believes"
    assert vm.flag is False
    assert "the guest wrote nothing before, and writes now" in notes(vm)


def test_an_agent_that_thaws_something_tells_that_it_did_nothing(vm: FrozenVm) -> None:
    vm.sysrq_allowed = False
    outcome = take(vm)
    assert (outcome.found, outcome.thawed) == (RungResult.THAWED, 2)
    assert outcome.reason == (
        "SysRq had done nothing (kernel.sysrq may not allow it); the agent thawed 2 file systems"
    )
    assert "the guest wrote nothing before, and writes now" not in notes(vm)


def test_without_an_agent_writes_prove_it(vm: FrozenVm) -> None:
    vm.agent_leaves()
    outcome = take(vm)
    assert (outcome.found, outcome.state, outcome.ok) == (RungResult.WRITES, None, True)
    assert outcome.reason.startswith("the guest writes again; no agent has come back yet")
    assert "will say frozen until it is thawed once more" in outcome.reason
    assert outcome.next == f"{RUNG} wait"
    most_s = TIMES.before_s + TIMES.after_s + TIMES.agent_s
    assert outcome.seconds == pytest.approx(most_s, abs=1.0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sysrq_allowed": False}, "nothing has been written since"),
        ({"busy": False}, "an idle guest may have nothing to write"),
        ({"frozen": 0}, "it wrote before it, too"),
    ],
)
def test_without_a_proof_a_person_has_to_look(
    vm: FrozenVm, changes: dict[str, object], why: str
) -> None:
    for name, value in changes.items():
        setattr(vm, name, value)
    vm.agent_leaves()
    outcome = take(vm)
    assert (outcome.found, outcome.ok) == (RungResult.UNKNOWN, False)
    assert why in outcome.reason
    assert "kernel.sysrq may not allow it" in outcome.reason
    assert outcome.next == f"{RUNG} reset"


def test_writes_that_cannot_be_seen_prove_nothing(vm: FrozenVm) -> None:
    vm.qemu.answers["query-blockstats"] = Error("no")
    vm.agent_leaves()
    outcome = take(vm)
    assert outcome.found is RungResult.UNKNOWN
    assert "its writes can't be seen" in outcome.reason


def test_writes_are_watched_before_and_after(vm: FrozenVm) -> None:
    began = vm.clock.now
    vm.agent_leaves()
    pressed: list[float] = []

    def press(_: object) -> object:
        pressed.append(vm.clock.now)
        return vm.sysrq()

    vm.qemu.answers["send-key"] = press
    take(vm)
    assert pressed == [pytest.approx(began + TIMES.before_s, abs=0.3)]
    before, after, agent = vm.reporter.waits
    assert (before.waiting_for, after.waiting_for) == (
        "what it writes before",
        "what it writes after it",
    )
    assert after.ends_at == pytest.approx(pressed[0] + TIMES.after_s)
    assert agent.waiting_for == "an agent to come back"


# -- how it is sent -------------------------------------------------------------------------------


def test_by_key(vm: FrozenVm) -> None:
    take(vm)
    keys = [{"type": "qcode", "data": key} for key in ("alt", "sysrq", "j")]
    assert [given for name, given in vm.qemu.asked if name == "send-key"] == [{"keys": keys}]
    assert "Alt+SysRq+J was pressed" in notes(vm)
    assert vm.typed == []


def test_by_serial_the_letter_follows_the_break(vm: FrozenVm) -> None:
    outcome = take(vm, SERIAL)
    assert (outcome.found, outcome.means) == (RungResult.THAWED, Means.SERIAL)
    assert [data for _, data in vm.typed] == [b"j"]
    assert [given for name, given in vm.qemu.asked if name == "chardev-send-break"] == [
        {"id": "serial0"}
    ]
    assert "a break and the letter j were sent to serial0" in notes(vm)
    assert "send-key" not in vm.asked


def test_who_types_at_a_serial_port_keeps_the_seat_long_enough_to_be_heard(
    vm: FrozenVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU looks once a second whether anybody is at a terminal."""
    left: list[float] = []
    channel = vm.serial_console.connect()
    monkeypatch.setattr(channel, "close", lambda: left.append(vm.clock.now))
    monkeypatch.setattr(monitor_rungs_module, "connect_serial", lambda *_: channel)
    vm.agent_leaves()
    take(vm, SERIAL, times=RescueTimes(after_s=0.25))
    (typed,) = vm.typed
    (at,) = left
    assert at - typed[0] >= CONSOLE_HELD_S


def test_a_key_needs_no_seat(vm: FrozenVm) -> None:
    vm.agent_leaves()
    outcome = take(vm, KEY, times=RescueTimes(before_s=0.5, after_s=0.25, agent_s=0.0))
    assert outcome.seconds < 0.5 + CONSOLE_HELD_S


# -- who does not let it be sent ------------------------------------------------------------------


@pytest.mark.parametrize("answer", [Error("no \x1bkeys"), Raw()])
@pytest.mark.parametrize(("step", "command"), [(KEY, "send-key"), (SERIAL, "chardev-send-break")])
def test_a_monitor_that_refuses_or_is_silent(
    vm: FrozenVm, step: Step, command: str, answer: object
) -> None:
    vm.qemu.answers[command] = answer
    outcome = take(vm, step)
    assert outcome.found is RungResult.FAILED
    assert outcome.reason.startswith("it could not be sent: ")
    assert command in outcome.reason
    assert "\x1b" not in outcome.reason
    assert outcome.next == f"{RUNG} thaw"
    assert vm.typed == [], "without a break the letter would be typed into a shell"
    assert outcome.seconds <= TIMES.before_s + ASK_S + 0.5
    assert all(one.closed for one in vm.serial_console.channels)
    assert vm.thaws == 0


@pytest.mark.parametrize(
    "error",
    [
        ConnectFailed(ConnectProblem.NOT_THE_VM, "it is not the VM's own"),
        ConnectFailed(ConnectProblem.NO_DESCRIPTOR, "no descriptor is left"),
        OSError(13, "Permission denied"),
    ],
)
def test_a_seat_that_cannot_be_had(
    vm: FrozenVm, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> Channel:
        raise error

    monkeypatch.setattr(monitor_rungs_module, "connect_serial", refuse)
    outcome = take(vm, SERIAL)
    assert outcome.found is RungResult.FAILED
    assert str(error.args[-1]) in outcome.reason
    assert "chardev-send-break" not in vm.asked, "nobody is there to type the letter behind it"


@pytest.mark.parametrize("error", [StreamEnded("it broke"), TimeoutError("it does not read")])
def test_a_seat_that_breaks(
    vm: FrozenVm, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    channel = vm.serial_console.connect()
    channel.send_error = error
    monkeypatch.setattr(monitor_rungs_module, "connect_serial", lambda *_: channel)
    outcome = take(vm, SERIAL)
    assert outcome.found is RungResult.FAILED
    assert str(error) in outcome.reason
    assert channel.closed == 1


def test_somebody_who_has_sat_down_there_meanwhile_is_not_pushed_away(vm: FrozenVm) -> None:
    taken = "unix:/run/db.serial0,server=on"
    vm.clock.at(1.0, lambda: vm.serials.update(serial0=taken))
    outcome = take(vm, SERIAL)
    assert outcome.found is RungResult.FAILED
    assert "somebody else is at the serial port serial0" in outcome.reason
    assert vm.serial_console.channels == []
    assert "chardev-send-break" not in vm.asked


def test_a_port_that_is_there_no_more(vm: FrozenVm) -> None:
    vm.clock.at(1.0, vm.serials.clear)
    outcome = take(vm, SERIAL)
    assert outcome.found is RungResult.FAILED
    assert "the guest has no serial port" in outcome.reason


# -- who stops it ---------------------------------------------------------------------------------


def test_stopped_before_it_was_sent(vm: FrozenVm) -> None:
    vm.clock.at(0.6, vm.stop)
    outcome = take(vm)
    assert (outcome.found, outcome.reason) == (RungResult.CANCELLED, "stopped: nothing was sent")
    assert outcome.seconds == pytest.approx(0.6)
    assert "send-key" not in vm.asked
    assert outcome.next == f"{RUNG} sysrq"


def test_stopped_after_it_was_sent_it_says_what_is_known(vm: FrozenVm) -> None:
    vm.sysrq_allowed = False
    vm.clock.at(TIMES.before_s + 1.0, vm.stop)
    outcome = take(vm)
    assert outcome.found is RungResult.CANCELLED
    assert outcome.reason.startswith("stopped: SysRq was sent; nothing has been written since")
    assert outcome.seconds == pytest.approx(TIMES.before_s + 1.0, abs=0.3)
    assert vm.said == []


def test_stopped_after_it_was_seen_to_work(vm: FrozenVm) -> None:
    vm.clock.at(TIMES.before_s + 2.0, vm.stop)
    outcome = take(vm)
    assert outcome.found is RungResult.WRITES
    assert "no agent was asked" in outcome.reason
    assert vm.said == []


# -- the thaw behind it ---------------------------------------------------------------------------


def test_an_agent_that_comes_soon_is_thawed(vm: FrozenVm) -> None:
    vm.agent_leaves()
    vm.clock.at(TIMES.before_s + TIMES.after_s + 10.0, vm.agent_comes)
    outcome = take(vm)
    assert (outcome.found, outcome.thawed) == (RungResult.THAWED, 0)
    assert vm.flag is False


def test_a_channel_that_another_client_holds_is_left_to_it(vm: FrozenVm) -> None:
    vm.other_client = True
    outcome = take(vm)
    assert outcome.found is RungResult.WRITES
    assert "somebody else holds the agent's channel" in outcome.reason
    assert vm.channel.channels == []


def test_beside_a_freeze_the_agent_is_left_to_it(vm: FrozenVm) -> None:
    outcome = take(vm, beside=True)
    assert outcome.found is RungResult.WRITES
    assert "the thaw that is queued at its agent is waited for" in outcome.reason
    assert outcome.next is None
    assert vm.channel.channels == []


def test_a_vm_without_an_agent(vm: FrozenVm) -> None:
    outcome = take(vm, on=VM._replace(agent=None))
    assert outcome.found is RungResult.WRITES
    assert "no agent was asked" in outcome.reason


def test_an_agent_that_stays_silent_is_given_up(vm: FrozenVm) -> None:
    vm.agent_hears = False
    outcome = take(vm)
    assert outcome.found is RungResult.WRITES
    assert "no agent has answered a thaw yet" in outcome.reason
    most_s = TIMES.before_s + TIMES.after_s + TIMES.agent_s
    assert outcome.seconds == pytest.approx(most_s, abs=3.0)


def test_a_vm_that_ends_meanwhile(vm: FrozenVm) -> None:
    vm.sysrq_allowed = False
    vm.clock.at(TIMES.before_s + 1.0, lambda: setattr(vm, "gone", True))
    vm.clock.at(TIMES.before_s + 1.0, vm.agent_leaves)
    vm.clock.at(TIMES.before_s + 1.0, lambda: vm.monitor.failures.extend(_refused(1000)))
    outcome = take(vm)
    assert outcome.found is RungResult.UNKNOWN
    assert "no agent has come back yet" in outcome.reason
    assert outcome.seconds < TIMES.before_s + TIMES.after_s + 1.0, "nobody is waited for"


def _refused(number: int) -> list[ConnectFailed]:
    return [ConnectFailed(ConnectProblem.REFUSED, "nobody listens") for _ in range(number)]


def test_taking_it_twice_is_no_harm(vm: FrozenVm) -> None:
    assert take(vm).thawed == 0
    vm.busy = False
    assert take(vm).found is RungResult.THAWED


def test_what_proves_it_is_told_as_good_news(vm: FrozenVm) -> None:
    take(vm)
    good = [tell.text for tell in vm.reporter.told if tell.level is Level.GOOD]
    assert "the guest wrote nothing before, and writes now" in good
