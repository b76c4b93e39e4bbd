"""Waits until an app has come to rest, also on a machine that is busy with something else."""

from __future__ import annotations

import asyncio

import pytest
from textual._context import active_app
from textual.screen import Screen

# So often the loop has nothing to do before the app has come to rest.
_AT_REST = 3
# One layout follows another; what is painted without end is left to its timer.
_MOST_DRAWN = 20


def patch_idle_wait(patch: pytest.MonkeyPatch) -> None:
    """Let Pilot wait for that: it takes an app for idle that gets no processor time."""
    for module in ("textual.pilot", "textual.app"):
        patch.setattr(f"{module}.wait_for_idle", wait_until_idle)


async def wait_until_idle(*_seconds: float) -> None:
    """Wait until nothing is left to be done, and what was done stands on the screen."""
    await _loop_at_rest()
    for _ in range(_MOST_DRAWN):
        screen = active_app.get().screen
        if not _is_to_be_drawn(screen):
            return
        screen._on_timer_update()
        await _loop_at_rest()


async def _loop_at_rest() -> None:
    loop, quiet = asyncio.get_running_loop(), 0
    while quiet < _AT_REST:
        await asyncio.sleep(0)
        quiet = 0 if loop._ready else quiet + 1  # type: ignore[attr-defined]


def _is_to_be_drawn(screen: Screen[object]) -> bool:
    return screen.is_current and bool(
        screen._layout_required
        or screen._scroll_required
        or screen._repaint_required
        or screen._dirty_widgets
        or screen._callbacks
    )
