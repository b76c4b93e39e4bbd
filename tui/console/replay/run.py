"""A replay in the console, from its start to the last word after it."""

from __future__ import annotations

import gc
from collections.abc import Mapping

from agentclient.replay.player import Replay
from tui.console import memory
from tui.console.bare_terminal import tell_stderr
from tui.console.leave import LEFT_SOMETHING, SignalHandler
from tui.console.replay.app import ReplayApp
from tui.console.replay.operations import NoOperations
from tui.console.shortage import draw
from tui.console.terminal import open_terminals
from tui.shared.colours import Colours


def run_replay(
    replay: Replay,
    *,
    keys: Mapping[str, str] | None = None,
    theme: tuple[str, Colours] | None = None,
) -> int:
    """Open the console on a replay, and return when it was left.

    Args:
        replay: what is played.
        keys: the keys that actions have in the place of their usual ones, by the actions' ids.
        theme: the name of the theme that is set, and its colours; None for the usual one.

    Returns:
        0, or 1 if the console failed.
    """
    app = ReplayApp(replay, memory=memory, keys=keys, theme=theme)

    terminals = open_terminals()
    # Nothing is to be thawed: whoever does not leave in time is ended.
    handler = SignalHandler(
        NoOperations(replay),
        lambda: app.ask_to_leave(terminals),
        lambda: LEFT_SOMETHING,
        terminals,
    )
    with handler:
        handler.start()
        try:
            draw(app)
        finally:
            gc.enable()  # the first screen may never have been shown
            handler.screen_left.set()
            replay.stop()
            if app.ended_by is not None:
                tell_stderr(f"frostwatch: {app.ended_by}")
        shown = replay.wall().strftime("%Y-%m-%d %H:%M:%S")
        tell_stderr(f"frostwatch: the replay was left at {shown}; nothing in it was real")
    return app.return_code or 0
