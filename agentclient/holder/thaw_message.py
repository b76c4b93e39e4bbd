"""The report of a holder's thaw as a message: to its console, and to others who wait for it."""

from __future__ import annotations

from agentclient.freeze.thaw_plan import ThawReport
from agentclient.holder.messages import Body, HolderMessage, text
from agentclient.model.states import Stuck
from agentclient.protocol.qga_replies import freeze_state


def done(key: str, report: ThawReport) -> Body:
    """Return the message that tells what came of the thaw of a guest with this key."""
    return {
        "say": HolderMessage.DONE,
        "key": key,
        "before": report.before,
        "count": report.count,
        "error": report.error,
        "settled": report.settled,
        "reason": report.reason,
        "next": report.next,
        "stuck": report.stuck,
        "repeated": report.repeated,
        "sent": report.sent,
    }


def report_of(body: Body) -> ThawReport:
    """Return the report of a holder's thaw from its message."""
    count = body.get("count")
    return ThawReport(
        before=freeze_state(body.get("before")),
        count=count if isinstance(count, int) else None,
        error=text(body, "error") or None,
        settled=body.get("settled") is True,
        reason=text(body, "reason"),
        next=text(body, "next") or None,
        repeated=body.get("repeated") is True,
        stuck=_stuck(text(body, "stuck")),
        sent=body.get("sent") is True,
    )


def _stuck(word: str) -> Stuck | None:
    return Stuck(word) if word in list(Stuck) else None
