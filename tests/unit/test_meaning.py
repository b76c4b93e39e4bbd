"""What outcomes mean, and the steps that go with them: no case is left out, or says too much."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentclient.model import meaning, next_step
from agentclient.model.clock import now
from agentclient.model.meaning import (
    rescue_with_meaning,
    thaw_with_meaning,
    thawed_later,
    with_freeze,
    with_meaning,
)
from agentclient.model.next_command import RUNGS, command_in
from agentclient.model.next_step import with_commands, with_far
from agentclient.model.others import Others
from agentclient.model.others_step import others_action
from agentclient.model.outcome import Outcome, ThawOutcome
from agentclient.model.rescue import RescueOutcome, Rung, RungResult
from agentclient.model.snapshot import FreezeInfo, HeldBy, MonitorView, VmState
from agentclient.model.states import (
    Cause,
    CopyIs,
    FreezeState,
    GuestIs,
    OthersState,
    OutcomeKind,
    Refusal,
    RunState,
    Stuck,
)
from agentclient.model.vm import AgentChannel, FarHost, Vm, VmId
from agentclient.operations.refusals import refuse_by_look

DOCS = Path(__file__).parents[2] / "docs" / "freezing.md"
WEB = Vm(VmId("qemu", "web1"))
FREEZE = "frostwatch freeze qemu:web1"
TABLES: Mapping[str, Mapping[Any, object]] = {
    "For the copy": meaning.COPIES,
    "For the guest": meaning.GUESTS,
    "After a refusal": next_step.REFUSED_STEPS,
    "After a cause": next_step.CAUSE_STEPS,
    "After an outcome": next_step.KIND_STEPS,
    "Where something may be frozen": next_step.STUCK_STEPS,
    "Where its holder stays": next_step.HOLDER_STEPS,
}


def outcomes() -> list[Outcome]:
    """Every outcome that the closed lists can make."""
    return [
        Outcome(kind, "why", refusal, cause, certified=certified, settled=settled, stuck=stuck,
                holder=holder, queued=queued)
        for kind, cause, certified, settled, stuck, holder, queued in itertools.product(
            OutcomeKind, [None, *Cause], [False, True], [False, True], [None, *Stuck],
            [None, 4711], [False, True],
        )
        for refusal in (Refusal if kind is OutcomeKind.REFUSED and settled else [None])
        if kind is not OutcomeKind.REFUSED or (stuck, holder, queued) == (None, None, False)
    ]  # fmt: skip


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.soak)])
def test_every_outcome_has_a_meaning_and_the_right_word_for_it(every: int) -> None:
    """Here every so many of them, which meets each kind, cause and place; all in a soak."""
    chosen = outcomes()[::every]
    for wanted in ("kind", "cause", "refusal", "stuck", "settled", "certified", "holder", "queued"):
        met = {getattr(outcome, wanted) for outcome in chosen}
        assert met == {getattr(outcome, wanted) for outcome in outcomes()}, wanted
    for outcome, final in itertools.product(chosen, [True, False]):
        told = with_meaning(outcome, WEB, final=final)
        said = told.meaning
        assert said is not None
        assert said.copy.endswith(".")
        assert said.guest.endswith(".")
        assert "{" not in f"{said}{told.next}"
        assert len(said.short) <= 76
        assert said.short.isascii()
        certified = final and outcome.certified and outcome.kind is OutcomeKind.VERIFIED
        assert (said.copy_is is CopyIs.CONSISTENT) is certified
        unsent = outcome.kind is OutcomeKind.REFUSED
        if not outcome.settled and not unsent:
            frozen = {GuestIs.FROZEN, GuestIs.MAY_BE_FROZEN, GuestIs.WILL_FREEZE}
            assert said.guest_is in frozen or outcome.stuck is Stuck.PANICKED
        if final and not certified:
            assert told.next is not None
        assert with_meaning(told, WEB, final=final) is told


def test_no_copy_is_asked_for_once_the_thaw_is() -> None:
    verdict = Outcome(OutcomeKind.VERIFIED, "why", frozen=2)
    held = with_meaning(verdict, WEB, final=False).meaning
    over = with_meaning(verdict, WEB, final=False, thawing=True).meaning
    assert held is not None
    assert over is not None
    assert held.short == "make the copy now; guest frozen until its hold ends"
    assert over.short == "too late for a copy; guest may still be frozen"
    assert (over.copy_is, over.guest_is) == (CopyIs.UNKNOWN, GuestIs.MAY_BE_FROZEN)
    lost = Outcome(OutcomeKind.LOST, "why")
    going = with_meaning(lost, WEB, final=False, thawing=True)
    assert going.meaning == with_meaning(lost, WEB, final=False).meaning


def test_what_is_not_consistent_is_never_called_so() -> None:
    for row in meaning.COPIES.values():
        plain = row.sentence.replace("Not consistent", "").replace("rash-consistent", "")
        assert ("is consistent" in plain) is (row.word is CopyIs.CONSISTENT or "if" in plain)


def test_who_thaws_is_said_where_something_may_be_frozen() -> None:
    left = Outcome(OutcomeKind.LOST, "why", stuck=Stuck.SILENT)
    told = with_meaning(left, WEB)
    assert told.meaning is not None
    assert told.meaning.guest == "THE GUEST MAY BE FROZEN, and nobody thaws it any more."
    assert told.next == "frostwatch rescue qemu:web1"
    told = with_meaning(left._replace(holder=4711), WEB)
    assert told.meaning is not None
    assert "Its holder (pid 4711) stays" in told.meaning.guest
    assert told.next is not None
    assert "thaw qemu" not in told.next
    told = with_meaning(left._replace(holder=4711, queued=True), WEB)
    assert told.meaning is not None
    assert told.meaning.guest_is is GuestIs.WILL_FREEZE


@pytest.mark.parametrize("kind", [OutcomeKind.VERIFIED, OutcomeKind.UNVERIFIED])
def test_a_member_of_a_group_that_failed_is_not_consistent_with_it(kind: OutcomeKind) -> None:
    told = with_meaning(Outcome(kind, "why", settled=True, not_together=True), WEB)
    assert told.meaning is not None
    assert told.meaning.copy_is is CopyIs.NOT
    assert "with its group" in told.meaning.copy
    assert "together" in str(told.next)


def test_what_is_provably_ours_is_thawed_without_the_word_foreign() -> None:
    left = Outcome(OutcomeKind.LOST, "why", stuck=Stuck.NO_AGENT)
    told = with_meaning(left, WEB)
    assert told.next is not None
    assert "frostwatch thaw qemu:web1" in told.next
    assert "--foreign" not in told.next
    told = with_meaning(left, WEB, provable=False)
    assert told.next is not None
    assert "frostwatch thaw --foreign qemu:web1" in told.next


def test_a_thaw_that_has_failed_for_good_is_not_the_next_step() -> None:
    for stuck in (Stuck.SILENT, Stuck.STILL_FROZEN):
        told = with_meaning(Outcome(OutcomeKind.VERIFIED, "why", stuck=stuck), WEB)
        assert told.next is not None
        assert "frostwatch rescue" in told.next
        assert "frostwatch thaw" not in told.next


def test_words_of_their_own_come_first_and_the_command_behind_them() -> None:
    refused = Outcome(OutcomeKind.REFUSED, "why", Refusal.PAUSED, next="do this", settled=True)
    assert with_meaning(refused, WEB).next == f"do this, then: {FREEZE}"
    copy = "frostwatch backup qemu:web1 --to /backups"
    assert with_meaning(refused, WEB, again=copy).next == f"do this, then: {copy}"
    bare = refused._replace(next=None)
    assert with_meaning(bare, WEB, again=copy).next == f"resume the VM, then: {copy}"
    whole = refused._replace(next="see: frostwatch list")
    assert with_meaning(whole, WEB).next == "see: frostwatch list"
    ended = refused._replace(next="kill 4711, which listens there")
    assert with_meaning(ended, WEB).next == "kill 4711, which listens there"
    crashed = Outcome(OutcomeKind.FAILED, "why", next="frostwatch thaw qemu:web1")
    assert with_meaning(crashed, WEB).next == "frostwatch thaw qemu:web1"


def test_the_commands_have_the_vms_own_selector() -> None:
    odd = Vm(VmId("socket", "{reset} x"), AgentChannel(Path("/run/a b.sock")))
    told = with_meaning(Outcome(OutcomeKind.LOST, "why", settled=True, cause=Cause.AGENT_GONE), odd)
    assert told.next == (
        "find out in the guest why its agent ended; when one runs again: frostwatch freeze "
        "--vm 'name={reset} x,agent=/run/a b.sock' 'socket:{reset} x'"
    )
    assert with_commands(None, odd) is None


def test_what_was_left_is_said_to_write_again_once_it_does() -> None:
    left = with_meaning(Outcome(OutcomeKind.LOST, "why", stuck=Stuck.SILENT), WEB)
    later = thawed_later(left)
    assert (later.settled, later.next) == (True, None)
    assert later.meaning is not None
    assert later.meaning.guest_is is GuestIs.WRITES
    assert later.meaning.copy_is is CopyIs.NOT
    assert later.meaning.short == "copy not consistent; guest writes again"


@pytest.mark.parametrize(
    ("state", "thawed", "refused", "copy", "guest"),
    [
        (FreezeState.THAWED, 2, False, CopyIs.NOT, GuestIs.WRITES),
        (FreezeState.THAWED, 0, False, CopyIs.UNKNOWN, GuestIs.WRITES),
        (FreezeState.THAWED, None, False, CopyIs.NOT, GuestIs.WRITES),
        (None, None, True, CopyIs.UNKNOWN, GuestIs.UNTOUCHED),
        (FreezeState.FROZEN, None, True, CopyIs.UNKNOWN, GuestIs.FROZEN),
        (FreezeState.FROZEN, None, False, CopyIs.UNKNOWN, GuestIs.MAY_BE_FROZEN),
        (None, None, False, CopyIs.UNKNOWN, GuestIs.MAY_BE_FROZEN),
    ],
)
def test_a_thaw_on_its_own(
    state: FreezeState | None, thawed: int | None, refused: bool, copy: CopyIs, guest: GuestIs
) -> None:
    told = thaw_with_meaning(ThawOutcome(WEB.id, state, thawed, refused, "why", 0.1), WEB)
    assert told.meaning is not None
    assert (told.meaning.copy_is, told.meaning.guest_is) == (copy, guest)
    assert thaw_with_meaning(told, WEB) is told


def test_only_a_foreign_freeze_is_thawed_by_the_word_foreign() -> None:
    foreign = ThawOutcome(WEB.id, FreezeState.FROZEN, None, True, "why", 0.1)
    assert "frostwatch thaw --foreign qemu:web1" in str(thaw_with_meaning(foreign, WEB).next)
    stuck = foreign._replace(refused=False, stuck=Stuck.STILL_FROZEN)
    assert "--rung sysrq" in str(thaw_with_meaning(stuck, WEB).next)
    busy = foreign._replace(state=None, next="do this")
    assert thaw_with_meaning(busy, WEB).next == "do this"


def test_a_refusal_for_what_is_frozen_already_says_so() -> None:
    refused = Outcome(OutcomeKind.REFUSED, "why", Refusal.ALREADY_FROZEN, settled=True)
    told = with_meaning(refused, WEB).meaning
    other = with_meaning(refused._replace(refusal=Refusal.BUSY), WEB).meaning
    assert told is not None
    assert other is not None
    assert (told.guest_is, other.guest_is) == (GuestIs.FROZEN, GuestIs.UNTOUCHED)


@pytest.mark.parametrize(
    ("cause", "guest"),
    [
        (Cause.VM_GONE, meaning.ENDED),
        (Cause.GUEST_SHUTDOWN, meaning.ENDED),
        (Cause.GUEST_RESET, meaning.RESET),
        (Cause.AGENT_GONE, meaning.WRITES),
        (None, meaning.WRITES),
    ],
)
def test_why_no_guest_is_frozen_any_more_is_said(cause: Cause | None, guest: str) -> None:
    told = with_meaning(Outcome(OutcomeKind.LOST, "why", cause=cause, settled=True), WEB)
    assert told.meaning is not None
    assert told.meaning.guest == meaning.GUESTS[guest].sentence


def test_a_verdict_has_a_next_step_only_if_no_thaw_is_to_come() -> None:
    lost = Outcome(OutcomeKind.LOST, "why", cause=Cause.VM_GONE)
    assert with_meaning(lost, WEB, final=False).next is None
    assert with_meaning(lost._replace(settled=True), WEB, final=False).next is not None


def test_an_outcome_that_may_be_frozen_on_another_host_names_the_command_there() -> None:
    far = WEB._replace(far=FarHost("hall-a", "qemu+ssh://hall-a/system", "virsh domfsthaw web1"))
    there = "while the link to hall-a is cut, there: virsh domfsthaw web1"
    left = Outcome(OutcomeKind.LOST, "why", stuck=Stuck.SILENT)
    assert str(with_meaning(left, far).next).endswith(f"; {there}")
    done = with_meaning(left._replace(settled=True, stuck=None), far).next
    assert there not in str(done)
    assert with_far(None, far) == there
    assert with_far("wait", WEB) == "wait"


def test_a_certified_freeze_in_spite_of_its_cause_needs_nothing_of_the_cause() -> None:
    well = Outcome(OutcomeKind.VERIFIED, "why", certified=True, settled=True)
    restarted = with_meaning(well._replace(cause=Cause.AGENT_RESTARTED), WEB)
    assert restarted.next == with_meaning(well, WEB).next
    assert with_meaning(well._replace(cause=Cause.VM_GONE), WEB).next != restarted.next


@pytest.mark.parametrize("more", [{"stuck": Stuck.BLOCKED}, {"holder": 4711}])
def test_who_is_stuck_or_has_a_holder_is_told_what_the_tables_say(more: dict[str, Any]) -> None:
    left = Outcome(OutcomeKind.LOST, "why", next="do this")
    assert with_meaning(left, WEB).next == "do this"
    assert with_meaning(left._replace(**more), WEB).next != "do this"


def test_only_what_is_verified_or_may_be_has_failed_with_its_group() -> None:
    lost = Outcome(OutcomeKind.LOST, "why", settled=True)
    apart = with_meaning(lost._replace(not_together=True), WEB)
    assert apart.meaning == with_meaning(lost, WEB).meaning
    held = Outcome(OutcomeKind.VERIFIED, "why", not_together=True)
    assert with_meaning(held, WEB, final=False).meaning == (
        with_meaning(held._replace(not_together=False), WEB, final=False).meaning
    )


def test_a_guest_that_is_thawed_has_been_left_by_nobody() -> None:
    left = with_meaning(Outcome(OutcomeKind.LOST, "why", stuck=Stuck.SILENT), WEB)
    frozen, thawed = FreezeInfo(FreezeState.FROZEN), FreezeInfo(FreezeState.THAWED)
    state = VmState(WEB, last=left, freeze=frozen)
    assert state.left_frozen
    assert with_freeze(state, frozen).last is left
    for later in (with_freeze(state, thawed), with_freeze(state, FreezeInfo(), gone=True)):
        assert later.last is not None
        assert (later.last.settled, later.left) == (True, None)
    well = Outcome(OutcomeKind.VERIFIED, "why", settled=True)
    assert with_freeze(state._replace(last=well), thawed).last is well
    assert with_freeze(state._replace(last=None), thawed).last is None


# -- while another frostwatch is at work ----------------------------------------------------

UNTIL = datetime(2026, 1, 1, 17, 25, 55, tzinfo=UTC)
AT_WORK = HeldBy(1316, "root", FreezeState.FROZEN, None, UNTIL, window=7)


@pytest.mark.parametrize(
    ("changes", "asked", "row"),
    [
        ({}, False, "until"),
        ({"until": None}, False, "no end known"),
        ({}, True, "until, its holder can't be asked"),
        ({"until": None}, True, "no end known, its holder can't be asked"),
        ({"ended": True}, True, "its process has ended"),
        ({"kept": True, "ended": True}, False, "left to its holder"),
    ],
)
def test_who_waits_for_another_frostwatch_is_told_for_how_long(
    changes: dict[str, Any], asked: bool, row: str
) -> None:
    step = next_step.step_while_held(AT_WORK._replace(**changes), WEB, asked=asked)
    wanted = next_step.WHILE_HELD_STEPS[row].replace("{until}", "17:25:55")
    assert step == with_commands(wanted.replace("{pid}", "1316"), WEB)


@pytest.mark.parametrize(
    ("changes", "foreign"), [({}, False), ({"window": None}, True), ({"attached": 12}, True)]
)
def test_what_is_left_to_a_holder_is_ours_as_long_as_the_journal_proves_it(
    changes: dict[str, Any], foreign: bool
) -> None:
    kept = AT_WORK._replace(kept=True, **changes)
    assert ("thaw --foreign" in next_step.step_while_held(kept, WEB)) is foreign


def test_every_rung_has_a_meaning() -> None:
    for found in RungResult:
        told = rescue_with_meaning(
            RescueOutcome(WEB.id, Rung.WAIT, None, found, None, None, "why", 0.1)
        )
        assert told.meaning is not None
        done = told.meaning.guest_is in (GuestIs.WRITES, GuestIs.UNTOUCHED)
        assert done is (told.ok or told.refused)


@pytest.mark.parametrize("heading", TABLES)
def test_the_tables_are_documented_both_ways(heading: str) -> None:
    section = DOCS.read_text().split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    rows = dict(re.findall(r"^\| \*?([^|*]+?)\*? \| ([^|]+) \|", section, re.MULTILINE))
    del rows["case"]
    assert rows == {str(key): _text(value) for key, value in TABLES[heading].items()}


@pytest.mark.parametrize(("source", "word"), [("qemu", "start"), ("libvirt", "restart")])
def test_an_agent_that_libvirt_may_have_missed_is_restarted(source: str, word: str) -> None:
    vm = Vm(VmId(source, "db1"), by_call=source == "libvirt")
    closed = MonitorView(RunState.RUNNING, port_open=False, client=False)
    refused = refuse_by_look(closed, vm)
    assert refused is not None
    step = next_step.next_step(refused, vm, refused.kind)
    assert str(step).startswith(f"{word} qemu-guest-agent in the guest, then: frostwatch freeze")
    lost = Outcome(OutcomeKind.LOST, "x", settled=False, stuck=Stuck.NO_AGENT)
    step = next_step.next_step(lost, vm, lost.kind)
    assert str(step).startswith(f"{word} the agent in the guest")
    others = Others(OthersState.LOST, now(), cause=Cause.AGENT_GONE)
    assert f"; {word} its agent, then: " in str(others_action(others, vm))


def _text(value: object) -> str:
    return str(getattr(value, "sentence", value) or "nothing")


def main() -> None:
    """Print the tables as docs/freezing.md has them."""
    for heading, table in TABLES.items():
        print(f"### {heading}\n\n| case | what is said |\n|---|---|")
        print("\n".join(f"| {key} | {_text(value)} |" for key, value in table.items()), "\n")


if __name__ == "__main__":
    main()


@pytest.mark.parametrize("name", ["db1", "x; rm -rf / says, then: it's"])
def test_the_first_command_of_each_step_is_found_whole(name: str) -> None:
    vm = Vm(VmId("qemu", name))
    tables: tuple[Mapping[Any, str | None], ...] = (
        next_step.REFUSED_STEPS,
        next_step.CAUSE_STEPS,
        next_step.KIND_STEPS,
        next_step.STUCK_STEPS,
        next_step.HOLDER_STEPS,
    )
    rows = [row for table in tables for row in table.values() if row and "{" in row]
    assert len(rows) > 20
    for row in rows:
        step, first = with_commands(row, vm), re.search(r"\{(?!start)[a-z]+\}", row)
        assert step is not None
        assert first is not None
        assert command_in(step, vm) == with_commands(first[0], vm), row
    assert command_in("look at it in the guest", vm) is None
    assert command_in("mend that, then: frostwatch backup a --to /b", vm) == (
        "frostwatch backup a --to /b"
    )
    assert set(RUNGS) == {rung.value for rung in Rung}
