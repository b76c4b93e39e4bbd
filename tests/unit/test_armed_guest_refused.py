"""A guest that the holder can't take leaves nothing behind: the next has its descriptors."""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from agentclient.access.multiplexer import Multiplexer
from agentclient.holder import called_guest, stream_guest
from agentclient.holder.armed_guest import HolderServices
from agentclient.holder.called_guest import CalledGuest
from agentclient.holder.stream_guest import StreamGuest

BODY = {"key": "a#1", "vm": "db1", "agent": "/agent", "means": "tests:none"}


class Selector(selectors.DefaultSelector):
    """One whose registrations fail from one on."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_from = 100

    def register(self, *args: Any, **more: Any) -> selectors.SelectorKey:
        self.fails_from -= 1
        if self.fails_from < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().register(*args, **more)


@pytest.fixture
def selector() -> Iterator[Selector]:
    with Selector() as made:
        yield made


def services(selector: Selector) -> HolderServices:
    return HolderServices(selector, cast(Multiplexer, None), lambda _: None, lambda _, __: None)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_one_whose_process_cannot_be_looked_at_is_not_relayed(
    selector: Selector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def server(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with (
        monkeypatch.context() as patch,
        socket.socket(socket.AF_UNIX) as guest,
        socket.socket(socket.AF_UNIX) as console,
    ):
        patch.setattr(stream_guest, "server_of", server)
        with pytest.raises(OSError, match="Too many open files"):
            StreamGuest(BODY, guest, console, services(selector))
    assert not selector.get_map()
    ours, theirs = socket.socketpair()
    with ours, theirs:  # with the same descriptors
        StreamGuest(BODY, ours, theirs, services(selector)).disarm()
    assert not selector.get_map()


@pytest.mark.parametrize("fails_from", [0, 1])
def test_one_that_cannot_be_waited_for_is_not_imported(
    selector: Selector, monkeypatch: pytest.MonkeyPatch, fails_from: int
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(called_guest._Import, "start", lambda one: begun.append(one))
    selector.fails_from = fails_from
    before = descriptors()
    with pytest.raises(OSError, match="No space left"), socket.socket(socket.AF_UNIX) as console:
        CalledGuest(BODY, console, services(selector))
    assert (len(selector.get_map()), begun) == (0, [])
    assert descriptors() == before
