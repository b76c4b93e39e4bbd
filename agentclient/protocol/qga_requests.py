"""The requests of one channel that are not answered yet, in the order of their sending. Pure.

The agent answers in the order in which it was asked (protocol §3.1), so an answer to a later
request means that the earlier ones will not be answered any more.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import Final

from agentclient.protocol.qga_events import PassedOver

# How many requests that were passed over are remembered, so that a late reply is still recognised.
_REMEMBERED: Final = 64


@dataclass(slots=True, eq=False)
class Request:
    """A request that was sent.

    Attributes:
        ticket: the caller's number for it.
        sync_id: the id that a sync's reply repeats; None if it is no sync.
        plain: it is a sync without 0xFF.
        tagged: it carries an ``id``, which its answer repeats (protocol §2.4).
    """

    ticket: int
    sync_id: int | None = None
    plain: bool = False
    tagged: bool = False


class Requests:
    """The queue of what is not answered yet.

    Args:
        prefix: what our requests' ids begin with: another client's can't be taken for ours.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._waiting: deque[Request] = deque()
        self._passed_over: dict[int, None] = {}

    @property
    def tickets(self) -> tuple[int, ...]:
        """The tickets, oldest first."""
        return tuple(one.ticket for one in self._waiting)

    @property
    def syncing(self) -> bool:
        """Whether a sync is among them."""
        return any(one.sync_id is not None for one in self._waiting)

    @property
    def ambiguous(self) -> bool:
        """Whether an error without an id could be the answer to one of them."""
        return any(not (one.tagged or one.sync_id) for one in self._waiting)

    def add(self, request: Request) -> None:
        """Take a request that is about to be sent."""
        self._waiting.append(request)

    def tag(self, ticket: int) -> str:
        """Return the id that a request carries."""
        return f"{self._prefix}.{ticket}"

    def sync(self, value: object, *, plain: bool = False) -> Request | None:
        """Return the sync that `value` answers; None if it answers none.

        Args:
            value: what the agent returned.
            plain: only syncs without 0xFF count.
        """
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        found = (one for one in self._waiting if one.sync_id == value)
        return next((one for one in found if one.plain or not plain), None)

    def tagged(self, tag: object) -> Request | None:
        """Return the request that carries this id, also one that was passed over; else None."""
        prefix, _, number = tag.partition(".") if isinstance(tag, str) else ("", "", "")
        if prefix != self._prefix or not number.isdecimal():
            return None
        ticket = int(number[:18])
        for one in self._waiting:
            if one.tagged and one.ticket == ticket:
                return one
        if ticket in self._passed_over:
            del self._passed_over[ticket]
            return Request(ticket, tagged=True)
        return None

    def untagged(self, *, error: bool) -> Request | None:
        """Return the request that an answer without an id is for; None if that can't be told.

        Args:
            error: the answer is an error.
        """
        head = next((one for one in self._waiting if one.sync_id is None), None)
        if head is None:
            return None
        if head.tagged:
            # An agent before 4.0 refuses an id, in an error that has none (protocol §2.4); others
            # ignore it. With nothing else in flight it is clear whom the answer is for.
            return head if len(self._waiting) == 1 else None
        if error and self._waiting[0] is not head:
            # A sync stands before it: this is the line that its leading 0xFF provoked (§2.1).
            return None
        return head

    def before(self, request: Request) -> list[Request]:
        """Return what was sent before `request` and is not answered yet."""
        return list(itertools.takewhile(lambda one: one is not request, self._waiting))

    def answered(self, request: Request) -> list[PassedOver]:
        """Remove `request` from the queue; return what was sent before it, as passed over."""
        if not any(one is request for one in self._waiting):
            return []
        passed_over = []
        while (head := self._waiting.popleft()) is not request:
            passed_over.append(PassedOver(head.ticket))
            if head.tagged:
                self._passed_over[head.ticket] = None
                while len(self._passed_over) > _REMEMBERED:
                    del self._passed_over[next(iter(self._passed_over))]
        return passed_over
