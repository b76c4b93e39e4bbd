"""The XML by which libvirt is told what to copy, and what it says of snapshots. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree as ET

from agentclient.access.disk_calls import DiskWork, KeptSnapshot
from agentclient.backends.libvirt.domain_disks import file_of, target_of


def backup_xml(works: Sequence[DiskWork], others: Iterable[str], since: str | None) -> str:
    """Return what begins a backup.

    Args:
        works: the disks, and the files that take them.
        others: the targets of the disks that are left out.
        since: the checkpoint by which only what was written since is copied; None for all.
    """
    root = ET.Element("domainbackup", mode="push")
    if since is not None:
        ET.SubElement(root, "incremental").text = since
    disks = ET.SubElement(root, "disks")
    for work in works:
        disk = ET.SubElement(disks, "disk", name=work.disk, backup="yes", type="file")
        ET.SubElement(disk, "driver", type="qcow2")
        ET.SubElement(disk, "target", file=work.file)
    for target in others:
        ET.SubElement(disks, "disk", name=target, backup="no")
    return _text(root)


def checkpoint_xml(name: str, targets: Iterable[str], others: Iterable[str]) -> str:
    """Return what has disks record from now on what is written to them."""
    root = ET.Element("domaincheckpoint")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "description").text = "what was written since a backup of frostwatch"
    disks = ET.SubElement(root, "disks")
    for target in targets:
        ET.SubElement(disks, "disk", name=target, checkpoint="bitmap")
    for target in others:
        ET.SubElement(disks, "disk", name=target, checkpoint="no")
    return _text(root)


def snapshot_xml(name: str, overlays: Mapping[str, str], others: Iterable[str], text: str) -> str:
    """Return what has disks write to overlays.

    Args:
        name: the snapshot's name.
        overlays: the overlay of each disk, by its target.
        others: the targets of the disks that are left as they are.
        text: its description.
    """
    root = ET.Element("domainsnapshot")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "description").text = text
    disks = ET.SubElement(root, "disks")
    for target, file in overlays.items():
        disk = ET.SubElement(disks, "disk", name=target, snapshot="external", type="file")
        ET.SubElement(disk, "driver", type="qcow2")
        ET.SubElement(disk, "source", file=file)
    for target in others:
        ET.SubElement(disks, "disk", name=target, snapshot="no")
    return _text(root)


def snapshot_of(root: ET.Element, *, children: bool) -> KeptSnapshot:
    """Return what a snapshot's XML tells.

    Args:
        root: the XML.
        children: snapshots were taken on top of it.
    """
    overlays, inside = {}, []
    for disk in root.iterfind("disks/disk"):
        target = disk.get("name", "")
        if disk.get("snapshot") == "external":
            overlays[target] = file_of(disk)
        elif disk.get("snapshot") == "internal":
            inside.append(target)
    seconds, memory = root.findtext("creationTime") or "", root.find("memory")
    return KeptSnapshot(
        name=root.findtext("name") or "",
        seconds=int(seconds) if seconds.isdecimal() else 0,
        memory=memory is not None and memory.get("snapshot") in ("internal", "external"),
        overlays=overlays,
        images={
            target_of(disk): file_of(disk)
            for disk in root.iterfind("domain/devices/disk")
            if target_of(disk) in overlays or target_of(disk) in inside
        },
        inside=tuple(inside),
        children=children,
    )


def with_description(root: ET.Element, text: str) -> str:
    """Return a snapshot's XML with another description."""
    found = root.find("description")
    if found is None:
        found = ET.Element("description")
        root.insert(1, found)
    found.text = text
    return _text(root)


def _text(root: ET.Element) -> str:
    return ET.tostring(root, encoding="unicode")
