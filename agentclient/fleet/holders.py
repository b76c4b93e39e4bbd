"""Finds who holds busy channels: for all of them at once, since that looks at all of /proc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentclient.access.access_pool import AccessPool
from agentclient.access.guest_access import GuestAccess, Holders
from agentclient.access.local_access import LocalAccess, holders_of
from agentclient.fleet.others import HeldChannels
from agentclient.fleet.store import Fleet
from agentclient.model.snapshot import VmState
from agentclient.model.states import AgentState
from agentclient.model.vm import VmId

EVERY_S: Final = 1.0


class HolderNames:
    """Names who holds the fleet's busy channels, once a second at most.

    Args:
        fleet: where the names are written.
        accesses: gives access to each VM.
        held: the channels that others hold.
    """

    def __init__(self, fleet: Fleet, accesses: AccessPool, held: HeldChannels) -> None:
        self._fleet = fleet
        self._accesses = accesses
        self._held = held
        self._named_at = float("-inf")

    def name(self, state: VmState, now: float) -> None:
        """Name who holds a VM's channel, and all others that are not named yet.

        Args:
            state: what is known of the VM.
            now: seconds of the monotonic clock.
        """
        if state.agent.state is not AgentState.BUSY:
            return
        access = self._accesses.of(state.vm)
        if not isinstance(access, LocalAccess):
            self._name_caller(state, access)
        elif self._is_wanted(state) and now - self._named_at >= EVERY_S:
            self._named_at = now
            for vm_id, holders in self._found().items():
                self._take(vm_id, holders)

    def _name_caller(self, state: VmState, access: GuestAccess) -> None:
        """Name whose command keeps an agent that is reached by calls: a guess may be known by now.

        To ask costs nothing.
        """
        holders = access.holders()
        if state.agent.detail is None or (holders and holders.words != state.agent.detail):
            self._take(state.id, holders or Holders(None, None))

    def _is_wanted(self, state: VmState) -> bool:
        busy = state.agent.state is AgentState.BUSY
        return busy and (state.agent.detail is None or self._held.is_to_be_named(state.id))

    def _found(self) -> Mapping[VmId, Holders]:
        wanted = [one for one in self._fleet.states() if self._is_wanted(one)]
        all_of_them = [self._accesses.of(one.vm) for one in wanted]
        return holders_of(one for one in all_of_them if isinstance(one, LocalAccess))

    def _take(self, vm_id: VmId, holders: Holders) -> None:
        detail = holders.words or "held, and nobody can tell by whom"
        self._held.named(vm_id, holders.client)

        def change(old: VmState) -> VmState:
            if old.agent.state is AgentState.BUSY:
                old = old._replace(agent=old.agent._replace(detail=detail))
            return old.with_held_by(holders.frostwatch) if old.held_by is None else old

        self._fleet.update(vm_id, change)
