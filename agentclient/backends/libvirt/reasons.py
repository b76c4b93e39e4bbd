"""Why a daemon on another host can't be reached, and what to do, by what ssh has said. Pure.

Nothing but ssh's words tells it: libvirt passes them on under one and the same number. They are for
a person; all that follows from them here is when the next try is worth while. libvirt has ssh speak
English.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from agentclient.backends.libvirt.uris import Uri
from agentclient.model.text import printable


class Reason(NamedTuple):
    """Why there is no connection.

    Attributes:
        text: one clause, which says what to do as well.
        host: it is about the way to the host, not about the daemon there.
        lasting: it stays so until a person mends it.
    """

    text: str
    host: bool = False
    lasting: bool = False


# In the texts: {host}, {ssh} for the command that leads there, {list} for virsh's there.
_REASONS: Final = (
    (
        ("REMOTE HOST IDENTIFICATION HAS CHANGED",),
        Reason(
            "{host} has another host key than the one in known_hosts: find out why before anything"
            " else; only if that is right, ssh-keygen -R it, and connect once by hand: {ssh}",
            host=True,
            lasting=True,
        ),
    ),
    (
        ("Host key verification failed", "host key is known for"),
        Reason(
            "the host key of {host} is not known here: connect once by hand, and compare it: {ssh}",
            host=True,
            lasting=True,
        ),
    ),
    (
        ("Permission denied (", "Too many authentication failures"),
        Reason(
            "{host} takes none of our keys, and no password is asked for here: see ssh-add -l, and"
            " let this work first: {batch}",
            host=True,
            lasting=True,
        ),
    ),
    (
        ("Could not resolve hostname",),
        Reason(
            "the name {host} is not known here: see ~/.ssh/config and the DNS",
            host=True,
            lasting=True,
        ),
    ),
    (
        ("Connection refused",),
        Reason(
            "no sshd listens on {host}: see whether it runs there, and on which port", host=True
        ),
    ),
    (
        ("No route to host", "Network is unreachable", "timed out", "not responding"),
        Reason("{host} does not answer: see whether it is up, and the network", host=True),
    ),
    (
        ("kex_exchange_identification", "Connection closed by", "Connection to "),
        Reason(
            "the sshd of {host} has ended the connection: its log there says why (MaxStartups,"
            " fail2ban, …)",
            host=True,
        ),
    ),
    (
        ("not found", "Cannot find 'ssh"),
        Reason(
            "{host} has neither virt-ssh-helper nor nc, or there is no ssh here: install libvirt's"
            " daemon there, or openssh-client here ({said})",
            lasting=True,
        ),
    ),
    (
        ("unable to connect to server", "Failed to connect socket", "unix connect failed"),
        Reason("no daemon of libvirt answers on {host}: see whether it runs there: {list}"),
    ),
)
HANGS: Final = "{host} has not let us in within {seconds:g} s, and ssh was ended: try {batch}"


def reason_of(uri: Uri, said: str) -> Reason:
    """Return why a daemon can't be reached.

    Args:
        uri: its address.
        said: what libvirt says, with what ssh has said to it.
    """
    if not uri.host:
        return Reason(printable(said, 300))
    for words, reason in _REASONS:
        if any(word in said for word in words):
            return reason._replace(text=_filled(reason.text, uri, said=printable(said, 120)))
    return Reason(_filled("{said}; see whether this works: {list}", uri, said=printable(said, 200)))


def hanging(uri: Uri, seconds: float) -> Reason:
    """Return that ssh was ended, since it had not connected in time.

    Args:
        uri: the daemon's address.
        seconds: how long it was waited for.
    """
    return Reason(_filled(HANGS, uri, seconds=seconds), host=True)


def _filled(text: str, uri: Uri, **more: object) -> str:
    return text.format(
        host=printable(uri.host, 80),
        ssh=uri.command_there(),
        batch=uri.command_there("true"),
        list=uri.virsh_there("list"),
        **more,
    )
