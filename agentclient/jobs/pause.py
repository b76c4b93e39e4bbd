"""Pauses a VM around a copy, and lets it go on; for a guest without an agent.

A process of its own lets it go on if this one is killed, or stopped for longer than a window may
last. It shares the connection by which the VM is paused: a monitor serves one client at a time, so
that one who is stopped in a visit would keep it out.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from agentclient.access.qmp_session import MonitorError
from agentclient.jobs import pause_guard
from agentclient.jobs.block import BlockLayer
from agentclient.jobs.context import JobContext
from agentclient.jobs.disk_port import IO_ERROR
from agentclient.jobs.errors import JobFailed, JobRefused
from agentclient.model.job import JobRefusal
from agentclient.model.states import Level

_TRIES: Final = 5
_EVERY_S: Final = 1.0
_STARTS_WITHIN_S: Final = 10.0
_ENDS_WITHIN_S: Final = 5.0
# What a process that is not stopped does sooner.
_LATE_S: Final = 2.0


@contextmanager
def paused(context: JobContext, most_s: float, why: str = "no agent runs") -> Iterator[None]:
    """Pause the VM for the block; it goes on after it, whatever happens.

    A VM that was paused before stays so.

    Args:
        context: the copy's collaborators.
        most_s: for how long, in seconds: it goes on soon after that, also if we are stopped.
        why: why it is paused, as a clause.

    Raises:
        JobRefused: nobody could stand by to let it go on.
        JobFailed: it can't be paused.
    """
    block = context.block()
    if not runs(block):
        context.reporter.note(Level.INFO, "the VM is paused already, and stays so")
        yield
        return
    with block.held() as connection, _Guard(context, most_s + _LATE_S, connection) as guard:
        context.reporter.note(Level.INFO, f"{why}: the VM is paused for the copy")
        guard.tell(pause_guard.ARMED)
        try:
            block.run("stop")
            guard.check()
            yield
        finally:
            if _go_on(context, block):
                guard.tell(pause_guard.DONE)


class _Guard:
    """The process that lets the VM go on if we are killed, or stopped for too long.

    Args:
        context: the copy's collaborators.
        most_s: for how long the VM may be paused, in seconds.
        connection: the descriptor of the connection to its monitor, which the process shares.
    """

    def __init__(self, context: JobContext, most_s: float, connection: int) -> None:
        self._context = context
        self._most_s = most_s
        self._connection = connection
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> _Guard:
        vm, process = self._context.vm, self._context.access.process
        assert vm.monitor is not None, "a VM is paused through its monitor"
        program = [sys.executable, "-I", "-S", str(Path(pause_guard.__file__))]
        served_by = 0 if process is None or vm.monitor_peer is not None else process.pid
        shared = self._connection
        words = [str(vm.monitor.path), str(served_by), f"{self._most_s:.3f}", str(shared)]
        try:
            self._process = subprocess.Popen(
                [*program, *words],
                pass_fds=[shared],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                cwd="/",
            )
        except (OSError, MemoryError) as error:
            raise _nobody(str(error) or "no memory is left") from None
        output = self._process.stdout
        if output is None or not _readable(output) or output.readline() != pause_guard.READY:
            self._process.kill()
            self.__exit__()
            raise _nobody("the process that is to let it go on did not start")
        return self

    def tell(self, word: str) -> None:
        """Tell the process what has happened; it may have been killed."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(word)
                self._process.stdin.flush()

    def check(self) -> None:
        """Make sure that it stands by still: we may have been stopped before the VM was paused.

        Raises:
            JobFailed: it does not.
        """
        if self._process is not None and self._process.poll() is not None:
            raise JobFailed("nobody stands by any more to let the VM go on: it was not copied")

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS_WITHIN_S)


def _readable(output: IO[str]) -> bool:
    found, _, _ = select.select([output], [], [], _STARTS_WITHIN_S)
    return bool(found)


def _nobody(why: str) -> JobRefused:
    reason = f"nobody can stand by to let the VM go on if frostwatch is killed: {why}"
    return JobRefused(JobRefusal.NOT_BEGUN, reason)


def runs(block: BlockLayer) -> bool:
    """Return whether the VM's processors run.

    Raises:
        JobFailed: the monitor does not answer.
    """
    status = block.run("query-status")
    return isinstance(status, dict) and status.get("running") is True


def resume_after_error(context: JobContext) -> None:
    """Let a VM go on that has stopped at an error of a storage, once its copy is given up.

    What the guest wrote while a backup's file was full fails as well, and has the VM stop; without
    the backup the same write succeeds. One whose own storage is full stops again.

    Args:
        context: the copy's collaborators; its jobs have ended.
    """
    if context.access.is_gone():
        return
    try:
        port = context.port()
        if port.status() != IO_ERROR:
            return
        port.go_on()
    except (JobFailed, JobRefused) as error:
        text = f"if the VM has stopped at an error (io-error), it has to be resumed: {error}"
        context.reporter.note(Level.WARNING, text)
        return
    text = "the VM had stopped at an error of a storage (io-error): it goes on without the copy"
    context.reporter.note(Level.WARNING, text)


def _go_on(context: JobContext, block: BlockLayer) -> bool:
    """Let the VM go on; return whether it does. If not, the guard goes on trying."""
    problem = ""
    for _ in range(_TRIES):
        try:
            block.run("cont")
        except JobFailed as error:
            problem = str(error)
            if _has_broken(error):
                block.let_go()
            context.control.cancelled.wait(_EVERY_S)
        else:
            return True
    text = (
        f"THE VM IS STILL PAUSED ({problem}); its guard goes on trying. NEXT: {_command(context)}"
    )
    context.reporter.note(Level.ERROR, text)
    return False


def _has_broken(error: JobFailed) -> bool:
    """Whether the connection to the monitor has ended; else QEMU runs yet what was asked."""
    cause = error.__cause__
    return isinstance(cause, MonitorError) and not cause.late


def _command(context: JobContext) -> str:
    assert context.vm.monitor is not None, "a VM is paused through its monitor"
    return f"send cont to its monitor, {os.fspath(context.vm.monitor.path)}"
