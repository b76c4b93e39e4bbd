"""The language of filters, in the console and of ``list --filter``.

A filter is some terms with blanks in between, all of which must hold:

    word            the word is found in what the row says
    "two words"     the same, with a blank in it
    state:frozen    a key, and one of its words; state:frozen,freezing is either of them
    name:web-*      a key with a text, or a pattern of it
    >5m  <10s       frozen, or about to be, for longer or for less than that
    !term           the term must not hold

Whatever is typed is a filter, at each letter: what can't be meant is a problem, told in a sentence,
and matches nothing; what is not finished yet matches all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final, NamedTuple

from agentclient.late import load
from agentclient.model.durations import parse_duration
from agentclient.model.errors import BadInput
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState, FreezeState, RunState
from agentclient.model.text import printable
from agentclient.model.vm import DRILL_SOURCE, EXPLICIT_SOURCE, LIBVIRT_SOURCE
from tui.shared.clocks import Moment
from tui.shared.filter_words import (
    AGENT_KEY,
    CLOSED,
    FREEZE_WORDS,
    KEYS,
    NAME_KEY,
    OPEN,
    STATE_KEY,
    names_of,
    search_text,
)
from tui.shared.frozen_for import frozen_for, may_be_frozen

LONGEST: Final = 1000  # characters; nobody types more, and a paste of megabytes is no filter
_SOURCES: Final = frozenset({"qemu", DRILL_SOURCE, EXPLICIT_SOURCE, LIBVIRT_SOURCE})
_TOKEN: Final = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_BEGUN: Final = re.compile(r"(?:[0-9]+\.|(?:[0-9]+(?:\.[0-9]+)?[hms])+[0-9]+\.?)?", re.ASCII)
_ON_THE_WAY: Final = frozenset({FreezeState.FREEZING, FreezeState.THAWING})
_NOTHING_RUNS: Final = frozenset({RunState.GONE, RunState.SHUTDOWN, RunState.PANICKED})


class Seen:
    """A VM as one filter looks at it.

    Attributes:
        state: what is known of it.
        moment: the time.
    """

    __slots__ = ("_text", "moment", "state")

    def __init__(self, state: VmState, moment: Moment) -> None:
        self.state = state
        self.moment = moment
        self._text: str | None = None

    @property
    def text(self) -> str:
        """What plain words are looked for in; made when the first one is."""
        if self._text is None:
            self._text = search_text(self.state)
        return self._text


class Term(NamedTuple):
    """One term of a filter.

    Attributes:
        holds: whether it holds for a VM, as far as is known.
        not_known: returns what of a VM isn't known that it is about; None if that is known.
        negated: whether the term must not hold.
    """

    holds: Callable[[Seen], bool]
    not_known: Callable[[VmState], str | None]
    negated: bool = False


class Query(NamedTuple):
    """A filter that was read.

    Attributes:
        terms: all of which must hold.
        problems: a sentence for each term that can't be meant; then nothing matches.
        words: the plain words, for a suggestion where nothing matches.
        ages: whether it depends on the time as well.
    """

    terms: tuple[Term, ...] = ()
    problems: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    ages: bool = False

    def matches(self, state: VmState, moment: Moment) -> bool:
        """Return whether a VM is asked for; what isn't known of it does not hold."""
        if self.problems:
            return False
        seen = Seen(state, moment)
        return all(term.holds(seen) is not term.negated for term in self.terms)

    def may_match(self, state: VmState, moment: Moment) -> str | None:
        """Return what isn't known of a VM that may match all the same; None if it surely doesn't.

        A VM that matches is none that may match.
        """
        seen = Seen(state, moment)
        failing = [term for term in self.terms if term.holds(seen) is term.negated]
        if self.problems or not failing:
            return None
        reasons = [term.not_known(state) for term in failing]
        return reasons[0] if all(reasons) else None

    @property
    def suggestion(self) -> str:
        """What may have been meant by its plain words, with a blank before it; empty if nothing."""
        known = list(dict.fromkeys(word for closed in CLOSED.values() for word in closed.words))
        strange = [word for word in self.words if word not in known]
        return next(filter(None, (_did_you_mean(word, known) for word in strange)), "")


@lru_cache(maxsize=8)
def parse(text: str, *, exact: bool = False) -> Query:
    """Read a filter; never raises.

    Args:
        text: as it was typed.
        exact: as in a script: words of a key are not shortened, and no term is unfinished.
    """
    if len(text) > LONGEST:
        return Query(problems=(f"a filter has {LONGEST} characters at the most",))
    reader = _Reader(exact=exact)
    for found in _TOKEN.finditer(text):
        raw = found[0]
        reader.take(raw.replace('"', ""), len(raw.partition('"')[0]))
    return reader.query()


class _Reader:
    """Reads terms one after the other."""

    def __init__(self, *, exact: bool) -> None:
        self._exact = exact
        self._terms: list[Term] = []
        self._ages: list[tuple[str, float, bool]] = []
        self._problems: list[str] = []
        self._words: list[str] = []
        self._thawed = False  # VMs that are thawed are asked for by name

    def query(self) -> Query:
        """Return what was read; ages come first, since most VMs have none and are done with."""
        ages = [
            Term(_older(sign == ">", seconds, thawed=self._thawed), _freeze_not_known, negated)
            for sign, seconds, negated in self._ages
        ]
        terms = (*ages, *self._terms)
        return Query(terms, tuple(self._problems), tuple(self._words), bool(ages))

    def take(self, term: str, bare: int) -> None:
        """Read one term.

        Args:
            term: without its quotes.
            bare: how many of its first characters stand before a quote, and may be signs.
        """
        negated = len(term) > 1 and term[0] == "!" and bare > 0
        rest, bare = (term[1:], bare - 1) if negated else (term, bare)
        key, colon, value = rest.partition(":")
        if rest[:1] in ("<", ">") and rest and bare:
            self._take_age(rest, negated=negated)
        elif colon and len(key) < bare and key.casefold() in KEYS:
            self._take_keyed(key.casefold(), value, negated=negated)
        elif colon and len(key) < bare and (alike := self._mistyped(key)):
            self._problems.append(f"no VM has a {_shown(key)}{alike}")
        elif rest:
            self._take_word(rest.casefold(), negated=negated)

    def _mistyped(self, key: str) -> str:
        """Return which key was meant; empty for what may be a part of a name, such as `qemu:a`."""
        if not key or key.casefold() in _SOURCES:
            return ""
        return _did_you_mean(key.casefold(), [f"{one}:" for one in KEYS])

    def _take_word(self, word: str, *, negated: bool) -> None:
        self._terms.append(Term(lambda seen: word in seen.text, _not_known_of(word), negated))
        if not negated:
            self._words.append(word)

    def _take_age(self, term: str, *, negated: bool) -> None:
        sign, text = term[0], term[1:].strip()
        try:
            self._ages.append((sign, parse_duration(text), negated))
        except BadInput as problem:
            if self._exact or not _BEGUN.fullmatch(text.casefold()):
                self._problems.append(str(problem))

    def _take_keyed(self, key: str, value: str, *, negated: bool) -> None:
        values = [one for one in value.casefold().split(",") if one]
        if not values:
            if self._exact:
                self._problems.append(f"{key}: says nothing: {_what_follows(key)}")
        elif key == NAME_KEY:
            self._terms.append(Term(_named(values), _known, negated))
        elif key in OPEN:
            text_of = OPEN[key]
            self._terms.append(
                Term(lambda seen: _has_any(text_of(seen.state), values), _known, negated)
            )
        else:
            self._take_closed(key, values, negated=negated)

    def _take_closed(self, key: str, values: list[str], *, negated: bool) -> None:
        closed, wanted = CLOSED[key], set[str]()
        for value in values:
            found = self._meant(value, closed.words)
            if not found:
                self._problems.append(_no_word(key, value))
            wanted |= found
        if key == STATE_KEY and not negated:
            self._thawed = self._thawed or FreezeState.THAWED in wanted
        self._terms.append(
            Term(lambda seen: bool(wanted & closed.of(seen.state)), _NOT_KNOWN[key], negated)
        )

    def _meant(self, value: str, words: Iterable[str]) -> set[str]:
        if value in words:
            return {value}
        return set() if self._exact else {word for word in words if word.startswith(value)}


# -- what a term asks ------------------------------------------------------------------------------


def _older(longer: bool, seconds: float, *, thawed: bool) -> Callable[[Seen], bool]:
    def holds(seen: Seen) -> bool:
        age = _age(seen, thawed=thawed)
        return age is not None and (age > seconds if longer else age < seconds)

    return holds


def _age(seen: Seen, *, thawed: bool) -> float | None:
    """Return for how many seconds a VM is frozen, or about to be; None if it isn't."""
    state, freeze = seen.state, seen.state.freeze
    counts = thawed and freeze.state is FreezeState.THAWED
    if not (counts or freeze.state in _ON_THE_WAY or may_be_frozen(state)):
        return None
    held = state.progress is not None and state.progress.held_since is not None
    if freeze.since is None and state.others is None and not held:
        return None  # frozen, and nobody knows since when
    return frozen_for(state, seen.moment)


def _named(values: list[str]) -> Callable[[Seen], bool]:
    def fits(value: str, names: list[str]) -> bool:
        if any(letter in value for letter in "*?["):
            return any(fnmatchcase(name, value) for name in names)
        return value in names or value in names[0]

    def holds(seen: Seen) -> bool:
        names = [name.casefold() for name in names_of(seen.state)]
        return any(fits(value, names) for value in values)

    return holds


def _has_any(text: str, values: list[str]) -> bool:
    text = text.casefold()
    return any(value in text for value in values)


# -- what isn't known ------------------------------------------------------------------------------


def _known(_state: VmState) -> str | None:
    return None


def _freeze_not_known(state: VmState) -> str | None:
    never = state.agent.state is AgentState.NONE or state.run_state in _NOTHING_RUNS
    unknown = state.freeze.state is None and not never
    return "whether it is frozen isn't known" if unknown else None


def _agent_not_known(state: VmState) -> str | None:
    unknown = state.agent.state is AgentState.UNKNOWN
    return "the state of its agent isn't known" if unknown else None


def _run_not_known(state: VmState) -> str | None:
    unknown = state.run_state is RunState.UNKNOWN
    return "what the VM does isn't known" if unknown else None


_NOT_KNOWN: Final = {
    **dict.fromkeys(CLOSED, _known),
    STATE_KEY: _freeze_not_known,
    AGENT_KEY: _agent_not_known,
    "run": _run_not_known,
}


def _not_known_of(word: str) -> Callable[[VmState], str | None]:
    """Return what isn't known where a plain word is one of the states' (P9)."""
    if word in FREEZE_WORDS:
        return _freeze_not_known
    if word in tuple(AgentState):
        return _agent_not_known
    return _run_not_known if word in tuple(RunState) else _known


# -- what is said of a mistake ---------------------------------------------------------------------


def _no_word(key: str, value: str) -> str:
    words = CLOSED[key].words
    elsewhere = [f"{other}:{value}" for other in CLOSED if value in CLOSED[other].words]
    alike = f" (did you mean {elsewhere[0]}?)" if elsewhere else ""
    alike = alike or _did_you_mean(value, words)
    return f"{key}: nothing is {_shown(value)}{alike or f': use {_listed(words)}'}"


def _what_follows(key: str) -> str:
    return f"use {_listed(CLOSED[key].words)}" if key in CLOSED else "a text follows"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _shown(text: str) -> str:
    return repr(printable(text, 60))


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    # It takes longer to import than all the rest, and is wanted after a mistake alone.
    said: str = load("agentclient.model.suggestions", "did_you_mean")(word[:100], known)
    return said
