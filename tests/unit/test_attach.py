"""A window that its console has left, in the care of another process: what it does, and its end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from agentclient.access.local_access import LocalAccess
from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder import other_holder
from agentclient.holder.messages import HolderRequest
from agentclient.holder.outside_requests import Asker
from agentclient.holder.thaw_message import done
from agentclient.model.clock import now
from agentclient.model.events import EventKind, HoldExtended
from agentclient.model.instruction import Instruction
from agentclient.model.meaning import with_meaning
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import HeldBy
from agentclient.model.states import FreezeState, OperationKind, OutcomeKind, Phase, Refusal
from agentclient.operations import attach
from agentclient.operations.attach import AttachOperation
from agentclient.operations.context import OperationContext
from agentclient.operations.control import Control
from tests.unit.outside_harness import HOLD_S, PATIENCE_S, VM, Harness
from tests.unit.virtual_host import VirtualReporter

HELD = HeldBy(77, "bob", FreezeState.FROZEN, now(), holder=os.getpid(), window=3, key="w1")


class Attached:
    """An operation that is attached to the window of a holder, in a thread."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.reporter, self.control = VirtualReporter(), Control()
        access = LocalAccess(VM, None, None)
        self.context = OperationContext(VM, access, self.reporter, self.control)
        self.operation = AttachOperation(self.context)
        self.outcome: Outcome | None = None
        self._thread = threading.Thread(target=self._run)

    def begin(self) -> None:
        self._thread.start()
        self.until(lambda: EventKind.HELD in self.reporter.kinds())

    def _run(self) -> None:
        self.outcome = self.operation.run()

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end, self.reporter.told
            time.sleep(0.01)

    def is_over(self) -> None:
        """Have the operation take its window for over, however long it was to be held."""
        self.operation._window = self.operation._window._replace(ends_at=time.monotonic())

    def told(self, words: str) -> bool:
        return any(words in text for text in self.reporter.texts())

    def end(self) -> Outcome:
        self._thread.join(PATIENCE_S)
        assert self.outcome is not None
        return self.outcome


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> Iterator[Attached]:
    monkeypatch.setattr(attach, "held_by", lambda _: HELD)
    monkeypatch.setattr(other_holder, "owner_of", lambda _: "bob")
    monkeypatch.setattr(other_holder, "ANSWER_S", PATIENCE_S)  # also where the machine is busy
    with ExitStack() as stack:
        harness = Harness(stack)
        attached = Attached(harness)
        try:
            yield attached
        finally:
            attached.control.add(Instruction.KEEP)
            harness.close()


def test_it_is_shown_held_extended_and_thawed_as_one_of_its_own(attached: Attached) -> None:
    attached.harness.kept()
    attached.begin()
    shown = attached.reporter.shown[-1]
    assert shown is not None
    assert (shown.what, shown.phase) == ("freeze", Phase.HELD)
    assert shown.hold_ends_at is not None
    assert shown.hold_ends_at - time.monotonic() == pytest.approx(HOLD_S, abs=HOLD_S / 2)
    attached.operation.extend_hold(10.0)
    attached.until(lambda: attached.reporter.shown[-1].hold_ends_at != shown.hold_ends_at)
    assert any(isinstance(one.details, HoldExtended) for one in attached.reporter.told)
    attached.operation.extend_hold(1000.0)
    attached.operation.extend_hold(1.0)
    attached.until(lambda: attached.told("as long as a window may be"))
    attached.operation.cancel()
    attached.harness.thaws()
    outcome = attached.end()
    assert (outcome.kind, outcome.settled, outcome.thawed) == (OutcomeKind.UNVERIFIED, True, 2)
    assert not outcome.certified
    assert attached.reporter.kinds()[-2:] == [EventKind.VERDICT, EventKind.OUTCOME]
    assert attached.reporter.states[-1] == (FreezeState.THAWED, False)


def test_what_others_change_is_shown(attached: Attached) -> None:
    attached.harness.kept()
    attached.begin()
    with attached.harness.other() as other:
        other.ask(HolderRequest.EXTEND, seconds=20.0)
    attached.until(lambda: attached.told("extended by 20"))


def test_it_is_left_again_when_its_console_is(attached: Attached) -> None:
    attached.harness.kept()
    attached.begin()
    attached.operation.keep()
    outcome = attached.end()
    assert (outcome.kept, outcome.settled, outcome.holder) == (True, False, os.getpid())
    with attached.harness.other() as other:
        attached.until(lambda: other.look().attached is None)
        assert other.look().kept


def test_who_leaves_in_a_hurry_has_it_thawed_by_its_holder(attached: Attached) -> None:
    attached.harness.kept()
    attached.begin()
    attached.operation.give_up()
    outcome = attached.end()
    assert (outcome.settled, outcome.holder) == (False, os.getpid())
    attached.harness.thaws()


def test_a_holder_that_goes_is_told_of_loudly(
    attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached.harness.kept()
    attached.begin()
    monkeypatch.setattr(attach, "process_of", lambda _: None)
    attached.harness.close()
    outcome = attached.end()
    assert (outcome.settled, outcome.holder) == (False, None)
    assert "has ended meanwhile, or has hung up: the guest may be frozen" in outcome.reason
    meaning = with_meaning(outcome, VM).meaning
    assert meaning is not None
    assert "nobody thaws it" in meaning.guest


def test_a_holder_that_says_nothing_at_the_end_is_not_waited_for_for_ever(
    attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped one, say."""
    monkeypatch.setattr(attach, "_SILENT_S", 0.2)
    attached.harness.kept()
    attached.begin()
    attached.harness.stop()
    attached.is_over()
    monkeypatch.setattr(other_holder, "ANSWER_S", 0.3)  # a holder that runs gets its time
    outcome = attached.end()
    assert (outcome.settled, outcome.holder) == (False, os.getpid())
    assert "has not answered within 0.3 s" in outcome.reason
    assert "the guest may be frozen" in outcome.reason


def test_one_that_thaws_for_long_is_waited_for_and_shown_so(
    attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "_SILENT_S", 0.2)
    attached.harness.kept()
    attached.begin()
    attached.harness.end_hold()
    attached.is_over()
    attached.until(lambda: attached.reporter.shown[-1].phase is Phase.THAWING)
    attached.harness.thaws()
    assert attached.end().settled


def test_a_thaw_that_ends_while_something_else_is_asked_is_no_loss(
    attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached.harness.kept()
    attached.begin()
    said = dict(done("a#1", ThawReport(None, 2, None, True, "thawed 2", None)))
    requests = attached.harness.holder._requests

    def extend(asker: Asker, *_: object) -> str:
        requests._send(asker, said)
        return "it is over"

    monkeypatch.setattr(requests, "_extend", extend)
    attached.operation.extend_hold(5.0)
    attached.until(lambda: attached.told("has thawed it meanwhile"))
    attached.harness.close()
    outcome = attached.end()
    assert (outcome.settled, outcome.thawed) == (True, 2)


def test_what_is_not_left_is_not_attached_to(
    attached: Attached, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached.harness.hold()
    outcome = attached.operation.run()
    assert outcome.refusal is Refusal.BUSY
    assert "has not left it" in outcome.reason
    monkeypatch.setattr(attach, "held_by", lambda _: None)
    assert "no frostwatch has left it" in attached.operation.run().reason
    assert attached.operation.busy(OperationKind.THAW).refusal is Refusal.BUSY
    read_only = AttachOperation(replace(attached.context, read_only=True))
    assert read_only.run().refusal is Refusal.READ_ONLY
