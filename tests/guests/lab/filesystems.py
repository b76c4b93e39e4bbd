"""File systems of the guest: are they frozen, fill them with work, freeze them behind its back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.guests.lab.agents import AgentFaults
from tests.guests.lab.errors import LabError, ShellError
from tests.guests.lab.patience import PATIENCE_S
from tests.guests.lab.shell import wait_until

# Writes to each mount that is not frozen; the names of those are told that were written to.
_WRITE = """
frozen=$(sh /lab/frozen.sh {mounts} | tr '\\n' ' ')
for m in {mounts}; do
    case " $frozen " in *" $m "*) continue ;; esac
    dd if=/dev/zero of=/mnt/$m/written-$$ bs=4k count=1 conv=fsync 2>/dev/null &&
        rm /mnt/$m/written-$$ && echo $m
done
true
"""


@dataclass(frozen=True)
class WriteLoad:
    """A writer at work in the guest.

    Attributes:
        guest: where.
        key: names its files.
    """

    guest: FileSystems
    key: str

    def written(self) -> int:
        """How many times it has written and synced."""
        return int(self.guest.shell(f"cat /run/lab/load.{self.key} 2>/dev/null || echo 0"))


class FileSystems(AgentFaults):
    """What can be seen of, and done to, the guest's file systems from inside."""

    def frozen_mounts(self) -> set[str]:
        """The names of the mounts that take no write at this moment; nothing is written.

        A file system counts as frozen from the beginning of its freeze on, so also while the
        kernel flushes it.
        """
        names = " ".join(self.options.mounts)
        return set(self.shell(f"sh /lab/frozen.sh {names}").split())

    def writable(self, mount: str, timeout: float = PATIENCE_S) -> bool:
        """Whether a mount is thawed within so many seconds, and a file on it written and synced.

        On a frozen file system no write is begun, so none is left behind to go through later.

        Args:
            mount: "a", "b" or "efi".
            timeout: seconds; a frozen file system uses all of them.
        """
        deadline = time.monotonic() + timeout
        while mount in self.frozen_mounts():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        file = f"/mnt/{mount}/written-{secrets.token_hex(4)}"
        write = f"dd if=/dev/zero of={file} bs=4k count=1 conv=fsync 2>/dev/null && rm {file}"
        try:
            self.shell(write)
        except ShellError as error:
            if error.code is None:
                raise
            return False
        return True

    def assert_thawed(self, timeout: float = PATIENCE_S) -> None:
        """Assert that every mount can be written to, within so many seconds each.

        Raises:
            AssertionError: one can't; it is named.
        """
        # All at once first: each command of its own costs the emulation as much as what it does.
        try:
            done = self.shell(_WRITE.format(mounts=" ".join(self.options.mounts)))
        except ShellError as error:
            if error.code is None:
                raise
            done = error.output
        rest = [mount for mount in self.options.mounts if mount not in done.split()]
        stuck = [mount for mount in rest if not self.writable(mount, timeout)]
        assert not stuck, f"{self.name}: not writable: {', '.join(stuck)}"

    @contextmanager
    def write_load(self, mount: str, pause: float = 0.05) -> Iterator[WriteLoad]:
        """Write and sync again and again while the context lasts.

        A freeze blocks the writer, a thaw lets it go on. A writer that is still blocked at the
        end dies with its thaw.

        Args:
            mount: where.
            pause: seconds between two writes.
        """
        key = secrets.token_hex(4)
        count, target = f"/run/lab/load.{key}", f"/mnt/{mount}/load-{key}"
        # The loop notices its end by the missing counter, and so does one that was blocked.
        self.shell(
            f"echo 0 >{count}\n"
            f"(n=0; while [ -e {count} ]; do\n"
            f"  dd if=/dev/urandom of={target} bs=16k count=1 conv=fsync,notrunc 2>/dev/null\n"
            f"  n=$((n + 1)); [ ! -e {count} ] || echo $n >{count}; sleep {pause:g}\n"
            f"done; rm -f {target}) >/dev/null 2>&1 &"
        )
        try:
            yield WriteLoad(self, key)
        finally:
            if self.alive:
                self.shell(f"rm -f {count}")

    def dirty(self, mount: str, size: int) -> None:
        """Leave so many bytes of written data in the guest's memory, for a freeze to flush.

        Args:
            mount: where; b is the one that can be throttled.
            size: bytes; up to about 40 MiB with the default memory.
        """
        blocks = max(1, size // 65536)
        file = f"/mnt/{mount}/dirty-{secrets.token_hex(4)}"
        self.shell(f"dd if=/dev/urandom of={file} bs=64k count={blocks} 2>/dev/null")

    def throttle(self, bytes_per_second: int | None, disk: str = "b") -> None:
        """Limit the writes to a disk from now on; None lifts the limit."""
        limits = dict.fromkeys(("bps", "bps_rd", "iops", "iops_rd", "iops_wr"), 0)
        self._monitor.execute(
            "block_set_io_throttle",
            {
                "id": f"/machine/peripheral/{self.disk_device(disk)}/virtio-backend",
                "bps_wr": bytes_per_second or 0,
                **limits,
            },
        )

    def disk_device(self, disk: str) -> str:
        """What QEMU calls the device of a disk."""
        return f"disk-{disk}"

    def freeze_inside(self, mount: str) -> None:
        """Freeze one file system behind the agent's back.

        Raises:
            ShellError: it is frozen already, or can't freeze.
        """
        self.shell(f"fsfreeze --freeze /mnt/{mount}")

    def thaw_inside(self, mount: str | None = None) -> list[str]:
        """Thaw behind the agent's back.

        Args:
            mount: which; None stands for all.

        Returns:
            The names of those that were frozen.
        """
        return self.shell(self._thaw_command(mount)).split()

    def _thaw_command(self, mount: str | None = None) -> str:
        """The command that thaws, and says what was frozen."""
        names = self.options.mounts if mount is None else (mount,)
        thaw = "fsfreeze --unfreeze /mnt/$m 2>/dev/null && echo $m"
        return f"for m in {' '.join(names)}; do {thaw}; done; true"

    def slow_flush(self, seconds: float, rate: int = 1 << 20) -> None:
        """Make the next freeze spend about so many seconds in the kernel, flushing disk b.

        Args:
            seconds: how long; to be on the safe side where `throttle(None)` ends it.
            rate: bytes per second that the disk takes.
        """
        self.throttle(rate)
        self.dirty("b", int(seconds * rate))

    def kill_half_way(self, timeout: float = PATIENCE_S, respawn: float | None = None) -> None:
        """Kill the agent while it freezes the first of two file systems (b).

        To be called when a freeze has been sent after `slow_flush()`. In the end b is frozen, a is
        not, and that agent is gone. The kernel does not interrupt a flush: the limit is lifted so
        that it ends.

        Args:
            timeout: seconds.
            respawn: seconds until an agent is started again, as in `set_respawn`.

        Raises:
            LabError: the agent does not get there in time.
        """
        wait_until(lambda: "b" in self.frozen_mounts(), timeout, "the freeze of disk b")
        if "a" in self.frozen_mounts():
            raise LabError("too late: the agent has frozen everything already")
        deaths = self.agent_deaths()
        self.set_respawn(respawn)
        self.kill_agent()
        self.throttle(None)
        wait_until(lambda: self.agent_deaths() > deaths, timeout, "the agent's end", step=0.1)
