"""QMP's wire: bytes in, replies and events out. No socket and no clock in here.

QEMU's monitor is trusted more than a guest. The strings that it repeats (paths, names) are not:
callers make each printable before they show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

DEFAULT_MAX_LINE: Final = 16 * 1024 * 1024
# Its `raw_decode` takes a third of the time of `json.loads`; a visit reads five messages.
_DECODER: Final = json.JSONDecoder()


class QmpViolation(Exception):
    """What came is no QMP: no JSON object, or a line over the limit."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The monitor serves us: it greets only the client that it serves.

    Attributes:
        version: QEMU's major, minor and micro number; zeros if they can't be read.
    """

    version: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class QmpReply:
    """A command's answer.

    Attributes:
        ticket: the caller's number for the command.
        value: what QEMU returned.
    """

    ticket: int
    value: object


@dataclass(frozen=True, slots=True)
class QmpFailure:
    """A command's error.

    Attributes:
        ticket: the caller's number for the command.
        error_class: QMP's class.
        desc: QEMU's words, not made printable.
    """

    ticket: int
    error_class: str
    desc: str


@dataclass(frozen=True, slots=True)
class QmpEvent:
    """Something that QEMU tells on its own.

    Attributes:
        name: the event's, such as ``VSERPORT_CHANGE``.
        data: what it says.
    """

    name: str
    data: Mapping[str, object]


QmpMessage = Greeting | QmpReply | QmpFailure | QmpEvent


def value_of(answer: QmpReply | QmpFailure) -> object:
    """Return what a command has returned; None if it has failed."""
    return answer.value if isinstance(answer, QmpReply) else None


def qmp_command(ticket: int, command: str, arguments: Mapping[str, object] | None = None) -> bytes:
    """Return the bytes of a command.

    Args:
        ticket: the caller's number for it; the reply repeats it.
        command: its name.
        arguments: its arguments.
    """
    if not arguments:  # most have none, and are sent a thousand times in a second
        return b'{"execute":"%s","id":%d}\n' % (command.encode(), ticket)
    body: dict[str, object] = {"execute": command, "id": ticket, "arguments": dict(arguments)}
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


class QmpWire:
    """One QMP session's incoming bytes.

    Args:
        max_line: the longest line in bytes that is taken.
    """

    def __init__(self, *, max_line: int = DEFAULT_MAX_LINE) -> None:
        self._max_line = max_line
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[QmpMessage]:
        """Take bytes that came, and return what they mean.

        Raises:
            QmpViolation: they are no QMP; the session can't go on.
        """
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        if len(rest) > self._max_line:
            raise QmpViolation(f"a line over {self._max_line} bytes")
        return [message for line in lines if (message := _message(line)) is not None]


def _message(line: bytes) -> QmpMessage | None:
    line = line.strip()
    if not line:
        return None
    try:
        text = line.decode()
        body, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise QmpViolation("no JSON") from error
    if end != len(text):
        raise QmpViolation("more than one JSON value in a line")
    if not isinstance(body, dict):
        raise QmpViolation("no JSON object")
    if "QMP" in body:
        return Greeting(_version(body["QMP"]))
    if "event" in body:
        data = body.get("data")
        return QmpEvent(str(body["event"]), data if isinstance(data, dict) else {})
    ticket = body.get("id")
    if not isinstance(ticket, int):
        return None
    if "return" in body:
        return QmpReply(ticket, body["return"])
    failure = body.get("error")
    if isinstance(failure, dict):
        return QmpFailure(ticket, str(failure.get("class")), str(failure.get("desc")))
    raise QmpViolation("a message that is neither greeting, event, reply nor error")


def _version(greeting: Any) -> tuple[int, int, int]:
    try:
        qemu = greeting["version"]["qemu"]
        return int(qemu["major"]), int(qemu["minor"]), int(qemu["micro"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0, 0, 0
