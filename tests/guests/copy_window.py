"""The window of copies in tests of real guests: as long as an emulated guest on a busy host needs.

What a test does in a window (reads disks, resets, kills) takes seconds there; and where the holder
is to thaw, the end of the window by itself must not look the same.
"""

from __future__ import annotations

from agentclient.model.request import FreezeRequest, Schedule

LONG_WINDOW = FreezeRequest(schedule=Schedule(hold_s=100.0))
