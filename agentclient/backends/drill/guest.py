"""One simulated guest, pure: bytes in, bytes out, and the time as an argument.

A guest has disks (the real state of its file systems), an agent (which runs one command after the
other), and a port between agent and host. There is no I/O, no clock and no thread, so that a test
of 40 s takes microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from agentclient.backends.drill import agent_replies as answers
from agentclient.backends.drill.agent_replies import Refused, line
from agentclient.backends.drill.block import DrillBlock
from agentclient.backends.drill.copy_troubles import CopyTrouble
from agentclient.backends.drill.disks import Disks
from agentclient.backends.drill.others_client import OTHERS, OthersClient
from agentclient.backends.drill.plan import GuestPlan
from agentclient.backends.drill.troubles import (
    BOOT_S,
    HUGE_BYTES,
    REFREEZE_S,
    RESTARTED_S,
    TROUBLES,
    FreezeBehaviour,
    Trouble,
)

NEVER: Final = float("inf")
# How far the controller's queue has moved when an agent has opened its port for the first time.
OPENINGS_AT_BOOT: Final = 3
_AGAIN_S = 5.0
_THAW_S = 0.05

_Step = tuple[float, Callable[[Any], None], Any]


class DrillGuest:
    """One simulated guest.

    All times are seconds of one monotonic clock, whose speed does not matter.

    Args:
        plan: the guest's properties.

    Attributes:
        disks: the real state of its file systems.
        flag: the agent's own state, which it keeps in a file: it has frozen (protocol §3.3).
        alive: an agent runs, so the port's guest side is open.
        client: a client is connected to the port's host side.
        openings: a counter that moves when the port opens or closes; 0 at a reset (§1.10).
        reads: a counter that moves when the agent reads a command (§1.10).
        answers: a counter that moves when the agent answers (§10.1).
    """

    __slots__ = (
        "_block",
        "_freeze_behaviour",
        "_hung",
        "_now",
        "_others",
        "_output",
        "_scheduled",
        "_struck",
        "_task",
        "_trouble",
        "_unread",
        "alive",
        "answers",
        "client",
        "disks",
        "flag",
        "openings",
        "plan",
        "reads",
    )  # fmt: skip

    def __init__(self, plan: GuestPlan) -> None:
        self.plan = plan
        self.disks = Disks(plan.file_systems, plan.load)
        self.flag = False
        self.alive = True
        self.openings = OPENINGS_AT_BOOT
        self.reads = 0
        self.answers = 0
        self._block: DrillBlock | None = None
        self._trouble = plan.trouble
        self._freeze_behaviour = TROUBLES[plan.trouble].freeze_behaviour
        self.client = self._trouble is Trouble.BUSY
        others = OTHERS.get(self._trouble)
        self._others = OthersClient(others, plan.begins_s) if others is not None else None
        self._hung = False
        self._struck = 0  # how many freezes the trouble has struck
        self._now = 0.0
        self._unread = b""
        self._output = b""
        self._task: list[_Step] = []
        self._scheduled: list[_Step] = []
        if self._others is not None and not plan.begins_s:
            self._others.step(self, 0.0)  # they were there before anybody else
        if self._trouble is Trouble.FOREIGN:
            self._freeze_foreign()

    # -- the host's side ----------------------------------------------------------------------

    @property
    def block(self) -> DrillBlock:
        """Its block layer; made when it is first used, since most guests of a drill never do."""
        if self._block is None:
            self._block = DrillBlock(self.plan.name, self.plan.disks, self.plan.copies)
        return self._block

    @property
    def has_no_jobs(self) -> bool:
        """Whether no job can run, since nobody has asked for one."""
        begins = self.plan.copies in (CopyTrouble.OTHERS, CopyTrouble.LEFT)
        return self._block is None and not begins

    @property
    def accepts(self) -> bool:
        """Whether a client can be served: not while another client stays connected."""
        others = self._others is not None and self._others.connected
        return self._trouble is not Trouble.BUSY and not others

    @property
    def handed(self) -> int:
        """A counter that moves when a client's command is handed to the guest (§10.1)."""
        return self.reads + (self._unread.count(b"\n") if self.alive else 0)

    def client_came(self, now: float) -> None:
        """Serve a client from now on; it also gets replies that no client has read yet (§3.5)."""
        if self._others is not None:
            self._others.wait(now + _AGAIN_S)
        self.advance(now)
        self.client = True
        self.advance(now)

    def client_left(self, now: float) -> None:
        """Serve no client any more; bytes that wait for a closed port are dropped (§1.8)."""
        self.advance(now)
        self._client_left()

    def others_left(self) -> None:
        """Serve the client of others no more; it has read all that was answered."""
        self._output = b""
        self._client_left()

    def _client_left(self) -> None:
        self.client = False
        if not self.alive:
            self._unread = b""

    def receive(self, now: float, data: bytes) -> None:
        """Take the client's bytes."""
        self.advance(now)
        if self._trouble is not Trouble.SILENT:  # a stopped agent would never read the bytes
            self._unread += data
        self.advance(now)

    def thaw_by_key(self, now: float) -> None:
        """Thaw by SysRq and j: the kernel thaws all file systems; the agent's flag stays.

        The thaw also writes on an idle ext4: test_sysrq_is_seen_on_an_idle_guest_too.
        """
        self.advance(now)
        if self.disks.thaw(now):
            self.disks.touch()
        if self._hung:
            again = now + RESTARTED_S
            self._scheduled = [(again, self._kill, None), (again, self._start, None)]

    def reset(self, now: float) -> None:
        """Reset the guest (test_a_reset_needs_the_name_and_leaves_nothing_frozen)."""
        self.advance(now)
        self._reset(None)
        if self._trouble is Trouble.SILENT:  # the new agent is not stopped
            self._trouble = Trouble.FAST
        self._scheduled = [(now + BOOT_S, self._start, None)]

    def take_output(self) -> bytes:
        """Return, and remove, the agent's bytes for the client."""
        if not self.client:
            return b""
        if not self.accepts:
            self._output = b""  # it is the client of others who has read it
        data, self._output = self._output, b""
        return data

    # -- time ---------------------------------------------------------------------------------

    @property
    def wakes_at(self) -> float:
        """The time of the guest's next step."""
        others = self._others.wakes_at if self._others is not None else NEVER
        return min(self._own_step_at, others)

    @property
    def _own_step_at(self) -> float:
        task = self._task[0][0] if self._task else NEVER
        return min(task, self._scheduled[0][0] if self._scheduled else NEVER)

    def advance(self, now: float) -> None:
        """Run the guest until `now`."""
        while True:
            if self._wants_work:
                self._work()
            elif self.wakes_at <= now:
                self._next_step()
            else:
                break
        self._now = max(self._now, now)

    @property
    def _wants_work(self) -> bool:
        """Whether the agent can read a command: it is idle, and its last reply was taken."""
        stuck = bool(self._output) and not self.client
        works = self.alive and not self._hung
        return works and not self._task and not stuck and b"\n" in self._unread

    def _next_step(self) -> None:
        others = self._others
        if others is not None and others.wakes_at < self._own_step_at:
            self._now = max(self._now, others.wakes_at)
            others.step(self, self._now)
            return
        steps = (
            self._scheduled
            if self._scheduled and self._scheduled[0][0] == self._own_step_at
            else self._task
        )
        at, step, argument = steps.pop(0)
        self._now = max(self._now, at)
        step(argument)

    # -- the agent ----------------------------------------------------------------------------

    def _work(self) -> None:
        """Read one line, and run its command; one command after the other (§3.1)."""
        command, _, self._unread = self._unread.partition(b"\n")
        self.reads += 1
        # The leading 0xFF of a sync: test_fact_leading_ff_gives_one_error_line.
        *torn, command = command.split(answers.SENTINEL)
        for _ in torn:
            self._say(error=answers.NO_JSON)
        if command.strip():
            self._command(command)

    def _command(self, text: bytes) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self._say(error=answers.NO_JSON)
            return
        tag = {"id": message["id"]} if "id" in message else {}
        try:
            self._run(message, tag)
        except Refused as refusal:
            self._say(error=refusal.body, **tag)

    def _run(self, message: dict[str, Any], tag: dict[str, Any]) -> None:
        command = answers.check(message.get("execute"), frozen=self.flag)
        given = message.get("arguments")
        arguments = given if isinstance(given, dict) else {}
        match command:
            case answers.SYNC:
                value = answers.sync_id(arguments)
                self._output += answers.SENTINEL
                self._say(value=value, **tag)
            case answers.FREEZE:
                self._begin_freeze(self.disks.order(None), tag)
            case answers.FREEZE_LIST:
                self._begin_freeze(self.disks.order(arguments.get("mountpoints") or ()), tag)
            case answers.THAW:
                self._task = [(self._now + _THAW_S, self._thaw, tag)]
            case answers.FILE_SYSTEMS if self._trouble is Trouble.HUGE:
                self._output += b'{"return": "' + b"x" * HUGE_BYTES + b'"}\n'
            case _:
                self._say(value=self._value(command, arguments), **tag)

    def _value(self, command: str, arguments: dict[str, Any]) -> object:
        match command:
            case answers.STATUS:
                return "frozen" if self.flag else "thawed"
            case answers.FILE_SYSTEMS:
                return answers.fsinfo(self.disks.file_systems)
            case "guest-info":
                return answers.info(self.plan.version, frozen=self.flag)
            case "guest-sync":
                return answers.sync_id(arguments)
            case "guest-get-osinfo":
                return {"id": "debian", "name": "Debian GNU/Linux", "version-id": "12"}
            case _:
                return {}

    def _say(self, **body: object) -> None:
        self.answers += 1
        self._output += line(**body)

    # -- a freeze -----------------------------------------------------------------------------

    def _begin_freeze(self, devices: list[str], tag: dict[str, Any]) -> None:
        """Schedule the hook, the flag, each device and the reply; and the trouble in between."""
        strikes = self.plan.strikes
        if strikes is not None and self._struck >= strikes:
            self._freeze_behaviour = FreezeBehaviour()
        self._struck += 1
        freeze_behaviour = self._freeze_behaviour
        at = self._now + freeze_behaviour.hook_s
        if freeze_behaviour.error:
            self._task = [(at, self._fail, tag)]
        else:
            self._task = [(at, self._flush, None)]
            for device in devices:
                at += freeze_behaviour.flush_s
                self._task.append((at, self._freeze, device))
            self._task.append((at, self._answer, tag))
        if freeze_behaviour.dies_s is not None:
            dies_at = self._now + freeze_behaviour.dies_s
            step = self._reset if freeze_behaviour.resets else self._kill
            self._scheduled = [
                (dies_at, step, None),
                (dies_at + freeze_behaviour.back_s, self._start, None),
            ]

    def _fail(self, tag: dict[str, Any]) -> None:
        """Reply that the hook has failed: nothing is frozen (§3.8)."""
        self._say(error={"class": "GenericError", "desc": self._freeze_behaviour.error}, **tag)

    def _flush(self, _: None) -> None:
        """Set the flag, before the first file system (test_fact_half_frozen_says_frozen)."""
        self.flag = True
        if self._freeze_behaviour.flush_bytes_s:
            self.disks.write(self._now, self._freeze_behaviour.flush_bytes_s)

    def _freeze(self, device: str) -> None:
        self.disks.freeze(self._now, device)

    def _answer(self, tag: dict[str, Any]) -> None:
        self._say(value=len(self.disks.frozen), **tag)
        if self._freeze_behaviour.hangs_s is not None:
            self._scheduled = [(self._now + self._freeze_behaviour.hangs_s, self._hang, None)]

    def _hang(self, _: None) -> None:
        """Stop the agent while it is frozen: its port stays open, and it reads nothing any more."""
        self._hung = self.flag

    def _thaw(self, tag: dict[str, Any]) -> None:
        self.flag = False
        self._say(value=self.disks.thaw(self._now), **tag)
        if self._trouble is Trouble.FOREIGN:
            self._scheduled = [(self._now + REFREEZE_S, self._refreeze, None)]

    # -- troubles -----------------------------------------------------------------------------

    def _kill(self, _: None) -> None:
        """Kill the agent: frozen disks stay frozen; unread bytes wait for the next agent."""
        self._close()
        self.disks.write(self._now)
        self.openings += 1

    def _reset(self, _: None) -> None:
        """Reset the machine: nothing is frozen, and all commands are lost."""
        self._close()
        self._unread = b""
        self.flag = False
        self.disks.thaw(self._now)
        self.openings = self.reads = self.answers = 0

    def _start(self, _: None) -> None:
        """Start an agent, which takes its state from the flag."""
        self.alive, self._hung = True, False
        self.openings += 1 if self.openings else OPENINGS_AT_BOOT

    def _refreeze(self, _: None) -> None:
        """Freeze the guest as another program would; later, if the guest is in use now."""
        if self.client or self.flag or self._task:
            self._scheduled = [(self._now + _AGAIN_S, self._refreeze, None)]
        else:
            self._freeze_foreign()

    def _freeze_foreign(self) -> None:
        self.flag = True
        for device in self.disks.order(None):
            self.disks.freeze(self._now, device)

    def _close(self) -> None:
        self.alive = False
        self._task.clear()
        if not self.client:
            self._output = b""
