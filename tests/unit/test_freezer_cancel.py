"""A freeze that is cancelled while it is being prepared is never sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentclient.access.agent_session import StreamSession
from agentclient.access.local_access import LocalAccess
from agentclient.freeze.coverage import Coverage
from agentclient.holder.client import ArmedChannel, HolderClient
from agentclient.model.instruction import Instruction
from agentclient.model.outcome import FileSystem
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.rescue import Rung, Step
from agentclient.model.snapshot import MonitorView, Progress
from agentclient.model.states import OutcomeKind, Refusal
from agentclient.model.vm import FarHost, Vm, VmId
from agentclient.operations.context import READ_ONLY, OperationContext
from agentclient.operations.control import Control
from agentclient.operations.freeze import FreezeOperation
from agentclient.operations.preflight import Prepared
from agentclient.operations.refusals import no_long_hold, no_remote_hold
from agentclient.operations.rescue.operation import RescueOperation
from agentclient.operations.thaw import ThawOperation
from tests.unit.fakes import Clock, FakeChannel, FakeReporter


class Reporter(FakeReporter):
    """Lets a freeze show how far it has got."""

    def progress(self, progress: Progress | None) -> None:
        pass


class Holder(HolderClient):
    """Takes its time to stand by; meanwhile somebody cancels."""

    def __init__(self, control: Control, channel: FakeChannel) -> None:
        super().__init__()
        self.left: list[ArmedChannel] = []
        self._control = control
        self._channel = channel

    def arm(self, *_: object, **__: object) -> ArmedChannel:
        return ArmedChannel("a#1", self._channel, self._channel)

    def intend(self, *_: object, **__: object) -> None:
        self._control.add(Instruction.CANCEL)

    def disarm(self, armed: ArmedChannel) -> None:
        self.left.append(armed)


def context(control: Control, holder: Holder) -> OperationContext:
    vm = Vm(VmId("socket", "a"))
    return OperationContext(vm, LocalAccess(vm, None, None), Reporter(), control, holder)


def test_cancelled_while_the_holder_gets_ready_it_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    control, channel = Control(), FakeChannel(Clock(), lambda _: ())
    prepared = Prepared(StreamSession(channel), None, 0.0, MonitorView())
    monkeypatch.setattr(FreezeOperation, "_prepare", lambda _: prepared)
    holder = Holder(control, channel)
    outcome = FreezeOperation(context(control, holder), FreezeRequest()).run()
    assert (outcome.kind, outcome.settled) == (OutcomeKind.REFUSED, True)
    assert "cancelled before the freeze was sent" in outcome.reason
    assert channel.written == b""
    assert len(holder.left) == 1


def test_a_windows_guest_is_not_held_for_longer_than_it_can_be_unless_that_is_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    control, channel = Control(), FakeChannel(Clock(), lambda _: ())
    coverage = Coverage((FileSystem("Volume{1}", "C:\\", "NTFS"),), ())
    prepared = Prepared(StreamSession(channel), coverage, 0.0, MonitorView())
    monkeypatch.setattr(FreezeOperation, "_prepare", lambda _: prepared)
    request = FreezeRequest(schedule=Schedule(hold_s=14.0), long_hold=False)
    outcome = FreezeOperation(context(control, Holder(control, channel)), request).run()
    assert (outcome.refusal, outcome.settled) == (Refusal.NOT_BEGUN, True)
    assert "lets writes go after 10 s" in outcome.reason
    assert "--hold 10s, or with --yes" in str(outcome.next)
    assert channel.written == b""
    for meant in (
        FreezeRequest(schedule=Schedule(hold_s=14.0)),
        FreezeRequest(schedule=Schedule(hold_s=10.0), long_hold=False),
    ):
        holder = Holder(control, channel)
        freezer = FreezeOperation(context(control, holder), meant)
        assert freezer.run().refusal is Refusal.CANCELLED, "it was about to be sent"


@pytest.mark.parametrize(
    "coverage", [None, Coverage((FileSystem("vda1", "/", "ext4"),), ())], ids=["unknown", "linux"]
)
def test_any_other_guest_is_held_as_long_as_it_is_asked(coverage: Coverage | None) -> None:
    request = FreezeRequest(schedule=Schedule(hold_s=120.0), long_hold=False)
    assert no_long_hold(request, coverage) is None


def test_who_insists_freezes_where_nobody_stands_by() -> None:
    far = Vm(VmId("libvirt", "db1"), far=FarHost("hall-a", "qemu+ssh://hall-a/system", "virsh x"))
    refusal = no_remote_hold(FreezeRequest(), far)
    assert refusal is not None
    assert refusal.refusal is Refusal.HOLDER
    assert no_remote_hold(FreezeRequest(remote_hold=True), far) is None
    assert no_remote_hold(FreezeRequest(), far._replace(far=None)) is None


def test_read_only_refuses_before_anything_else() -> None:
    control, channel = Control(), FakeChannel(Clock(), lambda _: ())
    given = replace(context(control, Holder(control, channel)), read_only=True)
    outcome = FreezeOperation(given, FreezeRequest()).run()
    assert (outcome.refusal, outcome.settled) == (Refusal.READ_ONLY, True)
    thawed = ThawOperation(given, foreign=True).run()
    assert (thawed.refused, thawed.reason) == (True, READ_ONLY)
    rung = RescueOperation(given, Step(Rung.THAW), person=True).run()
    assert (rung.refused, rung.reason) == (True, f"not taken: {READ_ONLY}")
    assert channel.written == b""
