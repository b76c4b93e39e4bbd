"""Stands in for a VM manager's backup: asks the agent, then starts block jobs, and follows them.

python backup_standin.py AGENT QMP SPEED GAP DISK=TARGET…

As such a manager does, it skips its own freeze and thaw if the agent does not answer a ping within
3 s; it opens the monitor for each command anew. Each disk's job begins GAP seconds after the one
before it. The targets are there already.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import Any

PING_S = 3.0
LOOK_S = 0.1


def ping(path: str) -> bool:
    """Whether the agent answers."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(PING_S)
        try:
            agent.connect(path)
            agent.sendall(b'{"execute": "guest-ping"}\n')
            return bool(agent.recv(100))
        except OSError:
            return False


def qmp(path: str, command: str, **arguments: Any) -> Any:
    """Run a command in a connection of its own."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(60.0)
        monitor.connect(path)
        with monitor.makefile("rwb") as stream:
            stream.readline()
            for number, (name, given) in enumerate(
                [("qmp_capabilities", {}), (command, arguments)]
            ):
                request = {"execute": name, "arguments": given, "id": number}
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                while True:
                    answer = json.loads(stream.readline())
                    if answer.get("id") == number:
                        break
    if "error" in answer:
        raise SystemExit(f"{command}: {answer['error']['desc']}")
    return answer["return"]


def node_of(path: str, disk: str) -> str:
    """The node of a disk."""
    for device in qmp(path, "query-block"):
        if f"disk-{disk}/" in device["qdev"]:
            return str(device["inserted"]["node-name"])
    raise SystemExit(f"no disk {disk}")


def main(agent: str, path: str, speed: str, gap: str, *disks: str) -> int:
    """Make the backup."""
    answers = ping(agent)
    print("frozen by the backup itself" if answers else "the agent does not answer: no freeze")
    names = []
    for word in disks:
        disk, target = word.split("=")
        file = {"driver": "file", "filename": target}
        qmp(path, "blockdev-add", **{"driver": "qcow2", "node-name": f"to-{disk}", "file": file})
        job = {"job-id": f"standin-{disk}", "device": node_of(path, disk), "target": f"to-{disk}"}
        rest = {"sync": "full", "speed": int(speed), "auto-dismiss": False}
        qmp(path, "blockdev-backup", **job, **rest)
        names.append(job["job-id"])
        time.sleep(float(gap))
    worst = 0
    for name in names:
        while True:
            job = next(one for one in qmp(path, "query-jobs") if one["id"] == name)
            if job["status"] == "concluded":
                break
            time.sleep(LOOK_S)
        worst |= "error" in job
        qmp(path, "job-dismiss", id=name)
        qmp(path, "blockdev-del", **{"node-name": name.replace("standin", "to")})
    print("done")
    return worst


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
