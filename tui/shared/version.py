"""Which frostwatch this is."""

from __future__ import annotations

from agentclient.late import load


def version() -> str:
    """Return the version's number; or that there is none, for a source tree without one."""
    try:
        number: str = load("importlib.metadata", "version")("frostwatch")
    except ModuleNotFoundError:  # run from its sources, without an installation
        return "of a source tree"
    return number
