"""The debrief: what happened, what was done, what was good, late or wrong, and the commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agentclient.model.durations import clock
from tui.shared.glyphs import Signs
from tui.shared.tone import Line, Piece, Tone
from tui.shared.training.diary import Diary, Fact, What
from tui.shared.training.scenario import Mark, Scenario, reached

_EMPTY: Final[Line] = (Piece(""),)


def marks(scenario: Scenario, diary: Diary) -> list[Mark]:
    """Return what was good, late or wrong, in the order of time."""
    found: list[Mark] = []
    before = 0.0
    facts = reached(scenario, diary)
    for goal, fact in zip(scenario.goals, facts, strict=False):
        in_time = goal.within_s is None or fact.at - before <= goal.within_s
        text = goal.praise if in_time else goal.late
        if text:
            found.append(Mark(in_time, text, fact.at))
        before = fact.at
    if len(facts) < len(scenario.goals) and diary.ended_at is not None:
        task = scenario.goals[len(facts)].task
        found.append(Mark(False, f"you left before this was done: {task}", diary.ended_at))
    found += scenario.wrong(diary)
    return sorted(found, key=lambda one: one.at if one.at is not None else float("inf"))


def is_over(scenario: Scenario, diary: Diary) -> bool:
    """Return whether all goals are reached."""
    return len(reached(scenario, diary)) == len(scenario.goals)


def went_well(scenario: Scenario, diary: Diary) -> bool:
    """Return whether all goals are reached, and nothing was late or wrong."""
    return is_over(scenario, diary) and all(one.good for one in marks(scenario, diary))


def debrief(scenario: Scenario, diary: Diary, signs: Signs) -> Iterator[Line]:
    """Yield the debrief, line by line."""
    found = marks(scenario, diary)
    bad = [one for one in found if not one.good]
    done = is_over(scenario, diary)
    ended = clock(diary.ended_at or 0.0)
    word = "played to its end" if done else "left before its end"
    worth = f"{len(bad)} to do better" if bad else "all of it was right"
    yield (Piece(f"{scenario.name}: {word}, in {ended}; {worth}.", _tone(done and not bad)),)
    yield _EMPTY
    yield (Piece("What happened, and what you did", Tone.HEAD),)
    for fact in diary.facts:
        yield _told(fact)
    if not diary.facts:
        yield (Piece("  nothing"),)
    yield _EMPTY
    yield (Piece("What was good, and what was not", Tone.HEAD),)
    for mark in found:
        yield _marked(mark, signs)
    if not found:
        yield (Piece("  nothing yet"),)
    yield _EMPTY
    yield (Piece("What to take away", Tone.HEAD),)
    for sentence in scenario.lesson:
        yield (Piece("  "), Piece(sentence))
    yield _EMPTY
    yield (Piece("By hand", Tone.HEAD),)
    for command in scenario.commands:
        yield (Piece(f"  {command.line}", Tone.ACTIVE),)
        yield (Piece("      "), Piece(command.does, Tone.DIM))


def _tone(good: bool) -> Tone:
    return Tone.GOOD if good else Tone.WARN


def _told(fact: Fact) -> Line:
    who = "you  " if fact.is_deed else "     "
    tone = Tone.ACTIVE if fact.is_deed else Tone.NORMAL
    if fact.what is What.HINT:
        tone = Tone.DIM
    return (Piece(f"  {clock(fact.at):>5}  "), Piece(who, tone), Piece(fact.text, tone))


def _marked(mark: Mark, signs: Signs) -> Line:
    sign = signs.yes if mark.good else signs.no
    at = clock(mark.at) if mark.at is not None else ""
    tone = _tone(mark.good)
    return (Piece(f"  {at:>5}  "), Piece(f"{sign} ", tone), Piece(mark.text, tone))


def as_text(lines: Iterator[Line]) -> Iterator[str]:
    """Yield the lines without tones."""
    for line in lines:
        yield "".join(piece.text for piece in line).rstrip()
