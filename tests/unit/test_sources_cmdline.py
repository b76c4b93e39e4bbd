"""The parser of QEMU's command lines."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentclient.backends.option_string import options, quote, split_pairs
from agentclient.backends.qemu.command import QemuCommand
from agentclient.backends.qemu.command_parser import parse_command_line
from agentclient.model.states import Transport
from tests.unit import command_lines


def parse(text: str) -> QemuCommand:
    return parse_command_line(["qemu-system-x86_64", *shlex.split(text)])


AGENT = "-device virtserialport,chardev=a,name=org.qemu.guest_agent.0"


def test_proxmox_8() -> None:
    command = parse_command_line(command_lines.PROXMOX_8)
    assert (command.name, command.vmid, command.libvirt) == ("web-01", 104, False)
    assert command.agent is not None
    assert command.agent.chardev.path == "/var/run/qemu-server/104.qga"
    assert command.agent.chardev.id == "qga0"
    assert command.agent.chardev.unusable is None
    assert command.agent.transport is Transport.VIRTIO_SERIAL
    assert command.agent.looks_like is None
    assert command.daemonized


def test_proxmox_has_two_monitors_and_only_the_one_that_listens_is_for_us() -> None:
    command = parse_command_line(command_lines.PROXMOX_8)
    assert [monitor.chardev.id for monitor in command.monitors] == ["qmp", "qmp-event"]
    event = command.monitors[1].chardev
    assert event.reconnect
    assert event.unusable is not None
    assert "client" in event.unusable
    assert command.monitor is not None
    assert command.monitor.chardev.path == "/var/run/qemu-server/104.qmp"


def test_the_isa_agent_of_proxmox_is_known_by_its_exact_name() -> None:
    agent = parse_command_line(command_lines.PROXMOX_8_ISA).agent
    assert agent is not None
    assert agent.transport is Transport.ISA_SERIAL
    assert agent.looks_like is None
    assert agent.chardev.path == "/var/run/qemu-server/105.qga"


@pytest.mark.parametrize("argv", [command_lines.LIBVIRT_9, command_lines.LIBVIRT_5])
def test_libvirt_is_recognised(argv: list[str]) -> None:
    command = parse_command_line(argv)
    assert command.libvirt
    assert command.name == "db"
    assert command.agent is not None


def test_sockets_handed_over_as_descriptors_are_not_to_be_opened() -> None:
    command = parse_command_line(command_lines.LIBVIRT_9)
    assert command.agent is not None
    assert command.agent.chardev.handed_over
    assert command.agent.chardev.path is None
    assert command.monitor is None
    assert any("handed to QEMU" in note for note in command.notes)


@pytest.mark.parametrize("word", ["masterKey0", "charmonitor", "channel"])
def test_each_sign_of_libvirt_alone_is_enough(word: str) -> None:
    signs = {
        "masterKey0": "-object secret,id=masterKey0,file=/home/a/.config/libvirt/qemu/k",
        "charmonitor": "-chardev socket,id=charmonitor,fd=3",
        "channel": "-chardev socket,id=a,path=/run/libvirt/qemu/channel/1-x/ga,server=on",
    }
    assert parse(signs[word]).libvirt


def test_a_command_line_by_hand() -> None:
    command = parse_command_line(command_lines.BY_HAND)
    assert command.name == "mail"
    assert command.vmid is None
    assert not command.libvirt
    assert not command.daemonized
    assert command.agent is not None
    assert command.agent.chardev.id == "ga"
    assert command.monitor is not None
    assert command.monitor.option == "-qmp"
    assert command.monitor.chardev.path == "/run/m.qmp"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-name x", "x"),
        ("--name x", "x"),
        ("-name x,debug-threads=on,process=y", "x"),
        ("-name guest=x,debug-threads=on", "x"),
        ("-name debug-threads=on,guest=x", "x"),
        ("-name a,,b", "a,b"),
        ("-name a -name b", "b"),
        ("-name 'db[/]1'", "db[/]1"),
        ("-name -qmp -m 1", "-qmp"),
        ("-m 1", ""),
        ("-name", ""),
        ("-name ''", ""),
    ],
)
def test_names(text: str, name: str) -> None:
    assert parse(text).name == name


@pytest.mark.parametrize(
    "text",
    [
        "-qmp unix:/q,server=on,wait=off",
        "-qmp unix:/q,server,nowait",
        "-qmp-pretty unix:/q,server=on",
        "-qmp unix:/q,wait=off,server=yes",
        "-chardev socket,id=m,path=/q,server=on -qmp chardev:m",
        "-chardev socket,id=m,path=/q,server=on -mon chardev=m,mode=control",
        "-chardev socket,id=m,path=/q,server=on -mon m,mode=control",
        "-mon m,mode=control,pretty=on -chardev socket,path=/q,server=on,id=m",
        "-chardev backend=socket,id=m,path=/q,server=on -mon mode=control,chardev=m",
    ],
)
def test_all_ways_to_give_a_monitor(text: str) -> None:
    monitor = parse(text).monitor
    assert monitor is not None
    assert monitor.chardev.path == "/q"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-qmp unix:/q", "client"),
        ("-qmp unix:/q,server=off", "client"),
        ("-qmp unix:/q,noserver", "client"),
        ("-qmp tcp:localhost:4444,server=on", "no UNIX socket (but tcp)"),
        ("-qmp stdio", "no UNIX socket (but stdio)"),
        ("-chardev socket,id=m,host=::1,port=4,server=on -mon m,mode=control", "::1:4"),
        ("-chardev socket,id=m,path=q,abstract=on,server=on -mon m,mode=control", "abstract"),
        ("-chardev socket,id=m,path=/dev/fdset/1,server=on -mon m,mode=control", "handed"),
        ("-monitor unix:/q,server=on", "for people only"),
        ("-chardev socket,id=m,path=/q,server=on -mon m", "for people only"),
        ("-chardev socket,id=m,path=/q,server=on -mon m,mode=readline", "for people only"),
    ],
)
def test_monitors_that_are_not_for_us_are_noted(text: str, why: str) -> None:
    command = parse(text)
    assert command.monitor is None
    assert any(why in note for note in command.notes)


def test_of_several_monitors_the_one_that_nobody_else_uses_is_taken() -> None:
    proxmox = (
        "-chardev socket,id=qmp,path=/var/run/qemu-server/1.qmp,server=on -mon qmp,mode=control"
    )
    second, ours = (
        "-qmp unix:/frostwatch-lab/second,server=on",
        "-qmp unix:/run/frostwatch-1,server=on",
    )
    chosen = [parse(text).monitor for text in (proxmox, f"{proxmox} {second}")]
    chosen += [
        parse(f"{proxmox} {second} {ours}").monitor,
        parse(f"{second} -qmp unix:/x,server").monitor,
    ]
    paths = [monitor.chardev.path for monitor in chosen if monitor]
    assert paths == [
        "/var/run/qemu-server/1.qmp",
        "/frostwatch-lab/second",
        "/run/frostwatch-1",
        "/frostwatch-lab/second",
    ]


@pytest.mark.parametrize(
    "port",
    [
        "virtserialport,chardev=a,name=org.qemu.guest_agent.0",
        "driver=virtserialport,name=org.qemu.guest_agent.0,chardev=a",
        '{"driver":"virtserialport","chardev":"a","name":"org.qemu.guest_agent.0"}',
        '{"driver": "virtserialport", "chardev": "a", "name": "org.qemu.guest_agent.1", "nr": 2}',
    ],
)
def test_ways_to_give_the_agents_port(port: str) -> None:
    argv = ["qemu", "-chardev", "socket,id=a,path=/a,,b=c,server=on", "-device", port]
    agent = parse_command_line(argv).agent
    assert agent is not None
    assert agent.chardev.path == "/a,b=c"
    assert agent.looks_like is None


def test_a_port_whose_chardev_is_configured_elsewhere_is_no_channel_for_us() -> None:
    agent = parse(AGENT).agent
    assert agent is not None
    assert agent.chardev.id == "a"
    assert agent.chardev.unusable is not None


@pytest.mark.parametrize(
    ("text", "label", "word"),
    [
        ("-serial unix:/run/x.qga,server=on,wait=off", "serial0", "qga"),
        ("-serial stdio -serial unix:/run/guest-agent,server", "serial1", "guest-agent"),
        (
            "-chardev socket,id=qemu-ga,path=/x,server=on -serial chardev:qemu-ga",
            "qemu-ga",
            "qemu-ga",
        ),
        (
            "-chardev socket,id=c,path=/run/agent.sock,server=on -device isa-serial,chardev=c",
            "c",
            "agent",
        ),
    ],
)
def test_serial_ports_that_only_speak_of_an_agent(text: str, label: str, word: str) -> None:
    assert parse(text).agent is None
    agent = parse(text).possible_agent
    assert agent is not None
    assert agent.transport is Transport.ISA_SERIAL
    assert (agent.chardev.id, agent.looks_like) == (label, word)


@pytest.mark.parametrize(
    "text",
    [
        "-serial unix:/run/console.sock,server=on",
        "-serial unix:/srv/build-agent/console.sock,server=on",
        "-serial mon:stdio -serial none",
        "-chardev socket,id=vdagent,path=/x,server=on -device virtserialport,chardev=vdagent",
        "-chardev socket,id=qga,path=/x,server=on"
        " -device virtserialport,chardev=qga,name=com.example.other",
        "-chardev socket,id=qga,path=/x,server=on -device virtconsole,chardev=qga",
    ],
)
def test_other_ports_are_not_taken_for_an_agents(text: str) -> None:
    assert parse(text).agent is None
    assert parse(text).possible_agent is None


@pytest.mark.parametrize(
    ("text", "perhaps"),
    [
        ("-name build-agent -serial unix:/run/vms/build-agent-serial.socket,server", True),
        ("-chardev socket,id=qga0,path=/run/q,server=on -serial chardev:qga0", True),
        ("-chardev socket,id=qga0,path=/run/q,server=on -device pci-serial,chardev=qga0", True),
        ("-chardev socket,id=qga0,path=/run/q,server=on -device virtserialport,chardev=qga0", True),
        ("-chardev socket,id=qga1,path=/run/q,server=on -device isa-serial,chardev=qga1", True),
        ("-device virtserialport,chardev=a,name=org.qemu.guest_agent", False),
        ("-device virtserialport,chardev=a,name=org.qemu.guest_agent.0.bak", False),
        ("-device virtserialport,chardev=a,name=xorg.qemu.guest_agent.0", False),
        ("-device virtconsole,chardev=a,name=org.qemu.guest_agent.0", False),
    ],
)
def test_nothing_but_the_exact_names_is_an_agent(text: str, perhaps: bool) -> None:
    found = parse(f"-chardev socket,id=a,path=/a,server=on {text}")
    assert found.agent is None
    assert (found.possible_agent is not None) is perhaps


@pytest.mark.parametrize(
    ("text", "uuid"),
    [
        ("-uuid 6B9F6D3E-37d1-4f0d-9c59-0f0a3a5be111", "6b9f6d3e-37d1-4f0d-9c59-0f0a3a5be111"),
        (
            "-smbios type=1,uuid=6b9f6d3e-37d1-4f0d-9c59-0f0a3a5be111",
            "6b9f6d3e-37d1-4f0d-9c59-0f0a3a5be111",
        ),
        ("-smbios type=0,vendor=x", ""),
        ("-uuid nonsense", ""),
        ("", ""),
    ],
)
def test_the_machines_uuid(text: str, uuid: str) -> None:
    assert parse(text).uuid == uuid


def test_a_named_port_goes_before_one_that_is_only_guessed() -> None:
    agent = parse(
        f"-serial unix:/run/qga,server=on -chardev socket,id=a,path=/real,server=on {AGENT}"
    ).agent
    assert agent is not None
    assert agent.chardev.path == "/real"


def test_two_agents_are_noted() -> None:
    command = parse(
        "-chardev socket,id=a,path=/1,server=on -chardev socket,id=b,path=/2,server=on"
        f" {AGENT} -device virtserialport,chardev=b,name=org.qemu.guest_agent.1"
    )
    assert command.agent is not None
    assert command.agent.chardev.path == "/1"
    assert any("2 ports for agents" in note for note in command.notes)


def test_what_is_not_looked_at_is_noted() -> None:
    assert any("/etc/vm.cfg" in note for note in parse("-readconfig /etc/vm.cfg").notes)


def test_chroot_and_missing_machine() -> None:
    assert parse("-chroot /jail").chroot == "/jail"
    assert parse("-run-with async-teardown=on,chroot=/jail").chroot == "/jail"
    assert parse("-run-with user=qemu").chroot is None
    assert parse("-machine none,accel=tcg").no_machine
    assert parse("-M none").no_machine
    assert not parse("-machine type=q35").no_machine


def test_a_value_that_looks_like_an_option_is_a_value() -> None:
    command = parse(
        "-append -qmp -name x -unheard-of -chardev socket,id=a,path=/a,server=on " + AGENT
    )
    assert command.name == "x"
    assert command.monitors == ()
    assert command.agent is not None
    assert command.agent.chardev.path == "/a"


PIECES = st.one_of(
    st.sampled_from(
        ["-name", "-id", "-chardev", "-device", "-qmp", "-mon", "-serial", "-object", "-M"]
    ),
    st.sampled_from(
        ["unix:", "chardev:", "socket,id=a,path=", "virtserialport,chardev=a", ",,,=", "{"]
    ),
    st.sampled_from(
        ['{"driver":["x"]}', '{"driver":1e999,"nr":-1}', "[" * 3000, "{" + '"a":{' * 9000]
    ),
    st.text(max_size=30),
)


@given(st.lists(PIECES, max_size=12))
def test_no_command_line_raises(argv: list[str]) -> None:
    command = parse_command_line(argv)
    assert isinstance(command.name, str)


@given(st.text(min_size=1))
def test_a_quoted_value_comes_back(value: str) -> None:
    assert options(f"socket,path={quote(value)},id=a", "backend") == {
        "backend": "socket",
        "path": value,
        "id": "a",
    }


@given(st.lists(st.text(alphabet=st.characters(exclude_characters=",=")), max_size=5))
def test_values_keep_their_order_and_number(values: list[str]) -> None:
    text = ",".join(f"k={value}" for value in values)
    assert [value for _, value in split_pairs(text)] == values


@pytest.mark.parametrize("text", ["{", "{}", '{"a"', '{"a":' * 100_000])
def test_broken_json_is_empty(text: str) -> None:
    assert options(text) == {}
