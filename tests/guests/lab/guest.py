"""A real guest: a small Linux with a real guest agent, to freeze, break and look into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from tests.guests.lab import image, saved
from tests.guests.lab.errors import LabError
from tests.guests.lab.loads import Loads
from tests.guests.lab.options import BootOptions, Options
from tests.guests.lab.patience import BOOT_S, PATIENCE_S
from tests.guests.lab.shell import wait_until

# An agent that remembers a freeze is ended, and its memory with it; a stopped one goes on.
_FORGET_FREEZE = """
memory=/run/qga/qga.state.isfrozen
pid=$(cat /run/lab/agent.pid 2>/dev/null) && kill -CONT $pid
[ -e $memory ] || exit 0
if [ -n "$pid" ]; then
    kill -KILL $pid
    while [ -e /proc/$pid ]; do sleep 0.05; done
fi
rm -f $memory
"""


class Guest(Loads):
    """One guest. Making it starts QEMU; `boot()` below also waits until it is up.

    Its parts, from the ground up: `Machine` (QEMU, shell, monitor, power), `AgentFaults` (the agent
    and its hook), `FileSystems` (writes, freezes behind the agent's back), `Loads` (writers whose
    records tell what a copy must have).

    Args:
        **options: see `Options`.

    Raises:
        LabUnavailable: real guests can't be had here.
        LabError: QEMU does not start.
    """

    def __init__(self, **options: Unpack[BootOptions]) -> None:
        super().__init__(Options(**options))
        self._respawn = self.options.respawn

    def wait_up(self, timeout: float = BOOT_S) -> None:
        """Wait until the guest is up, and its agent too if it is started at boot; seconds.

        Raises:
            LabError: it did not boot.
        """
        self.wait_ready(timeout)
        if self.options.agent != "none" and self.options.autostart:
            self.wait_agent(timeout)

    def reset(self, wait: bool = True) -> None:
        """Reset the guest, as with its reset button.

        Args:
            wait: until it is up again, with the hook and the respawn policy that it had.
        """
        seen = len(self.events)
        self.qmp("system_reset")
        self.wait_event("RESET", after=seen)
        if wait:
            self.wait_reset()

    def wait_reset(self) -> None:
        """After a reset by anybody: wait until the guest is up again, as it was before."""
        self.wait_up()
        self._restore()

    def calm_down(self) -> None:
        """Put everything back as after boot, for the next test that shares this guest.

        Running, thawed (with an agent that knows it), without hook or limit; reset if need be.
        """
        state = self.status()
        if state == "suspended":
            self.wake()
        elif state == "paused":
            self.resume()
        elif state != "running":
            self.reset(wait=False)
        self.wait_ready()
        if "b" in self.options.mounts:
            self.throttle(self.options.throttle)
        # In one go: each command costs the emulation as much as what it does.
        respawn = self._respawn_command(self.options.respawn)
        script = [self._clear_hook_command(), respawn, self._thaw_command()]
        script += [": >/run/lab/hook.log", _FORGET_FREEZE]
        self.shell("\n".join(script))
        if self.options.autostart and self.options.agent != "none":
            wait_until(self._agent_runs, PATIENCE_S, "the agent")

    def _agent_runs(self) -> bool:
        """Whether the agent is up; starts it if not."""
        if self.agent_pid() is None:
            self.shell("echo start >/run/lab/control")
        try:
            self.wait_agent(1.0)
        except LabError:
            return False
        return True

    @property
    def vm_argument(self) -> str:
        """The console's `--vm` argument for this guest."""
        parts = [f"name={self.name}", f"agent={self.agent_socket}"]
        if self.options.monitor:
            parts.append(f"monitor={self.monitor_socket}")
        return ",".join(parts)


def boot(
    on_start: Callable[[Guest], None] = lambda _: None, **options: Unpack[BootOptions]
) -> Guest:
    """Start a guest and wait until it is up; see `Options`. Close it in the end.

    The first one of its kind is booted and saved, so that all like it go on from the same state.

    Args:
        on_start: given the guest before it is up, to look into it should it never be.
        **options: see `Options`.

    Raises:
        LabUnavailable: real guests can't be had here.
        LabError: it does not boot.
    """
    wish = Options(**options)
    state = saved.place(wish, image.ensure(wish.release))
    if state is not None and not state.exists:
        with state.locked():  # others like it wait meanwhile
            if not state.exists:
                with Guest(**options) as first:
                    first.wait_up()
                    first.save()
    guest = Guest(**options)
    on_start(guest)
    try:
        guest.wait_up()
    except BaseException:
        guest.close()
        raise
    return guest
