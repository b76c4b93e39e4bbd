"""A console with a bug: the key Z raises in the middle of whatever goes on."""

from __future__ import annotations

from textual import events

from tui.console import run
from tui.console.app import FrostwatchApp
from tui.main import main


class BrokenApp(FrostwatchApp):
    def on_key(self, event: events.Key) -> None:
        if event.key == "Z":
            raise RuntimeError("a bug in the console")


if __name__ == "__main__":
    setattr(run, "FrostwatchApp", BrokenApp)  # noqa: B010
    main()
