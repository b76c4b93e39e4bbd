"""What an operator asks of a freeze or a thaw while it runs, from another thread."""

from __future__ import annotations

import threading

from agentclient.access.cancel import Cancellation, Wakeup
from agentclient.model.request import Extension, Instruction


class Control:
    """A thread-safe mailbox of instructions that wakes a thread in its poll.

    Attributes:
        cancellation: is set by *cancel* and *give up*; ends the blocking calls of the preparation.
    """

    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self._wakeup = Wakeup()
        self._lock = threading.Lock()
        self._new: list[Instruction | Extension] = []
        self._closed = False
        self.apart: str | None = None
        """Why the group that it belongs to was not frozen together; None if it was, or is none."""
        self.gave_up = False
        """Whether anybody has asked to leave at once."""

    def add(self, instruction: Instruction | Extension) -> None:
        """Ask for something; after `close` nobody is listening, and nothing happens."""
        with self._lock:
            if self._closed:
                return
            self._new.append(instruction)
            self.gave_up = self.gave_up or instruction is Instruction.GIVE_UP
            self._wakeup.set()
        if instruction in (Instruction.CANCEL, Instruction.GIVE_UP):
            self.cancellation.set()

    def extend(self, seconds: float) -> None:
        """Ask for so many seconds more of the hold."""
        self.add(Extension(seconds))

    def take(self) -> list[Instruction | Extension]:
        """Return what was asked since the last call; never waits."""
        with self._lock:
            self._wakeup.clear()
            taken, self._new = self._new, []
            return taken

    def open(self) -> None:
        """Open the descriptors, once somebody is about to wait on them.

        Raises:
            OSError: the process has none left for them.
        """
        self.fileno()
        self.cancellation.fileno()

    def fileno(self) -> int:
        """Return the descriptor that is readable while there is something to take.

        Raises:
            OSError: the process has none left for it.
        """
        return self._wakeup.fileno()

    def close(self) -> None:
        """Release the descriptors."""
        with self._lock:
            self._closed = True
            self._wakeup.close()
        self.cancellation.close()
