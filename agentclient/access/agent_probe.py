"""The probe of an agent, as steps: a sync, its freeze state, and its version the first time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from agentclient.access.agent_session import StreamSession
from agentclient.access.agent_steps import (
    AgentLink,
    AgentSteps,
    Answer,
    Nonsense,
    Sync,
    ask,
    ask_status,
)
from agentclient.access.exchange import Exchange
from agentclient.access.stream import Channel, StreamEnded
from agentclient.model.outcome import FileSystem
from agentclient.model.states import FreezeState
from agentclient.model.text import printable
from agentclient.protocol.qga import AgentWire
from agentclient.protocol.qga_commands import FILE_SYSTEMS, INFO, STATUS
from agentclient.protocol.qga_events import Failure, PassedOver, Reply
from agentclient.protocol.qga_replies import agent_info, file_systems, freeze_state

# An idle agent answers within 0.1 s (protocol §1.12), one on a busy host within a few times that.
AGENT_VISIT_S = 2.0


@dataclass(slots=True)
class ProbeResult:
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


def probe_exchange(
    channel: Channel, *, first: bool, plain: bool = False, timeout_s: float = AGENT_VISIT_S
) -> Exchange[ProbeResult]:
    """Return the probe of an agent on a channel that was just connected; its steps close it.

    Args:
        channel: the channel.
        first: it is the first probe of this agent: ask also for its version and for the mounted
            file systems, so that a confirmation can name them.
        plain: the agent did not answer a sync with 0xFF: send one without.
        timeout_s: how long the probe may take, in seconds.
    """
    began = time.monotonic()
    session = StreamSession(channel, AgentWire(plain=plain))
    steps = _ask_and_leave(session, began, first=first)
    return Exchange(AgentLink(session), steps, began + timeout_s)


def _ask_and_leave(session: StreamSession, began: float, *, first: bool) -> AgentSteps[ProbeResult]:
    result = ProbeResult()
    try:
        yield from _ask_all(result, session, began, first=first)
    except TimeoutError:
        # Without `rtt_s` the agent is silent; else what it has answered so far counts.
        result.detail = session.wire.overlong
    except StreamEnded as error:
        result.detail = printable(error, 200)
    except Nonsense as error:
        result.detail = printable(error, 200)
    finally:
        session.close()
    return result


def _ask_all(
    result: ProbeResult, session: StreamSession, began: float, *, first: bool
) -> AgentSteps[None]:
    yield from _synchronise(session)
    result.plain = session.plain
    result.rtt_s = time.monotonic() - began  # it is alive from here on, whatever it sends
    answer = yield from ask_status(session)
    result.rtt_s = time.monotonic() - began
    result.frozen = freeze_state(_value(answer))
    if result.frozen is None:
        raise Nonsense(f"{STATUS}: {_gist(answer)}")
    if not first:
        return
    info = agent_info(_value((yield from ask(session, INFO))))
    result.version = info.version if info else "unknown"
    if result.frozen is FreezeState.THAWED:  # a frozen one may not list them (protocol §3.2)
        listed = file_systems(_value((yield from ask(session, FILE_SYSTEMS))))
        result.file_systems = listed.file_systems if listed else None


def _synchronise(session: StreamSession) -> AgentSteps[None]:
    """Prove that the agent answers us; after an error, try the other kind of sync."""
    sync = Sync(session)
    if not (yield from sync.steps()) and not (yield from sync.steps()):
        _, desc = sync.refusal or ("", "")
        raise Nonsense(f"it takes no sync: {desc}")


def _value(answer: Answer) -> object:
    if isinstance(answer, PassedOver):
        raise Nonsense("a later request was answered first")
    return answer.value if isinstance(answer, Reply) else None


def _gist(answer: Answer) -> str:
    if isinstance(answer, Failure):
        return f"{answer.error_class}: {answer.desc}"
    return f"the answer is of the wrong type: {printable(_value(answer), 80)}"
