"""What writes in the guest while its disks are copied, and tells on the host what is durable.

Every figure is from inside the guest: a window's write stall is a gap in the writer's own records.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from tests.guests.lab.errors import LabError
from tests.guests.lab.filesystems import FileSystems
from tests.guests.lab.patience import PATIENCE_S
from tests.guests.lab.shell import wait_until

# The files at the root of a mount's file system.
COUNTER = "counter"
DATABASE = "rows.db"


@dataclass(frozen=True)
class Stall:
    """A gap between two records, longer than usual.

    Attributes:
        after: the counter of the last record that was durable before it.
        mount: where that record is.
        at_s: when it was durable, on the guest's CLOCK_MONOTONIC.
        ms: how long it was until the next record was.
    """

    after: int
    mount: str
    at_s: float
    ms: float


@dataclass(frozen=True)
class Stalls:
    """The gaps between the records of a load.

    Attributes:
        count: how many gaps there are.
        usual_ms: their median.
        worst_ms: the longest.
        each: those over the limit that was asked for, in order.
    """

    count: int
    usual_ms: float
    worst_ms: float
    each: tuple[Stall, ...]


@dataclass(frozen=True)
class AppendLoad:
    """A writer of records at work, on one mount or on several in turn.

    Attributes:
        guest: where.
        mounts: in the order in which each counter is written.
        key: names what it tells.
    """

    guest: Loads
    mounts: tuple[str, ...]
    key: str

    def durable(self) -> dict[str, int]:
        """For each mount, the counter of the last record whose fsync has returned.

        It can be asked while the guest is frozen, and lengthens the window by its own time. A copy
        of that instant has this record, and perhaps the next one, whose fsync had not returned.
        """
        lines = self.guest.shell(f"tail -n {2 * len(self.mounts)} {self._told}").splitlines()
        last = dict.fromkeys(self.mounts, 0)
        for line in lines:
            counter, number, _ = line.split()
            last[self.mounts[int(number)]] = int(counter)
        return last

    def counter(self) -> int:
        """The counter of the last record that is durable on every mount; to begin `stalls` at."""
        return min(self.durable().values())

    def wait_for(self, records: int, timeout: float = PATIENCE_S) -> None:
        """Wait until so many more records are durable; seconds.

        Raises:
            LabError: they are not in time.
        """
        goal = self.counter() + records
        wait_until(lambda: self.counter() >= goal, timeout, f"record {goal}", step=0.1)

    def stalls(self, over_ms: float = 50.0, since: int = 0) -> Stalls:
        """The gaps between one durable record and the next; the last one until now.

        Args:
            over_ms: the gaps that are listed one by one are longer.
            since: only gaps that end behind this counter.
        """
        command = f"perl /lab/gaps.pl {self.key} {over_ms:g} {since}"
        first, *rest = self.guest.shell(command, timeout=60.0).splitlines()
        count, usual, worst = map(int, first.split())
        return Stalls(count, usual / 1e6, worst / 1e6, tuple(self._stall(line) for line in rest))

    def _stall(self, line: str) -> Stall:
        after, number, at, gap = map(int, line.split())
        return Stall(after, self.mounts[number], at / 1e9, gap / 1e6)

    @property
    def _told(self) -> str:
        return f"/run/lab/append.{self.key}"


@dataclass(frozen=True)
class DatabaseLoad:
    """A database at work.

    Attributes:
        guest: where.
        mount: where its files are.
    """

    guest: Loads
    mount: str

    def committed(self) -> int:
        """The number of the last row whose transaction is known to be committed."""
        found = ""
        while not found:  # it is written anew each time
            found = self.guest.shell("cat /run/lab/rows.committed 2>/dev/null || echo 0").strip()
        return int(found)


class Loads(FileSystems):
    """What can write in a guest with tools."""

    @contextmanager
    def append_load(
        self, *mounts: str, pause_ms: float = 20.0, churn: bool = True
    ) -> Iterator[AppendLoad]:
        """Append records to the file `counter` of each mount in turn while the context lasts.

        Each record (a counter and the time) is written and made durable by fsync before the next
        one is begun. A freeze blocks the writer. The file is left as it is in the end.

        Args:
            *mounts: where; with several, the same counter goes to each before the next one.
            pause_ms: after each counter. With 0 the guest takes a whole core, which is for figures:
                a gap is measured as finely as the guest can write.
            churn: beside it, create, rename and delete other files on each mount.

        Raises:
            LabError: the guest has no tools, or the writer does not start (`ShellError`).
        """
        key = secrets.token_hex(4)
        files = " ".join(f"/mnt/{mount}/{COUNTER}" for mount in mounts)
        commands = [f"perl /lab/append.pl {key} {pause_ms:g} {files}"]
        if churn:
            every_ms = 50 if pause_ms else 5
            commands += [f"perl /lab/churn.pl /mnt/{m}/churn {every_ms}" for m in mounts]
        load = AppendLoad(self, mounts, key)
        with self._running(f"append-{key}", commands):
            told = f"/run/lab/append.{key}"
            self._wait_for(f"[ $(wc -l <{told}) -ge {4 * len(mounts)} ]", f"append-{key}")
            yield load

    @contextmanager
    def database(
        self, mount: str, mode: Literal["wal", "delete"] = "wal"
    ) -> Iterator[DatabaseLoad]:
        """Commit rows to the sqlite3 database `rows.db` of a mount while the context lasts.

        Each transaction adds a row and counts it in another table. The database is begun anew, and
        left as it is in the end.

        Args:
            mount: where.
            mode: the kind of its journal: a write-ahead log, or a rollback journal.

        Raises:
            LabError: the guest has no tools, or the database does not start (`ShellError`).
        """
        file = f"/mnt/{mount}/{DATABASE}"
        self.shell(f"rm -f {file}* /run/lab/rows.committed")
        command = f"perl /lab/rows.pl {mode} 20 | sqlite3 -batch {file} >/dev/null"
        with self._running("database", [command]):
            self._wait_for("[ -s /run/lab/rows.committed ]", "database")
            yield DatabaseLoad(self, mount)

    def fill(self, mount: str, size: int) -> None:
        """Write so many bytes that can't be compressed to a file, and sync: a copy takes longer.

        Args:
            mount: where.
            size: bytes; a 64 MB disk has room for some 50.
        """
        name = f"/mnt/{mount}/filled-{secrets.token_hex(4)}"
        command = f"dd if=/dev/urandom of={name} bs=1M count={size >> 20} conv=fsync 2>/dev/null"
        self.shell(command, timeout=60.0)

    @contextmanager
    def _running(self, name: str, commands: list[str]) -> Iterator[None]:
        """Have commands run in the guest while the context lasts."""
        if not self.options.with_tools:
            raise LabError(f"{self.name} has no tools: boot(tools=True)")
        pids, errors = f"/run/lab/{name}.pids", f"/run/lab/{name}.errors"
        start = "".join(
            f"setsid sh -c '{command}' >/dev/null 2>>{errors} & echo $! >>{pids}\n"
            for command in commands
        )
        self.shell(start)
        try:
            yield
        finally:
            if self.alive:
                # One that is blocked by a freeze dies with its thaw.
                self.shell(f"while read -r p; do kill -KILL -$p; done <{pids}; rm {pids}; true")

    def _wait_for(self, condition: str, name: str) -> None:
        """Wait for a condition (for `sh`); what was started says why it does not come."""
        errors = f"/run/lab/{name}.errors"
        look = f"{{ {condition}; }} 2>/dev/null && exit; [ ! -s {errors} ] || break; sleep 0.05"
        looks = f"for n in $(seq {int(PATIENCE_S / 0.05)}); do {look}; done"
        self.shell(f"{looks}; cat {errors}; exit 1", timeout=PATIENCE_S + 30.0)
