"""Guests that are frozen together: all of them, or none (real guests)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.guests.command import Frostwatch, Json, ended
from tests.guests.conftest import Boot
from tests.guests.lab import PATIENCE_S, Guest
from tests.guests.lab.shell import wait_until

Trio = tuple[Guest, Guest, Guest]


@pytest.fixture(scope="module")
def three(module_boot: Boot) -> Trio:
    """Three guests with one disk each."""
    one, two, other = (module_boot(name=f"member{number}", mounts=("a",)) for number in range(3))
    return one, two, other


@pytest.fixture
def trio(three: Trio) -> Iterator[Trio]:
    """The same, put back to how they were after each test."""
    yield three
    for guest in three:
        guest.calm_down()


@pytest.fixture
def frostwatch(trio: Trio) -> Iterator[Frostwatch]:
    started = Frostwatch(*trio)
    yield started
    started.close()


def outcomes(lines: list[Json]) -> dict[str, Json]:
    return {line["vm"]: line for line in lines if line["event"] == "outcome"}


def test_three_are_frozen_together_and_thawed_in_reverse_order(
    trio: Trio, frostwatch: Frostwatch, record_property: Callable[[str, object], None]
) -> None:
    trio[1].held_hook()
    times = ("--hold", "6", "--within", "60")
    child = frostwatch.start("freeze", *frostwatch.vms, "--together", *times, "--json")
    for guest in (trio[0], trio[2]):
        wait_until(partial(_is_frozen, guest), PATIENCE_S, "the freeze")
    trio[1].release_hook()
    wait_until(partial(_is_frozen, trio[1]), PATIENCE_S, "the freeze of the slow one")
    assert all(guest.frozen_mounts() == {"a"} for guest in trio)
    code, lines, _ = ended(child)
    assert code == 0
    group = lines[-1]
    assert (group["event"], group["together"]) == ("group", True)
    kinds = [line["event"] for line in lines]
    complete = lines[kinds.index("group")]
    assert (complete["final"], complete["hold_s"], group["final"]) == (False, 6.0, True)
    assert kinds.index("group") < kinds.index("thaw-sent"), "it is told while they are held"
    assert all(line["certified"] for line in outcomes(lines).values())
    assert group["skew_s"] > 0, "it waited for the slow one"
    assert group["order"][-1] == frostwatch.vms[1]
    assert {line["outcome"] for line in outcomes(lines).values()} == {"verified"}
    noted = {line["vm"] for line in lines if "3 VMs are frozen together" in line.get("text", "")}
    assert noted == set(frostwatch.vms), "the skew stands in each one's log and journal"
    thaws = [line["vm"] for line in lines if line["event"] == "thaw-sent"]
    assert thaws == group["order"][::-1]
    record_property("skew_s", group["skew_s"])
    for guest in trio:
        guest.assert_thawed()


def test_the_skew_of_three_idle_guests(
    trio: Trio,
    frostwatch: Frostwatch,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    skews = []
    for _ in range(5):
        code, lines, _ = ended(frostwatch.start("freeze", *frostwatch.vms, "--together", "--json"))
        assert code == 0
        skews.append(lines[-1]["skew_s"])
    with capsys.disabled():
        print("\n  skew of three guests:", skews)
    record_property("skews_s", skews)
    for guest in trio:
        guest.assert_thawed()


def test_one_that_fails_has_the_others_thawed(trio: Trio, frostwatch: Frostwatch) -> None:
    trio[2].failing_hook("no")
    times = ("--hold", "100", "--within", "20")
    child = frostwatch.start("freeze", *frostwatch.vms, "--together", *times, "--json")
    code, lines, _ = ended(child)  # before that hold's end
    assert code == 1
    assert (lines[-1]["event"], lines[-1]["together"]) == ("group", False)
    assert f"{frostwatch.vms[2]} failed" in lines[-1]["reason"]
    assert all(line["thawed"] is not None for line in outcomes(lines).values())
    assert lines[-1]["failed"] == [frostwatch.vms[2]]
    for vm, line in outcomes(lines).items():
        assert not line["certified"], "its group was not frozen together"
        assert line["meaning"]["copy_is"] == "not", vm
    for guest in trio:
        guest.assert_thawed()


def test_what_the_past_tells_of_those_whose_group_failed(
    trio: Trio, frostwatch: Frostwatch
) -> None:
    trio[2].slow_hook(8.0)  # by then the others are frozen and verified
    ended(frostwatch.start("freeze", *frostwatch.vms, "--together", "--within", "5", "--json"))
    code, lines, _ = frostwatch.run("history", "--state", "no-group")
    assert code == 0
    assert {line["vm"] for line in lines} == set(frostwatch.vms[:2])
    for line in lines:
        assert (line["result"]["outcome"], line["result"]["not_together"]) == ("verified", True)
        assert not line["result"]["certified"]
    for guest in trio:
        guest.assert_thawed()


def test_one_that_is_too_slow_has_the_others_thawed(trio: Trio, frostwatch: Frostwatch) -> None:
    trio[0].held_hook()
    child = frostwatch.start("freeze", *frostwatch.vms, "--together", "--within", "2", "--json")
    for guest in trio[1:]:
        wait_until(partial(_was_thawed, guest), PATIENCE_S, "the thaw of the quick ones")
        guest.assert_thawed()
    trio[0].release_hook()
    code, lines, _ = ended(child)
    assert code == 1
    assert "not frozen within 2 s" in lines[-1]["reason"]
    for guest in trio:
        guest.assert_thawed()


def test_a_refused_one_has_the_others_thawed(trio: Trio, frostwatch: Frostwatch) -> None:
    trio[1].pause()
    code, lines, _ = ended(frostwatch.start("freeze", *frostwatch.vms, "--together", "--json"))
    trio[1].resume()
    assert code == 1
    assert outcomes(lines)[frostwatch.vms[1]]["refusal"] == "paused"
    for guest in trio:
        guest.assert_thawed()


def test_a_hold_that_is_too_long_with_its_wait_is_bad_input(
    trio: Trio, frostwatch: Frostwatch
) -> None:
    code, lines, err = ended(
        frostwatch.start("freeze", *frostwatch.vms, "--together", "--hold", "110", "--json")
    )
    assert (code, lines) == (2, [])
    assert "--within" in err


def _was_thawed(guest: Guest) -> bool:
    return guest.hook_log() == ["freeze", "thaw"]


def _is_frozen(guest: Guest) -> bool:
    return bool(guest.frozen_mounts())
