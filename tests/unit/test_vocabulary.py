"""The closed lists of the design, written out: who changes an enum has to change them knowingly."""

from __future__ import annotations

from enum import StrEnum

import pytest

from agentclient.model.job import Consistency, FreezePolicy
from agentclient.model.states import (
    AgentState,
    Cause,
    CopyIs,
    EvidenceName,
    EvidenceResult,
    FreezeState,
    GuestIs,
    OutcomeKind,
    Refusal,
)

LISTS: dict[type[StrEnum], str] = {
    AgentState: "alive open closed silent busy none unknown",
    FreezeState: "thawed freezing frozen thawing",
    OutcomeKind: "verified unverified partial lost timeout refused failed broken",
    Refusal: (
        "no-agent silent paused suspended migrating locked already-frozen disabled busy "
        "read-only self holder cancelled mounts not-begun"
    ),
    Cause: (
        "agent-gone agent-restarted guest-reset guest-shutdown guest-panicked guest-suspended "
        "vm-gone migrated channel-broken unknown"
    ),
    CopyIs: "consistent not unknown",
    GuestIs: "writes untouched frozen may-be-frozen will-freeze ended",
    EvidenceResult: "for against unknown",
    Consistency: "consistent crash-consistent none",
    FreezePolicy: "require prefer never suspend",
    EvidenceName: "reply coverage status port read writes status-at-thaw thaw",
}


@pytest.mark.parametrize("words", LISTS, ids=lambda words: words.__name__)
def test_an_enum_has_the_words_of_the_design_and_no_others(words: type[StrEnum]) -> None:
    assert sorted(word.value for word in words) == sorted(LISTS[words].split())


@pytest.mark.parametrize("words", LISTS, ids=lambda words: words.__name__)
def test_a_word_is_what_is_shown_and_written(words: type[StrEnum]) -> None:
    assert all(str(word) == f"{word}" == word.value for word in words)
