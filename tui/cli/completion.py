"""What a shell completes: commands and options by click, and beside these VMs, states and files.

The shell asks at each press of Tab, so that the VMs come from a list alone, which is waited for for
a moment: no agent and no monitor is connected to, and a source that hangs completes nothing.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from agentclient.late import load
from tui.cli import session, tell
from tui.cli.options import COMPLETE_VARIABLE, PROGRAM, Options, spelled_out

if TYPE_CHECKING:
    from agentclient.backends.base import Backend
    from agentclient.model.vm import Vm

SHELLS: Final = ("bash", "zsh", "fish")
LISTED_WITHIN_S: Final = 1.0
# Shells split, expand or interpret the rest; whoever starts a VM may give it any name.
_PLAIN: Final = re.compile(r"[\w.@#+%=,/-]+(?::[\w.@#+%=,/-]+)*")
# In front of a word these make an option of it, a comment, a command's path, a job.
_NOT_FIRST: Final = ("-", "#", "=", "%")


def answer(cli: click.Command, wanted: str) -> int:
    """Do what a shell asks for by the environment, and return the exit code.

    Args:
        cli: the command line.
        wanted: the variable's value, such as ``bash_source`` or ``zsh_complete``.
    """
    shell, _, what = wanted.partition("_")
    kind = get_completion_class(shell)
    if kind is None or what not in ("source", "complete"):
        return 1
    asked = kind(cli, {}, PROGRAM, COMPLETE_VARIABLE)
    if what == "source":
        tell.whole(asked.source().rstrip("\n"))
        return 0
    found: list[CompletionItem] = []
    # Whatever is wrong here: an error would be written into the line that somebody types.
    with suppress(Exception):
        found = _completions(asked)
    tell.whole("\n".join(asked.format_completion(item) for item in found))
    return 0


def script(shell: str) -> str:
    """Return what a shell has to read to complete."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three"
    return kind(click.Command(PROGRAM), {}, PROGRAM, COMPLETE_VARIABLE).source()


def _completions(asked: ShellComplete) -> list[CompletionItem]:
    words, incomplete = asked.get_completion_args()
    if "--" in words:  # a command of the operator's stands there
        return [CompletionItem(incomplete, type="file")]
    found = asked.get_completions(spelled_out(words), incomplete)
    return [item for item in found if item.type != "plain" or _PLAIN.fullmatch(item.value)]


def vm_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the VMs' names that begin as was typed: a callback of click's."""
    options = _options(ctx).configured()
    typed = ctx.params.get(param.name or "")
    there = set(typed if isinstance(typed, tuple) else ())
    if options.drill is not None:
        plans = load("agentclient.backends.drill.plan", "plan")(options.drill)
        names = {plan.name: "a simulated guest" for plan in plans}
    else:
        names = _names(_listed(options))
    return [
        CompletionItem(name, help=what)
        for name, what in sorted(names.items())
        if name.startswith(incomplete) and name not in there
    ]


def _names(vms: Sequence[Vm]) -> dict[str, str]:
    """Return what each VM can be called, and which one that is.

    That is its id where names are shared, or where a shell or we would take one for something else.
    """
    shared = Counter(vm.name for vm in vms)
    by_id = {vm.id for vm in vms if shared[vm.name] > 1 or vm.name.startswith(_NOT_FIRST)}
    return {(str(vm.id) if vm.id in by_id else vm.name): str(vm.id) for vm in vms}


def _listed(options: Options) -> list[Vm]:
    """Return the VMs of all sources that list them within a moment."""
    parse = load("agentclient.backends.explicit", "parse_vm_spec")
    found: list[Vm] = [parse(spec) for spec in options.specs]
    engine = session.build_engine(options)
    try:
        threads = [
            threading.Thread(target=_list, args=(source, found), daemon=True)
            for source in engine.sources
            if source is not engine.explicit  # which would look for who listens there
        ]
        for thread in threads:
            thread.start()
        until = time.monotonic() + LISTED_WITHIN_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return list(found)
    finally:
        engine.close()


def _list(source: Backend, found: list[Vm]) -> None:
    with suppress(Exception):  # another one may have listed
        found.extend(source.list_vms())


def _options(ctx: click.Context) -> Options:
    """Return what was typed so far of the options that say which VMs there are."""
    group = ctx.find_root().params
    own = ctx.params if ctx.parent is not None else {}

    def of(name: str) -> object:
        return group.get(name) if own.get(name) is None else own[name]

    return Options(
        specs=(*_words(group.get("specs")), *_words(own.get("specs"))),
        drill=_number(of("drill")),
        named_only=bool(group.get("named_only") or own.get("named_only")),
        config=_word(of("config")),
        no_config=bool(group.get("no_config") or own.get("no_config")),
        connect=(*_words(group.get("connect")), *_words(own.get("connect"))),
    )


def _words(value: object) -> Iterable[str]:
    return value if isinstance(value, tuple) else ()


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def shell_of_user() -> str | None:
    """Return which of the shells is the user's own; None if it is none of them."""
    name = os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 - a name, no file
    return name if name in SHELLS else None
