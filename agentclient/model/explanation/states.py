"""What the states of a VM, of its agent and of its file systems mean; and where an operation is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from agentclient.model.explanation.entry import Explanation, Hand, Row, Topic
from agentclient.model.states import AgentState, FreezeState, Phase, RunState

# The screen's words for what is more than one of the four states of file systems.
FOREIGN: Final = "foreign"
LEFT: Final = "left"
MAYBE_FROZEN: Final = "frozen?"
UNKNOWN: Final = "unknown"

_MONITOR: Final = "QEMU's monitor says so; it is looked at every 2 s."
_NO_BYTE: Final = "A freeze is refused while it is so, and costs the guest no byte."

VMS: Final[Mapping[RunState, Row]] = MappingProxyType(
    {
        RunState.RUNNING: Row(
            "the VM runs",
            _MONITOR,
            "The guest can write, unless its file systems are frozen.",
            "",
            (Hand.RUN_STATE,),
        ),
        RunState.PAUSED: Row(
            "the VM is paused: its agent can't answer, and a freeze is refused",
            _MONITOR,
            "Nothing is written while it is paused, and nothing is written out either: a copy made "
            "now is crash-consistent at best.",
            "Resume it (Proxmox: qm resume; QMP: cont).",
            (Hand.RUN_STATE, Hand.RESUME),
        ),
        RunState.IO_ERROR: Row(
            "QEMU stopped the VM because of an error of its storage",
            _MONITOR,
            "The write that failed waits in QEMU, and is done when the VM goes on. A copy made now "
            "is crash-consistent at best.",
            "Look at the host's storage (is it full?), then resume the VM.",
            (Hand.RUN_STATE, Hand.RESUME),
        ),
        RunState.SUSPENDED: Row(
            "the guest is suspended: its agent can't answer, and a freeze is refused",
            _MONITOR,
            "Nothing is written while it sleeps. What was not written out before is in its memory "
            "alone: a copy made now is crash-consistent at best.",
            "Wake it up (QMP: system_wakeup).",
            (Hand.RUN_STATE, Hand.WAKE),
        ),
        RunState.MIGRATING: Row(
            "the VM is migrating: a freeze is refused",
            _MONITOR,
            "A guest that was frozen now would arrive frozen on a host where nobody knows of it.",
            "Wait until the migration is over, and look on the host that it went to.",
            (Hand.MIGRATION,),
        ),
        RunState.MIGRATED: Row(
            "the VM has migrated away: its guest runs elsewhere",
            "QEMU's monitor says that the migration is complete.",
            "The guest goes on there, frozen if it was frozen here. These disks are not this "
            "QEMU's to write any more.",
            "Look on the host that it went to; end this QEMU if nobody needs it any more.",
            (Hand.RUN_STATE,),
        ),
        RunState.SHUTDOWN: Row(
            "the guest has shut down, and its QEMU still runs",
            _MONITOR,
            "A guest that has shut down has written everything: a copy made now is as good as its "
            "shutdown was.",
            "Start the VM again, or end its QEMU.",
            (Hand.RUN_STATE, Hand.START),
        ),
        RunState.PANICKED: Row(
            "the guest's kernel has panicked: nothing in it runs any more",
            "The guest told it to QEMU (a pvpanic device), whose monitor says so.",
            "What was not written out is lost. A copy made now is crash-consistent.",
            "Look at its console, then reset the VM.",
            (Hand.RUN_STATE, Hand.RESET),
        ),
        RunState.GONE: Row(
            "the VM's process has gone",
            "It is proven: by the end of its process, or by its manager. A socket that is away "
            "proves nothing, and is called unknown.",
            "Nothing is frozen any more. The disks look as after a power cut, unless the guest had "
            "shut down before.",
            "Start the VM again.",
            (Hand.START,),
        ),
        RunState.UNKNOWN: Row(
            "it can't be told what the VM is doing",
            "It has no monitor that we may ask, or that has not answered twice in a row, or that "
            "may be another VM's.",
            "Not known is not well: a freeze is still possible, and has less evidence.",
            "See what {doctor} says.",
            (Hand.RUN_STATE,),
        ),
    }
)

AGENTS: Final[Mapping[AgentState, Row]] = MappingProxyType(
    {
        AgentState.ALIVE: Row(
            "the agent answers",
            "It has answered a sync and its freeze state, on a connection of a few milliseconds "
            "that is made every 15 s.",
            "It can be asked to freeze.",
            "",
            (Hand.INFO,),
        ),
        AgentState.OPEN: Row(
            "an agent runs (its port is open); it was not asked yet",
            "QEMU's monitor shows the guest's side of the port as open.",
            "It can be asked to freeze. An agent that hangs has its port open as well.",
            "",
            (Hand.PORT,),
        ),
        AgentState.CLOSED: Row(
            "no agent runs in the guest: its port is closed",
            "QEMU's monitor shows the guest's side of the port as closed.",
            "Nothing can be frozen, and nothing that is frozen can be thawed through it. An agent "
            "that ended leaves what it froze frozen.",
            "Install qemu-guest-agent in the guest and start it there"
            " (systemctl start qemu-guest-agent). Under libvirt restart it, also if it runs: one"
            " that comes while a backup runs is missed there.",
            (Hand.PORT, Hand.START_AGENT),
        ),
        AgentState.SILENT: Row(
            "the agent did not answer in time",
            "Its port is open, and the bound of a question (2 s) ran out without an answer.",
            "It may be busy, hung, or frozen itself by what it wrote to: whether anything in the "
            "guest is frozen isn't known.",
            "It may be busy with a command of somebody else's, or hang. Look into the guest; if it"
            " hangs, restart it there (systemctl restart qemu-guest-agent).",
            (Hand.PORT, Hand.CLIENTS, Hand.IN_GUEST),
        ),
        AgentState.BUSY: Row(
            "another program holds the agent's channel, which serves one at a time",
            "QEMU's monitor shows a client that is not us, or the connection waits in its queue.",
            "What that program does to the guest is not known from its channel alone: it may be a "
            "backup that has frozen it.",
            "Wait until it is done. As root, `ss -xp` shows who has the socket open.",
            (Hand.CLIENTS, Hand.PORT),
        ),
        AgentState.NONE: Row(
            "the VM has no agent's channel",
            "Its configuration has none: QEMU's command line, or its manager's.",
            "It can't be frozen. A copy of its disks is crash-consistent at best.",
            "Proxmox: qm set VMID --agent enabled=1, then stop and start the VM. By hand: give QEMU"
            " a virtio-serial device and a virtserialport named org.qemu.guest_agent.0.",
            (),
        ),
        AgentState.UNKNOWN: Row(
            "it can't be told whether an agent runs",
            "Nobody was asked yet, or its channel is not for us to open.",
            "Not known is not well: nothing is claimed about its file systems either.",
            "See what is said about its sockets and its monitor.",
            (Hand.PORT,),
        ),
    }
)

FILE_SYSTEMS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        FreezeState.THAWED: Row(
            "nothing in the guest is frozen",
            "Its agent says so; that is the agent's own flag, not the kernel's.",
            "The guest writes. A copy made now is crash-consistent at best.",
            "",
            (Hand.STATUS,),
        ),
        FreezeState.FREEZING: Row(
            "a freeze was sent, and is not answered yet",
            "A frostwatch has sent it, and waits.",
            "Some file systems may be frozen already: the agent says nothing before all are. A "
            "copy made now is not consistent.",
            "Wait; stopped or lost, it is thawed as soon as its agent answers.",
            (Hand.WRITES,),
        ),
        FreezeState.FROZEN: Row(
            "the guest's file systems are frozen, by a frostwatch",
            "The freeze's own reply, or its agent's status asked after it.",
            "What the freeze covers is written out and stands still: now is the time for a copy. "
            "Programs in the guest that write wait.",
            "Make the copy, then thaw: {foreign}",
            (Hand.STATUS, Hand.THAW),
        ),
        FreezeState.THAWING: Row(
            "a thaw was sent, and is not answered yet",
            "A frostwatch has sent it, and sends it again until it is acknowledged.",
            "The window is over: a copy that is still being made is not consistent.",
            "Wait; a thaw that is not acknowledged within its bound is told loudly.",
            (Hand.STATUS,),
        ),
        FOREIGN: Row(
            "it is frozen, and not provably by a frostwatch",
            "Its agent says frozen, and neither this console nor the journal knows of a freeze.",
            "The guest can't write. Somebody may be making a copy: a thaw now would spoil that, "
            "and nobody would tell them.",
            "Find out who froze it; a thaw breaks that window, perhaps a backup's: {foreign}",
            (Hand.CLIENTS, Hand.STATUS, Hand.THAW),
        ),
        LEFT: Row(
            "a frostwatch that has ended has left it frozen",
            "The journal has its window, its process and its holder are dead, the VM is the same "
            "one, and its agent says frozen.",
            "The guest can't write, and nobody will thaw it. A copy made in that window is not "
            "proven.",
            "Thaw it: {thaw}",
            (Hand.STATUS, Hand.THAW),
        ),
        MAYBE_FROZEN: Row(
            "its thaw was not acknowledged: it may still be frozen",
            "This console has sent a freeze and then a thaw, and no answer proves the thaw.",
            "The guest may be unable to write. A copy made in that window is not consistent.",
            "{rescue}",
            (Hand.STATUS, Hand.THAW, Hand.SYSRQ),
        ),
        "others-pending": Row(
            "a command of somebody else waits for its answer; it may be a freeze",
            "QEMU's monitor: bytes were handed to the agent, which has read them and not answered. "
            "Nothing of theirs is read.",
            "It may be frozen, or become so. How sure that is, is said with it.",
            "Wait. If it is theirs that hangs: end them, and if it is frozen then: {foreign}",
            (Hand.CLIENTS, Hand.WRITES),
        ),
        "others-lost": Row(
            "a command of somebody else will never be answered",
            "QEMU's monitor: the agent's port has closed since, or they left before the answer.",
            "The guest may have been left frozen, by somebody who does not know it yet. Their copy "
            "is not consistent.",
            "End them, see that an agent runs, then, if it is frozen: {foreign}",
            (Hand.CLIENTS, Hand.STATUS, Hand.THAW),
        ),
        UNKNOWN: Row(
            "nobody has told whether anything is frozen",
            "Its agent has not answered since something may have changed it.",
            "Not known is not well: it may be frozen by somebody.",
            "See that an agent runs and is free; it is asked as soon as that is so.",
            (Hand.STATUS,),
        ),
    }
)

_OURS: Final = "It is an operation of this console, which tells where it is."

STEPS: Final[Mapping[Phase, Row]] = MappingProxyType(
    {
        Phase.QUEUED: Row(
            "it waits for its turn",
            f"{_OURS} So many run at once as `freezes_at_once` allows.",
            "Nothing was sent: the guest writes.",
            "Wait; or stop it, which takes it out of the queue.",
            (),
        ),
        Phase.PREPARING: Row(
            "the VM, its channel and its agent are checked before anything is sent",
            _OURS,
            "The freeze was not sent: the guest writes.",
            "Wait.",
            (),
        ),
        Phase.PENDING: Row(
            "it was sent, and its answer is waited for",
            f"{_OURS} A long flush, a slow hook and a hung agent look alike from outside.",
            "The guest may be frozen already: it says nothing before it is done.",
            "Wait; or stop waiting: it is thawed as soon as its agent answers.",
            (Hand.WRITES, Hand.HOOKS),
        ),
        Phase.BLOCKED: Row(
            "the host keeps the guest from answering: paused, suspended, migrating, or an error",
            _MONITOR,
            "Nothing in the guest goes on. That time is told apart from the agent's own.",
            "Let the VM run again.",
            (Hand.RUN_STATE, Hand.RESUME),
        ),
        Phase.DRAINING: Row(
            "the agent's port has closed; what was sent before that is read to its end",
            "QEMU's monitor showed the port closed, or opened anew.",
            "In less than a second it is lost, unless the answer was on its way.",
            "Wait.",
            (Hand.PORT,),
        ),
        Phase.VERIFYING: Row(
            "the freeze was answered, and its evidence is gathered",
            _OURS,
            "It is frozen. What it is worth is known in a moment.",
            "Wait.",
            (),
        ),
        Phase.HELD: Row(
            "the window is open",
            "The freeze's own reply, its count, and the status asked after it.",
            "Now is the time for the copy. It is consistent if this ends certified.",
            "Make the copy; then thaw it, or hold it for longer.",
            (Hand.STATUS, Hand.THAW),
        ),
        Phase.AT_RISK: Row(
            "the agent's port closed while the window was held",
            "QEMU's monitor shows it. What the agent froze may still be frozen.",
            "The window is not proven any more: the next agent's status, and the thaw's count, "
            "settle it.",
            "Don't count on a copy that is being made; wait for the verdict.",
            (Hand.PORT, Hand.STATUS),
        ),
        Phase.THAWING: Row(
            "the thaw is sent, again and again until it is acknowledged",
            _OURS,
            "The window is over.",
            "Wait; what could not be thawed is told loudly, with what helps.",
            (Hand.STATUS, Hand.THAW),
        ),
        Phase.DONE: Row(
            "it has ended",
            _OURS,
            "Its outcome says what it means.",
            "",
            (),
        ),
    }
)


def explanations() -> Iterator[Explanation]:
    """Yield the explanations of all states and steps."""
    tables: tuple[tuple[Topic, Mapping[str, Row]], ...] = (
        (Topic.VM, {str(key): row for key, row in VMS.items()}),
        (Topic.AGENT, {str(key): row for key, row in AGENTS.items()}),
        (Topic.FILE_SYSTEMS, {str(key): row for key, row in FILE_SYSTEMS.items()}),
        (Topic.STEP, {str(key): row for key, row in STEPS.items()}),
    )
    for topic, table in tables:
        for word, row in table.items():
            yield Explanation(topic, word, *row)
