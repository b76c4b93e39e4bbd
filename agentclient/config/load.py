"""Loads the settings of a run, from files and the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from agentclient.config import paths
from agentclient.config.home import home
from agentclient.config.keys import twice_used
from agentclient.config.origin import Given, Origin, OriginKind
from agentclient.config.paths import FILE_VARIABLE, PREFIX
from agentclient.config.read import read
from agentclient.config.settings import Settings
from agentclient.config.tree import BY_NAME, KEYS
from agentclient.config.values import as_text, from_text
from agentclient.model.command import COMMAND_VARIABLES
from agentclient.model.errors import BadInput
from agentclient.model.suggestions import did_you_mean
from agentclient.model.text import printable
from agentclient.model.transition import HOOK_VARIABLES

_VARIABLES: Final = {key.variable: key for key in KEYS}


class SettingsCandidate(NamedTuple):
    """A possible settings file.

    Attributes:
        path: the file.
        why: whose file it is, in a few words.
        needed: a person has named the file, so that it is a problem if it is missing.
    """

    path: Path
    why: str
    needed: bool = False


def files_looked_at(
    named: str | None = None,
    *,
    no_file: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple[SettingsCandidate, ...]:
    """Return the possible settings files, the weakest first.

    Args:
        named: the only file, as an option names it; None for the default ones.
        no_file: read no file at all.
        environment: the environment; None for this process's.

    Raises:
        BadInput: the named file is no valid path.
    """
    variables = os.environ if environment is None else environment
    if no_file:
        return ()
    if named is not None:
        return (SettingsCandidate(_named(named, "--config"), "--config", True),)
    if variables.get(FILE_VARIABLE):
        return (
            SettingsCandidate(_named(variables[FILE_VARIABLE], FILE_VARIABLE), FILE_VARIABLE, True),
        )
    own = paths.own_file(variables)
    system = SettingsCandidate(paths.SYSTEM_FILE, "the system's")
    return (system,) if own is None else (system, SettingsCandidate(own, "your own"))


def load_settings(
    named: str | None = None,
    *,
    no_file: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings of files and the environment.

    Args:
        named: the only file, as an option names it; None for the default ones.
        no_file: read no file at all.
        environment: the environment; None for this process's.

    Raises:
        BadInput: a setting can't be used; one sentence that names its place.
    """
    settings, problems = gather(
        files_looked_at(named, no_file=no_file, environment=environment), environment
    )
    if problems:
        file = f" {printable(named, 300)}" if named is not None else ""
        more = f"; {len(problems) - 1} more: frostwatch config check{file}"
        raise BadInput(problems[0] + (more if len(problems) > 1 else ""))
    return settings


def gather(
    looked_at: Iterable[SettingsCandidate], environment: Mapping[str, str] | None = None
) -> tuple[Settings, tuple[str, ...]]:
    """Return the usable settings of files and the environment, and the problems of the others.

    Args:
        looked_at: the possible files.
        environment: the environment; None for this process's.
    """
    variables = os.environ if environment is None else environment
    files = tuple(one for place in looked_at if (one := read(place.path, needed=place.needed)))
    problems = [problem for file in files for problem in file.problems]
    given = _given(variables, problems)
    if not files and not given:
        return Settings(), tuple(problems)
    everywhere: dict[str, Given] = {}
    keys: dict[str, Given] = {}
    for file in files:
        everywhere.update(file.values)
        keys.update(file.keys)
    settings = Settings(
        MappingProxyType(everywhere),
        tuple(section for file in files for section in file.sections),
        MappingProxyType(given),
        files=files,
        keys=MappingProxyType(keys),
    )
    problems += _contradictions(settings)
    problems += twice_used(keys)
    return settings, tuple(problems)


def _named(text: str, by: str) -> Path:
    if not text.strip() or "\0" in text:
        raise BadInput(f"{by}: {printable(text, 80)!r} is no file")
    if text.startswith("~/") and (base := home()) is not None:
        return base / text[2:]
    return Path(text).absolute()


def _given(variables: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    """Return the environment's values; values that can't be used are added to `problems`."""
    found: dict[str, Given] = {}
    for variable, text in variables.items():
        if not variable.startswith(PREFIX) or not text.strip() or variable == FILE_VARIABLE:
            continue
        key = _VARIABLES.get(variable)
        if key is None:
            if variable in COMMAND_VARIABLES or variable in HOOK_VARIABLES:
                continue
            # Other programs' variables may begin so; one that is nearly ours is a typing error.
            names = (name.upper() for name in BY_NAME)
            alike = did_you_mean(variable.removeprefix(PREFIX)[:100], names)
            if alike:
                alike = alike.replace("mean ", f"mean {PREFIX}").replace(" or ", f" or {PREFIX}")
                problems.append(f"{printable(variable, 80)}: nothing is called so{alike}")
            continue
        try:
            value = from_text(key, text)
        except BadInput as problem:
            problems.append(f"{variable}: {problem}")
            continue
        found[key.name] = Given(value, Origin(OriginKind.ENVIRONMENT, variable))
    if variables.get("NO_COLOR"):  # the common variable (no-color.org)
        found["colours"] = Given(False, Origin(OriginKind.ENVIRONMENT, "NO_COLOR"))
    return found


def _contradictions(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each hold that is longer than its maximum."""
    told: set[str] = set()
    hold, most = BY_NAME["hold"], BY_NAME["max_hold"]
    for names in (None, *(section.patterns for section in settings.sections)):
        wanted, allowed = settings.given(hold, names), settings.given(most, names)
        if not isinstance(wanted.value, float) or not isinstance(allowed.value, float):
            continue
        if wanted.value > allowed.value:
            says = f"{as_text(most, allowed.value)} ({printable(allowed.origin, 300)})"
            where = printable(wanted.origin, 300)
            text = f"{where}: hold: {as_text(hold, wanted.value)} is longer than max_hold, {says}"
            if text not in told:
                told.add(text)
                yield text
