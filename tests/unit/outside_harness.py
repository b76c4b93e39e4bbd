"""A holder in a thread of the test's process, with one guest, for whom others may ask."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from typing import Any

from agentclient.holder.main import Holder
from agentclient.holder.messages import ConsoleMessage, HolderMessage, receive, send
from agentclient.holder.other_holder import OtherHolder
from agentclient.journal.identity import this_process
from agentclient.model.vm import Vm, VmId
from tests.waiting import until

VM = Vm(VmId("socket", "db1"))
KEY = {"key": "a#1"}
FREEZE_LINE = b'{"execute":"guest-fsfreeze-freeze"}\n'
HOLD_S = 30.0
PATIENCE_S = 60.0


class Harness:
    """A holder with one guest whose window is open, its console's ends, and the guest's end."""

    def __init__(self, stack: ExitStack) -> None:
        pair = socket.socketpair
        self.process = stack.enter_context(subprocess.Popen(["sleep", "100"]))
        self.control, theirs = pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guest, guests = pair()
        self.exchange, talks = pair()
        for each in (self.control, self.guest, self.exchange, theirs, guests, talks):
            stack.enter_context(each)
        self.control.settimeout(PATIENCE_S)
        self.guest.settimeout(PATIENCE_S)
        self.holder = Holder(theirs, self.process.pid)
        self._listen()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        said = {"vm": str(VM.id), "thaw_s": 5.0, "agent": "", "window": "w1"}
        self.acks = 0
        send(
            self.control,
            {"do": ConsoleMessage.ARM, **KEY, **said},
            [guests.fileno(), talks.fileno()],
        )
        self.acknowledged()
        self.say(ConsoleMessage.INTENT, bound_s=60.0, hold_s=HOLD_S)
        self.exchange.sendall(FREEZE_LINE)
        assert self.guest.recv(4096) == FREEZE_LINE

    def _listen(self) -> None:
        """Listen; the last holder of this process keeps the name until its thread has ended."""

        def listens() -> bool:
            self.holder._requests.open()
            return self.holder._requests._listener.listens

        until(listens, "the name")

    def _run(self) -> None:
        while not self._ends.is_set():
            self.holder._turn()

    def stop(self) -> None:
        """The holder does nothing any more, and is still there."""
        self._ends.set()
        self._thread.join()

    def close(self) -> None:
        self.stop()
        self.holder._requests.close()
        self.process.kill()

    def say(self, do: ConsoleMessage, **more: float) -> dict[str, Any]:
        send(self.control, {"do": do, **KEY, **more})
        return self.acknowledged()

    def acknowledged(self) -> dict[str, Any]:
        while (body := self.heard())["say"] != HolderMessage.ACK:
            pass
        return body

    def heard(self) -> dict[str, Any]:
        message = receive(self.control)
        assert message is not None
        return message[0]

    def hold(self, seconds: float = HOLD_S, most_s: float = 100.0) -> None:
        self.say(ConsoleMessage.HOLD, seconds=seconds, most_s=most_s)

    def end_hold(self, in_s: float = 0.0) -> None:
        """Have the open window end soon, however long it was to be held."""
        (guest,) = self.holder._guests.values()
        guest._ends_at = guest._deadline = time.monotonic() + in_s

    def kept(self) -> None:
        """The console leaves the open window, and ends."""
        self.hold()
        assert self.say(ConsoleMessage.KEEP)["done"]
        self.process.kill()
        self.process.wait()
        self.control.close()

    def other(self, window: str | None = "w1") -> OtherHolder:
        return OtherHolder(this_process(), VM, window)

    def thaws(self) -> None:
        """The guest answers all that the holder asks for its thaw."""
        came, state = b"", "frozen"
        while True:
            came += self.guest.recv(4096)
            *lines, came = came.split(b"\n")
            for line in lines:
                body = json.loads(line.rpartition(b"\xff")[2])
                marked = body.get("arguments", {}).get("id")
                answer = {
                    "guest-sync-delimited": marked,
                    "guest-sync": marked,  # asked for where the first one is answered late
                    "guest-fsfreeze-status": state,
                    "guest-fsfreeze-thaw": 2,
                }[body["execute"]]
                reply = {"return": answer}
                reply |= {"id": body["id"]} if "id" in body else {}
                mark = b"\xff" if body["execute"] == "guest-sync-delimited" else b""
                self.guest.sendall(mark + json.dumps(reply).encode() + b"\n")
                if body["execute"].endswith("status") and state == "thawed":
                    return
                if body["execute"].endswith("thaw"):
                    state = "thawed"
