"""What an operator asks of a command under a freeze, and the freezes that follow from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from agentclient.config.defaults import DEFAULTS
from agentclient.model.command import OnOverrun, ThawWhen
from agentclient.model.errors import BadInput
from agentclient.model.job import FreezePolicy
from agentclient.model.next_command import copy_command
from agentclient.model.policy import VmPolicy
from agentclient.model.request import FreezeRequest, Schedule
from agentclient.model.vm import Vm


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """What an operator asks of a command.

    Attributes:
        argv: the command and its arguments.
        policy: what is done where a freeze fails: `REQUIRE` or `PREFER`.
        together: the VMs are frozen as a group: all of them, or none.
        within_s: how long it may take until all of a group are frozen, in seconds.
        hold_s: the longest window, in seconds; None for the hold that is set for a VM, or for its
            maximum where none is set.
        mounts: the mount points to freeze; empty for everything.
        strict: full coverage is demanded.
        long_hold: a person has decided to hold also a Windows guest for more than 10 s.
        remote_hold: a person has decided to freeze also a VM of another host, where nobody would
            thaw it if the link there were cut.
        thaw_when: when the guests are thawed, at the latest when the command has ended.
        disks: with `ThawWhen.JOB_STARTED`, whose block jobs are waited for; empty for all.
        on_overrun: what becomes of a command that runs on when a window is over.
        stdout: the descriptor that becomes the command's stdout; None for this process's.
        asked_at: when it was asked for (monotonic seconds), from which all moments are counted;
            None for now.

    Raises:
        BadInput: it contradicts itself.
    """

    argv: tuple[str, ...]
    policy: FreezePolicy = FreezePolicy.REQUIRE
    together: bool = False
    within_s: float = DEFAULTS.within_s
    hold_s: float | None = None
    mounts: tuple[str, ...] = ()
    strict: bool = False
    long_hold: bool = True
    remote_hold: bool = False
    thaw_when: ThawWhen = ThawWhen.COMMAND_ENDED
    disks: tuple[str, ...] = ()
    on_overrun: OnOverrun = OnOverrun.WARN
    stdout: int | None = None
    asked_at: float | None = None

    def __post_init__(self) -> None:
        if self.policy not in (FreezePolicy.REQUIRE, FreezePolicy.PREFER):
            raise BadInput(
                f"a command can't run with the policy {self.policy}: choose require or prefer"
            )
        if self.hold_s == 0:
            raise BadInput("a command needs a window: its hold can't be 0")
        if self.disks and self.thaw_when is not ThawWhen.JOB_STARTED:
            raise BadInput("disks are named for --thaw-when=job-started alone")

    def again(self, vms: Iterable[Vm]) -> str:
        """Return the command line that asks for the same once more."""
        words = [word for name in self.mounts for word in ("--mount", name)]
        words += ["--strict"] if self.strict else []
        words += ["--remote-hold"] if self.remote_hold else []
        words += ["--together"] if self.together else []
        if self.together and self.within_s != DEFAULTS.within_s:
            words += ["--within", f"{self.within_s:g}"]
        words += ["--hold", f"{self.hold_s:g}"] if self.hold_s is not None else []
        words += ["--policy", self.policy.value] if self.policy is FreezePolicy.PREFER else []
        if self.on_overrun is not OnOverrun.WARN:
            words += ["--on-overrun", self.on_overrun.value]
        if self.thaw_when is not ThawWhen.COMMAND_ENDED:
            words += ["--thaw-when", self.thaw_when.value]
        words += [word for name in self.disks for word in ("--disk", name)]
        return copy_command(vms, ["freeze"], [*words, "--", *self.argv])

    def freeze_of(self, policy: VmPolicy | None) -> FreezeRequest:
        """Return the freeze of one VM.

        Args:
            policy: what is set for the VM.

        Raises:
            BadInput: its window would be longer than it may be.
        """
        schedule = Schedule.of(policy, hold_s=self.hold_s)
        return self._request(schedule, schedule.maximum_hold_s)

    def freeze_of_group(self, policies: Iterable[VmPolicy | None]) -> FreezeRequest:
        """Return the freeze of all VMs of a group; `within_s` comes on top of its hold.

        Raises:
            BadInput: its window would be longer than one of them may be held.
        """
        schedule = Schedule.together(policies)
        if self.hold_s is not None:
            schedule = replace(schedule, hold_s=self.hold_s)
        most_s = schedule.maximum_hold_s - self.within_s
        if most_s <= 0:
            raise BadInput(
                f"within {self.within_s:g} s: nothing is left of the {schedule.maximum_hold_s:g} s "
                "that a window may be held; choose a shorter --within"
            )
        return self._request(schedule, most_s)

    def _request(self, schedule: Schedule, most_s: float) -> FreezeRequest:
        if not schedule.hold_s:
            schedule = replace(schedule, hold_s=most_s)
        return FreezeRequest(
            self.mounts, self.strict, schedule, self.long_hold, remote_hold=self.remote_hold
        )
