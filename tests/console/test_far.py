"""VMs of other hosts in the console: told apart by their host, and frozen once a person insists."""

from __future__ import annotations

from agentclient.fleet.store import Fleet
from agentclient.model.states import RunState
from agentclient.model.vm import FarHost, Vm, VmId
from tests.console.console_session import console_session
from tests.console.fakes import FakeOperations, StillClock
from tests.console.fleets import alive, fleet_of, put, thawed


def with_far(still: StillClock) -> Fleet:
    """Return a VM of this host, and two of one name on two others."""
    fleet = fleet_of(["app"], still)
    vms = []
    for host in ("hall-a", "hall-b"):
        command = f"ssh {host} virsh -c qemu:///system domfsthaw db1"
        there = FarHost(host, f"qemu+ssh://{host}/system", command)
        vm_id = VmId("libvirt", "db1", host)
        vms.append(Vm(vm_id, title="db1", by_call=True, generation=f"{host}#1", far=there))
    fleet.set_vms("libvirt", vms)
    for vm in vms:
        put(fleet, vm.id, agent=alive(still), run_state=RunState.RUNNING, freeze=thawed(still))
    return fleet


async def test_one_name_on_two_hosts_is_two_rows_that_say_which(still: StillClock) -> None:
    async with console_session(with_far(still), still) as session:
        assert "hall-a/db1" in session.text
        assert "hall-b/db1" in session.text


async def test_a_far_vm_is_frozen_after_a_second_enter(still: StillClock) -> None:
    operations = FakeOperations()
    async with console_session(with_far(still), still, operations=operations) as session:
        await session.press("end", "f")
        assert "it runs on hall-b: nobody there would thaw it" in session.line_of("risk")
        assert "hall-b virsh -c qemu:///system domfsthaw db1" in session.text
        await session.press("enter")
        assert session.dialog == "FreezeDialog"
        assert "nobody on hall-b thaws it" in session.line_of("sure?")
        assert operations.started == []
        await session.pilot.pause(0.25)  # a button takes no second Enter sooner
        await session.press("enter")
        await session.until(lambda: bool(operations.started))
        (begun,) = operations.started
        assert begun.request is not None
        assert (str(begun.vm.id), begun.request.remote_hold) == ("libvirt:hall-b/db1", True)
        assert "hall-b/db1: freeze begun" in session.notice


async def test_a_vm_of_this_host_needs_no_second_one(still: StillClock) -> None:
    operations = FakeOperations()
    async with console_session(with_far(still), still, operations=operations) as session:
        await session.press("home", "f", "enter")
        await session.until(lambda: bool(operations.started))
        (begun,) = operations.started
        assert begun.request is not None
        assert (begun.vm.name, begun.request.remote_hold) == ("app", False)


async def test_hosts_of_several_are_named_before_they_are_frozen_together(
    still: StillClock,
) -> None:
    operations = FakeOperations()
    async with console_session(with_far(still), still, operations=operations) as session:
        await session.press("a", "f", "b", "enter")
        assert "nobody on hall-a, hall-b thaws it" in session.line_of("sure?")
        await session.pilot.pause(0.25)
        await session.press("enter")
        await session.until(lambda: len(operations.started) == 3)
        assert all(one.request and one.request.remote_hold for one in operations.started)
