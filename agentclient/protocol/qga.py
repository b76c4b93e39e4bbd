"""The agent's wire: bytes in, replies out. No socket and no clock in here.

Every rule of protocol §1.1, §1.2 and §2 has its home in this file:

- one JSON object a line, nothing else, no greeting (§1.1);
- nothing but a sync is written until a sync was answered: only that proves that the channel is
  ours (§1.2);
- a sync is 0xFF and ``guest-sync-delimited`` with a fresh random id; everything that comes before
  0xFF and a reply with that id was meant for somebody else, or is an answer that we still wait
  for (§2.1, §2.2);
- any other 0xFF is a byte of its line: a guest's error texts need not be UTF-8;
- the agent answers in the order in which it was asked (§3.1), so an answer to a later request
  means that the earlier ones will not be answered any more;
- requests carry an id only for agents that are known to take one (§2.4); an answer without an id
  to the only request in flight is its answer;
- what comes is untrusted: lines and nesting are capped, any type can be anywhere (§2.6).
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agentclient.model.text import printable

DEFAULT_MAX_LINE: Final = 8 * 1024 * 1024
DEFAULT_MAX_DEPTH: Final = 64
LARGEST_ID: Final = 2**53
# Commas and brackets of one line: more than any real answer has, and what fits into memory.
MAX_ELEMENTS: Final = 500_000
# How many dropped lines one feed tells singly.
MOST_DROPS: Final = 100
# So many bytes that answer nothing, in a row, are a flood; a short line costs as much as this many.
MOST_NOISE: Final = 8 * 1024 * 1024
NOISE_OF_A_LINE: Final = 256
# The least seconds between two reads of a channel on which nothing but noise comes.
SLOWLY_S: Final = 0.05
_MOST_REFUSALS: Final = 8
# Of the time that reading noise takes, this many times is spent on not reading it.
_REST: Final = 9
# A sync's reply is shorter than this, also where it ends a line that is too long.
_LONGEST_SYNC_REPLY: Final = 256
SENTINEL: Final = b"\xff"
PROVOKED: Final = "the error that our sync's leading 0xFF provokes"
# How many requests that were passed over are remembered, so that a late reply still finds its home.
_REMEMBERED = 64

# A string that is never closed reaches to the line's end, and nothing is tried twice: otherwise a
# guest could keep us busy for hours with one line of quotes and backslashes.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_ROUND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def pause_s(took_s: float) -> float:
    """Return for how long a noisy channel should not be read, so that it keeps nobody busy.

    Args:
        took_s: seconds that reading it took just now.
    """
    return max(SLOWLY_S, _REST * took_s)


class NotSynced(Exception):
    """A request was to be written before the channel was known to be ours: a bug of the caller."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A request was answered with a value of whatever type the guest chose."""

    ticket: int
    value: object


@dataclass(frozen=True, slots=True)
class Failure:
    """A request was answered with an error; class and text are safe to show."""

    ticket: int
    error_class: str
    desc: str


@dataclass(frozen=True, slots=True)
class Synced:
    """A sync was answered: the channel is ours, and everything before it has been read."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Passed:
    """A later request was answered before this one: it is presumed never to be answered."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something came that answers none of our requests, or that is no protocol.

    Attributes:
        text: what it was, for the log.
        violation: it breaks the protocol's rules, and is no mere leftover of another client.
    """

    text: str
    violation: bool = False


WireEvent = Reply | Failure | Synced | Passed | Dropped


@dataclass(slots=True)
class _Waiting:
    ticket: int
    sync_id: int | None = None
    plain: bool = False
    tagged: bool = False


def random_id() -> int:
    """Return a fresh sync id in 1…2^53; 2^63 would be refused (protocol §2.3)."""
    return random.SystemRandom().randint(1, LARGEST_ID)


class AgentWire:
    """One conversation with an agent, as bytes.

    The caller names each request by a ticket, a number of its own; the events that `feed` returns
    name it again. Tickets must not be used twice in one conversation.

    Args:
        max_line: the longest line in bytes that is looked at; a longer one is dropped up to its
            end and told as a violation, so that a thaw can still be sent behind it.
        max_depth: how deep arrays and objects may be nested.
        new_id: gives the sync ids.
        plain: the agent is not to be sent 0xFF, nor the sync that goes with it: some end at that,
            and some may not take it.
    """

    def __init__(
        self,
        *,
        max_line: int = DEFAULT_MAX_LINE,
        max_depth: int = DEFAULT_MAX_DEPTH,
        new_id: Callable[[], int] = random_id,
        plain: bool = False,
    ) -> None:
        self._max_line = max_line
        self._max_depth = max_depth
        self._new_id = new_id
        self._buffer = bytearray()
        self._length = 0
        self._tail = bytearray()
        self._noise = 0
        self._syncs = 0
        self.plain = plain
        """Whether syncs go without 0xFF; learned where nothing but such a one is answered."""
        self.refusals: list[tuple[str, str]] = []
        """Errors (class, text) that came before a sync was answered; the first few."""
        self._waiting: deque[_Waiting] = deque()
        self._passed: dict[int, None] = {}
        # Another client's requests may carry ids as well: ours can't be taken for them.
        self._prefix = f"fw{new_id():x}"
        self.tags: bool | None = None
        """Whether the agent takes ids; None until a tagged request was answered."""
        self.owned = False
        """Whether a sync of ours was ever answered on this channel."""

    @property
    def overlong(self) -> str | None:
        """What is wrong with the line that is coming just now: it is too long; None if it isn't."""
        if self._length <= self._max_line:
            return None
        return f"a line of {self._length} bytes and more (limit {self._max_line})"

    @property
    def noisy(self) -> bool:
        """Whether nothing but noise comes, maybe without end: see `pause_s`."""
        return self._noise > MOST_NOISE or self._length > self._max_line

    @property
    def flood(self) -> str | None:
        """What is wrong with a channel of ours that is `noisy`; None if it is not ours, or quiet.

        On one that is not proven to be ours it may be what others have left.
        """
        if not self.owned or not self.noisy:
            return None
        return self.overlong or f"{self._noise} bytes in a row that are no answer"

    @property
    def unfinished(self) -> bool:
        """Whether a line has begun and has not ended."""
        return self._length > 0

    @property
    def waiting(self) -> tuple[int, ...]:
        """The tickets of the requests that are not answered yet, oldest first."""
        return tuple(item.ticket for item in self._waiting)

    def sync(self, ticket: int) -> bytes:
        """Return the bytes that (re)synchronise the channel.

        The leading 0xFF provokes an error line that has no id. Where a request without an id is
        still outstanding, that line could be taken for its answer, so there the sync goes without
        it: on a channel that has been ours all the time no half line can stand before it.

        As long as none is answered, every second one is plain ``guest-sync``, which proves as much:
        some agents end at 0xFF, or do not take ``guest-sync-delimited``.
        """
        self._syncs += 1
        if self.plain or (not self.owned and self._syncs % 2 == 0):
            return self._plain_sync(ticket)
        ambiguous = any(not (item.tagged or item.sync_id) for item in self._waiting)
        sync_id = self._new_id()
        self._waiting.append(_Waiting(ticket, sync_id=sync_id))
        body = {"execute": "guest-sync-delimited", "arguments": {"id": sync_id}}
        return _line(body) if ambiguous else SENTINEL + _line(body)

    def _plain_sync(self, ticket: int) -> bytes:
        sync_id = self._new_id()
        self._waiting.append(_Waiting(ticket, sync_id=sync_id, plain=True))
        return _line({"execute": "guest-sync", "arguments": {"id": sync_id}})

    def request(
        self,
        ticket: int,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        tag: bool | None = None,
    ) -> bytes:
        """Return the bytes that ask `command`.

        Args:
            ticket: the caller's number for it.
            command: the agent's command.
            arguments: its arguments.
            tag: whether it carries an id; None as the agent is known to take one.

        Raises:
            NotSynced: no sync was answered yet on this channel.
        """
        if not self.owned:
            raise NotSynced(command)
        tagged = bool(self.tags) if tag is None else tag
        body: dict[str, object] = {"execute": command}
        if arguments:
            body["arguments"] = dict(arguments)
        if tagged:
            body["id"] = f"{self._prefix}.{ticket}"
        self._waiting.append(_Waiting(ticket, tagged=tagged))
        return _line(body)

    def feed(self, data: bytes) -> list[WireEvent]:
        """Take bytes that came, and return what they mean."""
        events: list[WireEvent] = []
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._grow(end)
            self._end_of_line(events)
        self._grow(rest)
        return _without_flood(events)

    def _grow(self, data: bytes) -> None:
        if self._length + len(data) <= self._max_line:
            self._buffer += data
        else:
            if self._buffer:
                self._keep_tail(self._buffer)
                self._buffer.clear()
            self._keep_tail(data)
        self._length += len(data)

    def _keep_tail(self, data: bytes | bytearray) -> None:
        """Of a line that is too long only what may be a sync's reply at its end is kept."""
        at = data.rfind(SENTINEL)
        if at >= 0:
            self._tail = bytearray(data[at : at + _LONGEST_SYNC_REPLY])
        elif self._tail:
            self._tail += data[: _LONGEST_SYNC_REPLY - len(self._tail)]

    def _end_of_line(self, events: list[WireEvent]) -> None:
        length, line, tail = self._length, bytes(self._buffer), bytes(self._tail)
        self._length = 0
        self._buffer.clear()
        self._tail.clear()
        if length > self._max_line:
            reply = tail.rpartition(SENTINEL)[2]
            ours = self._sync_answered(reply)
            length -= len(SENTINEL + reply) if ours else 0
            text = f"a line of {length} bytes (limit {self._max_line})"
            self._drop(events, text, length, violation=True)
            if ours:
                self._synced(ours, events)
        elif line.strip():
            self._torn_or_whole(line.strip(), events)

    def _torn_or_whole(self, line: bytes, events: list[WireEvent]) -> None:
        """Take a line, and what a sync's sentinel cut off before it."""
        head, sentinel, reply = line.rpartition(SENTINEL)
        item = self._sync_answered(reply) if sentinel else None
        if item is None:
            self._line(line, events)
            return
        if head.strip(SENTINEL):
            text = f"half a line: {printable(head.strip(SENTINEL)[:200], 120)}"
            self._drop(events, text, len(head))
        self._synced(item, events)

    def _sync_answered(self, reply: bytes) -> _Waiting | None:
        """Return the sync of ours that `reply`, behind a sentinel, answers; None if none."""
        if len(reply) >= _LONGEST_SYNC_REPLY or not any(one.sync_id for one in self._waiting):
            return None
        _, message = _parse(reply, self._max_depth)
        value = message.get("return")
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return next((one for one in self._waiting if one.sync_id == value), None)

    def _synced(self, item: _Waiting, events: list[WireEvent]) -> None:
        skipped = any(one.sync_id and not one.plain for one in self._before(item))
        self.plain = self.plain or (item.plain and skipped)
        self.owned = True
        self._noise = 0
        self._pass_before(item, events)
        events.append(Synced(item.ticket))

    def _before(self, item: _Waiting) -> list[_Waiting]:
        return list(itertools.takewhile(lambda one: one is not item, self._waiting))

    def _plain_sync_answered(self, message: Mapping[str, object]) -> _Waiting | None:
        value = message.get("return")
        if not isinstance(value, int) or isinstance(value, bool) or "id" in message:
            return None
        waiting = (one for one in self._waiting if one.plain and one.sync_id == value)
        return next(waiting, None)

    def _drop(
        self, events: list[WireEvent], text: str, length: int, *, violation: bool = False
    ) -> None:
        self._noise += max(length, NOISE_OF_A_LINE)
        events.append(Dropped(text, violation))

    def _line(self, line: bytes, events: list[WireEvent]) -> None:
        delimited = line.startswith(SENTINEL)
        problem, message = _parse(line.lstrip(SENTINEL), self._max_depth)
        if problem is not None:
            problem, message = self._behind_a_torn_one(line, problem)
        if problem is not None:
            # Before a sync was answered it may be what the sentinel of another's has cut off.
            self._drop(events, problem, len(line), violation=self.owned or SENTINEL not in line)
            return
        if delimited and not self.owned and isinstance(message.get("return"), int):
            # Also a previous client's sync reply begins with 0xFF (protocol §2.1).
            self._drop(events, "a sync reply with another id", len(line))
            return
        if not ("return" in message or "error" in message):
            text = f"no reply: {printable(line[:200], 120)}"
            self._drop(events, text, len(line), violation=True)
            return
        sync = self._plain_sync_answered(message)
        if sync is not None:
            self._synced(sync, events)
            return
        item = self._addressee(message)
        if item is None:
            self._remember_refusal(message)
            self._drop(events, self._why_dropped(message), len(line))
            return
        self._noise = 0
        self._pass_before(item, events)
        events.append(_answer(item.ticket, message))
        if item.tagged and "id" in message:
            self.tags = True
        elif item.tagged and "return" in message and self.tags is None:
            self.tags = False

    def _behind_a_torn_one(self, line: bytes, problem: str) -> tuple[str | None, dict[str, object]]:
        """Look for an answer of ours whose line was begun by something that never ended.

        Only one with an id of ours is believed: what it says can't be a part of another answer.
        """
        for start in (b'{"return"', b'{"error"'):
            at = line.rfind(start)
            if at > 0:
                wrong, message = _parse(line[at:], self._max_depth)
                if wrong is None and "id" in message and self._addressee(message) is not None:
                    return None, message
        return problem, {}

    def _remember_refusal(self, message: Mapping[str, object]) -> None:
        if "error" in message and "id" not in message and not self.owned:
            error = _answer(0, message)
            if isinstance(error, Failure) and len(self.refusals) < _MOST_REFUSALS:
                self.refusals.append((error.error_class, error.desc))

    def _why_dropped(self, message: Mapping[str, object]) -> str:
        syncing = any(item.sync_id is not None for item in self._waiting)
        if syncing and "error" in message and "id" not in message:
            return PROVOKED
        return f"not ours: {_gist(message)}"

    def _addressee(self, message: Mapping[str, object]) -> _Waiting | None:
        """Find the request that this message answers."""
        if not self.owned:
            return None
        if "id" in message:
            return self._tagged(message["id"])
        head = next((item for item in self._waiting if item.sync_id is None), None)
        if head is None:
            return None
        if head.tagged:
            # An agent before 4.0 refuses an id, in an error that has none (protocol §2.4); others
            # ignore it. With nothing else in flight it is clear whom the answer is for.
            return head if len(self._waiting) == 1 else None
        if "error" in message and not self._is_first(head):
            # A sync stands before it: this is the line that its leading 0xFF provoked (§2.1).
            return None
        return head

    def _is_first(self, item: _Waiting) -> bool:
        return self._waiting[0] is item

    def _tagged(self, tag: object) -> _Waiting | None:
        prefix, _, number = tag.partition(".") if isinstance(tag, str) else ("", "", "")
        if prefix != self._prefix or not number.isdecimal():
            return None
        ticket = int(number[:18])
        for item in self._waiting:
            if item.tagged and item.ticket == ticket:
                return item
        if ticket in self._passed:
            del self._passed[ticket]
            return _Waiting(ticket, tagged=True)
        return None

    def _pass_before(self, item: _Waiting, events: list[WireEvent]) -> None:
        """Remove `item` from the queue, and tell what stood before it as passed over."""
        if not any(other is item for other in self._waiting):
            return
        while (head := self._waiting.popleft()) is not item:
            events.append(Passed(head.ticket))
            if head.tagged:
                self._passed[head.ticket] = None
                while len(self._passed) > _REMEMBERED:
                    del self._passed[next(iter(self._passed))]


def _without_flood(events: list[WireEvent]) -> list[WireEvent]:
    """Keep the first few of the drops of one feed, and one that counts the rest."""
    drops = sum(isinstance(event, Dropped) for event in events)
    if drops <= MOST_DROPS:
        return events
    kept: list[WireEvent] = []
    room = MOST_DROPS
    for event in events:
        room -= isinstance(event, Dropped)
        if room >= 0 or not isinstance(event, Dropped):
            kept.append(event)
    kept.append(Dropped(f"{drops - MOST_DROPS} more lines that are no answers", violation=True))
    return kept


def _line(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes, max_depth: int) -> tuple[str | None, dict[str, object]]:
    """Return a problem, or None and the object that `line` holds."""
    if line.count(b",") + line.count(b"[") + line.count(b"{") > MAX_ELEMENTS:
        return f"a line of more than {MAX_ELEMENTS} elements", {}
    if not _shallow(line, max_depth):
        return f"a line nested deeper than {max_depth}", {}
    try:
        message = json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return f"no JSON: {printable(line[:200], 120)}", {}
    if not isinstance(message, dict):
        return f"no JSON object: {printable(line[:200], 120)}", {}
    return None, message


def _shallow(line: bytes, max_depth: int) -> bool:
    """Return whether `line` is nested `max_depth` deep at the most; of unclosed ones all count."""
    if line.count(b"[") + line.count(b"{") <= max_depth:
        return True
    brackets = _STRING.sub(b"", line).translate(_ROUND, _NO_BRACKETS)
    # Each round takes away the innermost pairs; much faster than counting in a loop of our own.
    too_deep = b"[" * (max_depth + 1)
    for depth in range(max_depth):
        if too_deep in brackets:
            return False
        left = brackets.replace(b"[]", b"")
        if len(left) == len(brackets):
            return depth + left.count(b"[") <= max_depth
        brackets = left
    return b"[" not in brackets


def _answer(ticket: int, message: Mapping[str, object]) -> Reply | Failure:
    if "error" not in message:
        return Reply(ticket, message.get("return"))
    error = message["error"]
    if not isinstance(error, dict):
        return Failure(ticket, "GenericError", printable(error))
    return Failure(
        ticket,
        printable(error.get("class", "GenericError"), 60),
        printable(error.get("desc", "no description")),
    )


def _gist(message: Mapping[str, object]) -> str:
    return printable(json.dumps(message, ensure_ascii=False)[:400], 160)
