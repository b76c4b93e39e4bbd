"""What a scenario is: guests, a task, the goals on the way, and what it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from agentclient.backends.drill.plan import GuestPlan
from tui.shared.key_hints import key
from tui.shared.training.diary import Diary, Fact

# The keys that a hint may name: the action, and its usual key.
_KEYS: Final = {
    "freeze": ("freeze", "f"),
    "thaw": ("thaw", "t"),
    "rescue": ("rescue", "R"),
    "sort": ("sort", "s"),
    "trouble": ("vms.next_trouble", "]"),
}


class Mark(NamedTuple):
    """A judgement on what was done.

    Attributes:
        good: whether it was right.
        text: one sentence.
        at: seconds since the beginning; None if it is about the whole.
    """

    good: bool
    text: str
    at: float | None = None


class Command(NamedTuple):
    """A command that would have done it, and what it does."""

    line: str
    does: str


@dataclass(frozen=True, slots=True)
class Goal:
    """One step of the way.

    Attributes:
        task: what is to be done now, short enough for a line of 80 cells.
        hint: how, a sentence or two; ``{freeze}`` and the like stand for keys (`hint_of`).
        reached: returns what has reached it, of all that happened; None if nothing has. What had
            reached the goal before it is the second argument; None for the first.
        praise: what is said if it was reached in time.
        within_s: how soon after the goal before it, in seconds; None if that doesn't matter.
        late: what is said if it took longer.
    """

    task: str
    hint: str
    reached: Callable[[Diary, Fact | None], Fact | None]
    praise: str = ""
    within_s: float | None = None
    late: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A small drill with a task.

    Attributes:
        name: what it is called on the command line.
        title: what it is about, in a few words.
        story: what the trainee is told at first, a sentence each.
        guests: who is in it.
        goals: the steps of the way, in order.
        wrong: returns what was done wrong.
        lesson: what one takes away, a sentence each.
        commands: how it is done by hand.
    """

    name: str
    title: str
    story: Sequence[str]
    guests: Sequence[GuestPlan]
    goals: Sequence[Goal]
    wrong: Callable[[Diary], Iterable[Mark]]
    lesson: Sequence[str]
    commands: Sequence[Command]


def hint_of(goal: Goal) -> str:
    """Return a goal's hint, with the keys as they are set."""
    return goal.hint.format(**{name: key(*keys) for name, keys in _KEYS.items()})


def reached(scenario: Scenario, diary: Diary) -> list[Fact]:
    """Return what has reached each goal so far; a goal counts once those before it are reached."""
    facts: list[Fact] = []
    for goal in scenario.goals:
        found = goal.reached(diary, facts[-1] if facts else None)
        if found is None:
            break
        facts.append(found)
    return facts
