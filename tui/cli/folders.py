"""What commands on folders of copies have in common: the folder, signals, what takes long."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from agentclient.jobs.control import JobControl
from agentclient.jobs.patience import patiently
from agentclient.model.errors import BadInput, FrostwatchError
from agentclient.model.text import printable
from tui.cli import tell
from tui.cli.options import Options
from tui.shared.signals import Signals

TELL_EVERY_S: Final = 10.0
# A large archive, on a slow network.
READ_WITHIN_S: Final = 3600.0
_ENDS_WITHIN_S: Final = 0.5
_LOOKS_WITHIN_S: Final = 20.0

T = TypeVar("T")


class Stopped(FrostwatchError):
    """A signal asked to stop."""


def folder_of(name: str) -> Path:
    """Return a folder as an absolute path.

    Raises:
        BadInput: there is none.
        JobFailed: its storage hangs.
    """
    with suppress(OSError, ValueError):
        looking = f"looking at {printable(name, 200)}"
        if name and patiently(JobControl(), looking, Path(name).is_dir, _LOOKS_WITHIN_S):
            return Path(name).absolute()
    raise BadInput(f"{printable(name, 200)!r} is no folder: make it, or name another one")


def folder_for_copies(options: Options, name: str | None) -> Path:
    """Return the folder that copies go to, as an absolute path.

    Args:
        options: what is set.
        name: the folder that was named; None for the one that is set.

    Raises:
        BadInput: there is none.
    """
    if name is not None:
        return folder_of(name)
    if options.general.copy_to is not None:
        return folder_of(str(options.general.copy_to))
    raise BadInput(
        "no folder is named for the copies: give --to DIR, or set copy_to (docs/settings.md)"
    )


def folder_of_copies(name: str) -> Path:
    """Return the folder of a copy, or with copies, as an absolute path.

    Raises:
        BadInput: it is none.
    """
    try:
        return folder_of(name)
    except BadInput:
        shown = printable(name, 200)
        raise BadInput(f"{shown!r} is no folder: name a backup's, or one with backups") from None


class Patience:
    """Tells a person from time to time what takes long, and obeys signals.

    Args:
        what: what is not done when a signal stops it, as a clause.

    Attributes:
        control: ends a wait for a storage soon after a signal has come.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._signals = Signals()
        self.control: JobControl = _Obeying(self.check)
        self._next = time.monotonic() + TELL_EVERY_S

    def __enter__(self) -> Self:
        self._signals.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signals.__exit__(kind, error, trace)

    def wait_for(self, what: str, function: Callable[[], T], bound_s: float = READ_WITHIN_S) -> T:
        """Return what `function` returns, which may hang on a storage; a signal ends the wait.

        Args:
            what: what it does, as a clause that begins a sentence.
            function: runs in a thread of its own.
            bound_s: how long it may take, in seconds.

        Raises:
            Stopped: a signal has come.
            JobFailed: it takes longer.
        """
        return patiently(self.control, what, function, bound_s)

    def check(self) -> None:
        """End it if a signal has come.

        Raises:
            Stopped: one has.
        """
        if self._signals.requests:
            raise Stopped(f"{self._signals.last}: stopped; {self._what}")

    def tick(self, doing: str) -> None:
        """Tell what is done now, if it is time for that.

        Raises:
            Stopped: a signal has come.
        """
        self.check()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TELL_EVERY_S
            tell.note(printable(doing, 300))


class _Obeying(JobControl):
    """Ends a wait once a signal has come, and what is waited for has not ended by itself.

    Args:
        obey: raises `Stopped` if a signal has come.
    """

    def __init__(self, obey: Callable[[], object]) -> None:
        super().__init__()
        self._obey = obey
        self._since: float | None = None

    def check(self) -> None:
        """End the wait if a signal has come.

        Raises:
            Stopped: one has.
        """
        try:
            self._obey()
        except Stopped:
            self._since = self._since or time.monotonic()
            if time.monotonic() - self._since >= _ENDS_WITHIN_S:
                raise
