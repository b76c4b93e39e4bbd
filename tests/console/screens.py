"""All screens of the console, each reached by real keys: for pictures that are compared.

A screen that is not here is one that nobody has drawn: `test_every_screen.py` asks for each dialog
and page of the console whether it is seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

from textual.pilot import Pilot

from agentclient.fleet.store import Fleet
from agentclient.jobs.left import LeftCopy
from agentclient.model.job import JobKind, JobOutcome
from agentclient.model.place import Place
from agentclient.model.states import Level
from agentclient.model.vm import Process
from agentclient.protocol.job_names import CopyKey
from screenshots import played
from screenshots.others import stuck_backups
from tests.console import copying
from tests.console.console_session import ConsoleSession, console_session, qemu
from tests.console.fakes import FakeJobs, FakeOperations, StillClock
from tests.console.fleets import (
    HOSTILE_NAMES,
    every_state,
    fleet_of,
    long_freeze,
    lost,
    put,
    refused,
    state_of,
    thousand,
    verified,
)
from tests.console.guest_report import REPORT, past
from tests.console.held import group_held, hold, left_frozen, one_held
from tests.console.past import past_of_web1
from tests.console.test_handover import BAD, FakeBook
from tui.shared.colours import THEMES
from tui.shared.glyphs import Signs

Step = str | Callable[[ConsoleSession], None]


class Screen(NamedTuple):
    """One screen of the console.

    Attributes:
        fleet: which VMs there are.
        steps: the keys, and between them what happens meanwhile.
        words: stand on the screen once it is drawn.
        flying: the VMs on which a freeze is in flight.
        handover: the operator has been away.
    """

    fleet: Callable[[StillClock], Fleet]
    steps: tuple[Step, ...] = ()
    words: str = ""
    flying: tuple[str, ...] = ()
    handover: bool = False


Playing = Callable[[Signs, tuple[int, int]], AbstractAsyncContextManager[Pilot[Any]]]


def logged(still: StillClock) -> Fleet:
    """Return VMs in each state, one of which has something of each level in its log."""
    fleet = every_state(still)
    for number, level in enumerate(Level):
        still.advance(61)
        fleet.log(qemu("mail"), level, f"line {number}: the agent's words " + "and more " * number)
    return fleet


def many(still: StillClock) -> Fleet:
    """Return twenty VMs that are well."""
    return fleet_of([f"vm-{number:02}" for number in range(20)], still)


def two(still: StillClock) -> Fleet:
    return fleet_of(["db-1", "web-1"], still)


def nearly_over(still: StillClock) -> Fleet:
    """Return two VMs; the window of one has 8 s left."""
    fleet = two(still)
    hold(fleet, "db-1", still, since_s=42.0)
    still.advance(10.0)
    return fleet


def copies(still: StillClock) -> Fleet:
    """Return VMs with a copy of each kind."""
    fleet = fleet_of("abcdef", still)
    put(fleet, qemu("a"), job=copying.progress(still))
    put(fleet, qemu("b"), block_jobs=(copying.LEFT,))
    for name, made in (
        ("c", copying.outcome), ("d", copying.crash_consistent), ("e", copying.failed),
        ("f", copying.refused),
    ):  # fmt: skip
        copying.ended(fleet, qemu(name), made(still))
    return fleet


def copied(still: StillClock) -> Fleet:
    """Return a VM that is copied now."""
    fleet = two(still)
    put(fleet, qemu("db-1"), job=copying.progress(still))
    return fleet


def left_copy(still: StillClock) -> Fleet:
    fleet = two(still)
    put(fleet, qemu("db-1"), block_jobs=(copying.LEFT,))
    return fleet


def with_outcome(made: Callable[[StillClock], JobOutcome]) -> Callable[[StillClock], Fleet]:
    """Return what makes a VM of which a copy has ended so."""

    def fleet_with(still: StillClock) -> Fleet:
        fleet = fleet_of(["db-1"], still)
        copying.ended(fleet, qemu("db-1"), made(still))
        return fleet

    return fleet_with


def app_1_goes(session: ConsoleSession) -> None:
    """Let a VM go while a question about it is asked."""
    others = [one.vm for one in session.fleet.states() if one.vm.name != "app-1"]
    session.fleet.set_vms("qemu", others)


def web1(still: StillClock) -> Fleet:
    return fleet_of(["web1"], still)


def some_end(session: ConsoleSession) -> None:
    """Let some of many freezes end; the others wait."""
    begun = session.operations.started
    for one in begun[:5]:
        one.outcome = verified()
    begun[5].outcome = lost()
    begun[-1].place = Place(12, 185.0)
    session.still.advance(1)


def all_end(session: ConsoleSession) -> None:
    """Let the others end as well."""
    for one in session.operations.started[6:]:
        one.outcome = refused()
    session.still.advance(1)


def to(name: str) -> tuple[str, ...]:
    """Return the keys that show one VM alone."""
    return ("slash", *name, "enter")


APP_10, MAIL = to("app-10"), to("mail")
FORM = ("down", "down", "down", "down", "ctrl+u", *"/srv/backups")
_TITLES = {"now": "1", "evidence": "2", "guest": "3", "identity": "4", "log": "5", "past": "6"}
SCREENS: dict[str, Screen] = {
    "table": Screen(every_state),
    "table-of-a-thousand": Screen(thousand, ("j", "J", "J", *to("vm-00"))),
    "table-of-hostile-names": Screen(lambda still: fleet_of(HOSTILE_NAMES, still)),
    "table-of-nothing": Screen(lambda _: Fleet(), words="No VM was found"),
    "table-of-what-others-do": Screen(stuck_backups),
    "table-of-copies": Screen(copies, ("L", "G", "g", "down")),
    "columns-further-right": Screen(every_state, ("right", "right", "right")),
    "columns": Screen(every_state, ("C", "down", "down", "space", "down", "right"), "columns?"),
    "marks": Screen(every_state, ("home", "space", "j", "J", "J"), "marked"),
    "filter": Screen(every_state, ("slash", *"state:frozen,freezing", "space", *"!db-2"), "app-2"),
    "filter-hint": Screen(every_state, ("slash", *"state:frozn", "enter"), "did you mean"),
    "long-freeze": Screen(long_freeze, ("home",)),
    "pane": Screen(long_freeze, ("home", "enter")),
    "pane-search": Screen(long_freeze, ("tab", "tab", "slash", *"freeze", "enter", "N")),
    "timeline": Screen(one_held, ("home", "enter"), "held"),
    "banner": Screen(group_held, ("home",), "TAKE YOUR SNAPSHOT NOW"),
    "banner-nearly-over": Screen(nearly_over, ("home",), "NEARLY OVER"),
    "next-command": Screen(one_held, ("home", "y"), "clipboard"),
    "handover": Screen(web1, (), "since you left", handover=True),
    "ladder": Screen(left_frozen, ("home", "R", "4"), "which rung"),
    "ladder-reset": Screen(left_frozen, ("home", "R", "6", "enter", *"db"), "NameDialog"),
    "history": Screen(web1, ("H", "j", "j", "j", "j"), "past freezes"),
    "certificate": Screen(web1, ("H", "enter"), "CERTIFIED"),
    "certificate-save": Screen(web1, ("H", "enter", "w"), "Save the certificate"),
    "explain": Screen(logged, (*MAIL, "i", "j"), "known"),
    **{
        f"vm-{title}": Screen(logged, (*(MAIL if number in "25" else APP_10), "d", number))
        for title, number in _TITLES.items()
    },
    "events": Screen(logged, ("E", "up"), "Events"),
    "events-filter": Screen(logged, ("E", "slash", *"words", "enter"), "words"),
    "palette": Screen(every_state, (*APP_10, "colon", *"co", "down")),
    "palette-not-now": Screen(every_state, (*APP_10, "colon", *"extend"), "not now"),
    "help": Screen(every_state, ("question_mark",), "keys and signs"),
    "help-search": Screen(every_state, ("question_mark", "slash", *"journal"), "journal"),
    "freeze": Screen(every_state, (*APP_10, "f"), "Freeze the"),
    "freeze-hold": Screen(every_state, (*APP_10, "f", "4", "5"), "held for 45 s"),
    "freeze-many": Screen(many, ("a", "f", "b"), "20 VMs"),
    "freeze-left-out": Screen(
        every_state,
        ("s", "home", "space", "j", "space", "end", "space", "slash", *"app", "enter", "f"),
        "Freeze the",
        flying=("app-1",),
    ),
    "freeze-refused": Screen(
        long_freeze, (*to("app-1"), "f", app_1_goes, "enter"), "nothing was sent"
    ),
    "bulk": Screen(many, ("a", "f", "enter", some_end), "12 queued"),
    "bulk-recap": Screen(many, ("a", "f", "enter", some_end, all_end), "ok=5 lost=1 refused=14"),
    "thaw-foreign": Screen(every_state, (*to("state:foreign"), "t"), "db-2"),
    "thaw-all": Screen(every_state, ("T",), "qemu:app-1", flying=("app-1", "app-2")),
    "extend": Screen(one_held, ("home", "e"), "longer", flying=("db-1",)),
    "stop": Screen(long_freeze, ("home", "x"), "StopDialog", flying=("db-1",)),
    "quit": Screen(every_state, ("q",), flying=("app-1", "app-2")),
    "copy-form": Screen(two, ("c", "GiB free", *FORM), "GiB free"),
    "copy-limit": Screen(copied, ("home", "c"), "LimitDialog"),
    "copy-stop": Screen(copied, ("home", "x"), "StopCopyDialog"),
    "copy-left": Screen(left_copy, ("home", "c"), "/to/a.qcow2"),
    "copy-consistent": Screen(with_outcome(copying.outcome), (), "CONSISTENT"),
    "copy-crash-consistent": Screen(with_outcome(copying.crash_consistent), (), "CRASH-CONSISTENT"),
    "copy-failed": Screen(with_outcome(copying.failed), (), "failed"),
    "take": Screen(logged, (*MAIL, "w"), "Take away"),
    "save": Screen(logged, (*MAIL, "w", "5"), "SaveDialog"),
    "plain": Screen(logged, (*MAIL, "w", "1"), "clipboard"),
}
COLOURED: dict[str, Screen] = {
    f"theme-{name}": Screen(every_state, ("Y",) * number)
    for number, name in enumerate(THEMES)
    if number
}
PLAYED: dict[str, Playing] = {
    "replay": played.replaying,
    "scenario-task": partial(played.training, keys=(), facts=0, seconds=0.0, read=False),
    "scenario": partial(played.training, keys=("i",), facts=3, seconds=0.0),
    "debrief": partial(played.training, keys=(), facts=len(played.PLAYED), seconds=57.5),
}


@asynccontextmanager
async def shown(
    screen: Screen, still: StillClock, signs: Signs, size: tuple[int, int]
) -> AsyncIterator[ConsoleSession]:
    """Begin a console and press the keys that lead to a screen; yield it there."""
    fleet = screen.fleet(still)
    operations, jobs, book = FakeOperations(), FakeJobs(), FakeBook(BAD)
    operations.report = REPORT
    operations.past = past_of_web1() if screen.fleet is web1 else past()
    jobs.found = copying.WITH_READ_ONLY
    jobs.left = (
        LeftCopy(CopyKey(Process(812, 9), "cafe"), "backup", (), {"n": "/to/a.qcow2"}, False),
    )
    if screen.fleet is copied:
        jobs.add(state_of(fleet, "db-1").vm, JobKind.BACKUP)
    for name in screen.flying:
        operations.add(state_of(fleet, name).vm)
    handover = (lambda: book) if screen.handover else None
    async with console_session(
        fleet, still, size=size, operations=operations, jobs=jobs, signs=signs, handover=handover
    ) as session:
        session.copies_are_known()
        for step in screen.steps:
            await _take(session, step)
        await session.until(lambda: screen.words in f"{session.flat} {session.dialog}")
        await session.settle()
        yield session


async def _take(session: ConsoleSession, step: Step) -> None:
    if callable(step):
        step(session)
        await session.settle()
    elif " " in step:
        await session.until(lambda: step in session.flat)
    else:
        await session.press(step)
