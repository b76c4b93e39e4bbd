"""The event loops of a simulated QEMU, as objects behind its monitor, with their threads' limits.

Their answers are those in tests/guests/test_facts_threads.py, on a real guest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MIN, MAX = "thread-pool-min", "thread-pool-max"
LIMITS = {MIN: 0, MAX: 64}


class NoSuchThing(Exception):
    """QEMU has no such object, or refuses what is done to it."""


@dataclass
class EventLoops:
    """Objects below ``/objects``, and what devices tell of the loops that serve them.

    Attributes:
        loops: the kind and the limits of each, by its name.
        devices: the properties of devices, by their paths.
        old: this QEMU is older than 7.1.
    """

    loops: dict[str, dict[str, Any]] = field(default_factory=dict)
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    old: bool = False

    def knows(self, path: str, name: str) -> bool:
        """Whether a property is one of these."""
        return path.startswith("/objects") or name in (
            "iothread",
            "iothread-vq-mapping",
            "parent_bus",
        )

    def list(self) -> list[dict[str, str]]:
        own = [{"name": "type", "type": "string"}]
        return own + [
            {"name": name, "type": f"child<{loop['kind']}>"} for name, loop in self.loops.items()
        ]

    def add(self, kind: str, name: str) -> None:
        if kind != "main-loop" or self.old:
            raise NoSuchThing(f"Parameter 'qom-type' does not accept value '{kind}'")
        if any(loop["kind"] == kind for loop in self.loops.values()):
            raise NoSuchThing("only one main-loop instance allowed")
        self.loops[name] = {"kind": kind, **LIMITS}

    def get(self, path: str, name: str) -> Any:
        found = self._at(path)
        if name not in found:
            raise NoSuchThing(f"Property '{path}.{name}' not found")
        return found[name]

    def set(self, path: str, name: str, value: int) -> None:
        found = self._at(path)
        found[name] = value
        if found[MIN] > found[MAX]:  # it is set all the same
            raise NoSuchThing("bad thread-pool-min/thread-pool-max values")

    def limits(self, name: str) -> tuple[int, int]:
        """The limits of a loop."""
        return self.loops[name][MIN], self.loops[name][MAX]

    def _at(self, path: str) -> dict[str, Any]:
        name = path.removeprefix("/objects/")
        if name in self.loops:
            return self.loops[name]
        if path in self.devices:
            return self.devices[path]
        raise NoSuchThing(f"Device '{path}' not found")
