"""``frostwatch web``: the console in a browser, on this machine alone, looking only."""

from __future__ import annotations

import ipaddress
import os
from typing import Final

import click

from agentclient.late import load
from agentclient.model.errors import BadInput, FrostwatchError
from tui.cli import tell
from tui.cli.options import Options, with_options
from tui.cli.web_console import console_command
from tui.shared.loopback import is_loopback

PORT: Final = 8000
LOOPBACK: Final = "127.0.0.1"
_USER_NAME: Final = ("agentclient.access.host.process", "user_name")
MISSING: Final = "the console in a browser needs textual-serve: pip install 'frostwatch[web]'"


@click.command(
    "web",
    epilog="From another machine, without opening anything to others: ssh -L 8000:127.0.0.1:8000 "
    "HOST, and open the address there.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    help=f"Listen on this port; 0 for any that is free; default {PORT}.",
)
@click.option(
    "--listen",
    "address",
    metavar="ADDRESS",
    default=LOOPBACK,
    help=f"Listen on this address; default {LOOPBACK}, which only this machine reaches.",
)
@click.option(
    "--others-may-connect",
    "others",
    is_flag=True,
    help="Listen on an address that other machines reach: nothing is encrypted.",
)
@click.option(
    "--allow-changes",
    "changes",
    is_flag=True,
    help="Whoever has the address may freeze, thaw, copy and reset; without it, look only.",
)
@with_options
def web_command(options: Options, *, port: int, address: str, others: bool, changes: bool) -> int:
    """Open the console in a browser: each page has a console of its own.

    The address that is printed has a secret in it: whoever has it can do what the page can. It is
    another one at each start. Ctrl-C ends all pages; what they have frozen is thawed.
    """
    _check(address, others=others)
    if changes and options.given.get("read_only"):
        raise BadInput("--read-only and --allow-changes exclude each other")
    command = console_command(options, changes=changes)
    try:
        serve = load("tui.web.server", "serve")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("textual_serve", "aiohttp", "jinja2"):
            raise FrostwatchError(MISSING) from None
        raise

    def began(url: str) -> None:
        tell.out(f"open {url}")
        for sentence in _what_it_means(options, others=others, changes=changes):
            tell.note(sentence)

    serve(command, address, port, tell.note, began)
    return 0


def _check(address: str, *, others: bool) -> None:
    """Make sure that nothing is opened to others by accident.

    Raises:
        BadInput: the address is none, or others reach it and nobody has said so.
    """
    if is_loopback(address):
        return
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise BadInput(
            f"--listen {address!r} is no address: write one such as {LOOPBACK}"
        ) from None
    if not others:
        raise BadInput(
            f"other machines reach {address}, and nothing on the way is encrypted: say "
            "--others-may-connect, or leave out --listen and use ssh -L"
        )


def _what_it_means(options: Options, *, others: bool, changes: bool) -> list[str]:
    """Return what whoever has started it must know, a sentence each."""
    may = f"freeze, thaw, copy and reset VMs as {load(*_USER_NAME)(os.geteuid())}"
    said = "it looks only: whoever has this address sees all VMs, and can freeze and thaw nothing"
    if changes and options.read_only:
        said = "it looks only, since read_only is set: whoever has this address sees all VMs"
    elif changes:
        said = (
            f"WITH CHANGES: whoever has this address can {may}, other users of this host included"
        )
    reached = "OTHERS MAY CONNECT: whoever sees the traffic has the address, and all that it allows"
    return [said, *([reached] if others else []), "Ctrl-C ends it"]
