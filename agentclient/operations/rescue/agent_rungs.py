"""One rung of the rescue ladder, taken; blocking, for a worker thread.

The rungs that talk to the agent are here: *connect*, *thaw* and *wait*. Those that go round it
through the monitor are in `agentclient.operations.rescue.monitor_rungs`.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Final

from agentclient.access.agent import GuestAgent
from agentclient.access.agent_session import Conversation
from agentclient.access.guest_inputs import Inputs, find_inputs
from agentclient.access.guest_link import CHANNEL_WAIT_S, Link
from agentclient.access.host.peer import is_another
from agentclient.access.monitor_proof import doubt_of, unproven
from agentclient.access.stream import ConnectFailed, StreamEnded
from agentclient.freeze.effects import Tell
from agentclient.model.errors import AgentError, AgentTimeout, Cancelled
from agentclient.model.events import EventKind
from agentclient.model.rescue import BY_ITSELF, Found, RescueOutcome, RescueTimes, Rung, Step
from agentclient.model.snapshot import AgentHealth, MonitorView, Progress, VmState
from agentclient.model.states import AgentHow, AgentState, FreezeState, Level
from agentclient.model.text import printable
from agentclient.operations.control import Control
from agentclient.operations.preflight import GONE, Reporter
from agentclient.operations.rescue.context import Scene
from agentclient.operations.rescue.ladder import Known, Offer, describe, ladder, title
from agentclient.operations.rescue.monitor_rungs import reset, sysrq
from agentclient.protocol.qga import AgentWire

_STEP_S: Final = 0.1
_MOST_LEFT_BYTES: Final = 4096


def survey(
    link: Link,
    state: VmState,
    *,
    serial: str | None = None,
    tried: frozenset[Rung] = frozenset(),
    read_only: bool = False,
    in_flight: str | None = None,
) -> tuple[Offer, ...]:
    """Look at the VM's monitor, and return its ladder; no word goes to the guest or its agent.

    Args:
        link: the VM.
        state: what the fleet knows of it.
        serial: the label of its console, as a person named it.
        tried: the rungs that were taken already, in vain.
        read_only: nothing may be sent.
        in_flight: what else this console is doing with it; None if nothing.
    """
    has_monitor = link.monitor is not None
    doubt = doubt_of(link)
    inputs = Inputs(trouble=doubt)
    if link.monitor is not None and doubt is None:
        inputs = find_inputs(link.monitor, link.vm)
    view = link.look() if doubt is None else MonitorView(problem=doubt, gone=link.gone())
    known = Known(state, view, inputs, has_monitor, serial, tried, read_only, in_flight)
    return ladder(replace(known, doubt=doubt, waited_s=_waited_s(state.progress)))


def _waited_s(progress: Progress | None) -> float:
    """Return for how long an agent has owed an answer; for ever where it won't give one."""
    if progress is None or progress.cancelled or progress.verdict is not None:
        return math.inf
    since = progress.sent_at if progress.what == "freeze" else progress.started_at
    return math.inf if since is None else time.monotonic() - since


class Rescuer:
    """One rung on one VM.

    Args:
        link: the VM.
        step: the rung.
        state: what the fleet knows of the VM.
        reporter: is told what happens.
        control: what the operator asks meanwhile.
        person: a person has decided it; without one only what is ours is thawed (P4).
        ours: what is frozen is provably ours.
        times: the bounds.
        read_only: nothing may be sent.
        beside: what else is in flight on this VM, ``"freeze"``, and keeps its agent's channel.
    """

    def __init__(
        self,
        link: Link,
        step: Step,
        state: VmState,
        reporter: Reporter,
        control: Control,
        *,
        person: bool,
        ours: bool = False,
        times: RescueTimes | None = None,
        read_only: bool = False,
        beside: str | None = None,
    ) -> None:
        times = times or RescueTimes()
        self._scene = Scene(
            link, step, reporter, control, ours=ours, times=times, beside=beside is not None
        )
        self._beside = beside
        self._link = link
        self._step = step
        self._state = state
        self._person = person
        self._read_only = read_only

    def run(self) -> RescueOutcome:
        """Say what will be done, do it, say what was found. Raises nothing of this project's."""
        does, risk = describe(self._step, self._scene.times)
        text = f"{title(self._step)}: {does} Risk: {risk}"
        fields = {"rung": self._step.rung, "by": self._step.means}
        self._scene.reporter.tell(Tell(EventKind.RUNG, Level.INFO, text, fields))
        outcome = self._forbidden() or self._take()
        text = f"{title(self._step)}: {outcome.reason}"
        level = Level.GOOD if outcome.ok else Level.WARNING
        self._scene.reporter.tell(Tell(EventKind.OUTCOME, level, text, {"rescue": outcome}))
        return outcome

    def _forbidden(self) -> RescueOutcome | None:
        """Return the refusal that needs nobody to be asked, or None."""
        vm, rung = self._link.vm, self._step.rung
        if is_another(vm):
            return self._scene.refuse(GONE, "look for it in the list")
        if not self._person and not (rung in BY_ITSELF and self._scene.ours):
            return self._scene.refuse("a person has to decide it: it isn't provably ours")
        if rung is Rung.RESET and self._step.name != vm.name:
            return self._scene.refuse("a reset needs the VM's name, typed by a person")
        return None

    def _take(self) -> RescueOutcome:
        # Found anew, since the ladder that a person saw may be minutes old.
        step, serial = self._step, self._step.serial
        offers = survey(
            self._link,
            self._state,
            serial=serial,
            read_only=self._read_only,
            in_flight=self._beside,
        )
        fitting = [
            one for one in offers if (one.step.rung, one.step.means) == (step.rung, step.means)
        ]
        if len(fitting) != 1:
            return self._scene.refuse("which of its serial ports is meant was not said")
        (offer,) = fitting
        if not offer.possible:
            return self._scene.refuse(str(offer.why_not))
        if step.rung in (Rung.SYSRQ, Rung.RESET):
            why = unproven(self._link)
            if why is not None:
                return self._scene.refuse(why, "name the sockets of one VM: --vm")
        match step.rung:
            case Rung.CONNECT:
                return self._connect()
            case Rung.THAW:
                return self._scene.after_thaw(self._scene.thaw(self._scene.times.thaw_s))
            case Rung.WAIT:
                return self._wait()
            case Rung.SYSRQ:
                return sysrq(self._scene, offer.step)
            case Rung.RESET:
                return reset(self._scene)

    # -- connect ---------------------------------------------------------------------------

    def _connect(self) -> RescueOutcome:
        assert self._link.agent is not None, "the ladder has seen it"
        if not self._link.channel_lock.acquire(timeout=CHANNEL_WAIT_S):
            return self._scene.refuse("frostwatch itself is talking to this agent", "try again")
        try:
            wire = AgentWire(plain=self._link.plain)
            conversation = Conversation(self._link.connect(), wire)
        except ConnectFailed as error:
            self._link.channel_lock.release()
            return self._scene.refuse(f"the agent's channel can't be opened: {error}")
        try:
            return self._hold(conversation)
        except StreamEnded as error:
            return self._scene.outcome(Found.FAILED, f"the channel broke: {error}")
        finally:
            conversation.close()
            self._link.channel_lock.release()

    def _hold(self, conversation: Conversation) -> RescueOutcome:
        """Hold the connection without a word, then ask."""
        until = time.monotonic() + self._scene.times.hold_s
        self._scene.progress("an agent that spins to get rid of its answer", until)
        before = self._scene.look()
        left = b""
        while time.monotonic() < until:
            if not self._scene.pause(min(_STEP_S, until - time.monotonic())):
                return self._scene.stopped("nothing was sent")
            left += conversation.channel.receive()[:_MOST_LEFT_BYTES]
        after = self._scene.look()
        if left:
            said = printable(left.decode("utf-8", "replace").strip(), 200)
            self._scene.note(f"an answer was waiting for somebody to take it: {said}")
        elif None not in (before.reads, after.reads) and before.reads != after.reads:
            self._scene.note("the agent has read what somebody had left for it")
        return self._ask(conversation)

    def _ask(self, conversation: Conversation) -> RescueOutcome:
        agent = GuestAgent(str(self._link.vm.id), conversation, self._scene.control.cancellation)
        started = time.monotonic()
        try:
            agent.sync()
            state = agent.probe_status()
        except Cancelled:
            return self._scene.stopped("the agent had not answered")
        except AgentTimeout as error:
            self._scene.reporter.agent(AgentHealth(AgentState.SILENT, AgentHow.DEADLINE))
            reason = f"the agent did not answer {error.command} within {error.seconds:.1f} s"
            return self._scene.outcome(Found.SILENT, reason)
        except AgentError as error:
            return self._scene.outcome(Found.FAILED, printable(str(error), 300))
        rtt_s = time.monotonic() - started
        self._scene.reporter.agent(AgentHealth(AgentState.ALIVE, AgentHow.REPLY, rtt_s=rtt_s))
        return self._answered(state)

    def _answered(self, state: FreezeState) -> RescueOutcome:
        frozen = state is FreezeState.FROZEN
        self._scene.reporter.frozen(state, foreign=frozen and not self._scene.ours)
        if frozen:
            reason = "the agent answers, and says that the guest is frozen"
            return self._scene.outcome(Found.ANSWERS, reason, state=state)
        reason = "the agent answers, and says that nothing is frozen"
        return self._scene.outcome(Found.THAWED, reason, state=state)

    # -- wait ------------------------------------------------------------------------------

    def _wait(self) -> RescueOutcome:
        deadline = self._scene.began_at + self._scene.times.wait_s
        view = self._scene.await_port(deadline)
        if self._scene.cancelled:
            return self._scene.stopped("no agent had come back")
        if view.gone:
            reason = "the VM has gone: nothing in it is frozen any more"
            return self._scene.outcome(Found.RESET, reason)
        if view.port_open is False:
            seconds = self._scene.times.wait_s
            reason = f"no agent came back within {seconds:g} s: its port stayed closed"
            return self._scene.outcome(Found.NO_AGENT, reason)
        self._scene.note("an agent is there: it is thawed")
        left_s = deadline - time.monotonic()
        # A silent agent is waited for as well; one that came at the last moment gets its time.
        thaw = self._scene.thaw(max(left_s, self._scene.times.thaw_s))
        return self._scene.after_thaw(thaw)
