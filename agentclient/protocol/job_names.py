"""The names of a copy's parts in QEMU, which say which frostwatch has made them. Pure.

QEMU keeps jobs and nodes when the frostwatch that has made them dies: the next one finds them by
their names, and touches no others.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

from agentclient.model.vm import Process

JOB_PREFIX: Final = "frostwatch."
NODE_PREFIX: Final = "fw-"
# The letter of the filters that a backup puts above disks.
FILTER: Final = "c"
# The part of a copy that is a node which keeps other copies off.
CLAIM: Final = "k"
# The part that says of a copy which was stopped that QEMU can't end it.
UNENDED: Final = "u"
_NODE_TOKEN: Final = 4
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class CopyKey(NamedTuple):
    """What the jobs and the nodes of one copy have in common.

    Attributes:
        process: the frostwatch that makes it.
        token: tells it from that frostwatch's other copies; four characters.
    """

    process: Process
    token: str

    @classmethod
    def of_node(cls, name: str) -> CopyKey | None:
        """Return that of a node's name; None if no frostwatch has made the node."""
        if not name.startswith(NODE_PREFIX):
            return None
        try:
            pid, ticks, token, _ = name.removeprefix(NODE_PREFIX).split("-", 3)
            return cls(Process(int(pid, 36), int(ticks, 36)), token)
        except ValueError:
            return None


def part_of(node: str) -> str:
    """Return which part of a frostwatch's copy a node is; empty if it is of none."""
    return node.split("-", 4)[4] if CopyKey.of_node(node) is not None else ""


def is_filter(node: str) -> bool:
    """Whether a node is the filter of a frostwatch's copy, above a disk."""
    return part_of(node).startswith(FILTER)


def is_claim(node: str) -> bool:
    """Whether a node says that a frostwatch's copy is at work on the VM's disks."""
    return part_of(node) == CLAIM


def is_unended(node: str) -> bool:
    """Whether a node says of a frostwatch's copy that it was stopped, and can't be ended yet."""
    return part_of(node) == UNENDED


class JobId(NamedTuple):
    """The names of one copy's parts in QEMU: they say who has made them, and for what.

    Attributes:
        kind: what the copy is.
        process: the frostwatch that makes it.
        token: tells it from that frostwatch's other copies; eight characters.
    """

    kind: str
    process: Process
    token: str

    @classmethod
    def parse(cls, job_id: str) -> Self | None:
        """Return the names of which `job` has made an id; None if it is no frostwatch's."""
        if not job_id.startswith(JOB_PREFIX):
            return None
        try:
            kind, pid, ticks, token, _ = job_id.removeprefix(JOB_PREFIX).split(".")
            return cls(kind, Process(int(pid), int(ticks)), token)
        except ValueError:
            return None

    def job(self, part: int | str) -> str:
        """Return the id of one of its jobs."""
        pid, ticks = self.process
        return f"{JOB_PREFIX}{self.kind}.{pid}.{ticks}.{self.token}.{part}"

    def node(self, part: int | str) -> str:
        """Return the name of one of its nodes; it has 31 characters at the most."""
        pid, ticks = self.process
        return f"{NODE_PREFIX}{_short(pid)}-{_short(ticks)}-{self.token[:_NODE_TOKEN]}-{part}"[:31]

    @property
    def key(self) -> CopyKey:
        """What its jobs and its nodes have in common."""
        return CopyKey(self.process, self.token[:_NODE_TOKEN])


def _short(number: int) -> str:
    """Return a number in base 36, since a node's name has 31 characters at the most."""
    digits = ""
    while number > 0:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
