"""Records what others had pending in a guest for a second or more, once that is over.

Such a window is written whole, and is settled: nobody has to thaw for it.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from datetime import datetime
from typing import Final

from agentclient.journal import rows
from agentclient.journal.identity import own_identity
from agentclient.journal.rows import Moment
from agentclient.journal.writer import Journal
from agentclient.model.json_contract import rfc3339
from agentclient.model.others import ChannelClient
from agentclient.model.states import Cause, WindowKind
from agentclient.model.vm import Process, Vm

_NOBODY: Final = -1
# Several frostwatches see the same command at slightly different times: it is written once.
_SAME_WITHIN_S: Final = 4.0


def record_others(
    journal: Journal,
    vm: Vm,
    by: ChannelClient | None,
    *,
    result: str,
    since: datetime,
    until: datetime,
    cause: Cause | None = None,
) -> None:
    """Write what others had pending; never waits for the disk.

    Args:
        journal: the journal.
        vm: the VM.
        by: who held its agent's channel; None if that isn't known.
        result: what came of their command: ``answered``, ``lost`` or ``left``.
        since: when it was first seen pending.
        until: when it was seen answered or lost, or when they left.
        cause: why it was lost; None if it was not.
    """
    ours = own_identity()
    who = replace(
        ours,
        uid=_NOBODY,
        user=(by.user if by is not None else None) or "unknown",
        process=Process(by.pid if by is not None else 0, 0),
        command=by.program if by is not None else "unknown",
    )
    seconds = max(0.0, (until - since).total_seconds())
    request = {
        "result": result,
        "cause": cause.value if cause is not None else None,
        "program": by.program if by is not None else None,
        "task": by.task if by is not None else None,
    }
    key = _key(vm, who.process.pid, since)
    asked, ended = rfc3339(since) or "", rfc3339(until) or ""
    mono = time.monotonic() - seconds
    statements = rows.insert(key, WindowKind.OTHERS, vm, request, asked=asked, mono=mono, who=who)
    statements += rows.mark(key, "sent", Moment(asked, 0.0))
    if result == "answered":
        statements += rows.mark(key, "replied", Moment(ended, seconds))
    statements += rows.mark(key, "ended", Moment(ended, seconds))
    statements += rows.conclude(key, settled=True)
    journal.put(statements)


def _key(vm: Vm, pid: int, since: datetime) -> str:
    about = f"{vm.id}\n{pid}\n{round(since.timestamp() / _SAME_WITHIN_S)}"
    return hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest()[:32]
