"""Draws the pictures of the README: `make pictures`.

The console is driven by real keys, in front of a drill whose clock stands still, so that a picture
changes only when the console or the drill does. Each is written as SVG, and as PNG for those who
can't show that.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import resvg_py

from agentclient.fleet.store import Fleet
from screenshots import played
from screenshots.copied import Copy, add_copies
from screenshots.drilled import Play, fleet_of_a_drill
from screenshots.others import stuck_backups
from screenshots.recorded import Frame, record
from screenshots.stamp import stamped
from tests.console import copying
from tests.console.console_session import SMALL, console_session
from tests.console.fakes import FakeJobs, StillClock
from tests.console.held import group_held, left_frozen

HERE = Path(__file__).parent
WIDE = (160, 45)
# Rich links to a font on the web; a picture in a README must not fetch anything.
_FONT = re.compile(r"\s*@font-face \{.*?\}\n", re.DOTALL)
_ZOOM = 1

# What goes on when the pictures are taken: at noon of a working day.
SLOW = Play("mail1", 740.0, speed=0.01)
BUSY_FLEET = (
    SLOW,
    Play("web1", 21.0),
    Play("db1", 12.0, hold_s=60.0),
    Play("files1", 9.0),
    Play("app1", 3.0),
    Play("mail3", 4.0),
    Play("files3", 30.0),
)


@dataclass(frozen=True)
class Scene:
    """One picture: what is on the screen after which keys."""

    name: str
    plays: tuple[Play, ...]
    keys: tuple[str, ...] = ()
    size: tuple[int, int] = SMALL
    copies: tuple[Copy, ...] = ()
    fleet: Callable[[StillClock], Fleet] | None = None  # in the place of the drill's
    drawn: Callable[[], Awaitable[str]] | None = None  # what draws all of it by itself


def to(name: str) -> tuple[str, ...]:
    """Return the keys that show one VM alone."""
    return ("slash", *name, "enter")


COPIES = (
    Copy("db1"),
    Copy("app1", copying.outcome),
    Copy("web2", copying.crash_consistent),
    Copy("ci1", copying.failed),
)
LONG = (SLOW, Play("db1", 12.0, hold_s=60.0), Play("web1", 21.0))
SCENES = (
    Scene("table-160x45", BUSY_FLEET, size=WIDE),
    Scene("table-80x24", BUSY_FLEET),
    Scene("stuck-backup-160x45", (), size=WIDE, fleet=stuck_backups),
    Scene("stuck-backup-80x24", (), fleet=stuck_backups),
    Scene("long-freeze-80x24", LONG, to("mail1")),
    Scene("long-freeze-160x45", LONG, to("mail1"), WIDE),
    Scene("open-window-120x40", (), ("home",), (120, 40), fleet=group_held),
    Scene("rescue-80x24", (), ("home", "R"), fleet=left_frozen),
    Scene("lost-80x24", (Play("files1", 9.0),), to("files1")),
    Scene("half-frozen-80x24", (Play("mail2", 30.0),), to("mail2")),
    Scene("confirmation-80x24", (), (*to("mail3"), "f")),
    Scene("help-80x24", BUSY_FLEET, ("question_mark",)),
    Scene("explain-80x24", (Play("files1", 9.0),), (*to("files1"), "i")),
    Scene("details-160x45", BUSY_FLEET, (*to("db1"), "d", "2"), WIDE),
    Scene("events-80x24", BUSY_FLEET, ("E",)),
    Scene("copy-form-80x24", (), (*to("db1"), "c")),
    Scene("copy-form-160x45", (), (*to("db1"), "c"), WIDE),
    Scene("copying-80x24", (), to("db1"), copies=COPIES),
    Scene("copying-160x45", (), to("db1"), WIDE, COPIES),
    Scene("copy-consistent-80x24", (), to("app1"), copies=COPIES),
    Scene("copy-consistent-160x45", (), to("app1"), WIDE, COPIES),
    Scene("copy-crash-consistent-80x24", (), to("web2"), copies=COPIES),
    Scene("copy-failed-80x24", (), to("ci1"), copies=COPIES),
    Scene("copies-160x45", (), ("slash", *"alive", "enter"), WIDE, COPIES),
    Scene("replay-80x24", (), drawn=played.replay),
    Scene("scenario-80x24", (), drawn=played.scenario),
    Scene("debrief-80x24", (), drawn=played.debrief),
)


# The README's first minute: what is shown for how long, and what is said below it.
_DB1 = to("db1")
SESSION = (
    (Scene("", BUSY_FLEET), 4.0, "24 guests of the drill: what is frozen, lost or stuck is on top"),
    (Scene("", (), ("slash", *"db")), 2.0, "/ db: find a guest"),
    (Scene("", (), _DB1), 2.5, "Enter: its facts and its log"),
    (Scene("", (), (*_DB1, "f")), 3.0, "f: what will be frozen, and for how long it may take"),
    (Scene("", (), (*_DB1, "f", *"30")), 2.0, "30: hold it for 30 seconds"),
    (Scene("", (Play("db1", 1.0, hold_s=30.0),), _DB1), 3.0, "Enter: frozen, and proven to be"),
    (Scene("", (Play("db1", 14.0, hold_s=30.0),), _DB1), 3.0, "take the snapshot now; t thaws"),
    (Scene("", (Play("db1", 33.0, hold_s=30.0),), _DB1), 3.5, "thawed: the window is certified"),
    (Scene("", (Play("files1", 2.5),), to("files1")), 3.0, "files1: a freeze that is pending"),
    (Scene("", (Play("files1", 9.0),), to("files1")), 4.0, "its agent dies: lost, and why"),
    (Scene("", (), fleet=stuck_backups), 5.0, "somebody's backup is stuck, and what helps"),
)


async def draw(scene: Scene) -> str:
    """Return a scene as SVG."""
    if scene.drawn is not None:
        return _FONT.sub("", await scene.drawn())
    still, drill = StillClock(), scene.fleet is None
    fleet = fleet_of_a_drill(still, *scene.plays) if scene.fleet is None else scene.fleet(still)
    add_copies(fleet, still, *scene.copies)
    jobs = FakeJobs()
    jobs.found = copying.SURVEY
    async with console_session(fleet, still, size=scene.size, drill=drill, jobs=jobs) as session:
        await session.press(*scene.keys)
        if session.dialog == "CopyDialog":
            await session.press(*["down"] * 3, "ctrl+u", *"/srv/backups")
            await session.until(lambda: "GiB free" in session.text)
        await session.settle()
        return _FONT.sub("", session.app.export_screenshot(title="frostwatch"))


def main() -> None:
    """Draw all scenes."""
    for scene in SCENES:
        svg = asyncio.run(draw(scene))
        path = HERE / f"{scene.name}.svg"
        path.write_text(svg)
        png = resvg_py.svg_to_bytes(svg_string=svg, zoom=_ZOOM, monospace_family="DejaVu Sans Mono")
        path.with_suffix(".png").write_bytes(stamped(bytes(png), svg))
        print(path.stem)
    path = HERE / "session-80x24.svg"
    path.write_text(session())
    print(path.stem)


def session() -> str:
    """Return the README's first minute, as one picture that moves."""
    frames = [Frame(asyncio.run(draw(one)), s, caption) for one, s, caption in SESSION]
    return record(frames)


if __name__ == "__main__":
    main()
