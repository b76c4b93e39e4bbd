"""A real Chromium without a window, driven by its DevTools protocol: what it shows, and its keys.

The page draws on a canvas, so that what stands there is told by the bytes that the page was sent,
read by a terminal (pyte); a picture of the page tells that something was drawn at all.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import pyte

from tests.needed import program

PATIENT_S = 60.0
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """One page of a browser.

    Args:
        folder: where it keeps its profile.
        size: the page's width and height, in pixels.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (1200, 700)) -> None:
        self._folder = folder
        self._size = size
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.screen = pyte.Screen(80, 24)
        self._bytes = pyte.ByteStream(self.screen)
        self.requested: list[str] = []
        self.console: list[str] = []

    async def __aenter__(self) -> Self:
        found = program(*_PROGRAMS, package="chromium")
        width, height = self._size
        self._child = subprocess.Popen(
            [
                found, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
                f"--user-data-dir={self._folder}", f"--window-size={width},{height}", "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        file = self._folder / "DevToolsActivePort"
        await until(lambda: file.exists() and len(file.read_text().split()) == 2, "it listens")
        port = file.read_text().split()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [one for one in await answer.json() if one["type"] == "page"]
        self._socket = await self._session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=0
        )
        self._reader = asyncio.create_task(self._read())
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.ask(f"{domain}.enable")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.cancel()
        await self._session.close()
        self._child.terminate()
        try:
            self._child.wait(60)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    async def ask(self, method: str, **params: Any) -> Any:
        """Send a command, and return its answer."""
        self._number += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[self._number] = future
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        return await asyncio.wait_for(future, PATIENT_S)

    async def open(self, url: str) -> None:
        """Go to a page."""
        await self.ask("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """Return what some JavaScript says."""
        answer = await self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return answer["result"].get("value")

    async def press(self, *keys: str) -> None:
        """Press keys, each a letter or a name such as ``Enter``."""
        for key in keys:
            code = {"Enter": 13, "Escape": 27}.get(key, 0)
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            down = {"key": key, "windowsVirtualKeyCode": code or ord(key[0].upper())}
            await self.ask("Input.dispatchKeyEvent", type="keyDown", **down, text=text)
            await self.ask("Input.dispatchKeyEvent", type="keyUp", **down)
            await asyncio.sleep(0.05)

    async def shows(self, *words: str) -> None:
        """Wait until the terminal of the page shows words."""

        def all_there() -> bool:
            text = "\n".join(self.screen.display)
            return all(word in text for word in words)

        try:
            await until(all_there, f"it shows {words}")
        except AssertionError:
            raise AssertionError("\n".join((f"{words}", *self.screen.display))) from None

    async def colours(self) -> int:
        """How many colours a picture of the page has."""
        answer = await self.ask("Page.captureScreenshot", format="png")
        return len(set(pixels(base64.b64decode(answer["data"]))))

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                answer = self._answers.pop(told["id"])
                if "error" in told:
                    answer.set_exception(AssertionError(str(told["error"])))
                else:
                    answer.set_result(told["result"])
                continue
            params = told["params"]
            if told["method"] == "Network.webSocketFrameReceived":
                frame = params["response"]
                if frame["opcode"] == 2:
                    self._bytes.feed(base64.b64decode(frame["payloadData"]))
            elif told["method"] == "Network.webSocketFrameSent":
                self._sent(params["response"]["payloadData"])
            elif told["method"] == "Network.webSocketCreated":
                self._resize(params["url"])
            elif told["method"] == "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            elif told["method"] == "Log.entryAdded":
                self.console.append(params["entry"]["text"])

    def _resize(self, url: str) -> None:
        pairs = dict(one.split("=", 1) for one in url.partition("?")[2].split("&") if "=" in one)
        if "width" in pairs:
            self.screen.resize(int(pairs["height"]), int(pairs["width"]))

    def _sent(self, text: str) -> None:
        kind, *rest = json.loads(text)
        if kind == "resize":
            self.screen.resize(rest[0]["height"], rest[0]["width"])


async def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENT_S
    while not holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.05)


def pixels(png: bytes) -> list[bytes]:
    """The pixels of a picture of eight bits a channel that is not interlaced."""
    width, height, _, kind = struct.unpack(">IIBB", png[16:26])
    size = {2: 3, 6: 4}[kind]
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    raw, row, found = zlib.decompress(data), width * size, []
    before = bytearray(row)
    for line in range(height):
        begin = line * (row + 1)
        now = bytearray(raw[begin + 1 : begin + 1 + row])
        _unfilter(raw[begin], now, before, size)
        found += [bytes(now[one : one + size]) for one in range(0, row, size * 7)]
        before = now
    return found


def _unfilter(kind: int, now: bytearray, before: bytearray, size: int) -> None:
    for at in range(len(now)):
        left = now[at - size] if at >= size else 0
        up, corner = before[at], before[at - size] if at >= size else 0
        if kind == 1:
            now[at] = (now[at] + left) & 255
        elif kind == 2:
            now[at] = (now[at] + up) & 255
        elif kind == 3:
            now[at] = (now[at] + (left + up) // 2) & 255
        elif kind == 4:
            guess = left + up - corner
            nearest = min((left, up, corner), key=lambda one: abs(guess - one))
            now[at] = (now[at] + nearest) & 255
