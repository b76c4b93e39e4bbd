"""One polite visit to a VM: what its monitor shows, and what its agent answers (P5).

A visit never raises, never waits longer than its deadlines, and leaves no socket open.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from agentclient.agent import GuestAgent
from agentclient.cancel import Cancellation
from agentclient.channel import ConnectFailed, ConnectProblem
from agentclient.conversation import Conversation
from agentclient.errors import AgentError, AgentTimeout, Cancelled, CommandFailed
from agentclient.links import Link
from agentclient.text import printable
from agentclient.vm import (
    AgentHealth,
    AgentHow,
    AgentState,
    FileSystem,
    FreezeInfo,
    FreezeState,
    MonitorView,
    RunState,
    VmState,
)

# An idle agent answers within 0.1 s (protocol §1.12), one on a busy host within a few times that.
AGENT_VISIT_S = 2.0
NOT_RUNNING = frozenset({RunState.PAUSED, RunState.IO_ERROR, RunState.SUSPENDED})
_LEFT = frozenset({RunState.GONE, RunState.SHUTDOWN, RunState.PANICKED})

Change = Callable[[VmState], VmState]


def look(link: Link, at: datetime) -> tuple[MonitorView, Change]:
    """Look at the monitor.

    Args:
        link: the VM.
        at: the wall clock, for what is written to the fleet.

    Returns:
        What was seen, and what it changes in the VM's state.
    """
    view = link.look()
    return view, lambda state: _looked(state, view, at, has_monitor=link.monitor is not None)


def ask(link: Link, at: datetime, cancellation: Cancellation, *, first: bool) -> Change | None:
    """Ask the agent for its freeze state, if the channel is free.

    Args:
        link: the VM.
        at: the wall clock, for what is written to the fleet.
        cancellation: ends the visit early.
        first: it is the first visit to this agent: ask as well who it is, and what it has
            mounted, so that a confirmation can name it.

    Returns:
        What the answer changes in the VM's state; None if the agent was not asked.
    """
    if link.agent is None or not link.channel_lock.acquire(blocking=False):
        return None
    try:
        return _ask(link, at, cancellation, first=first)
    except Cancelled:
        return None
    finally:
        link.channel_lock.release()


def may_ask(state: VmState, view: MonitorView) -> bool:
    """Return whether an agent visit can succeed, and disturbs nobody (P5)."""
    if state.vm.agent is None or state.progress is not None or state.vm.locked_by:
        return False
    return (
        view.port_open is not False
        and not view.client
        and view.run_state not in (NOT_RUNNING | _LEFT)
    )


def _ask(link: Link, at: datetime, cancellation: Cancellation, *, first: bool) -> Change:
    assert link.agent is not None
    started = time.monotonic()
    try:
        channel = link.agent.connect()
    except ConnectFailed as error:
        return _unreachable(error, at)
    with closing(Conversation(channel)) as conversation:
        agent = GuestAgent(str(link.vm.id), conversation, cancellation)
        try:
            agent.sync(AGENT_VISIT_S)
            frozen = agent.probe_status()
            answer = _Answer(at, frozen, time.monotonic() - started)
            return _answered(_introduced(agent, answer) if first else answer)
        except AgentTimeout:
            return _silent(at, can_see_clients=link.monitor is not None)
        except AgentError as error:
            rtt_s = time.monotonic() - started
            return _answered(_Answer(at, None, rtt_s, detail=printable(error, 200)))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an agent said on one visit."""

    at: datetime
    frozen: FreezeState | None
    rtt_s: float
    version: str | None = None
    file_systems: tuple[FileSystem, ...] | None = None
    detail: str | None = None


def _introduced(agent: GuestAgent, answer: _Answer) -> _Answer:
    """Ask who the agent is; a frozen one may not list its file systems (protocol §3.2)."""
    answer = replace(answer, version=agent.info().version)
    if answer.frozen is FreezeState.FROZEN:
        return answer
    with suppress(CommandFailed):
        answer = replace(answer, file_systems=agent.fsinfo())
    return answer


def _looked(state: VmState, view: MonitorView, at: datetime, *, has_monitor: bool) -> VmState:
    trouble = view.problem if has_monitor else None
    run_state = view.run_state if has_monitor else state.run_state
    state = replace(state, run_state=run_state, trouble=trouble)
    if state.progress is not None:
        return state  # what the freeze sees on its own connection is better
    health = _health(state, view, at)
    freeze = state.freeze
    if view.gone or run_state in _LEFT:
        freeze = FreezeInfo()
    return replace(state, agent=health, freeze=freeze)


def _health(state: VmState, view: MonitorView, at: datetime) -> AgentHealth:
    old = state.agent
    known = replace(old, rtt_s=None, detail=None, seen_at=at)
    if state.vm.out_of_reach is not None:
        unknown = replace(known, state=AgentState.UNKNOWN, how=AgentHow.CONFIGURATION)
        return replace(unknown, detail=printable(state.vm.out_of_reach, 200))
    if state.vm.agent is None:
        return replace(known, state=AgentState.NONE, how=AgentHow.CONFIGURATION)
    if view.gone or view.port_open is False:
        return replace(known, state=AgentState.CLOSED, how=AgentHow.PORT, version=None)
    if view.client:
        return replace(known, state=AgentState.BUSY, how=AgentHow.CLIENT)
    answered = old.how in (AgentHow.REPLY, AgentHow.DEADLINE)
    if view.port_open and not answered:
        return replace(known, state=AgentState.OPEN, how=AgentHow.PORT)
    return old


def _answered(answer: _Answer) -> Change:
    def change(state: VmState) -> VmState:
        if state.progress is not None:
            return state
        health = AgentHealth(
            AgentState.ALIVE,
            AgentHow.REPLY,
            rtt_s=answer.rtt_s,
            version=answer.version or state.agent.version,
            seen_at=answer.at,
            detail=answer.detail,
        )
        listed = answer.file_systems
        return replace(
            state,
            agent=health,
            freeze=_freeze(state, answer.frozen, answer.at),
            file_systems=state.file_systems if listed is None else listed,
        )

    return change


def _freeze(state: VmState, frozen: FreezeState | None, at: datetime) -> FreezeInfo:
    foreign = frozen is FreezeState.FROZEN and not state.left_frozen
    old = state.freeze
    same = (old.state, old.foreign) == (frozen, foreign)
    return FreezeInfo(frozen, old.since if same else at, foreign)


def _silent(at: datetime, *, can_see_clients: bool) -> Change:
    detail = None if can_see_clients else "or another client is served: without a monitor"

    def change(state: VmState) -> VmState:
        if state.progress is not None:
            return state
        health = replace(
            state.agent,
            state=AgentState.SILENT,
            how=AgentHow.DEADLINE,
            rtt_s=None,
            seen_at=at,
            detail=detail,
        )
        return replace(state, agent=health)

    return change


def _unreachable(error: ConnectFailed, at: datetime) -> Change:
    full = error.problem is ConnectProblem.QUEUE_FULL
    left = error.problem in (ConnectProblem.MISSING, ConnectProblem.REFUSED)

    def change(state: VmState) -> VmState:
        if state.progress is not None:
            return state
        word = AgentState.CLOSED if left else AgentState.BUSY if full else AgentState.UNKNOWN
        how = AgentHow.CLIENT if full else AgentHow.NOTHING
        health = AgentHealth(word, how, version=state.agent.version, seen_at=at, detail=str(error))
        gone = replace(state, run_state=RunState.GONE) if left else state
        return replace(gone, agent=health, trouble=f"agent's channel: {error}")

    return change
