"""The drill's scenarios without a console: what they are judged by, and what their guests do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agentclient.backends.drill.guest import DrillGuest
from agentclient.backends.drill.plan import GuestPlan, make_guest
from agentclient.backends.drill.troubles import IN_SCENARIOS, RESTARTED_S, Trouble
from agentclient.model.events import EventKind
from agentclient.model.request import Schedule
from agentclient.model.states import OutcomeKind
from tests.unit.drill_virtual import Drilled, virtual_freeze
from tui.main import run
from tui.shared.glyphs import Signs
from tui.shared.training.catalogue import SCENARIOS
from tui.shared.training.debrief import as_text, debrief, is_over, marks, went_well
from tui.shared.training.diary import Diary, Fact, What
from tui.shared.training.scenario import Scenario, reached

LOST, HALF, FOREIGN, HUNG = (SCENARIOS[one] for one in ("lost", "half-frozen", "foreign", "hung"))

RIGHT: dict[str, list[tuple[float, str, What]]] = {
    "lost": [
        (5.0, "db1", What.FREEZE), (8.0, "db1", What.LOST), (39.0, "db1", What.WRITES),
        (39.1, "db1", What.ENDED), (60.0, "db1", What.FREEZE), (60.5, "db1", What.HELD),
        (70.5, "db1", What.THAW_SENT), (71.0, "db1", What.CERTIFIED),
    ],
    "half-frozen": [
        (5.0, "mail1", What.FREEZE), (9.0, "mail1", What.PARTIAL), (12.0, "mail1", What.WRITES),
        (20.0, "mail1", What.FREEZE), (20.5, "mail1", What.HELD), (30.5, "mail1", What.THAW_SENT),
        (31.0, "mail1", What.CERTIFIED),
    ],
    "foreign": [
        (9.0, "app1", What.FOREIGN), (13.0, "git1", What.FOREIGN), (40.0, "app1", What.WRITES),
        (133.0, "git1", What.OVERDUE), (150.0, "git1", What.THAW_FOREIGN),
        (151.0, "git1", What.WRITES),
    ],
    "hung": [
        (5.0, "files1", What.FREEZE), (6.0, "files1", What.HELD), (16.0, "files1", What.THAW_SENT),
        (40.0, "files1", What.RUNG_SYSRQ), (52.0, "files1", What.WRITES),
    ],
}  # fmt: skip


def diary(*facts: tuple[float, str, What], ended_at: float = 500.0) -> Diary:
    return Diary([Fact(at, vm, what, f"{vm}: {what}") for at, vm, what in facts], ended_at)


def bad(scenario: Scenario, *facts: tuple[float, str, What]) -> list[str]:
    return [one.text for one in marks(scenario, diary(*facts)) if not one.good]


@pytest.mark.parametrize("name", SCENARIOS)
def test_who_does_it_right_is_told_so(name: str) -> None:
    scenario, written = SCENARIOS[name], diary(*RIGHT[name])
    assert is_over(scenario, written)
    assert went_well(scenario, written)
    said = "\n".join(as_text(debrief(scenario, written, Signs())))
    assert "played to its end" in said
    assert "all of it was right" in said
    assert "✗" not in said
    for command in scenario.commands:
        assert command.line in said


@pytest.mark.parametrize("name", SCENARIOS)
def test_who_leaves_early_is_told_what_was_left(name: str) -> None:
    scenario = SCENARIOS[name]
    written = diary(*RIGHT[name][:1])
    assert not went_well(scenario, written)
    said = "\n".join(as_text(debrief(scenario, written, Signs(ascii=True))))
    assert "left before its end" in said
    assert "  x you left before this was done" in said
    assert said.isascii()
    assert not went_well(scenario, diary())


@pytest.mark.parametrize(
    ("name", "vm"), [("lost", "db1"), ("half-frozen", "mail1"), ("hung", "files1")]
)
def test_a_reset_is_wrong_whatever_comes_of_it(name: str, vm: str) -> None:
    facts = [*RIGHT[name][:2], (20.0, vm, What.RUNG_RESET), *RIGHT[name][2:]]
    (said,) = bad(SCENARIOS[name], *facts)
    assert said.startswith(f"you reset {vm}: all that ran in it is lost")


@pytest.mark.parametrize("name", SCENARIOS)
def test_to_freeze_another_guest_is_wrong(name: str) -> None:
    facts = [*RIGHT[name], (170.0, "web1", What.FREEZE)]
    assert "you froze web1, which nobody had asked for: its users waited" in bad(
        SCENARIOS[name], *facts
    )


def test_to_break_a_backup_that_works_is_wrong_and_so_is_a_guess() -> None:
    facts = [*RIGHT["foreign"][:2], (20.0, "app1", What.THAW_FOREIGN), *RIGHT["foreign"][2:]]
    (said,) = bad(FOREIGN, *facts)
    assert "whose backup was at work" in said
    early = [(9.0, "app1", What.FOREIGN), (13.0, "git1", What.FOREIGN),
             (20.0, "git1", What.THAW_FOREIGN), (21.0, "git1", What.WRITES)]  # fmt: skip
    assert any("that was a guess" in one for one in bad(FOREIGN, *early))


def test_what_takes_long_is_late() -> None:
    slow = [*RIGHT["lost"][:4], *((at + 240.0, vm, what) for at, vm, what in RIGHT["lost"][4:])]
    assert bad(LOST, *slow) == ["you took long to freeze it again: the snapshot waited for that"]
    slow = [*RIGHT["hung"][:3], (200.0, "files1", What.RUNG_SYSRQ), (210.0, "files1", What.WRITES)]
    assert any("you took long to go round the agent" in one for one in bad(HUNG, *slow))


def test_a_window_that_ends_before_its_agent_hangs_begins_the_task_again() -> None:
    short = [(5.0, "files1", What.FREEZE), (5.1, "files1", What.HELD),
             (5.2, "files1", What.THAW_SENT), (5.3, "files1", What.CERTIFIED)]  # fmt: skip
    assert reached(HUNG, diary(*short)) == []
    again = [*short, *((at + 20.0, vm, what) for at, vm, what in RIGHT["hung"])]
    assert went_well(HUNG, diary(*again))


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (5.0, "you held files1 for 5 s, and its copy takes 10 s: it was not made within"),
        (60.0, "you held files1 for 1 min, and its copy takes 10 s: its users waited"),
    ],
)
def test_a_window_that_does_not_fit_the_copy_is_told(held: float, said: str) -> None:
    facts = [
        (at if what in (What.FREEZE, What.HELD) else at - 10.0 + held, vm, what)
        for at, vm, what in RIGHT["hung"]
    ]
    (text,) = bad(HUNG, *facts)
    assert text.startswith(said)


def test_sysrq_while_the_copy_is_being_made_is_told() -> None:
    facts = [*RIGHT["hung"][:2], (9.0, "files1", What.RUNG_SYSRQ), (9.2, "files1", What.WRITES),
             (16.0, "files1", What.THAW_SENT)]  # fmt: skip
    assert is_over(HUNG, diary(*facts))
    (text,) = bad(HUNG, *facts)
    assert text.startswith("you pressed SysRq in files1 while its copy was being made")


@pytest.mark.parametrize(("name", "vm"), [("lost", "db1"), ("half-frozen", "mail1")])
def test_a_window_that_is_over_at_once_is_told(name: str, vm: str) -> None:
    at_once = [one for one in RIGHT[name] if one[2] not in (What.HELD, What.THAW_SENT)]
    (text,) = bad(SCENARIOS[name], *at_once)
    assert text.startswith(f"the window of {vm} was over at once")
    (end,) = [at for at, _, what in RIGHT[name] if what is What.CERTIFIED]
    brief = [*at_once[:-1], (end - 0.4, vm, What.HELD), (end - 0.2, vm, What.THAW_SENT),
             at_once[-1]]  # fmt: skip
    assert bad(SCENARIOS[name], *brief) == [text]


def test_sysrq_where_a_thaw_was_on_its_way_is_told() -> None:
    facts = [*RIGHT["half-frozen"][:2], (10.0, "mail1", What.RUNG_SYSRQ), *RIGHT["half-frozen"][2:]]
    (text,) = bad(HALF, *facts)
    assert text.startswith("you pressed SysRq in mail1 though an ordinary thaw")


@pytest.mark.parametrize("what", [What.RUNG_THAW, What.RUNG_SYSRQ])
def test_a_rung_breaks_a_backup_that_works_as_a_thaw_does(what: What) -> None:
    facts = [*RIGHT["foreign"][:2], (20.0, "app1", what), *RIGHT["foreign"][2:]]
    assert any("whose backup was at work" in one for one in bad(FOREIGN, *facts))
    early = [*RIGHT["foreign"][:2], (20.0, "git1", what), (21.0, "git1", What.WRITES)]
    assert any("that was a guess" in one for one in bad(FOREIGN, *early))


def test_to_freeze_what_others_had_frozen_is_told() -> None:
    facts = [*RIGHT["foreign"], (160.0, "git1", What.HELD)]
    assert bad(FOREIGN, *facts) == ["you froze git1, which nobody had asked for"]


def test_the_ladder_thaws_what_was_left_as_well() -> None:
    facts = [*RIGHT["foreign"][:4], (150.0, "git1", What.RUNG_THAW), RIGHT["foreign"][-1]]
    assert went_well(FOREIGN, diary(*facts))


def test_who_leaves_a_guest_frozen_is_told() -> None:
    facts = [*RIGHT["hung"][:3], (80.0, "files1", What.LEFT_FROZEN)]
    assert any("you left while files1 may be frozen" in one for one in bad(HUNG, *facts))
    partial = bad(HALF, *RIGHT["half-frozen"][:2])
    assert any("you left with a partial freeze" in one for one in partial)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_its_texts_fit_a_small_screen_and_its_guests_their_server(scenario: Scenario) -> None:
    assert len(scenario.guests) <= 4
    assert len({one.name for one in scenario.guests}) == len(scenario.guests)
    for goal in scenario.goals:
        assert len(f" TASK 1/4: {goal.task} i: hint ") <= 80, goal.task
        assert goal.hint[-1] == "."
    for command in scenario.commands:
        assert len(command.line) <= 62
    for guest in scenario.guests:
        assert GuestPlan.from_json(json.loads(json.dumps(guest.to_json()))) == guest
    names = {one.name for one in scenario.guests}
    assert {vm for _, vm, _ in RIGHT[scenario.name]} <= names


# -- their guests ----------------------------------------------------------------------------------


def test_a_trouble_that_strikes_once_lets_the_next_freeze_pass() -> None:
    guest = DrillGuest(replace(make_guest("db", 1, Trouble.FAILING_HOOK), strikes=1))
    guest.client_came(0.0)
    guest.receive(0.0, b'{"execute": "guest-fsfreeze-freeze"}\n')
    guest.advance(10.0)
    assert b"hook has failed" in guest.take_output()
    guest.receive(10.0, b'{"execute": "guest-fsfreeze-freeze"}\n')
    guest.advance(20.0)
    assert json.loads(guest.take_output()) == {"return": 2}


def test_a_hung_agent_is_freed_by_sysrq_and_acknowledges_the_thaw_when_it_is_started() -> None:
    freeze = virtual_freeze(Trouble.HUNG, schedule=Schedule(hold_s=10.0))
    freeze.run(20.0)
    assert freeze.guest.frozen
    assert freeze.at(EventKind.THAW_SENT) < 12.0
    assert isinstance(freeze.guest, Drilled)
    truth = freeze.guest.truth
    truth.thaw_by_key(freeze.guest.now)
    assert not truth.disks.frozen
    freeze.run(RESTARTED_S - 1.0)
    assert truth.flag
    outcome = freeze.run_out(step_s=0.05)
    assert (outcome.kind, outcome.thawed, outcome.settled) == (OutcomeKind.BROKEN, 0, True)


def test_a_backup_that_works_freezes_later_and_thaws_by_itself_once() -> None:
    guest = DrillGuest(replace(make_guest("app", 1, Trouble.BACKUP_WORKS), begins_s=4.0))
    frozen = []
    for second in range(200):
        guest.advance(float(second))
        frozen.append(bool(guest.disks.frozen))
    assert not any(frozen[:7])
    assert all(frozen[9:43])
    assert not any(frozen[45:])
    assert guest.client is False


def test_nobody_meets_the_troubles_of_scenarios_elsewhere() -> None:
    used = {one.trouble for scenario in SCENARIOS.values() for one in scenario.guests}
    assert set(IN_SCENARIOS) <= used


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["drill"], ["drill", "list"]])
def test_it_tells_which_there_are(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    out = capsys.readouterr().out
    for scenario in SCENARIOS.values():
        assert f"{scenario.name} " in out
        assert scenario.title in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["drill", "half-frosen"], "did you mean half-frozen?"),
        (["drill", "lost"], "a scenario is played by keys, and there is no terminal here"),
        (["--vm", "name=a,agent=/a", "drill", "lost"], "simulated guests only"),
        (["drill", "lost", "--drill-speed", "99"], "is not in 0.1 to 20"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    seen = capsys.readouterr()
    assert sentence in seen.err
    assert len(seen.err.splitlines()) == 1
