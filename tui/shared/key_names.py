"""Keys as a person writes them: `/` for ``slash``, `Ctrl-P` for ``ctrl+p``."""

from __future__ import annotations

from typing import Final

from agentclient.config.punctuation import PUNCTUATION

_NAMES: Final = {
    **{name: sign for sign, name in PUNCTUATION.items()},
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "escape": "Esc",
}


def key_name(key: str) -> str:
    """Return a key, by Textual's name for it, as it is written on a keyboard."""
    if key in _NAMES:
        return _NAMES[key]
    for modifier in ("ctrl", "shift", "alt"):
        if key.startswith(f"{modifier}+"):
            rest = key_name(key.removeprefix(f"{modifier}+"))
            return f"{modifier.capitalize()}-{rest.upper() if len(rest) == 1 else rest}"
    return key if len(key) == 1 else key.capitalize()
