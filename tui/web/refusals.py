"""Which requests are answered at all: all others are refused in a sentence, and logged in none."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from agentclient.model.text import printable
from tui.shared.loopback import is_loopback

MOST_CELLS: Final = 1_000  # columns or lines of a page's terminal
_LONGEST_PATH: Final = 1_000
_LONGEST_HOST: Final = 262  # the longest name (RFC 1035), a colon and a port
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_MOST_TOLD: Final = 20
LOGGERS: Final = ("aiohttp.server", "aiohttp.web", "aiohttp.websocket", "asyncio", "textual-serve")


def check(request: web.Request, *, local: bool) -> None:
    """Refuse what no browser sends that has opened our address.

    Args:
        request: what is asked.
        local: only names of this host are answered to.

    Raises:
        web.HTTPException: it is refused.
    """
    path = request.raw_path
    if not path.startswith("/"):
        raise web.HTTPBadRequest(text="this is no proxy")
    if len(path) > _LONGEST_PATH:
        raise web.HTTPNotFound(text="there is no such page")
    host = request.headers.get("Host", "")
    name = _HOST.fullmatch(host) if len(host) <= _LONGEST_HOST else None
    if name is None:
        raise web.HTTPBadRequest(text="the Host header is none")
    if local and not is_loopback(name[1].strip("[]")):
        raise web.HTTPForbidden(text="this name is not answered to")
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != host:
        raise web.HTTPForbidden(text="a page of another origin can't open it")


def check_size(query: Mapping[str, str]) -> None:
    """Refuse a terminal that no screen has.

    Raises:
        web.HTTPBadRequest: it is refused.
    """
    for name in ("width", "height"):
        given = query.get(name, "1")
        few = given.isascii() and given.isdecimal() and len(given) <= len(str(MOST_CELLS))
        if not few or not 0 < int(given) <= MOST_CELLS:
            raise web.HTTPBadRequest(text=f"{name} is from 1 to {MOST_CELLS}")


class OneSentence(logging.Handler):
    """Tells in one sentence each what goes wrong in the server, and no traceback.

    Of requests that can't be understood nothing is told: who sends them is told.

    Args:
        note: tells a sentence.
    """

    def __init__(self, note: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._note = note
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Tell it, unless it was told already."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.HTTPException):
            return
        said = record.getMessage()
        if error is not None:
            ended = "a page was ended" if said == str(error) else said
            said = f"{ended} ({type(error).__name__}: {error})"
        text = printable(said, 300)
        if text not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(text)
            self._note(text)

    def take_over(self) -> None:
        """Tell what all parts of the server log, in the place of everybody else."""
        for name in LOGGERS:
            logger = logging.getLogger(name)
            logger.handlers = [self]
            logger.propagate = False
