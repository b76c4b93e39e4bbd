"""The console in a browser: who is let in, and what a real Chromium shows of it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentclient import late
from agentclient.config.settings import Settings
from agentclient.fleet.store import Fleet
from agentclient.journal.handover import HandoverBook
from tui.cli.commands import web as web_module
from tui.cli.options import Options
from tui.cli.web_console import console_command
from tui.main import run

pytest.importorskip("textual_serve", reason="make .venv/.dev installs it")

import aiohttp
import pyte
from aiohttp import WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer
from textual import events
from textual.app import App
from textual.driver import Driver
from textual.drivers import web_driver

from tests.console.chromium import PATIENT_S, Browser, until
from tests.console.fakes import FakeOperations
from tests.processes import descendants
from tui.console.app import FrostwatchApp
from tui.console.browser import MOST_WAITING, BrowserDriver, bounded
from tui.console.run import run as run_console
from tui.shared.notify import Notify
from tui.web import server as server_module
from tui.web.refusals import LOGGERS, OneSentence
from tui.web.server import ConsolePages

ROOT = Path(__file__).parents[2]
SECRET = "a-secret"
# What textual-serve waits for, one packet of what is drawn, and then until it is told to end.
DRAWS = "printf '__GANGLION__\\nD\\000\\000\\000\\002hi'; cat >/dev/null"

ENDS = DRAWS.replace("cat", "head -c 1")  # as soon as it is told anything


@pytest.fixture(autouse=True)
async def _ends_its_consoles(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """End the consoles that a test's own process has started, before the test's loop is closed."""
    begun: list[asyncio.subprocess.Process] = []
    begin = asyncio.create_subprocess_shell

    async def kept(*words: Any, **how: Any) -> asyncio.subprocess.Process:
        begun.append(await begin(*words, **how))
        return begun[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_shell", kept)
    yield
    for one in begun:
        assert one.stdin is not None
        one.stdin.close()  # they end with it
        await asyncio.wait_for(one.communicate(), PATIENT_S)


@contextmanager
def served(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of a drill: its address, and its process."""
    command = [sys.executable, "-m", "tui.main", "--no-config", "web", "--port", "0", *arguments]
    child = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("open http://127.0.0.1:"), child.stderr and child.stderr.read()
        yield line.split()[1], child
    finally:
        child.terminate()
        child.communicate(timeout=PATIENT_S)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "0.0.0.0"], "other machines reach 0.0.0.0"),
        (["--listen", "192.0.2.1"], "say --others-may-connect"),
        (["--listen", "::"], "other machines reach ::"),
        (["--listen", "example.org"], "is no address"),
        (["--listen", ""], "is no address"),
        (["--port", "70000"], "70000"),
    ],
)
def test_nothing_is_opened_to_others_by_accident(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(["web", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_looking_only_and_changes_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--read-only", "web", "--allow-changes"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_without_its_package_it_says_which_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: str) -> None:
        raise ModuleNotFoundError("No module named 'textual_serve'", name="textual_serve.server")

    monkeypatch.setattr(web_module, "load", missing)
    assert run(["web"]) == 1
    assert "pip install 'frostwatch[web]'" in capsys.readouterr().err


def test_what_it_means_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[object, ...]] = []

    def serve(*words: object) -> None:
        asked.append(words)
        began = words[-1]
        assert callable(began)
        began("http://127.0.0.1:1/x/")

    monkeypatch.setattr(web_module, "load", lambda *of: serve if "serve" in of else late.load(*of))
    for arguments, said in (
        ([], "it looks only: whoever has this address sees all VMs"),
        (["--allow-changes"], "WITH CHANGES: whoever has this address can freeze, thaw"),
        (["--listen", "0.0.0.0", "--others-may-connect"], "OTHERS MAY CONNECT"),
    ):
        assert run(["web", *arguments]) == 0
        seen = capsys.readouterr()
        assert seen.out == "open http://127.0.0.1:1/x/\n"
        assert said in seen.err
    commands = [str(words[0]) for words in asked]
    assert ["--read-only" in one for one in commands] == [True, False, True]


def test_what_was_asked_for_is_passed_on_and_nothing_is_interpreted() -> None:
    options = Options(
        specs=("name=a;reboot,agent=/run/$(x)",),
        drill=None,
        named_only=True,
        no_config=True,
        connect=("qemu:///system",),
        or_drill=True,
        given={"max_hold": 90.0, "agent_interval": None, "bell": False},
        settings=Settings(),
    )
    command = console_command(options, changes=False)
    done = subprocess.run(
        ["sh", "-c", command.replace("exec env", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert words[words.index("--vm") + 1] == "name=a;reboot,agent=/run/$(x)"
    assert words[words.index("--max-hold") + 1] == "90"
    assert words[-1] == "--read-only"
    assert {"--named-only", "--no-config", "--or-drill", "--no-bell", "-P"} < set(words)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/a-secret/", {}, 200),
        ("/a-secret/static/js/textual.js", {}, 200),
        ("/", {}, 404),
        ("/ws", {}, 404),
        ("/other/", {}, 404),
        ("/a-secret/static/", {}, 403),
        ("/a-secret/static/../../../etc/passwd", {}, 404),
        ("/a-secret/", {"Host": "rebound.example"}, 403),
        ("/a-secret/", {"Host": "localhost:9"}, 200),
        ("/a-secret/", {"Host": "[::1]:9"}, 200),
        ("/a-secret/", {"Host": "[0:0:0:0:0:0:0:1]:9"}, 200),
        ("/a-secret/", {"Host": "127.0.0.2:9"}, 200),
        ("/a-secret/", {"Host": "127.0.0.1.evil.example"}, 403),
        ("/a-secret/", {"Host": "192.0.2.1"}, 403),
        ("/a-secret/", {"Origin": "https://evil.example"}, 403),
    ],
)
async def test_who_is_let_in(path: str, headers: dict[str, str], status: int) -> None:
    async with TestClient(TestServer(ConsolePages(DRAWS, SECRET, local=True).app())) as client:
        answer = await client.get(path, headers=headers)
        assert answer.status == status
        if path == "/a-secret/" and status == 200:
            host = headers.get("Host", f"127.0.0.1:{client.port}")
            assert f"ws://{host}/a-secret/ws" in await answer.text()
            assert "keys.focus()" in await answer.text(), "it takes keys without a click"
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_a_page_of_another_origin_opens_nothing_and_ours_does() -> None:
    async with TestClient(TestServer(ConsolePages(DRAWS, SECRET, local=True).app())) as client:
        evil = {"Origin": "https://evil.example"}
        with pytest.raises(WSServerHandshakeError, match="403"):
            await client.ws_connect("/a-secret/ws", headers=evil)
        with pytest.raises(WSServerHandshakeError, match="404"):
            await client.ws_connect("/ws")
        ours = {"Origin": f"http://127.0.0.1:{client.port}"}
        page = await client.ws_connect("/a-secret/ws?width=80&height=24", headers=ours)
        message = await page.receive(PATIENT_S)
        assert (message.type, message.data) == (WSMsgType.BINARY, b"hi")
        await page.close()


@pytest.mark.parametrize(
    ("said", "drawn"),
    [
        ((80, 24), (80, 24)),
        (("132", "50"), (132, 50)),
        ((10**9, 10**9), (1000, 500)),
        ((-5, 0), (1, 1)),
        (("1" * 9000, 24), (80, 24)),
        ((None, 24), (80, 24)),
        (([1], {}), (80, 24)),
        ((float("inf"), 1), (80, 24)),
    ],
)
def test_a_page_of_any_size_is_drawn_within_bounds(
    said: tuple[object, object], drawn: tuple[int, int]
) -> None:
    """A console of a thousand million lines took gigabytes of the host, and outlived its page."""
    assert bounded(*said) == drawn


async def test_what_a_page_sends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000000000")
    monkeypatch.setenv("ROWS", "1000000000")
    monkeypatch.setattr(web_driver, "InputReader", object)
    app: App[None] = App()
    async with app.run_test(size=(80, 24)) as pilot:
        driver = BrowserDriver(app, debug=False, mouse=True)
        assert driver._size == (1000, 500)
        driver.on_meta("resize", {"width": 10**9, "height": 7})
        await pilot.pause()
        assert app.size == (1000, 7)
        taken: list[object] = []
        monkeypatch.setattr(Driver, "process_message", lambda _, message: taken.append(message))
        driver.process_message(events.Key("a", "a"))
        with monkeypatch.context() as flooded:
            flooded.setattr(App, "message_queue_size", MOST_WAITING)
            driver.process_message(events.Key("b", "b"))
        driver.process_message(events.Key("c", "c"))
        assert [key.key for key in taken if isinstance(key, events.Key)] == ["a", "c"]


async def test_a_browser_that_goes_while_something_is_sent_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def goes(*_: object) -> None:
        raise ConnectionResetError("Connection lost")

    pages = ConsolePages(DRAWS, SECRET, local=True)
    monkeypatch.setattr(pages._server, "handle_websocket", goes)
    async with TestClient(TestServer(pages.app())) as client:
        await client.get("/a-secret/ws")
    assert not caplog.records


def test_who_has_no_name_and_says_another_one_is_told_as_the_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def began(*words: object) -> None:
        assert callable(words[-1])
        words[-1]("http://127.0.0.1:1/x/")

    monkeypatch.setattr(web_module, "load", lambda *of: began if "serve" in of else late.load(*of))
    monkeypatch.setattr(os, "geteuid", lambda: 987654)
    monkeypatch.setenv("LOGNAME", "alice")
    assert run(["web", "--allow-changes"]) == 0
    assert "reset VMs as 987654" in capsys.readouterr().err


async def test_no_more_pages_are_open_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_PAGES", 1)
    async with TestClient(TestServer(ConsolePages(DRAWS, SECRET, local=True).app())) as client:
        page = await client.ws_connect("/a-secret/ws")
        await page.receive(PATIENT_S)
        with pytest.raises(WSServerHandshakeError, match="503"):
            await client.ws_connect("/a-secret/ws")
        await page.close()


OURS = b"127.0.0.1:9"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"GET /a-secret/ HTTP/1.1", b"Host: " + OURS), 200),
        ((b"GET /a-secret/ HTTP/1.0",), 400),
        ((b"GET /a-secret/ HTTP/1.1",), 400),
        *[
            ((b"GET /a-secret/ HTTP/1.1", b"Host: " + host), 400)
            for host in (
                b"", b"[::1", b"[", b"]", b"::1", b"127.0.0.1:x", b"127.0.0.1:123456", b"a" * 300,
                b"a" * 20_000, b"u@127.0.0.1", b"127.0.0.1/evil", OURS + b"; script-src *",
                "127.0.0.1\u2100".encode(), b"\xff\xfe", b"127.0.0.1, evil.example",
            )
        ],
        ((b"GET /a-secret/ HTTP/1.1", b"Host: " + OURS, b"Host: evil.example"), 400),
        ((b"GET http://127.0.0.1:9/a-secret/ HTTP/1.1", b"Host: " + OURS), 400),
        ((b"GET http://127.0.0.1:9/a-secret/ HTTP/1.1", b"Host: evil.example"), 400),
        ((b"GET http://[::1/a-secret/ HTTP/1.1", b"Host: " + OURS), 400),
        ((b"GET * HTTP/1.1", b"Host: " + OURS), 400),
        ((b"CONNECT evil.example:80 HTTP/1.1", b"Host: " + OURS), 400),
        ((b"POST /a-secret/ HTTP/1.1", b"Host: " + OURS), 405),
        ((b"\x16\x03\x01\x02", b""), 400),
        ((b"GET /a-secret/static/" + b"a" * 3_000 + b" HTTP/1.1", b"Host: " + OURS), 404),
        ((b"GET /a-secret/static/%00 HTTP/1.1", b"Host: " + OURS), 404),
        ((b"GET /a-secret/ws HTTP/1.1", b"Host: " + OURS), 400),
        *[
            ((b"GET /a-secret/ HTTP/1.1", b"Host: " + OURS, b"Origin: " + origin), 403)
            for origin in (b"http://[::1", b"null", b"", b"\xff", b"http://127.0.0.1:8")
        ],
    ],
)  # fmt: skip
async def test_an_odd_request_is_refused_and_nothing_is_logged(
    lines: tuple[bytes, ...], status: int, told: list[str]
) -> None:
    async with TestServer(ConsolePages(DRAWS, SECRET, local=True).app()) as server:
        assert server.port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"\r\n".join([*lines, b"", b""]))
        first = await asyncio.wait_for(reader.readline(), PATIENT_S)
        writer.close()
    assert first.split()[1:2] == [str(status).encode()], first
    assert told == []


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server tells: nothing else is logged by anybody."""
    said: list[str] = []
    monkeypatch.setattr(logging, "lastResort", None)
    handler = OneSentence(said.append)
    for name in LOGGERS:
        monkeypatch.setattr(logging.getLogger(name), "handlers", [handler])
        monkeypatch.setattr(logging.getLogger(name), "propagate", False)
    return said


@pytest.mark.parametrize(
    "message", ["nonsense", "{}", "[]", '["stdin"]', '["stdin", 3]', '["resize", {}]', "[" * 3_000]
)
async def test_what_is_no_message_ends_its_page_in_a_sentence(
    message: str, told: list[str]
) -> None:
    async with TestClient(TestServer(ConsolePages(ENDS, SECRET, local=True).app())) as client:
        page = await client.ws_connect("/a-secret/ws")
        await page.receive(PATIENT_S)
        await page.send_str(message)
        while (await page.receive(PATIENT_S)).type is WSMsgType.BINARY:
            pass
        assert page.closed
        another = await client.ws_connect("/a-secret/ws")
        assert (await another.receive(PATIENT_S)).data == b"hi"
        await another.close()
    # Of a loop of another test's, that has ended, asyncio may say so just now.
    (sentence,) = [one for one in told if not one.startswith("Loop <")]
    assert sentence.startswith("a page was ended (")


@pytest.mark.parametrize(
    "size", ["width=0", "width=-1", "height=99999999", "width=x", "width=999999999"]
)
async def test_a_terminal_that_no_screen_has_is_refused(size: str) -> None:
    async with TestClient(TestServer(ConsolePages(DRAWS, SECRET, local=True).app())) as client:
        with pytest.raises(WSServerHandshakeError, match="400"):
            await client.ws_connect(f"/a-secret/ws?{size}")


def test_a_port_that_is_taken_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    taken = server_module._listen("127.0.0.1", 0)
    with taken:
        port = str(taken.getsockname()[1])
        assert run(["web", "--port", port]) == 1
    said = capsys.readouterr().err
    assert f"nothing can listen on 127.0.0.1, port {port}: Address already in use" in said


@pytest.mark.parametrize("arguments", [[], ["--allow-changes"]])
async def test_a_page_that_looks_only_leaves_nothing_on_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """No file of any name, no view, and no handover: these are the operator's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    kept = tmp_path / "state/frostwatch/console.json"
    with served("--drill", "4", *arguments) as (url, _):
        screen = pyte.Screen(80, 24)
        drawn = pyte.ByteStream(screen)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}ws?width=80&height=24") as page,
        ):

            async def shows(words: str) -> None:
                async with asyncio.timeout(PATIENT_S):
                    while words not in "".join(screen.display):
                        message = await page.receive()
                        if message.type is WSMsgType.BINARY:
                            drawn.feed(message.data)

            async def press(*keys: str) -> None:
                for key in keys:
                    await page.send_str(json.dumps(["stdin", key]))

            await shows("4 VMs")
            await press("s")
            await shows("sorted by name")
            await press("w")
            await shows("Take away")
            await press("5")
            await shows("no page of a browser writes a file")
            if arguments:  # whoever may change something is an operator
                await until(kept.exists, "the view is kept")
    assert not list(Path.cwd().glob("incident-*"))
    assert kept.exists() == bool(arguments)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("browser", [True, False])
def test_who_only_looks_is_not_the_operator(
    monkeypatch: pytest.MonkeyPatch, *, read_only: bool, browser: bool
) -> None:
    seen: dict[str, Any] = {}

    class Seen(Exception):
        pass

    def make_app(*_: object, **given: object) -> FrostwatchApp:
        seen.update(given)
        raise Seen

    if browser:
        monkeypatch.setenv("TEXTUAL_DRIVER", "textual.drivers.web_driver:WebDriver")
    notify = Notify(frozenset(), ("page-me",))
    with pytest.raises(Seen):
        run_console(
            Fleet(),
            FakeOperations(),
            None,
            read_only=read_only,
            interval_s=1.0,
            notify=notify,
            make_app=make_app,
            handover=lambda: HandoverBook(None),
        )
    operator = not (read_only and browser)
    assert seen["notify"] == (notify if operator else Notify())
    assert (seen["handover"] is not None) == operator


async def test_a_real_browser_shows_the_table_filters_it_and_can_freeze_nothing(
    tmp_path: Path,
) -> None:
    with served("--drill", "24") as (url, server):
        async with Browser(tmp_path) as browser:
            await browser.open(url)
            await browser.shows("READ-ONLY", "24 VMs", "NAME", "db1", "simulated guests")
            await browser.press("/", *"db1", "Enter")
            await browser.shows("1 of 24 VMs", "/ db1")
            assert not [line for line in browser.screen.display if "web1" in line]
            await browser.press("f")
            await browser.shows("this console is read-only")
            assert await browser.colours() > 20, "something was drawn"
            origin = url.rsplit("/", 2)[0]
            foreign = {one for one in browser.requested if not one.startswith(f"{origin}/")}
            assert all("fonts.googleapis.com" in one for one in foreign), "which it may not load"
            assert any("Content Security Policy" in one for one in browser.console)
            started = descendants(server.pid)
            assert started
            await browser.open("about:blank")
            await until(lambda: not descendants(server.pid), "the console ends with its page")


async def test_a_page_that_is_closed_while_it_holds_a_window_thaws(tmp_path: Path) -> None:
    with served("--drill", "6", "--allow-changes") as (url, server):
        async with Browser(tmp_path) as browser:
            await browser.open(url)
            await browser.shows("6 VMs", "db1")
            await browser.press("/", *"db1", "Enter", "f")
            await browser.shows("Freeze")
            await browser.press(*"60", "Enter")
            await browser.shows("held")
            began = time.monotonic()
            await browser.open("about:blank")
            await until(lambda: not descendants(server.pid), "the console thaws, and ends")
            assert time.monotonic() - began < 50, "long before the hold's end"


def test_the_docs_name_the_extra() -> None:
    assert re.search(r"frostwatch\[web\]", (ROOT / "README.md").read_text())
