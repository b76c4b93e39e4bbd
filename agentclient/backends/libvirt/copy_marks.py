"""What frostwatches say of their copies in the metadata of a domain that runs. Pure.

Each copy has one element, under a namespace of its own that is named by the copy's key, so that two
frostwatches which write at one moment both stay to be seen. It ends with the domain's run.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

from agentclient.access.disk_calls import BACKUP, FOLD, DiskWork
from agentclient.protocol.job_names import CopyKey, JobId

PREFIX: Final = "frostwatch"
_SPACE: Final = "urn:frostwatch:"
_TYPES: Final = frozenset({BACKUP, FOLD})
_MOST: Final = 1024


class CopyMarks(NamedTuple):
    """What one copy says of itself.

    Attributes:
        copy: the beginning of its nodes' names (`stem_of`).
        parts: the parts of the nodes that it is marked by.
        works: what its jobs do.
    """

    copy: str
    parts: tuple[str, ...] = ()
    works: tuple[DiskWork, ...] = ()

    @property
    def space(self) -> str:
        """The namespace of its element."""
        return f"{_SPACE}{self.copy}"

    def xml(self) -> str | None:
        """Return its element; None if there is nothing to say any more."""
        if not self.parts and not self.works:
            return None
        root = ET.Element("copy")
        for part in self.parts:
            ET.SubElement(root, "mark", part=part)
        for work in self.works:
            given = {"id": work.job, "type": work.type, "disk": work.disk, "file": work.file}
            ET.SubElement(root, "work", given | ({"began": "yes"} if work.began else {}))
        return ET.tostring(root, encoding="unicode")

    def nodes(self) -> dict[str, str]:
        """Return the names of its nodes, and of their files."""
        marks = {f"{self.copy}-{part}": "" for part in self.parts}
        files = {f"{self.copy}-t{n}-f": work.file for n, work in enumerate(self.works)}
        return marks | files


def stem_of(node: str) -> str:
    """Return what the names of all nodes of a copy begin with.

    Args:
        node: the name of one of them.
    """
    return "-".join(node.split("-", 4)[:4])


def marks_in(root: ET.Element) -> dict[str, CopyMarks]:
    """Return what the copies of a domain say of themselves, by their nodes' beginnings.

    Args:
        root: the domain's live XML.
    """
    found: dict[str, CopyMarks] = {}
    for element in root.iterfind("metadata/*"):
        space, bracket, _ = element.tag.removeprefix("{").partition("}")
        copy = space.removeprefix(_SPACE)
        if not bracket or copy == space or CopyKey.of_node(f"{copy}-") is None:
            continue
        parts = [one.get("part") or "" for one in element if _local(one) == "mark"]
        works = [_work(one, copy) for one in element if _local(one) == "work"]
        found[copy] = CopyMarks(
            copy,
            tuple(dict.fromkeys(filter(None, parts[:_MOST]))),
            tuple(one for one in works[:_MOST] if one is not None),
        )
    return found


def _work(element: ET.Element, copy: str) -> DiskWork | None:
    """Return a work; None if it is none of this copy's: anybody may have written it."""
    job, kind = element.get("id") or "", element.get("type") or ""
    name = JobId.parse(job)
    if name is None or kind not in _TYPES or not name.node("").startswith(f"{copy}-"):
        return None
    disk, file = element.get("disk") or "", element.get("file") or ""
    return DiskWork(job, kind, disk, file, began=element.get("began") == "yes")


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
