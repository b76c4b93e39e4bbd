"""Where the agent's port is inside QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentclient.model.vm import AgentChannel
from agentclient.protocol.qemu_port import (
    Chardev,
    Port,
    agent_chardev,
    chardevs,
    port,
    port_paths,
    queue_index,
    written_bytes,
)

WRONG: list[object] = [
    None,
    True,
    1,
    "x",
    {},
    {"label": "x"},
    [None],
    [1],
    [[]],
    [{}],
    [{"label": 1}],
]


def unix(path: str, client: bool = False, label: str = "c") -> Chardev:
    prefix = "" if client else "disconnected:"
    return Chardev(label, f"{prefix}unix:{path},server=on", True)


def test_both_ends_of_the_channel_are_read() -> None:
    assert chardevs(
        [
            {"label": "qga0", "filename": "disconnected:unix:/x,server=on", "frontend-open": True},
            {"label": "b", "filename": "unix:/y,server=on", "frontend-open": False},
            {"label": "c"},
            {"label": "d", "frontend-open": "yes", "filename": 5},
        ]
    ) == [
        Chardev("qga0", "disconnected:unix:/x,server=on", True),
        Chardev("b", "unix:/y,server=on", False),
        Chardev("c", "", False),
        Chardev("d", "5", False),
    ]


def test_a_client_is_attached_unless_it_says_disconnected() -> None:
    assert not unix("/x").client
    assert unix("/x", client=True).client


@pytest.mark.parametrize("value", [one for one in WRONG if one != [{"label": "x"}]])
def test_an_unreadable_list_of_chardevs_is_empty(value: object) -> None:
    assert chardevs(value) == []


def test_the_label_decides_where_it_is_known() -> None:
    found = [unix("/run/x.qga", label="other"), unix("/elsewhere", label="mine")]
    assert agent_chardev(found, AgentChannel(Path("/run/x.qga"), "mine")) is found[1]
    assert agent_chardev(found, AgentChannel(Path("/run/x.qga"), "none")) is None


@pytest.mark.parametrize("client", [False, True])
def test_without_a_label_the_sockets_path_decides(client: bool) -> None:
    found = [unix("/run/y.qga"), unix("/run/x.qga", client), unix("/other/x.qga")]
    assert agent_chardev(found, AgentChannel(Path("/run/x.qga"))) is found[1]


def test_a_path_of_another_directory_is_found_by_its_name_if_that_is_unique() -> None:
    agent = AgentChannel(Path("/proc/5/root/run/x.qga"))
    found = [unix("/run/x.qga"), unix("/run/y.qga")]
    assert agent_chardev(found, agent) is found[0]
    assert agent_chardev([*found, unix("/tmp/x.qga")], agent) is None


def test_the_paths_end_is_found_in_what_qemu_prints() -> None:
    for filename in (
        "unix:/run/x.qga,server=on",
        "disconnected:unix:/run/x.qga,server",
        "unix:/run/x.qga <-> /tmp/peer,server=on",
        "disconnected:unix:/run/x.qga",
    ):
        one = Chardev("c", filename, True)
        decoy = unix("/run/other")
        assert agent_chardev([decoy, one], AgentChannel(Path("/run/x.qga"))) is one


def test_a_usual_label_is_the_last_resort_and_only_alone() -> None:
    agent = AgentChannel(Path("/run/x.qga"))
    pty, qga = Chardev("serial0", "pty:/dev/pts/1", True), Chardev("qga0", "fd:5", True)
    assert agent_chardev([pty, qga], agent) is qga
    assert agent_chardev([pty], agent) is None
    assert agent_chardev([qga, Chardev("charchannel0", "fd:6", True)], agent) is None
    same_name = [unix("/a/x.qga"), unix("/b/x.qga"), qga]
    assert agent_chardev(same_name, agent) is None


def test_ports_are_found_by_their_type() -> None:
    listing = [
        {"name": "device[0]", "type": "child<virtserialport>"},
        {"name": "con", "type": "child<virtconsole>"},
        {"name": "net", "type": "child<virtio-net-pci>"},
        {"type": "child<virtserialport>"},
        "junk",
    ]
    assert port_paths("/machine/x", listing) == ["/machine/x/device[0]", "/machine/x/con"]


@pytest.mark.parametrize("value", WRONG)
def test_an_unreadable_listing_has_no_ports(value: object) -> None:
    assert port_paths("/machine/x", value) == []


def test_a_port_knows_its_device_and_its_queue() -> None:
    bus = "/machine/peripheral/vs/virtio-backend/virtio-serial-bus.0"
    made = port("/machine/peripheral/qga", {"chardev": "qga0", "nr": 1, "parent_bus": bus})
    assert made == Port(
        "/machine/peripheral/qga", "/machine/peripheral/vs/virtio-backend", 1, "qga0"
    )
    assert made.id == "qga"


@pytest.mark.parametrize(("number", "queue"), [(0, 0), (1, 4), (2, 6), (30, 62)])
def test_the_receive_queue_of_a_port(number: int, queue: int) -> None:
    assert Port("/p", "/d", number, "l").receive_queue == queue


def test_a_port_without_an_id_has_none() -> None:
    assert Port("/machine/peripheral-anon/device[3]", "/d", 1, "l").id is None


@pytest.mark.parametrize("name", ["chardev", "nr", "parent_bus"])
@pytest.mark.parametrize("wrong", [None, [], {}, 1.5])
def test_a_port_of_wrong_properties_is_none(name: str, wrong: object) -> None:
    good: dict[str, object] = {"chardev": "qga0", "nr": 1, "parent_bus": "/a/b"}
    assert port("/p", good) is not None
    assert port("/p", {**good, name: wrong}) is None
    assert port("/p", {key: value for key, value in good.items() if key != name}) is None


def test_an_index_of_a_queue() -> None:
    assert queue_index({"used-idx": 7, "x": 1}, "used-idx") == 7
    wrong: list[object] = [None, [], 7, {}, {"used-idx": "7"}, {"used-idx": None}]
    for value in wrong:
        assert queue_index(value, "used-idx") is None


def test_written_bytes_are_summed_over_the_disks() -> None:
    disks = [{"stats": {"wr_bytes": 5}}, {"stats": {"wr_bytes": 7, "rd_bytes": 9}}]
    assert written_bytes(disks) == 12
    assert written_bytes([]) == 0


@pytest.mark.parametrize("junk", ["x", None, {}, {"stats": 5}, {"stats": {"wr_bytes": "5"}}])
def test_what_is_no_disk_adds_nothing(junk: object) -> None:
    assert written_bytes([junk, {"stats": {"wr_bytes": 5}}]) == 5


@pytest.mark.parametrize("value", [None, {}, "x", 5])
def test_an_answer_that_is_no_list_is_unknown(value: object) -> None:
    assert written_bytes(value) is None
