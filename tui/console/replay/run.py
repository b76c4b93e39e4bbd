"""A replay in the console, from its start to the last word after it."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping

from agentclient.replay.player import Replay
from tui.console import memory
from tui.console.bare_terminal import tell_stderr
from tui.console.leave import LEFT_SOMETHING, SignalHandler
from tui.console.replay.app import ReplayApp
from tui.console.replay.operations import NoOperations
from tui.console.terminal import has_ended
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

    def leave_screen() -> None:
        if any(map(has_ended, terminals)):
            app.terminal_has_gone()
        app.post_message(ReplayApp.MustLeave())  # safe from any thread

    terminals = [number for number in (0, 1, 2) if os.isatty(number)]
    # Nothing is to be thawed: whoever does not leave in time is ended.
    handler = SignalHandler(NoOperations(replay), leave_screen, lambda: LEFT_SOMETHING, terminals)
    with handler:
        handler.start()
        try:
            app.run()
        finally:
            gc.enable()  # the first screen may never have been shown
            handler.screen_left.set()
            replay.stop()
        shown = replay.wall().strftime("%Y-%m-%d %H:%M:%S")
        tell_stderr(f"frostwatch: the replay was left at {shown}; nothing in it was real")
    return app.return_code or 0
