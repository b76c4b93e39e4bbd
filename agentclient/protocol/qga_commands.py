"""The names of the agent's commands that frostwatch sends."""

from __future__ import annotations

from typing import Final

STATUS: Final = "guest-fsfreeze-status"
FREEZE: Final = "guest-fsfreeze-freeze"
FREEZE_LIST: Final = "guest-fsfreeze-freeze-list"
THAW: Final = "guest-fsfreeze-thaw"

SYNC: Final = "guest-sync-delimited"
PLAIN_SYNC: Final = "guest-sync"  # without 0xFF
INFO: Final = "guest-info"
FILE_SYSTEMS: Final = "guest-get-fsinfo"
DISKS: Final = "guest-get-disks"
OS_INFO: Final = "guest-get-osinfo"
