"""What every word means: none is left out, and docs/states.md is the same table.

``python -m tests.unit.test_explanation`` writes that page anew.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.model.errors import BadInput
from agentclient.model.explanation import states
from agentclient.model.explanation.by_hand import by_any_hand, by_hand
from agentclient.model.explanation.entry import Explanation, Hand, Topic
from agentclient.model.explanation.present import present
from agentclient.model.explanation.table import find, step_of_any, table
from agentclient.model.job import Consistency, JobResult
from agentclient.model.next_step import (
    CERTIFIED,
    HELD,
    KEPT,
    NOT_CERTIFIED,
    NOT_TOGETHER,
    THAWING,
    with_commands,
)
from agentclient.model.others_freeze import OthersFreeze
from agentclient.model.outcome import Evidence, Outcome
from agentclient.model.snapshot import AgentHealth, FreezeInfo, Progress, VmState
from agentclient.model.states import (
    AgentState,
    Cause,
    EvidenceName,
    EvidenceResult,
    FreezeState,
    OutcomeKind,
    Phase,
    Refusal,
    RunState,
    Stuck,
)
from agentclient.model.vm import AgentChannel, FarHost, MonitorChannel, Vm, VmId
from tests.unit.shell_reader import read_words
from tui.shared import glyphs
from tui.shared.job_words import all_looks

DOCS = Path(__file__).parents[2] / "docs" / "states.md"
WEB = Vm(
    VmId("qemu", "web1"),
    AgentChannel(Path("/run/web1.qga")),
    MonitorChannel(Path("/run/web1.qmp")),
)
PROXMOX = Vm(
    VmId("qemu", "web1"),
    AgentChannel(Path("/var/run/qemu-server/102.qga")),
    MonitorChannel(Path("/var/run/qemu-server/102.qmp")),
)
DOMAIN = Vm(
    VmId("libvirt", "db 1"), uuid="0c0ffee0", generation="qemu:///session#0c0ffee0#7", by_call=True
)
FAR_ADDRESS = "qemu+ssh://root@hall-b/system?keyfile=/k"
FAR = DOMAIN._replace(
    generation="qemu://hall-b/system#0c0ffee0#7", far=FarHost("hall-b", FAR_ADDRESS, "ssh …")
)
LISTS: dict[Topic, list[Iterable[StrEnum | str]]] = {
    Topic.VM: [RunState],
    Topic.AGENT: [AgentState],
    Topic.FILE_SYSTEMS: [
        FreezeState,
        [states.FOREIGN, states.LEFT, states.MAYBE_FROZEN, states.UNKNOWN],
        [one for one in OthersFreeze if one is not OthersFreeze.FROZEN],  # the screen's "foreign"
    ],
    Topic.STEP: [Phase],
    Topic.OUTCOME: [
        [one for one in OutcomeKind if one is not OutcomeKind.VERIFIED],
        [CERTIFIED, HELD, THAWING, KEPT, NOT_CERTIFIED, NOT_TOGETHER],  # what a verified one is
    ],
    Topic.REFUSAL: [Refusal],
    Topic.CAUSE: [Cause],
    Topic.STUCK: [Stuck],
    Topic.EVIDENCE: [EvidenceName],
    Topic.COPY: [
        [one for one in Consistency if one is not Consistency.NONE],
        [one for one in JobResult if one is not JobResult.COMPLETE],  # its consistency says it
        ["copying", "left copy", "not ended"],
    ],
}


@pytest.mark.parametrize("topic", Topic)
def test_every_word_of_every_list_is_explained_and_no_other(topic: Topic) -> None:
    wanted = [str(word) for words in LISTS[topic] for word in words]
    assert sorted(one.word for one in table() if one.topic is topic) == sorted(wanted)


def test_every_word_that_the_screen_has_is_explained() -> None:
    shown: list[glyphs.Look] = [
        *glyphs.AGENT.values(), *glyphs.FREEZE.values(), *glyphs.RUN.values(),
        *glyphs.PHASE.values(), *all_looks(), glyphs.LEFT, glyphs.LEFT_BY, glyphs.FOREIGN,
        glyphs.OTHERS_PENDING, glyphs.OTHERS_LOST, glyphs.JOB, glyphs.LEFT_JOB, glyphs.UNENDED,
        *(look for kind, look in glyphs.OUTCOME.items() if kind is not OutcomeKind.VERIFIED),
    ]  # fmt: skip
    assert {look.word for look in shown} - {one.word for one in table()} == set()


@pytest.mark.parametrize("one", table(), ids=lambda one: f"{one.topic}-{one.word}")
def test_an_explanation_says_how_it_is_known_what_follows_and_what_to_do(one: Explanation) -> None:
    assert one.what == one.what.strip()
    assert not one.what.endswith(".")
    assert one.known.endswith(".")
    means = list(one.results.values()) if one.topic is Topic.EVIDENCE else [one.data]
    assert all(text.endswith(".") for text in means)
    assert (set(one.results) == set(EvidenceResult)) is (one.topic is Topic.EVIDENCE)
    assert "{" not in step_of_any(one)
    assert "{" not in (with_commands(one.do, WEB) or "").replace("{holder}", "")
    words = f"{one.what} {one.known} {one.data} {' '.join(means)}"
    assert len(words) < 700, "it is to be read on 80x24"


def test_only_what_is_certified_is_called_consistent() -> None:
    allowed = {CERTIFIED, HELD, THAWING, Phase.HELD, Consistency.CONSISTENT}
    for one in table():
        plain = re.sub(
            r"([Nn]ot|[Cc]rash-|copy is not|whose copy is not) ?consistent", "", one.data
        )
        if re.search(r"\bconsistent\b", plain) and "no copy is" not in plain:
            assert one.word in allowed, one


# -- by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vm", "hand", "command"),
    [
        (PROXMOX, Hand.THAW, "qm guest cmd 102 fsfreeze-thaw"),
        (PROXMOX, Hand.SYSRQ, "qm sendkey 102 alt-sysrq-j"),
        (PROXMOX, Hand.UNLOCK, "qm unlock 102"),
        (DOMAIN, Hand.THAW, "virsh -c qemu:///session domfsthaw 0c0ffee0"),
        (DOMAIN, Hand.RUN_STATE, "virsh -c qemu:///session domstate --reason 0c0ffee0"),
        (FAR, Hand.THAW, f"virsh -c '{FAR_ADDRESS}' domfsthaw 0c0ffee0"),
        (WEB._replace(domain="0c0ffee0"), Hand.RESUME, "virsh resume 0c0ffee0"),
        (
            WEB,
            Hand.STATUS,
            """printf '%s\\n' '{"execute":"guest-fsfreeze-status"}' | """
            "socat -T3 -,ignoreeof UNIX-CONNECT:/run/web1.qga",
        ),
        (WEB, Hand.START, None),
        (WEB, Hand.UNLOCK, None),
        (Vm(VmId("qemu", "bare")), Hand.THAW, None),
        (DOMAIN, Hand.UNLOCK, None),
    ],
)
def test_the_command_is_that_of_the_vms_own_manager(
    vm: Vm, hand: Hand, command: str | None
) -> None:
    assert [one.command for one in by_hand([hand], vm)] == ([command] if command else [])


def test_the_monitor_is_greeted_before_it_is_asked() -> None:
    (one,) = by_hand([Hand.RUN_STATE], WEB)
    words = read_words(one.command)
    assert [json.loads(word)["execute"] for word in words[2:4]] == [
        "qmp_capabilities",
        "query-status",
    ]


def test_whatever_a_vm_is_called_its_command_stays_one_command() -> None:
    evil = "a b;rm -rf $(x)`y`'\"\n--all"
    for vm in (DOMAIN._replace(uuid=evil), DOMAIN._replace(uuid="--all")):
        (one,) = by_hand([Hand.THAW], vm)
        words = read_words(one.command)
        assert words[-1] == vm.uuid
        assert words[:4] == ["virsh", "-c", "qemu:///session", "domfsthaw"]
        assert words[4:] == ([evil] if vm.uuid == evil else ["--", "--all"])


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_socat_is_given_the_very_path(name: str) -> None:
    path = Path("/run") / name
    (one,) = by_hand([Hand.STATUS], WEB._replace(agent=AgentChannel(path)))
    address = read_words(one.command)[-1]
    plain = re.sub(r"""\\([\\,:!"'()\[\]{}])""", r"\1", address.removeprefix("UNIX-CONNECT:"))
    assert plain == str(path)


def test_each_command_is_one_that_a_shell_reads() -> None:
    for hand in Hand:
        for command in by_any_hand(hand).values():
            subprocess.run(["sh", "-n", "-c", command], check=True, timeout=60)


# -- what is true of a VM now ---------------------------------------------------------------------


def words_of(state: VmState) -> dict[Topic, list[str]]:
    found: dict[Topic, list[str]] = {}
    for one in present(state):
        found.setdefault(one.explanation.topic, []).append(one.explanation.word)
    return found


def every_outcome() -> Iterator[Outcome]:
    for kind in OutcomeKind:
        for cause in (None, *Cause):
            yield Outcome(kind, "why", cause=cause, settled=True)
        for stuck in Stuck:
            yield Outcome(kind, "why", stuck=stuck)
    for refusal in Refusal:
        yield Outcome(OutcomeKind.REFUSED, "why", refusal, settled=True)
    yield Outcome(OutcomeKind.VERIFIED, "why", certified=True, settled=True)
    yield Outcome(OutcomeKind.VERIFIED, "why", settled=True, not_together=True)
    yield Outcome(OutcomeKind.VERIFIED, "why", kept=True, holder=7)
    pieces = (Evidence(name, result) for name in EvidenceName for result in EvidenceResult)
    yield Outcome(OutcomeKind.PARTIAL, "why", evidence=tuple(pieces), settled=True)


def test_whatever_came_out_is_explained_for_its_vm() -> None:
    for outcome in every_outcome():
        going = Progress("freeze", Phase.THAWING, "the thaw", 0.0, verdict=outcome)
        for state in (VmState(WEB, last=outcome), VmState(WEB, progress=going)):
            told = present(state)
            assert "{" not in "".join(one.do + one.seen for one in told)
            first = next(one for one in told if one.explanation.topic is Topic.OUTCOME)
            assert first.seen == "why"
            assert len(words_of(state).get(Topic.EVIDENCE, ())) == len(outcome.evidence)
            assert all(not one.explanation.results for one in told)


def test_a_window_whose_thaw_is_not_answered_is_no_open_one() -> None:
    verdict = Outcome(OutcomeKind.VERIFIED, "why", frozen=2)
    going = Progress("freeze", Phase.HELD, "its end", 0.0, verdict=verdict)
    assert words_of(VmState(WEB, progress=going))[Topic.OUTCOME] == ["held"]
    thawing = VmState(WEB, progress=going._replace(phase=Phase.THAWING))
    assert words_of(thawing)[Topic.OUTCOME] == ["thaw asked for"]
    said = [one.explanation.data for one in present(thawing)]
    assert not any("Make the copy" in one for one in said)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("freeze", [None, *FreezeState])
def test_whatever_goes_on_is_explained(phase: Phase, freeze: FreezeState | None) -> None:
    going = Progress("freeze", phase, "its answer", 0.0)
    for run_state, agent in zip(RunState, [*AgentState] * 2, strict=False):
        state = VmState(WEB, run_state, AgentHealth(agent), FreezeInfo(freeze), going)
        assert words_of(state) == {
            Topic.FILE_SYSTEMS: [freeze or "unknown"],
            Topic.STEP: [phase],
            Topic.AGENT: [agent],
            Topic.VM: [run_state],
        }


def test_what_somebody_else_has_frozen_is_named_as_on_the_screen() -> None:
    state = VmState(WEB, freeze=FreezeInfo(FreezeState.FROZEN, foreign=True))
    assert words_of(state)[Topic.FILE_SYSTEMS] == ["foreign"]
    (first, *_) = present(state)
    assert "frostwatch thaw --foreign qemu:web1" in first.do


# -- found by a word, and in the docs -------------------------------------------------------------


def test_a_word_with_several_meanings_has_all_of_them() -> None:
    assert {one.topic for one in find(" Unknown ")} == {
        Topic.VM, Topic.AGENT, Topic.FILE_SYSTEMS, Topic.CAUSE,
    }  # fmt: skip
    assert {one.topic for one in find("evidence")} == {Topic.EVIDENCE}


def test_a_word_that_there_is_not_is_told_with_what_may_be_meant() -> None:
    with pytest.raises(BadInput, match=r"nothing is called 'frozzen' \(did you mean frozen"):
        find("frozzen")


def test_the_page_is_the_table() -> None:
    assert DOCS.read_text() == page(), "python -m tests.unit.test_explanation writes it anew"


TITLES = {
    Topic.VM: "What the VM is doing",
    Topic.AGENT: "The agent",
    Topic.FILE_SYSTEMS: "The guest's file systems",
    Topic.STEP: "Where an operation is",
    Topic.OUTCOME: "What came out of a freeze",
    Topic.REFUSAL: "Why a freeze was not sent",
    Topic.CAUSE: "Why something is lost, or was broken",
    Topic.STUCK: "Why something may still be frozen",
    Topic.EVIDENCE: "The evidence",
    Topic.COPY: "Copies",
}
HEAD = """# Every word of the screen

What it says, how it is known, what it means for the data, and what to do. In the console `i` (or
F2) shows the same for the VM under the cursor, with its own commands; `frostwatch explain WORD`
prints it. This page is written by `python -m tests.unit.test_explanation`.

How an outcome is concluded is in [freezing.md](freezing.md).
"""
BY_HAND = """
## By hand

What can be done without frostwatch. A socket serves one client at a time: a command waits while
another one is connected. `socat -T` ends so many seconds after the last byte; Ctrl-C ends it
sooner. What says *in the guest* is typed there. A freeze by hand has no bound, and nothing thaws it
but you.
"""


def page() -> str:
    """Return docs/states.md as it has to be."""
    parts = [HEAD]
    for topic in Topic:
        parts.append(f"\n## {TITLES[topic]}\n")
        parts += [_entry(one) for one in table() if one.topic is topic]
    parts.append(BY_HAND)
    for hand in Hand:
        parts.append(f"\n**{hand.value}**\n\n")
        parts += [f"- {who}: `{command}`\n" for who, command in by_any_hand(hand).items()]
    return "".join(parts)


def _entry(one: Explanation) -> str:
    lines = [f"\n### {one.word}\n", f"{one.what[0].upper()}{one.what[1:]}.\n"]
    lines.append(f"- *How it is known:* {one.known}")
    if one.data:
        lines.append(f"- *For the data:* {one.data}")
    lines += [f"- *{result}:* {text}" for result, text in one.results.items()]
    if one.do:
        lines.append(f"- *What to do:* {step_of_any(one)}")
    if one.by_hand:
        lines.append(f"- *By hand:* {'; '.join(one.by_hand)}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write docs/states.md anew."""
    DOCS.write_text(page())


if __name__ == "__main__":
    main()
