"""Keyboards and serial ports, from a fake QEMU."""

from __future__ import annotations

import os
import subprocess
import tty
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentclient.access import exchange as steps
from agentclient.access import guest_inputs as inputs_module
from agentclient.access import monitor as monitor_module
from agentclient.access.guest_inputs import Inputs, Serial, connect_serial, find_inputs
from agentclient.access.host.process import start_ticks, stat_fields
from agentclient.access.monitor import Monitor
from agentclient.access.qmp_session import Ask, MonitorError
from agentclient.access.stream import ConnectFailed, ConnectProblem
from agentclient.journal.identity import this_process
from agentclient.model.vm import AgentChannel, MonitorChannel, Peer, Process, Vm, VmId
from agentclient.operations.rescue.monitor_rungs import Writes
from agentclient.protocol.qmp import QmpFailure, QmpReply
from tests.processes import killed_on_failure
from tests.unit.fakes import Clock, Error, FakeQemu, monitor_endpoint

VM = Vm(VmId("qemu", "a"), AgentChannel(Path("/x.qga")), MonitorChannel(Path("/x.qmp")))
Devices = dict[str, tuple[str, str | None]]
UNATTACHED = "/machine/unattached"
ANON = "/machine/peripheral-anon"
I8042: Devices = {f"{UNATTACHED}/device[3]": ("i8042", None)}
COM1: Devices = {f"{ANON}/device[0]": ("isa-serial", "serial0")}
AGENT: Devices = {f"{ANON}/device[1]": ("isa-serial", "qga0")}
OTHER: Devices = {f"{UNATTACHED}/device[1]": ("ICH9-LPC", None)}
FILES = {
    "serial0": "disconnected:unix:/x.serial0,server=on",
    "qga0": "disconnected:unix:/x.qga,server=on",
    "mon": "unix:/x.qmp,server=on",
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.install(monkeypatch, steps, monitor_module)
    return made


def monitor_of(clock: Clock, devices: Devices, *, listable: bool = True) -> Monitor:
    def listing(arguments: object) -> object:
        assert isinstance(arguments, dict)
        if not listable:
            return Error("no such path", "GenericError")
        folder = arguments["path"]
        return [{"name": "type", "type": "string"}] + [
            {"name": path.rpartition("/")[2], "type": f"child<{kind}>"}
            for path, (kind, _) in devices.items()
            if path.rpartition("/")[0] == folder
        ]

    def chardev(arguments: object) -> object:
        assert isinstance(arguments, dict)
        return devices[arguments["path"]][1]

    files = [{"label": name, "filename": file} for name, file in FILES.items()]
    qemu = FakeQemu({"qom-list": listing, "qom-get": chardev, "query-chardev": files})
    return Monitor(monitor_endpoint(clock, qemu), VM.agent)


def test_the_only_serial_port_is_the_console(clock: Clock) -> None:
    found = find_inputs(monitor_of(clock, I8042 | COM1 | OTHER), VM)
    assert found == Inputs(True, (Serial("serial0", FILES["serial0"]),))
    assert found.console(None) == found.serials[0]
    assert found.console("serial0") == found.serials[0]


def test_neither_the_agents_port_nor_a_monitor_is_a_console(clock: Clock) -> None:
    behind_a_monitor: Devices = {f"{ANON}/device[2]": ("isa-serial", "mon")}
    found = find_inputs(monitor_of(clock, COM1 | AGENT | behind_a_monitor | OTHER), VM)
    assert [one.label for one in found.serials] == ["serial0"]
    for label in ("qga0", "mon", "nonsense", "\x1b[2J"):
        said = found.console(label)
        assert isinstance(said, str)
        assert "is no serial port of the guest (they are: serial0)" in said
        assert "\x1b" not in said


def test_no_keyboard_is_said_only_where_devices_can_be_seen(clock: Clock) -> None:
    assert find_inputs(monitor_of(clock, OTHER), VM).keyboard is False
    assert find_inputs(monitor_of(clock, {}, listable=False), VM).keyboard is None
    usb: Devices = {f"{ANON}/device[7]": ("usb-kbd", None)}
    assert find_inputs(monitor_of(clock, usb | OTHER), VM).keyboard is True


@pytest.mark.parametrize(
    ("filename", "place", "word"),
    [
        ("disconnected:unix:/run/1.serial0,server=on", "/run/1.serial0", None),
        ("unix:/run/1.serial0,server=on", "/run/1.serial0", "somebody else is at"),
        ("unix:/run/1.serial0,server=on <-> x", "/run/1.serial0", "somebody else is at"),
        ("pty:/dev/pts/4", "/dev/pts/4", None),
        ("pty:/etc/passwd", None, "nothing can be typed"),
        ("pty:/dev/pts/../../etc/passwd", None, "nothing can be typed"),
        ("pty:/dev/pts/4/../../../tmp/x", None, "nothing can be typed"),
        ("pty:/dev/pts/ptmx", None, "nothing can be typed"),
        ("pty:/dev/pts/", None, "nothing can be typed"),
        ("pty:/dev/pts/04", None, "nothing can be typed"),
        ("pty:/dev/pts/4 ", None, "nothing can be typed"),
        ("pty:/dev/pts/4\n", None, "nothing can be typed"),
        ("pty:/dev/pts/٤", None, "nothing can be typed"),
        ("pty://dev/pts/4", None, "nothing can be typed"),
        ("pty:dev/pts/4", None, "nothing can be typed"),
        ("unix:/run/log.sock", None, "nothing can be typed"),
        ("file", None, "nothing can be typed"),
        ("null", None, "nothing can be typed"),
        ("mux", None, "nothing can be typed"),
    ],
)
def test_where_one_types_at_a_port(filename: str, place: str | None, word: str | None) -> None:
    serial = Serial("serial0", filename)
    assert serial.place == (Path(place) if place else None)
    assert (serial.problem is None) if word is None else (word in str(serial.problem))


US = Peer(this_process(), os.getuid())
OTHER_USER = Peer(this_process(), os.getuid() + 1)


@pytest.fixture
def pty() -> Iterator[tuple[int, Path]]:
    """A terminal of ours: the end behind it, and its name."""
    behind, end = os.openpty()
    tty.setraw(end)
    os.set_blocking(behind, False)
    yield behind, Path(os.ttyname(end))
    os.close(behind)
    os.close(end)


def came(fd: int) -> bytes:
    try:
        return os.read(fd, 100)
    except BlockingIOError:
        return b""


def test_a_vms_own_terminal_is_typed_at(pty: tuple[int, Path]) -> None:
    behind, path = pty
    with closing(connect_serial(Serial("serial0", f"pty:{path}"), VM._replace(peer=US))) as channel:
        channel.send(b"j", 0.0)
        assert came(behind) == b"j"


def test_another_terminal_gets_no_byte(pty: tuple[int, Path]) -> None:
    behind, path = pty
    serial = Serial("serial0", f"pty:{path}")
    with killed_on_failure(subprocess.Popen(["sleep", "600"], close_fds=True)) as other:
        _, fields = stat_fields(Path(f"/proc/{other.pid}"))
        stranger = Peer(Process(other.pid, start_ticks(fields)), os.getuid())
        for peer in (None, OTHER_USER, stranger, Peer(Process(os.getpid(), 1), os.getuid())):
            with pytest.raises(ConnectFailed, match="nothing was written to it") as caught:
                connect_serial(serial, VM._replace(peer=peer))
            assert caught.value.problem is ConnectProblem.NOT_THE_VM
        other.kill()
    assert came(behind) == b""


@pytest.mark.parametrize("kind", ["file", "link", "pipe", "nothing"])
def test_what_is_in_a_terminals_place_is_not_written_to(
    pty: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A container's /dev/pts may hold anything: it is looked at from its process's root."""
    behind, path = pty
    process = this_process()
    place = tmp_path / str(process.pid) / "root" / "dev" / "pts" / path.name
    place.parent.mkdir(parents=True)
    match kind:
        case "file":
            place.write_text("as it was")
        case "link":
            place.symlink_to(path)
        case "pipe":
            os.mkfifo(place)
    monkeypatch.setattr(inputs_module, "PROC", tmp_path)
    with pytest.raises((ConnectFailed, OSError)):
        connect_serial(Serial("serial0", f"pty:{path}"), VM._replace(peer=US))
    assert came(behind) == b""
    assert kind != "file" or place.read_text() == "as it was"


# -- a named command ---------------------------------------------------------------------------


def test_a_monitor_does_what_it_is_asked_by_name(clock: Clock) -> None:
    qemu = FakeQemu({"system_reset": {}, "send-key": Error("no keys", "GenericError")})
    endpoint = monitor_endpoint(clock, qemu)
    done, refused = Monitor(endpoint, None).ask(
        [Ask("system_reset"), Ask("send-key", {"keys": []})]
    )
    assert isinstance(done, QmpReply)
    assert isinstance(refused, QmpFailure)
    assert [channel.closed for channel in endpoint.channels] == [1], "a visit, not a stay"


def test_a_monitor_of_ours_is_kept(clock: Clock) -> None:
    endpoint = monitor_endpoint(clock, FakeQemu({"system_reset": {}}))
    monitor = Monitor(endpoint, None, ours=True)
    monitor.ask([Ask("system_reset")])
    monitor.ask([Ask("system_reset")])
    assert [channel.closed for channel in endpoint.channels] == [0]


def test_a_monitor_that_somebody_holds_is_told_as_trouble(clock: Clock) -> None:
    endpoint = monitor_endpoint(clock, FakeQemu({}))
    endpoint.greeting = ()
    with pytest.raises(MonitorError, match="another client holds it"):
        Monitor(endpoint, None).ask([Ask("system_reset")], 0.5)
    assert find_inputs(Monitor(endpoint, VM.agent), VM).trouble is not None


# -- what writes prove -------------------------------------------------------------------------


def seen(before: list[int | None], after: list[int | None]) -> Writes:
    writes = Writes(before[0])
    for one in before[1:]:
        writes.saw(one)
    writes.sent = True
    for one in after:
        writes.saw(one)
    return writes


def test_a_rise_after_silence_is_proof() -> None:
    assert seen([5, 5, 5], [5, 6]).prove


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ([5, 5], [5, 5], "nothing has been written"),
        ([5, 6], [7, 8], "it wrote before it, too"),
        ([None, None], [None], "its writes can't be seen"),
        ([None, None], [5, 5], "nothing has been written"),
        ([5, 5], [None, 5], "nothing has been written"),
        ([5, 5], [0, 0], "nothing has been written"),
    ],
)
def test_everything_else_proves_nothing(
    before: list[int | None], after: list[int | None], word: str
) -> None:
    writes = seen(before, after)
    assert not writes.prove
    assert word in writes.why_not
