"""Which backends a run has: made from what a person has named, and from what this host has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from agentclient.backends.base import (
    LIBVIRT_FOLDER,
    LIBVIRT_VARIABLE,
    Backend,
    Backends,
)
from agentclient.late import load

if TYPE_CHECKING:
    from agentclient.backends.explicit import ExplicitBackend


def explicit(specs: tuple[str, ...]) -> ExplicitBackend | None:
    """Return the backend of VMs that are given by their sockets; None if there are none.

    Raises:
        BadInput: one of them can't be read.
    """
    if not specs:
        return None
    parse_vm_spec = load("agentclient.backends.explicit", "parse_vm_spec")
    backend = load("agentclient.backends.explicit", "ExplicitBackend")
    found: ExplicitBackend = backend(parse_vm_spec(spec) for spec in specs)
    return found


def choose(
    named: ExplicitBackend | None,
    given: Iterable[Backend] | None,
    connect: Sequence[str] | None,
    *,
    named_only: bool,
) -> Backends:
    """Return the backends of a run.

    Args:
        named: the VMs given by their sockets; None if there are none.
        given: where all other VMs come from; None for the QEMU processes of this host, and libvirt.
        connect: the addresses of libvirt's daemons; None for the usual one.
        named_only: list the named VMs alone.

    Raises:
        BadInput: an address can't be one.
    """
    if given is None:
        qemu = load("agentclient.backends.qemu.backend", "QemuBackend")()
        given = (*_libvirt(connect), qemu)
    others = tuple(given)
    if named is None:
        return Backends(others)
    return Backends([named], others) if named_only else Backends([named, *others])


def _libvirt(connect: Sequence[str] | None) -> tuple[Backend, ...]:
    """Return the backend of libvirt's daemons; empty if there is none, which is found out fast."""
    usual = os.environ.get(LIBVIRT_VARIABLE) or LIBVIRT_FOLDER.exists()
    if not connect and (connect is not None or not usual):
        return ()
    uris = load("agentclient.backends.libvirt.uris", "wanted")(connect or ())
    return (load("agentclient.backends.libvirt.backend", "LibvirtBackend")(uris),) if uris else ()
