"""Which nodes each block job works on, as QEMU's graph of its block layer shows. Pure.

``x-debug-query-block-graph`` (QEMU 4.0 and later) lists jobs, drives and nodes, and who uses whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

GRAPH: Final = "x-debug-query-block-graph"


def nodes_of_jobs(graph: object) -> dict[str, frozenset[str]]:
    """Read the reply to ``x-debug-query-block-graph``.

    Returns:
        The names of all nodes that are reached from each job, by the job's id; empty if the reply
        is not as documented.
    """
    if not isinstance(graph, Mapping):
        return {}
    items = {item["id"]: item for item in _mappings(graph.get("nodes")) if "id" in item}
    children: dict[Any, list[Any]] = {}
    for edge in _mappings(graph.get("edges")):
        children.setdefault(edge.get("parent"), []).append(edge.get("child"))
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
    if not isinstance(graph, Mapping):
        return {}
    names = {
        item["id"]: str(item.get("name"))
        for item in _mappings(graph.get("nodes"))
        if isinstance(item.get("id"), int)
    }
    return {
        names[edge["parent"]]: names[edge["child"]]
        for edge in _mappings(graph.get("edges"))
        if edge.get("name") == "file" and {edge.get("parent"), edge.get("child")} <= names.keys()
    }


def _reached(children: Mapping[Any, Iterable[Any]], start: object) -> set[Any]:
    seen: set[Any] = set()
    todo = [start]
    while todo:
        number = todo.pop()
        if number not in seen:
            seen.add(number)
            todo += children.get(number, ())
    return seen


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in (value if isinstance(value, list) else []) if isinstance(one, Mapping)]
