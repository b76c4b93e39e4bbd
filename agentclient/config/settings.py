"""The settings of one run: one immutable value, made of files, the environment and options.

The order of origins, the weakest first: the default, the system's file, the user's file, the
environment, an option. In files, a section for some VMs is stronger than the values for all VMs. If
two sections apply to a VM, the later one counts: the one further down, or the one in the user's
file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from agentclient.config.defaults import DEFAULTS, General
from agentclient.config.keys import BY_NAME as ACTION_NAMES
from agentclient.config.origin import Given, Origin, OriginKind
from agentclient.config.settings_file import Section, SettingsFile
from agentclient.config.tree import BY_NAME, KEYS, Key
from agentclient.model.policy import DEFAULT_POLICY, VmPolicy
from agentclient.model.text import printable
from agentclient.model.vm import LIBVIRT_SOURCE, Vm

# The most VMs whose policy is kept, many more than a host has: old names are not kept for ever.
_MOST_KNOWN = 50_000
_NOTHING: Mapping[str, Given] = MappingProxyType({})


class Settings(NamedTuple):
    """All values that are set, with their origins.

    Attributes:
        everywhere: the files' values for all VMs and for frostwatch as a whole, by the names of
            the settings.
        sections: the files' sections for some VMs, the weakest first.
        environment: the values of the environment.
        options: the values of options.
        files: the files that were read, the weakest first.
        keys: the keys of the console's actions, by the actions' names.
    """

    everywhere: Mapping[str, Given] = _NOTHING
    sections: tuple[Section, ...] = ()
    environment: Mapping[str, Given] = _NOTHING
    options: Mapping[str, Given] = _NOTHING
    files: tuple[SettingsFile, ...] = ()
    keys: Mapping[str, Given] = _NOTHING

    def with_options(self, **values: object) -> Settings:
        """Return the settings with the values of options.

        Args:
            values: the options' values by the names of the settings; None for an option that was
                not given.
        """
        given = {
            key.name: Given(values[key.name], Origin(OriginKind.OPTION, key.option or ""))
            for key in KEYS
            if values.get(key.name) is not None
        }
        return self._replace(options={**self.options, **given}) if given else self

    def given(self, key: Key, names: Iterable[str] | None = None) -> Given:
        """Return the value of a setting, and its origin.

        Args:
            key: the setting.
            names: the names of a VM; None for a VM to which no section applies.
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
        """Return the sections that apply to a VM, the strongest first."""
        if names is None or not self.sections:
            return ()
        called = frozenset(names)
        return tuple(one for one in reversed(self.sections) if one.fits(called))

    @property
    def general(self) -> General:
        """The settings for frostwatch as a whole."""
        if not self._any:
            return DEFAULTS
        found: dict[str, Any] = {k.field: self.given(k).value for k in KEYS if not k.per_vm}
        return General(**found)

    @property
    def keymap(self) -> Mapping[str, str]:
        """The keys that actions of the console have in the place of their usual ones, by id."""
        return {ACTION_NAMES[name].id: str(given.value) for name, given in self.keys.items()}

    @property
    def policy(self) -> VmPolicy:
        """The policy of a VM to which no section applies."""
        return self.policy_of(None)

    def policy_of(self, names: Iterable[str] | None) -> VmPolicy:
        """Return the policy of a VM.

        Args:
            names: the VM's names; None for a VM to which no section applies.
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
            policy = policy._replace(read_only=None)  # all VMs are read-only, not this one
        shortest = min(policy.monitor_interval_s, policy.agent_interval_s)
        return policy._replace(monitor_interval_s=shortest)

    @property
    def read_only(self) -> bool:
        """Whether all VMs are read-only."""
        given = self.given(BY_NAME["read_only"])
        if not given.value or given.origin.kind in (OriginKind.OPTION, OriginKind.ENVIRONMENT):
            return bool(given.value)
        named = (section.values.get("read_only") for section in self.sections)
        return all(one is None or bool(one.value) for one in named)

    @property
    def _any(self) -> bool:
        """Whether any value is set."""
        return bool(self.options or self.environment or self.everywhere or self.sections)


class Policies:
    """Sets the policy of each VM; for one thread at a time.

    Args:
        settings: the settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._every = settings.policy
        self._known: dict[tuple[str, ...], VmPolicy] = {}

    def apply(self, vm: Vm) -> Vm:
        """Return a VM with its policy; without its agent's channel if its agent is never asked."""
        policy = self._of(vm)
        taints = vm.source == LIBVIRT_SOURCE and policy.never_taint is not None
        if taints and policy.never_ask is None:
            why = f"its commands taint a domain, and {policy.never_taint}"
            policy = policy._replace(never_ask=why)
        if policy.never_ask is None or not (vm.has_agent or vm.out_of_reach):
            return vm._replace(policy=policy)
        why = f"its agent is never asked: {policy.never_ask}"
        quiet = vm._replace(agent=None, by_call=False, out_of_reach=why, freeze_disabled=why)
        return quiet._replace(policy=policy)

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
    """Return all names of a VM: its name, its id, its VMID, its UUID."""
    return tuple(dict.fromkeys((vm.name, str(vm.id), vm.title or vm.id.name, *vm.selectors)))
