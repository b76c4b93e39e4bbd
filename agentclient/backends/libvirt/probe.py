"""The questions of visits to one agent: at most one is in flight, and nobody waits beyond a bound.

Where another caller's command runs, libvirt lets a question wait for half a minute whatever bound
it has, and then says so (protocol §5.4). So it is left in its thread, and what it comes to is known
at the next visit. Meanwhile it is looked for whose command that may be.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Final

from agentclient.access.agent_probe import ProbeResult
from agentclient.access.call_session import (
    AgentBusy,
    AgentCalls,
    AgentGone,
    CallFailed,
    CallTimedOut,
)
from agentclient.model.errors import NO_THREAD
from agentclient.model.states import FreezeState
from agentclient.model.text import printable
from agentclient.protocol.qga_commands import FILE_SYSTEMS, INFO, STATUS
from agentclient.protocol.qga_replies import agent_info, file_systems, freeze_state

# Seconds between two questions to an agent that another caller's command keeps.
AGAIN_S: Final = 5.0
# A call that libvirt has passed on comes back within that: its bound, behind a sync of at most 5 s,
# or behind two more calls. One that is still out waits for another caller's.
SURE_S: Final = 10.0
# Seconds between two looks for whose that may be.
SUSPECT_AGAIN_S: Final = 1.0
# Whose call has the domain: what libvirt calls it, and what a person does.
_HELD_BY: Final = re.compile(r"held by [^)]*agent=(\w+)")
_CALLERS: Final = {
    "remoteDispatchDomainFSFreeze": "another caller's freeze (domfsfreeze)",
    "remoteDispatchDomainFSThaw": "another caller's thaw (domfsthaw)",
    "remoteDispatchDomainSnapshotCreateXML": "a snapshot that quiesces the guest",
    "qemuDispatchDomainAgentCommand": "another caller's agent command",
}


class NotPassedOn(CallFailed):
    """Libvirt does not pass the command on: what it says is no answer of the agent's."""

    def __init__(self, text: str) -> None:
        super().__init__("", text)


class Probes:
    """The questions to one agent.

    Args:
        calls: the agent.
        suspect: returns whose command may keep the agent, as a clause; None if nobody's is known
            to; it is told whether some other caller's does for sure.
    """

    def __init__(
        self, calls: AgentCalls, suspect: Callable[[bool], str | None] = lambda _: None
    ) -> None:
        self._calls = calls
        self._suspect = suspect
        self._began_at = self._suspected_at = float("-inf")
        self._lock = threading.Lock()
        self._running = False
        self._ended_at = float("-inf")
        self._busy: str | None = None
        self._guessed = False

    @property
    def busy(self) -> str | None:
        """Whose command keeps the agent, as far as it is known; None if nobody's does."""
        return self._busy

    def ask(self, *, first: bool, timeout_s: float) -> ProbeResult:
        """Ask the agent, for as long as a visit may take (see `GuestCalls.ask`)."""
        result, ended = ProbeResult(), threading.Event()

        def ask() -> None:
            self._ask(result, first=first, timeout_s=timeout_s)

        if not self._begin(ask, ended) or not ended.wait(timeout_s):
            self._look_for_others()
            return ProbeResult(detail="libvirt has not passed on an answer yet")
        return result

    def ask_again(self) -> None:
        """Find out whether the agent is still kept by another caller's command, in a thread."""
        self._look_for_others()
        if self._busy is not None and time.monotonic() - self._ended_at >= AGAIN_S:
            self._begin(
                lambda: self._ask(ProbeResult(), first=False, timeout_s=1.0), threading.Event()
            )

    def _look_for_others(self) -> None:
        """Find out whose command may keep a question that is out for longer than it should be."""
        with self._lock:
            now = time.monotonic()
            out_s = now - self._began_at
            rested = now - self._suspected_at >= SUSPECT_AGAIN_S
            if not self._running or out_s < SUSPECT_AGAIN_S or not rested:
                return
            self._suspected_at, asked = now, self._began_at
        found = self._suspect(out_s >= SURE_S)
        with self._lock:
            known = self._busy is not None and not self._guessed  # libvirt itself has told it
            if self._running and self._began_at == asked and found is not None and not known:
                self._busy, self._guessed = found, True

    def _begin(self, ask: Callable[[], None], ended: threading.Event) -> bool:
        with self._lock:
            if self._running:
                return False
            self._running, self._began_at = True, time.monotonic()

        def run() -> None:
            try:
                ask()
            finally:
                with self._lock:
                    self._running, self._ended_at = False, time.monotonic()
                ended.set()

        try:
            threading.Thread(target=run, name="libvirt probe", daemon=True).start()
        except NO_THREAD:
            self._running = False
            return False
        return True

    def _ask(self, result: ProbeResult, *, first: bool, timeout_s: float) -> None:
        began = time.monotonic()
        try:
            result.frozen = freeze_state(self._calls.call(STATUS, None, timeout_s))
            result.rtt_s = time.monotonic() - began
            self._busy = None
            if not first:
                return
            info = agent_info(self._calls.call(INFO, None, timeout_s))
            result.version = info.version if info else "unknown"
            if result.frozen is FreezeState.THAWED:
                listed = file_systems(self._calls.call(FILE_SYSTEMS, None, timeout_s))
                result.file_systems = listed.file_systems if listed else None
        except AgentBusy as error:
            self._busy, self._guessed = who_is_busy(str(error)), False
        except (AgentGone, CallFailed, CallTimedOut) as error:
            if isinstance(error, CallFailed) and not isinstance(error, NotPassedOn):
                result.rtt_s = result.rtt_s or time.monotonic() - began  # the agent's own answer
            result.detail = printable(error, 200)
            self._busy = None


def who_is_busy(text: str) -> str:
    """Return, for a person, whose command keeps an agent, by what libvirt says."""
    found = _HELD_BY.search(text)
    if found is None:
        return printable(text, 200)
    return _CALLERS.get(found[1], f"another caller's {printable(found[1], 60)}")
