"""The errors: what can go wrong between frostwatch and a guest.

Every message is for a person: which VM, which command, how long it took, what it means, what to do.
"""

from __future__ import annotations

from typing import Final

from agentclient.model.states import Cause

NO_THREAD: Final = (RuntimeError, MemoryError)
"""What is raised where a thread can't be started; `why_no_thread` says why."""


def why_no_thread(error: Exception) -> str:
    """Return why a thread can't be started, as a clause: a `MemoryError` itself says nothing."""
    return str(error) or "no memory is left for it"


class FrostwatchError(Exception):
    """The root of everything that this project raises on purpose."""


class BadInput(FrostwatchError):
    """A person's input can't be used: one clear sentence, exit code 2."""


class Cancelled(FrostwatchError):
    """The caller's cancellation ended a wait."""


class AgentError(FrostwatchError):
    """A conversation with a guest's agent, or its monitor, failed.

    Args:
        vm: the VM's id as a person reads it.
        command: what was asked, such as ``guest-fsfreeze-status``.
        message: what happened, and what it means, without a full stop at its end.
        seconds: how long it took.
        next_step: what a person can do about it, a sentence; empty if nothing.
    """

    def __init__(
        self, vm: str, command: str, message: str, seconds: float = 0.0, next_step: str = ""
    ) -> None:
        self.vm = vm
        self.command = command
        self.seconds = seconds
        self.next_step = next_step
        text = f"{vm}: {command}: {message} (after {seconds:.1f} s)"
        super().__init__(f"{text}. {next_step}" if next_step else text)


class AgentTimeout(AgentError):
    """The deadline passed without an answer; the command may still run."""


class CommandFailed(AgentError):
    """The agent answered with an error; the other arguments are as `AgentError` has them.

    Args:
        error_class: the protocol's class, such as ``CommandNotFound``.
        desc: the guest's own words, already safe to show.
    """

    def __init__(
        self, vm: str, command: str, error_class: str, desc: str, seconds: float = 0.0
    ) -> None:
        self.error_class = error_class
        self.desc = desc
        super().__init__(vm, command, f"the agent answered {error_class}: {desc}", seconds)


class ChannelBroken(AgentError):
    """The byte stream ended or failed: QEMU has gone, or dropped us."""


class CommandLost(AgentError):
    """The command will not be answered any more; the other arguments are as `AgentError` has them.

    Args:
        cause: why, as far as it is known.
    """

    def __init__(self, vm: str, command: str, cause: Cause, seconds: float = 0.0) -> None:
        self.cause = cause
        super().__init__(vm, command, f"lost ({cause}): it will not be answered", seconds)


class ProtocolViolation(AgentError):
    """The guest sent what is no protocol: too long, too deep, no JSON, the wrong type."""
