"""The settings of one run: one frozen value, made of files, the environment and options.

Weakest first: the default, the system's file, the person's file, the environment, an option. In
the files, what is set for some VMs is stronger than what is set for all of them, and of two that
fit a VM the later one counts: the one further down, or in the person's file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from agentclient.config.defaults import DEFAULTS, General
from agentclient.config.found import Section, SettingsFile
from agentclient.config.origin import Given, Origin, OriginKind
from agentclient.config.tree import BY_NAME, KEYS, Key
from agentclient.model.policy import DEFAULT_POLICY, VmPolicy
from agentclient.model.text import printable
from agentclient.model.vm import Vm

# Many more than a host has: names that come and go are not kept for ever.
_MOST_KNOWN = 50_000
_NOTHING: Mapping[str, Given] = MappingProxyType({})


class Settings(NamedTuple):
    """What is set, and by whom.

    Attributes:
        everywhere: what the files set for all VMs and for frostwatch as a whole, by its name.
        sections: what they set for some VMs, weakest first.
        environment: what the environment sets.
        options: what options set.
        files: the files that were read, weakest first.
    """

    everywhere: Mapping[str, Given] = _NOTHING
    sections: tuple[Section, ...] = ()
    environment: Mapping[str, Given] = _NOTHING
    options: Mapping[str, Given] = _NOTHING
    files: tuple[SettingsFile, ...] = ()

    def with_options(self, **values: object) -> Settings:
        """Return the settings with the values of options; None stands for one that is not there.

        Args:
            values: by the name of the setting.
        """
        given = {
            key.name: Given(values[key.name], Origin(OriginKind.OPTION, key.option or ""))
            for key in KEYS
            if values.get(key.name) is not None
        }
        return self._replace(options={**self.options, **given}) if given else self

    def given(self, key: Key, names: Iterable[str] | None = None) -> Given:
        """Return what a setting is, and who says so.

        Args:
            key: the setting.
            names: what a VM is called; None for what is so for all that no section is about.
        """
        fitting = self._fitting(names) if key.per_vm else ()
        return self._given(key, fitting)

    def _given(self, key: Key, fitting: Iterable[Section]) -> Given:
        own = (section.values for section in fitting)
        for layer in (self.options, self.environment, *own, self.everywhere):
            if key.name in layer:
                return layer[key.name]
        return Given(key.default)

    def _fitting(self, names: Iterable[str] | None) -> tuple[Section, ...]:
        """Return the sections that are about a VM, strongest first."""
        if names is None or not self.sections:
            return ()
        called = frozenset(names)
        return tuple(one for one in reversed(self.sections) if one.fits(called))

    @property
    def general(self) -> General:
        """What is set for frostwatch as a whole."""
        if not self._any:
            return DEFAULTS
        found: dict[str, Any] = {k.field: self.given(k).value for k in KEYS if not k.per_vm}
        return General(**found)

    @property
    def policy(self) -> VmPolicy:
        """How a VM is treated that no section is about."""
        return self.policy_of(None)

    def policy_of(self, names: Iterable[str] | None) -> VmPolicy:
        """Return how a VM is treated.

        Args:
            names: what it is called; None for one that no section is about.
        """
        if not self._any:
            return DEFAULT_POLICY
        fitting = self._fitting(names)
        found: dict[str, Any] = {}
        for key in KEYS:
            if key.per_vm:
                value, origin = self._given(key, fitting)
                if isinstance(value, bool):
                    value = f"{key.name} is set ({printable(origin, 300)})" if value else None
                found[key.field] = value
        policy = VmPolicy(**found)
        if self.read_only:
            policy = policy._replace(read_only=None)  # that is no property of this VM
        shortest = min(policy.monitor_interval_s, policy.agent_interval_s)
        return policy._replace(monitor_interval_s=shortest)

    @property
    def read_only(self) -> bool:
        """Whether nothing may be sent to any VM at all."""
        given = self.given(BY_NAME["read_only"])
        if not given.value or given.origin.kind in (OriginKind.OPTION, OriginKind.ENVIRONMENT):
            return bool(given.value)
        named = (section.values.get("read_only") for section in self.sections)
        return all(one is None or bool(one.value) for one in named)

    @property
    def _any(self) -> bool:
        """Whether anybody has set anything."""
        return bool(self.options or self.environment or self.everywhere or self.sections)


class Policies:
    """Gives each VM its policy; for one thread at a time.

    Args:
        settings: what is set.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._every = settings.policy
        self._known: dict[tuple[str, ...], VmPolicy] = {}

    def apply(self, vm: Vm) -> Vm:
        """Return a VM with its policy; one that is never asked has no way to its agent any more."""
        policy = self._of(vm)
        if policy.never_ask is None or (vm.agent is None and vm.out_of_reach is None):
            return vm._replace(policy=policy)
        why = f"its agent is never asked: {policy.never_ask}"
        return vm._replace(policy=policy, agent=None, out_of_reach=why, freeze_disabled=why)

    def _of(self, vm: Vm) -> VmPolicy:
        if not self._settings.sections:
            return self._every
        called = names_of(vm)
        found = self._known.get(called)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[called] = self._settings.policy_of(called)
        return found


def names_of(vm: Vm) -> tuple[str, ...]:
    """Return all that a VM is called: its name, its id, its VMID, its UUID."""
    return tuple(dict.fromkeys((vm.name, str(vm.id), vm.title or vm.name, *vm.selectors)))
