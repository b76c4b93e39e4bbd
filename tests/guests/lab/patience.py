"""How long something is waited for that comes: until the machine must be broken, and not slow.

A long limit costs nothing where it comes. A guest that boots in 3 s on an idle host takes 30 s
where a dozen busy processes share two cores, and everything in it is as much slower.
"""

from __future__ import annotations

from typing import Final

# Less than the 100 s that a window is held for in many tests: what comes in time was not its end.
PATIENCE_S: Final = 90.0
# More than that for a guest: one command in it waits for the whole boot.
BOOT_S: Final = 180.0
