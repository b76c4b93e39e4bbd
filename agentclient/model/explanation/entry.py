"""The shape of an explanation: a word of the screen, and all that one may want to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from agentclient.model.states import EvidenceResult


class Topic(StrEnum):
    """What a word is about."""

    VM = "vm"
    AGENT = "agent"
    FILE_SYSTEMS = "file systems"
    STEP = "step"  # where an operation is
    OUTCOME = "outcome"
    REFUSAL = "refusal"
    CAUSE = "cause"
    STUCK = "not thawed"  # why something may still be frozen
    EVIDENCE = "evidence"
    COPY = "copy"


class Hand(StrEnum):
    """What a person can do without frostwatch (`agentclient.model.explanation.by_hand`)."""

    RUN_STATE = "see what the VM is doing"
    PORT = "see whether an agent runs"
    CLIENTS = "see who holds the agent's channel"
    STATUS = "ask the agent whether it is frozen"
    INFO = "ask the agent what it may do"
    FILE_SYSTEMS = "ask the agent for its file systems"
    FREEZE = "freeze it; nothing thaws it but you"
    THAW = "thaw it"
    WRITES = "see what the guest has written"
    JOBS = "see what QEMU copies"
    IN_GUEST = "look at the agent, in the guest"
    START_AGENT = "start the agent, or restart it, in the guest"
    HOOKS = "look at the freeze hooks, in the guest"
    RESUME = "let the VM run on"
    WAKE = "wake the guest up"
    RESET = "reset it: what it has not written is lost"
    SYSRQ = "thaw it by its kernel alone"
    START = "start the VM"
    MIGRATION = "see how far the migration is"
    UNLOCK = "take the manager's lock away"


class Row(NamedTuple):
    """A row of a table of states: an `Explanation` without its topic and its word."""

    what: str
    known: str
    data: str
    do: str
    by_hand: tuple[Hand, ...]


_NO_RESULTS: Mapping[EvidenceResult, str] = MappingProxyType({})


class Explanation(NamedTuple):
    """What a word means.

    Attributes:
        topic: what the word is about.
        word: the word, as the screen shows it.
        what: what it says; a clause.
        known: how it is known.
        data: what it means for the data: for a copy of the disks, and for the guest. Empty for
            evidence, where `results` says it.
        do: what to do; with the words in braces of `agentclient.model.next_step`. Empty if there
            is nothing to be done.
        by_hand: what can be done by hand.
        results: what each direction of a piece of evidence means; empty for all other words.
    """

    topic: Topic
    word: str
    what: str
    known: str
    data: str
    do: str = ""
    by_hand: tuple[Hand, ...] = ()
    results: Mapping[EvidenceResult, str] = _NO_RESULTS
