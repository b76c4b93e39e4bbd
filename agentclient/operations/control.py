"""The operator's instructions to a freeze or a thaw that runs, from another thread."""

from __future__ import annotations

import threading

from agentclient.access.cancel import Cancellation, Wakeup
from agentclient.model.instruction import Asked, Extension, Instruction, Instructions


class Control:
    """A thread-safe queue of instructions with a descriptor that wakes the thread that polls it.

    Attributes:
        cancellation: is set by *cancel* and *give up*; ends blocking calls before the freeze.
    """

    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self._wakeup = Wakeup()
        self._lock = threading.Lock()
        self._new: list[Instructions] = []
        self._closed = False
        self.group_error: str | None = None
        """Why the operation's group was not frozen together; None if it was, or without a group."""
        self.gave_up = False
        """Whether the operator has told the operation to end at once."""

    def add(self, instruction: Instructions) -> None:
        """Add an instruction to the queue; after `close` it has no effect."""
        with self._lock:
            if self._closed:
                return
            self._new.append(instruction)
            self.gave_up = self.gave_up or instruction is Instruction.GIVE_UP
            self._wakeup.set()
        thaws = isinstance(instruction, Asked) and instruction.longer_s is None
        if thaws or instruction in (Instruction.CANCEL, Instruction.GIVE_UP):
            self.cancellation.set()

    def extend(self, seconds: float) -> None:
        """Ask to prolong the hold by so many seconds."""
        self.add(Extension(seconds))

    def take(self) -> list[Instructions]:
        """Return the instructions since the last call; never waits."""
        with self._lock:
            self._wakeup.clear()
            taken, self._new = self._new, []
            return taken

    def open(self) -> None:
        """Open the descriptors, before a thread waits on them.

        Raises:
            OSError: the process has no descriptors left.
        """
        self.fileno()
        self.cancellation.fileno()

    def fileno(self) -> int:
        """Return the descriptor that is readable while there are instructions to take.

        Raises:
            OSError: the process has no descriptor left.
        """
        return self._wakeup.fileno()

    def close(self) -> None:
        """Release the descriptors."""
        with self._lock:
            self._closed = True
            self._wakeup.close()
        self.cancellation.close()
