"""The options that commands share, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from agentclient.backends.drill.size import DEFAULT_GUESTS, MOST_GUESTS
from agentclient.config.defaults import DEFAULTS, SHORTEST_INTERVAL_S, General
from agentclient.config.paths import is_nothing_set
from agentclient.late import load
from agentclient.model.durations import parse_duration
from agentclient.model.errors import BadInput
from agentclient.model.policy import DEFAULT_POLICY, VmPolicy
from tui.shared.terminal_features import follow

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from agentclient.backends.drill.plan import GuestPlan
    from agentclient.config.settings import Settings

SLOWEST, FASTEST = 0.1, 20.0  # faster than that, and a guest boots between two looks at it
DRILL = "--drill"
USUAL, USUAL_DRILL = "usual", 0  # as many guests as is set


# What the shells' scripts call, and the variable by which they ask.
PROGRAM = "frostwatch"
COMPLETE_VARIABLE = "_FROSTWATCH_COMPLETE"


class Options(NamedTuple):
    """What every command takes.

    Attributes:
        specs: the VMs named with ``--vm``, as they were written.
        drill: how many simulated guests take the place of all VMs; None for the real ones.
        drill_speed: how many times faster their own time runs; None for 1.
        or_drill: open a drill if there are no VMs.
        named_only: the VMs named with ``--vm`` and no others.
        config: the only file that settings are read from; None for the usual ones.
        no_config: settings are read from no file.
        connect: the daemons of libvirt named with ``--connect``.
        given: what options of the group set, by the name of the setting.
        guests: the simulated guests of a scenario; empty for those of the drill.
        settings: all that is set, once it was looked up (`configured`); None if nothing is.
    """

    specs: tuple[str, ...] = ()
    drill: int | None = None
    drill_speed: float | None = None
    or_drill: bool = False
    named_only: bool = False
    config: str | None = None
    no_config: bool = False
    connect: tuple[str, ...] = ()
    given: Mapping[str, object] = {}
    settings: Settings | None = None
    guests: tuple[GuestPlan, ...] = ()

    @property
    def general(self) -> General:
        """What is set for frostwatch as a whole."""
        return DEFAULTS if self.settings is None else self.settings.general

    @property
    def policy(self) -> VmPolicy:
        """How VMs are treated for which nothing else is set."""
        return DEFAULT_POLICY if self.settings is None else self.settings.policy

    @property
    def read_only(self) -> bool:
        """Whether nothing is frozen and nothing is thawed."""
        return self.settings is not None and self.settings.read_only

    def configured(self) -> Options:
        """Return them with all that is set, by files, the environment and options; draw by it.

        Raises:
            BadInput: something in there can't be used.
        """
        options = self
        named = {**self.given, "connect": self.connect or None}
        given = any(value is not None for value in named.values())
        if given or not is_nothing_set(self.config, no_file=self.no_config):
            read = load("agentclient.config.load", "load_settings")
            settings: Settings = read(self.config, no_file=self.no_config)
            options = self._replace(settings=settings.with_options(**named))
            follow(options.general)
        if self.drill == USUAL_DRILL:
            return options._replace(drill=options.general.drill_guests)
        return options

    def setting(self, **values: object) -> Options:
        """Return them with what options of a command set; see `Settings.with_options`."""
        settings: Settings = self.settings or load("agentclient.config.settings", "Settings")()
        return self._replace(settings=settings.with_options(**values))

    def checked(self) -> Options:
        """Return the options unchanged, if they go together.

        Raises:
            BadInput: they contradict each other.
        """
        if self.drill is not None and self.specs:
            raise BadInput("--drill has simulated guests only: it can't be used with --vm")
        if self.drill is not None and self.connect:
            raise BadInput("--drill has simulated guests only: it can't be used with --connect")
        if self.named_only and not self.specs:
            raise BadInput("--named-only needs a --vm: there would be no VM at all")
        if self.drill is not None and self.or_drill:
            raise BadInput("--drill and --or-drill exclude each other")
        if self.drill_speed is not None and self.drill is None and not self.or_drill:
            raise BadInput("--drill-speed needs --drill")
        if self.config is not None and self.no_config:
            raise BadInput("--config and --no-config exclude each other")
        return self


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds that an option's value means: a callback of click's."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except BadInput as problem:
        raise click.BadParameter(str(problem), ctx, param) from None


def interval(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds between two visits, unless they are too few to be polite."""
    seconds = duration(ctx, param, value)
    if seconds is not None and seconds < SHORTEST_INTERVAL_S:
        raise click.BadParameter(f"visits every {seconds:g} s would not be polite", ctx, param)
    return seconds


def _speed(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not SLOWEST <= value <= FASTEST:  # nor is a nan
        raise click.BadParameter(f"{value:g} is not in {SLOWEST:g} to {FASTEST:g}", ctx, param)
    return value


class _DrillSize(click.IntRange):
    """How many simulated guests; `USUAL_DRILL` for as many as is set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        return USUAL_DRILL if value == USUAL else int(super().convert(value, param, ctx))


def vm_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the VMs' names that begin as was typed: a callback of click's."""
    found: list[CompletionItem] = load("tui.cli.completion", "vm_names")(ctx, param, incomplete)
    return found


def files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete a file: a callback of click's."""
    return [completion_item(incomplete, "file")]


def completion_item(incomplete: str, kind: str) -> CompletionItem:
    """Return what has a shell complete a ``file``, or a ``dir``."""
    item: CompletionItem = load("click.shell_completion", "CompletionItem")(incomplete, type=kind)
    return item


vm_argument = partial(click.argument, shell_complete=vm_names)

vm_option = click.option(
    "--vm",
    "specs",
    metavar="SPEC",
    multiple=True,
    help="A VM by its sockets: name=N,agent=PATH,monitor=PATH (repeatable).",
)

connect_option = click.option(
    "-c",
    "--connect",
    "connect",
    metavar="URI",
    multiple=True,
    help="A daemon of libvirt, such as qemu:///system (repeatable); default LIBVIRT_DEFAULT_URI, or"
    " this system's, if it is there.",
)

named_only_option = click.option(
    "--named-only",
    is_flag=True,
    help="Only the VMs named with --vm: no others are looked for.",
)

drill_option = click.option(
    DRILL,
    "drill",
    type=_DrillSize(1, MOST_GUESTS),
    metavar="[N]",
    help=f"Simulated guests instead of real VMs; default {DEFAULT_GUESTS} of them.",
)

speed_option = click.option(
    "--drill-speed",
    "drill_speed",
    type=float,
    callback=_speed,
    metavar="X",
    help="Simulated guests take their time so many times faster.",
)

config_option = click.option(
    "--config",
    metavar="FILE",
    help="Settings from this file alone (docs/settings.md).",
    shell_complete=files,
)

no_config_option = click.option("--no-config", is_flag=True, help="Settings from no file at all.")

max_hold_option = click.option(
    "--max-hold",
    "max_hold",
    metavar="D",
    callback=duration,
    help=f"How long a window may be held at the most; default {DEFAULT_POLICY.maximum_hold_s:g}s.",
)

verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Tell all that happens, also in the freeze, and not the stages and the end alone.",
)

strict_option = click.option(
    "--strict",
    is_flag=True,
    help="A freeze counts only if it covers every file system; those that can't freeze, too.",
)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line on stdout."
)


def with_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a subcommand what `general_options` gives the group.

    Its function gets the `Options` of both; the subcommand's own ones win.
    """

    def command(
        *,
        specs: tuple[str, ...],
        named_only: bool,
        drill: int | None,
        drill_speed: float | None,
        config: str | None,
        no_config: bool,
        connect: tuple[str, ...],
        **arguments: Any,
    ) -> int:
        general = click.get_current_context().find_object(Options) or Options()
        if general.or_drill:
            raise BadInput("--or-drill is for the console alone: a command takes --drill")
        options = general._replace(
            specs=general.specs + specs,
            named_only=general.named_only or named_only,
            drill=general.drill if drill is None else drill,
            drill_speed=general.drill_speed if drill_speed is None else drill_speed,
            config=general.config if config is None else config,
            no_config=general.no_config or no_config,
            connect=general.connect + connect,
        )
        return function(options=options.checked().configured(), **arguments)

    return general_options(update_wrapper(command, function))


def settings_options(options: Options) -> tuple[str, ...]:
    """Return the options by which another frostwatch reads the same settings."""
    named = () if options.config is None else ("--config", options.config)
    return (*named, *(("--no-config",) if options.no_config else ()))


def general_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command what says which VMs there are, and which settings."""
    drilled = drill_option(speed_option(config_option(no_config_option(function))))
    wrapped: Callable[..., int] = vm_option(connect_option(named_only_option(drilled)))
    return wrapped


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """Give every ``--drill`` its number, so that what follows is not taken for it.

    A number may follow as a word of its own; everything else is a command, a VM or an option.
    """
    spelled: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*spelled, word, *rest]
        if word == DRILL:
            number = rest.pop(0) if rest and _is_number(rest[0]) else USUAL
            word = f"{DRILL}={number}"
        spelled.append(word)
    return spelled


def _is_number(word: str) -> bool:
    return word.isascii() and word.removeprefix("-").isdecimal()
