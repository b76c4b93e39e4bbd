"""What is known about a VM now: its monitor, its agent, its file systems, what is done to it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from agentclient.model.others import ChannelClient, Others
from agentclient.model.states import (
    AgentState,
    FreezeState,
    KnownBy,
    Level,
    OutcomeKind,
    Phase,
    RunState,
)
from agentclient.model.vm import Vm, VmId

if TYPE_CHECKING:
    from agentclient.model.job import JobOutcome, JobProgress, QemuJob, UnendedCopy
    from agentclient.model.others_past import OthersEnded
    from agentclient.model.outcome import FileSystem, Outcome
    from agentclient.model.timeline import Timeline


class Traffic(NamedTuple):
    """What QEMU counts at an agent's port (protocol §10.1); indexes of 16 bits, which wrap.

    Attributes:
        handed: moves by one with each piece of a client's bytes that is handed to the guest.
        unread: how many of these pieces the agent has not read yet.
        answers: moves by one with each piece that the agent has written.
    """

    handed: int
    unread: int
    answers: int


class MonitorView(NamedTuple):
    """What one visit to the monitor saw; None means that it can't be seen here.

    Attributes:
        run_state: what the VM is doing.
        port_open: whether the guest's side of the agent's port is open (an agent runs).
        client: whether some client is attached to the host's side.
        openings: moves by one with each opening and each closing of a port of the agent's
            controller, and starts again from 0 at a reset (protocol §1.10).
        reads: moves when the agent reads a command (protocol §1.10).
        sole_port: whether the agent's is the only port that moves `openings`.
        resets: counts the guest's resets; only where the monitor is held and tells events.
        written_bytes: bytes that the guest has written to its disks since it was started.
        traffic: what is counted at the port; None if it was not asked for, or can't be seen.
        block_jobs: the jobs that QEMU runs; None if they were not asked for.
        problem: why (part of) the monitor could not be seen, in one sentence; else None.
        late: QEMU has not greeted or answered in time: it is busy, or hangs.
        gone: True only if it is proven that the VM has gone, False if it is there, None if that
            isn't known: a monitor that can't be reached proves nothing
            (`agentclient.access.presence`).
    """

    run_state: RunState = RunState.UNKNOWN
    port_open: bool | None = None
    client: bool | None = None
    openings: int | None = None
    reads: int | None = None
    sole_port: bool = True
    resets: int | None = None
    written_bytes: int | None = None
    block_jobs: tuple[QemuJob, ...] | None = None
    traffic: Traffic | None = None
    problem: str | None = None
    late: bool = False
    gone: bool | None = None

    @property
    def blind(self) -> bool:
        """Whether the monitor was not seen, or not in time: what is not shown may be so."""
        return self.late or self.problem is not None


class AgentHealth(NamedTuple):
    """What is known about a VM's agent, and how.

    Attributes:
        state: its health.
        how: what that is known from.
        rtt_s: seconds that the last answered visit took.
        version: the agent's version, once it was asked.
        seen_at: when this was seen (wall clock).
        detail: one sentence more, such as who holds the channel.
    """

    state: AgentState = AgentState.UNKNOWN
    how: KnownBy = KnownBy.NOTHING
    rtt_s: float | None = None
    version: str | None = None
    seen_at: datetime | None = None
    detail: str | None = None


class FreezeInfo(NamedTuple):
    """What is known about a guest's file systems.

    Attributes:
        state: None where it isn't known.
        since: when we first saw this state (a foreign freeze may be older).
        foreign: frozen, and not provably by this console.
        by: who held the channel before a foreign freeze was found; None if nobody was seen.
        overdue: why nobody is likely to thaw a foreign freeze, as a clause; None if somebody may.
    """

    state: FreezeState | None = None
    since: datetime | None = None
    foreign: bool = False
    by: ChannelClient | None = None
    overdue: str | None = None


class LeftBy(NamedTuple):
    """Who has left a guest that may be frozen: a frostwatch that ended, or could not thaw it.

    Attributes:
        window: its window in the journal.
        pid: the process that froze it.
        user: who ran that process.
        at: since when it is frozen; or when the freeze was sent, if no answer is known.
    """

    window: int
    pid: int
    user: str
    at: datetime

    def __str__(self) -> str:
        who = f"frostwatch (pid {self.pid}, {self.user})"
        return f"left frozen by {who} at {self.at:%Y-%m-%d %H:%M:%S}"


class HeldBy(NamedTuple):
    """Another frostwatch that freezes, holds or thaws a guest now.

    Attributes:
        pid: the process that was asked for it.
        user: who runs that process.
        state: what it has made of the guest's file systems; None before anything is sent, or where
            that isn't known.
        since: when that began.
        until: when it ends on its own at the latest; None where that isn't known.
        holder: the process that holds the channel for it; None if none is known.
        ended: its process has ended, and its holder goes on alone.
        window: its window in the journal; None where only its holder was seen.
        key: the same, as its holder knows it.
        kept: its console has left the window, and its holder holds it to its end.
        attached: the process that has attached to it since; None if that isn't known of any.
    """

    pid: int
    user: str
    state: FreezeState | None = None
    since: datetime | None = None
    until: datetime | None = None
    holder: int | None = None
    ended: bool = False
    window: int | None = None
    key: str | None = None
    kept: bool = False
    attached: int | None = None

    @property
    def who(self) -> str:
        """The user and the process, in words."""
        return f"{self.user} (pid {self.pid})"

    def is_waited_for(self, us: int) -> bool:
        """Return whether a thaw that is asked for waits for this frostwatch, which thaws anyway.

        Args:
            us: our own process. What we could not thaw, our holder thaws.
        """
        waits = self.ended or self.pid == us or self.state is FreezeState.THAWING
        return waits and not self.kept

    def __str__(self) -> str:
        word = self.state.value if self.state else "frozen or freezing" if self.holder else "taken"
        until = f" until {self.until:%H:%M:%S}" if self.until else ""
        if self.window is None and self.holder and not self.state:
            until = ", until when isn't known"  # only its holder was seen, which tells us nothing
        if self.kept:
            since = f"; another console (pid {self.attached}) has attached" if self.attached else ""
            return f"{word} by {self.who}{until}, left to its holder (pid {self.holder}){since}"
        if self.ended:
            holder = f"its holder (pid {self.holder})"
            return f"{word} by {self.who}, which has ended; {holder} thaws it"
        most = " at the most" if self.until and self.state is FreezeState.FREEZING else ""
        return f"{word} by {self.who}{until}{most}"


class Progress(NamedTuple):
    """An operation in flight on a VM; all times are seconds of the monotonic clock.

    Attributes:
        what: ``"freeze"`` or ``"thaw"``.
        phase: where it is.
        waiting_for: one clause that says what it waits for.
        step: 1 for the freeze's first timeout, then one more for each probe.
        steps: how many steps there are at the most.
        started_at: when the operation began.
        sent_at: when the freeze was sent, None before.
        step_ends_at: when the step's timeout runs out.
        ends_at: when the bounded wait ends at the latest.
        heard_at: when the guest last answered anything.
        held_since: when the freeze was acknowledged, None before.
        hold_ends_at: when it will be thawed on its own.
        blocked_s: seconds for which the host kept the guest from answering.
        read: whether the agent has read the freeze; None if that can't be seen.
        written_bytes: bytes the guest wrote since the freeze was sent; None if not seen.
        frozen: the freeze's count, once it is known.
        verdict: the freeze's outcome, once it is known.
        cancelled: the operator asked to stop waiting.
    """

    what: str
    phase: Phase
    waiting_for: str
    started_at: float
    step: int = 0
    steps: int = 0
    sent_at: float | None = None
    step_ends_at: float | None = None
    ends_at: float | None = None
    heard_at: float | None = None
    held_since: float | None = None
    hold_ends_at: float | None = None
    blocked_s: float = 0.0
    read: bool | None = None
    written_bytes: int | None = None
    frozen: int | None = None
    verdict: Outcome | None = None
    cancelled: bool = False

    @property
    def answer_ends_at(self) -> float | None:
        """When the wait for an answer ends at the latest; None while a window is held."""
        over = self.held_since is None or self.phase is Phase.THAWING
        return self.ends_at if over else None


class VmState(NamedTuple):
    """All that is known about one VM now.

    Attributes:
        vm: the VM, as its source describes it.
        run_state: what the hypervisor says that it is doing.
        agent: what is known about its agent.
        freeze: what is known about its file systems' state.
        progress: the operation in flight, None if there is none.
        last: the outcome of the last freeze, None before the first.
        file_systems: as the guest last reported them; empty if never asked.
        file_systems_at: when that was (wall clock).
        trouble: one sentence about what keeps us from seeing this VM, None if nothing.
        left: who has left it frozen, by the journal; None if that is not known of anybody.
        held_by: which other frostwatch is at work on it; None if none is known.
        present: False once its source does not list it any more.
        version: the fleet's version at which this state was written.
        job: the job of this console that runs on it, None if there is none.
        last_job: how the last job on it ended, None before the first.
        block_jobs: the jobs that its QEMU runs, whoever has started them.
        others: what somebody else has pending, who holds its channel; None if nobody is known to.
        job_is_newest: the last job ended after the last freeze, or had that for its window.
        others_last: how the last command of others ended; None before the first.
        unended: a copy of this console that QEMU could not end yet; None if there is none.
        timeline: when each thing happened of the freeze in flight, else of the last one by this
            console; None before the first.
    """

    vm: Vm
    run_state: RunState = RunState.UNKNOWN
    agent: AgentHealth = AgentHealth()
    freeze: FreezeInfo = FreezeInfo()
    progress: Progress | None = None
    last: Outcome | None = None
    file_systems: tuple[FileSystem, ...] = ()
    file_systems_at: datetime | None = None
    trouble: str | None = None
    left: LeftBy | None = None
    present: bool = True
    version: int = 0
    held_by: HeldBy | None = None
    job: JobProgress | None = None
    last_job: JobOutcome | None = None
    block_jobs: tuple[QemuJob, ...] = ()
    others: Others | None = None
    job_is_newest: bool = False
    others_last: OthersEnded | None = None
    unended: UnendedCopy | None = None
    timeline: Timeline | None = None

    @property
    def id(self) -> VmId:
        """The VM's identity."""
        return self.vm.id

    @property
    def left_jobs(self) -> tuple[QemuJob, ...]:
        """The jobs that a frostwatch has left in QEMU, so that nobody follows them."""
        return tuple(one for one in self.block_jobs if one.left)

    @property
    def left_frozen(self) -> bool:
        """Whether a freeze of this process may still stand, since its thaw was not acknowledged."""
        last = self.last
        return last is not None and last.kind is not OutcomeKind.REFUSED and not last.settled

    @property
    def left_by(self) -> LeftBy | None:
        """Who has left it frozen, where its agent says frozen; None if that is not proven."""
        seen = self.freeze.state is FreezeState.FROZEN and not self.freeze.foreign
        return self.left if seen and self.progress is None else None

    @property
    def trouble_is_the_agents(self) -> bool:
        """Whether the trouble says the same as what is known of the agent: once is enough."""
        said = self.agent.detail
        return bool(said) and self.trouble == f"agent's channel: {said}"

    def with_held_by(self, held: HeldBy | None) -> VmState:
        """Return the state with what another frostwatch is doing to the guest now.

        What it has told of the file systems is not known any more once it has ended.
        """
        if self.progress is not None or held == self.held_by:
            return self if self.progress is None else self._replace(held_by=None)
        info, before = self.freeze, self.held_by
        if held is not None and held.state is not None:
            info = FreezeInfo(held.state, held.since)
        elif before is not None and info == FreezeInfo(before.state, before.since):
            info = FreezeInfo()
        return self._replace(freeze=info, held_by=held)


class LogLine(NamedTuple):
    """One line of a VM's log.

    Attributes:
        number: counts up from 1 for each VM; a reader asks for what came after a number.
        at: wall clock, with a time zone.
        level: how much it matters.
        text: already safe to show (control characters removed), but *not* markup.
    """

    number: int
    at: datetime
    level: Level
    text: str
