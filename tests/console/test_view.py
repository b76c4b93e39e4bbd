"""Which VM is under the finger: sort, filter, removal and marks, without a screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentclient.fleet.store import Fleet, FleetChange, FleetReader
from agentclient.fleet.visible_state import same_visible_state
from agentclient.model.snapshot import AgentHealth, FreezeInfo, LeftBy, VmState
from agentclient.model.states import AgentState, FreezeState, RunState
from agentclient.model.vm import Process, VmId
from tests.console.console_session import qemu
from tests.console.fakes import NOON, StillClock
from tests.console.fleets import every_state, fleet_of, held, lost, make_vm, pending, refused
from tui.console.model.filter import Filter
from tui.console.model.notices import notice_of_change
from tui.console.model.order import Order
from tui.console.model.tally import Tag, Tally, tags_of
from tui.console.model.view import FleetView
from tui.shared.filter_words import search_text
from tui.shared.frozen_for import may_be_frozen
from tui.shared.trouble import severity


def view_of(*names: str) -> FleetView:
    view = FleetView(Fleet().reader().peek)
    view.apply(change(*names))
    return view


def drained(fleet: Fleet) -> FleetView:
    return drained_by(fleet.reader())


def drained_by(reader: FleetReader) -> FleetView:
    view = FleetView(reader.peek)
    view.apply(reader.changes())
    return view


def change(*names: str, removed: tuple[str, ...] = ()) -> FleetChange:
    states = tuple(VmState(make_vm(name)) for name in names)
    return FleetChange(states, tuple(qemu(name) for name in removed))


def names(view: FleetView) -> list[str]:
    return [vm_id.name for vm_id in view.rows]


def silent(name: str) -> VmState:
    return VmState(make_vm(name), agent=AgentHealth(AgentState.SILENT))


def test_names_are_in_the_order_that_a_person_expects() -> None:
    view = view_of("web-10", "web-2", "Web-1", "db")
    assert names(view) == ["db", "Web-1", "web-2", "web-10"]


def test_a_name_of_ten_thousand_digits_is_a_row() -> None:
    assert len(view_of("9" * 10_000, "1").rows) == 2


def test_the_cursor_follows_its_vm_when_others_come_before_it() -> None:
    view = view_of("m", "n")
    view.go_to_row(1)
    view.apply(change("a", "b"))
    assert view.cursor == qemu("n")
    assert view.cursor_row == 3


def test_the_cursor_follows_its_vm_through_a_sort() -> None:
    view = view_of("a", "b", "c")
    view.go_to_row(2)
    view.apply(FleetChange((silent("c"),), ()))
    view.sort_by(Order.TROUBLE)
    assert names(view) == ["c", "a", "b"]
    assert (view.cursor, view.cursor_row) == (qemu("c"), 0)


def test_a_filter_lends_the_cursor_to_a_neighbour_and_gives_it_back() -> None:
    view = view_of("a1", "b1", "b2", "c1")
    view.go_to_row(3)
    view.filter_by(Filter("b"))
    assert view.cursor == qemu("b2")
    view.filter_by(Filter(""))
    assert view.cursor == qemu("c1")


def test_a_cursor_that_was_moved_under_a_filter_stays_where_it_was_put() -> None:
    view = view_of("a1", "b1", "b2", "c1")
    view.go_to_row(3)
    view.filter_by(Filter("b"))
    view.go_to_row(0)
    view.filter_by(Filter(""))
    assert view.cursor == qemu("b1")


def test_a_removed_vm_leaves_the_cursor_to_the_one_in_its_place() -> None:
    view = view_of("a", "b", "c")
    view.go_to_row(1)
    view.apply(change(removed=("b",)))
    assert view.cursor == qemu("c")
    view.apply(change(removed=("c",)))
    assert view.cursor == qemu("a")
    view.apply(change(removed=("a",)))
    assert view.chosen() == ()
    assert not view.rows


def test_a_removed_vm_that_comes_back_does_not_take_the_cursor_back() -> None:
    view = view_of("a", "b", "c")
    view.go_to_row(1)
    view.apply(change(removed=("b",)))
    view.apply(change("b"))
    assert view.cursor == qemu("c")


def test_rows_do_not_move_under_the_finger() -> None:
    view = view_of("b", "c")
    view.apply(change("a"), settle=False)
    assert names(view) == ["b", "c"]
    assert view.settle()
    assert names(view) == ["a", "b", "c"]


def test_a_row_without_a_vm_goes_at_once() -> None:
    view = view_of("a", "b")
    view.apply(change(removed=("a",)), settle=False)
    assert names(view) == ["b"]


def test_marks_stay_with_their_vms_and_are_chosen_before_the_cursor() -> None:
    view = view_of("a", "b", "c")
    view.toggle_mark()
    view.go_to_row(2)
    view.toggle_mark()
    view.go_to_row(1)
    assert [state.id.name for state in view.chosen()] == ["a", "c"]
    view.filter_by(Filter("b"))
    assert [state.id.name for state in view.chosen()] == ["a", "c"]
    view.apply(change(removed=("a",)))
    view.toggle_mark()
    assert view.marks.all == {qemu("b"), qemu("c")}
    view.marks.clear()
    assert [state.id.name for state in view.chosen()] == ["b"]


def test_a_filter_finds_words_of_the_row() -> None:
    still = StillClock()
    states = {state.vm.name: state for state in every_state(still).states()}
    found = {name for name, state in states.items() if shows("foreign", state)}
    assert found == {"db-2"}
    assert shows("qemu silent", states["files"])
    assert not shows("silent !files", states["files"])
    assert shows("backup", states["db-2"])
    assert shows("lost", states["mail"])
    assert shows("!", states["mail"]._replace(vm=make_vm("a!b")))


def shows(text: str, state: VmState) -> bool:
    return Filter(text).matches(state, StillClock().clock.moment())


def test_trouble_stands_first() -> None:
    view = drained(every_state(StillClock()))
    view.sort_by(Order.TROUBLE)
    order = names(view)
    assert order[:4] == ["old-win", "mail", "db-2", "files"]
    assert severity(view.state(qemu("app-10")) or silent("x")) == 99


def test_the_longest_frozen_stands_first() -> None:
    view = drained(every_state(StillClock()))
    view.sort_by(Order.FREEZE)
    assert names(view)[:3] == ["db-2", "app-2", "db-1"]


def test_every_order_leads_back_to_the_first() -> None:
    order, seen = Order.NAME, []
    for _ in range(4):
        seen.append(order)
        order = order.next()
    assert set(seen) == {Order.TROUBLE, Order.NAME, Order.FREEZE, Order.AGENT}
    assert order is Order.NAME
    assert Order.WHY.next() is Order.TROUBLE


def test_clocks_and_figures_change_no_face(still: StillClock) -> None:
    state = silent("a")._replace(progress=pending(still))
    for later in (
        state._replace(agent=state.agent._replace(rtt_s=0.1, seen_at=still.wall())),
        state._replace(progress=pending(still, written_bytes=1, step=3, read=True)),
        state._replace(version=7),
    ):
        assert same_visible_state(state, later)


_FACES = st.builds(
    VmState,
    vm=st.sampled_from([make_vm("a"), make_vm("a", locked_by="backup")]),
    run_state=st.sampled_from(RunState),
    agent=st.builds(AgentHealth, state=st.sampled_from(AgentState), rtt_s=st.sampled_from([1, 2])),
    freeze=st.builds(
        FreezeInfo,
        state=st.sampled_from(FreezeState),
        since=st.sampled_from([None, NOON]),
        foreign=st.booleans(),
    ),
    progress=st.sampled_from(
        [None, pending(StillClock()), pending(StillClock(), step=3), held(StillClock())]
    ),
    last=st.sampled_from([None, lost(), refused(), lost(settled=False)]),
    left=st.sampled_from([None, LeftBy(1, 2, "root", NOON)]),
    trouble=st.sampled_from([None, "no monitor"]),
)


@given(_FACES, _FACES)
def test_states_of_one_face_are_counted_sorted_and_filtered_alike(a: VmState, b: VmState) -> None:
    if not same_visible_state(a, b):
        return
    assert tags_of(a) == tags_of(b)
    assert search_text(a) == search_text(b)
    assert may_be_frozen(a) == may_be_frozen(b)
    assert all(order.by_figures or order.key(a) == order.key(b) for order in Order)
    assert not list(notice_of_change(a, b, NOON))


def test_a_drain_tells_what_is_news(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    reader = fleet.reader()
    view = drained_by(reader)
    fleet.update(qemu("b"), lambda _state: silent("b"))
    ((before, after),) = view.apply(reader.changes())
    assert before is not None
    assert (before.agent.state, after.agent.state) == (AgentState.ALIVE, AgentState.SILENT)


# -- words as they were drained, figures as they are ----------------------------------------------


def slower(state: VmState) -> VmState:
    return state._replace(agent=state.agent._replace(rtt_s=(state.agent.rtt_s or 0.0) + 1.0))


def test_figures_are_those_of_now(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    view = drained(fleet)
    view.go_to(qemu("a"))
    fleet.update(qemu("a"), slower)
    now = fleet.get(qemu("a"))
    assert now.agent.rtt_s
    assert view.state(qemu("a")) is view.at(0) is view.chosen()[0] is view.states()[0] is now


def test_words_wait_for_the_drain(still: StillClock) -> None:
    """The key hits what was seen (P6): another process under the same name is not it."""
    fleet = fleet_of(["a", "b"], still)
    reader = fleet.reader()
    view = drained_by(reader)
    view.go_to(qemu("a"))
    fleet.update(qemu("a"), slower)
    seen = fleet.get(qemu("a"))
    fleet.set_vms("qemu", [make_vm("a")._replace(process=Process(9, 9)), make_vm("b")])
    assert view.chosen() == (seen,)
    view.apply(reader.changes())
    assert view.chosen() == (fleet.get(qemu("a")),)
    assert view.chosen()[0].vm.process == Process(9, 9)


def test_a_vm_that_was_forgotten_is_shown_until_the_drain(still: StillClock) -> None:
    fleet = fleet_of(["a", "b"], still)
    reader = fleet.reader()
    view = drained_by(reader)
    seen = fleet.get(qemu("b"))
    fleet.set_vms("qemu", [make_vm("a")])
    fleet.forget_absent()
    assert view.at(1) is view.state(qemu("b")) is seen
    view.apply(reader.changes())
    assert (view.at(1), view.state(seen.id)) == (None, None)


_CHANGES = st.sampled_from(
    [
        slower,
        lambda _state: silent("b"),
        lambda state: state._replace(run_state=RunState.PAUSED),
        lambda state: state._replace(run_state=RunState.RUNNING),
    ]
)


@given(st.lists(st.one_of(_CHANGES, st.none()), max_size=20))
def test_between_drains_words_are_the_drained_ones_and_figures_their_latest(
    steps: list[Callable[[VmState], VmState] | None],
) -> None:
    fleet = fleet_of(["b"], StillClock())
    reader = fleet.reader()
    view = drained_by(reader)
    wanted, changed = fleet.get(qemu("b")), False
    for step in steps:
        if step is None:
            view.apply(reader.changes())
            wanted, changed = fleet.get(qemu("b")), False
        else:
            fleet.update(qemu("b"), step)
            now = fleet.get(qemu("b"))
            changed = changed or not same_visible_state(wanted, now)
            wanted = wanted if changed else now
        assert view.state(qemu("b")) is wanted


def test_backwards_is_the_same_order_the_other_way_round() -> None:
    view = view_of("a", "b", "c")
    view.sort_by(Order.TROUBLE, backwards=True)
    view.apply(FleetChange((silent("b"),), ()))
    assert names(view) == ["c", "a", "b"]


def test_counts() -> None:
    view = drained(every_state(StillClock()))
    counts = {tag: view.tally[tag] for tag in Tag}
    assert counts == {
        Tag.FROZEN: 2, Tag.FREEZING: 4, Tag.FOREIGN: 1, Tag.SILENT: 1, Tag.LOST: 1, Tag.LEFT: 0,
        Tag.LEFT_BY: 0, Tag.QUEUED: 0, Tag.COPYING: 0, Tag.LEFT_COPY: 0, Tag.UNENDED: 0,
        Tag.OTHERS_PENDING: 0, Tag.OTHERS_LOST: 0,
    }  # fmt: skip


def test_a_count_goes_down_when_its_state_is_over() -> None:
    tally = Tally()
    state = VmState(make_vm("a"), freeze=FreezeInfo(FreezeState.FROZEN))
    tally.put(state)
    assert (tally[Tag.FROZEN], tally.total) == (1, 1)
    tally.put(state._replace(freeze=FreezeInfo(FreezeState.FREEZING)))
    assert (tally[Tag.FROZEN], tally[Tag.FREEZING]) == (0, 1)
    tally.drop(state.id)
    assert (tally[Tag.FREEZING], tally.total) == (0, 0)


_NAMES = st.sampled_from([f"vm-{number}" for number in range(8)])
_FREEZES = st.sampled_from([FreezeState.THAWED, FreezeState.FROZEN, FreezeState.FREEZING, None])
_STEPS = st.one_of(
    st.tuples(st.just("put"), _NAMES, _FREEZES),
    st.tuples(st.just("remove"), _NAMES, st.none()),
    st.tuples(st.just("sort"), st.sampled_from(list(Order)), st.none()),
    st.tuples(st.just("filter"), st.sampled_from(["", "1", "frozen", "!2", "zz"]), st.none()),
    st.tuples(st.just("move"), st.integers(-3, 12), st.none()),
    st.tuples(st.just("mark"), st.none(), st.none()),
    st.tuples(st.just("hold still"), _NAMES, _FREEZES),
)


@given(st.lists(_STEPS, max_size=40))
def test_whatever_happens_the_view_is_whole(steps: list[tuple[str, object, Any]]) -> None:
    view = FleetView(Fleet().reader().peek)
    known: dict[VmId, VmState] = {}
    moved = False
    for what, value, freeze in steps:
        before = view.cursor
        match what:
            case "put" | "hold still":
                state = VmState(make_vm(str(value)), freeze=FreezeInfo(freeze))
                known[state.id] = state
                view.apply(FleetChange((state,), ()), settle=what == "put")
            case "remove":
                known.pop(qemu(str(value)), None)
                view.apply(change(removed=(str(value),)), settle=False)
            case "sort":
                view.sort_by(Order(str(value)), backwards=len(known) % 2 == 1)
            case "filter":
                view.filter_by(Filter(str(value)))
            case "move":
                view.go_to_row(int(str(value)))
                moved = moved or bool(view.rows)
            case "mark":
                view.toggle_mark()
        if what in ("put", "sort", "hold still") and before in view.rows:
            assert view.cursor == before or view.filter or not moved
        assert set(view.rows) <= set(known)
        assert (view.cursor in view.rows) if view.rows else view.cursor is None
        assert view.marks.all <= set(known)
    view.settle()
    assert set(view.rows) == {vm for vm, state in known.items() if shows(view.filter.text, state)}
    keys = [view.order.key(known[vm_id]) for vm_id in view.rows]
    assert keys == sorted(keys, reverse=view.backwards)
    counted = Counter(tag for state in known.values() for tag in tags_of(state))
    assert all(view.tally[tag] == counted[tag] for tag in Tag)


def test_a_fleet_is_drained_by_versions() -> None:
    still = StillClock()
    fleet: Fleet = fleet_of(["a", "b"], still)
    reader = fleet.reader()
    view = drained_by(reader)
    fleet.update(qemu("a"), lambda state: state._replace(agent=AgentHealth(AgentState.SILENT)))
    second = reader.changes()
    assert [state.id.name for state in second.changed] == ["a"]
    view.apply(second)
    assert view.tally[Tag.SILENT] == 1
