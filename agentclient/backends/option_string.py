"""QEMU's option strings: ``socket,id=qga0,path=/run/a,,b.sock,server,nowait``.

`--vm` uses the same syntax, so that a comma in a path is written in the same way.
"""

from __future__ import annotations

import json

# QEMU's words for "on". Every other word is taken as "off": in doubt, a socket is no server.
_ON = frozenset({"on", "yes", "true", "y"})


def quote(value: str) -> str:
    """Return `value` quoted for an option string: commas are doubled."""
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
            # A doubled comma in a *key* is not handled: no key that we use contains one.
            pairs.append((key, value))
        elif index == 0 and implied is not None:
            pairs.append((implied, item))
        elif item:
            pairs.append((item, None))
    return pairs


def options(text: str, implied: str | None = None) -> dict[str, str]:
    """Return the keys and values of an option string, or of a JSON object in its place.

    Of a repeated key, the last value counts. A key that stands alone is ``on``; with the prefix
    ``no`` (``nowait``) it is ``off``. An invalid JSON object gives an empty dictionary: QEMU would
    not have started with it.

    Args:
        text: the string as it stands on the command line.
        implied: the key that a first item without ``=`` is the value of.
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
    """Split at single commas; a doubled comma is a comma of the value."""
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
    # No option that we use is a list or an object.
    return str(item) if isinstance(item, str | int | float) else ""
