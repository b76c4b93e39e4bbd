"""What others have pending, in the console: lost is trouble, told once, and said in the pane."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentclient.fleet.store import Fleet
from agentclient.model.others import ChannelClient, Others, WritesSeen
from agentclient.model.snapshot import AgentHealth, FreezeInfo, VmState
from agentclient.model.states import AgentState, Cause, FreezeState, KnownBy, Level, OthersState
from agentclient.model.vm import AgentChannel, Vm, VmId
from tests.console.console_session import LARGE, SMALL, console_session, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, lost, put, thawed
from tui.console.dialogs.vm_text import to_thaw
from tui.console.model.filter import Filter
from tui.console.model.notices import Notice, notice_of_change
from tui.console.model.order import Order
from tui.console.model.tally import Tag, tags_of
from tui.console.model.targets import Target
from tui.console.model.view import FleetView
from tui.console.widgets.pane.others_facts import others_facts
from tui.console.widgets.pinned import fitted
from tui.console.widgets.status import StatusLine
from tui.console.widgets.table import cells
from tui.console.widgets.table.cells import Paint
from tui.shared.glyphs import Signs
from tui.shared.tone import Piece
from tui.shared.trouble import needs_attention

AT = datetime(2026, 3, 1, 2, 13, tzinfo=UTC)
DB = VmState(Vm(VmId("qemu", "db"), agent=AgentChannel(Path("/run/db.qga"))))
PENDING = Others(OthersState.PENDING, AT, ChannelClient("vzdump", 4711))
LOST = PENDING._replace(state=OthersState.LOST, cause=Cause.AGENT_GONE)


@pytest.mark.parametrize(
    ("others", "grave"),
    [
        (None, False),
        (PENDING, False),
        (LOST, True),
        (PENDING._replace(state=OthersState.LEFT), True),
        (PENDING._replace(state=OthersState.IDLE), False),
    ],
)
def test_what_is_lost_needs_somebody(others: Others | None, grave: bool) -> None:
    assert needs_attention(DB._replace(others=others)) is grave


def test_it_is_told_once() -> None:
    pending, lost = DB._replace(others=PENDING), DB._replace(others=LOST)
    (notice,) = notice_of_change(pending, lost, AT)
    assert notice.text == (
        "db: others-lost (agent-gone): vzdump (pid 4711) since 02:13:00; they wait on"
    )
    assert notice.calls
    assert list(notice_of_change(lost, lost, AT)) == []
    assert list(notice_of_change(DB, pending, AT)) == []


def test_what_is_pending_for_long_or_left_frozen_is_told_once() -> None:
    pending = DB._replace(others=PENDING)
    late = DB._replace(others=PENDING._replace(overdue="for more than 10 min"))
    (notice,) = notice_of_change(pending, late, AT)
    assert notice.text == "db: others-pending for more than 10 min: vzdump (pid 4711)"
    assert notice.calls
    assert list(notice_of_change(late, late, AT)) == []
    assert needs_attention(late)
    info = FreezeInfo(FreezeState.FROZEN, AT, foreign=True)
    frozen = DB._replace(freeze=info._replace(by=PENDING.by))
    (notice,) = notice_of_change(pending, frozen, AT)
    assert notice.text == "db: frozen by vzdump (pid 4711), as it seems; t asks before it thaws"
    assert not notice.calls  # it may be thawed in a moment
    left = frozen._replace(freeze=frozen.freeze._replace(overdue="its process has ended"))
    (notice,) = notice_of_change(frozen, left, AT)
    assert "db: left frozen by vzdump (pid 4711), as it seems: its process has" in notice.text
    assert notice.calls


def test_an_answer_to_a_key_calls_nobody() -> None:
    error = Notice(Level.ERROR, "it can't be thawed", AT, answer=True)
    assert not error.calls
    assert error._replace(answer=False).calls
    assert not Notice(Level.WARNING, "a source can't look", AT).calls


# -- on the screen ------------------------------------------------------------------------------

UPID = "UPID:node1:0000A2B3:00C0FFEE:65000000:vzdump:101:root@pam:"
VZDUMP = ChannelClient(f"task {UPID}", 4711, "root")


def stuck(still: StillClock, state: OthersState = OthersState.PENDING, **more: object) -> Others:
    """Return what a vzdump has had pending for 12 min 41 s."""
    return Others(state, still.wall() - timedelta(seconds=761), VZDUMP)._replace(**more)  # type: ignore[arg-type]


def fleet_with(still: StillClock, others: Others) -> Fleet:
    """Return four VMs; of one of them somebody holds the channel."""
    fleet = fleet_of(["app", "db", "mail", "web"], still)
    busy = AgentHealth(AgentState.BUSY, KnownBy.CLIENT, seen_at=still.wall())
    put(fleet, qemu("db"), others=others, agent=busy, freeze=FreezeInfo())
    return fleet


@pytest.mark.parametrize(
    ("state", "word", "freeze"),
    [
        (OthersState.PENDING, "◔ 1 others-pending", "◔ pending"),
        (OthersState.LOST, "⊗ 1 others-lost", "⊗ lost"),
        (OthersState.LEFT, "⊗ 1 others-lost", "⊗ lost"),
    ],
)
async def test_row_header_and_pinned_line_say_what_who_and_for_how_long(
    still: StillClock, state: OthersState, word: str, freeze: str
) -> None:
    async with console_session(fleet_with(still, stuck(still, state)), still) as session:
        assert word in session.lines[0]
        pinned = f"{freeze} longest: db, for ≥12:41, by Proxmox's vzdump 101 (pid 4711)"
        assert pinned in session.lines[1]
        row = session.line_of(" db ")
        assert freeze in row
        assert "by vzdump" in row
        assert "≥12:41" in row
        await session.settle(2)
        assert "≥12:43" in session.line_of(" db ")
        await session.press("G", "L")
        assert session.cursor == "db"


async def test_a_large_screen_says_how_sure_it_is_and_for_whom(still: StillClock) -> None:
    async with console_session(fleet_with(still, stuck(still)), still, size=LARGE) as session:
        assert "likely a freeze: Proxmox's vzdump …" in session.line_of(" db ")


def test_a_command_that_nothing_speaks_for_is_no_freeze(still: StillClock) -> None:
    tool = stuck(still, by=ChannelClient("backup-tool", 812, "backup"))
    state, paint = DB._replace(others=tool), Paint(still.clock.moment(), Signs())
    assert cells.freeze(state, paint).text == "◔ pending?"
    assert cells.step(state, paint).text == "by backup-tool"
    assert "perhaps a freeze: backup-tool (pid 812, backup)" in cells.why(state, paint).text
    locked = state._replace(vm=state.vm._replace(locked_by="backup"))
    assert cells.freeze(locked, paint).text == "◔ pending"


def test_it_is_counted_sorted_and_found_by_the_same_words(still: StillClock) -> None:
    pending = DB._replace(others=stuck(still))
    lost = DB._replace(others=stuck(still, OthersState.LOST))
    assert (Tag.OTHERS_PENDING, Tag.OTHERS_LOST) == ("others-pending", "others-lost")
    assert Tag.OTHERS_PENDING in tags_of(pending)
    assert Tag.OTHERS_LOST in tags_of(lost)
    assert Filter("others-pending vzdump root@pam").matches(pending, still.clock.moment())
    assert not Filter("others-lost").matches(pending, still.clock.moment())
    assert Order.TROUBLE.rank(lost) < Order.TROUBLE.rank(pending) < Order.TROUBLE.rank(DB)
    assert Order.FREEZE.rank(pending) < Order.FREEZE.rank(DB)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x50"])
async def test_the_pane_says_until_when_they_wait_and_what_to_do(
    still: StillClock, size: tuple[int, int]
) -> None:
    fleet = fleet_with(still, stuck(still, OthersState.LOST, cause=Cause.AGENT_RESTARTED))
    async with console_session(fleet, still, size=size) as session:
        await session.press("L", "enter")
        beside = 64 if size == LARGE else 80
        facts = "".join(line[10:beside].rstrip() for line in session.lines[4:])
        told = facts.replace(" ", "")
        for words in (
            "Proxmox's vzdump 101 (pid 4711, root@pam) waits since 11:47:19",
            "they learn it by 12:07 if an agent runs by then",
            f"pvesh delete /nodes/node1/tasks/{UPID}",
            "then: frostwatch thaw --foreign qemu:db",
        ):
            assert words.replace(" ", "") in told, session.text


async def test_what_was_lost_is_told_when_they_have_left(still: StillClock) -> None:
    lost = stuck(still, OthersState.LOST, cause=Cause.AGENT_GONE, has_left=True)
    fleet = fleet_with(still, lost)
    closed = AgentHealth(AgentState.CLOSED, KnownBy.PORT, seen_at=still.wall())
    put(fleet, qemu("db"), others=lost, agent=closed, freeze=FreezeInfo())
    async with console_session(fleet, still) as session:
        assert "⊗ 1 others-lost" in session.lines[0]
        assert "⊗ lost longest: db, for ≥12:41, by Proxmox's vzdump 101" in session.lines[1]
        assert "⊗ lost" in session.line_of(" db ")
        await session.press("L", "enter")
        told = " ".join(line[10:].strip() for line in session.lines[4:])
        for words in (
            "Proxmox's vzdump 101 (pid 4711, root@pam) has left; their command of 11:47:19,",
            "is lost (agent-gone)",
            "may be frozen, and no agent runs in it that could be asked",
            "start its agent, then, if it says frozen: frostwatch thaw --foreign qemu:db",
        ):
            assert words in told, session.text
        assert "they learn it" not in told


@pytest.mark.parametrize(
    ("writes", "said"),
    [
        (
            WritesSeen.STOPPED,
            "likely a freeze, by its writes, which were steady and have stopped, and the monitor; "
            "it has written nothing since 11:47:21, for 12 min 39 s: frozen, or its storage hangs",
        ),
        (
            WritesSeen.GO_ON,
            "perhaps a freeze: the monitor does not show which command it is; it "
            "has written since, which proves nothing: a hook or a flush may run",
        ),
        (
            WritesSeen.SPARSE,
            "perhaps a freeze: the monitor does not show which command it is; it "
            "hardly wrote before, so that its silence proves nothing",
        ),
    ],
)
def test_what_its_writes_tell_is_said_and_what_not(
    still: StillClock, writes: WritesSeen, said: str
) -> None:
    tool = stuck(still, by=ChannelClient("backup-tool", 812, "backup"), writes=writes)
    stopped = writes is WritesSeen.STOPPED
    wrote_at = tool.since + timedelta(seconds=2) if stopped else None
    state = DB._replace(others=tool._replace(wrote_at=wrote_at))
    paint = Paint(still.clock.moment(), Signs())
    (why,) = [fact.text for fact in others_facts(state, paint) if fact.label == "why"]
    assert why == said
    assert cells.freeze(state, paint).text == ("◔ pending" if stopped else "◔ pending?")


async def test_nothing_in_header_and_pinned_line_is_cut_within_a_word(still: StillClock) -> None:
    fleet = fleet_of([*(f"vm-{number}" for number in range(10, 24))], still)
    busy = AgentHealth(AgentState.BUSY, KnownBy.CLIENT, seen_at=still.wall())
    for number in range(10, 13):
        put(fleet, qemu(f"vm-{number}"), others=stuck(still), agent=busy, freeze=FreezeInfo())
    since = still.wall() - timedelta(seconds=9)
    foreign = FreezeInfo(FreezeState.FROZEN, since, foreign=True)
    put(fleet, qemu("vm-13"), freeze=foreign)
    put(fleet, qemu("vm-14"), agent=AgentHealth(AgentState.SILENT, KnownBy.DEADLINE))
    put(fleet, qemu("vm-15"), others=stuck(still, OthersState.LOST), agent=busy)
    put(fleet, qemu("vm-16"), last=lost())
    put(fleet, qemu("vm-17"), freeze=FreezeInfo(FreezeState.FREEZING, since))
    async with console_session(fleet, still) as session:
        header = " 14 VMs ◐1 freezing ⊗1 others-lost ◔3 pending ◈1 foreign ⋯1 silent ✗1 lost"
        assert session.lines[0].startswith(f"{header} ")
        assert session.lines[1].rstrip().endswith("(pid 4711)")  # no cut "4 more"


def of_others(still: StillClock, seconds: float, state: OthersState) -> dict[str, object]:
    others = Others(state, still.wall() - timedelta(seconds=seconds), VZDUMP)
    busy = AgentHealth(AgentState.BUSY, KnownBy.CLIENT, seen_at=still.wall())
    return {"others": others, "agent": busy, "freeze": FreezeInfo()}


async def test_what_others_have_pending_is_not_counted_as_frozen(still: StillClock) -> None:
    fleet = fleet_of(["a", "b", "c", "d", "e"], still)
    frozen = FreezeInfo(FreezeState.FROZEN, still.wall() - timedelta(seconds=99), foreign=True)
    put(fleet, qemu("a"), freeze=frozen)
    put(fleet, qemu("b"), **of_others(still, 30, OthersState.PENDING))
    async with console_session(fleet, still, size=(120, 30)) as session:
        assert "frozen longest: a, for ≥1:39, foreign · 1 pending" in session.lines[1]
        put(fleet, qemu("c"), freeze=frozen)
        put(fleet, qemu("d"), **of_others(still, 20, OthersState.LOST))
        await session.settle(1)
        assert "foreign · 1 more frozen, 1 pending, 1 lost" in session.lines[1]
        for name in "ac":
            put(fleet, qemu(name), freeze=thawed(still))
        await session.settle(1)
        assert session.lines[1].split(" · ")[-1].startswith("1 lost")
        assert "pending longest: b" in session.lines[1]
        put(fleet, qemu("d"), **of_others(still, 20, OthersState.PENDING))
        await session.settle(1)
        assert session.lines[1].split(" · ")[-1].startswith("1 more ")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, " 4 VMs  ◐ 1 freezing  ◔ 1 others-pending  ◈ 1 foreign  ✗ 1 lost"),
        (64, " 4 VMs ◐1 freezing ◔1 others-pending ◈1 foreign ✗1 lost"),
        (50, " 4 VMs ◐1 freezing ◔1 pending ◈1 foreign ✗1 lost"),
        (40, " 4 VMs ◐1 ◔1 ◈1 foreign ✗1 lost"),
    ],
)
def test_a_long_word_of_the_header_is_short_before_any_is_left_out(
    still: StillClock, width: int, shown: str
) -> None:
    fleet = fleet_with(still, stuck(still))
    put(fleet, qemu("app"), freeze=FreezeInfo(FreezeState.FREEZING), last=lost())
    put(fleet, qemu("web"), freeze=FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True))
    reader = fleet.reader()
    view = FleetView(reader.peek)
    view.apply(reader.changes())
    line = StatusLine(view, still.clock, Signs(), read_only=False)
    text = "".join(piece.text for piece in line._pieces(width)).removesuffix(
        f"{still.wall():%H:%M:%S} "
    )
    assert text.rstrip() == shown


def test_the_clock_is_never_glued_to_what_stands_before_it(still: StillClock) -> None:
    reader = fleet_with(still, stuck(still)).reader()
    view = FleetView(reader.peek)
    view.apply(reader.changes())
    line = StatusLine(view, still.clock, Signs(), read_only=False)
    clock = f"{still.wall():%H:%M:%S} "
    for width in range(30, 200):
        shown = "".join(piece.text for piece in line._pieces(width))
        if shown.endswith(clock):
            assert shown.removesuffix(clock).endswith(" "), width


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (56, "pending longest: by Proxmox's vzdump (pid 4711) · 4 more"),
        (55, "pending longest: by Proxmox's vzdump (pid 4711)"),
        (40, "pending longest: by Proxmox's vzdump (p…"),
        (20, "pending longest: "),
        (3, "pending longest: "),
    ],
)
def test_what_has_no_room_is_left_out_from_the_end(width: int, shown: str) -> None:
    line = tuple(
        map(Piece, ("pending longest: ", "by Proxmox's vzdump (pid 4711)", "", " · 4 more"))
    )
    assert "".join(piece.text for piece in fitted(line, width)) == shown


def test_a_drills_guest_is_thawed_by_a_key_alone(still: StillClock) -> None:
    vm = DB.vm._replace(id=VmId("drill", "db"))
    frozen = FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True, by=VZDUMP)
    paint = Paint(still.clock.moment(), Signs())
    (step,) = [
        fact.text
        for fact in others_facts(VmState(vm, freeze=frozen), paint)
        if fact.label == "next"
    ]
    assert step == "make sure that nothing of theirs runs; then t, which asks first"


def test_a_thaw_says_whose_window_it_breaks(still: StillClock) -> None:
    frozen = FreezeInfo(FreezeState.FROZEN, still.wall(), foreign=True, by=VZDUMP)
    frozen = frozen._replace(overdue="their process has ended")
    held = Target(DB._replace(freeze=frozen))
    said = ["".join(piece.text for piece in line) for line in to_thaw(held, Signs(), hidden=False)]
    assert "by Proxmox's vzdump 101 (pid 4711, root@pam), as it seems; their process" in said[1]


@pytest.mark.parametrize("state", [OthersState.PENDING, OthersState.LOST])
def test_a_thaw_says_whose_channel_it_has_to_wait_for(
    still: StillClock, state: OthersState
) -> None:
    held = Target(DB._replace(others=stuck(still, state)))
    said = ["".join(piece.text for piece in line) for line in to_thaw(held, Signs(), hidden=False)]
    told = "Proxmox's vzdump 101 (pid 4711, root@pam) holds its channel: it waits for that"
    assert told in said[1]
    assert "but" not in "".join(
        piece.text for line in to_thaw(Target(DB), Signs(), hidden=False) for piece in line
    )
