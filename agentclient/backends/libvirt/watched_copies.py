"""The copies on a domain that frostwatches say to be at work, as its watcher shows them."""

from __future__ import annotations

from agentclient.access.presence import is_gone
from agentclient.backends.libvirt.copy_marks import marks_in
from agentclient.backends.libvirt.domain_disks import parsed
from agentclient.model.job import JobKind, QemuJob
from agentclient.model.snapshot import MonitorView
from agentclient.model.text import printable
from agentclient.protocol.job_names import JobId

_KINDS = frozenset(one.value for one in JobKind)


def copies_in(xml: str) -> tuple[QemuJob, ...]:
    """Return what frostwatches do with the disks of a domain, by its live XML.

    Raises:
        ValueError: it can't be read.
    """
    found = []
    for marks in marks_in(parsed(xml)).values():
        for work in marks.works:
            name = JobId.parse(work.job)
            if name is not None and name.kind in _KINDS:
                shown, kind = printable(work.job, 120), JobKind(name.kind)
                found.append(
                    QemuJob(shown, work.type, kind=kind, process=name.process, token=name.token)
                )
    return tuple(found)


def with_left(view: MonitorView) -> MonitorView:
    """Return a view that says which of its copies nobody follows any more."""
    jobs = tuple(one._replace(left=bool(is_gone(one.process))) for one in view.block_jobs or ())
    return view._replace(block_jobs=jobs)
