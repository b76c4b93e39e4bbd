"""QEMU's option strings: ``socket,id=qga0,path=/run/a,,b.sock,server,nowait``.

The same writing is used for `--vm`, so that a path with a comma is given in both in one way.
"""

from __future__ import annotations

import json

# What QEMU reads as "on"; every other word is taken as "off", which is what a doubtful server is.
_ON = frozenset({"on", "yes", "true", "y"})


def quote(value: str) -> str:
    """Return `value` as it has to be written in an option string: commas are doubled."""
    return value.replace(",", ",,")


def split_pairs(text: str, implied: str | None = None) -> list[tuple[str, str | None]]:
    """Split an option string into its keys and values, in their order.

    Args:
        text: the string as it stands on the command line.
        implied: the key that a first item without ``=`` is the value of.

    Returns:
        Pairs; the value is None where a key stands alone (``server``).
    """
    pairs: list[tuple[str, str | None]] = []
    for index, item in enumerate(_items(text)):
        key, equals, value = item.partition("=")
        if equals:
            # A doubled comma inside of a *key* is QEMU's business; nothing known contains one.
            pairs.append((key, value))
        elif index == 0 and implied is not None:
            pairs.append((implied, item))
        elif item:
            pairs.append((item, None))
    return pairs


def options(text: str, implied: str | None = None) -> dict[str, str]:
    """Return an option string, or a JSON object in its place, as a dictionary; the last one wins.

    A key that stands alone is ``on``; with ``no`` before it (``nowait``) it is ``off``. What is no
    valid JSON object gives an empty dictionary: QEMU would not have started with it.
    """
    if text.startswith("{"):
        return _json_options(text)
    found: dict[str, str] = {}
    for key, value in split_pairs(text, implied):
        if value is not None:
            found[key] = value
        elif key.startswith("no"):
            found[key[2:]] = "off"
        else:
            found[key] = "on"
    return found


def is_on(value: str | None) -> bool:
    """Return whether an option's value is one of QEMU's words for yes."""
    return value is not None and value.lower() in _ON


def _items(text: str) -> list[str]:
    """Split at single commas; a doubled one is a comma of the value."""
    items: list[str] = []
    current: list[str] = []
    index = 0
    while index < len(text):
        character = text[index]
        if character == "," and text[index + 1 : index + 2] != ",":
            items.append("".join(current))
            current = []
        else:
            current.append(character)
            index += character == ","
        index += 1
    items.append("".join(current))
    return items


def _json_options(text: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {str(key): _word(item) for key, item in value.items()}


def _word(item: object) -> str:
    if isinstance(item, bool):
        return "on" if item else "off"
    # Nothing that we look for is a list or an object.
    return str(item) if isinstance(item, str | int | float) else ""
