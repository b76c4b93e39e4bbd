"""Faults of the agent: ended, stopped, restarted, slowed down or failed by its hook."""

from __future__ import annotations

import shlex
from typing import Literal

from tests.guests.lab.errors import LabError, ShellError
from tests.guests.lab.machine import Machine
from tests.guests.lab.patience import PATIENCE_S
from tests.guests.lab.shell import wait_until

Moment = Literal["freeze", "thaw"]
# More than any test lasts.
_FOR_EVER_S = 100000
# Where a held hook finds that it may end.
_GO = "/run/lab/go"


class AgentFaults(Machine):
    """What can be done to the guest's agent, from inside the guest."""

    _respawn: float | None
    _hook: str | None = None

    def agent_pid(self) -> int | None:
        """The agent's process id in the guest; None while none runs."""
        found = self.shell("cat /run/lab/agent.pid 2>/dev/null || true").strip()
        return int(found) if found else None

    def kill_agent(self, signal: str = "KILL") -> None:
        """Send the agent a signal; what happens then is up to `set_respawn`.

        It does not wait: an agent inside FIFREEZE ends when the kernel is done.

        Args:
            signal: "KILL", "TERM", ...

        Raises:
            LabError: no agent runs.
        """
        try:
            self.shell(f"kill -{signal} $(cat /run/lab/agent.pid)")
        except ShellError as error:
            raise LabError(f"{self.name}: no agent to kill: {error}") from error

    def wait_agent_gone(self, timeout: float = PATIENCE_S) -> None:
        """Wait until no agent's process is left in the guest; seconds.

        Raises:
            LabError: it does not end.
        """
        wait_until(lambda: self.agent_pid() is None, timeout, "the agent's end", step=0.1)

    def stop_agent(self) -> None:
        """Stop the agent (SIGSTOP): it hangs, with its port open."""
        self.kill_agent("STOP")

    def continue_agent(self) -> None:
        """Let a stopped agent go on (SIGCONT)."""
        self.kill_agent("CONT")

    def start_agent(self, timeout: float = PATIENCE_S) -> None:
        """Start the agent if it does not run, and wait for its port; seconds."""
        if self.agent_pid() is None:
            self.shell("echo start >/run/lab/control")
        self.wait_agent(timeout)

    def set_respawn(self, seconds: float | None) -> None:
        """How long until an ended agent is started again; 0 at once; None never.

        It also holds for an agent that has ended already.
        """
        self.shell(self._respawn_command(seconds))

    def agent_deaths(self) -> int:
        """How many agents have ended since boot, in whatever way."""
        return int(self.shell("cat /run/lab/agent.ended 2>/dev/null | wc -l"))

    def agent_log(self) -> str:
        """The agent's own log since boot."""
        return self.shell("cat /run/lab/agent.log 2>/dev/null || true")

    def set_hook(self, script: str) -> None:
        """Install a script (for `sh`) as the agent's hook; `$1` is "freeze" or "thaw".

        It survives `reset()`, but not a reset by somebody else.
        """
        self._hook = script
        # Written aside and moved, so that no agent ever runs half of it.
        text = shlex.quote(script)
        self.shell(f"printf '%s\\n' {text} >/run/lab/hook.new; mv /run/lab/hook.new /run/lab/hook")

    def slow_hook(self, seconds: float, moment: Moment = "freeze") -> None:
        """A hook that takes so many seconds, then succeeds."""
        self.set_hook(f"[ $1 != {moment} ] || sleep {seconds:g}")

    def failing_hook(self, message: str, moment: Moment = "freeze") -> None:
        """A hook that says something on stderr and fails."""
        self.set_hook(f"[ $1 != {moment} ] || {{ echo {shlex.quote(message)} >&2; exit 1; }}")

    def hanging_hook(self, moment: Moment = "freeze") -> None:
        """A hook that does not end until `clear_hook()`."""
        self.slow_hook(_FOR_EVER_S, moment)

    def held_hook(self, moment: Moment = "freeze", *, fails: bool = False) -> None:
        """A hook that does not end before `release_hook()`, however slow the machine is.

        Args:
            moment: "freeze" or "thaw".
            fails: it fails then, with a word on stderr.
        """
        end = "echo no >&2; exit 3" if fails else "true"
        self.shell(f"rm -f {_GO}")
        wait = f"until [ -e {_GO} ]; do sleep 0.1; done"
        self.set_hook(f"[ $1 != {moment} ] || {{ {wait}; {end}; }}")

    def release_hook(self) -> None:
        """Let the run of a `held_hook()` end, and those that follow end at once."""
        self.shell(f": >{_GO}")

    def clear_hook(self) -> None:
        """Remove the hook and kill every run of it; an agent that waits for one sees it fail."""
        self.shell(self._clear_hook_command())

    def hook_log(self) -> list[str]:
        """What the hook was called with since boot or `calm_down()`: "freeze" and "thaw".

        Calls are recorded whether or not a hook is set.
        """
        return self.shell("cat /run/lab/hook.log").split()

    def _respawn_command(self, seconds: float | None) -> str:
        """Take a respawn policy as the one to be; gives the command that makes it so."""
        self._respawn = seconds
        policy = "never" if seconds is None else f"{seconds:g}"
        return f"echo {policy} >/run/lab/respawn; echo policy >/run/lab/control"

    def _clear_hook_command(self) -> str:
        """Take it that there is no hook; gives the command that makes it so."""
        self._hook = None
        return (
            "if [ -e /run/lab/hook.pids ]; then\n"
            "while read -r pid; do kill -KILL -$pid 2>/dev/null; done </run/lab/hook.pids\n"
            "fi\n"
            "rm -f /run/lab/hook /run/lab/hook.pids"
        )

    def _restore(self) -> None:
        """After a boot: what a real guest would have kept on its root disk."""
        if self._respawn != self.options.respawn:
            self.set_respawn(self._respawn)
        if self._hook is not None:
            self.set_hook(self._hook)
