"""A process of *nobody* that calls itself a QEMU; run as a copy of Python with QEMU's name.

    qemu-system-x86_64 impostor.py OWN_MONITOR OWN_AGENT SERIALS … -name web9 -chardev …

Everything from the first dash on is what frostwatch reads. Its own sockets, if it has any, are
served as QEMU and an agent would serve them; its monitor names the serial ports that it is told.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from typing import Any

NOBODY = 65534
COMMANDS = ["guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list", "guest-fsfreeze-thaw"]


def serve(path: str, exchange: Any) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    threading.Thread(target=accept, args=(listener, exchange), daemon=True).start()


def accept(listener: socket.socket, exchange: Any) -> None:
    while True:
        client, _ = listener.accept()
        with contextlib.suppress(OSError, ValueError), client, client.makefile("rwb", 0) as stream:
            exchange(stream)


class Qmp:
    """A monitor whose serial ports lead where it likes."""

    def __init__(self, agent: str, serials: list[str]) -> None:
        self.agent, self.serials = agent, serials

    def __call__(self, stream: Any) -> None:
        say(stream, {"QMP": {"version": {}, "capabilities": []}})
        for line in stream:
            asked = json.loads(line)
            value = self.answer(asked["execute"], asked.get("arguments", {}))
            say(stream, {"return": value, "id": asked.get("id")})

    def answer(self, command: str, arguments: dict[str, str]) -> object:
        match command:
            case "query-status":
                return {"status": "running"}
            case "query-chardev":
                agent = {"label": "qga0", "filename": f"unix:{self.agent},server=on"}
                ports = [
                    {"label": f"s{number}", "filename": name, "frontend-open": True}
                    for number, name in enumerate(self.serials)
                ]
                return [{**agent, "frontend-open": True}, *ports]
            case "qom-list":
                return [
                    {"name": f"d{number}", "type": "child<isa-serial>"}
                    for number in range(len(self.serials))
                ]
            case "qom-get":
                return f"s{arguments['path'].rpartition('/d')[2]}"
        return {}


def agent(stream: Any) -> None:
    frozen = False
    for line in stream:
        asked = json.loads(line.replace(b"\xff", b""))
        command = asked["execute"]
        frozen = frozen != (command in ("guest-fsfreeze-freeze", "guest-fsfreeze-thaw"))
        value: object = 1
        if command.startswith("guest-sync"):
            value = asked["arguments"]["id"]
        elif command == "guest-fsfreeze-status":
            value = "frozen" if frozen else "thawed"
        elif command == "guest-info":
            known = [{"name": name, "enabled": True} for name in COMMANDS]
            value = {"version": "7.2.0", "supported_commands": known}
        elif command == "guest-get-fsinfo":
            value = [{"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": []}]
        if command == "guest-sync-delimited":
            stream.write(b"\xff")
        say(stream, {"return": value} | ({"id": asked["id"]} if "id" in asked else {}))


def say(stream: Any, value: object) -> None:
    stream.write(json.dumps(value).encode() + b"\n")


def main() -> None:
    own_monitor, own_agent, *serials = sys.argv[1 : sys.argv.index("-name")]
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    if own_monitor != "none":
        serve(own_monitor, Qmp(own_agent, serials))
        serve(own_agent, agent)
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
