"""Windows of a journal, for tests and pictures: what a VM's past looks like."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from agentclient.journal.figures import Figures
from agentclient.journal.history import VmHistory
from agentclient.journal.rows import EventEntry, Moment
from agentclient.journal.storage.tables import MOMENTS
from agentclient.journal.window_row import WindowRow
from agentclient.model.states import WindowKind, WindowState
from agentclient.model.vm import Process
from tests.console.fakes import NOON

EVIDENCE = (
    ("reply", "for", 2),
    ("devices", "for", "2 of 2"),
    ("status", "for", "frozen"),
    ("port", "for", "never closed"),
    ("writes", "unknown", None),
)
VERIFIED: dict[str, Any] = {
    "outcome": "verified",
    "frozen": 2,
    "thawed": 2,
    "certified": True,
    "settled": True,
    "coverage": "2 of 3",
    "not_covered": [{"device": "vda15", "kind": "vfat", "mountpoint": "/boot/efi"}],
    "evidence": [
        {"name": name, "result": result, "value": value} for name, result, value in EVIDENCE
    ],
    "meaning": {
        "copy": "A copy that was made in this window is consistent.",
        "copy_is": "consistent",
        "guest": "The guest is thawed.",
    },
    "reason": "all 2 file systems that can freeze were frozen until their thaw",
}
LOST: dict[str, Any] = {
    "outcome": "lost",
    "cause": "agent-restarted",
    "frozen": None,
    "thawed": None,
    "certified": False,
    "settled": True,
    "evidence": [{"name": "port", "result": "against", "value": "closed and opened"}],
    "meaning": {
        "copy": "No copy was protected by it.",
        "copy_is": "not",
        "guest": "The guest is thawed.",
    },
    "reason": "the agent was restarted; the freeze will not be answered",
}
WRITES = ((0.6, 0), (1.0, 700_000), (1.5, 2_100_000), (2.0, 2_400_000), (2.6, 2_402_000))


def past_window(
    number: int,
    ago: timedelta,
    outcome: dict[str, Any] | None = None,
    *,
    vm: str = "qemu:web1",
    now: datetime = NOON,
    **seconds: float,
) -> WindowRow:
    """Return a freeze that was asked for so long ago; `seconds` are those of its moments."""
    asked = now - ago
    times: dict[str, Moment | None] = dict.fromkeys(MOMENTS)
    for name, s in {"asked": 0.0, **seconds}.items():
        at = (asked + timedelta(seconds=s)).isoformat(timespec="milliseconds")
        times[name] = Moment(at, s)
    return WindowRow(
        number, WindowKind.FREEZE, vm, WindowState.CLOSED, times, {"hold_s": 30.0}, 0, "root", 4711,
        "frostwatch freeze web1", "host1", Process(812, 1), outcome, None, settled=True, note=None,
        events=(), mono=9_000.0 - ago.total_seconds(),
        versions={"frostwatch": "0.1.0", "agent": "7.2.0", "qemu": "9.2.0"},
    )  # fmt: skip


def certified(number: int, ago: timedelta, took_s: float = 2.1, **more: Any) -> WindowRow:
    """Return a freeze that was held for 30 s, and certified."""
    sent, replied = 0.5, 0.5 + took_s
    row = past_window(
        number, ago, VERIFIED, armed=0.4, sent=sent, replied=replied, verdict=replied + 0.1,
        held=replied + 0.1, thaw_sent=replied + 30, thawed=replied + 30.02, ended=replied + 30.1,
        **more,
    )  # fmt: skip
    told = EventEntry("sent", "info", "freeze sent: waiting up to 1 h", Moment("2025", 0.5))
    return replace(row, writes=(*WRITES, (replied + 20.0, WRITES[-1][1])), events=(told,))


def lost(number: int, ago: timedelta, **more: Any) -> WindowRow:
    """Return a freeze whose agent was restarted, and that was thawed 8 s later."""
    return past_window(
        number, ago, LOST, sent=0.5, verdict=11.0, thaw_sent=12.0, thawed=19.0, ended=19.1, **more
    )


def group_of_three(ago: timedelta) -> tuple[WindowRow, ...]:
    """Return three freezes that were certified together."""
    found = []
    for number, (name, took_s) in enumerate((("web1", 2.1), ("db1", 4.0), ("mail1", 3.2)), 40):
        row = certified(number, ago, took_s, vm=f"qemu:{name}")
        request = {"hold_s": 30.0, "group": "0011aabb", "group_size": 3}
        times = dict(row.times)
        asked = NOON - ago
        for name_, s in (("thaw_sent", 34.5), ("thawed", 34.52), ("ended", 34.6)):
            at = asked + timedelta(seconds=s)
            times[name_] = Moment(at.isoformat(timespec="milliseconds"), s)
        found.append(replace(row, request=request, times=times))
    return tuple(found)


def past_of_web1() -> VmHistory:
    """Return what a VM's journal says after some weeks: most went well, some did not."""
    members = group_of_three(timedelta(hours=2))
    rows = [
        members[0],
        *(certified(39 - n, timedelta(days=n + 1), 1.5 + n % 4) for n in range(3)),
        lost(30, timedelta(days=4, hours=9)),
        *(certified(29 - n, timedelta(days=n + 5), 2.0 + n % 5) for n in range(14)),
    ]
    figures = Figures(len(rows) - 1, 2.4, 5.1, 6.0)
    return VmHistory(tuple(rows), figures, groups={"0011aabb": members})
