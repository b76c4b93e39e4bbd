"""What a visit changes in what is known of a VM, and whom it may ask (P5). Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.access.agent_probe import ProbeResult
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.fleet.health import (
    Change,
    answered,
    looked,
    may_ask,
    patient,
    silent,
    unreachable,
)
from agentclient.model.outcome import FileSystem, Outcome
from agentclient.model.snapshot import (
    AgentHealth,
    FreezeInfo,
    HeldBy,
    LeftBy,
    MonitorView,
    Progress,
    VmState,
)
from agentclient.model.states import AgentState, FreezeState, KnownBy, OutcomeKind, Phase, RunState
from agentclient.model.vm import AgentChannel, Vm, VmId
from tests.unit.frozen_vm import AGENT

BEFORE = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
AT = BEFORE + timedelta(seconds=60)
VM = Vm(VmId("qemu", "db"), AgentChannel(AGENT))
ALIVE = AgentHealth(AgentState.ALIVE, KnownBy.REPLY, 0.01, "7.2.0", BEFORE)
THAWED = FreezeInfo(FreezeState.THAWED, BEFORE)
FROZEN = FreezeInfo(FreezeState.FROZEN, BEFORE, foreign=True)
WELL = VmState(VM, RunState.RUNNING, ALIVE, THAWED)
UP = MonitorView(RunState.RUNNING, port_open=True, client=False, gone=False)
BUSY = Progress("freeze", Phase.PENDING, "an answer", 0.0)
HELD = HeldBy(7, "root", FreezeState.FROZEN, BEFORE, AT, 8, window=3)
SEEN_ALONE = HeldBy(7, "root", holder=8)
LEFT = LeftBy(3, 7, "root", BEFORE - timedelta(hours=1))
REFUSED = ConnectFailed(ConnectProblem.REFUSED, "nobody listens on the socket")


def look(state: VmState, view: MonitorView, *, has_monitor: bool = True) -> VmState:
    return looked(view, AT, has_monitor=has_monitor)(state)


# -- whom a visit may ask ------------------------------------------------------------------------


def test_an_agent_that_is_there_and_free_may_be_asked() -> None:
    assert may_ask(WELL, UP)
    assert may_ask(WELL, MonitorView()), "where nothing can be seen, asking is all there is"


@pytest.mark.parametrize(
    ("state", "view"),
    [
        pytest.param(WELL._replace(vm=VM._replace(agent=None)), UP, id="it has none"),
        pytest.param(WELL._replace(progress=BUSY), UP, id="a freeze is in flight"),
        pytest.param(WELL._replace(vm=VM._replace(locked_by="backup")), UP, id="locked"),
        pytest.param(WELL._replace(held_by=HELD), UP, id="another frostwatch's"),
        pytest.param(WELL, UP._replace(port_open=False), id="no agent runs"),
        pytest.param(WELL, UP._replace(client=True), id="somebody else is served"),
    ],
)
def test_nobody_is_disturbed(state: VmState, view: MonitorView) -> None:
    assert not may_ask(state, view)


@pytest.mark.parametrize("run_state", RunState)
def test_only_a_guest_that_can_answer_is_asked(run_state: RunState) -> None:
    can = {RunState.RUNNING, RunState.MIGRATING, RunState.UNKNOWN}
    assert may_ask(WELL, UP._replace(run_state=run_state)) is (run_state in can)


# -- what a look shows of the agent --------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "agent", "how"),
    [
        (UP._replace(port_open=False), AgentState.CLOSED, KnownBy.PORT),
        (UP._replace(port_open=False, client=True), AgentState.CLOSED, KnownBy.PORT),
        (UP._replace(client=True), AgentState.BUSY, KnownBy.CLIENT),
        (UP._replace(port_open=None, client=True), AgentState.BUSY, KnownBy.CLIENT),
        (UP._replace(gone=True, port_open=None), AgentState.CLOSED, KnownBy.PORT),
    ],
)
def test_a_look_tells_of_the_agent_without_a_word_to_it(
    view: MonitorView, agent: AgentState, how: KnownBy
) -> None:
    found = look(WELL, view).agent
    assert (found.state, found.how, found.seen_at, found.rtt_s) == (agent, how, AT, None)


def test_an_open_port_tells_nothing_new_of_an_agent_that_has_answered_or_not() -> None:
    for known in (ALIVE, AgentHealth(AgentState.SILENT, KnownBy.DEADLINE)):
        state = WELL._replace(agent=known)
        assert look(state, UP).agent is known


@pytest.mark.parametrize("how", [KnownBy.PORT, KnownBy.CLIENT, KnownBy.NOTHING])
def test_an_open_port_of_an_agent_that_was_not_asked_yet(how: KnownBy) -> None:
    before = AgentHealth(AgentState.CLOSED, how, 1.0, "7.2.0", BEFORE, "why")
    after = look(WELL._replace(agent=before), UP).agent
    assert after == AgentHealth(AgentState.OPEN, KnownBy.PORT, None, "7.2.0", AT, None)


def test_a_port_that_cannot_be_seen_leaves_what_was_known() -> None:
    before = AgentHealth(AgentState.CLOSED, KnownBy.PORT, seen_at=BEFORE)
    state = WELL._replace(agent=before)
    assert look(state, UP._replace(port_open=None)).agent is before


def test_another_agent_may_come_with_another_version() -> None:
    assert look(WELL, UP._replace(port_open=False)).agent.version is None
    assert look(WELL, UP._replace(client=True)).agent.version == "7.2.0"


def test_who_holds_the_channel_is_said_for_as_long_as_it_is_held() -> None:
    taken = UP._replace(client=True)
    held = AgentHealth(AgentState.BUSY, KnownBy.CLIENT, detail="held by qm (pid 9)")
    assert look(WELL._replace(agent=held), taken).agent.detail == "held by qm (pid 9)"
    silent_one = held._replace(state=AgentState.SILENT, detail="no answer")
    assert look(WELL._replace(agent=silent_one), taken).agent.detail is None


def test_an_agent_that_is_out_of_reach_is_unknown_and_says_why() -> None:
    vm = Vm(VM.id, out_of_reach="libvirt \x1bowns it")
    found = look(WELL._replace(vm=vm), UP._replace(port_open=False, client=True)).agent
    assert (found.state, found.how) == (AgentState.UNKNOWN, KnownBy.CONFIGURATION)
    assert found.detail == "libvirt \\x1bowns it"


def test_a_vm_without_an_agent_has_none() -> None:
    found = look(WELL._replace(vm=Vm(VM.id)), UP).agent
    assert (found.state, found.how, found.detail) == (
        AgentState.NONE,
        KnownBy.CONFIGURATION,
        None,
    )


# -- what a look shows of the VM -----------------------------------------------------------------


def test_what_keeps_us_from_seeing_it_is_said_and_taken_back() -> None:
    trouble = look(WELL, MonitorView(problem="monitor: busy"))
    assert (trouble.trouble, trouble.run_state) == ("monitor: busy", RunState.UNKNOWN)
    assert look(trouble, UP).trouble is None
    assert look(trouble, UP).run_state is RunState.RUNNING


def test_without_a_monitor_nothing_was_looked_at() -> None:
    nothing = MonitorView(problem="no monitor")
    state = WELL._replace(trouble="agent's channel: broken")
    after = look(state, nothing, has_monitor=False)
    assert (after.run_state, after.trouble) == (RunState.RUNNING, None)


def test_a_look_that_tells_nothing_new_changes_nothing() -> None:
    assert look(WELL, UP) is WELL, "so that nothing is drawn anew"


@pytest.mark.parametrize("run_state", [RunState.SHUTDOWN, RunState.PANICKED, RunState.GONE])
def test_in_a_guest_that_has_ended_nothing_is_frozen(run_state: RunState) -> None:
    state = look(WELL._replace(freeze=FROZEN), UP._replace(run_state=run_state))
    assert state.freeze == FreezeInfo()
    by_gone = look(WELL._replace(freeze=FROZEN), MonitorView(problem="x", gone=True))
    assert by_gone.freeze == FreezeInfo()


@pytest.mark.parametrize("gone", [None, False])
def test_what_is_not_known_to_have_ended_is_frozen_still(gone: bool | None) -> None:
    """P9: a monitor that is away proves nothing."""
    state = look(WELL._replace(freeze=FROZEN), MonitorView(problem="monitor: away", gone=gone))
    assert state.freeze == FROZEN


# -- what is still known of the guest ------------------------------------------------------------


@pytest.mark.parametrize(
    "view", [UP._replace(port_open=False), UP._replace(client=True)], ids=["closed", "busy"]
)
def test_a_thawed_guest_whose_agent_cannot_be_asked_may_have_been_frozen_since(
    view: MonitorView,
) -> None:
    assert look(WELL, view).freeze == FreezeInfo(None, AT)
    frozen = WELL._replace(freeze=FROZEN)
    assert look(frozen, view).freeze == FROZEN, "nobody thaws while nobody answers"
    unknown = WELL._replace(freeze=FreezeInfo())
    assert look(unknown, view).freeze == FreezeInfo()


def test_what_a_freeze_in_flight_sees_itself_is_better() -> None:
    state = WELL._replace(progress=BUSY)
    seen = UP._replace(run_state=RunState.PAUSED, port_open=False, problem="x")
    after = look(state, seen)
    assert (after.agent, after.freeze) == (ALIVE, THAWED)
    assert (after.run_state, after.trouble) == (RunState.PAUSED, "x")


# -- another frostwatch's ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "client", "stays"),
    [
        (SEEN_ALONE, True, True),
        (SEEN_ALONE, None, True),
        (SEEN_ALONE, False, False),
        (HELD, False, True),
        (HELD, None, True),
    ],
)
def test_where_its_holder_alone_was_seen_it_ends_when_the_channel_is_free(
    held: HeldBy, client: bool | None, stays: bool
) -> None:
    after = look(_held(held), UP._replace(client=client))
    assert (after.held_by is not None) is stays


def _held(held: HeldBy) -> VmState:
    return WELL._replace(held_by=held)


def test_what_the_journal_knows_of_it_is_not_forgotten() -> None:
    state = _held(HELD)._replace(freeze=THAWED)
    assert look(state, UP._replace(client=True)).freeze == THAWED
    unsure = _held(HELD._replace(state=None))._replace(freeze=THAWED)
    assert look(unsure, UP._replace(client=True)).freeze == FreezeInfo(None, AT)


# -- an answer -----------------------------------------------------------------------------------


def test_an_answer_shows_all_that_was_said() -> None:
    mounted = (FileSystem("vda1", "/", "ext4"),)
    said = ProbeResult(FreezeState.THAWED, 0.02, "8.0.0", mounted, "odd")
    after = answered(said, AT)(WELL._replace(freeze=FreezeInfo()))
    assert after.agent == AgentHealth(AgentState.ALIVE, KnownBy.REPLY, 0.02, "8.0.0", AT, "odd")
    assert after.file_systems == mounted
    assert after.freeze == FreezeInfo(FreezeState.THAWED, AT)


def test_what_was_not_asked_this_time_is_as_it_was() -> None:
    mounted = (FileSystem("vda1", "/", "ext4"),)
    after = answered(ProbeResult(FreezeState.THAWED, 0.02), AT)(WELL._replace(file_systems=mounted))
    assert (after.agent.version, after.file_systems) == ("7.2.0", mounted)
    assert after.freeze == THAWED, "since when it is so, stays"
    none = answered(ProbeResult(FreezeState.THAWED, 0.02, file_systems=()), AT)(after)
    assert none.file_systems == ()


def test_a_freeze_that_is_nobodys_is_foreign_since_it_is_seen() -> None:
    found = answered(ProbeResult(FreezeState.FROZEN, 0.02), AT)(WELL).freeze
    assert found == FreezeInfo(FreezeState.FROZEN, AT, foreign=True)
    later = answered(ProbeResult(FreezeState.FROZEN, 0.02), AT + timedelta(hours=1))
    assert later(WELL._replace(freeze=found)).freeze == found


def test_a_freeze_that_was_left_is_as_old_as_the_journal_says() -> None:
    found = answered(ProbeResult(FreezeState.FROZEN, 0.02), AT)(WELL._replace(left=LEFT)).freeze
    assert found == FreezeInfo(FreezeState.FROZEN, LEFT.at, foreign=False)


def test_a_freeze_that_we_could_not_thaw_ourselves_is_not_foreign() -> None:
    ours = WELL._replace(last=Outcome(OutcomeKind.LOST, "lost"))
    assert not answered(ProbeResult(FreezeState.FROZEN, 0.02), AT)(ours).freeze.foreign
    settled = WELL._replace(last=Outcome(OutcomeKind.LOST, "lost", settled=True))
    assert answered(ProbeResult(FreezeState.FROZEN, 0.02), AT)(settled).freeze.foreign


def test_a_guest_that_was_left_and_is_thawed_is_so_since_it_says_so() -> None:
    left = WELL._replace(left=LEFT, freeze=FreezeInfo())
    assert answered(ProbeResult(FreezeState.THAWED, 0.02), AT)(left).freeze.since == AT


def test_what_was_left_in_a_vm_that_is_found_gone_is_over() -> None:
    state = unreachable(REFUSED, AT, gone=True)(WELL._replace(freeze=FROZEN, left=LEFT))
    assert (state.run_state, state.left, state.freeze.state) == (RunState.GONE, None, None)


def test_a_monitor_that_is_late_once_changes_nothing_but_an_end() -> None:
    late, gone = MonitorView(late=True, problem="late"), MonitorView(RunState.GONE, gone=True)
    paused = WELL._replace(run_state=RunState.PAUSED, trouble="before")
    kept = patient(paused, late)
    assert (kept.run_state, kept.problem) == (RunState.PAUSED, "before")
    assert patient(WELL._replace(run_state=RunState.UNKNOWN), late) is late
    assert patient(paused, gone) is gone


def test_what_was_left_in_a_vm_that_has_ended_is_over() -> None:
    left = WELL._replace(left=LEFT, freeze=FROZEN)
    assert look(left, MonitorView(problem="x", gone=True)).left is None
    assert look(left, MonitorView(problem="x", gone=None)).left == LEFT


def test_a_freeze_of_another_frostwatchs_is_not_foreign() -> None:
    found = answered(ProbeResult(FreezeState.FROZEN, 0.02), AT)(_held(SEEN_ALONE)).freeze
    assert (found.state, found.foreign) == (FreezeState.FROZEN, False)


def test_an_agent_that_does_not_tell_its_state_is_alive_and_no_more() -> None:
    after = answered(ProbeResult(None, 0.02, detail="refused"), AT)(WELL)
    assert (after.agent.state, after.freeze.state) == (AgentState.ALIVE, None)


@pytest.mark.parametrize("detail", [None, "guest-fsfreeze-status: CommandNotFound: disabled"])
def test_a_frozen_guest_whose_agent_does_not_tell_its_state_is_frozen_still(
    detail: str | None,
) -> None:
    frozen = WELL._replace(freeze=FROZEN)
    after = answered(ProbeResult(rtt_s=1.9, detail=detail), AT)(frozen)
    assert after.freeze == FROZEN, "it answered the sync, and ran out of time"
    assert after.agent.state is AgentState.ALIVE
    thawed = answered(ProbeResult(rtt_s=1.9, detail=detail), AT)(WELL)
    assert thawed.freeze == FreezeInfo(None, AT)


# -- no answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sees", [True, False])
def test_a_silent_agent_is_silent_and_perhaps_another_client_is_served(sees: bool) -> None:
    after = silent(AT, can_see_clients=sees)(WELL)
    assert (after.agent.state, after.agent.how) == (AgentState.SILENT, KnownBy.DEADLINE)
    assert (after.agent.seen_at, after.agent.rtt_s, after.agent.version) == (AT, None, "7.2.0")
    assert (after.agent.detail is None) is sees
    assert after.freeze == FreezeInfo(None, AT)
    assert silent(AT, can_see_clients=sees)(WELL._replace(freeze=FROZEN)).freeze == FROZEN


@pytest.mark.parametrize(("problem", "gone"), product(ConnectProblem, (None, False, True)))
def test_a_channel_that_cannot_be_opened(problem: ConnectProblem, gone: bool | None) -> None:
    error = ConnectFailed(problem, "why")
    after = unreachable(error, AT, gone=gone)(WELL._replace(freeze=FROZEN))
    full = problem is ConnectProblem.QUEUE_FULL
    word = AgentState.CLOSED if gone else AgentState.BUSY if full else AgentState.UNKNOWN
    assert after.agent.state is word
    assert after.agent.how is (KnownBy.CLIENT if full else KnownBy.NOTHING)
    assert (after.agent.detail, after.agent.version) == ("why", "7.2.0")
    assert after.agent.seen_at == AT
    assert after.trouble == "agent's channel: why"
    assert after.run_state is (RunState.GONE if gone else RunState.RUNNING)
    assert after.freeze == (FreezeInfo() if gone else FROZEN), "P9: gone is proven"


def test_a_thawed_guest_that_cannot_be_reached_may_have_been_frozen_since() -> None:
    assert unreachable(REFUSED, AT, gone=None)(WELL).freeze == FreezeInfo(None, AT)


# -- whatever comes, in whatever order -------------------------------------------------------------

BOOLS = st.sampled_from([None, False, True])
VIEWS = st.builds(
    MonitorView,
    run_state=st.sampled_from(RunState),
    port_open=BOOLS,
    client=BOOLS,
    gone=BOOLS,
    problem=st.sampled_from([None, "monitor: away"]),
)
SAID = st.builds(
    ProbeResult,
    frozen=st.sampled_from([None, FreezeState.FROZEN, FreezeState.THAWED]),
    rtt_s=st.just(0.01),
)
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(lambda view: looked(view, AT, has_monitor=True), VIEWS),
    st.builds(lambda said: answered(said, AT), SAID),
    st.builds(lambda sees: silent(AT, can_see_clients=sees), st.booleans()),
    st.builds(lambda gone: unreachable(REFUSED, AT, gone=gone), BOOLS),
)


@given(st.lists(CHANGES, max_size=8))
def test_no_visit_touches_what_a_freeze_in_flight_knows(changes: list[Change]) -> None:
    state = WELL._replace(progress=BUSY, freeze=FROZEN)
    for change in changes:
        state = change(state)
    assert (state.agent, state.freeze, state.progress) == (ALIVE, FROZEN, BUSY)


@given(st.lists(VIEWS, max_size=8))
def test_looks_alone_never_call_a_guest_thawed_or_frozen(views: list[MonitorView]) -> None:
    """P3, P9: only an agent's word or a proven end tells of its file systems."""
    thawed, frozen = WELL, WELL._replace(freeze=FROZEN)
    for view in views:
        thawed, frozen = look(thawed, view), look(frozen, view)
    assert thawed.freeze.state in (FreezeState.THAWED, None)
    assert frozen.freeze.state in (FreezeState.FROZEN, None)
    ended = {RunState.GONE, RunState.SHUTDOWN, RunState.PANICKED}
    if not any(one.gone or one.run_state in ended for one in views):
        assert frozen.freeze == FROZEN


@given(st.lists(CHANGES, max_size=8), CHANGES)
def test_what_is_told_twice_is_told_once(changes: list[Change], last: Change) -> None:
    state = WELL
    for change in changes:
        state = change(state)
    once = last(state)
    assert last(once) == once
