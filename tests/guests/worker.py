"""A client that is not ours, as Proxmox's workers are: each command has a connection of its own.

It calls itself by its task, and writes a sync and the command in one piece. A freeze that is not
answered in time is asked after with statuses, each on a new connection, as Proxmox's helper does
(protocol §4). What is said stands on its stdout, one word a line.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self

UPID: Final = "UPID:lab:0000A2B3:00C0FFEE:65000000:vzdump:101:root@pam:"
TITLE: Final = f"task {UPID}"
_CODE: Final = r"""
import json, socket, sys, time

open("/proc/self/comm", "w").write("task UPID:lab:0")
path, first_s, probe_s = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])

def ask(command, seconds):
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        sync = {"execute": "guest-sync-delimited", "arguments": {"id": time.monotonic_ns()}}
        two = json.dumps(sync) + "\n" + json.dumps({"execute": command, "arguments": {}}) + "\n"
        channel.sendall(two.encode())
        came, until = b"", time.monotonic() + seconds
        while True:
            head, mark, tail = came.rpartition(b"\xff")
            lines = tail.split(b"\n")
            if mark and len(lines) > 2 and str(sync["arguments"]["id"]) in lines[0].decode():
                reply = json.loads(lines[1])
                return reply.get("return", reply.get("error"))
            channel.settimeout(max(0.01, until - time.monotonic()))
            try:
                data = channel.recv(65536)
            except TimeoutError:
                return None
            if not data:
                return None
            came += data

def freeze():
    answer = ask("guest-fsfreeze-freeze", first_s)
    for _ in range(5):
        if answer is not None:
            break
        print("probe", flush=True)
        answer = ask("guest-fsfreeze-status", probe_s)
    return answer

for line in sys.stdin:
    word = line.strip()
    if word == "freeze":
        print("sent", flush=True)
        print("answer", freeze(), flush=True)
    elif word == "thaw":
        print("answer", ask("guest-fsfreeze-thaw", 60), flush=True)
    else:
        rounds, failed, took = int(word), 0, []
        for _ in range(rounds):
            began = time.monotonic()
            froze, thawed = ask("guest-fsfreeze-freeze", 60), ask("guest-fsfreeze-thaw", 60)
            took.append(time.monotonic() - began)
            failed += froze != thawed or not isinstance(froze, int)
        print("rounds", failed, *took, flush=True)
"""


class Worker:
    """One such process.

    Args:
        path: the agent's socket.
        first_s: how long it waits for its freeze, in seconds.
        probe_s: how long for each status after that.
    """

    def __init__(self, path: Path, *, first_s: float = 600.0, probe_s: float = 600.0) -> None:
        self._process = subprocess.Popen(
            [TITLE, "-S", "-E", "-c", _CODE, str(path), str(first_s), str(probe_s)],
            executable=sys.executable,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def freeze(self) -> float:
        """Have it freeze the guest; return when that was sent (monotonic clock)."""
        self._say("freeze")
        assert self.says() == ["sent"]
        return time.monotonic()

    def thaw(self) -> list[str]:
        """Have it thaw the guest, and return what it says then."""
        self._say("thaw")
        return self.says()

    def rounds(self, count: int) -> tuple[int, list[float]]:
        """Have it freeze and thaw so often; return how many failed, and the seconds of each."""
        self._say(str(count))
        word, failed, *took = self.says()
        assert word == "rounds"
        return int(failed), [float(one) for one in took]

    def says(self) -> list[str]:
        """Return the words of its next line; waits for them."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()

    def kill(self) -> float:
        """Kill it; return when (monotonic clock)."""
        self._process.kill()
        self._process.wait()
        return time.monotonic()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
