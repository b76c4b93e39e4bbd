"""Asks an agent, before a freeze, which commands it takes, and what the freeze will cover.

This is not possible later: a frozen guest answers few commands (protocol §3.2).
"""

from __future__ import annotations

from contextlib import suppress

from agentclient.access.agent import GuestAgent
from agentclient.access.guest_access import GuestAccess
from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.freeze.coverage import (
    FREEBSD_HINTS,
    Coverage,
    System,
    describe,
    system_by,
    system_of,
)
from agentclient.freeze.disks import without_file_systems, writable_disks
from agentclient.freeze.verdict import refused
from agentclient.model.errors import CommandFailed
from agentclient.model.outcome import FileSystem, Outcome
from agentclient.model.states import Refusal
from agentclient.protocol.qga_commands import (
    DISKS,
    FILE_SYSTEMS,
    FREEZE,
    FREEZE_LIST,
    OS_INFO,
    STATUS,
    THAW,
)
from agentclient.protocol.qga_replies import AgentInfo, FileSystemList, disks
from agentclient.protocol.qmp import value_of


def refused_by(info: AgentInfo, command: str) -> str | None:
    """Return why the agent does not take `command`, as a clause; None if it does."""
    if command in info.enabled:
        return None
    if command in info.known:
        return f"{command} is disabled by the agent's own filter (block-rpcs or allow-rpcs)"
    return f"{command} is not known to the agent ({info.version})"


def may_not(info: AgentInfo, mounts: tuple[str, ...]) -> Outcome | None:
    """Return the refusal if the agent does not take the commands to freeze and to thaw; or None."""
    freeze = refused_by(info, FREEZE_LIST if mounts else FREEZE)
    if freeze is not None:
        return refused(Refusal.DISABLED, freeze)
    thaw = refused_by(info, THAW)
    if thaw is not None:
        return refused(Refusal.DISABLED, f"the agent may freeze, but not thaw: {thaw}")
    return None


def no_status(agent: GuestAgent, error: CommandFailed) -> Outcome:
    """Return the refusal, with its reason, if the agent does not tell its freeze state.

    Raises:
        AgentError: the agent does not answer ``guest-info`` either.
    """
    why = error.desc
    with suppress(CommandFailed):
        why = refused_by(agent.info(), STATUS) or why
    return refused(Refusal.DISABLED, f"the agent can't tell its freeze state: {why}")


class Survey:
    """Finds out what a freeze of one guest will cover.

    Args:
        access: the access to the VM.
        agent: its agent, synchronised.
        info: the commands that the agent takes.
        mounts: the mount points to freeze; empty for everything.
        patience_s: how long each reply may take, in seconds.
    """

    def __init__(
        self,
        access: GuestAccess,
        agent: GuestAgent,
        info: AgentInfo,
        mounts: tuple[str, ...],
        patience_s: float,
    ) -> None:
        self._access = access
        self._agent = agent
        self._info = info
        self._mounts = mounts
        self._patience_s = patience_s

    def coverage(self) -> Coverage | str:
        """Ask the agent for its file systems and disks; blocking.

        Returns:
            What should freeze; or why that is not known, as a clause.

        Raises:
            AgentError: the agent did not answer, or not by the protocol.
        """
        try:
            listed = self._agent.fsinfo(self._patience_s)
        except CommandFailed as error:
            return refused_by(self._info, FILE_SYSTEMS) or error.desc
        found = listed.file_systems
        return Coverage(
            found, self._mounts, self._system(found), self._bare_disks(listed), listed.problem
        )

    def _system(self, found: tuple[FileSystem, ...]) -> System:
        """Return the guest's system; ask for it if the types of file systems don't show it."""
        if not any(one.kind.lower() in FREEBSD_HINTS for one in found):
            return System.OTHER
        try:
            return system_of(self._agent.request(OS_INFO, timeout_s=self._patience_s))
        except CommandFailed:
            return system_by(found)

    def _bare_disks(self, listed: FileSystemList) -> tuple[str, ...] | None:
        """Return the disks without a known file system; None if that can't be found out."""
        if self._mounts or listed.problem or not listed.file_systems:
            return None
        if DISKS in self._info.enabled:
            with suppress(CommandFailed):
                found = disks(self._agent.request(DISKS, timeout_s=self._patience_s))
                if found is not None:
                    return without_file_systems(found, listed.devices)
        return self._bare_by_number(listed)

    def _bare_by_number(self, listed: FileSystemList) -> tuple[str, ...] | None:
        """Compare how many disks QEMU has with how many the listed file systems are on."""
        if self._access.monitor is None or not listed.addresses:
            return None
        self._access.holds(self._access.observe())
        if self._access.doubt is not None:
            return None  # they may be another VM's disks (P10)
        try:
            (answer,) = self._access.monitor.ask([Ask("query-block")])
        except MonitorError:
            return None
        there = writable_disks(value_of(answer))
        if there is None:
            return None
        more = len(there) - len(listed.addresses)
        return (f"{more} of QEMU's disks ({', '.join(there)})",) if more > 0 else ()


def not_there(coverage: Coverage) -> Outcome | None:
    """Return the refusal of mount points that don't exist or can't freeze; None if all can."""
    if not coverage.mounts or coverage.problem is not None:
        return None
    if coverage.unknown_mounts:
        unknown = ", ".join(coverage.unknown_mounts)
        reason = f"the guest has no {unknown}; it has: {describe(coverage.file_systems)}"
        return refused(Refusal.MOUNTS, f"{reason}; the freeze was not sent")
    if coverage.expected:
        return None
    why = coverage.gaps or f"nothing is ever written to {describe(coverage.wanted)}"
    reason = f"nothing that was named can freeze: {why}; the freeze was not sent"
    return refused(Refusal.MOUNTS, reason)
