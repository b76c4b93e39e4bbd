"""The rungs of the rescue ladder that talk to the agent: *connect*, *thaw* and *wait*.

Those that use only the monitor are in `agentclient.operations.rescue.monitor_rungs`.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

from agentclient.access.agent import GuestAgent
from agentclient.access.agent_session import AgentSession
from agentclient.access.guest_access import CHANNEL_WAIT_S
from agentclient.access.stream import ConnectFailed, StreamEnded
from agentclient.model.errors import AgentError, AgentTimeout, Cancelled
from agentclient.model.rescue import RescueOutcome, RungResult
from agentclient.model.snapshot import AgentHealth
from agentclient.model.states import AgentState, FreezeState, KnownBy
from agentclient.model.text import printable
from agentclient.operations.rescue.rung import RungContext

_STEP_S: Final = 0.1
_MOST_LEFT_BYTES: Final = 4096


def thaw(rung: RungContext) -> RescueOutcome:
    """Send an ordinary thaw."""
    return rung.after_thaw(rung.thaw(rung.times.thaw_s))


def connect(rung: RungContext) -> RescueOutcome:
    """Hold the channel for a moment and send nothing, then ask the agent for its status."""
    if not rung.access.channel_lock.acquire(timeout=CHANNEL_WAIT_S):
        return rung.refuse("frostwatch itself is talking to this agent", "try again")
    try:
        with closing(rung.access.open_agent()) as session:
            return _hold(rung, session)
    except ConnectFailed as error:
        return rung.refuse(f"the agent's channel can't be opened: {error}")
    except StreamEnded as error:
        return rung.outcome(RungResult.FAILED, f"the channel broke: {error}")
    finally:
        rung.access.channel_lock.release()


def _hold(rung: RungContext, session: AgentSession) -> RescueOutcome:
    """Hold the connection and send nothing, then ask for the status."""
    until = time.monotonic() + rung.times.hold_s
    rung.progress("an agent that spins to get rid of its answer", until)
    before = rung.look()
    left = b""
    while time.monotonic() < until:
        if not rung.pause(min(_STEP_S, until - time.monotonic())):
            return rung.stopped("nothing was sent")
        if session.channel is not None:
            left += session.channel.receive()[:_MOST_LEFT_BYTES]
    after = rung.look()
    if left:
        said = printable(left.decode("utf-8", "replace").strip(), 200)
        rung.note(f"an answer was waiting for somebody to take it: {said}")
    elif None not in (before.reads, after.reads) and before.reads != after.reads:
        rung.note("the agent has read what somebody had left for it")
    return _ask(rung, session)


def _ask(rung: RungContext, session: AgentSession) -> RescueOutcome:
    agent = GuestAgent(str(rung.access.vm.id), session, rung.control.cancellation)
    started = time.monotonic()
    try:
        agent.sync()
        state = agent.probe_status()
    except Cancelled:
        return rung.stopped("the agent had not answered")
    except AgentTimeout as error:
        rung.reporter.agent(AgentHealth(AgentState.SILENT, KnownBy.DEADLINE))
        reason = f"the agent did not answer {error.command} within {error.seconds:.1f} s"
        return rung.outcome(RungResult.SILENT, reason)
    except AgentError as error:
        return rung.outcome(RungResult.FAILED, printable(str(error), 300))
    rtt_s = time.monotonic() - started
    rung.reporter.agent(AgentHealth(AgentState.ALIVE, KnownBy.REPLY, rtt_s=rtt_s))
    return _answered(rung, state)


def _answered(rung: RungContext, state: FreezeState) -> RescueOutcome:
    frozen = state is FreezeState.FROZEN
    rung.reporter.frozen(state, foreign=frozen and not rung.ours)
    if frozen:
        reason = "the agent answers, and says that the guest is frozen"
        return rung.outcome(RungResult.ANSWERS, reason, state=state)
    reason = "the agent answers, and says that nothing is frozen"
    return rung.outcome(RungResult.THAWED, reason, state=state)


def wait(rung: RungContext) -> RescueOutcome:
    """Wait for an agent to come back, then thaw."""
    deadline = rung.began_at + rung.times.wait_s
    view = rung.await_port(deadline)
    if rung.cancelled:
        return rung.stopped("no agent had come back")
    if view.gone:
        reason = "the VM has gone: nothing in it is frozen any more"
        return rung.outcome(RungResult.RESET, reason)
    if view.port_open is False:
        seconds = rung.times.wait_s
        reason = f"no agent came back within {seconds:g} s: its port stayed closed"
        return rung.outcome(RungResult.NO_AGENT, reason)
    rung.note("an agent is there: it is thawed")
    left_s = deadline - time.monotonic()
    # A silent agent is waited for as well; one that came at the last moment gets the full bound.
    thaw = rung.thaw(max(left_s, rung.times.thaw_s))
    return rung.after_thaw(thaw)
