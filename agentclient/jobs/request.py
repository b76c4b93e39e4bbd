"""What an operator asks of a job: which disks, where to, under which freeze, how fast."""

from __future__ import annotations

from dataclasses import dataclass

from agentclient.model.job import FreezePolicy
from agentclient.model.request import FreezeRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """What all kinds of copies take.

    Attributes:
        policy: what is done about the freeze, and where it fails.
        disks: the names of the disks to copy; empty for all that the guest can write to.
        freeze: the freeze's bounds; None for the VM's own, held for 10 s at the most.
    """

    policy: FreezePolicy = FreezePolicy.REQUIRE
    disks: tuple[str, ...] = ()
    freeze: FreezeRequest | None = None
