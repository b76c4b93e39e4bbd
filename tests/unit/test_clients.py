"""Who holds a socket, and who waits for it: as the kernel tells it of this very process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from agentclient.access.host.socket_clients import (
    Client,
    clients,
    clients_of,
    connected,
    file_of,
    in_words,
)


def test_the_one_that_is_served_comes_before_the_one_that_waits(tmp_path: Path) -> None:
    path = tmp_path / "served"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        assert clients(path) == ()
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            first.connect(str(path))
            served, _ = server.accept()
            second.connect(str(path))
            found = clients(path)
            assert clients_of([path, tmp_path / "nothing"]) == {
                path: found,
                tmp_path / "nothing": (),
            }
            served.close()
    assert [(one.pid, one.waiting) for one in found] == [(os.getpid(), False), (os.getpid(), True)]


def test_a_socket_that_is_not_there_has_nobody(tmp_path: Path) -> None:
    assert clients(tmp_path / "nothing") == ()
    assert in_words(()) is None


def test_the_clause_names_all() -> None:
    found = (Client(7, "backup", waiting=False), Client(9, "qm", waiting=True))
    assert in_words(found) == "held by backup (pid 7); qm (pid 9) waits for it"
    task = Client(7, "task UPID:n:0000A2B3:00C0FFEE:65000000:vzdump:101:root@pam:", waiting=False)
    assert in_words((task,)) == "held by Proxmox's vzdump 101 (pid 7)"  # as everywhere else


def test_that_somebody_is_connected_is_told_of_the_socket_alone(tmp_path: Path) -> None:
    path = tmp_path / "served"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        file = file_of(path)
        assert file is not None
        assert file not in connected()
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            served, _ = server.accept()
            assert file in connected()
            served.close()
        assert file not in connected()
    assert file_of(tmp_path / "nothing") is None
