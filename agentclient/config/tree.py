"""The definitions of all settings: their names, kinds, bounds and meanings."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from agentclient.config.defaults import (
    CALLS,
    DEFAULTS,
    MOST_AT_ONCE,
    MOST_DRILL_GUESTS,
    MOST_PROBES,
    SHORTEST_INTERVAL_S,
    SHORTEST_TIMEOUT_S,
    WAYS,
)
from agentclient.config.paths import PREFIX
from agentclient.model.durations import MAXIMUM_S
from agentclient.model.policy import DEFAULT_POLICY


class Kind(Enum):
    """The kind of a value: how a person writes it."""

    DURATION = 'a duration such as 90, "90s", "10m" or "1h30m"'
    COUNT = "a whole number"
    FLAG = "true or false"
    PATH = "a path in quotes that begins with / or ~/"
    NAME = 'a name such as "light"'
    TEXTS = 'a list of texts such as ["one", "two"], or one text'


class Key(NamedTuple):
    """The definition of one setting.

    Attributes:
        name: its name in a file; the environment variable is ``FROSTWATCH_`` and the name in
            capitals.
        field: its field in `General` or `VmPolicy`.
        kind: the kind of its value.
        help: its meaning, as a sentence.
        per_vm: it may be set for some VMs only.
        option: its option of the command line; None if there is none.
        low: the smallest value, in seconds for a duration.
        high: the largest value, in seconds for a duration.
        unset: what a person is told of it where nobody has set it, and there is no default.
        example: what stands in the example then, as in a file.
        choices: the words that a list may have; empty for any.
    """

    name: str
    field: str
    kind: Kind
    help: str
    per_vm: bool
    option: str | None = None
    low: float = 0.0
    high: float = MAXIMUM_S
    unset: str = ""
    example: str = ""
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.name.upper()

    @property
    def default(self) -> object:
        """The value where nobody has set it."""
        if self.kind is Kind.FLAG and self.per_vm:
            return False  # the policy's field is the reason, not a bool
        return getattr(DEFAULT_POLICY if self.per_vm else DEFAULTS, self.field)


_DURATION, _COUNT, _FLAG, _PATH, _NAME, _TEXTS = Kind

KEYS: Final = (
    Key(
        "hold",
        "hold_s",
        _DURATION,
        "How long a window is held before it is thawed on its own.",
        True,
        "--hold",
    ),
    Key(
        "max_hold",
        "maximum_hold_s",
        _DURATION,
        "A longer hold is refused.",
        True,
        "--max-hold",
    ),
    Key(
        "first_timeout",
        "first_timeout_s",
        _DURATION,
        "How long a freeze alone is waited for, before the first probe.",
        True,
        "--first-timeout",
        SHORTEST_TIMEOUT_S,
    ),
    Key(
        "probe_timeout",
        "probe_timeout_s",
        _DURATION,
        "How long each probe behind it is waited for.",
        True,
        "--probe-timeout",
        SHORTEST_TIMEOUT_S,
    ),
    Key(
        "probes",
        "probes",
        _COUNT,
        "How many probes are sent at the most.",
        True,
        "--probes",
        0,
        MOST_PROBES,
    ),
    Key(
        "thaw_timeout",
        "thaw_timeout_s",
        _DURATION,
        "How long a thaw is waited for, once the agent is free to run it.",
        True,
        None,
        SHORTEST_TIMEOUT_S,
    ),
    Key(
        "agent_interval",
        "agent_interval_s",
        _DURATION,
        "Between two questions to an agent while it is watched.",
        True,
        "--interval",
        SHORTEST_INTERVAL_S,
    ),
    Key(
        "monitor_interval",
        "monitor_interval_s",
        _DURATION,
        "Between two looks at a monitor; never longer than agent_interval.",
        True,
        None,
        SHORTEST_INTERVAL_S,
    ),
    Key(
        "read_only",
        "read_only",
        _FLAG,
        "Look only: nothing is frozen, thawed or rescued.",
        True,
        "--read-only",
    ),
    Key(
        "never_ask",
        "never_ask",
        _FLAG,
        "The agent is never connected to: no visit asks it, and a freeze is refused.",
        True,
    ),
    Key(
        "never_taint",
        "never_taint",
        _FLAG,
        "What taints a domain of libvirt is never done: its agent is not asked, as by never_ask.",
        True,
    ),
    Key(
        "freezes_at_once",
        "freezes_at_once",
        _COUNT,
        "How many VMs are frozen at once at the most.",
        False,
        "--at-once",
        1,
        MOST_AT_ONCE,
    ),
    Key(
        "jobs_at_once",
        "jobs_at_once",
        _COUNT,
        "How many copies run at once at the most.",
        False,
        "--at-once",
        1,
        MOST_AT_ONCE,
    ),
    Key(
        "within",
        "within_s",
        _DURATION,
        "How long it may take until all VMs of a group are frozen.",
        False,
        "--within",
        SHORTEST_TIMEOUT_S,
    ),
    Key(
        "journal",
        "journal",
        _PATH,
        "The journal's file; by default under the XDG state directory.",
        False,
        unset="the usual place",
        example='"~/.local/state/frostwatch/journal.db"',
    ),
    Key(
        "copy_to",
        "copy_to",
        _PATH,
        "The folder of backups and mirrors where none is named.",
        False,
        "--to",
        unset="none",
        example='"/backups"',
    ),
    Key(
        "connect",
        "connect",
        _TEXTS,
        "Libvirt's daemons; by default LIBVIRT_DEFAULT_URI, or this system's, if it is there.",
        False,
        "--connect",
        unset="this system's, if it is there",
        example='["qemu:///system"]',
    ),
    Key(
        "drill_guests",
        "drill_guests",
        _COUNT,
        "How many simulated guests a drill has.",
        False,
        "--drill",
        1,
        MOST_DRILL_GUESTS,
    ),
    Key(
        "ascii",
        "ascii",
        _FLAG,
        "Draw with ASCII alone, whatever the terminal can show.",
        False,
    ),
    Key(
        "colours",
        "colours",
        _FLAG,
        "Use colours where the terminal has them; NO_COLOR turns them off as well.",
        False,
    ),
    Key(
        "theme",
        "theme",
        _NAME,
        "The console's colours: dark, light, contrast, deutan, tritan, terminal, or your own.",
        False,
        unset="dark, or the one chosen last",
        example='"dark"',
    ),
    Key(
        "bell",
        "bell",
        _FLAG,
        "Ring, and have the terminal notify, when a freeze is lost or left, also others'.",
        False,
        "--bell",
    ),
    Key(
        "notify",
        "notify",
        _TEXTS,
        "How the bell calls: a bell, a notification of the terminal, a message of tmux.",
        False,
        choices=WAYS,
    ),
    Key(
        "notify_command",
        "notify_command",
        _TEXTS,
        "A command, with its arguments, that the console and watch run for what matters.",
        False,
        unset="none",
        example='["/usr/local/bin/page-me"]',
    ),
    Key(
        "notify_on",
        "notify_on",
        _TEXTS,
        "What the command is run for, and what the bell calls for: some of what matters.",
        False,
        unset="all; the bell: what needs somebody",
        example='["lost", "left-frozen"]',
        choices=CALLS,
    ),
)

BY_NAME: Final = {key.name: key for key in KEYS}
