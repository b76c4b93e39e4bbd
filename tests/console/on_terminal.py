"""The console on a fake fleet, for a test on the other side of its terminal.

``python -m tests.console.on_terminal FD_IN FD_OUT PRIVATE``: a byte in FD_IN lets the fleet change;
``?`` has the lines of the screen, as the console takes them to be, written to FD_OUT. With a 0 for
PRIVATE no private name of Textual is used.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys

from agentclient.model.snapshot import AgentHealth, FreezeInfo
from agentclient.model.states import AgentState, FreezeState
from tests.console.console_session import make_app, qemu
from tests.console.fakes import StillClock
from tests.console.fleets import fleet_of, pending, put
from tui.console import textual_internals

NAMES = [*(f"vm-{number:02}" for number in range(20)), "データ-1", "e\u0301clair", "[red]db[/]"]


def main(source: int, sink: int, private: int) -> None:
    textual_internals.ENABLED = bool(private)
    still, dice = StillClock(), random.Random(7)
    fleet = fleet_of(NAMES, still)
    app = make_app(fleet, still)

    def change() -> None:
        still.advance(dice.choice([0.3, 1.0, 61.0]))
        for name in dice.sample(NAMES, 12):
            if dice.random() < 0.5:
                freezing = FreezeInfo(FreezeState.FREEZING, still.wall())
                put(fleet, qemu(name), progress=pending(still), freeze=freezing)
            else:
                health = AgentHealth(dice.choice(list(AgentState)))
                put(fleet, qemu(name), progress=None, freeze=FreezeInfo(), agent=health)
        app.drain()
        app.parts.second()

    def come() -> None:
        for byte in os.read(source, 64):
            if byte != ord("?"):
                change()
                continue
            strips = app.screen._compositor.render_strips()
            os.write(sink, json.dumps([strip.text for strip in strips]).encode() + b"\n")

    async def run() -> None:
        asyncio.get_running_loop().add_reader(source, come)
        await app.run_async()

    asyncio.run(run())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
