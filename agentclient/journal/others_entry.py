"""Records what others had pending in a guest for a second or more, once that is over.

Such a window is written whole, and is settled: nobody has to thaw for it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agentclient.journal import rows
from agentclient.journal.identity import ProcessIdentity, own_identity, socket_of
from agentclient.journal.rows import Moment
from agentclient.journal.writer import Journal
from agentclient.model.json_contract import rfc3339
from agentclient.model.others_past import OthersEnded, OthersResult
from agentclient.model.states import WindowKind
from agentclient.model.vm import Process, Vm

if TYPE_CHECKING:
    from agentclient.journal.storage.database import Statement

_NOBODY: Final = -1
_THAWED: Final = "thawed "
_PENDING: Final = "pending "


def record_others(journal: Journal, vm: Vm, ended: OthersEnded) -> None:
    """Write what others had pending, or had left frozen; never waits for the disk.

    Args:
        journal: the journal.
        vm: the VM.
        ended: what it was, and what came of it.
    """
    ours, seconds = own_identity(), ended.seconds
    kind = _THAWED if ended.result is OthersResult.THAWED else _PENDING
    key = kind + rows.new_key()
    asked, until = rfc3339(ended.since) or "", rfc3339(ended.until) or ""
    mono = time.monotonic() - seconds
    statements = rows.insert(
        key,
        WindowKind.OTHERS,
        vm,
        _request(vm, ended),
        rows.Asked(asked, mono),
        who=_who(ours, ended),
        unless=_the_same(vm, kind, mono, seconds, ours.boot),
    )
    statements += rows.mark(key, "sent", Moment(asked, 0.0))
    if ended.result is OthersResult.ANSWERED:
        statements += rows.mark(key, "replied", Moment(until, seconds))
    statements += rows.mark(key, "ended", Moment(until, seconds))
    statements += rows.conclude(key, settled=True)
    journal.put(statements)


def _who(ours: ProcessIdentity, ended: OthersEnded) -> ProcessIdentity:
    """Return whose it was, on our own host."""
    by = ended.by
    return replace(
        ours,
        uid=_NOBODY,
        user=(by.user if by is not None else None) or "unknown",
        process=Process(by.pid if by is not None else 0, 0),
        command=by.program if by is not None else "unknown",
    )


def _request(vm: Vm, ended: OthersEnded) -> dict[str, object]:
    by = ended.by
    return {
        "result": ended.result.value,
        "cause": ended.cause.value if ended.cause is not None else None,
        "locked_by": vm.locked_by,
        "program": by.program if by is not None else None,
        "task": by.task if by is not None else None,
    }


def _the_same(vm: Vm, kind: str, mono: float, seconds: float, boot: str) -> Statement:
    """Return the query for what another frostwatch has written about the same thing.

    Each sees it at looks of its own. A channel serves one client, and its agent answers one command
    after the other: what took place at the same time for the most part is one.

    Args:
        vm: the VM.
        kind: the beginning of the key.
        mono: when it began, in seconds of the boot's monotonic clock.
        seconds: how long it took.
        boot: the boot of this host.
    """
    text = (
        "SELECT 1 FROM windows WHERE kind = ? AND (vm = ? OR socket = ?) AND boot = ?"
        " AND substr(key, 1, ?) = ?"
        " AND min(mono + ended_s, ?) - max(mono, ?) >= min(ended_s, ?) / 2"
    )
    about = (WindowKind.OTHERS.value, rows.identity(str(vm.id)), socket_of(vm), boot)
    return text, (*about, len(kind), kind, mono + seconds, mono, seconds)
