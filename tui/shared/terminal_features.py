"""Which characters and colours a terminal can show, by its locale and its type."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentclient.model.errors import BadInput

if TYPE_CHECKING:
    from agentclient.config.defaults import General

_ASCII = "FROSTWATCH_ASCII"
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
# The Linux console's fonts have 256 or 512 characters, and few of ours.
_FEW_LETTERS = ("linux", "dumb", "vt100", "vt220")
NO_COLOURS = ("dumb", "vt100", "vt220")
NO_SCREEN: Final = (
    "stderr is not a terminal, and the console is drawn there: leave it one "
    "(frostwatch list 2>FILE looks without a console)"
)
# What textual-serve has Textual draw to.
_BROWSER = ("TEXTUAL_DRIVER", "textual.drivers.web_driver:WebDriver")


def on_terminal() -> bool:
    """Return whether a console can be opened.

    Raises:
        BadInput: somebody sits there, and the screen would go somewhere else.
    """
    if is_in_browser():
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    if not sys.stderr.isatty():
        raise BadInput(NO_SCREEN)
    return True


def follow(general: General) -> None:
    """Have this process draw as is set.

    Everything here, and Textual, looks at the environment: a setting counts as the variable that
    says the same.
    """
    if general.ascii != _ascii_is_said():
        os.environ[_ASCII] = "1" if general.ascii else ""
    if not general.colours:
        os.environ["NO_COLOR"] = "1"


def _ascii_is_said() -> bool:
    return os.environ.get(_ASCII, "") not in ("", "0")


def ascii_alone() -> bool:
    """Return whether nothing but ASCII is to be drawn: it was said so, or the locale is plain."""
    if _ascii_is_said():
        return True
    return few_letters(os.environ.get("TERM", "")) or language() in ("", "C", "POSIX")


def few_letters(terminal: str) -> bool:
    """Return whether a terminal of this type (TERM) shows ASCII alone, and knows few sequences."""
    return terminal in _FEW_LETTERS


def language() -> str:
    """Return the locale that we were started in, by its name.

    Python puts ``LC_CTYPE=C.UTF-8`` in the place of a plain C, and then takes all to be UTF-8: what
    the operator has said stands in the environment that the process was given.
    """
    given = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    if given not in _COERCED or os.environ.get("LC_ALL"):
        return given
    with contextlib.suppress(OSError):
        pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
        first = dict(pair.split(b"=", 1) for pair in pairs if b"=" in pair)
        if b"LC_CTYPE" not in first:
            return first.get(b"LANG", b"").decode(errors="replace")
    return given


def is_in_browser(variables: Mapping[str, str] = os.environ) -> bool:
    """Return whether a server has started this process for a page, which it draws to.

    Args:
        variables: the environment.
    """
    variable, driver = _BROWSER
    return variables.get(variable) == driver
