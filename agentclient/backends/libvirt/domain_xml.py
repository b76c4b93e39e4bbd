"""What the XML of a domain that runs says of its agent."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree as ET

AGENT = "org.qemu.guest_agent.0"
_MOST_BYTES = 4 << 20


class Channel(NamedTuple):
    """The agent's channel of a domain.

    Attributes:
        alias: what QEMU calls its port; None where libvirt does not say.
        connected: whether an agent is there; None if that is not known.
    """

    alias: str | None
    connected: bool | None


def channel_of(xml: str) -> Channel | None:
    """Return the agent's channel in a domain's live XML; None if it has none.

    Raises:
        ValueError: it can't be read.
    """
    if len(xml) > _MOST_BYTES:
        raise ValueError(f"its XML has {len(xml)} bytes")
    try:
        root = ET.fromstring(xml)  # noqa: S314 - libvirt's own, which can't hold entities
    except ET.ParseError as error:
        raise ValueError(f"its XML can't be read: {error}") from error
    for channel in root.iterfind("devices/channel"):
        target, alias = channel.find("target"), channel.find("alias")
        if target is None or target.get("name") != AGENT:
            continue
        state = target.get("state")
        connected = {"connected": True, "disconnected": False}.get(state or "")
        return Channel(None if alias is None else alias.get("name"), connected)
    return None
