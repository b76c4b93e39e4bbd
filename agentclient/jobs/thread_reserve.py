"""Keeps threads of QEMU's for the guest's reads and writes while a copy's storage may hang.

QEMU reads and writes files in threads: one pool for its main loop, and one for each iothread. It
starts no thread for a request that finds an idle one, and a thread counts as idle until it has
woken. So of two requests that come at once the second may wait for the first: a write of the
guest's for one of a copy's, for as long as that one's storage hangs (protocol §6.1). It waits no
longer where the pool keeps more threads than the copy's requests can take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from agentclient.access.host.thread_limit import threads_left
from agentclient.access.qmp_session import Ask
from agentclient.jobs.block import BlockLayer, QmpRefused
from agentclient.jobs.errors import JobFailed
from agentclient.model.states import Level
from agentclient.model.vm import Process
from agentclient.protocol.qmp_block import Disk

# The threads that are left for the guest, and for QEMU's own files.
SPARE: Final = 8
# How many requests to its storage a backup has at the most.
MOST_WORKERS: Final = 16
# QEMU's own limit of a pool, if nobody has set one.
_DEFAULT_MOST: Final = 64
# QEMU deletes no object of this kind again.
MAIN_LOOP: Final = "frostwatch.main-loop"
_OBJECTS: Final = "/objects"
_KIND: Final = "main-loop"
_LEAST, _MOST = "thread-pool-min", "thread-pool-max"


def workers_of_each(disks: int) -> int:
    """Return how many requests a backup of so many disks may have at once, for each of them."""
    return max(1, MOST_WORKERS // disks)


class Limits(NamedTuple):
    """How many threads a pool keeps, and how many it may have.

    Attributes:
        least: that many are never ended.
        most: no more are started.
    """

    least: int
    most: int

    def above(self, busy: int) -> Limits:
        """Return limits that keep some threads idle while so many wait for a storage.

        What somebody has set is never lowered, and a maximum of somebody's is left as it is.
        """
        needed = busy + SPARE
        most = max(self.most, needed) if self.most == _DEFAULT_MOST else self.most
        return Limits(max(self.least, min(needed, most)), most)


UNSET: Final = Limits(0, _DEFAULT_MOST)


class _Pool(NamedTuple):
    """A pool of which threads are kept: the path of its event loop's object, and its limits."""

    path: str
    before: Limits
    now: Limits


class ThreadReserve:
    """The threads that QEMU keeps while one copy is made.

    Args:
        block: the VM's block layer.
        process: the VM's QEMU; None if it is not known.
        note: tells the job's log.
    """

    def __init__(
        self, block: BlockLayer, process: Process | None, note: Callable[[Level, str], object]
    ) -> None:
        self._block = block
        self._process = process
        self._note = note
        self._pools: list[_Pool] = []

    def take(self, disks: Sequence[Disk], each: int) -> None:
        """Have QEMU keep threads in all pools that a copy's requests may fill; tell if it can't.

        Args:
            disks: the disks that are copied.
            each: how many requests to the copy's storage may wait at once, for each disk.

        Raises:
            JobFailed: the monitor does not answer.
        """
        try:
            why_not = self._keep(disks, each)
        except QmpRefused as error:
            why_not = error.desc
        if why_not is not None:
            text = (
                "should the copy's storage hang, what the guest reads and writes may wait as long"
            )
            self._note(Level.WARNING, f"{text}: QEMU keeps no threads for it ({why_not})")

    def give_back(self) -> None:
        """Set all limits back, unless jobs of a copy go on: they may fill the pools yet.

        Limits that somebody has changed meanwhile are left as they are. If the monitor does not
        answer, QEMU keeps some idle threads.
        """
        with suppress(JobFailed):
            if not self._pools or _copying(self._block):
                return
            for pool in self._pools:
                if _limits(self._block, pool.path) == pool.now:
                    _set(self._block, pool.path, pool.now, pool.before)
            self._pools.clear()

    def _keep(self, disks: Sequence[Disk], each: int) -> str | None:
        """Keep threads; return why there may be too few, as a clause.

        Raises:
            QmpRefused: this QEMU can't keep any.
        """
        main = self._main_loop()
        # The files are made in the main loop, one request after the other for each.
        busy = {main: len(disks)}
        for disk in disks:
            for path in _iothreads(self._block, disk) or (main,):
                busy[path] = busy.get(path, 0) + each
        return self._raise_limits(busy)

    def _raise_limits(self, busy: dict[str, int]) -> str | None:
        pools = []
        for path, number in busy.items():
            found = _limits(self._block, path)
            # A main loop of ours may have been left by a frostwatch that was killed.
            before = UNSET if path == _path(MAIN_LOOP) else found
            pools.append((_Pool(path, before, found.above(number)), found, number))
        more = sum(pool.now.least - found.least for pool, found, _ in pools)
        left = threads_left(self._process)
        if left is not None and left < 2 * more:
            return (
                f"its control group lets it start {left} more, and {more} would be kept, more than "
                "half of them"
            )
        for pool, found, _ in pools:
            self._pools.append(pool)
            _set(self._block, pool.path, found, pool.now)
        for pool, _, number in pools:
            if pool.now.least < number + SPARE:
                return f"{_MOST} of {pool.path} is {pool.now.most}, and {number} may hang"
        return None

    def _main_loop(self) -> str:
        """Return the path of the main loop's object; it is made if there is none.

        Raises:
            QmpRefused: this QEMU knows none (before 7.1).
        """
        listed = self._block.run("qom-list", path=_OBJECTS)
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, dict) and item.get("type") == f"child<{_KIND}>":
                return _path(str(item.get("name")))
        self._block.run("object-add", qom_type=_KIND, id=MAIN_LOOP)
        return _path(MAIN_LOOP)


def give_back_left(block: BlockLayer) -> None:
    """Set the limits of the main loop back that a frostwatch which was killed has left.

    Raises:
        JobFailed: the monitor does not answer.
    """
    if _copying(block):
        return
    with suppress(QmpRefused):  # there is none
        found = _limits(block, _path(MAIN_LOOP))
        _set(block, _path(MAIN_LOOP), found, UNSET)


def _path(name: str) -> str:
    return f"{_OBJECTS}/{name}"


def _copying(block: BlockLayer) -> bool:
    """Return whether a job of any frostwatch's goes on."""
    return any(job.is_ours and not job.has_ended for job in block.jobs())


def _iothreads(block: BlockLayer, disk: Disk) -> list[str]:
    """Return the paths of the iothreads that serve a disk; none if the main loop does.

    The guest's disk names them, or the controller that it is connected to.
    """
    for path in _devices(block, disk.qdev):
        mapping = _get(block, path, "iothread-vq-mapping")
        names = [one.get("iothread") for one in mapping] if isinstance(mapping, list) else []
        if names:
            return [_path(str(name)) for name in names]
        link = _get(block, path, "iothread")
        if link:
            return [str(link)]
    return []


def _devices(block: BlockLayer, qdev: str) -> list[str]:
    if not qdev:
        return []
    bus = _get(block, qdev, "parent_bus")
    return [qdev, bus.rpartition("/")[0]] if isinstance(bus, str) and bus else [qdev]


def _get(block: BlockLayer, path: str, name: str) -> object:
    """Return a property of an object; None if it has none of that name."""
    try:
        return block.run("qom-get", path=path, property=name)
    except QmpRefused:
        return None


def _limits(block: BlockLayer, path: str) -> Limits:
    asks = [Ask("qom-get", {"path": path, "property": name}) for name in (_LEAST, _MOST)]
    least, most = block.run_all(asks)
    if not (isinstance(least, int) and isinstance(most, int)):
        raise QmpRefused("qom-get", "GenericError", f"{path} has no limits")
    return Limits(least, most)


def _set(block: BlockLayer, path: str, old: Limits, new: Limits) -> None:
    """Change a pool's limits; QEMU demands at each step that the least is not above the most."""
    order = (_MOST, _LEAST) if new.most >= old.most else (_LEAST, _MOST)
    values = {_LEAST: new.least, _MOST: new.most}
    block.run_all(
        [Ask("qom-set", {"path": path, "property": name, "value": values[name]}) for name in order]
    )
