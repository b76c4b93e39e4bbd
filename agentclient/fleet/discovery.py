"""Lists the VMs of one backend in a thread of its own, so that a hanging one delays no other.

A directory service, a dead NFS server or a remote API may never answer. Then the backend's VMs stay
as they were listed last, the hang is reported, and the backend is not asked again until it answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

from agentclient.backends.base import Backend, Note, PartialBackend
from agentclient.model.clock import now as wall_now
from agentclient.model.errors import NO_THREAD, FrostwatchError, why_no_thread
from agentclient.model.text import printable
from agentclient.model.vm import Vm


class Discovery:
    """The VMs that one backend has listed; thread-safe.

    Args:
        backend: the backend.
        came: is called in the listing's thread each time it has ended.

    Attributes:
        vms: the VMs of the last listing that succeeded.
        problem: why the last listing failed, in one sentence; None if it succeeded.
        known: the last listing that ended has succeeded.
    """

    def __init__(self, backend: Backend, came: Callable[[], None] = lambda: None) -> None:
        self.backend = backend
        self.vms: tuple[Vm, ...] = ()
        self.problem: str | None = None
        self.known = False
        self._came = came
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._answered.set()
        self._began = 0.0
        self._began_at = datetime.min

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each reason why not all of its VMs are listed as they are now."""
        failed = () if self.problem is None else (self.problem,)
        backend = self.backend
        more = backend.problems() if isinstance(backend, PartialBackend) else ()
        return (*failed, *map(printable, more))

    @property
    def in_flight(self) -> bool:
        """Whether a listing has begun and not ended."""
        return not self._answered.is_set()

    @property
    def overdue_at(self) -> float:
        """From when it counts as hanging, by the monotonic clock; infinite if none is in flight."""
        return self._began + self.backend.patience_s if self.in_flight else float("inf")

    @property
    def hang(self) -> Note | None:
        """A note for the user that the backend hangs; None if it does not."""
        if time.monotonic() < self.overdue_at:
            return None
        name = printable(self.backend.name, 60)
        text = (
            f"it has not answered since {self._began_at:%H:%M:%S}: its VMs are shown as they were"
            " listed last, and others may be missing"
        )
        advice = "See what it waits for: a name service, a network file system, a remote host."
        return Note(f"source {name}", text, advice, may_hide_vms=True)

    def begin(self) -> None:
        """Begin to list the VMs, in a thread; does nothing while a listing is in flight."""
        with self._lock:
            if self.in_flight:
                return
            self._began, self._began_at = time.monotonic(), wall_now()
            self._answered.clear()
        thread = threading.Thread(
            target=self._list, name=f"list of {self.backend.name}", daemon=True
        )
        try:
            thread.start()
        except NO_THREAD as error:
            why = why_no_thread(error)
            self._failed(f"the source {self.backend.name} can't be asked: {why}")
            self._answered.set()

    def wait(self) -> None:
        """Wait until the listing has ended, or counts as hanging."""
        self._answered.wait(max(0.0, self._began + self.backend.patience_s - time.monotonic()))

    def _list(self) -> None:
        try:
            vms = self.backend.list_vms()
        except FrostwatchError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - P8: any error costs this backend's VMs alone
            self._failed(f"a source failed: {error!r}")
        else:
            self.vms, self.problem, self.known = tuple(vms), None, True
        self._answered.set()
        self._came()

    def _failed(self, why: str) -> None:
        self.problem, self.known = printable(why), False
