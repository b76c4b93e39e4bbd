"""A guest in virtual time: its file systems, its agent and its host, without any I/O.

It is simpler than a real one and only as true as the tests with real guests that showed each of
its behaviours (tests/guests):

- one command at a time, in order; requests queue behind a freeze (`test_freeze_schedule`);
- the flag that ``guest-fsfreeze-status`` tells survives the agent (`test_fact_half_frozen…`);
- SIGTERM in the hook: the freeze is answered with success, the agent leaves and thaws
  (`test_fact_sigterm_answers_success_and_thaws`);
- a killed agent's unread requests run on the next one (`test_channel_*`);
- file systems freeze one after the other, and stay so when the agent is killed half-way.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field

from agentclient.model.snapshot import MonitorView
from agentclient.model.states import RunState

DEVICES = ("vdb", "vda")  # the reverse order of mounting


@dataclass
class VirtualGuest:
    """The truth, which no machine under test may look at.

    Attributes:
        hook_s: how long the freeze hook takes.
        flush_s: how long each file system takes to freeze.
        fails_frozen: the freeze ends in an error, with one file system frozen.
    """

    hook_s: float = 0.0
    flush_s: float = 0.0
    hook_fails: bool = False
    fails_frozen: bool = False
    sees_openings: bool = True
    now: float = 0.0
    frozen: set[str] = field(default_factory=set)
    flag: bool = False
    alive: bool = True
    terminating: bool = False
    run_state: RunState = RunState.RUNNING
    openings: int = 3
    resets: int | None = None
    gone: bool = False
    written: int = 0
    inbox: deque[str] = field(default_factory=deque)
    outbox: bytearray = field(default_factory=bytearray)
    task: list[tuple[float, str, str]] = field(default_factory=list)
    ever_closed_since_freeze: bool = False
    freeze_runs: int = 0
    thaw_runs: int = 0

    # -- the wire -------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """The host writes to the channel."""
        for line in data.split(b"\n"):
            if line.startswith(b"\xff"):
                self.inbox.append("\xff")
            text = line.lstrip(b"\xff").decode()
            if text:
                self.inbox.append(text)

    def read(self) -> bytes:
        """What the guest has written since the last call."""
        data, self.outbox = bytes(self.outbox), bytearray()
        return data

    def view(self) -> MonitorView:
        """What the monitor shows."""
        if self.gone:
            return MonitorView(RunState.GONE, gone=True, problem="gone")
        return MonitorView(
            run_state=self.run_state,
            port_open=self.alive,
            client=True,
            openings=self.openings if self.sees_openings else None,
            resets=self.resets,
            written_bytes=self.written,
        )

    # -- time -----------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass, and the agent work."""
        end = self.now + seconds
        while self._next_at() <= end:
            self.now = max(self.now, self._next_at())
            self._work()
        self.now = end
        if not self._runs():
            # Whatever it was doing takes that much longer.
            self.task = [(at + seconds, step, arg) for at, step, arg in self.task]

    def _runs(self) -> bool:
        return self.alive and not self.gone and self.run_state is RunState.RUNNING

    def _next_at(self) -> float:
        if not self._runs():
            return float("inf")
        if self.task:
            return self.task[0][0]
        return self.now if self.inbox else float("inf")

    def _work(self) -> None:
        if self.task:
            _, step, argument = self.task.pop(0)
            self._step(step, argument)
            return
        line = self.inbox.popleft()
        if line == "\xff":
            self._say({"error": {"class": "GenericError", "desc": "JSON parse error"}})
            return
        self._command(json.loads(line))

    def _command(self, message: dict[str, object]) -> None:
        tag = message.get("id")
        match message["execute"]:
            case "guest-sync-delimited":
                arguments = message["arguments"]
                assert isinstance(arguments, dict)
                self.outbox += b"\xff"
                self._say({"return": arguments["id"]}, tag)
            case "guest-fsfreeze-status":
                self._say({"return": "frozen" if self.flag else "thawed"}, tag)
            case "guest-fsfreeze-thaw":
                self._thaw(tag)
            case "guest-fsfreeze-freeze" | "guest-fsfreeze-freeze-list":
                self._freeze(tag)

    def _say(self, body: dict[str, object], tag: object = None) -> None:
        if tag is not None:
            body["id"] = tag
        self.outbox += json.dumps(body).encode() + b"\n"

    def _freeze(self, tag: object) -> None:
        if self.flag:
            error = {"class": "GenericError", "desc": "the command is not allowed while frozen"}
            self._say({"error": error}, tag)
            return
        self.freeze_runs += 1
        at = self.now + self.hook_s
        if self.hook_fails:
            self.task = [(at, "refuse", str(tag))]
            return
        self.task = [(at, "flag", "")]
        for device in DEVICES[:1] if self.fails_frozen else DEVICES:
            at += self.flush_s
            self.task.append((at, "freeze", device))
        self.task.append((at, "refuse" if self.fails_frozen else "answer", str(tag)))

    def _step(self, step: str, argument: str) -> None:
        match step:
            case "refuse":
                self._say({"error": {"class": "GenericError", "desc": "hook failed"}}, argument)
            case "flag":
                self.flag = True
            case "freeze":
                self.frozen.add(argument)
            case "answer":
                self._say({"return": len(self.frozen)}, argument)
                if self.terminating:
                    self._thaw(None, quiet=True)
                    self._close()

    def _thaw(self, tag: object, *, quiet: bool = False) -> None:
        count = len(self.frozen)
        self.thaw_runs += not quiet
        self.frozen.clear()
        self.flag = False
        if not quiet:
            self._say({"return": count}, tag)

    # -- faults ---------------------------------------------------------------------------

    def kill(self, *, lose_unread: bool) -> None:
        """SIGKILL; what it had not read stays for the next agent, unless it had read it all."""
        if not self.alive:
            return
        if lose_unread:
            self.inbox.clear()
        self.task.clear()
        self._close()

    def terminate(self) -> None:
        """SIGTERM: ignored while frozen, else it leaves after the command in hand."""
        if not self.alive or self.flag:
            return
        if self.task:
            self.terminating = True
        else:
            self._close()

    def respawn(self) -> None:
        """Another agent starts, and believes the flag."""
        if not self.alive and not self.gone:
            self.alive = True
            self.terminating = False
            self.openings += 1

    def reset(self) -> None:
        """The machine starts anew; nothing is frozen any more."""
        self.task.clear()
        self.inbox.clear()
        self.frozen.clear()
        self.flag = self.alive = self.terminating = False
        self.ever_closed_since_freeze = True
        self.run_state = RunState.RUNNING
        self.openings = 0
        self.resets = None if self.resets is None else self.resets + 1

    def reload_driver(self) -> None:
        """The agent is killed, and its port's driver loaded anew; what is frozen stays frozen."""
        self.kill(lose_unread=True)
        self.openings = 0
        self.respawn()

    def leave(self) -> None:
        """QEMU is killed."""
        self.gone = True
        self.alive = False
        self.frozen.clear()
        self.flag = False
        self.ever_closed_since_freeze = True

    def _close(self) -> None:
        self.alive = False
        self.terminating = False
        self.openings += 1
        self.ever_closed_since_freeze = True
