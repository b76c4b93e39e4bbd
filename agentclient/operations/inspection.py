"""Asks an agent, politely, what there is to know of its guest; blocking.

It is asked only while nothing is pending there, by us or by others, and nothing is frozen (P5). The
channel is held for 3.5 s at the most, for which a freeze that begins meanwhile waits; and it is
left within a second of that.
"""

from __future__ import annotations

import time
from typing import Final

from agentclient.access.agent import GuestAgent
from agentclient.access.agent_session import AgentSession
from agentclient.access.stream import ConnectFailed
from agentclient.fleet.health import may_ask
from agentclient.model.clock import now
from agentclient.model.errors import AgentError, CommandFailed
from agentclient.model.guest_report import GuestReport
from agentclient.model.snapshot import VmState
from agentclient.model.states import FreezeState
from agentclient.model.text import printable
from agentclient.operations.context import OperationContext
from agentclient.operations.refusals import refuse_by_look
from agentclient.protocol.qga_commands import FILE_SYSTEMS, INFO, OS_INFO
from agentclient.protocol.qga_details import mounted, system
from agentclient.protocol.qga_replies import agent_info

# With the second after which a wait is looked at, it is less than a freeze waits for the channel
# (`CHANNEL_WAIT_S`).
INSPECTION_S: Final = 2.5
FROZEN: Final = "a frozen guest answers hardly anything"
_NOT_THAWED: Final = (FreezeState.FREEZING, FreezeState.FROZEN, FreezeState.THAWING)


class _Left(Exception):
    """The channel has to be left; the text says why."""


def inspect(context: OperationContext) -> GuestReport:
    """Ask an agent for its commands, its system and its file systems.

    Args:
        context: the VM, and what is known of it.
    """
    why, access = why_not_asked(context.state), context.access
    if why is None and access.is_another(context.vm):
        why = "the VM has ended: another one runs in its place"
    if why is None and access.fragile:
        why = "its agent has ended when it was asked before"
    if why is None:
        view = access.observe_anew()
        refusal = refuse_by_look(view)
        why = refusal.reason if refusal is not None else None
        if why is None and not may_ask(context.state, view):
            why = why_not_asked(context.state) or "it can't answer now"
    if why is not None:
        return GuestReport(now(), why)
    if not access.channel_lock.acquire(blocking=False):
        return GuestReport(now(), "its agent is asked something else just now")
    try:
        return _Inspection(context).run()
    except ConnectFailed as error:
        return GuestReport(now(), f"its channel can't be opened: {error}")
    except _Left as error:
        return GuestReport(now(), str(error))
    except AgentError as error:
        return GuestReport(now(), printable(error, 300))
    finally:
        access.channel_lock.release()


def why_not_asked(state: VmState) -> str | None:
    """Return why an agent is not asked now, as a clause; None if it may be.

    Args:
        state: what is known of its VM.
    """
    vm, held = state.vm, state.held_by
    if state.progress is not None:
        return f"a {state.progress.what} is in flight on it"
    if held is not None:
        return f"it is {held}"
    if state.freeze.state in _NOT_THAWED:
        return f"it is {state.freeze.state}: {FROZEN}"
    if vm.locked_by:
        return f"it is locked by {vm.locked_by}: its manager is at work on it"
    if vm.policy is not None and vm.policy.read_only is not None:
        return f"nothing is sent to it: {vm.policy.read_only}"
    if not vm.has_agent:
        return vm.out_of_reach or "it has no agent's channel"
    return None


class _Inspection:
    """One connection to an agent, and what it has told.

    Args:
        context: the VM, and what is known of it.
    """

    def __init__(self, context: OperationContext) -> None:
        self._context = context
        self._until = time.monotonic() + INSPECTION_S
        self._not_told: dict[str, str] = {}

    def run(self) -> GuestReport:
        """Connect, ask and leave.

        Raises:
            ConnectFailed: the agent can't be reached.
            AgentError: it did not answer, or not by the protocol.
        """
        session = self._context.access.open_agent()
        try:
            return self._ask(session)
        finally:
            session.close()

    def _ask(self, session: AgentSession) -> GuestReport:
        agent = GuestAgent(str(self._context.vm.id), session, watch=self._leave_if_wanted)
        agent.sync(self._left_s)
        if agent.probe_status() is FreezeState.FROZEN:
            return GuestReport(now(), f"it is frozen: {FROZEN}")
        info = agent_info(self._part(agent, INFO))
        told = system(self._part(agent, OS_INFO))
        listed = mounted(self._part(agent, FILE_SYSTEMS))
        return GuestReport(
            now(),
            None,
            info.version if info is not None else None,
            info.enabled if info is not None else frozenset(),
            info.known if info is not None else frozenset(),
            told or {},
            listed or (),
            dict(self._not_told),
        )

    @property
    def _left_s(self) -> float:
        return max(self._until - time.monotonic(), 0.1)

    def _part(self, agent: GuestAgent, command: str) -> object:
        """Return an answer; None if the agent does not give one, and why is noted."""
        self._leave_if_wanted()
        try:
            return agent.request(command, None, self._left_s)
        except CommandFailed as error:
            self._not_told[command] = printable(error.desc, 200)
        return None

    def _leave_if_wanted(self) -> None:
        """Leave the channel to what was begun on the VM meanwhile.

        Raises:
            _Left: something was, or the time is over.
        """
        if self._context.state.progress is not None:
            raise _Left("something was begun on it, which comes first")
        if time.monotonic() >= self._until:
            raise _Left(f"it has not told all within {INSPECTION_S:g} s")
