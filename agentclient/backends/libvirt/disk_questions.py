"""What is asked of libvirt about a domain's disks and jobs; each function blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from agentclient.access.disk_calls import BACKUP, DiskWork
from agentclient.backends.libvirt.binding import Binding
from agentclient.backends.libvirt.domain_disks import Checkpoint, checkpoint_of, parsed
from agentclient.backends.libvirt.domain_jobs import Told, is_backup
from agentclient.protocol.qmp_block import Disk

_BLOCK: Final = 32  # virDomainStatsTypes
_BACKING: Final = 1 << 30  # of virConnectGetAllDomainStatsFlags
_BYTES: Final = 1
_COMPLETED, _KEEP = 1, 2
_SIZES, _NO_DOMAIN = 4, 2  # virDomainCheckpointXMLFlags


def figures_of(connection: Any, domain: Any) -> Mapping[str, object]:
    """Return the statistics of all images of a domain, as libvirt calls them."""
    found = connection.domainListGetStats([domain], _BLOCK, _BACKING)
    return dict(found[0][1]) if found else {}


def checkpoints_of(domain: Any, binding: Binding) -> list[Checkpoint]:
    """Return the checkpoints; none where libvirt knows none, or can't tell them now."""
    found = []
    with suppress(binding.libvirt.libvirtError):
        for one in domain.listAllCheckpoints(0):
            try:
                xml = one.getXMLDesc(_SIZES | _NO_DOMAIN)
            except binding.libvirt.libvirtError:
                xml = one.getXMLDesc(_NO_DOMAIN)
            found.append(checkpoint_of(parsed(xml)))
    return found


def told_of(
    domain: Any, binding: Binding, root: Any, disks: Sequence[Disk], works: Sequence[DiskWork]
) -> Told:
    """Return what libvirt tells of the jobs on a domain.

    Args:
        domain: the domain.
        binding: the binding.
        root: the domain's live XML.
        disks: its disks.
        works: what frostwatches have planned.
    """
    job = dict(domain.jobStats(0))
    backup = None
    if is_backup(job):
        try:
            backup = parsed(domain.backupGetXMLDesc(0))
        except binding.libvirt.libvirtError:  # it has ended since
            job = {}
    blocks = {one.node: dict(domain.blockJobInfo(one.node, _BYTES)) for one in disks if one.chain}
    last: dict[str, object] = {}
    if backup is None and any(one.began and one.type == BACKUP for one in works):
        with suppress(binding.libvirt.libvirtError):
            last = dict(domain.jobStats(_COMPLETED | _KEEP))
    return Told(root, job, backup, blocks, last)
