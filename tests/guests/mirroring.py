"""Mirrors of real guests as an operator asks for them, who may do harm at any stage of one.

As a program it makes one in a process of its own, which tests kill: VM FOLDER SECONDS. It prints
each stage; SECONDS is how long it stays in its window.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from agentclient import Engine
from agentclient.jobs.mirror import MirrorJob, MirrorRequest
from agentclient.jobs.verify import Verified, verify_folder
from agentclient.model.events import Event, JobEnded, StageBegan
from agentclient.model.job import FreezePolicy, JobOutcome, JobStage
from tests.guests.copy_window import LONG_WINDOW
from tests.guests.lab import Guest

PATIENCE_S = 100.0
At = Mapping[JobStage, Callable[[], object]]


class Mirrors:
    """Somebody who mirrors one guest.

    Args:
        guest: the guest.
        folder: where the files go.
    """

    def __init__(self, guest: Guest, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.guest = guest
        self.folder = folder
        self.engine = Engine([guest.vm_argument], named_only=True)
        self.vm = self.engine.find_one(guest.name)
        self.nodes = _nodes(guest)
        self.told: list[str] = []
        self.stages: list[JobStage] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def start(
        self,
        *disks: str,
        policy: FreezePolicy = FreezePolicy.REQUIRE,
        limit: int = 0,
        at_stage: At | None = None,
        **more: Any,
    ) -> MirrorJob:
        """Begin one; at each stage that is named something is done in the job's thread."""
        due = dict(at_stage or {})
        self.stages = []

        def listen(event: Event) -> None:
            self.told.append(event.text)
            if isinstance(event.details, StageBegan):
                self.stages.append(event.details.stage)
                due.pop(event.details.stage, lambda: None)()

        more = {"freeze": LONG_WINDOW} | more
        request = MirrorRequest(folder=self.folder, disks=disks, policy=policy, **more)
        return self.engine.jobs.mirror(self.vm, request, listen, limit=limit)

    def make(self, *disks: str, **more: Any) -> JobOutcome:
        """Make one, and return its outcome."""
        outcome = self.start(*disks, **more).wait(PATIENCE_S)
        assert outcome is not None, "\n".join(self.told)
        return outcome

    def wait_stage(self, stage: JobStage, timeout: float = PATIENCE_S) -> None:
        """Wait until it has come to a stage; seconds."""
        deadline = time.monotonic() + timeout
        while stage not in self.stages:
            assert time.monotonic() < deadline, "\n".join(self.told)
            time.sleep(0.02)

    def remove(self) -> None:
        """Remove the files, so that the next one may have their names."""
        for one in self.folder.iterdir():
            shutil.rmtree(one)

    @property
    def copy(self) -> Path:
        """The folder of the newest one."""
        return max(self.folder.glob("*/*"))

    def verify(self) -> Verified:
        """Verify the newest one."""
        (found,) = verify_folder(self.copy)
        return found

    def nothing_is_left(self, *, files: bool = False) -> None:
        """QEMU has neither a job nor a node that it had not, and the folder has no file."""
        assert self.guest.qmp("query-jobs") == []
        assert _nodes(self.guest) == self.nodes
        if not files:
            assert list(self.folder.iterdir()) == []


def _nodes(guest: Guest) -> int:
    return len(guest.qmp("query-named-block-nodes"))


class SlowMirror(MirrorJob):
    """A mirror that stays in its window for some time."""

    seconds = 0.0

    def start(self) -> None:
        """Stay, and complete it."""
        print("in the window", flush=True)
        time.sleep(self.seconds)
        super().start()


def main(vm: str, folder: str, seconds: float) -> None:
    """Make one."""
    SlowMirror.seconds = seconds
    request = MirrorRequest(folder=Path(folder), wait=not seconds, freeze=LONG_WINDOW)

    def tell(event: Event) -> None:
        if isinstance(event.details, StageBegan):
            print(event.details.stage.value, flush=True)
        if isinstance(event.details, JobEnded):
            print(event.details.job.reason, flush=True)

    with Engine([vm], named_only=True) as engine:
        found = engine.find_one(vm.split(",", maxsplit=1)[0].removeprefix("name="))
        engine.jobs.begin(found, lambda context: SlowMirror(context, request), tell).wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
