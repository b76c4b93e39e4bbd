"""Each state has one sign and one word: in the console, the list, the plugin and the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from agentclient.backends.drill.troubles import Trouble
from agentclient.engine import Engine
from agentclient.model.explanation.table import find
from agentclient.model.others import ChannelClient, Others
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import AgentHealth, FreezeInfo, HeldBy, LeftBy, VmState
from agentclient.model.states import (
    AgentState,
    FreezeState,
    KnownBy,
    OthersState,
    OutcomeKind,
    RunState,
)
from agentclient.model.vm import Vm, VmId
from tests.drilled import guest
from tui.cli import table as cli_table
from tui.cli import vm_table
from tui.cli.vm_check import Health, plugin_output
from tui.cli.vm_filter import Filter, Seen
from tui.cli.vm_metrics import metrics
from tui.console.widgets.table import cells
from tui.shared.clocks import Moment
from tui.shared.filter_language import parse
from tui.shared.freeze_look import freeze_look
from tui.shared.freeze_words import FOREIGN, HELD_BY, LEFT
from tui.shared.glyphs import (
    AGENT,
    FREEZE,
    NO_GROUP,
    OTHERS_LOST,
    OTHERS_PENDING,
    OUTCOME,
    RUN,
    Signs,
)
from tui.shared.trouble import needs_attention

AT = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
VM = Vm(VmId("qemu", "db1"))
WELL = VmState(
    VM,
    RunState.RUNNING,
    AgentHealth(AgentState.ALIVE, KnownBy.REPLY, 0.001, seen_at=AT),
    FreezeInfo(FreezeState.THAWED, AT),
)
FROZEN = FreezeInfo(FreezeState.FROZEN, AT)
BY = ChannelClient("vzdump", 12)
LOST = Outcome(OutcomeKind.LOST, "no answer", settled=False)


def every_state() -> Iterator[tuple[str, VmState]]:
    for run in RunState:
        yield f"run {run}", WELL._replace(run_state=run)
    for agent in AgentState:
        yield f"agent {agent}", WELL._replace(agent=AgentHealth(agent, KnownBy.PORT, seen_at=AT))
    for freeze in (*FreezeState, None):
        yield f"freeze {freeze}", WELL._replace(freeze=FreezeInfo(freeze, AT))
        thought = FreezeInfo(freeze, AT, foreign=True)
        yield f"foreign {freeze}", WELL._replace(freeze=thought)
    for others in OthersState:
        yield f"others {others}", WELL._replace(others=Others(others, AT, BY))
    left = LeftBy(1, 4711, "root", AT)
    yield "left", WELL._replace(freeze=FROZEN, left=left)
    held = HeldBy(1316, "root", FreezeState.FROZEN, AT)
    yield "held", WELL._replace(freeze=FROZEN, held_by=held)
    yield "not thawed", WELL._replace(freeze=FreezeInfo(None, AT), last=LOST)


EVERY = dict(every_state())


def listed(state: VmState, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the cells of a VM's line in the list."""
    monkeypatch.setattr(cli_table, "has_glyphs", lambda: True)
    row = vm_table._row(state, signs=True)
    return {head: cell.text for head, cell in zip(vm_table.HEADER, row, strict=True)}


def compare(state: VmState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that the list and the console say the same of a VM."""
    signs, look = Signs(), freeze_look(state)
    paint = cells.Paint(Moment(0.0, AT), signs)
    row = listed(state, monkeypatch)
    assert row["RUNS"] == cells.run(state, paint).text
    assert row["AGENT"] == signs.labelled(AGENT[state.agent.state])
    assert row["FILE SYSTEMS"] == signs.labelled(look)
    shown = cells.freeze(state, paint).text
    if look in (OTHERS_PENDING, OTHERS_LOST):  # the column beside it says who
        shown = shown.replace(" ", " others-").removesuffix("?")
    assert shown == row["FILE SYSTEMS"]


@pytest.mark.parametrize("name", EVERY)
def test_the_list_shows_each_state_as_the_console_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(EVERY[name], monkeypatch)


@pytest.mark.parametrize("name", EVERY)
def test_filters_figures_and_metrics_count_the_same(name: str) -> None:
    state, moment = EVERY[name], Moment(0.0, AT)
    seen = Seen(AT, (state,), Filter(), [state], (), False, [])
    figures = dict(
        one.split("=") for one in plugin_output(seen)[1][0].partition("| ")[2].split(" ")
    )
    told = metrics(seen)
    for word in (FOREIGN, LEFT, HELD_BY, "others-pending", "others-lost"):
        so = Filter(frozenset({word})).matches(state, AT)
        assert parse(f"state:{word}").matches(state, moment) is so, word
        assert f'concern="{word}"}} {int(so)}' in "\n".join(told), word
        assert figures[word.replace("-", "_")] == f"{int(so)};;;0", word


@pytest.mark.parametrize("name", EVERY)
def test_what_the_console_calls_trouble_is_none_of_a_plugins_well(name: str) -> None:
    state = EVERY[name]
    health, _ = plugin_output(Seen(AT, (state,), Filter(), [state], (), False, []))
    if state.last is None:  # a list has no outcomes
        assert (health is not Health.OK) is needs_attention(state)


def test_every_word_of_a_state_is_explained_by_the_same_word() -> None:
    looks = [*RUN.values(), *AGENT.values(), *FREEZE.values(), *OUTCOME.values(), NO_GROUP]
    looks += [freeze_look(state) for state in EVERY.values()]
    for look in looks:
        assert find(look.word), look.word
    assert {one.word for one in find("verified")} >= {"certified", "not certified", "no group"}


def test_in_a_drill_the_list_and_the_console_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(drill=[guest(one.value, one) for one in Trouble]) as engine:
        engine.look()
        engine.visit()
        states = engine.fleet.states()
    assert len(states) == len(Trouble)
    for state in states:
        compare(state, monkeypatch)
    assert FOREIGN in {freeze_look(state).word for state in states}
