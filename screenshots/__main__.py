"""Draws the pictures of the README: `make pictures`.

The console is driven by real keys, in front of a fleet whose clock stands still, so that a
picture changes only when the console does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentclient.fleet import Fleet
from agentclient.vm import FreezeInfo, FreezeState, Level, VmId
from tests.console.driving import SMALL, seated
from tests.console.fakes import StillClock
from tests.console.fleets import every_state, long_freeze, put
from tests.unit.virtual_freeze import VirtualFreeze
from tests.unit.virtual_guest import VirtualGuest

Trouble = Callable[[VirtualFreeze], None]

HERE = Path(__file__).parent
WIDE = (160, 45)
# Rich links to a font on the web; a picture in a README must not fetch anything.
_FONT = re.compile(r"\s*@font-face \{.*?\}\n", re.DOTALL)


@dataclass(frozen=True)
class Scene:
    """One picture: what is on the screen after which keys."""

    name: str
    fleet: Callable[[StillClock], Fleet]
    keys: tuple[str, ...] = ()
    size: tuple[int, int] = SMALL


def struck(name: str, hook_s: float, flush_s: float, trouble: Trouble) -> Callable[..., Fleet]:
    """Return a maker of the fleet in which a freeze of `name` has just met with trouble.

    The freeze is the real one, in virtual time: what it tells, and concludes, is in the picture.
    """

    def make(still: StillClock) -> Fleet:
        fleet = every_state(still)
        vm_id = VmId("qemu", name)
        freeze = VirtualFreeze(VirtualGuest(hook_s=hook_s, flush_s=flush_s))
        freeze.run(31.0)
        trouble(freeze)
        outcome = freeze.run_out()
        still.advance(-freeze.guest.now)
        before = 0.0
        for at, tell in freeze.told:
            still.advance(at - before)
            before = at
            if tell.level is not Level.DEBUG:
                fleet.log(vm_id, tell.level, tell.text)
        put(fleet, vm_id, last=outcome, freeze=FreezeInfo(FreezeState.THAWED, still.wall()))
        return fleet

    return make


def restart(freeze: VirtualFreeze) -> None:
    """Kill the agent, and start it at once, as Debian's unit does."""
    freeze.guest.kill(lose_unread=True)
    freeze.run(0.1)
    freeze.guest.respawn()


lost = struck("mail", 600.0, 0.0, restart)
half_frozen = struck("old-win", 1.0, 20.0, restart)

SCENES = (
    Scene("table-160x45", every_state, size=WIDE),
    Scene("table-80x24", every_state),
    Scene("long-freeze-80x24", long_freeze, ("j",)),
    Scene("long-freeze-160x45", long_freeze, ("j",), WIDE),
    Scene("lost-80x24", lost, ("slash", *"mail", "enter")),
    Scene("half-frozen-80x24", half_frozen, ("slash", *"old-win", "enter")),
    Scene("confirmation-80x24", every_state, ("slash", *"app-10", "enter", "f")),
    Scene("help-80x24", every_state, ("question_mark",)),
)


async def draw(scene: Scene) -> str:
    """Return a scene as SVG."""
    still = StillClock()
    async with seated(scene.fleet(still), still, size=scene.size) as seat:
        await seat.press(*scene.keys)
        await seat.settle()
        return _FONT.sub("", seat.app.export_screenshot(title="frostwatch"))


def main() -> None:
    """Draw all scenes."""
    for scene in SCENES:
        path = HERE / f"{scene.name}.svg"
        path.write_text(asyncio.run(draw(scene)))
        print(path.name)


if __name__ == "__main__":
    main()
