"""Who takes part in a drill."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from agentclient.backends.drill.plan import GuestPlan, plan
from agentclient.backends.drill.size import DEFAULT_GUESTS, MOST_GUESTS
from agentclient.backends.drill.troubles import PLAYED, TROUBLES, Trouble

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("count", [1, 2, 5, 12, 13, 14, 24, 99, 100, 250, 1000, MOST_GUESTS])
def test_a_plan_is_always_the_same_and_its_names_are_unique(count: int) -> None:
    guests = plan(count)
    assert guests == plan(count)
    assert len(guests) == count
    assert len({guest.name for guest in guests}) == count
    assert (guests[0].name, guests[0].trouble) == ("db1", Trouble.FAST)
    assert Trouble.HUGE not in {guest.trouble for guest in guests}


@pytest.mark.parametrize("count", [len(PLAYED), DEFAULT_GUESTS, 100, 999, MOST_GUESTS])
def test_every_trouble_is_there_and_the_fast_ones_are_the_most(count: int) -> None:
    found = Counter(guest.trouble for guest in plan(count))
    assert set(found) == set(PLAYED)
    assert found[Trouble.FAST] == max(found.values())
    if count >= 100:
        assert found[Trouble.FAST] > count * 0.8


def test_a_name_with_markup_belongs_to_the_hostile_one() -> None:
    hostile = [guest for guest in plan(1000) if "[/]" in guest.name]
    assert {guest.trouble for guest in hostile} == {Trouble.HOSTILE}
    assert len(hostile) == 10


@pytest.mark.parametrize("guest", plan(), ids=lambda guest: guest.name)
def test_a_guest_survives_its_way_to_the_server(guest: GuestPlan) -> None:
    assert GuestPlan.from_json(json.loads(json.dumps(guest.to_json()))) == guest


def test_the_documents_name_the_guests_of_the_usual_drill() -> None:
    told = (ROOT / "docs" / "drill.md").read_text()
    for guest in plan():
        row = f"| `{guest.name}` | {TROUBLES[guest.trouble].clause} |"
        assert (row in told) == (guest.trouble is not Trouble.FAST), guest
    section = (ROOT / "README.md").read_text().partition("## Try it")[2].partition("\n## ")[0]
    tried = re.findall(r"^\| `(\w+)` \|.*\|$", section, re.MULTILINE)
    assert tried
    assert set(tried) <= {guest.name for guest in plan()}
