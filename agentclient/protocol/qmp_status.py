"""What a VM is doing, in its monitor's words. Pure."""

from __future__ import annotations

from typing import Final

from agentclient.model.states import RunState

_RUN_STATES: Final = {
    "running": RunState.RUNNING,
    "paused": RunState.PAUSED,
    "prelaunch": RunState.PAUSED,
    "debug": RunState.PAUSED,
    "save-vm": RunState.PAUSED,
    "restore-vm": RunState.PAUSED,
    "watchdog": RunState.PAUSED,
    "colo": RunState.PAUSED,
    "io-error": RunState.IO_ERROR,
    "internal-error": RunState.IO_ERROR,
    "suspended": RunState.SUSPENDED,
    "inmigrate": RunState.MIGRATING,
    "postmigrate": RunState.MIGRATED,
    "finish-migrate": RunState.MIGRATING,
    "shutdown": RunState.SHUTDOWN,
    "guest-panicked": RunState.PANICKED,
}
_MIGRATING: Final = frozenset(
    {"setup", "active", "pre-switchover", "device", "postcopy-active", "wait-unplug"}
)


def run_state(status: object, migration: object) -> RunState:
    """Read what a VM is doing.

    Args:
        status: the answer of ``query-status``.
        migration: that of ``query-migrate``; None if it was not asked for.
    """
    word = status.get("status") if isinstance(status, dict) else None
    found = _RUN_STATES.get(str(word), RunState.UNKNOWN)
    progress = migration.get("status") if isinstance(migration, dict) else None
    under_way = str(progress) in _MIGRATING and found is not RunState.MIGRATED
    return RunState.MIGRATING if under_way else found
