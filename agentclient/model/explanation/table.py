"""All explanations, in the order of a reader; and how one is found by its word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from agentclient.model.errors import BadInput
from agentclient.model.explanation import copies, evidence, outcomes, states
from agentclient.model.explanation.by_hand import by_any_hand
from agentclient.model.explanation.entry import Explanation, Topic
from agentclient.model.json_contract import SCHEMA, JsonObject
from agentclient.model.next_step import (
    CERTIFIED,
    HELD,
    KEPT,
    NOT_CERTIFIED,
    NOT_TOGETHER,
    THAWING,
)
from agentclient.model.states import OutcomeKind
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable

# What the words in braces of a step stand for where no VM is meant.
ANY_COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "freeze": "frostwatch freeze VM",
        "thaw": "frostwatch thaw VM",
        "foreign": "frostwatch thaw --foreign VM",
        "rescue": "frostwatch rescue VM",
        "sysrq": "frostwatch rescue VM --rung sysrq",
        "reset": "frostwatch rescue VM --rung reset",
        "doctor": "frostwatch doctor VM",
        "extend": "frostwatch extend --by 60 VM",
        "clear": "frostwatch jobs --clear VM",
        "start": "start",
    }
)
# A word that has no entry of its own, since what it means is told by how far the freeze has come.
_CASES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {OutcomeKind.VERIFIED: (HELD, THAWING, KEPT, CERTIFIED, NOT_CERTIFIED, NOT_TOGETHER)}
)
_PLACEHOLDER: Final = re.compile(r"\{([a-z]+)\}")


@cache
def table() -> tuple[Explanation, ...]:
    """Return all explanations."""
    parts = (states, outcomes, evidence, copies)
    return tuple(each for part in parts for each in part.explanations())


@cache
def _by_place() -> Mapping[tuple[Topic, str], Explanation]:
    return {(each.topic, each.word): each for each in table()}


def explanation(topic: Topic, word: str) -> Explanation:
    """Return the explanation of a word that is known to be there.

    Args:
        topic: what it is about.
        word: the word.
    """
    return _by_place()[topic, str(word)]


def find(word: str) -> tuple[Explanation, ...]:
    """Return the explanations of a word that a person has typed; it may have several.

    Raises:
        BadInput: nothing is called so; one sentence, with what may have been meant.
    """
    wanted = word.strip().lower()
    words = _CASES.get(_spaced(wanted), (_spaced(wanted),))
    found = tuple(each for each in table() if _spaced(each.word) in words)
    if not found:
        found = tuple(each for each in table() if _spaced(each.topic) == _spaced(wanted))
    if found:
        return found
    alike = did_you_mean(wanted, sorted({each.word for each in table()} - {states.MAYBE_FROZEN}))
    raise BadInput(
        f"nothing is called {printable(word, 60)!r}{alike}; frostwatch explain lists all words"
    )


def _spaced(word: str) -> str:
    """Return a word as it is compared: filters write *no-group* for what is shown as *no group*."""
    return word.replace("-", " ")


def step_of_any(explained: Explanation) -> str:
    """Return what to do, with commands in which ``VM`` stands for any; empty for nothing."""
    return _PLACEHOLDER.sub(lambda place: ANY_COMMANDS[place[1]], explained.do)


def explanation_object(explained: Explanation) -> JsonObject:
    """Return an explanation as one line of ``frostwatch explain --json``."""
    return {
        "schema": SCHEMA,
        "topic": explained.topic.value,
        "word": explained.word,
        "what": explained.what,
        "known": explained.known,
        "data": explained.data or None,
        "evidence": {result.value: text for result, text in explained.results.items()} or None,
        "do": step_of_any(explained) or None,
        "by_hand": [
            {"what": hand.value, "commands": dict(by_any_hand(hand))} for hand in explained.by_hand
        ],
    }
