"""How a console looks that a command opens: its keys and its theme, as they are set."""

from __future__ import annotations

from typing import Any

from agentclient.late import load
from tui.cli.options import Options


def look_of(options: Options) -> dict[str, Any]:
    """Return the keys and the theme that are set, as a console takes them.

    Raises:
        BadInput: the theme can't be used.
    """
    name = options.general.theme
    theme = (name, load("tui.shared.theme_file", "find")(name)) if name is not None else None
    keys = options.settings.keymap if options.settings is not None else None
    return {"keys": keys, "theme": theme}
