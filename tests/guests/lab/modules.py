"""Kernel modules: which ones the guest loads, and in which order.

A package has no `modules.dep` (it is made at installation), but each module names those it needs.
"""

from __future__ import annotations

import lzma
import re
from pathlib import Path

# What is missing in the package is built into the kernel, ext4 for example.
WANTED = (
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "ext4",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_iso8859-1",
    "nls_utf8",
    "pvpanic-pci",
)
# What a guest with tools has beside these.
TOOLS = ("xfs",)


def load_order(tree: Path, wanted: tuple[str, ...] = WANTED) -> list[tuple[str, bytes]]:
    """The modules as (file name, contents), each one after those that it needs.

    Args:
        tree: the unpacked kernel package.
        wanted: module names; those without a file are taken as built in.
    """
    files = {_name(path): path for path in sorted(tree.glob("**/lib/modules/*/kernel/**/*.ko*"))}
    order: dict[str, bytes] = {}

    def visit(name: str) -> None:
        path = files.get(name)
        if path is None or name in order:
            return
        content = _content(path)
        for needed in needed_by(content):
            visit(needed)
        order[name] = content

    for name in wanted:
        visit(name.replace("-", "_"))
    return [(f"{name}.ko", content) for name, content in order.items()]


def needed_by(module: bytes) -> list[str]:
    """The names in a module's own `depends=` field."""
    found = re.search(rb"\x00depends=([^\x00]*)\x00", module)
    names = found.group(1).decode().split(",") if found else []
    return [name.replace("-", "_") for name in names if name]


def _name(path: Path) -> str:
    """A module's name as the kernel spells it: with underscores."""
    return path.name.split(".")[0].replace("-", "_")


def _content(path: Path) -> bytes:
    """A module's bytes, unpacked: the guest's `insmod` is a simple one."""
    raw = path.read_bytes()
    return lzma.decompress(raw) if path.suffix == ".xz" else raw
