"""What is asked before a freeze: what the agent may do, and what a freeze of it will cover."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agentclient.access.agent import GuestAgent
from agentclient.access.agent_session import StreamSession
from agentclient.access.local_access import LocalAccess
from agentclient.freeze.coverage import Coverage, System
from agentclient.model.errors import AgentTimeout, ChannelBroken, CommandFailed, ProtocolViolation
from agentclient.model.outcome import FileSystem
from agentclient.model.states import Refusal
from agentclient.operations.survey import Survey, may_not, no_status, not_there, refused_by
from agentclient.protocol.qga_replies import AgentInfo
from tests.unit.fakes import Error, Raw
from tests.unit.frozen_vm import VM, FrozenVm, frozen_vm

FREEZE, FREEZE_LIST = "guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list"
THAW, STATUS, DISKS, OS = (
    "guest-fsfreeze-thaw",
    "guest-fsfreeze-status",
    "guest-get-disks",
    "guest-get-osinfo",
)
LIST, INFO = "guest-get-fsinfo", "guest-info"
ALL = frozenset({FREEZE, FREEZE_LIST, THAW, STATUS, DISKS, OS, LIST, INFO})
ABLE = AgentInfo("7.2.0", ALL, ALL)
ROOT = FileSystem("vda1", "/", "ext4")
PLUGGED = {"pci-controller": {"bus": 0}, "bus": 0, "target": 0, "unit": 0, "dev": "/dev/vda"}
ON_VDA = {"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": [PLUGGED]}
OF_GUEST = [
    {"name": "/dev/vda", "partition": False},
    {"name": "/dev/vda1", "partition": True, "dependencies": ["/dev/vda"]},
    {"name": "/dev/vdb", "partition": False},
]
OF_QEMU = [
    {"device": f"drive-{name}", "removable": False, "inserted": {"ro": False}} for name in "ab"
]


def without(*commands: str, known: bool = True) -> AgentInfo:
    """An agent that may not do these, or does not know them."""
    allowed = ALL - frozenset(commands)
    return AgentInfo("7.2.0", allowed, ALL if known else allowed)


class Asked:
    """An agent that is asked what a freeze of its guest will cover."""

    def __init__(self, vm: FrozenVm) -> None:
        self.vm = vm
        vm.frozen, vm.flag = 0, False
        vm.agent.answers |= {LIST: [ON_VDA], DISKS: OF_GUEST}
        vm.qemu.answers["query-block"] = OF_QEMU
        self.access: LocalAccess = vm.access()

    @property
    def agent(self) -> GuestAgent:
        """The agent, synchronised."""
        self.access.observe()  # as before each freeze
        agent = GuestAgent("qemu:db", StreamSession(self.access.connect()))
        agent.sync()
        return agent

    def covered(self, info: AgentInfo = ABLE, *mounts: str) -> Coverage | str:
        """Ask all that it takes."""
        return Survey(self.access, self.agent, info, mounts, 60.0).coverage()

    def disks(self, info: AgentInfo = ABLE, *mounts: str) -> tuple[str, ...] | None:
        """Return the disks on which no file system is known."""
        found = self.covered(info, *mounts)
        assert isinstance(found, Coverage)
        return found.disks

    @property
    def said(self) -> list[object]:
        """What the agent was asked, after its sync."""
        return self.vm.said[1:]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(frozen_vm(monkeypatch))


# -- what the agent may do -----------------------------------------------------------------------


def test_a_command_that_is_switched_off_is_told_from_one_that_is_not_there() -> None:
    assert refused_by(ABLE, FREEZE) is None
    off = refused_by(without(FREEZE), FREEZE)
    assert off == f"{FREEZE} is disabled by the agent's own filter (block-rpcs or allow-rpcs)"
    missing = refused_by(without(FREEZE, known=False), FREEZE)
    assert missing == f"{FREEZE} is not known to the agent (7.2.0)"


def test_an_agent_that_may_freeze_and_thaw_is_not_refused() -> None:
    assert may_not(ABLE, ()) is None
    assert may_not(without(FREEZE_LIST), ()) is None, "it is not needed"
    assert may_not(without(FREEZE), ("/a",)) is None, "nor is this one"


@pytest.mark.parametrize(("command", "mounts"), [(FREEZE, ()), (FREEZE_LIST, ("/a",))])
def test_an_agent_that_may_not_freeze(command: str, mounts: tuple[str, ...]) -> None:
    outcome = may_not(without(command), mounts)
    assert outcome is not None
    assert outcome.refusal is Refusal.DISABLED
    assert outcome.reason.startswith(f"{command} is disabled")


def test_an_agent_that_could_not_thaw_what_it_froze() -> None:
    outcome = may_not(without(THAW), ())
    assert outcome is not None
    assert outcome.refusal is Refusal.DISABLED
    assert outcome.reason.startswith("the agent may freeze, but not thaw: ")


@pytest.mark.parametrize(
    ("commands", "why"),
    [
        ([{"name": STATUS, "enabled": False}], f"{STATUS} is disabled by the agent's own filter"),
        ([], f"{STATUS} is not known to the agent (7.2.0)"),
        ([{"name": STATUS, "enabled": True}], "hook is broken"),
        (None, "hook is broken"),
    ],
)
def test_an_agent_that_does_not_tell_its_state(asked: Asked, commands: object, why: str) -> None:
    info = {"version": "7.2.0", "supported_commands": commands}
    asked.vm.agent.answers[INFO] = Error("no") if commands is None else info
    error = CommandFailed("qemu:db", STATUS, "GenericError", "hook is broken")
    outcome = no_status(asked.agent, error)
    assert outcome.refusal is Refusal.DISABLED
    assert outcome.reason.startswith(f"the agent can't tell its freeze state: {why}")


def test_an_agent_that_has_gone_meanwhile_is_no_refusal(asked: Asked) -> None:
    agent = asked.agent
    asked.vm.agent_hears = False
    with pytest.raises(AgentTimeout):
        no_status(agent, CommandFailed("qemu:db", STATUS, "GenericError", "x"))


# -- what is covered -----------------------------------------------------------------------------


def test_a_linux_guest_is_asked_for_its_file_systems_and_its_disks(asked: Asked) -> None:
    assert asked.covered() == Coverage((ROOT,), (), System.OTHER, ("vdb",), None)
    assert asked.said == [LIST, DISKS]


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (without(LIST), f"{LIST} is disabled by the agent's own filter (block-rpcs or allow-rpcs)"),
        (ABLE, "udev is not there"),
    ],
)
def test_a_guest_that_cannot_list_them_says_why(asked: Asked, info: AgentInfo, why: str) -> None:
    asked.vm.agent.answers[LIST] = Error("udev is not there")
    assert asked.covered(info) == why


def test_nobody_is_waited_for_longer_than_is_said(asked: Asked) -> None:
    asked.vm.agent.answers[LIST] = Raw()
    agent = asked.agent
    began = asked.vm.clock.now
    with pytest.raises(AgentTimeout):
        Survey(asked.access, agent, ABLE, (), 7.0).coverage()
    assert asked.vm.clock.now - began == pytest.approx(7.0)


def test_an_agent_that_ends_while_it_is_asked(asked: Asked) -> None:
    asked.vm.agent.answers[DISKS] = Raw()
    asked.vm.clock.at(1.0, asked.vm.breaks)
    with pytest.raises(ChannelBroken):
        asked.covered()


def test_a_list_that_is_none(asked: Asked) -> None:
    asked.vm.agent.answers[LIST] = {"no": "list"}
    with pytest.raises(ProtocolViolation):
        asked.covered()


def test_mount_points_are_kept_as_they_were_asked_for(asked: Asked) -> None:
    found = asked.covered(ABLE, "/", "/gone")
    assert isinstance(found, Coverage)
    assert (found.mounts, found.unknown_mounts) == (("/", "/gone"), ("/gone",))
    assert asked.said == [LIST], "its other disks don't matter then"


# -- whose kernel it is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "answer", "system"),
    [
        ("ufs", {"id": "freebsd"}, System.FREEBSD),
        ("ZFS", {"kernel-version": "FreeBSD 14"}, System.FREEBSD),
        ("zfs", {"id": "ubuntu"}, System.OTHER),
        ("devfs", Error("not known"), System.FREEBSD),
        ("ufs", Error("not known"), System.OTHER),
        ("ufs", "nonsense", System.OTHER),
    ],
)
def test_a_kind_that_leaves_it_open_is_asked_about(
    asked: Asked, kind: str, answer: object, system: System
) -> None:
    asked.vm.agent.answers |= {LIST: [{**ON_VDA, "type": kind}], OS: answer}
    found = asked.covered()
    assert isinstance(found, Coverage)
    assert found.system is system
    assert asked.said[:2] == [LIST, OS]


# -- which disks nobody covers -------------------------------------------------------------------


def test_an_agent_that_cannot_name_its_disks_leaves_it_to_their_number(asked: Asked) -> None:
    one_more = ("1 of QEMU's disks (drive-a, drive-b)",)
    assert asked.disks(without(DISKS)) == one_more
    assert DISKS not in asked.vm.said
    asked.vm.agent.answers[DISKS] = Error("not here")
    assert asked.disks() == one_more
    asked.vm.agent.answers[DISKS] = {"no": "list"}
    assert asked.disks() == one_more


def test_as_many_disks_as_are_listed_are_all_covered(asked: Asked) -> None:
    asked.vm.qemu.answers["query-block"] = OF_QEMU[:1]
    assert asked.disks(without(DISKS)) == ()
    asked.vm.qemu.answers["query-block"] = []
    assert asked.disks(without(DISKS)) == (), "fewer are no riddle of ours"


@pytest.mark.parametrize("answer", [Error("no"), {}, "x", Raw()])
def test_where_qemu_does_not_tell_them_nothing_is_known(asked: Asked, answer: object) -> None:
    asked.vm.qemu.answers["query-block"] = answer
    assert asked.disks(without(DISKS)) is None


def test_disks_of_another_vms_monitor_are_not_counted(asked: Asked) -> None:
    """P10: it counts if it shows our own connection to the agent."""
    asked.vm.qemu.answers["query-chardev"] = [
        {"label": "qga0", "filename": "disconnected:unix:/run/db.qga,server=on"}
    ]
    assert asked.disks(without(DISKS)) is None
    assert "query-block" not in asked.vm.asked


def test_without_a_monitor_or_an_address_nothing_is_known(asked: Asked) -> None:
    asked.access = asked.vm.access(VM._replace(monitor=None))
    assert asked.disks(without(DISKS)) is None
    asked.access = asked.vm.access()
    asked.vm.agent.answers[LIST] = [{**ON_VDA, "disk": []}]
    assert asked.disks(without(DISKS)) is None
    assert "query-block" not in asked.vm.asked


@pytest.mark.parametrize("listed", [[], [ON_VDA, {"junk": 1}]])
def test_a_list_that_is_not_whole_tells_nothing_of_disks(
    asked: Asked, listed: list[Mapping[str, object]]
) -> None:
    asked.vm.agent.answers[LIST] = listed
    assert asked.disks() is None
    assert asked.said == [LIST]


# -- mount points that can't freeze --------------------------------------------------------------

BOOT = FileSystem("vda15", "/boot/efi", "vfat")
MEDIUM = FileSystem("sr0", "/mnt", "iso9660")


@pytest.mark.parametrize(
    "coverage",
    [
        Coverage((ROOT,)),
        Coverage((ROOT, BOOT), ("/", "/boot/efi")),
        Coverage((), ("/gone",), problem="its list can't be read"),
    ],
)
def test_what_can_freeze_is_not_refused(coverage: Coverage) -> None:
    assert not_there(coverage) is None


@pytest.mark.parametrize(
    ("coverage", "why"),
    [
        (Coverage((ROOT,), ("/", "/gone")), "the guest has no /gone; it has: vda1 (ext4 at /)"),
        (Coverage((ROOT, BOOT), ("/boot/efi",)), "can't freeze: vda15 (vfat at /boot/efi)"),
        (Coverage((ROOT, MEDIUM), ("/mnt",)), "nothing is ever written to sr0 (iso9660 at /mnt)"),
    ],
)
def test_what_was_named_and_cannot_freeze_is_refused(coverage: Coverage, why: str) -> None:
    outcome = not_there(coverage)
    assert outcome is not None
    assert outcome.refusal is Refusal.MOUNTS
    assert why in outcome.reason
    assert outcome.reason.endswith("; the freeze was not sent")
