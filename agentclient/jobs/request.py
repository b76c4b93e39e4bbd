"""What an operator asks of a job: which disks, where to, under which freeze, how fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentclient.model.job import FreezePolicy
from agentclient.model.next_command import copy_command
from agentclient.model.request import FreezeRequest
from agentclient.model.vm import Vm


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """What all kinds of copies take.

    Attributes:
        policy: what is done about the freeze, and where it fails.
        disks: the names of the disks to copy; empty for all that the guest can write to.
        freeze: the freeze's bounds; None for the VM's own, held for 10 s at the most.
        strict: a freeze counts only if it covers every file system; where `freeze` is None.
    """

    policy: FreezePolicy = FreezePolicy.REQUIRE
    disks: tuple[str, ...] = ()
    freeze: FreezeRequest | None = None
    strict: bool = False

    def again(self, vm: Vm, limit: int) -> str | None:  # noqa: ARG002 - each kind has its own
        """Return the command that asks for the same once more; None if there is none.

        Args:
            vm: the VM.
            limit: the most bytes a second that it may copy; 0 without a limit.
        """
        return None

    def options(self, limit: int = 0) -> list[str]:
        """Return the options that all kinds of copies take."""
        words = [word for name in self.disks for word in ("--disk", name)]
        if self.policy is not FreezePolicy.REQUIRE:
            words += ["--policy", self.policy.value]
        words += ["--strict"] if self.strict else []
        return [*words, "--rate", str(limit)] if limit else words


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest(CopyRequest):
    """What an operator asks of a backup.

    Attributes:
        folder: where backups are; each has a folder of its own in there, VM by VM. Absolute.
        incremental: copy only what was written since the last backup in there.
        or_full: make a full one, and say why, where there can be no incremental one.
        compress: have QEMU compress what it writes.
        fleece: the folder where what the guest overwrites is kept until it is copied; ``auto`` for
            the backup's own; ``off`` for none: the guest's writes wait for the backup's files then.
        record: have the disks record what is written from now on, for an incremental one.
    """

    folder: Path
    incremental: bool = False
    or_full: bool = False
    compress: bool = False
    record: bool = True
    fleece: Path | Literal["auto", "off"] = "auto"

    def again(self, vm: Vm, limit: int) -> str | None:
        """Return the command that asks for the same once more."""
        words = ["--to", str(self.folder)]
        mode = "auto" if self.or_full else "incremental"
        words += ["--mode", mode] if self.incremental else []
        words += ["--compress"] if self.compress else []
        words += [] if self.record else ["--no-record"]
        words += ["--fleece", str(self.fleece)] if self.fleece != "auto" else []
        return copy_command([vm], ["backup"], [*words, *self.options(limit)])
