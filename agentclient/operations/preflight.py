"""The checks before a freeze: a freeze that is refused has sent no byte of its command.

The checks that ask the guest nothing come first. Then the channel is proven to be ours, and the
agent is asked what it answers only before a freeze (protocol §3.2).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from agentclient.access.agent import GuestAgent
from agentclient.access.agent_session import AgentSession
from agentclient.access.guest_access import CHANNEL_WAIT_S
from agentclient.access.self_check import is_self, own_uuid
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.freeze.coverage import Coverage, describe
from agentclient.freeze.effects import ReportEvent
from agentclient.freeze.verdict import already_frozen, refused
from agentclient.model.durations import in_words as in_words_s
from agentclient.model.errors import AgentError, AgentTimeout, Cancelled, CommandFailed
from agentclient.model.events import EventKind
from agentclient.model.outcome import Outcome
from agentclient.model.snapshot import AgentHealth, MonitorView
from agentclient.model.states import AgentState, FreezeState, KnownBy, Level, Refusal, RunState
from agentclient.operations.context import OperationContext
from agentclient.operations.refusals import (
    cancelled,
    held_elsewhere,
    refuse_by_configuration,
    refuse_by_look,
)
from agentclient.operations.survey import Survey, may_not, no_status, not_there
from agentclient.protocol.qga_replies import AgentInfo

# A freeze may be waited for for an hour, the replies before it only for so long.
MOST_PATIENCE_S: Final = 600.0
_LOOK_AGAIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Prepared:
    """A channel that is proven ours, and what was observed before the freeze.

    Attributes:
        covered_at: when the file systems were listed (seconds of the monotonic clock).
        baseline: the monitor's view, taken last.
    """

    session: AgentSession
    coverage: Coverage | None
    covered_at: float
    baseline: MonitorView


class _Refused(Exception):
    """The freeze is refused by what a look at the VM showed during a wait."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.reason)


class Preflight:
    """The preparation of one freeze.

    Args:
        context: the freeze's collaborators.
        mounts: the mount points to freeze; empty for everything.
        patience_s: how long an agent that answers may take for each listing, in seconds.
    """

    def __init__(
        self,
        context: OperationContext,
        mounts: tuple[str, ...],
        patience_s: float = MOST_PATIENCE_S,
    ) -> None:
        self._context = context
        self._access = context.access
        self._reporter = context.reporter
        self._mounts = mounts
        self._patience_s = min(patience_s, MOST_PATIENCE_S)
        self._answered = False
        self._before = MonitorView()

    def run(self) -> Prepared | Outcome:
        """Do all checks; return what the freeze needs, or the outcome that refuses it."""
        refusal = refuse_by_configuration(self._access, self._context.vm, self._context.state.vm)
        if refusal is None:
            refusal = self._look() or self._refuse_self()
        if refusal is not None:
            return self._with_names(refusal)
        session = self._connect()
        if isinstance(session, Outcome):
            return session
        keep = False
        try:
            result = self._ask(session)
            keep = isinstance(result, Prepared)
            return result
        except Cancelled:
            return cancelled()
        except AgentTimeout as error:
            return self._unanswered(error, session)
        except _Refused as error:
            return error.outcome
        except AgentError as error:
            return refused(Refusal.NOT_BEGUN, f"{error}; the freeze was not sent")
        finally:
            if not keep:
                session.close()

    def _look(self) -> Outcome | None:
        """Look at the VM; wait for a moment while another client has the agent's channel.

        Most ask one thing and leave: another console's visit, a page of Proxmox that shows the
        guest's addresses. A freeze of a frostwatch, which lasts, is not waited for.
        """
        self._before = self._with_client(self._access.observe_anew())
        refusal = refuse_by_look(self._before, self._context.vm)
        if _is_busy(refusal) and not self._is_held_elsewhere():
            refusal = self._wait_for_channel()
        self._seen(self._before)
        return refusal

    def _wait_for_channel(self) -> Outcome | None:
        until = time.monotonic() + CHANNEL_WAIT_S
        while True:
            if self._context.control.cancellation.is_set:
                return cancelled()
            time.sleep(_LOOK_AGAIN_S)
            self._before = self._with_client(self._access.observe())
            refusal = refuse_by_look(self._before, self._context.vm)
            if not _is_busy(refusal) or time.monotonic() >= until:
                return refusal

    def _with_client(self, view: MonitorView) -> MonitorView:
        """Return a view, with the client that is known where the monitor did not answer.

        The kernel tells it, or the last look that showed something, until one is answered. Whoever
        connects behind another client waits in silence, as for an agent that hangs.
        """
        if view.client is not None or not self._access.is_observable:
            return view
        holders = self._access.holders()
        is_served = holders is not None and holders.client is not None
        was_served = view.blind and self._context.state.agent.state is AgentState.BUSY
        return view._replace(client=True) if is_served or was_served else view

    def _is_held_elsewhere(self) -> bool:
        holders = self._access.holders()
        return holders is not None and holders.frostwatch is not None

    def _seen(self, view: MonitorView) -> MonitorView:
        """Report what a look has shown, and return it."""
        if view.run_state is not RunState.UNKNOWN:
            self._reporter.run_state(view.run_state)
        if view.problem and (self._access.is_observable or self._access.vm.no_monitor):
            self._note(Level.WARNING, f"{view.problem}: less evidence")
        return view

    def _with_names(self, refusal: Outcome) -> Outcome:
        """Return a refusal with the names of the channel's holders, where they are known."""
        holders = self._access.holders() if refusal.refusal is Refusal.BUSY else None
        if holders is None:
            return refusal
        if holders.frostwatch is not None:
            return held_elsewhere(holders.frostwatch, self._access.vm)
        words = holders.words
        return refusal._replace(reason=f"{refusal.reason}: {words}") if words else refusal

    def _refuse_self(self) -> Outcome | None:
        if not is_self(self._access.monitor, own_uuid(), self._access.vm.uuid):
            return None
        reason = "it is the machine on which frostwatch runs: frozen, it could not thaw itself"
        return refused(Refusal.SELF, reason)

    def _connect(self) -> AgentSession | Outcome:
        try:
            return self._access.open_agent()
        except ConnectFailed as error:
            if error.problem is ConnectProblem.QUEUE_FULL:
                return refused(Refusal.BUSY, f"the agent's channel is taken: {error}")
            return refused(Refusal.NO_AGENT, f"the agent's channel can't be opened: {error}")

    def _ask(self, session: AgentSession) -> Prepared | Outcome:
        agent = GuestAgent(
            str(self._access.vm.id),
            session,
            self._context.control.cancellation,
            self._is_still_there,
        )
        rtt_s = self._status(agent, session)
        if isinstance(rtt_s, Outcome):
            return rtt_s
        info = self._info(agent, rtt_s)
        if isinstance(info, Outcome):
            return info
        coverage = self._coverage(agent, info)
        if isinstance(coverage, Outcome):
            return coverage
        covered_at = time.monotonic()
        baseline = self._seen(self._access.holds(self._access.observe(), self._before))
        # Our own connection is the client that the monitor shows now.
        refusal = refuse_by_look(_without_client(baseline))
        return refusal or Prepared(session, coverage, covered_at, baseline)

    def _status(self, agent: GuestAgent, session: AgentSession) -> float | Outcome:
        """Return within how many seconds the agent has said that the guest is thawed."""
        started = time.monotonic()
        try:
            agent.sync()
        except CommandFailed as error:
            reason = f"the agent takes no sync: {error.command}: {error.desc}"
            return refused(Refusal.DISABLED, reason)
        self._answered = True
        self._access.plain = session.plain
        try:
            state = agent.probe_status()
        except CommandFailed as error:
            return no_status(agent, error)
        rtt_s = time.monotonic() - started
        if state is FreezeState.FROZEN:
            self._reporter.frozen(state, foreign=True)
            return already_frozen()
        return rtt_s

    def _info(self, agent: GuestAgent, rtt_s: float) -> AgentInfo | Outcome:
        try:
            info = agent.info()
        except CommandFailed as error:
            reason = (
                f"guest-info is refused ({error.desc}), perhaps by the agent's own filter: whether "
                "it may thaw what it freezes is not known"
            )
            return refused(Refusal.DISABLED, reason)
        self._reporter.agent(
            AgentHealth(AgentState.ALIVE, KnownBy.REPLY, rtt_s=rtt_s, version=info.version)
        )
        return may_not(info, self._mounts) or info

    def _coverage(self, agent: GuestAgent, info: AgentInfo) -> Coverage | Outcome | None:
        found = Survey(self._access, agent, info, self._mounts, self._patience_s).coverage()
        if isinstance(found, str):
            self._note(Level.WARNING, f"the guest can't list its file systems: {found}")
            return None
        self._reporter.file_systems(found.file_systems)
        refusal = not_there(found)
        if refusal is None:
            self._tell_coverage(found)
        return refusal or found

    def _tell_coverage(self, coverage: Coverage) -> None:
        if coverage.problem is not None:
            self._note(Level.WARNING, f"coverage is not known: {coverage.problem}")
        elif coverage.gaps:
            self._note(Level.WARNING, f"coverage {coverage.text}; {coverage.gaps}")
        elif coverage.bare_disks:  # swap is among them, which needs no warning
            self._note(Level.INFO, f"coverage {coverage.text} (raw, ZFS, LVM, swap)")
        if self._mounts and coverage.along:
            named = ", ".join(self._mounts)
            self._note(Level.WARNING, f"with {named} freezes all of {describe(coverage.along)}")

    def _is_still_there(self) -> None:
        """Look at the VM while a reply is awaited.

        Raises:
            _Refused: the VM's state does not allow a reply any more.
        """
        refusal = refuse_by_look(_without_client(self._access.observe()))
        if refusal is not None:
            raise _Refused(refusal)

    def _unanswered(self, error: AgentTimeout, session: AgentSession) -> Outcome:
        if session.busy is not None:
            reason = f"the agent is busy: {session.busy}; the freeze was not sent"
            return refused(Refusal.BUSY, reason)
        if self._answered:
            # An agent that has just answered is not silent: it works on the last request.
            reason = (
                f"the agent answers, but not {error.command} within {in_words_s(error.seconds)}; "
                "the freeze was not sent"
            )
            return refused(Refusal.NOT_BEGUN, reason)
        reason = f"{error.command} was not answered within {error.seconds:.1f} s"
        if not self._access.is_observable:
            reason += "; without a monitor a hung agent and a taken channel look alike"
        suspect = self._access.suspect()
        if suspect is not None:
            reason += f"; it may be kept by another client: {suspect}"
        self._reporter.agent(AgentHealth(AgentState.SILENT, KnownBy.DEADLINE))
        return refused(Refusal.SILENT, reason, "look at the agent in the guest, or restart it")

    def _note(self, level: Level, text: str) -> None:
        self._reporter.event(ReportEvent(EventKind.NOTE, level, text))


def _is_busy(refusal: Outcome | None) -> bool:
    return refusal is not None and refusal.refusal is Refusal.BUSY


def _without_client(view: MonitorView) -> MonitorView:
    return view._replace(client=None)
