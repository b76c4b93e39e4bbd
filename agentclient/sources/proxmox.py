"""What Proxmox's configuration of a VM says about its name, its lock and freezes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from agentclient.sources.options import options

# The cluster file system takes no larger file.
_LARGEST = 1 << 20
_OFF = frozenset({"0", "off", "no", "false"})
# One switch, under the names that it has had.
_FREEZE_SWITCHES = ("guest-fsfreeze", "freeze-fs", "freeze-fs-on-backup")


class ProxmoxConfig(NamedTuple):
    """The lines that matter here.

    Attributes:
        name: the VM's name, empty if it has none.
        locked_by: what Proxmox is doing with the VM (``backup``, ``snapshot``), or None.
        freeze_disabled: why a freeze must not be sent, one sentence, or None.
        trouble: why the configuration could not be read, one sentence, or None.
    """

    name: str = ""
    locked_by: str | None = None
    freeze_disabled: str | None = None
    trouble: str | None = None


def read_config(pve: Path, vmid: int) -> ProxmoxConfig:
    """Read ``qemu-server/<vmid>.conf`` below `pve` (``/etc/pve``).

    Where this is a Proxmox host but the file can't be read, freezes are disabled: a backup's lock,
    or a switch against freezes, would go unseen. That is so for a VM that is migrating to here.
    """
    folder = pve / "qemu-server"
    path = folder / f"{vmid}.conf"
    try:
        with path.open("rb") as file:
            return parse_config(file.read(_LARGEST).decode(errors="replace"))
    except FileNotFoundError:
        if not folder.is_dir():
            return ProxmoxConfig()  # Proxmox's QEMU, but not its management
        trouble = f"{path} does not exist (the VM may be migrating to this host)"
    except OSError as error:
        trouble = f"{path} can't be read: {error.strerror}"
    return ProxmoxConfig(freeze_disabled=f"{trouble}, so a lock would go unseen", trouble=trouble)


def parse_config(text: str) -> ProxmoxConfig:
    """Return what the current section says; snapshots and pending changes have their own."""
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
