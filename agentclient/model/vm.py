"""The one vocabulary of the project: what a VM is, and what is known about it now.

Everything here is immutable and has no behaviour beyond naming itself, so that a snapshot can
cross threads, be compared, be shown and be written as JSON without anybody holding a lock. They
are named tuples: those are compared, hashed and copied natively, which a visit does all the time,
and to define them takes a quarter of what data classes take, which each start does.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from agentclient.model.states import (
    AgentHow,
    AgentState,
    Cause,
    CopyIs,
    EvidenceResult,
    FreezeState,
    GuestIs,
    Level,
    OutcomeKind,
    Phase,
    Refusal,
    RunState,
    Stuck,
    Transport,
)

__all__ = [
    "AgentChannel",
    "AgentHealth",
    "AgentHow",
    "AgentState",
    "Cause",
    "CopyIs",
    "Evidence",
    "EvidenceResult",
    "FileSystem",
    "FreezeInfo",
    "FreezeState",
    "GuestIs",
    "HeldBy",
    "LeftBy",
    "Level",
    "LogLine",
    "Meaning",
    "MonitorChannel",
    "MonitorView",
    "Outcome",
    "OutcomeKind",
    "Peer",
    "Phase",
    "Process",
    "Progress",
    "Refusal",
    "RunState",
    "Stuck",
    "Transport",
    "Vm",
    "VmId",
    "VmState",
]


class VmId(NamedTuple):
    """A VM's identity: its source and its name there, unique within this console."""

    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


class Process(NamedTuple):
    """The QEMU process behind a VM; a pid alone may be used again by another process."""

    pid: int
    start_ticks: int


class Peer(NamedTuple):
    """Who must listen on a VM's sockets: nobody else is written to (P10).

    Attributes:
        process: its QEMU; None if only the user is known.
        uid: the user who runs it; None if that can't be told: then it is the process or nobody.
    """

    process: Process | None
    uid: int | None


class AgentChannel(NamedTuple):
    """Where the agent's channel is on this host.

    Attributes:
        path: the chardev's UNIX socket.
        label: the chardev's id in QEMU (``qga0``), or None if it is to be found by its path.
        transport: virtio-serial has a port state, isa-serial has none.
    """

    path: Path
    label: str | None = None
    transport: Transport = Transport.UNKNOWN


class MonitorChannel(NamedTuple):
    """Where the VM's QMP monitor is on this host.

    Attributes:
        path: the monitor's UNIX socket.
        ours: whether the configuration says that it serves nobody else; only then is it held.
    """

    path: Path
    ours: bool = False


class Vm(NamedTuple):
    """A VM as its source describes it.

    Attributes:
        id: the identity that actions are bound to.
        agent: None where no agent channel is configured.
        monitor: None where nothing but the agent can be asked.
        process: the QEMU process, where the source knows it.
        locked_by: who holds the VM in its manager (Proxmox's ``lock:``), or None.
        freeze_disabled: why the VM's configuration forbids a freeze, or None.
        out_of_reach: why its agent's channel, which exists, is not for us to open (libvirt owns
            it, QEMU got it as a descriptor, …); `agent` is None then, and what is known about the
            agent is `AgentState.UNKNOWN`, not *none*. None if there is nothing of the kind.
        peer: who must listen on its sockets; None if nothing is known of that.
        monitor_peer: who must listen on its monitor, where that is somebody else; None if not.
        no_monitor: why the monitor that was named is not used; None if it is, or there is none.
        sockets: what tells its sockets from later ones in their place, where no process does.
        user: the user who runs it, None if that can't be told.
        title: its name, which others may have as well; None if that is the id's.
        selectors: what it can be called as well, now and after its next start: VMID, UUID, …
        namesakes: others of its name, which don't run.
    """

    id: VmId
    agent: AgentChannel | None = None
    monitor: MonitorChannel | None = None
    process: Process | None = None
    locked_by: str | None = None
    freeze_disabled: str | None = None
    out_of_reach: str | None = None
    peer: Peer | None = None
    monitor_peer: Peer | None = None
    no_monitor: str | None = None
    sockets: tuple[str | None, ...] = ()
    user: str | None = None
    title: str | None = None
    selectors: tuple[str, ...] = ()
    namesakes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name that a person uses."""
        return self.id.name

    @property
    def source(self) -> str:
        """The source's word: ``qemu``, ``socket`` and so on."""
        return self.id.source


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
        problem: why (part of) the monitor could not be seen, in one sentence; else None.
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
    problem: str | None = None
    gone: bool | None = None


class Evidence(NamedTuple):
    """One piece of evidence for or against a freeze.

    Attributes:
        value: what was seen, in words or figures, for a person and for JSON.
        age_s: seconds since it was seen, None if never.
    """

    name: str
    result: EvidenceResult
    value: str | int | None = None
    age_s: float | None = None


class FileSystem(NamedTuple):
    """A mounted file system that a guest reports.

    Attributes:
        device: what the agent counts file systems by (``vda1``).
        kind: ``ext4``, ``vfat``, ``NTFS``, …
    """

    device: str
    mountpoint: str
    kind: str


class Meaning(NamedTuple):
    """What an outcome means, for a person and for a program (`agentclient.model.consequences`).

    Attributes:
        copy: for a copy of the disks that was made meanwhile; one sentence.
        copy_is: the same in one word.
        guest: for the guest; one sentence, or two.
        guest_is: the same in one word.
        short: both in one line of at most 76 ASCII characters.
    """

    copy: str
    copy_is: CopyIs
    guest: str
    guest_is: GuestIs
    short: str


class Outcome(NamedTuple):
    """How a freeze ended.

    Attributes:
        refusal: why it was not sent; only with `OutcomeKind.REFUSED`.
        cause: with *lost*, *partial*, *broken* and *failed*, where known; with any other if the VM
            has ended before its thaw.
        reason: one sentence for a person: what happened and what it means.
        frozen: the freeze's own count of file systems, None if it never answered.
        thawed: the thaw's count; None while there is none, or if it never was acknowledged.
        certified: P3: verified, still so at the thaw, counts equal, no contradiction.
        seconds: from the freeze's sending to the thaw's acknowledgement (or to now).
        coverage: ``"2 of 3"``, or None if the guest's file systems are not known.
        not_covered: the file systems of kinds that can't freeze.
        next: what a person should do now; None if nothing.
        settled: everything that had to be thawed is known to be thawed.
        stuck: why it is not settled; None if it is, or nobody knows.
        holder: the process that goes on to thaw it when we have left; None if there is none.
        queued: the freeze is not known to have run: an agent that wakes up may run it yet.
        meaning: what it means; None until `agentclient.model.consequences` has said it.
        apart: the group that it belongs to was not frozen together.
    """

    kind: OutcomeKind
    reason: str
    refusal: Refusal | None = None
    cause: Cause | None = None
    frozen: int | None = None
    thawed: int | None = None
    certified: bool = False
    seconds: float = 0.0
    coverage: str | None = None
    not_covered: tuple[FileSystem, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    next: str | None = None
    settled: bool = False
    stuck: Stuck | None = None
    holder: int | None = None
    queued: bool = False
    meaning: Meaning | None = None
    apart: bool = False


class AgentHealth(NamedTuple):
    """What is known about a VM's agent, and how.

    Attributes:
        rtt_s: seconds that the last answered visit took.
        version: the agent's version, once it was asked.
        seen_at: when this was seen (wall clock).
        detail: one sentence more, such as who holds the channel.
    """

    state: AgentState = AgentState.UNKNOWN
    how: AgentHow = AgentHow.NOTHING
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
    """

    state: FreezeState | None = None
    since: datetime | None = None
    foreign: bool = False


class LeftBy(NamedTuple):
    """Who has left a guest that may be frozen: a frostwatch that died, or could not thaw it.

    Attributes:
        window: its window in the journal.
        pid: the process that froze it.
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
    """Whom a guest is in the hands of: another frostwatch, which freezes, holds or thaws it now.

    Attributes:
        pid: the process that was asked for it, and `user` whose that is.
        state: what it has made of the guest's file systems; None before anything is sent, or where
            that isn't known.
        since: when that began.
        until: when it ends on its own at the latest; None where that isn't known.
        holder: the process that holds the channel for it; None if none is known.
        ended: its process has ended, and its holder goes on alone.
        window: its window in the journal; None where only its holder was seen.
    """

    pid: int
    user: str
    state: FreezeState | None = None
    since: datetime | None = None
    until: datetime | None = None
    holder: int | None = None
    ended: bool = False
    window: int | None = None

    @property
    def who(self) -> str:
        """Who it is: the user and the process."""
        return f"{self.user} (pid {self.pid})"

    def is_waited_for(self, us: int) -> bool:
        """Whether who asks for a thaw waits for this one: it thaws by itself, as soon as it can.

        Args:
            us: our own process. What we could not thaw, our holder thaws.
        """
        return self.ended or self.pid == us or self.state is FreezeState.THAWING

    def __str__(self) -> str:
        word = self.state.value if self.state else "frozen or freezing" if self.holder else "taken"
        if self.ended:
            holder = f"its holder (pid {self.holder})"
            return f"{word} by {self.who}, which has ended; {holder} thaws it"
        until = f" until {self.until:%H:%M:%S}" if self.until else ""
        most = " at the most" if until and self.state is FreezeState.FREEZING else ""
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


class VmState(NamedTuple):
    """All that is known about one VM now.

    Attributes:
        progress: the operation in flight, None if there is none.
        last: the outcome of the last freeze, None before the first.
        file_systems: as the guest last reported them; empty if never asked.
        file_systems_at: when that was (wall clock).
        trouble: one sentence about what keeps us from seeing this VM, None if nothing.
        left: whose freeze may stand there, by the journal; None if nobody's.
        held_by: which other frostwatch is at work on it; None if none is known.
        present: False once its source does not list it any more.
        version: the fleet's version at which this state was written.
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

    @property
    def id(self) -> VmId:
        """The VM's identity."""
        return self.vm.id

    @property
    def left_frozen(self) -> bool:
        """Whether a freeze of this process may still stand, since its thaw was not acknowledged."""
        last = self.last
        return last is not None and last.kind is not OutcomeKind.REFUSED and not last.settled

    @property
    def left_by(self) -> LeftBy | None:
        """Who has left it frozen, as its agent says; None if it is not, or nobody provably has."""
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

    def with_freeze(self, info: FreezeInfo, *, gone: bool = False) -> VmState:
        """Return the state with another state of the file systems.

        Args:
            info: what is known of them now.
            gone: the guest does not run any more.
        """
        last, left = self.last, self.left
        if gone or info.state is FreezeState.THAWED:
            left = None
            if self.left_frozen and last is not None:
                from agentclient.model.consequences import thawed_later  # noqa: PLC0415 - it knows us

                last = thawed_later(last)  # nobody needs to thaw it any more
        return self._replace(freeze=info, last=last, left=left)


class LogLine(NamedTuple):
    """One line of a VM's log.

    Attributes:
        number: counts up from 1 for each VM; a reader asks for what came after a number.
        at: wall clock, with a time zone.
        text: already safe to show (control characters removed), but *not* markup.
    """

    number: int
    at: datetime
    level: Level
    text: str
