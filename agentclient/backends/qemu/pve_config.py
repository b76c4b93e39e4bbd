"""Reads Proxmox's configuration of VMs: the name, the lock, and whether freezes are switched off.

The files are on a cluster file system in user space: the folder may be empty (its daemon is down),
and a read may hang. So a thread of its own reads them, and we wait for it with a short bound.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from agentclient.backends.option_string import options
from agentclient.model.errors import NO_THREAD, why_no_thread

# The largest file of the cluster file system, in bytes.
_LARGEST = 1 << 20
_OFF = frozenset({"0", "off", "no", "false"})
# The names that the switch for freezes has had in Proxmox's versions.
_FREEZE_SWITCHES = ("guest-fsfreeze", "freeze-fs", "freeze-fs-on-backup")
READ_S: Final = 1.0
_HANGS: Final = "a read hangs (is pve-cluster well?)"


class ProxmoxConfig(NamedTuple):
    """What is used of the configuration of one VM.

    Attributes:
        name: the VM's name, empty if it has none.
        locked_by: why Proxmox has locked the VM (``backup``, ``snapshot``), or None.
        freeze_disabled: why a freeze must not be sent, one sentence, or None.
        trouble: why the configuration could not be read, one sentence, or None.
    """

    name: str = ""
    locked_by: str | None = None
    freeze_disabled: str | None = None
    trouble: str | None = None


class ProxmoxConfigs:
    """Reads the configurations of a host's VMs within a bound, for any number of threads.

    While a read hangs, no other is begun: its thread can't be ended.

    Args:
        pve: the folder of Proxmox's configuration (``/etc/pve``).
        read_s: how long one call of `read` waits, in seconds.
    """

    def __init__(self, pve: Path, read_s: float = READ_S) -> None:
        self._folder = pve / "qemu-server"
        self._pve = pve
        self._read_s = read_s
        self._lock = threading.Lock()  # held for as long as a read is waited for
        self._reading: threading.Thread | None = None
        self._known: dict[int, ProxmoxConfig] = {}
        self._is_known = False
        self._failure = ""
        self._stopped: dict[int, tuple[tuple[int, int], str]] = {}
        self._names: dict[int, str] = {}

    def read(self, vmids: Mapping[int, bool]) -> Mapping[int, ProxmoxConfig]:
        """Return the configuration of each VM; never raises.

        Freezes of a VM whose configuration can't be read are disabled: a backup's lock, or the
        switch for freezes, would not be seen. This includes a VM that is just migrating to here.

        Args:
            vmids: the VMIDs of the VMs that run, and whether their sockets are in Proxmox's folder;
                if not, a VM without configuration is taken for one that Proxmox does not manage.
        """
        if not vmids:
            return {}
        with self._lock:
            return self._read_within(vmids)

    def _read_within(self, vmids: Mapping[int, bool]) -> Mapping[int, ProxmoxConfig]:
        why = _HANGS
        if self._reading is None or not self._reading.is_alive():
            try:
                self._begin(vmids)
            except NO_THREAD as error:
                return {vmid: self._unread(vmid, why_no_thread(error)) for vmid in vmids}
            if self._is_known:
                return self._known
            why = self._failure or _HANGS
        # An earlier read that ends just now was of other VMs, and of who knows when.
        return {vmid: self._unread(vmid, why) for vmid in vmids}

    def _begin(self, vmids: Mapping[int, bool]) -> None:
        self._is_known, self._failure = False, ""
        reading = threading.Thread(
            target=self._read, args=(dict(vmids),), name="proxmox", daemon=True
        )
        reading.start()
        self._reading = reading
        reading.join(self._read_s)

    def names(self) -> Mapping[int, str]:
        """Return the names of all VMs of this host, running or not, by their VMID."""
        return self._names

    def _unread(self, vmid: int, why: str) -> ProxmoxConfig:
        # The VM's last known name is kept, since its id is made of the name.
        name = self._known.get(vmid, ProxmoxConfig()).name
        return _unreadable(f"{self._folder} can't be read: {why}", name)

    def _read(self, vmids: Mapping[int, bool]) -> None:
        try:
            self._read_all(vmids)
        except Exception as error:  # noqa: BLE001 - it is told, and nothing is frozen meanwhile
            self._failure = f"frostwatch failed: {error!r}"

    def _read_all(self, vmids: Mapping[int, bool]) -> None:
        known = {vmid: self._config(vmid, proxmoxs=its) for vmid, its in vmids.items()}
        names = {**self._others(known), **{vmid: one.name for vmid, one in known.items()}}
        self._known, self._names, self._is_known = known, names, True

    def _config(self, vmid: int, *, proxmoxs: bool) -> ProxmoxConfig:
        path = self._folder / f"{vmid}.conf"
        before = self._known.get(vmid, ProxmoxConfig()).name
        try:
            with path.open("rb") as file:
                return parse_config(file.read(_LARGEST).decode(errors="replace"))
        except FileNotFoundError:
            if not proxmoxs and not self._pve.is_dir():
                return ProxmoxConfig()  # Proxmox's QEMU is installed, but Proxmox manages no VM
            if self._folder.is_dir():
                why = f"{path} does not exist (the VM may be migrating to this host)"
            else:
                why = f"Proxmox's configuration in {self._pve} is not there (is pve-cluster down?)"
            return _unreadable(why, before)
        except OSError as error:
            return _unreadable(f"{path} can't be read: {error.strerror}", before)

    def _others(self, known: Mapping[int, ProxmoxConfig]) -> dict[int, str]:
        """Return the names of VMs that don't run; a file is read again when it has changed."""
        found: dict[int, tuple[tuple[int, int], str]] = {}
        try:
            paths = [one for one in self._folder.iterdir() if one.suffix == ".conf"]
        except OSError:
            paths = []
        for path in paths:
            if not path.stem.isdecimal() or int(path.stem) in known:
                continue
            one = self._other(path, self._stopped.get(int(path.stem)))
            if one is not None:
                found[int(path.stem)] = one
        self._stopped = found
        return {vmid: name for vmid, (_, name) in found.items()}

    def _other(
        self, path: Path, before: tuple[tuple[int, int], str] | None
    ) -> tuple[tuple[int, int], str] | None:
        try:
            found = path.stat()
            version = (found.st_mtime_ns, found.st_size)
            if before is not None and before[0] == version:
                return before
            with path.open("rb") as file:
                return version, parse_config(file.read(_LARGEST).decode(errors="replace")).name
        except OSError:
            return None


def _unreadable(why: str, name: str = "") -> ProxmoxConfig:
    disabled = f"{why}, so a lock would go unseen"
    return ProxmoxConfig(name=name, freeze_disabled=disabled, trouble=why)


def parse_config(text: str) -> ProxmoxConfig:
    """Return what the first section says: the VM's current configuration.

    Later sections are those of snapshots and pending changes.
    """
    found: dict[str, str] = {}
    for line in text.split("\n"):
        if line.startswith("["):
            break
        key, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            found[key.strip()] = value.strip()
    return ProxmoxConfig(
        name=found.get("name", ""),
        locked_by=found.get("lock") or None,
        freeze_disabled=_freeze_disabled(found.get("agent", "")),
    )


def _freeze_disabled(agent: str) -> str | None:
    switches = options(agent, "enabled")
    if _is_off(switches.get("enabled")):
        return "the guest agent is disabled in the VM's options (agent: enabled=0)"
    for switch in _FREEZE_SWITCHES:
        if _is_off(switches.get(switch)):
            return f"freezes are disabled in the VM's options (agent: {switch}=0)"
    return None


def _is_off(value: str | None) -> bool:
    return value is not None and value.lower() in _OFF
