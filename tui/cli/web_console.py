"""How a console is started for a page of a browser."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tui.cli.options import Options, settings_options
from tui.shared.own_program import OWN_PROGRAM

# What a browser shows, whatever terminal the server was started in: all letters and colours.
VARIABLES = ("TERM=xterm-256color", "COLORTERM=truecolor", "LC_ALL=C.UTF-8")


def console_command(options: Options, *, changes: bool) -> str:
    """Return the command that opens a console, as a line of a shell.

    Args:
        options: which VMs there are, and which settings.
        changes: it may freeze and thaw.
    """
    words = ["exec", "env", *VARIABLES, *OWN_PROGRAM, *_arguments(options)]
    return shlex.join([*words, *([] if changes else ["--read-only"])])


def _arguments(options: Options) -> Iterator[str]:
    for spec in options.specs:
        yield from ("--vm", spec)
    for uri in options.connect:
        yield from ("--connect", uri)
    if options.named_only:
        yield "--named-only"
    if options.drill is not None:
        yield f"--drill={options.drill}"
    if options.drill_speed is not None:
        yield f"--drill-speed={options.drill_speed:g}"
    yield from settings_options(options)
    if options.or_drill:
        yield "--or-drill"
    bell = options.given.get("bell")
    if bell is not None:
        yield "--bell" if bell else "--no-bell"
    for name, option in (("agent_interval", "--interval"), ("max_hold", "--max-hold")):
        seconds = options.given.get(name)
        if isinstance(seconds, int | float):
            yield from (option, f"{seconds:g}")
