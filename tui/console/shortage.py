"""What the host has no more of: descriptors, threads, memory.

What a key wants is imported, read or started when it is wanted. Where the host lacks something for
that, the key is told of and nothing else: a window may be open, and the operator has to see it.
"""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Final

from textual.app import App

from agentclient.model.errors import NO_THREAD
from tui.console.model.exit_kind import ExitKind
from tui.console.textual_internals import ask_about_errors
from tui.shared.fit import safe

_WHY: Final = {
    errno.EMFILE: "no descriptor is left (ulimit -n)",
    errno.ENFILE: "this host has no descriptor left",
    errno.ENOMEM: "no memory is left",
    errno.EAGAIN: "no process can be started (ulimit -u)",
}
_NO_THREAD_LEFT: Final = "no thread is left (ulimit -u)"


def shortage(error: BaseException) -> str | None:
    """Return what an error says that the host lacks, as a clause; None for any other error."""
    if isinstance(error, MemoryError):
        return _WHY[errno.ENOMEM]
    if isinstance(error, OSError):
        return _WHY.get(error.errno or 0)
    is_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    return _NO_THREAD_LEFT if is_thread else None


class EnduringApp(App[ExitKind]):
    """An app that goes on where the host lacks something for what a key wants.

    Attributes:
        ended_by: why it had to end all the same, in one sentence; None if it had not to.
    """

    def __init__(self) -> None:
        self.ended_by: str | None = None
        super().__init__()
        ask_about_errors(self, self._takes)

    @abstractmethod
    def warn(self, text: str) -> None:
        """Tell the operator what a key could not do."""

    def guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that tells what the host lacks for another one, and ends nothing."""

        def called(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except Exception as error:
                if not self._told(error):
                    raise

        return called

    async def run_action(self, *arguments: Any, **options: Any) -> bool:
        """Do what a key means."""
        try:
            return await super().run_action(*arguments, **options)
        except Exception as error:
            if not self._told(error):
                raise
            return True

    def push_screen(
        self, screen: Any, callback: Any = None, *arguments: Any, **options: Any
    ) -> Any:
        """Show a screen, and call `callback` with what it was answered."""

        def answered(result: Any) -> Any:
            return self.guarded(callback)(result)

        told = answered if callback is not None else None
        return super().push_screen(screen, told, *arguments, **options)

    def _told(self, error: Exception) -> bool:
        """Tell what the host lacks; return whether that is what an error means."""
        why = shortage(error)
        if why is not None:
            self.warn(f"that can't be done now: {why}")
        return why is not None

    def _takes(self, error: Exception, *, last: bool) -> bool:
        """End for what the host lacks, and for what Textual can't tell; return whether it does."""
        why = shortage(error)
        if why is None and last:
            why = safe(repr(error), 300)
        if why is None:
            return False
        self.ended_by = f"the console has to end: {why}"
        self.exit(ExitKind.CLEAN, return_code=1)
        return True


def draw(app: EnduringApp) -> None:
    """Show an app until it is left."""
    try:
        app.run()
    except NO_THREAD:
        if app.ended_by is None:  # else Textual could not even end, which is told
            raise
