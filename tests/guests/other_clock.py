"""``frostwatch`` with a wall clock that a file moves: ``python -m …other_clock FILE WORD…``.

The file holds seconds to add. Only the wall clock is moved, as when a person sets it: waits use the
monotonic clock.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

_FILE = Path(sys.argv.pop(1))
_REAL = datetime.datetime


class _Moved(_REAL):
    """A `datetime` whose now is another one."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _Moved:
        moved = _REAL.now(tz) + datetime.timedelta(seconds=float(_FILE.read_text() or 0))
        return cls.combine(moved.date(), moved.timetz(), moved.tzinfo)


datetime.datetime = _Moved  # type: ignore[misc]

from tui.main import main  # noqa: E402 - behind the clock

main()
