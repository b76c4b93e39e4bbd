"""Records what others had pending in a guest for a second or more, once that is over.

Such a window is written whole, and is settled: nobody has to thaw for it.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import Final

from agentclient.journal import rows
from agentclient.journal.identity import own_identity
from agentclient.journal.rows import Moment
from agentclient.journal.writer import Journal
from agentclient.model.json_contract import rfc3339
from agentclient.model.others_past import OthersEnded, OthersResult
from agentclient.model.states import WindowKind
from agentclient.model.vm import Process, Vm

_NOBODY: Final = -1
# Several frostwatches see the same command at slightly different times: it is written once.
_SAME_WITHIN_S: Final = 4.0


def record_others(journal: Journal, vm: Vm, ended: OthersEnded) -> None:
    """Write what others had pending, or had left frozen; never waits for the disk.

    Args:
        journal: the journal.
        vm: the VM.
        ended: what it was, and what came of it.
    """
    ours, by, seconds = own_identity(), ended.by, ended.seconds
    who = replace(
        ours,
        uid=_NOBODY,
        user=(by.user if by is not None else None) or "unknown",
        process=Process(by.pid if by is not None else 0, 0),
        command=by.program if by is not None else "unknown",
    )
    request = {
        "result": ended.result.value,
        "cause": ended.cause.value if ended.cause is not None else None,
        "locked_by": vm.locked_by,
        "program": by.program if by is not None else None,
        "task": by.task if by is not None else None,
    }
    key = _key(vm, who.process.pid, ended)
    asked, until = rfc3339(ended.since) or "", rfc3339(ended.until) or ""
    mono = time.monotonic() - seconds
    statements = rows.insert(key, WindowKind.OTHERS, vm, request, asked=asked, mono=mono, who=who)
    statements += rows.mark(key, "sent", Moment(asked, 0.0))
    if ended.result is OthersResult.ANSWERED:
        statements += rows.mark(key, "replied", Moment(until, seconds))
    statements += rows.mark(key, "ended", Moment(until, seconds))
    statements += rows.conclude(key, settled=True)
    journal.put(statements)


def _key(vm: Vm, pid: int, ended: OthersEnded) -> str:
    kind = "thawed" if ended.result is OthersResult.THAWED else "pending"
    about = f"{vm.id}\n{pid}\n{kind}\n{round(ended.since.timestamp() / _SAME_WITHIN_S)}"
    return hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest()[:32]
