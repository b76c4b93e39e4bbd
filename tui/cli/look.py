"""How a console looks that is opened: its keys and its theme, as they are set."""

from __future__ import annotations

from typing import Any

from agentclient.late import load
from tui.cli.options import Options


def look_of(options: Options) -> dict[str, Any]:
    """Return the keys and the theme that are set, as a console takes them.

    From now on sentences name these keys. Those of constants are made when their module is
    imported: call it before the console is.

    Raises:
        BadInput: the theme can't be used.
    """
    name = options.general.theme
    theme = (name, load("tui.shared.theme_file", "find")(name)) if name is not None else None
    keys = options.settings.keymap if options.settings is not None else None
    load("tui.shared.key_hints", "use")(keys or {})
    return {"keys": keys, "theme": theme}
