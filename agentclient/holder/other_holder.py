"""The holder of another frostwatch, as this process asks it; blocking, each wait has a bound."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Final, NamedTuple, Self

from agentclient.access.host.other_holders import holders_for
from agentclient.access.host.peer import listener
from agentclient.access.host.process import owner_of, process_of, user_name
from agentclient.access.stream import wait_any
from agentclient.holder.messages import (
    REQUEST_VERSION,
    Body,
    HolderMessage,
    HolderRequest,
    number,
    receive,
    send,
    socket_name,
    text,
)
from agentclient.model.errors import FrostwatchError
from agentclient.model.snapshot import HeldBy
from agentclient.model.vm import Process, Vm

# How long a holder may take to answer, in seconds; its console may have to act first.
ANSWER_S: Final = 3.0
# Seconds until another try where many others wait to be heard.
_QUEUE_S: Final = 0.02


class NotAsked(FrostwatchError):
    """A holder of another frostwatch was not asked, or has refused; the text is one clause."""


class HeldWindow(NamedTuple):
    """A window in another frostwatch's care, as its holder tells it.

    Attributes:
        kept: its console has left it, and the holder holds it to its end.
        ends_at: when it ends (seconds of the monotonic clock); None if it is not open.
        room_s: by how many seconds it can be held longer, at the most.
        attached: the process that is its console now; None if none has attached to it.
    """

    kept: bool
    ends_at: float | None
    room_s: float
    attached: int | None


class OtherHolder:
    """A connection to the holder that has a guest for another frostwatch.

    Args:
        process: the holder.
        vm: the guest's VM.
        window: the key of the guest's window in the journal; None where that isn't known.

    Attributes:
        done: the report of its thaw, if that came while something else was asked; else None.

    Raises:
        NotAsked: it can't be reached, or is not what is connected to.
    """

    def __init__(self, process: Process, vm: Vm, window: str | None) -> None:
        self.pid = process.pid
        self.done: Body | None = None
        agent = str(vm.agent.path) if vm.agent is not None else ""
        user = user_name(os.getuid())
        self._guest = {"window": window or "", "agent": agent, "vm": str(vm.id), "user": user}
        self._connection = self._connected(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self, process: Process) -> socket.socket:
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise NotAsked(f"no descriptor is free to ask its holder: {error.strerror}") from error
        try:
            connection.setblocking(False)
            _connect(connection, process)
            who = listener(connection)
        except ConnectionRefusedError as error:
            connection.close()
            raise NotAsked(
                f"its holder (pid {self.pid}) takes no requests: it is of an older frostwatch, or "
                "runs in a container of its own"
            ) from error
        except OSError as error:  # its queue is full
            connection.close()
            why = error.strerror or "it does not answer"
            raise NotAsked(f"its holder (pid {self.pid}) can't be reached: {why}") from error
        if who.pid != process.pid:
            connection.close()
            raise NotAsked(
                f"the socket of its holder (pid {self.pid}) is served by another process "
                f"(pid {who.pid}): nothing was sent"
            )
        return connection

    def look(self) -> HeldWindow:
        """Ask how the window stands.

        Raises:
            NotAsked: it has not answered, or has no such guest.
        """
        return window_of(self.ask(HolderRequest.LOOK))

    def ask(self, request: HolderRequest, **more: float) -> Body:
        """Send a request, and return its answer.

        Raises:
            NotAsked: it was refused, or not answered within `ANSWER_S`.
        """
        body = {"ask": request, "version": REQUEST_VERSION, **self._guest, **more}
        with suppress(OSError):  # it has hung up: what it has said before tells why
            send(self._connection, body)
        answer = self._answer(time.monotonic() + ANSWER_S)
        if answer.get("done") is not True:
            why = text(answer, "why") or "it has refused"
            raise NotAsked(f"its holder (pid {self.pid}): {why}")
        return answer

    def _answer(self, until: float) -> Body:
        """Return the answer to a request, whatever else is told before it.

        Args:
            until: seconds of the monotonic clock.

        Raises:
            NotAsked: there is none by then, or the guest was thawed meanwhile.
        """
        while (left_s := until - time.monotonic()) > 0:
            answer = self.receive(left_s)
            said = answer.get("say") if answer is not None else None
            if answer is not None and said == HolderMessage.ACK:
                return answer
            if said == HolderMessage.DONE:
                self.done = answer
                raise NotAsked(f"its holder (pid {self.pid}) has thawed it meanwhile")
        raise NotAsked(
            f"its holder (pid {self.pid}) has not answered within {ANSWER_S:g} s: it, or its "
            "console, may be stopped"
        )

    def receive(self, timeout_s: float, *others: int) -> Body | None:
        """Return the next message; None if none came in time, or another descriptor is readable.

        Args:
            timeout_s: how long to wait, in seconds.
            others: descriptors that end the wait as well.

        Raises:
            NotAsked: the holder has ended.
        """
        if self._connection.fileno() not in wait_any(
            [self._connection.fileno(), *others], timeout_s
        ):
            return None
        try:
            message = self._received()
        except BlockingIOError:
            return None
        except OSError:
            message = None
        if message is None:
            raise NotAsked(f"its holder (pid {self.pid}) has ended meanwhile, or has hung up")
        body, descriptors = message
        for each in descriptors:
            os.close(each)
        return body

    def close(self) -> None:
        """Close the connection; a window that was attached to is kept to its end."""
        self._connection.close()

    def _received(self) -> tuple[dict[str, object], list[int]] | None:
        try:
            return receive(self._connection)
        except ConnectionResetError:
            # It has hung up with a request unread. The kernel says so once, before its messages.
            return receive(self._connection)


def _connect(connection: socket.socket, process: Process) -> None:
    """Connect; where many others wait to be heard, try again for a while.

    Raises:
        OSError: nobody listens, or too many wait.
    """
    until = time.monotonic() + ANSWER_S
    while True:
        try:
            connection.connect(socket_name(process))
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_QUEUE_S)
        else:
            return


def reach(held: HeldBy, vm: Vm) -> OtherHolder:
    """Connect to the holder that has a VM's guest for another frostwatch.

    Args:
        held: that frostwatch.
        vm: the VM.

    Raises:
        NotAsked: none can be reached, or none has this guest.
    """
    problem = NotAsked("no holder of it is found on this host")
    for process in _candidates(held):
        try:
            holder = OtherHolder(process, vm, held.key)
        except NotAsked as error:
            problem = error
            continue
        try:
            holder.look()
        except NotAsked as error:
            holder.close()
            problem = error
            continue
        return holder
    raise problem


def _candidates(held: HeldBy) -> list[Process]:
    """Return which processes may be a frostwatch's holder: none of another user's (P10).

    Anybody can give a process that name, and say on its command line whose holder it is.
    """
    found = holders_for(held.pid) if held.holder is None else [process_of(held.holder)]
    return [one for one in found if one is not None and owner_of(one.pid) == held.user]


def window_of(answer: Body) -> HeldWindow:
    """Return how a window stands, from a holder's answer."""
    attached = answer.get("attached")
    left = answer.get("ends_s")
    return HeldWindow(
        answer.get("kept") is True,
        time.monotonic() + float(left) if isinstance(left, int | float) else None,
        number(answer, "room_s"),
        attached if isinstance(attached, int) else None,
    )
