"""The closed lists of states: all that a VM, an agent, a freeze or an outcome can be.

Screen, JSON and documents use these words and no others.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class RunState(StrEnum):
    """What the hypervisor says that the VM is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    IO_ERROR = "io-error"
    SUSPENDED = "suspended"
    MIGRATING = "migrating"
    MIGRATED = "migrated"
    SHUTDOWN = "shutdown"
    PANICKED = "panicked"
    GONE = "gone"
    UNKNOWN = "unknown"


class AgentState(StrEnum):
    """The agent's health, as far as evidence goes."""

    ALIVE = "alive"
    OPEN = "open"
    CLOSED = "closed"
    SILENT = "silent"
    BUSY = "busy"
    NONE = "none"
    UNKNOWN = "unknown"


class KnownBy(StrEnum):
    """What an `AgentState` is known from."""

    REPLY = "reply"
    PORT = "port"
    DEADLINE = "deadline"
    CLIENT = "client"
    CONFIGURATION = "configuration"
    NOTHING = "nothing"


class FreezeState(StrEnum):
    """The state of a guest's file systems, as far as evidence goes."""

    THAWED = "thawed"
    FREEZING = "freezing"
    FROZEN = "frozen"
    THAWING = "thawing"


class OperationKind(StrEnum):
    """What an operation does to a VM."""

    FREEZE = "freeze"
    THAW = "thaw"
    RESCUE = "rescue"


class OutcomeKind(StrEnum):
    """How a freeze ended (design: the vocabulary's outcomes)."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    PARTIAL = "partial"
    LOST = "lost"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    FAILED = "failed"
    BROKEN = "broken"


class Refusal(StrEnum):
    """Why a freeze was not sent."""

    NO_AGENT = "no-agent"
    SILENT = "silent"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    MIGRATING = "migrating"
    LOCKED = "locked"
    ALREADY_FROZEN = "already-frozen"
    DISABLED = "disabled"
    BUSY = "busy"
    READ_ONLY = "read-only"
    SELF = "self"
    HOLDER = "holder"
    CANCELLED = "cancelled"  # somebody stopped it before it was sent
    MOUNTS = "mounts"  # what was named is not there, or can't freeze
    NOT_BEGUN = "not-begun"  # this host or the channel failed before it was sent


class Cause(StrEnum):
    """Why a command will not be answered any more, or a window was broken."""

    AGENT_GONE = "agent-gone"
    AGENT_RESTARTED = "agent-restarted"
    GUEST_RESET = "guest-reset"
    GUEST_SHUTDOWN = "guest-shutdown"
    GUEST_PANICKED = "guest-panicked"
    GUEST_SUSPENDED = "guest-suspended"
    VM_GONE = "vm-gone"
    MIGRATED = "migrated"
    CHANNEL_BROKEN = "channel-broken"
    UNKNOWN = "unknown"


ENDS: Final = frozenset({Cause.VM_GONE, Cause.GUEST_SHUTDOWN})
"""After these no guest is there that could write again."""


class CopyIs(StrEnum):
    """What an outcome makes of a copy of the disks that was made in its window."""

    CONSISTENT = "consistent"
    NOT = "not"  # crash-consistent at best, which is another thing
    UNKNOWN = "unknown"


class GuestIs(StrEnum):
    """What an outcome leaves of the guest."""

    WRITES = "writes"  # nothing in it is frozen
    UNTOUCHED = "untouched"  # nothing was sent to it
    FROZEN = "frozen"  # it is known to be frozen
    MAY_BE_FROZEN = "may-be-frozen"
    WILL_FREEZE = "will-freeze"  # the freeze is queued in an agent that hangs
    ENDED = "ended"  # nothing in it runs any more


class Stuck(StrEnum):
    """Why something that may be frozen is not known to be thawed."""

    SILENT = "silent"  # the agent did not acknowledge the thaw
    NO_AGENT = "no-agent"  # no agent runs
    BLOCKED = "blocked"  # the host keeps the guest from answering
    STILL_FROZEN = "still-frozen"  # the agent ran the thaw, and says frozen
    CHANNEL = "channel"  # the channel to the agent broke, and could not be renewed
    MIGRATED = "migrated"
    PANICKED = "panicked"
    FAILED = "failed"  # frostwatch itself failed, or left before the thaw was acknowledged


class EvidenceResult(StrEnum):
    """Which way a piece of evidence points."""

    FOR = "for"
    AGAINST = "against"
    UNKNOWN = "unknown"


class EvidenceName(StrEnum):
    """The closed list of what evidence is about (documented in docs/json.md)."""

    REPLY = "reply"  # the freeze's own answer
    COVERAGE = "coverage"  # its count against the devices that should freeze
    STATUS = "status"  # guest-fsfreeze-status asked again after it
    PORT = "port"  # whether the agent's port has closed since the freeze was sent
    READ = "read"  # whether the agent has read the freeze
    WRITES = "writes"  # bytes that the host saw written during the window
    STATUS_AT_THAW = "status-at-thaw"  # guest-fsfreeze-status asked just before the thaw
    THAW = "thaw"  # the thaw's count against the freeze's


class OthersState(StrEnum):
    """What another client of an agent's channel has pending, as the monitor shows it."""

    HELD = "held"  # somebody holds the channel; what is pending can't be seen here
    UNKNOWN = "unknown"  # nothing has moved since we look: idle, or pending from before
    IDLE = "idle"
    TALKING = "talking"
    PENDING = "pending"  # a command has waited for its answer for a second or more
    ANSWERED = "answered"  # a command that was pending has been answered
    LOST = "lost"  # a command will not be answered, and its client goes on waiting
    LEFT = "left"  # the client left while a command was pending, which may yet run


class Phase(StrEnum):
    """Where an operation on a VM is, for the screen and the log."""

    QUEUED = "queued"
    PREPARING = "preparing"
    PENDING = "pending"
    BLOCKED = "blocked"
    DRAINING = "draining"
    VERIFYING = "verifying"
    HELD = "held"
    AT_RISK = "at risk"
    THAWING = "thawing"
    DONE = "done"


class WindowKind(StrEnum):
    """What a window of the journal is."""

    FREEZE = "freeze"  # a freeze, with the thaw that follows it
    THAW = "thaw"  # a thaw on its own
    RESCUE = "rescue"  # one rung of a rescue
    OTHERS = "others"  # what somebody who is no frostwatch had pending for a second or more


class WindowState(StrEnum):
    """Whether a window of the journal has ended."""

    OPEN = "open"  # its process, or the holder of it, is at work on it
    CLOSED = "closed"  # it has ended
    LEFT = "left"  # its process has ended before it


class Level(StrEnum):
    """How much a log line matters."""

    DEBUG = "debug"
    INFO = "info"
    GOOD = "good"
    WARNING = "warning"
    ERROR = "error"


class Transport(StrEnum):
    """How the agent's channel reaches the guest."""

    VIRTIO_SERIAL = "virtio-serial"
    ISA_SERIAL = "isa-serial"
    UNKNOWN = "unknown"
