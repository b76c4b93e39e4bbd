"""How another frostwatch of the same installation is started."""

from __future__ import annotations

import sys
from typing import Final

# Not from the current folder: there may be a package of anybody's that is called as ours.
OWN_PROGRAM: Final = (sys.executable, "-P", "-m", "tui.main")
