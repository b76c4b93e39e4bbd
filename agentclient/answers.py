"""What an agent's answers mean, whatever types the guest chose. Pure: JSON values in, facts out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentclient.text import printable
from agentclient.vm import FileSystem, FreezeState

STATUS: Final = "guest-fsfreeze-status"
_MOST_FILE_SYSTEMS = 4096


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """What ``guest-info`` says.

    Attributes:
        version: the agent's version, safe to show.
        enabled: the commands that may be called now.
        known: all commands that the agent has.
    """

    version: str
    enabled: frozenset[str]
    known: frozenset[str]


def agent_info(value: object) -> AgentInfo | None:
    """Read the answer of ``guest-info``; None if it is none."""
    if not isinstance(value, dict):
        return None
    listed = value.get("supported_commands")
    items = listed if isinstance(listed, list) else []
    commands = [item for item in items if isinstance(item, dict)]
    names = [(item.get("name"), item.get("enabled")) for item in commands]
    return AgentInfo(
        printable(value.get("version", "unknown"), 40),
        frozenset(name for name, enabled in names if isinstance(name, str) and enabled is True),
        frozenset(name for name, _ in names if isinstance(name, str)),
    )


def file_systems(value: object) -> tuple[FileSystem, ...] | None:
    """Read the answer of ``guest-get-fsinfo``, safe to show; None if it is none."""
    if not isinstance(value, list):
        return None
    return tuple(_file_system(item) for item in value[:_MOST_FILE_SYSTEMS])


def freeze_state(value: object) -> FreezeState | None:
    """Read the answer of ``guest-fsfreeze-status``; None for anything else that a guest may say."""
    known = (FreezeState.FROZEN, FreezeState.THAWED)
    return FreezeState(value) if isinstance(value, str) and value in known else None


def _file_system(item: object) -> FileSystem:
    entry = item if isinstance(item, dict) else {}
    return FileSystem(
        device=printable(entry.get("name", "?"), 120),
        mountpoint=printable(entry.get("mountpoint", "?"), 240),
        kind=printable(entry.get("type", "?"), 40),
    )
