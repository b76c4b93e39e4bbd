"""VMs whose manager must make their copies itself: it would not know of ours, and may undo them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agentclient.jobs.errors import JobRefused
from agentclient.jobs.request import CopyRequest
from agentclient.model.job import FreezePolicy, JobKind, JobRefusal
from agentclient.model.shell_words import quoted
from agentclient.model.text import printable
from agentclient.model.vm import Vm

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
        JobKind.SNAPSHOT: "virsh snapshot-create-as {domain} NAME --disk-only --atomic",
        JobKind.DELETION: "virsh snapshot-delete {domain} NAME",
        JobKind.BACKUP: "virsh backup-begin {domain}",
        JobKind.MIRROR: (
            "virsh blockcopy {domain} DISK --dest FILE --transient-job --wait, then: "
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
        JobRefused: it is Proxmox's, or libvirt's and what is asked is not done through it; the
            manager's own tool is named.
    """
    if vm.is_libvirts:
        _check_libvirts(vm, kind)
        return
    if vm.out_of_reach is not None and vm.monitor is None:
        raise JobRefused(
            JobRefusal.MANAGED,
            f"its manager has to copy its disks: {vm.out_of_reach}",
            "use its manager's own tools",
        )
    found = _PROXMOX.search(str(vm.monitor.path)) if vm.monitor is not None else None
    if found is None:
        return
    tool = _TOOLS.get(kind, "").format(vm=quoted(str(vm.id)), vmid=found["vmid"])
    raise JobRefused(
        JobRefusal.MANAGED,
        "the VM is Proxmox's, which has to know of its snapshots, and of what copies its disks",
        f"let Proxmox's own tool do it: {tool}",
    )


def check_offered(request: CopyRequest) -> None:
    """Refuse what no copy through a manager's calls can do.

    Raises:
        JobRefused: nobody would let the VM go on.
    """
    if request.policy is FreezePolicy.SUSPEND:
        raise JobRefused(
            JobRefusal.MANAGED,
            "under libvirt nothing is paused for a copy: nobody would let the VM go on if "
            "frostwatch were killed",
            "use --policy prefer, which goes without a freeze where there is no agent",
        )


def _check_libvirts(vm: Vm, kind: JobKind) -> None:
    """Refuse what is not done through libvirt.

    Raises:
        JobRefused: it is not, or not to this VM.
    """
    why = None
    if kind is JobKind.MIRROR:
        why = "mirrors are not made through libvirt, whose copy job has one disk alone"
    elif vm.id.host:
        why = f"the VM runs on {printable(vm.id.host, 80)}, where the files of its copies would be"
    elif vm.out_of_reach is not None:
        why = vm.out_of_reach
    if why is None:
        return
    words = {"vm": quoted(str(vm.id)), "domain": quoted(vm.title or vm.name)}
    tool = _LIBVIRTS.get(kind, "virsh").format(**words)
    raise JobRefused(JobRefusal.MANAGED, why, f"let libvirt's own tool do it: {tool}")
