"""Which nodes each block job works on, as QEMU's graph of its block layer shows. Pure.

``x-debug-query-block-graph`` (QEMU 4.0 and later) lists jobs, drives and nodes, and who uses whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

GRAPH: Final = "x-debug-query-block-graph"


def nodes_of_jobs(graph: object) -> dict[str, frozenset[str]]:
    """Read the reply to ``x-debug-query-block-graph``.

    Returns:
        The names of all nodes that are reached from each job, by the job's id; empty if the reply
        is not as documented.
    """
    items = _items(graph)
    children: dict[int, list[int]] = {}
    for parent, child, _ in _edges(graph):
        children.setdefault(parent, []).append(child)
    return {
        str(item.get("name")): frozenset(
            str(items[reached].get("name"))
            for reached in _reached(children, number)
            if reached in items and items[reached].get("type") == "block-driver"
        )
        for number, item in items.items()
        if item.get("type") == "block-job"
    }


def files_below(graph: object) -> dict[str, str]:
    """Read the same reply: for each node that has a ``file``, the name of that node.

    Returns:
        Nothing of a reply that is not as documented.
    """
    names = {number: str(item.get("name")) for number, item in _items(graph).items()}
    return {
        names[parent]: names[child]
        for parent, child, name in _edges(graph)
        if name == "file" and parent in names and child in names
    }


def _items(graph: object) -> dict[int, Mapping[str, object]]:
    """Return the jobs, drives and nodes, by their numbers."""
    return {
        number: item
        for item in _mappings(graph, "nodes")
        if isinstance(number := item.get("id"), int)
    }


def _edges(graph: object) -> Iterator[tuple[int, int, object]]:
    """Yield who uses whom, by their numbers, and what for."""
    for edge in _mappings(graph, "edges"):
        parent, child = edge.get("parent"), edge.get("child")
        if isinstance(parent, int) and isinstance(child, int):
            yield parent, child, edge.get("name")


def _reached(children: Mapping[int, Iterable[int]], start: int) -> set[int]:
    seen: set[int] = set()
    todo = [start]
    while todo:
        number = todo.pop()
        if number not in seen:
            seen.add(number)
            todo += children.get(number, ())
    return seen


def _mappings(graph: object, key: str) -> list[Mapping[str, object]]:
    value = graph.get(key) if isinstance(graph, Mapping) else None
    return [one for one in (value if isinstance(value, list) else []) if isinstance(one, Mapping)]
