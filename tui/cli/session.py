"""What a command works with: an `Engine`, made from the options.

Tests replace `build_engine`, and nothing else.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import agentclient
from agentclient.late import load
from agentclient.model.text import printable
from tui.cli.options import Options

if TYPE_CHECKING:
    from agentclient.engine import Engine
    from agentclient.journal.writer import Journal


def build_engine(options: Options) -> Engine:
    """Put the core together.

    Raises:
        BadInput: an option can't be used.
        FrostwatchError: a drill can't be started.
    """
    # The package imports its names when they are used: `--help` needs none of them.
    return agentclient.Engine(
        options.specs,
        named_only=options.named_only,
        drill=options.guests or options.drill,
        drill_speed=options.drill_speed or 1.0,
        settings=options.settings,
    )


def has_vms(options: Options) -> bool:
    """Return whether there is any VM here, or a source that can't tell."""
    with engine_for(options) as engine:
        return bool(engine.look() or engine.hanging or engine.states())


@contextmanager
def engine_for(options: Options) -> Iterator[Engine]:
    """Put the core together for one command, and take it apart afterwards."""
    _open_many_files()
    engine = build_engine(options)
    try:
        yield engine
    finally:
        engine.close()
        if engine.journal is not None:
            _tell_rest(engine.journal)


def _tell_rest(journal: Journal) -> None:
    """Tell what is wrong with the journal, and was not told as part of anything."""
    with suppress(OSError, ValueError):  # the terminal has gone
        for notice in iter(journal.take_notice, None):
            load("tui.cli.tell", "note")(printable(notice, 1000))


def _open_many_files() -> None:
    """Take what the system allows: each freeze that is in flight, or waits, has descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
