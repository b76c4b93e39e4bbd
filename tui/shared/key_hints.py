"""The keys that sentences name: `x stops it` is `F5 stops it` for who has set that.

A sentence with another key than the one that is set would have somebody freeze a guest who wanted
to thaw it. Texts that are constants are made when their module is imported: what is set is told
here before the console is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tui.shared.key_names import key_name

_CHANGED: Final[dict[str, str]] = {}


def use(changed: Mapping[str, str]) -> None:
    """Have sentences name other keys from now on.

    Args:
        changed: the keys that actions have in the place of their usual ones, by the actions' ids.
    """
    _CHANGED.clear()
    _CHANGED.update(changed)


def key(action: str, usual: str) -> str:
    """Return the key of an action as a person writes it.

    Args:
        action: its id.
        usual: its usual key, as a person writes it.
    """
    changed = _CHANGED.get(action)
    return usual if changed is None else key_name(changed.partition(",")[0])
