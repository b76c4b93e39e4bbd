"""VMs whose manager must make their copies itself: it would not know of ours, and may undo them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agentclient.jobs.errors import JobRefused
from agentclient.model.job import JobKind, JobRefusal
from agentclient.model.vm import LIBVIRT_SOURCE, Vm

# Proxmox keeps its sockets there, named by the VM's number.
_PROXMOX: Final = re.compile(r"/run/qemu-server/(?P<vmid>[1-9][0-9]*)\.qmp$")
_TOOLS: Final[Mapping[JobKind, str]] = MappingProxyType(
    {
        JobKind.SNAPSHOT: "frostwatch freeze {vm} -- qm snapshot {vmid} NAME",
        JobKind.DELETION: "qm delsnapshot {vmid} NAME",
        JobKind.BACKUP: "frostwatch freeze {vm} --thaw-when=job-started -- vzdump {vmid}",
        JobKind.MIRROR: "qm disk move {vmid} DISK STORAGE",
    }
)
_LIBVIRTS: Final[Mapping[JobKind, str]] = MappingProxyType(
    {
        JobKind.SNAPSHOT: (
            "frostwatch freeze {vm} -- virsh snapshot-create-as {domain} NAME --disk-only --atomic"
        ),
        JobKind.DELETION: "virsh snapshot-delete {domain} NAME",
        JobKind.BACKUP: "frostwatch freeze {vm} -- virsh backup-begin {domain}",
        JobKind.MIRROR: (
            "virsh blockcopy {domain} DISK --dest FILE --wait, then: "
            "frostwatch freeze {vm} -- virsh blockjob {domain} DISK --abort"
        ),
    }
)


def check_manager(vm: Vm, kind: JobKind) -> None:
    """Refuse a copy of a VM that its manager has to make.

    Args:
        vm: the VM.
        kind: what the copy is.

    Raises:
        JobRefused: it is Proxmox's, whose own tool is named, or libvirt's.
    """
    if vm.source == LIBVIRT_SOURCE:
        tool = _LIBVIRTS.get(kind, "virsh").format(
            vm=shlex.quote(str(vm.id)), domain=shlex.quote(vm.title or vm.name)
        )
        raise JobRefused(
            JobRefusal.MANAGED,
            "the VM is libvirt's, which has to know of its snapshots, and of what copies its disks",
            f"let libvirt's own tool do it: {tool}",
        )
    if vm.out_of_reach is not None and vm.monitor is None:
        raise JobRefused(
            JobRefusal.MANAGED,
            f"its manager has to copy its disks: {vm.out_of_reach}",
            "use its manager's own tools",
        )
    found = _PROXMOX.search(str(vm.monitor.path)) if vm.monitor is not None else None
    if found is None:
        return
    tool = _TOOLS.get(kind, "").format(vm=shlex.quote(str(vm.id)), vmid=found["vmid"])
    raise JobRefused(
        JobRefusal.MANAGED,
        "the VM is Proxmox's, which has to know of its snapshots, and of what copies its disks",
        f"let Proxmox's own tool do it: {tool}",
    )
