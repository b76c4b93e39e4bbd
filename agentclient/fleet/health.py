"""Computes how the result of a visit changes a VM's state in the fleet (P5). No I/O.

A visit looks at the monitor and, less often, asks the agent: one connection, a sync and a status.
`agentclient.fleet.poller` decides when, and `agentclient.access.multiplexer` runs the exchanges.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from agentclient.access.agent_probe import ProbeResult
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.model.meaning import with_freeze
from agentclient.model.others import ChannelClient
from agentclient.model.snapshot import AgentHealth, FreezeInfo, MonitorView, VmState
from agentclient.model.states import AgentState, FreezeState, KnownBy, RunState
from agentclient.model.text import printable

NOT_RUNNING = frozenset({RunState.PAUSED, RunState.IO_ERROR, RunState.SUSPENDED, RunState.MIGRATED})
# The agent's states in which a freeze by another client can't be seen.
_UNSEEN = frozenset({AgentState.BUSY, AgentState.CLOSED, AgentState.SILENT, AgentState.UNKNOWN})
_LEFT = frozenset({RunState.GONE, RunState.SHUTDOWN, RunState.PANICKED})

Change = Callable[[VmState], VmState]


def may_ask(state: VmState, view: MonitorView) -> bool:
    """Return whether the agent can answer, and asking it disturbs no other client (P5)."""
    if not state.vm.has_agent or state.progress is not None or state.vm.locked_by:
        return False
    if state.held_by is not None:
        return False  # another frostwatch uses its channel
    return (
        view.port_open is not False
        and not view.client
        and view.run_state not in (NOT_RUNNING | _LEFT)
    )


def looked(view: MonitorView, at: datetime, *, has_monitor: bool) -> Change:
    """Return the change of a VM's state that follows from a look at its monitor.

    Args:
        view: what the monitor has shown.
        at: the wall clock.
        has_monitor: whether there is a monitor; without one, only `view.gone` is known.
    """
    return lambda state: _looked(state, view, at, has_monitor=has_monitor)


def patient(state: VmState, view: MonitorView) -> MonitorView:
    """Return the view of a monitor that was late once, with what was known before the look.

    On a busy host each QEMU is late now and then. A row that is told unknown each time moves up
    and down in the table, and hides those that need somebody.
    """
    if state.run_state is RunState.UNKNOWN or view.gone:
        return view
    return view._replace(run_state=state.run_state, problem=state.trouble)


def _looked(state: VmState, view: MonitorView, at: datetime, *, has_monitor: bool) -> VmState:
    trouble = view.problem if has_monitor else None
    run_state = view.run_state if has_monitor else state.run_state
    if view.block_jobs is not None and view.block_jobs != state.block_jobs:
        state = state._replace(block_jobs=view.block_jobs)
    if (trouble, run_state) != (state.trouble, state.run_state):
        state = state._replace(run_state=run_state, trouble=trouble)
    if state.progress is not None:
        return state  # the operation in flight sees more on its own connection
    health = _health(state, view, at)
    if health is not state.agent:
        state = state._replace(agent=health)
    if view.gone or run_state in _LEFT:
        return with_freeze(state, FreezeInfo(), gone=True)
    if state.held_by is not None:
        state = _released(state, view)
    if state.held_by is not None and state.held_by.state is not None:
        return state  # the journal knows its freeze state
    return _unseen(state) if health.state in _UNSEEN else state


def _released(state: VmState, view: MonitorView) -> VmState:
    """Return the state, without `held_by` if another frostwatch has released the channel.

    Only where it was seen at the channel alone: what the journal records, only the journal ends.
    """
    assert state.held_by is not None
    seen_alone = state.held_by.window is None
    return state.with_held_by(None) if seen_alone and view.client is False else state


def _unseen(state: VmState) -> VmState:
    """Return the state of a guest whose agent can't be asked: thawed becomes unknown.

    Another client may have frozen it meanwhile; a guest that was frozen stays frozen.
    """
    if state.freeze.state is not FreezeState.THAWED:
        return state
    return state._replace(freeze=FreezeInfo(None, state.agent.seen_at))


def _health(state: VmState, view: MonitorView, at: datetime) -> AgentHealth:
    """Return the agent's health; the same object if the look shows nothing new."""
    old = state.agent
    if state.vm.out_of_reach is not None:
        unknown = _known(old, AgentState.UNKNOWN, KnownBy.CONFIGURATION, at)
        return unknown._replace(detail=printable(state.vm.out_of_reach, 200))
    if not state.vm.has_agent:
        return _known(old, AgentState.NONE, KnownBy.CONFIGURATION, at)
    if view.gone or view.port_open is False:
        return _known(old, AgentState.CLOSED, KnownBy.PORT, at)._replace(version=None)
    if view.client:
        who = old.detail if old.state is AgentState.BUSY else None
        return _known(old, AgentState.BUSY, KnownBy.CLIENT, at)._replace(detail=who)
    if view.port_open and old.how not in (KnownBy.REPLY, KnownBy.DEADLINE):
        return _known(old, AgentState.OPEN, KnownBy.PORT, at)
    return old


def _known(old: AgentHealth, state: AgentState, how: KnownBy, at: datetime) -> AgentHealth:
    return old._replace(state=state, how=how, rtt_s=None, detail=None, seen_at=at)


def answered(result: ProbeResult, at: datetime, by: ChannelClient | None = None) -> Change:
    """Return the change of a VM's state that follows from its agent's answer.

    Args:
        result: the answer.
        at: the wall clock.
        by: who held the channel before; None if nobody was seen.
    """

    def change(state: VmState) -> VmState:
        if state.progress is not None:
            return state
        health = AgentHealth(
            AgentState.ALIVE,
            KnownBy.REPLY,
            rtt_s=result.rtt_s,
            version=result.version or state.agent.version,
            seen_at=at,
            detail=result.detail,
        )
        listed, others = result.file_systems, state.others
        state = state._replace(
            agent=health,
            file_systems=state.file_systems if listed is None else listed,
            others=None if others is not None and not others.waits else others,
        )
        if result.frozen is None:
            return _unseen(state)  # it has told no status: what was frozen stays so
        return with_freeze(state, _freeze(state, result.frozen, at, by))

    return change


def _freeze(
    state: VmState, frozen: FreezeState, at: datetime, by: ChannelClient | None
) -> FreezeInfo:
    ours = state.left_frozen or state.left is not None or state.held_by is not None
    foreign = frozen is FreezeState.FROZEN and not ours
    old = state.freeze
    same = (old.state, old.foreign) == (frozen, foreign)
    if frozen is FreezeState.FROZEN and state.left is not None:
        at = state.left.at  # the journal knows the time of the freeze
    blamed = (old.by if same else by) if foreign else None
    since, overdue = (old.since, old.overdue) if same else (at, None)
    return FreezeInfo(frozen, since, foreign, blamed, overdue)


def silent(at: datetime, *, can_see_clients: bool) -> Change:
    """Return the change of a VM's state when its agent did not answer in time.

    Args:
        at: the wall clock.
        can_see_clients: whether the monitor would have shown another client.
    """
    detail = None
    if not can_see_clients:
        detail = "perhaps another client is served: without a monitor that can't be seen"

    def change(state: VmState) -> VmState:
        if state.progress is not None:
            return state
        health = state.agent._replace(
            state=AgentState.SILENT,
            how=KnownBy.DEADLINE,
            rtt_s=None,
            seen_at=at,
            detail=detail,
        )
        return _unseen(state._replace(agent=health))

    return change


def unreachable(error: ConnectFailed, at: datetime, *, gone: bool | None) -> Change:
    """Return the change of a VM's state when its agent's channel can't be opened.

    Args:
        error: why the connection failed.
        at: the wall clock.
        gone: whether the VM's process has ended; None if that is unknown.
    """
    full = error.problem is ConnectProblem.QUEUE_FULL

    def change(state: VmState) -> VmState:
        if state.progress is not None:
            return state
        word = AgentState.CLOSED if gone else AgentState.BUSY if full else AgentState.UNKNOWN
        how = KnownBy.CLIENT if full else KnownBy.NOTHING
        health = AgentHealth(word, how, version=state.agent.version, seen_at=at, detail=str(error))
        state = state._replace(agent=health, trouble=f"agent's channel: {error}")
        if gone:
            state = state._replace(run_state=RunState.GONE)
            return with_freeze(state, FreezeInfo(), gone=True)
        return _unseen(state)

    return change
