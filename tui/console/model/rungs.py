"""What the rungs of a rescue ladder have found, and when: by this console, and by the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from agentclient.model.rescue import Means, RescueOutcome, Rung, RungResult, Step
from tui.shared.fit import safe
from tui.shared.tone import Tone

if TYPE_CHECKING:
    from agentclient.journal.window_row import WindowRow

_NEVER_TAKEN = frozenset({RungResult.REFUSED})
DANGER: Mapping[Rung, int] = {
    Rung.CONNECT: 0, Rung.THAW: 1, Rung.WAIT: 1, Rung.SYSRQ: 2, Rung.RESET: 3,
}  # fmt: skip


class RungKey(NamedTuple):
    """Which rung it is, by which means."""

    rung: Rung
    means: Means | None = None
    serial: str | None = None

    @classmethod
    def of(cls, step: Step) -> RungKey:
        """Return the rung of a step."""
        return cls(step.rung, step.means, step.serial)


class Finding(NamedTuple):
    """What a rung has found.

    Attributes:
        found: in one word.
        at: when.
        reason: a sentence; empty if it is not known.
        good: nothing is frozen any more, as far as evidence goes.
    """

    found: RungResult
    at: datetime
    reason: str = ""
    good: bool = False

    @property
    def text(self) -> str:
        """When it was, and what it found."""
        said = f": {self.reason}" if self.reason else ""
        return f"{self.at:%H:%M:%S} {self.found.value}{said}"

    @property
    def tone(self) -> Tone:
        """Good if nothing is frozen any more."""
        return Tone.GOOD if self.good else Tone.WARN


Findings = Mapping[RungKey, Finding]


def finding_of(outcome: RescueOutcome, at: datetime) -> Finding:
    """Return what a rung of this console has found."""
    return Finding(outcome.found, at, safe(outcome.reason, 300), outcome.ok)


def findings_in(rows: Iterable[WindowRow], since: datetime | None) -> dict[RungKey, Finding]:
    """Return what rungs have found by the journal, whoever has taken them.

    Args:
        rows: windows of the VM, the newest first.
        since: since when it is frozen: what came before that was about another freeze.
    """
    found: dict[RungKey, Finding] = {}
    for row in rows:
        rescue, request = row.rescue or {}, row.request or {}
        at = row.time_of("ended")
        if row.rescue is None or at is None:
            continue
        result = next((one for one in RungResult if one == rescue.get("found")), None)
        rung = next((one for one in Rung if one == rescue.get("rung")), None)
        if result is None or rung is None or result in _NEVER_TAKEN:
            continue
        if since is not None and at < since:
            continue
        means = next((one for one in Means if one == rescue.get("by")), None)
        serial = request.get("serial")
        key = RungKey(rung, means, serial if isinstance(serial, str) else None)
        reason = safe(str(rescue.get("reason") or ""), 300)
        found.setdefault(key, Finding(result, at, reason, rescue.get("ok") is True))
    return found


def newest(mine: Findings, others: Findings) -> dict[RungKey, Finding]:
    """Return the newest finding of each rung."""
    found = dict(others)
    for key, finding in mine.items():
        if key not in found or found[key].at <= finding.at:
            found[key] = finding
    return found
