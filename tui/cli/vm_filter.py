"""Which VMs are asked for, by ``--state``, ``--filter`` and age; and what a look has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from agentclient.late import load
from agentclient.model.durations import in_words
from agentclient.model.errors import BadInput
from agentclient.model.others_freeze import OthersFreeze, others_freeze
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, RunState
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable
from tui.shared.clocks import Moment
from tui.shared.freeze_words import FOREIGN, HELD_BY, LEFT, UNKNOWN, freeze_words

if TYPE_CHECKING:
    from tui.shared.filter_language import Query

STATE_WORDS = (*AgentState, *FreezeState, FOREIGN, LEFT, HELD_BY, *OthersFreeze)

_FREEZE_WORDS = frozenset({*FreezeState, FOREIGN, LEFT, HELD_BY, *OthersFreeze})
OTHERS_AT_WORK: Final = (OthersFreeze.PENDING, OthersFreeze.LOST)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which VMs are asked for; an empty filter matches all.

    Attributes:
        words: agent or freeze states, ``foreign``, ``left``, ``held-by``, or what others do: one of
            them has to hold.
        older_than_s: seconds for which the freeze state has to be known already.
        terms: what ``--filter`` asks for; empty for nothing.
    """

    words: frozenset[str] = frozenset()
    older_than_s: float | None = None
    terms: str = ""

    @property
    def query(self) -> Query | None:
        """What the terms ask for; None for nothing."""
        return query_of(self.terms) if self.terms else None

    @property
    def suggestion(self) -> str:
        """What may have been meant by terms that find nothing; empty if nothing is alike."""
        query = self.query
        return query.suggestion if query is not None else ""

    def __str__(self) -> str:
        said = [printable(self.terms, 200)] if self.terms else []
        said += [f"state {' or '.join(sorted(self.words))}"] if self.words else []
        if self.older_than_s is not None:
            said.append(f"for longer than {in_words(self.older_than_s)}")
        return ", ".join(said)

    def matches(self, state: VmState, at: datetime) -> bool:
        """Return whether `state` is asked for, `at` being now."""
        query = self.query
        asked = query is None or query.matches(state, _moment(at))
        return asked and self._of_options(state, at)

    def may_match(self, state: VmState, at: datetime) -> str | None:
        """Return why a VM that does not match may do so all the same; None if it surely doesn't."""
        doubt, query = self._not_known(state), self.query
        if query is None:
            return doubt
        asked = query.matches(state, _moment(at))
        missing = None if asked else query.may_match(state, _moment(at))
        if not (asked or missing) or not (doubt or self._of_options(state, at)):
            return None
        return doubt or (f"{missing}: {why_not_known(state)}" if missing else None)

    def _of_options(self, state: VmState, at: datetime) -> bool:
        return self._in_state(state) and self._old(state, at)

    def _not_known(self, state: VmState) -> str | None:
        freeze_unknown = state.freeze.state is None and may_be_frozen(state)
        if self.words & _FREEZE_WORDS and freeze_unknown:
            return f"whether it is frozen isn't known: {why_not_known(state)}"
        if self.words & set(AgentState) and state.agent.state is AgentState.UNKNOWN:
            return f"the state of its agent isn't known: {why_not_known(state)}"
        if self.older_than_s is not None and not self.words and freeze_unknown:
            return f"the state of its file systems isn't known: {why_not_known(state)}"
        return None

    def _in_state(self, state: VmState) -> bool:
        here = {state.agent.state.value, *(freeze_words(state) - {UNKNOWN})}
        return not self.words or bool(self.words & here)

    def _old(self, state: VmState, at: datetime) -> bool:
        if self.older_than_s is None:
            return True
        since = _since(state)
        return since is not None and (at - since).total_seconds() > self.older_than_s


def _since(state: VmState) -> datetime | None:
    """Return since when the state of a guest's file systems is so, or what others have pending."""
    if state.others is not None and others_freeze(state) in OTHERS_AT_WORK:
        return state.others.since
    return state.freeze.since


def _moment(at: datetime) -> Moment:
    """Return a time for terms: nothing is in flight here, which alone has monotonic times."""
    return Moment(0.0, at)


EVERYTHING = Filter()


class Seen(NamedTuple):
    """What one look at all VMs has found.

    Attributes:
        at: when it was (wall clock).
        states: what is known of each VM.
        wanted: which of them are asked for.
        found: those that are.
        problems: one sentence for each source that failed, or hangs.
        failed: whether one failed.
        unknown: one sentence for each VM that may be meant as well, and for what may hide VMs.
    """

    at: datetime
    states: Sequence[VmState]
    wanted: Filter
    found: Sequence[VmState]
    problems: Sequence[str]
    failed: bool
    unknown: Sequence[str]


def may_be_frozen(state: VmState) -> bool:
    """Return whether a VM may be frozen for all we know: one without an agent can't be, by one."""
    never = state.agent.state is AgentState.NONE or state.run_state in _NOTHING_RUNS
    return state.freeze.state is not FreezeState.THAWED and not never


_NOTHING_RUNS = frozenset({RunState.GONE, RunState.SHUTDOWN, RunState.PANICKED})


def why_not_known(state: VmState) -> str:
    """Return why something isn't known of a VM, as a clause."""
    held = str(state.held_by) if state.held_by is not None else None
    known = held or state.vm.out_of_reach or state.agent.detail or state.trouble
    return known or f"its agent is {state.agent.state.value}"


def query_of(terms: str) -> Query:
    """Return what the terms of ``--filter`` ask for.

    Raises:
        BadInput: they can't be meant; one sentence.
    """
    # A list without a filter need not wait for its language.
    query: Query = load("tui.shared.filter_language", "parse")(terms, exact=True)
    if query.problems:
        raise BadInput(f"--filter: {query.problems[0]}")
    return query


def checked(words: Sequence[str]) -> frozenset[str]:
    """Return the words of ``--state``.

    Raises:
        BadInput: one of them is none; its sentence says what may be meant.
    """
    for word in words:
        if word not in STATE_WORDS:
            # Of two names for one thing the shorter one is meant, unless it was typed so.
            meant = [one for one in STATE_WORDS if one != OthersFreeze.FROZEN or "-" in word]
            said = f"{printable(word, 60)!r} is no state{did_you_mean(word, meant)}"
            raise BadInput(f"{said}: use {', '.join(STATE_WORDS)}")
    return frozenset(words)
