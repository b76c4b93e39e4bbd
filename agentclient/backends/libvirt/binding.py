"""Libvirt's Python binding: imported when it is first needed, with its event loop in a thread.

The binding is not a requirement of frostwatch: most hosts have no libvirt. Nothing but this module
imports it.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final, NamedTuple

from agentclient.late import load_module
from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread

MISSING: Final = (
    "libvirt's VMs need its binding for Python: pip install 'frostwatch[libvirt]' (it is compiled,"
    " with libvirt-dev), or python3-libvirt where frostwatch runs on Debian's own Python"
)
_AGAIN_S: Final = 1.0
_lock = threading.Lock()
_loaded: Binding | None = None


class Binding(NamedTuple):
    """The modules of the binding.

    Attributes:
        libvirt: what every hypervisor has.
        qemu: what QEMU has alone: the calls to an agent, and the monitor's events.
    """

    libvirt: Any
    qemu: Any


def load_binding() -> Binding:
    """Return the binding; the first call imports it and starts its event loop (protocol §5.9).

    Raises:
        FrostwatchError: it is not installed, or can't be used; one sentence.
    """
    global _loaded  # noqa: PLW0603 - there is one binding in a process, with one loop
    with _lock:
        if _loaded is None:
            _loaded = _load()
        return _loaded


def _load() -> Binding:
    try:
        libvirt, qemu = load_module("libvirt"), load_module("libvirt_qemu")
    except ImportError as error:
        raise FrostwatchError(f"{MISSING} ({error})") from error
    # Without a handler of ours, each error is written to stderr, across the console.
    libvirt.registerErrorHandler(lambda *_: None, None)
    # It has to be registered before the first connection, or events and keep-alive don't work.
    libvirt.virEventRegisterDefaultImpl()
    thread = threading.Thread(target=_run_events, args=(libvirt,), name="libvirt", daemon=True)
    try:
        thread.start()
    except NO_THREAD as error:
        why = why_no_thread(error)
        raise FrostwatchError(f"libvirt's events need a thread: {why}") from error
    return Binding(libvirt, qemu)


def _run_events(libvirt: Any) -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            time.sleep(_AGAIN_S)
