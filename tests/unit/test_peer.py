"""Who listens on a socket, and whether it is the one who has to (P10)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentclient.access.host import peer as peers
from agentclient.access.host.socket_clients import listens
from agentclient.access.stream import ConnectFailed, ConnectProblem, UnixEndpoint
from agentclient.holder.messages import pack, peer_in, peer_of, unpack
from agentclient.journal.identity import this_process
from agentclient.model.vm import Peer, Process

US = os.getuid()
SOMEBODY = Process(1, 1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen(8)
        made.settimeout(0.2)
        yield made


def connect(server: socket.socket, peer: Peer | None) -> str | None:
    """Connect as everybody does; return why it was refused, having seen that nothing was said."""
    said = None
    try:
        UnixEndpoint(Path(server.getsockname()), peer).connect().close()
    except ConnectFailed as error:
        said = str(error) if error.problem is ConnectProblem.NOT_THE_VM else None
    accepted, _ = server.accept()
    with accepted:
        assert accepted.recv(100) == b""
    return said


@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(None, id="anybody"),
        pytest.param(Peer(this_process(), US), id="the process itself"),
        pytest.param(Peer(None, US), id="its user"),
        pytest.param(Peer(SOMEBODY, US), id="of its user, and no other QEMU"),
        pytest.param(Peer(this_process(), None), id="the process, and its user can't be seen"),
        pytest.param(Peer(this_process(), US + 1), id="the process, which has another user now"),
    ],
)
def test_the_vm_itself_or_its_user_is_connected_to(
    server: socket.socket, peer: Peer | None
) -> None:
    assert connect(server, peer) is None


@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(Peer(SOMEBODY, US + 1), id="another process of another user"),
        pytest.param(Peer(None, US + 1), id="another user"),
        pytest.param(Peer(SOMEBODY, None), id="another process"),
        pytest.param(Peer(None, None), id="nobody at all"),
    ],
)
def test_nobody_else_gets_a_byte(server: socket.socket, peer: Peer) -> None:
    said = connect(server, peer)
    assert said is not None
    assert f"pid {os.getpid()}" in said
    assert "nothing was written" in said


def test_another_qemu_of_the_same_user_is_not_the_vm(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "is_qemu", lambda _: True)
    assert connect(server, Peer(SOMEBODY, US)) is not None
    assert connect(server, Peer(this_process(), US)) is None


def test_where_somebody_passed_it_on_any_qemu_is_another_one(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connect(server, Peer(None, US)) is None
    monkeypatch.setattr(peers, "is_qemu", lambda _: True)
    assert connect(server, Peer(None, US)) is not None


def test_a_socket_of_somebody_else_is_left_alone_for_a_while(server: socket.socket) -> None:
    endpoint = UnixEndpoint(Path(server.getsockname()), Peer(None, US + 1))
    for _ in range(5):
        with pytest.raises(ConnectFailed):
            endpoint.connect()
    server.accept()[0].close()
    with pytest.raises(TimeoutError):
        server.accept()


def test_another_socket_in_its_place_is_looked_at_at_once(tmp_path: Path) -> None:
    endpoint = UnixEndpoint(tmp_path / "s", Peer(None, US + 1))
    for _ in range(2):
        (tmp_path / "s").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(tmp_path / "s"))
            made.listen(8)
            with pytest.raises(ConnectFailed):
                endpoint.connect()
            made.settimeout(60.0)
            made.accept()[0].close()


def test_before_linux_6_5_the_open_socket_tells_who_listens(server: socket.socket) -> None:
    path = Path(server.getsockname())
    link = path.with_name("link")
    link.symlink_to(path)
    assert listens(os.getpid(), path)
    assert listens(os.getpid(), link)
    assert not listens(1, path)
    assert not listens(os.getpid(), path.with_name("none"))


@pytest.mark.parametrize("length", [100, 107, 108, 200, 1000])
def test_a_path_of_any_length_is_connected_to(tmp_path: Path, length: int) -> None:
    folder = tmp_path
    while len(os.fsencode(folder)) + 12 < length:
        left = length - len(os.fsencode(folder)) - 12
        folder = folder / ("d" * min(200, left))
        folder.mkdir()
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as made:
        try:
            os.chdir(folder)
            made.bind("agent.sock")
        finally:
            os.chdir(here)
        made.listen()
        UnixEndpoint(folder / "agent.sock", Peer(this_process(), US)).connect().close()


@pytest.mark.parametrize(
    "peer",
    [None, Peer(Process(4711, 12), 0), Peer(Process(4711, 12), None), Peer(None, 1000)],
)
def test_the_holder_is_told_who_it_has_to_be(peer: Peer | None) -> None:
    assert peer_of(unpack(pack({"peer": peer_in(peer)}))) == peer


@pytest.mark.parametrize("said", [0, "x", [], [1, 2], [[1], 2], [[1, "x"], 0], {}, [None, "0"]])
def test_what_the_holder_cannot_read_is_nobody(said: object) -> None:
    assert peer_of({"peer": said}) == Peer(None, None)


def test_who_listens_is_found_without_a_connection(server: socket.socket, tmp_path: Path) -> None:
    """It would wait in the queue of a socket that serves another client, and keep others out."""
    found = peers.find_peer(Path(server.getsockname()))
    assert found == Peer(None, US)  # this is no QEMU, so that another may take its place
    with pytest.raises(TimeoutError):
        server.accept()
    assert peers.find_peer(tmp_path / "none") is None
    assert peers.find_peer(Path("/\0")) is None


def test_where_the_kernel_does_not_tell_a_connection_does(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another network name space, say; and nothing is said on it."""
    monkeypatch.setattr("agentclient.access.host.socket_clients.listeners", lambda _: {})
    assert peers.find_peer(Path(server.getsockname())) == Peer(None, US)
    accepted, _ = server.accept()
    with accepted:
        assert accepted.recv(100) == b""
