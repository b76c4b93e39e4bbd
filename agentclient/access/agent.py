"""A blocking client of a guest's agent: one call for each command, each with a deadline.

The operator's freeze does not use it: a freeze may take an hour, in which the monitor is watched;
`agentclient.operations.freeze` does that. What is sent, and what an answer to it is, is in
`agentclient.access.agent_steps`, and the same for the poller's probe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from agentclient.access.agent_session import AgentSession
from agentclient.access.agent_steps import (
    AgentLink,
    AgentSteps,
    Answer,
    Nonsense,
    Sync,
    ask,
    ask_status,
)
from agentclient.access.cancel import Cancellation
from agentclient.access.exchange import NoAnswer, run
from agentclient.access.stream import StreamEnded
from agentclient.model.errors import (
    AgentTimeout,
    ChannelBroken,
    CommandFailed,
    CommandLost,
    ProtocolViolation,
)
from agentclient.model.states import Cause, FreezeState
from agentclient.model.text import printable
from agentclient.protocol.qga_commands import (
    FILE_SYSTEMS,
    FREEZE,
    FREEZE_LIST,
    INFO,
    STATUS,
    SYNC,
    THAW,
)
from agentclient.protocol.qga_events import Failure, PassedOver
from agentclient.protocol.qga_replies import (
    AgentInfo,
    FileSystemList,
    agent_info,
    file_systems,
    freeze_state,
)

T = TypeVar("T")
DEFAULT_TIMEOUT_S: Final = 5.0
SYNC_TIMEOUT_S: Final = 3.0
TIMEOUTS: Final[Mapping[str, float]] = MappingProxyType(
    {
        # Seconds by command; what isn't named here has DEFAULT_TIMEOUT_S (protocol §4).
        SYNC: SYNC_TIMEOUT_S,
        FREEZE: 600.0,
        FREEZE_LIST: 600.0,
        THAW: 180.0,
        "guest-fstrim": 600.0,
        "guest-shutdown": 600.0,
        "guest-suspend-ram": 600.0,
        "guest-suspend-disk": 600.0,
        "guest-suspend-hybrid": 600.0,
        "guest-set-memory-blocks": 60.0,
        "guest-set-vcpus": 60.0,
    }
)


def timeout_of(command: str) -> float:
    """Return how many seconds `command` may take."""
    return TIMEOUTS.get(command, DEFAULT_TIMEOUT_S)


class GuestAgent:
    """The agent of one VM on one connection, with at most one command in flight.

    Args:
        vm: the VM's id as a person reads it.
        session: the connection.
        cancellation: ends every wait early.
        watch: is called each second of a wait; an exception that it raises ends the wait.
    """

    def __init__(
        self,
        vm: str,
        session: AgentSession,
        cancellation: Cancellation | None = None,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._vm = vm
        self._session = session
        self._cancellation = cancellation
        self._watch = watch
        self._in_step = False

    def sync(self, timeout_s: float = SYNC_TIMEOUT_S) -> None:
        """Prove that the agent answers us, and discard replies to earlier requests.

        Args:
            timeout_s: how long to wait, in seconds; an idle agent takes up to 0.1 (protocol §1.12).

        Raises:
            AgentTimeout: no answer; the agent is hung or dead, or another client is served.
            CommandFailed: the agent answers, but takes no sync of either kind.
            ProtocolViolation: no agent answers there.
            ChannelBroken: the stream ended.
            Cancelled: the cancellation was set.
        """
        self._in_step = False
        started, sync = time.monotonic(), Sync(self._session)
        if not self._is_synced(sync, started, timeout_s / 2):
            # It is sent as the other kind: perhaps the agent takes that.
            self._sync_at_last(sync, started, timeout_s)
        self._in_step = True

    def _is_synced(self, sync: Sync, started: float, limit_s: float) -> bool:
        try:
            return self._run(sync.steps(), SYNC, started, limit_s)
        except AgentTimeout:
            return False

    def _sync_at_last(self, sync: Sync, started: float, limit_s: float) -> None:
        try:
            self._run(sync.steps(patient=True), SYNC, started, limit_s)
        except AgentTimeout as error:
            if sync.refusal is None:
                raise
            raise CommandFailed(self._vm, SYNC, *sync.refusal, _since(started)) from error

    def request(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        timeout_s: float | None = None,
    ) -> object:
        """Send one command, and return the value of its reply, whose type is not checked.

        After a timeout the channel is synchronised again before the next command.

        Args:
            command: the agent's command.
            arguments: its arguments.
            timeout_s: how long to wait, in seconds; None for `timeout_of` the command.

        Raises:
            AgentTimeout: no answer in time; the command may still run.
            CommandFailed: the agent answered with an error.
            CommandLost: a later request was answered first.
            ProtocolViolation: the guest has sent something that is no reply.
            ChannelBroken: the stream ended.
            Cancelled: the cancellation was set.
        """
        limit_s = timeout_of(command) if timeout_s is None else timeout_s
        return self._ask_in_step(ask(self._session, command, arguments), command, limit_s)

    def probe_status(self) -> FreezeState:
        """Ask ``guest-fsfreeze-status``, and find out if the agent takes ids (protocol §2.4).

        Raises the same as `request`.
        """
        limit_s = timeout_of(STATUS)
        return self._freeze_state(self._ask_in_step(ask_status(self._session), STATUS, limit_s))

    def info(self) -> AgentInfo:
        """Ask ``guest-info``.

        Raises the same as `request`.
        """
        value = self.request(INFO)
        info = agent_info(value)
        if info is None:
            raise self._wrong(INFO, value)
        return info

    def fsinfo(self, timeout_s: float | None = None) -> FileSystemList:
        """Return the mounted file systems (``guest-get-fsinfo``), safe to show.

        Raises the same as `request`.
        """
        value = self.request(FILE_SYSTEMS, timeout_s=timeout_s)
        found = file_systems(value)
        if found is None:
            raise self._wrong(FILE_SYSTEMS, value)
        return found

    def _freeze_state(self, value: object) -> FreezeState:
        state = freeze_state(value)
        if state is None:
            raise self._wrong(STATUS, value)
        return state

    def _wrong(self, command: str, value: object) -> ProtocolViolation:
        return ProtocolViolation(
            self._vm, command, f"the answer is of the wrong type: {printable(value, 80)}"
        )

    def _ask_in_step(self, steps: AgentSteps[Answer], command: str, limit_s: float) -> object:
        """Ask on a synchronised channel; note if it has to be synchronised again."""
        if not self._in_step:
            self.sync()
        started = time.monotonic()
        self._session.allow(command, limit_s)
        try:
            answer = self._run(steps, command, started, limit_s)
            if isinstance(answer, PassedOver):
                raise CommandLost(self._vm, command, Cause.UNKNOWN, _since(started))
        except BaseException:
            self._in_step = False
            raise
        if isinstance(answer, Failure):
            why = (answer.error_class, answer.desc)
            raise CommandFailed(self._vm, command, *why, _since(started))
        return answer.value

    def _run(self, steps: AgentSteps[T], command: str, started: float, limit_s: float) -> T:
        """Run steps until `limit_s` seconds after `started`.

        Raises:
            AgentTimeout: that time has passed.
        """
        link = AgentLink(self._session, started + DEFAULT_TIMEOUT_S)
        try:
            return run(steps, link, started + limit_s, self._cancellation, self._watch)
        except NoAnswer as error:
            raise AgentTimeout(
                self._vm,
                command,
                "no answer; the agent is busy, hung or dead, or another client is served",
                _since(started),
                "It may still run",
            ) from error
        except TimeoutError as error:
            raise AgentTimeout(self._vm, command, str(error), _since(started)) from error
        except StreamEnded as error:
            raise ChannelBroken(self._vm, command, str(error), _since(started)) from error
        except Nonsense as error:
            raise ProtocolViolation(self._vm, command, str(error), _since(started)) from error


def _since(started: float) -> float:
    return time.monotonic() - started
