"""The replies of a simulated agent to all commands but the freeze and the thaw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from agentclient.model.outcome import FileSystem

FREEZE: Final = "guest-fsfreeze-freeze"
FREEZE_LIST: Final = "guest-fsfreeze-freeze-list"
THAW: Final = "guest-fsfreeze-thaw"
SYNC: Final = "guest-sync-delimited"
STATUS: Final = "guest-fsfreeze-status"
FILE_SYSTEMS: Final = "guest-get-fsinfo"

# The commands that an agent allows while frozen (protocol §3.2, shown by
# test_fact_frozen_refuses_other_commands).
WHILE_FROZEN: Final = frozenset({"guest-ping", "guest-info", "guest-sync", SYNC, STATUS, THAW})
COMMANDS: Final = WHILE_FROZEN | {FREEZE, FREEZE_LIST, FILE_SYSTEMS, "guest-get-osinfo"}
LARGEST_ID: Final = 2**63 - 1
SENTINEL: Final = b"\xff"
NO_JSON: Final = {"class": "GenericError", "desc": "JSON parse error"}


class Refused(Exception):
    """The agent's reply is an error.

    Args:
        error_class: the error's ``class`` in the protocol.
        desc: the error's ``desc``.
    """

    def __init__(self, error_class: str, desc: str) -> None:
        self.body = {"class": error_class, "desc": desc}
        super().__init__(desc)


def check(command: object, *, frozen: bool) -> str:
    """Return the command's name.

    Raises:
        Refused: there is no such command, or it is not allowed while frozen.
    """
    if not isinstance(command, str) or command not in COMMANDS:
        raise Refused("CommandNotFound", f"The command {command} has not been found")
    if frozen and command not in WHILE_FROZEN:
        # The same class as for an unknown command (protocol §2.5).
        raise Refused("CommandNotFound", f"Command {command} has been disabled")
    return command


def sync_id(arguments: Mapping[str, Any]) -> int:
    """Return the id of a sync command.

    Raises:
        Refused: there is no id, or one of more than 63 bits (test_fact_sync_ids_end_at_63_bits).
    """
    value = arguments.get("id")
    if not isinstance(value, int) or abs(value) > LARGEST_ID:
        raise Refused("GenericError", "Invalid parameter type for 'id', expected: integer")
    return value


def info(version: str, *, frozen: bool) -> dict[str, Any]:
    """Return the reply to ``guest-info``: the agent's version and its commands."""
    commands = [
        {
            "name": name,
            "enabled": not frozen or name in WHILE_FROZEN,
            "success-response": True,
        }
        for name in sorted(COMMANDS)
    ]
    return {"version": version, "supported_commands": commands}


def fsinfo(file_systems: tuple[FileSystem, ...]) -> list[dict[str, Any]]:
    """Return the reply to ``guest-get-fsinfo``."""
    return [
        {"name": one.device, "mountpoint": one.mountpoint, "type": one.kind, "disk": []}
        for one in file_systems
    ]


def line(**body: object) -> bytes:
    """Return one line of the protocol; the argument ``value`` becomes the key ``return``."""
    if "value" in body:
        body["return"] = body.pop("value")
    return json.dumps(body).encode() + b"\n"
