"""The agent's wire: bytes in, events out. No socket and no clock in here.

Every rule of protocol §1.1, §1.2 and §2 is kept in this file and the three beside it
(`qga_lines`: framing; `qga_requests`: what is not answered yet; `qga_events`: what is handed out):

- nothing but a sync is written until a sync was answered: only that proves that the channel is
  ours (§1.2);
- a sync is 0xFF and ``guest-sync-delimited`` with a fresh random id; everything that comes before
  0xFF and a reply with that id answers another client, or is an answer that we still wait for
  (§2.1, §2.2);
- any other 0xFF is a byte of its line: a guest's error texts need not be UTF-8;
- requests carry an id only for agents that are known to take one (§2.4); an answer without an id
  to the only request in flight is its answer;
- what comes is untrusted: any type can be anywhere (§2.6).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Final

from agentclient.model.text import printable
from agentclient.protocol.qga_commands import PLAIN_SYNC, SYNC
from agentclient.protocol.qga_events import (
    NO_AGENT,
    SENTINEL_ERROR,
    Dropped,
    Failure,
    Synced,
    WireEvent,
    answer,
)
from agentclient.protocol.qga_lines import (
    DEFAULT_MAX_DEPTH,
    DEFAULT_MAX_LINE,
    LONGEST_SYNC_REPLY,
    SENTINEL,
    Line,
    LineBuffer,
    decoded,
    encoded,
    gist,
)
from agentclient.protocol.qga_requests import Request, Requests

_ID_BITS: Final = 53
LARGEST_ID: Final = 2**_ID_BITS
# So many dropped lines of one feed are told one by one.
MOST_DROPS: Final = 100
# So many bytes that answer nothing, in a row, are a flood; a short line costs as much as this many.
MOST_NOISE: Final = 8 * 1024 * 1024
NOISE_OF_A_LINE: Final = 256
# The shortest pause between two reads of a channel on which nothing but noise comes.
LEAST_PAUSE_S: Final = 0.05
_MOST_REFUSALS: Final = 8
# The pause is this many times as long as the read before it took.
_PAUSES: Final = 9
_RANDOM: Final = random.SystemRandom()


def pause_s(took_s: float) -> float:
    """Return for how many seconds a noisy channel should not be read, to leave the CPU to others.

    Args:
        took_s: seconds that reading it took just now.
    """
    return max(LEAST_PAUSE_S, _PAUSES * took_s)


class NotSynced(Exception):
    """The caller asked for a request before a sync was answered: a bug of the caller (§1.2)."""


def random_id() -> int:
    """Return a fresh sync id in 1…2^53; 2^63 would be refused (protocol §2.3)."""
    return 1 + _RANDOM.getrandbits(_ID_BITS)


class AgentWire:
    """One connection to an agent, as bytes.

    The caller names each request by a ticket, a number of its own; the events that `feed` returns
    name it again. Tickets must not be used twice on one connection.

    Args:
        max_line: the longest line in bytes that is looked at; a longer one is dropped up to its
            end and told as a violation, so that a thaw can still be sent behind it.
        max_depth: how deep arrays and objects may be nested.
        new_id: gives the sync ids.
        plain: the agent is not to be sent 0xFF, nor the sync that goes with it: some agents end at
            that, and some may not take it.

    Attributes:
        plain: syncs go without 0xFF; learned where nothing but such a one is answered.
        refusals: errors (class, text) that came before a sync was answered; the first few.
        tags: whether the agent takes ids; None until a request with one was answered.
        owned: a sync of ours was answered on this channel.
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
        self._lines = LineBuffer(max_line)
        self._requests = Requests(f"fw{new_id():x}")
        self._noise = 0
        self._syncs = 0
        self.plain = plain
        self.refusals: list[tuple[str, str]] = []
        self.tags: bool | None = None
        self.owned = False

    @property
    def overlong(self) -> str | None:
        """Why the line that has begun is dropped: it is too long. None if it is not."""
        if not self._lines.overlong:
            return None
        return f"a line of {self._lines.length} bytes and more (limit {self._max_line})"

    @property
    def noisy(self) -> bool:
        """Whether nothing but noise comes, maybe without end: see `pause_s`."""
        return self._noise > MOST_NOISE or self._lines.overlong

    @property
    def flood(self) -> str | None:
        """What comes instead of answers, where the channel is ours and `noisy`; else None.

        On a channel that is not proven to be ours it may be what other clients have left.
        """
        if not self.owned or not self.noisy:
            return None
        return self.overlong or f"{self._noise} bytes in a row that are no answer"

    @property
    def unfinished(self) -> bool:
        """Whether a line has begun and has not ended."""
        return self._lines.length > 0

    @property
    def waiting(self) -> tuple[int, ...]:
        """The tickets of the requests that are not answered yet, oldest first."""
        return self._requests.tickets

    def sync(self, ticket: int) -> bytes:
        """Return the bytes that (re)synchronise the channel.

        The leading 0xFF provokes an error line that has no id. Where a request without an id is
        still outstanding, that line could be taken for its answer, so there the sync goes without
        it: on a channel that has been ours all the time no half line can stand before it.

        As long as none is answered, every second one is plain ``guest-sync``, which proves as much:
        some agents end at 0xFF, or do not take ``guest-sync-delimited``.

        Args:
            ticket: the caller's number for it.
        """
        self._syncs += 1
        plain = self.plain or (not self.owned and self._syncs % 2 == 0)
        bare = plain or self._requests.ambiguous
        sync_id = self._new_id()
        self._requests.add(Request(ticket, sync_id=sync_id, plain=plain))
        command = PLAIN_SYNC if plain else SYNC
        line = encoded({"execute": command, "arguments": {"id": sync_id}})
        return line if bare else SENTINEL + line

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
            tag: whether it carries an id; None: if the agent is known to take one.

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
            body["id"] = self._requests.tag(ticket)
        self._requests.add(Request(ticket, tagged=tagged))
        return encoded(body)

    def feed(self, data: bytes) -> list[WireEvent]:
        """Take bytes that came, and return the events that they complete, in order."""
        events: list[WireEvent] = []
        for line in self._lines.feed(data):
            self._take(line, events)
        return _capped(events)

    def _take(self, line: Line, events: list[WireEvent]) -> None:
        if line.length > self._max_line:
            reply = line.tail.rpartition(SENTINEL)[2]
            sync = self._sync_answered(reply)
            length = line.length - (len(SENTINEL + reply) if sync else 0)
            text = f"a line of {length} bytes (limit {self._max_line})"
            self._drop(events, text, length, violation=True)
            if sync:
                self._synced(sync, events)
        elif data := line.data.strip():
            self._cut_off_or_whole(data, events)

    def _cut_off_or_whole(self, line: bytes, events: list[WireEvent]) -> None:
        """Take a line; a sync's sentinel may have cut off another line before it."""
        head, sentinel, reply = line.rpartition(SENTINEL)
        sync = self._sync_answered(reply) if sentinel else None
        if sync is None:
            self._whole(line, events)
            return
        if head.strip(SENTINEL):
            text = f"half a line: {printable(head.strip(SENTINEL)[:200], 120)}"
            self._drop(events, text, len(head))
        self._synced(sync, events)

    def _sync_answered(self, reply: bytes) -> Request | None:
        """Return the sync of ours that `reply`, behind a sentinel, answers; None if none."""
        if len(reply) >= LONGEST_SYNC_REPLY or not self._requests.syncing:
            return None
        _, message = decoded(reply, self._max_depth)
        return self._requests.sync(message.get("return"))

    def _synced(self, sync: Request, events: list[WireEvent]) -> None:
        skipped = any(one.sync_id and not one.plain for one in self._requests.before(sync))
        self.plain = self.plain or (sync.plain and skipped)
        self.owned = True
        self._noise = 0
        events += self._requests.answered(sync)
        events.append(Synced(sync.ticket))

    def _drop(
        self, events: list[WireEvent], text: str, length: int, *, violation: bool = False
    ) -> None:
        self._noise += max(length, NOISE_OF_A_LINE)
        events.append(Dropped(text, violation))

    def _whole(self, line: bytes, events: list[WireEvent]) -> None:
        delimited = line.startswith(SENTINEL)
        problem, message = decoded(line.lstrip(SENTINEL), self._max_depth)
        if problem is not None:
            problem, message = self._behind_a_fragment(line, problem)
        if problem is not None:
            # Before a sync was answered it may be what the sentinel of another's has cut off.
            self._drop(events, problem, len(line), violation=self.owned or SENTINEL not in line)
            return
        if delimited and not self.owned and isinstance(message.get("return"), int):
            # Also a previous client's sync reply begins with 0xFF (protocol §2.1).
            self._drop(events, "a sync reply with another id", len(line))
            return
        if not ("return" in message or "error" in message):
            greeting = "QMP" in message and not self.owned
            text = NO_AGENT if greeting else f"no reply: {printable(line[:200], 120)}"
            self._drop(events, text, len(line), violation=True)
            return
        sync = None
        if "id" not in message:
            sync = self._requests.sync(message.get("return"), plain=True)
        if sync is not None:
            self._synced(sync, events)
            return
        request = self._addressee(message)
        if request is None:
            self._remember_refusal(message)
            self._drop(events, self._why_dropped(message), len(line))
            return
        self._noise = 0
        events += self._requests.answered(request)
        events.append(answer(request.ticket, message))
        if request.tagged and "id" in message:
            self.tags = True
        elif request.tagged and "return" in message and self.tags is None:
            self.tags = False

    def _behind_a_fragment(self, line: bytes, problem: str) -> tuple[str | None, dict[str, object]]:
        """Look for an answer of ours at the end of a line that another message has begun.

        Only one with an id of ours is believed: what it says can't be a part of another answer.
        """
        for start in (b'{"return"', b'{"error"'):
            at = line.rfind(start)
            if at > 0:
                wrong, message = decoded(line[at:], self._max_depth)
                if wrong is None and "id" in message and self._addressee(message) is not None:
                    return None, message
        return problem, {}

    def _remember_refusal(self, message: Mapping[str, object]) -> None:
        if "error" in message and "id" not in message and not self.owned:
            error = answer(0, message)
            if isinstance(error, Failure) and len(self.refusals) < _MOST_REFUSALS:
                self.refusals.append((error.error_class, error.desc))

    def _why_dropped(self, message: Mapping[str, object]) -> str:
        if self._requests.syncing and "error" in message and "id" not in message:
            return SENTINEL_ERROR
        return f"not ours: {gist(message)}"

    def _addressee(self, message: Mapping[str, object]) -> Request | None:
        """Return the request that this message answers; None if none of ours."""
        if not self.owned:
            return None
        if "id" in message:
            return self._requests.tagged(message["id"])
        return self._requests.untagged(error="error" in message)


def _capped(events: list[WireEvent]) -> list[WireEvent]:
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
