"""Windows of a journal for tests of the replay: written by hand, as a journal would give them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from agentclient.journal.rows import EventEntry, Moment
from agentclient.journal.storage.tables import MOMENTS
from agentclient.journal.window_row import WindowRow
from agentclient.model.snapshot import VmState
from agentclient.model.states import WindowKind, WindowState
from agentclient.model.vm import VmId
from agentclient.replay.incident import Incident

NIGHT = datetime(2026, 3, 1, 2, 14, 0, tzinfo=UTC)
WHOLE = {
    "asked": 0.0,
    "armed": 0.1,
    "sent": 0.2,
    "replied": 1.0,
    "verdict": 1.1,
    "held": 1.2,
    "thaw_sent": 31.0,
    "thawed": 31.2,
    "ended": 31.3,
}
REQUEST = {
    "first_timeout_s": 100.0,
    "probe_timeout_s": 100.0,
    "probes": 5,
    "thaw_timeout_s": 180.0,
    "hold_s": 30.0,
}
SAID = (
    (0.2, "sent", "info", "freeze sent"),
    (1.0, "reply", "info", "the agent answered the freeze: 2"),
    (1.1, "verdict", "good", "verified: frozen"),
    (1.2, "held", "good", "held for 30 s"),
    (31.0, "thaw-sent", "info", "thaw sent"),
    (31.2, "thawed", "good", "thawed 2"),
    (31.3, "outcome", "good", "verified and certified"),
)


def outcome(kind: str, **known: Any) -> dict[str, Any]:
    """Return an outcome as the journal has it."""
    good = kind == "verified"
    base: dict[str, Any] = {
        "outcome": kind,
        "refusal": None,
        "frozen": 2 if good else None,
        "thawed": 2 if good else 0,
        "certified": good,
        "settled": True,
        "cause": None,
        "seconds": 31.0,
        "coverage": "2 of 2",
        "not_covered": [],
        "evidence": [{"name": "reply", "result": "for", "value": 2, "age_s": 0.1}],
        "meaning": {
            "copy": "A copy made within the window is consistent."
            if good
            else "Not consistent: the freeze was never acknowledged. Crash-consistent at best.",
            "copy_is": "consistent" if good else "not",
            "guest": "The guest writes again.",
            "guest_is": "writes",
        },
        "next": None,
        "reason": f"{kind}, as told",
        "kept": False,
    }
    return base | known


def window(
    number: int,
    vm: str = "qemu:db1",
    *,
    after_s: float = 0.0,
    kind: WindowKind = WindowKind.FREEZE,
    times: Mapping[str, float] = WHOLE,
    state: WindowState = WindowState.CLOSED,
    **known: Any,
) -> WindowRow:
    """Return a window that was asked for so many seconds into the night."""
    asked = NIGHT + timedelta(seconds=after_s)

    def moment(seconds: float) -> Moment:
        return Moment((asked + timedelta(seconds=seconds)).isoformat(), seconds)

    said = known.pop("said", SAID if kind is WindowKind.FREEZE else ())
    events = tuple(
        EventEntry(kind_of, level, text, moment(at)) for at, kind_of, level, text in said
    )
    given: dict[str, Any] = {
        "request": REQUEST,
        "uid": 0,
        "user": "root",
        "pid": 4711,
        "command": "frostwatch",
        "host": "pve1",
        "process": None,
        "outcome": outcome("verified") if kind is WindowKind.FREEZE else None,
        "thaw": None,
        "settled": True,
        "note": None,
        "hold_s": 30.0,
    }
    moments = {name: moment(times[name]) if name in times else None for name in MOMENTS}
    return WindowRow(
        window=number, kind=kind, vm=vm, state=state, times=moments, events=events,
        **(given | known),
    )  # fmt: skip


def lost(number: int, vm: str = "qemu:mail1", **known: Any) -> WindowRow:
    """Return a freeze that was lost after 3 s, and thawed by the next agent half a minute later."""
    given: dict[str, Any] = {
        "times": {"asked": 0.0, "armed": 0.1, "sent": 0.2, "verdict": 3.4, "thaw_sent": 33.0,
                  "thawed": 33.1, "ended": 33.2},
        "said": ((0.2, "sent", "info", "freeze sent"),
                 (3.4, "verdict", "error", "lost: no answer will come: the port closed"),
                 (33.1, "thawed", "good", "thawed 0"),
                 (33.2, "outcome", "error", "lost; thawed")),
        "outcome": outcome("lost", cause="agent-gone"),
        "hold_s": None,
    }  # fmt: skip
    return window(number, vm, **(given | known))


def of_others(number: int, vm: str = "qemu:web1", *, result: str = "answered", **known: Any) -> Any:
    """Return what others had pending for 12 s."""
    request = {"result": result, "cause": None, "locked_by": "backup"}
    given: dict[str, Any] = {
        "request": request,
        "command": "task UPID:n:1:2:3:vzdump:101:root@pam:",
        "pid": 99,
        "hold_s": None,
        "times": {"asked": 0.0, "sent": 0.0, "ended": 12.0},
    }
    return window(number, vm, kind=WindowKind.OTHERS, **(given | known))


def at(seconds: float) -> datetime:
    """Return so many seconds into the night."""
    return NIGHT + timedelta(seconds=seconds)


def states_at(incident: Incident, moment: datetime) -> dict[VmId, VmState]:
    """What was known of each VM at a time."""
    states = {state.id: state for state in incident.beginning()}
    for step in incident.steps:
        if step.at <= moment:
            states[step.vm] = step.change(states[step.vm])
    return states
