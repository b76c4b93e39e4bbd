"""What other processes ask of a holder: how a guest stands, to thaw it, to hold it for longer.

Nothing in here may keep the holder from a thaw: no call waits, an error costs its asker alone, and
where no socket or descriptor can be had, nobody is answered. Who connects, and who may, is the
business of `agentclient.holder.request_listener`.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from agentclient.holder.armed_guest import ArmedGuest, State
from agentclient.holder.messages import (
    REQUEST_VERSION,
    Body,
    HolderMessage,
    HolderRequest,
    number,
    receive,
    refused,
    send,
    text,
)
from agentclient.holder.request_listener import Accepted, RequestListener
from agentclient.model.text import printable

# Descriptors that others may take of the holder's reserve; more may connect while more are free.
MOST_ASKERS: Final = 4
# So many of those who ask are heard in one turn of the holder's loop: a flood delays no thaw.
MOST_IN_A_TURN: Final = 8
# Who connects and asks nothing is not listened to for longer than this, in seconds.
IDLE_S: Final = 5.0


@dataclass(slots=True)
class Asker:
    """Another process that is connected.

    Attributes:
        connection: to it.
        pid: its process.
        uid: its user.
        user: that user's name, as it says; it is the holder's own user or root.
        since: when it has connected, or asked last (monotonic clock).
        thaws: the key of the guest whose thaw it waits for; None if it waits for none.
        extends: the key of the guest whose new end it waits for; None if it waits for none.
        attached: the key of the guest whose console it is now; None if of none.
    """

    connection: socket.socket
    pid: int
    uid: int
    since: float
    user: str = ""
    thaws: str | None = None
    extends: str | None = None
    attached: str | None = None

    @property
    def waits(self) -> bool:
        """Whether it has asked for something that is still to come."""
        return (self.thaws or self.extends or self.attached) is not None

    @property
    def who(self) -> str:
        """Its user and its process, in words. No name service is asked: it may hang."""
        return f"{'root' if self.uid == 0 else self.user or f'user {self.uid}'} (pid {self.pid})"


@dataclass(frozen=True, slots=True)
class HolderActions:
    """What the holder does for others.

    Attributes:
        take_over: begins the holder's own thaw of a guest, for a reason.
        ask_console: passes a message to the holder's own console; False if that has gone, or does
            not act (it is stopped).
        changed: is called with a guest that others have changed, what has happened, and by how many
            seconds its window ends later.
        is_spare: returns whether a descriptor is none of those that are kept for thaws.
    """

    take_over: Callable[[ArmedGuest, str], None]
    ask_console: Callable[[Body], bool]
    changed: Callable[[ArmedGuest, str, float], None]
    is_spare: Callable[[int], bool]


class OutsideRequests:
    """Answers other processes.

    Args:
        selector: where sockets are registered, with the method to call as data.
        guests: the guests of the holder, by their keys.
        actions: what the holder does.
        console: the process of the holder's own console.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        guests: Mapping[str, ArmedGuest],
        actions: HolderActions,
        console: int,
    ) -> None:
        self._selector = selector
        self._guests = guests
        self._actions = actions
        self._console = console
        self._listener = RequestListener()
        self._ready: select.epoll | None = None  # who has asked something
        self._askers: list[Asker] = []

    def open(self) -> None:
        """Answer others from now on, if they can be heard."""
        try:
            self._ready = select.epoll()
        except OSError:
            return
        self._selector.register(self._ready, selectors.EVENT_READ, self._hear_some)
        self._listener.open()
        if self._listener.listens:
            self._selector.register(self._listener.wakeup, selectors.EVENT_READ, self._take)

    def tick(self, now: float) -> None:
        """Hang up on who asks nothing."""
        for asker in [one for one in self._askers if not one.waits]:
            if now - asker.since > IDLE_S:
                self._hang_up(asker)

    def held(self, guest: ArmedGuest) -> None:
        """Answer who waits for the guest's new end, since its console has told it."""
        for asker in [one for one in self._askers if one.extends == guest.key]:
            asker.extends = None
            self._send(asker, self._answer(guest, None))

    def ended(self, key: str, report: Body, *, own: bool) -> None:
        """Tell who waits for it that the holder has a guest no more.

        Args:
            key: the guest's.
            report: what came of the thaw, as far as that is known.
            own: it was the holder's own thaw; else the console has thawed it, or the VM has gone.
        """
        for asker in [one for one in self._askers if key in (one.thaws, one.attached, one.extends)]:
            self._send(asker, {**report, "say": HolderMessage.DONE, "own": own})
            self._hang_up(asker)

    def close(self) -> None:
        """Answer nobody any more."""
        for asker in list(self._askers):
            self._hang_up(asker)
        if self._listener.listens:
            self._selector.unregister(self._listener.wakeup)
        self._listener.close()
        if self._ready is not None:
            self._selector.unregister(self._ready)
            self._ready.close()
            self._ready = None

    # -- who asks -----------------------------------------------------------------------------

    def _take(self, _events: int) -> None:
        for each in self._listener.take():
            self._begin(each)

    def _begin(self, accepted: Accepted) -> None:
        """Hear somebody who has connected, if there is room for that."""
        connection, who = accepted
        crowded = len(self._askers) >= MOST_ASKERS
        if crowded and not self._actions.is_spare(connection.fileno()):
            why = f"it talks to {len(self._askers)} other processes, and has no descriptor to spare"
            with suppress(OSError):
                send(connection, refused(f"{why}: try again"))
            connection.close()
            return
        try:
            assert self._ready is not None, "nobody is let in before"
            self._ready.register(connection.fileno(), select.EPOLLIN)
        except OSError:
            connection.close()
            return
        self._askers.append(Asker(connection, who.pid, who.uid, time.monotonic()))

    def _hang_up(self, asker: Asker) -> None:
        if self._ready is not None:
            with suppress(OSError, ValueError):
                self._ready.unregister(asker.connection.fileno())
        asker.connection.close()
        with suppress(ValueError):
            self._askers.remove(asker)
        guest = self._guests.get(asker.attached or "")
        if guest is not None and guest.state is State.RELAYED:
            self._actions.changed(guest, f"left again by the console of {asker.who}", 0.0)

    # -- what is asked ------------------------------------------------------------------------

    def _hear_some(self, _events: int) -> None:
        """Hear a few of those who have asked; the others come next: the kernel takes turns."""
        assert self._ready is not None, "it is closed with all who ask"
        ready = {fd for fd, _ in self._ready.poll(0, MOST_IN_A_TURN)}
        for asker in [one for one in self._askers if one.connection.fileno() in ready]:
            self._hear(asker)

    def _hear(self, asker: Asker) -> None:
        try:
            message = receive(asker.connection)
        except BlockingIOError:
            return
        except OSError:
            message = None
        if message is None:
            self._hang_up(asker)
            return
        body, descriptors = message
        for each in descriptors:
            with suppress(OSError):
                os.close(each)
        asker.since = time.monotonic()
        asker.user = printable(text(body, "user"), 60)
        try:
            answer = self._obey(asker, body)
        except Exception as error:  # noqa: BLE001 - P8: a bug costs this request alone
            answer = refused(f"the holder failed: {error!r}")
        if answer is not None:
            self._send(asker, answer)

    def _obey(self, asker: Asker, body: Body) -> Body | None:
        """Carry out a request; return the answer, None if it comes later."""
        if body.get("version") != REQUEST_VERSION:
            return refused("it is of another version of frostwatch")
        guest = self._asked_for(body)
        if guest is None:
            return refused("it has no such guest, or has it no more")
        match body.get("ask"):
            case HolderRequest.LOOK:
                return self._answer(guest, None)
            case HolderRequest.THAW:
                self._thaw(asker, guest)
                return None
            case HolderRequest.EXTEND:
                why = self._extend(asker, guest, number(body, "seconds"))
                return None if asker.extends is not None else self._answer(guest, why)
            case HolderRequest.ATTACH:
                return self._answer(guest, self._attach(asker, guest))
        return refused("it does not know what this means: it is of an older frostwatch")

    def _asked_for(self, body: Body) -> ArmedGuest | None:
        """Return the guest of a request: by its window, or by its agent's socket and its name."""
        window = text(body, "window")
        for guest in self._guests.values():
            if window and text(guest.body, "window") == window:
                return guest
        for guest in self._guests.values():
            same = text(guest.body, "agent") == text(body, "agent")
            if not window and same and guest.name == text(body, "vm"):
                return guest
        return None

    def _thaw(self, asker: Asker, guest: ArmedGuest) -> None:
        asker.thaws = guest.key
        self._send(asker, self._answer(guest, None))
        if guest.state in (State.THAWING, State.DONE):
            return
        ask = {"ask": HolderRequest.THAW, "by": asker.who}
        if not guest.kept and self._ask_console(guest, ask):
            return
        self._actions.take_over(guest, f"{asker.who} has asked to thaw it now")

    def _extend(self, asker: Asker, guest: ArmedGuest, seconds: float) -> str | None:
        """Hold a guest for longer, or let its console do it; return why not."""
        now = time.monotonic()
        if not guest.window_open or guest.state is not State.RELAYED:
            return "there is no open window that could be held for longer"
        if not 0.0 < seconds < float("inf"):
            return "a window is held for longer than 0 s more, and not for ever"
        if guest.room_s <= 0.0:
            return "it is held for as long as a window may be already"
        if guest.kept:
            more_s = guest.extend(seconds)
            what = f"held for {more_s:.0f} s more, as {asker.who} has asked"
            self._actions.changed(guest, what, more_s)
            for other in self._askers:
                if other.attached == guest.key and other is not asker:
                    self._send(other, self._answer(guest, None))
            return None
        ask = {"ask": HolderRequest.EXTEND, "seconds": seconds, "by": asker.who}
        if not self._ask_console(guest, ask):
            left = max(0.0, guest.ends_at - now)
            stopped = f"its console (pid {self._console}) is stopped, or does not act"
            return f"{stopped}: its holder thaws it in {left:.0f} s"
        asker.extends = guest.key
        return None

    def _attach(self, asker: Asker, guest: ArmedGuest) -> str | None:
        """Let another process be the guest's console; return why not."""
        if guest.state is not State.RELAYED:
            return "it is being thawed already"
        if not guest.kept:
            return f"its console (pid {self._console}) has not left it"
        owner = next((one for one in self._askers if one.attached == guest.key), None)
        if owner is not None and owner is not asker:
            return f"another console, of {owner.who}, has attached to it"
        asker.attached = guest.key
        self._actions.changed(guest, f"attached to by another console, of {asker.who}", 0.0)
        return None

    def _ask_console(self, guest: ArmedGuest, ask: Body) -> bool:
        return self._actions.ask_console({"say": HolderMessage.ASKED, "key": guest.key, **ask})

    # -- answers ------------------------------------------------------------------------------

    def _answer(self, guest: ArmedGuest, why: str | None) -> Body:
        owner = next((one.pid for one in self._askers if one.attached == guest.key), None)
        ends_s = guest.ends_at - time.monotonic() if guest.window_open else None
        return {
            "say": HolderMessage.ACK,
            "done": why is None,
            "why": why,
            "version": REQUEST_VERSION,
            "state": guest.state,
            "kept": guest.kept,
            "ends_s": ends_s,
            "room_s": guest.room_s,
            "window": text(guest.body, "window"),
            "console": self._console,
            "attached": owner,
        }

    def _send(self, asker: Asker, body: Body) -> None:
        with suppress(OSError):  # it does not read, or has gone: receiving shows which
            send(asker.connection, body)
