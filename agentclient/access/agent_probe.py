"""The probe of an agent, as steps: a sync, its freeze state, and its version the first time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

from agentclient.access.exchange import Exchange, Steps
from agentclient.access.stream import Channel, StreamEnded
from agentclient.model.outcome import FileSystem
from agentclient.model.states import FreezeState
from agentclient.model.text import printable
from agentclient.protocol.qga import AgentWire
from agentclient.protocol.qga_commands import FILE_SYSTEMS, INFO, STATUS
from agentclient.protocol.qga_events import Dropped, Failure, PassedOver, Reply
from agentclient.protocol.qga_replies import agent_info, file_systems, freeze_state

# An idle agent answers within 0.1 s (protocol §1.12), one on a busy host within a few times that.
AGENT_VISIT_S = 2.0

_QMP_GREETING = b'{"QMP":'
_Answer = Reply | Failure


@dataclass(slots=True)
class Said:
    """What an agent has answered to one probe.

    Attributes:
        frozen: its freeze state; None if it has not told one.
        rtt_s: seconds from the connection to its last sync or status; None if it has not answered.
        version: the agent's version, where it was asked for.
        file_systems: the mounted file systems, where they were asked for.
        detail: what was wrong with its answers; safe to show.
        plain: it has answered only a sync without 0xFF.
    """

    frozen: FreezeState | None = None
    rtt_s: float | None = None
    version: str | None = None
    file_systems: tuple[FileSystem, ...] | None = None
    detail: str | None = None
    plain: bool = False


class _Nonsense(Exception):
    """The agent has sent something that is no valid reply; the text is safe to show."""


def question(
    channel: Channel, *, first: bool, plain: bool = False, timeout_s: float = AGENT_VISIT_S
) -> Exchange[Said]:
    """Return the probe of an agent on a channel that was just connected; its steps close it.

    Args:
        channel: the channel.
        first: it is the first probe of this agent: ask also for its version and for the mounted
            file systems, so that a confirmation can name them.
        plain: the agent did not answer a sync with 0xFF: send one without.
        timeout_s: how long the probe may take, in seconds.
    """
    began = time.monotonic()
    steps = _ask_and_leave(channel, AgentWire(plain=plain), began, first=first)
    return Exchange(channel, steps, began + timeout_s)


def _ask_and_leave(channel: Channel, wire: AgentWire, began: float, *, first: bool) -> Steps[Said]:
    said = Said()
    try:
        yield from _ask_all(said, wire, began, first=first)
    except TimeoutError:
        # Without `rtt_s` the agent is silent; else what it has answered so far counts.
        said.detail = wire.overlong
    except StreamEnded as error:
        said.detail = printable(error, 200)
    except _Nonsense as error:
        said.detail = printable(error, 200)
    finally:
        channel.close()
    return said


def _ask_all(said: Said, wire: AgentWire, began: float, *, first: bool) -> Steps[None]:
    tickets = itertools.count(1)
    yield from _sync(wire, tickets)
    said.plain = wire.plain
    said.rtt_s = time.monotonic() - began  # it is alive from here on, whatever it sends
    answer = yield from _status(wire, tickets)
    said.rtt_s = time.monotonic() - began
    said.frozen = freeze_state(_value(answer))
    if said.frozen is None:
        raise _Nonsense(f"{STATUS}: {_gist(answer)}")
    if not first:
        return
    info = agent_info(_value((yield from _request(wire, tickets, INFO))))
    said.version = info.version if info else "unknown"
    if said.frozen is FreezeState.THAWED:  # a frozen one may not list them (protocol §3.2)
        answer = yield from _request(wire, tickets, FILE_SYSTEMS)
        listed = file_systems(_value(answer))
        said.file_systems = listed.file_systems if listed else None


def _sync(wire: AgentWire, tickets: Iterator[int]) -> Steps[None]:
    """Prove that the agent answers us; after an error, try the other kind of sync."""
    first = next(tickets)
    data, asked = wire.sync(first), 1
    while not wire.owned:
        came = yield data
        data = b""
        if came.startswith(_QMP_GREETING):
            raise _Nonsense("a QEMU monitor answers there, no agent: are the two sockets swapped?")
        wire.feed(came)
        # The first error is provoked by the sync's 0xFF, the next one answers the sync itself.
        if not wire.owned and asked == 1 and len(wire.refusals) > 1:
            data, asked = wire.sync(next(tickets)), 2
        elif not wire.owned and asked == 2 and len(wire.refusals) > 2:
            raise _Nonsense(f"it takes no sync: {wire.refusals[-1][1]}")


def _status(wire: AgentWire, tickets: Iterator[int]) -> Steps[_Answer]:
    """Ask for the freeze state, with an id if the agent takes one (protocol §2.4)."""
    ticket = next(tickets)
    answer = yield from _await(wire, ticket, wire.request(ticket, STATUS, tag=True))
    if isinstance(answer, Failure) and not wire.tags:
        wire.tags = False
        answer = yield from _request(wire, tickets, STATUS)
    return answer


def _request(wire: AgentWire, tickets: Iterator[int], command: str) -> Steps[_Answer]:
    ticket = next(tickets)
    return (yield from _await(wire, ticket, wire.request(ticket, command)))


def _await(wire: AgentWire, ticket: int, data: bytes) -> Steps[_Answer]:
    """Write a request, and read until it is answered."""
    while True:
        came = yield data
        data = b""
        for event in wire.feed(came):
            match event:
                case Reply() | Failure() if event.ticket == ticket:
                    return event
                case PassedOver() if event.ticket == ticket:
                    raise _Nonsense("a later request was answered first")
                case Dropped(text, True):
                    raise _Nonsense(text)
                case _:
                    pass
        if wire.flood:
            raise _Nonsense(wire.flood)


def _value(answer: _Answer) -> object:
    return answer.value if isinstance(answer, Reply) else None


def _gist(answer: _Answer) -> str:
    if isinstance(answer, Failure):
        return f"{answer.error_class}: {answer.desc}"
    return f"the answer is of the wrong type: {printable(_value(answer), 80)}"
