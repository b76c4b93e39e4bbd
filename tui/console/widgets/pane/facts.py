"""What the pane says about one VM: facts in words, from what is known and nothing else.

A fact is a label and a sentence. Each has a rank: on a small screen the most urgent ones stand on
top, and the others are scrolled to; on a large one all of them are shown in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from agentclient.freeze.coverage import Coverage, describe
from agentclient.freeze.risks import risks
from agentclient.late import load
from agentclient.model.durations import in_words
from agentclient.model.next_command import ladder_command, thaw_command
from agentclient.model.others_freeze import doer
from agentclient.model.outcome import FileSystem
from agentclient.model.snapshot import HeldBy, Progress, VmState
from agentclient.model.states import AgentState, FreezeState, Phase
from agentclient.model.text import uncut
from agentclient.model.vm import Vm
from tui.console.model.explained import step_while_held
from tui.console.model.sending import Sending, by_hand, step, without_keys
from tui.console.widgets.pane.fact import Fact
from tui.console.widgets.pane.others_facts import others_facts
from tui.console.widgets.pane.outcome_facts import evidence_facts, outcome_facts
from tui.console.widgets.table.cells import Paint, silent_since
from tui.shared.bulk_words import queued
from tui.shared.clocks import age, countdown, elapsed
from tui.shared.fit import safe
from tui.shared.freeze_look import freeze_look
from tui.shared.glyphs import (
    AGENT,
    FOREIGN,
    LEFT,
    LEFT_BY,
    PHASE,
    RUN,
    Look,
    Signs,
)
from tui.shared.key_hints import key
from tui.shared.tone import Tone


def facts_of(state: VmState, paint: Paint) -> list[Fact]:
    """Return everything that is known about a VM. What can't be said is one fact too (P8)."""
    found: list[Fact] = []
    for part in _PARTS:
        try:
            found.extend(part(state, paint))
        except Exception as problem:  # noqa: BLE001 - P8: it is this VM's trouble alone
            found.append(Fact("trouble", safe(f"can't be shown: {problem!r}"), Tone.BAD, 1))
    return found if paint.sending is Sending.BY_KEYS else list(_without_keys(found, state, paint))


def _without_keys(facts: Iterable[Fact], state: VmState, paint: Paint) -> Iterator[Fact]:
    """Yield facts without keys of a drill, which a read-only one refuses; in a replay no steps."""
    for fact in facts:
        if fact.label != "next":
            yield fact
        elif paint.sending is Sending.READ_ONLY:
            yield fact._replace(text=without_keys(fact.text, state.vm, paint.sending))


# -- what goes on ------------------------------------------------------------------------------


def _waiting(state: VmState, paint: Paint) -> Iterator[Fact]:
    progress = state.progress
    if progress is None or progress.phase is Phase.HELD:
        return  # the window says it all
    look = PHASE[progress.phase]
    if progress.phase is Phase.QUEUED:
        place = paint.place(state.id)
        text = f"{queued(place)}; waits for {safe(progress.waiting_for)}"
        yield Fact("now", f"{paint.signs.of(look)} {text}", look.tone, 0)
        yield Fact("guest", "writes: nothing has been sent to it yet", rank=1)
        yield Fact("next", f"wait; or {key('stop', 'x')} takes it out of the queue", rank=1)
        return
    by_you = STOPPED if progress.phase is Phase.THAWING else CANCELLED
    parts = [by_you] if progress.cancelled else []
    parts += _countdowns(progress, paint)
    parts.append(f"waits for {safe(progress.waiting_for)}")
    yield Fact("now", f"{paint.signs.labelled(look)}: {_joined(parts, paint)}", look.tone, 0)


STOPPED = "stopped by you"
CANCELLED = f"{STOPPED}; thawed as soon as its agent answers"


def _unanswered(state: VmState, paint: Paint) -> Iterator[Fact]:
    """Say what a freeze that is not answered yet means, and what can be done about it."""
    progress = state.progress
    if progress is None or progress.what != "freeze" or progress.sent_at is None:
        return
    if progress.held_since is not None or progress.verdict is not None:
        return
    yield Fact("guest", "may be frozen already: it says nothing before it is done", rank=1)
    does = f"wait; if its agent hangs, {key('rescue', 'R')} shows what helps without it"
    if paint.sending.to(state.vm) is not Sending.BY_KEYS:
        does = f"wait; if its agent hangs: {by_hand(state.vm, ladder_command(state.vm))}"
    elif not progress.cancelled:
        does = f"{key('stop', 'x')} stops waiting, and thaws when it answers; or {does}"
    yield Fact("next", does, rank=1)


def _countdowns(progress: Progress, paint: Paint) -> Iterator[str]:
    moment = paint.moment
    if progress.step and progress.step_ends_at is not None:
        ends = countdown(progress.step_ends_at, moment)
        yield f"step {progress.step} of {progress.steps} ends in {ends}"
    ends_at = progress.answer_ends_at
    if ends_at is not None:
        until = moment.wall_at(ends_at).strftime("%H:%M:%S")
        yield f"gives up in {countdown(ends_at, moment)}, at {until}"


def _guest(state: VmState, paint: Paint) -> Iterator[Fact]:
    progress = state.progress
    if progress is None or progress.sent_at is None:
        return
    moment = paint.moment
    parts = [_READ[progress.read]]
    since = silent_since(progress)
    if since is not None and progress.phase is not Phase.HELD:  # nobody asks it then
        parts.append(f"silent {elapsed(since, moment)}")
    if progress.blocked_s:
        parts.append(f"blocked by the host {in_words(progress.blocked_s)}")
    if progress.written_bytes is not None:
        when = "while frozen" if progress.held_since is not None else "since it was sent"
        parts.append(f"wrote {size_in_words(progress.written_bytes)} {when}")
    else:
        parts.append("its writes can't be seen")
    yield Fact("seen", _joined(parts, paint), Tone.NORMAL, 3)


_READ = {
    True: "the agent has read the freeze",
    False: "the agent has NOT read the freeze yet",
    None: "whether the freeze was read can't be seen",
}


def _window(state: VmState, paint: Paint) -> Iterator[Fact]:
    progress = state.progress
    if progress is None or progress.held_since is None:
        return
    if progress.phase not in (Phase.HELD, Phase.AT_RISK):
        return  # it is over: nothing is counted down to any more
    moment = paint.moment
    look = PHASE[progress.phase]
    parts = [f"{paint.signs.of(look)} {look.word} for {elapsed(progress.held_since, moment)}"]
    if progress.hold_ends_at is not None:
        parts.append(f"thawed on its own in {countdown(progress.hold_ends_at, moment)}")
    if progress.frozen is not None:
        parts.append(f"{progress.frozen} file system{'' if progress.frozen == 1 else 's'}")
    yield Fact("window", _joined(parts, paint), Tone.FROZEN, 0)


# -- what is known -----------------------------------------------------------------------------


def _trouble(state: VmState, _paint: Paint) -> Iterator[Fact]:
    if state.trouble:
        yield Fact("trouble", safe(state.trouble, 400), Tone.WARN, 1)
    if not state.present:
        yield Fact("gone", "its source does not list it any more", Tone.WARN, 1)
    if state.vm.locked_by:
        yield Fact("locked", f"held in its manager by {safe(state.vm.locked_by)}", Tone.WARN, 3)
    if state.vm.policy is not None and state.vm.policy.read_only is not None:
        text = f"nothing is sent to it: {safe(state.vm.policy.read_only, 400)}"
        yield Fact("set", text, Tone.WARN, 3)
    if state.vm.freeze_disabled and state.vm.freeze_disabled != state.vm.out_of_reach:
        yield Fact("disabled", safe(state.vm.freeze_disabled), Tone.WARN, 3)
    if state.vm.out_of_reach:
        yield Fact("reach", safe(state.vm.out_of_reach, 400), Tone.WARN, 3)


def _freeze(state: VmState, paint: Paint) -> Iterator[Fact]:
    look = freeze_look(state)
    if doer(state) is not None:
        return  # that fact is the others'
    urgent = look in (FOREIGN, LEFT_BY) or state.held_by is not None
    parts = [paint.signs.labelled(look)]
    if state.left_by is not None:
        parts = [f"{paint.signs.of(look)} {safe(str(state.left_by), 160)}, which has ended"]
    elif state.held_by is not None:
        parts = [f"{paint.signs.of(look)} {safe(str(state.held_by), 160)}"]
    elif look in (FOREIGN, LEFT):
        parts = [f"{parts[0]}: {look.meaning}"]
    if state.freeze.since is not None:
        seconds = in_words(age(state.freeze.since, paint.moment))
        at = state.freeze.since.strftime("%H:%M:%S")
        parts.append(f"seen so for {seconds}, since {at}")
    yield Fact("freeze", _joined(parts, paint), look.tone, 0 if urgent else 4)
    does = _next_of_frozen(state, look, paint.sending)
    if does is not None:
        tone = Tone.BAD if look is LEFT_BY else Tone.WARN if look is FOREIGN else Tone.NORMAL
        yield Fact("next", does, tone, 0)


def _next_of_frozen(state: VmState, look: Look, sending: Sending) -> str | None:
    """Return what can be done about a guest that is frozen, and not by this console."""
    vm, held = state.vm, state.held_by
    if state.left_by is not None:
        command = thaw_command(vm)
        by_key = f"{key('thaw', 't')} thaws it, or: {uncut(command)}"
        return step(sending, vm, by_key, command)
    if held is not None:
        return step(sending, vm, _next_while_held(held, vm), step_while_held(held, vm))
    if look is not FOREIGN:
        return None
    if sending.to(vm) is Sending.BY_KEYS:
        return FOREIGN_NEXT
    return f"{FOREIGN_RISK}; {by_hand(vm, thaw_command(vm, foreign=True))}"


def _next_while_held(held: HeldBy, vm: Vm) -> str:
    """Return what can be done about a guest that another frostwatch is at work on, by keys."""
    until = f"until {held.until:%H:%M:%S}" if held.until else "for its end"
    if held.kept:
        take, hold, thaw = key("attach", "A"), key("extend", "e"), key("thaw", "t")
        return f"{take} takes it over, {hold} holds it longer, {thaw} thaws it; else wait {until}"
    if held.ended or held.state is FreezeState.THAWING:
        return uncut(step_while_held(held, vm))
    thaw, hold = key("thaw", "t"), key("extend", "e")
    return f"wait {until}; {thaw} has its holder thaw it, {hold} hold it longer: both ask first"


FOREIGN_RISK = "find out who froze it; a thaw breaks that window, perhaps a backup's"
FOREIGN_NEXT = (
    f"find out who froze it; {key('thaw', 't')} asks first, and breaks that window, perhaps a "
    "backup's"
)


def _agent(state: VmState, paint: Paint) -> Iterator[Fact]:
    health = state.agent
    look = AGENT[health.state]
    parts = [f"{paint.signs.labelled(look)}, known by {health.how.value}"]
    if health.rtt_s is not None:
        parts.append(f"{health.rtt_s * 1000:.0f} ms")
    if health.version:
        parts.append(f"version {safe(health.version, 30)}")
    if health.seen_at is not None:
        parts.append(_seen(state, age(health.seen_at, paint.moment)))
    if health.detail:
        parts.append(safe(health.detail, 300))
    yield Fact("agent", _joined(parts, paint), look.tone, 3)
    if health.state is AgentState.SILENT and state.progress is None and state.last is None:
        yield Fact("next", SILENT_STEP, rank=3)


SILENT_STEP = "look into the guest; if its agent hangs, restart it there"


def _seen(state: VmState, seconds: float) -> str:
    """Return how old the agent's state is; while it can't be asked, that is no trouble."""
    why = "; it is not asked meanwhile" if state.progress is not None else ""
    return f"{in_words(seconds)} ago{why}"


def _run(state: VmState, paint: Paint) -> Iterator[Fact]:
    look = RUN[state.run_state]
    vm, process = state.vm, state.vm.process
    parts = [paint.signs.labelled(look)]
    if process is not None:
        parts.append(f"pid {process.pid}" + (f" of {safe(vm.user, 32)}" if vm.user else ""))
    parts.append("with a monitor" if vm.monitor else "no monitor: less can be seen")
    parts += [f"also {safe(', '.join(vm.selectors), 120)}"] if vm.selectors else []
    yield Fact("vm", _joined(parts, paint), look.tone, 6)


def _file_systems(state: VmState, paint: Paint) -> Iterator[Fact]:
    if not state.file_systems:
        yield Fact("mounts", "not asked yet: they are asked for just before a freeze", Tone.DIM, 7)
        return
    coverage = Coverage(state.file_systems)
    text = f"{coverage.text} can freeze: {_named(coverage.covered)}"
    seen = state.file_systems_at
    when = f" (asked {in_words(age(seen, paint.moment))} ago)" if seen is not None else ""
    yield Fact("mounts", f"{text}{when}", rank=7)
    for risk in risks(state):
        yield Fact("risk", safe(risk, 400), Tone.WARN, 3)
    if coverage.gaps:
        yield Fact("", safe(coverage.gaps, 400), Tone.WARN, 7)


def _copies(state: VmState, paint: Paint) -> Iterator[Fact]:
    """Yield what is known of copies; what says it is imported with the first one."""
    if state.job or state.last_job or state.block_jobs or state.unended:
        yield from load("tui.console.widgets.pane.job_facts", "job_facts")(state, paint)


_PARTS: tuple[Callable[[VmState, Paint], Iterator[Fact]], ...] = (
    _waiting,
    _window,
    _unanswered,
    others_facts,
    _copies,
    outcome_facts,
    _guest,
    _trouble,
    _freeze,
    _agent,
    _run,
    _file_systems,
    evidence_facts,
)


def identity(state: VmState, signs: Signs) -> str:
    """Return what tells a VM from every other: its id and its process."""
    process = state.vm.process
    pid = f" {signs.dot} pid {process.pid}" if process is not None else ""
    return f"{safe(str(state.id), 120)}{pid}"


def size_in_words(size: int) -> str:
    """Return bytes as a person reads them."""
    value = float(max(size, 0))
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _joined(parts: Iterable[str], paint: Paint) -> str:
    return f" {paint.signs.dot} ".join(part for part in parts if part)


def _named(file_systems: tuple[FileSystem, ...]) -> str:
    return safe(describe(file_systems), 400) or "none"
