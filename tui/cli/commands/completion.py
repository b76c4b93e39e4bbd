"""``frostwatch completion``: prints what a shell reads to complete names of VMs, and all else."""

from __future__ import annotations

import click

from agentclient.model.errors import BadInput
from tui.cli import tell
from tui.cli.completion import SHELLS, script, shell_of_user


@click.command(
    "completion",
    epilog="Where it goes: for bash to ~/.local/share/bash-completion/completions/frostwatch; for "
    "zsh to a folder of $fpath, as _frostwatch; for fish to "
    "~/.config/fish/completions/frostwatch.fish.",
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion_command(shell: str | None) -> int:
    """Print what a shell reads to complete commands, options, states and names of VMs.

    The VMs are listed for that, and nothing is asked of any guest.
    """
    shell = shell or shell_of_user()
    if shell is None:
        raise BadInput(f"say which shell: {', '.join(SHELLS)}")
    tell.whole(script(shell).strip("\n"))
    return 0
