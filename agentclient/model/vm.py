"""What a VM is: its identity, its channels, and what its source says of it.

The model's values are immutable and have no behaviour beyond naming themselves, so that a snapshot
can cross threads, be compared, be shown and be written as JSON without anybody holding a lock. They
are named tuples: those are compared, hashed and copied natively, which a visit does all the time,
and to define them takes a quarter of what data classes take, which each start does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from agentclient.model.policy import VmPolicy
from agentclient.model.states import Transport

EXPLICIT_SOURCE: Final = "socket"
DRILL_SOURCE: Final = "drill"
LIBVIRT_SOURCE: Final = "libvirt"


class VmId(NamedTuple):
    """What a VM is called, unique within this console.

    Attributes:
        source: the source's name: ``qemu``, ``socket`` and so on.
        name: the VM's name there.
        host: the host that it runs on; empty for this one.
    """

    source: str
    name: str
    host: str = ""

    def __str__(self) -> str:
        where = f"{self.host}/" if self.host else ""
        return f"{self.source}:{where}{self.name}"


class Identity(NamedTuple):
    """One start of a VM, told from its next one; compared and kept, and read by nobody else.

    Attributes:
        host: the host that it runs on; empty for this one.
        instance: the VM on that host: its source's name, and its name there.
        generation: the start of the VM, in a word of its source's; empty if that is not known.
    """

    host: str
    instance: str
    generation: str

    @property
    def source(self) -> str:
        """The name of its source: ``qemu``, ``socket`` and so on."""
        return self.instance.partition(":")[0]

    @classmethod
    def of(cls, vm: VmId, generation: str) -> Identity:
        """Return the identity of one start of a VM."""
        return cls(vm.host, str(vm._replace(host="")), generation)


class Process(NamedTuple):
    """The QEMU process behind a VM.

    Attributes:
        pid: its number, which another process may have later.
        start_ticks: when it was started, in clock ticks since the host's boot (proc(5)).
    """

    pid: int
    start_ticks: int


class Peer(NamedTuple):
    """Who must listen on a VM's sockets: nothing is written to anybody else (P10).

    Attributes:
        process: its QEMU; None if only the user is known.
        uid: the user who runs it; None if that can't be told: then it is the process or nobody.
    """

    process: Process | None
    uid: int | None


class AgentChannel(NamedTuple):
    """Where the agent's channel is on this host.

    Attributes:
        path: the chardev's UNIX socket.
        label: the chardev's id in QEMU (``qga0``), or None if it is to be found by its path.
        transport: virtio-serial has a port state, isa-serial has none.
    """

    path: Path
    label: str | None = None
    transport: Transport = Transport.UNKNOWN


class MonitorChannel(NamedTuple):
    """Where the VM's QMP monitor is on this host.

    Attributes:
        path: the monitor's UNIX socket.
        ours: whether the configuration says that it serves nobody else; only then is it held.
    """

    path: Path
    ours: bool = False


class FarHost(NamedTuple):
    """Another host that a VM runs on, where no holder stands by: a link alone leads there.

    Attributes:
        name: the host's.
        address: of the daemon there, which a command has to be given.
        thaw: the command by which a person thaws the VM there, while the link is cut.
    """

    name: str
    address: str
    thaw: str


class Vm(NamedTuple):
    """A VM as its source describes it.

    Attributes:
        id: the identity that actions are bound to.
        agent: None where no agent channel is configured.
        monitor: None where nothing but the agent can be asked.
        process: the QEMU process, where the source knows it.
        locked_by: who holds the VM in its manager (Proxmox's ``lock:``), or None.
        freeze_disabled: why the VM's configuration forbids a freeze, or None.
        out_of_reach: why its agent's channel, which exists, is not for us to open (libvirt owns
            it, QEMU got it as a descriptor, …); `agent` is None then, and what is known about the
            agent is `AgentState.UNKNOWN`, not *none*. None if there is nothing of the kind.
        peer: who must listen on its sockets; None if nothing is known of that.
        monitor_peer: who must listen on its monitor, where that is somebody else; None if not.
        no_monitor: why the monitor that was named is not used; None if it is, or there is none.
        sockets: what tells its sockets from later ones in their place, where no process does.
        user: the user who runs it, None if that can't be told.
        title: its name, which others may have as well; None if that is the id's.
        selectors: what it can be called as well, now and after its next start: VMID, UUID, …
        namesakes: others of its name, which don't run.
        policy: what the operator has set for it; None where there are no settings.
        generation: what tells this start of it from the next one, in a word of its source's; None
            where its process or its sockets tell that, or nothing does.
        uuid: the machine's UUID, which it keeps where it migrates to; None if that isn't known.
        incoming: it was started to take a VM that migrates.
        by_call: its agent is asked by calls of its source; no socket of this host leads there.
        domain: the UUID of the domain that libvirt runs by this process; None if it runs none.
        far: the host that it runs on, where nobody would thaw it if the link there were cut; None
            if a holder stands by on its host.
    """

    id: VmId
    agent: AgentChannel | None = None
    monitor: MonitorChannel | None = None
    process: Process | None = None
    locked_by: str | None = None
    freeze_disabled: str | None = None
    out_of_reach: str | None = None
    peer: Peer | None = None
    monitor_peer: Peer | None = None
    no_monitor: str | None = None
    sockets: tuple[str | None, ...] = ()
    user: str | None = None
    title: str | None = None
    selectors: tuple[str, ...] = ()
    namesakes: tuple[str, ...] = ()
    policy: VmPolicy | None = None
    generation: str | None = None
    uuid: str | None = None
    incoming: bool = False
    by_call: bool = False
    domain: str | None = None
    far: FarHost | None = None

    @property
    def name(self) -> str:
        """The name that a person uses; of a VM on another host, with that host in front."""
        return f"{self.id.host}/{self.id.name}" if self.id.host else self.id.name

    @property
    def source(self) -> str:
        """The source's name: ``qemu``, ``socket`` and so on."""
        return self.id.source

    @property
    def has_agent(self) -> bool:
        """Whether there is an agent that can be asked, as far as its configuration tells."""
        return self.agent is not None or self.by_call

    @property
    def identity(self) -> Identity | None:
        """Which start of the VM it is, where its source has a word for that; else None."""
        return None if self.generation is None else Identity.of(self.id, self.generation)

    @property
    def is_libvirts(self) -> bool:
        """Whether libvirt runs it, which has to know of all that is done with its disks."""
        return self.source == LIBVIRT_SOURCE
