"""What the page of one VM says of its evidence, of its identity and of its past. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from agentclient.journal.history import VmHistory
from agentclient.journal.window_row import WindowRow
from agentclient.model.durations import in_words
from agentclient.model.explanation.entry import Topic
from agentclient.model.explanation.evidence import in_direction
from agentclient.model.explanation.table import explanation
from agentclient.model.policy import DEFAULT_POLICY
from agentclient.model.snapshot import VmState
from agentclient.model.states import OutcomeKind
from agentclient.model.vm import Vm
from tui.console.model.past_tracks import look_of as past_look_of
from tui.console.model.past_tracks import shown_word
from tui.shared.fit import fit, safe
from tui.shared.glyphs import EVIDENCE, Signs
from tui.shared.history_text import counts, figures_in_words, notes, others_in_words
from tui.shared.job_words import bar
from tui.shared.tone import Line, Piece, Tone
from tui.shared.verdict import look_of, verdict_of

LABEL = 11
_BAR = 12  # cells
_WORD = 12
_TEXT = 400
NOT_TOLD = "A replay does not tell where its channels were, nor what was set for it."
EMPTY: Line = ()


def row(label: str, text: str, tone: Tone = Tone.NORMAL) -> Line:
    """Return a line with a label in front."""
    return (Piece(fit(label, LABEL), Tone.DIM), Piece(text, tone))


# -- the evidence ------------------------------------------------------------------------------


def evidence_lines(state: VmState, signs: Signs) -> Iterator[Line]:
    """Yield what came out of the last freeze, and each piece of evidence with what it means."""
    outcome = verdict_of(state)
    if outcome is None:
        yield (Piece("There is none yet: nothing was frozen here by this console.", Tone.DIM),)
        return
    look = look_of(outcome)
    yield (
        Piece(f"{signs.of(look)} {look.word}", look.tone),
        Piece(f": {safe(outcome.reason, _TEXT)}"),
    )
    if outcome.kind is OutcomeKind.REFUSED:
        yield row("refusal", outcome.refusal or "-")
        return
    frozen = "not answered" if outcome.frozen is None else str(outcome.frozen)
    thawed = "not acknowledged" if state.progress is None else "not yet"
    if outcome.thawed is not None:
        thawed = str(outcome.thawed)
    coverage = outcome.coverage if outcome.coverage and outcome.frozen is not None else "-"
    yield row("frozen", f"{frozen}; thawed {thawed}; coverage {safe(coverage, 40)}")
    if outcome.cause is not None:
        yield row("cause", outcome.cause)
    if not outcome.evidence:
        yield row("evidence", "none was gathered", Tone.DIM)
    for piece in outcome.evidence:
        yield EMPTY
        look = EVIDENCE[piece.result]
        told = in_direction(explanation(Topic.EVIDENCE, piece.name), piece.result)
        value = "" if piece.value is None else f": {safe(str(piece.value), 200)}"
        seen = "" if piece.age_s is None else f" ({in_words(piece.age_s)} before the verdict)"
        yield (
            Piece(f"{signs.of(look)} {piece.name}", look.tone),
            Piece(f"{value}{seen}"),
        )
        yield (Piece("  "), Piece(f"{told.what}. {told.data}", Tone.DIM))


# -- the VM ------------------------------------------------------------------------------------


def identity_lines(state: VmState, *, replayed: bool = False) -> Iterator[Line]:
    """Yield what the VM is, where its channels are, and what is set for it.

    Args:
        state: the VM.
        replayed: it is of a replay, which has neither its channels nor its settings.
    """
    vm = state.vm
    yield (Piece("What it is", Tone.HEAD),)
    for label, text in _identity(vm):
        if text and not (replayed and label == "agent"):
            yield row(label, safe(text, _TEXT))
    if replayed:
        yield EMPTY
        yield (Piece(NOT_TOLD, Tone.DIM),)
        return
    for label, text in (
        ("locked by", vm.locked_by),
        ("no freeze", vm.freeze_disabled),
        ("reach", vm.out_of_reach),
        ("monitor", vm.no_monitor),
    ):
        if text:
            yield row(label, safe(text, _TEXT), Tone.WARN)
    yield EMPTY
    yield (Piece("What is set for it", Tone.HEAD),)
    policy = vm.policy or DEFAULT_POLICY
    if vm.policy is None:
        yield row("settings", "none are: these are the values that count then", Tone.DIM)
    yield row("hold", f"{in_words(policy.hold_s)}, at most {in_words(policy.maximum_hold_s)}")
    first, more = in_words(policy.first_timeout_s), in_words(policy.probe_timeout_s)
    yield row("freeze", f"waits {first}, then up to {policy.probes} times {more} with a status")
    yield row("thaw", f"waits {in_words(policy.thaw_timeout_s)}")
    every = f"agent every {in_words(policy.agent_interval_s)}"
    yield row("visits", f"{every}, monitor every {in_words(policy.monitor_interval_s)}")
    if policy.read_only is not None:
        yield row("read-only", safe(policy.read_only, _TEXT), Tone.WARN)
    if policy.never_ask is not None:
        yield row("never ask", safe(policy.never_ask, _TEXT), Tone.WARN)


def _identity(vm: Vm) -> Iterator[tuple[str, str | None]]:
    yield "id", str(vm.id)
    yield "name", vm.title
    yield "also", ", ".join(vm.selectors)
    yield "source", vm.source
    yield "host", vm.id.host
    if vm.process is not None:
        yield "process", f"pid {vm.process.pid}" + (f", run by {vm.user}" if vm.user else "")
    yield "UUID", vm.uuid
    yield "domain", vm.domain
    if vm.agent is not None:
        label = f", {vm.agent.label}" if vm.agent.label else ""
        yield "agent", f"{vm.agent.path} ({vm.agent.transport}{label})"
    elif vm.by_call:
        yield "agent", "by calls of its hypervisor; no socket of this host leads there"
    if vm.monitor is not None:
        ours = "ours alone" if vm.monitor.ours else "visited, never held"
        yield "monitor", f"{vm.monitor.path} ({ours})"
    yield "not running", ", ".join(vm.namesakes)


# -- the past ----------------------------------------------------------------------------------


def past_head(past: VmHistory) -> Iterator[Line]:
    """Yield how long a VM's freezes take, and why some may be missing."""
    if past.missing is not None:
        yield (Piece(f"Some may be missing: {safe(past.missing, 300)}", Tone.WARN),)
    if past.figures.count:
        yield (Piece(figures_in_words(past.figures), Tone.HEAD),)
    if past.others.count:
        yield (Piece(others_in_words(past.others), Tone.HEAD),)


def longest_answer(windows: Sequence[WindowRow]) -> float:
    """Return the longest time, in seconds, from a freeze to its answer; 0 if there is none."""
    return max((one for one in map(answered_s, windows) if one is not None), default=0.0)


def answered_s(window: WindowRow) -> float | None:
    """Return the seconds from a freeze's sending to its answer; None if one is missing."""
    sent, replied = window.times["sent"], window.times["replied"]
    if sent is None or replied is None or sent.seconds is None or replied.seconds is None:
        return None
    return max(replied.seconds - sent.seconds, 0.0)


def past_line(window: WindowRow, longest_s: float, signs: Signs) -> Line:
    """Return one window of the past as a line, with a bar of how long its answer took."""
    asked = window.times["asked"]
    when = f"{datetime.fromisoformat(asked.at):%Y-%m-%d %H:%M:%S}" if asked else "-"
    word, look = shown_word(window), past_look_of(window)
    sign, tone = (signs.of(look), look.tone) if look is not None else (" ", Tone.NORMAL)
    took = answered_s(window)
    part = took / longest_s if took is not None and longest_s > 0 else 0.0
    chart = bar(part, _BAR, ascii_only=signs.ascii) if took is not None else " " * _BAR
    seconds = "" if took is None else f"{took:.1f} s"
    held = "" if window.held_s is None else f"held {in_words(window.held_s)}, "
    more = "; ".join((f"{counts(window)} {held}by {window.user}", *notes(window)))
    return (
        Piece(f"{when} ", Tone.DIM),
        Piece(fit(f"{sign} {word}", _WORD + 2), tone),
        Piece(f"{chart} ", Tone.ACTIVE),
        Piece(fit(seconds, 9, right=True) + "  "),
        Piece(safe(more, _TEXT)),
    )
