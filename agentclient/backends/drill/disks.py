"""A simulated guest's disks: which devices are frozen, and how many bytes were written."""

from __future__ import annotations

from collections.abc import Iterable

from agentclient.freeze.coverage import CANNOT_FREEZE
from agentclient.model.outcome import FileSystem

_WRITTEN_BEFORE = 4096
_SUPERBLOCK = 1024


class Disks:
    """The real state of a guest's file systems, which the agent's own state may differ from.

    Args:
        file_systems: the file systems, in the order of mounting.
        load: bytes that the guest writes per second while it is not frozen.
    """

    __slots__ = ("_load", "_rate", "_since", "_written", "file_systems", "frozen")

    def __init__(self, file_systems: tuple[FileSystem, ...], load: float) -> None:
        self.file_systems = file_systems
        self.frozen: frozenset[str] = frozenset()
        self._load = load
        self._rate = load
        self._since = 0.0
        self._written = float(_WRITTEN_BEFORE)

    def order(self, mounts: Iterable[str] | None) -> list[str]:
        """Return the devices that a freeze of `mounts` reaches, in the order of freezing.

        File systems that can't freeze and unknown mount points are skipped without an error
        (protocol §3.10, §3.14); a device with several mounts counts once.

        Args:
            mounts: mount points; None for all.
        """
        wanted = None if mounts is None else set(mounts)
        chosen = [
            one.device
            for one in reversed(self.file_systems)
            if one.kind not in CANNOT_FREEZE and (wanted is None or one.mountpoint in wanted)
        ]
        return list(dict.fromkeys(chosen))

    def freeze(self, now: float, device: str) -> None:
        """Freeze one device; a guest whose devices are all frozen writes nothing."""
        self.frozen |= {device}
        if self.frozen >= set(self.order(None)):
            self.write(now, 0.0)

    def thaw(self, now: float) -> int:
        """Thaw everything, and return how many devices were frozen."""
        count, self.frozen = len(self.frozen), frozenset()
        self.write(now, self._load)
        return count

    def write(self, now: float, rate: float | None = None) -> None:
        """Write `rate` bytes per second from now on; None for the guest's usual load."""
        self._written += self._rate * (now - self._since)
        self._since = now
        self._rate = self._load if rate is None else rate

    def touch(self) -> None:
        """Write the bytes that a thaw itself causes."""
        self._written += _SUPERBLOCK

    def written(self, now: float) -> int:
        """Return the bytes written so far."""
        return int(self._written + self._rate * (now - self._since))
