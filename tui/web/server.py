"""Serves the console to browsers: textual-serve's pages, for those alone who have the address.

Any page that is open in the operator's browser, and any user of this host, can reach a port of the
loopback. So the paths have a secret in them, which is another one at each start; a page of another
origin can't open the connection; and pages load nothing from anywhere else.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web
from textual_serve.server import Server

from agentclient.model.errors import FrostwatchError
from tui.shared.loopback import LOCALHOST, is_loopback
from tui.web.refusals import OneSentence, check, check_size

MOST_PAGES: Final = 8
LEAVING_S: Final = 5.0
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self' ws://{host}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

# Textual's terminal takes no key before it was clicked on.
_TAKES_KEYS: Final = """<script>
new MutationObserver((changes, observer) => {
  const keys = document.querySelector(".xterm-helper-textarea");
  if (keys && document.body.classList.contains("-first-byte")) {
    keys.focus();
    observer.disconnect();
  }
}).observe(document.body, {attributes: true, childList: true, subtree: true});
</script>
</body>"""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve(
    command: str,
    address: str,
    port: int,
    note: Callable[[str], object],
    began: Callable[[str], object],
) -> None:
    """Serve until a signal comes.

    Args:
        command: opens a console, as a line of a shell.
        address: where to listen: an IP address, or ``localhost``.
        port: the port; 0 for any that is free.
        note: tells a sentence about what goes wrong.
        began: is called with the address to open, once it is served.

    Raises:
        FrostwatchError: nothing can listen there.
    """
    listening = _listen("127.0.0.1" if address == LOCALHOST else address, port)
    number = listening.getsockname()[1]
    host = f"[{address}]" if ":" in address else address
    secret = secrets.token_urlsafe(24)
    app = ConsolePages(command, secret, local=is_loopback(address)).app()

    async def tell(_: web.Application) -> None:
        began(f"http://{host}:{number}/{secret}/")

    app.on_startup.append(tell)
    OneSentence(note).take_over()
    with listening:
        web.run_app(app, sock=listening, print=None, access_log=None, shutdown_timeout=LEAVING_S)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        why = error.strerror or str(error)
        raise FrostwatchError(
            f"nothing can listen on {address}, port {port}: {why}; --port names another one"
        ) from None


class ConsolePages:
    """The pages, each of which has a console of its own.

    Args:
        command: opens a console, as a line of a shell.
        secret: what stands in each path.
        local: only names of this host are answered to.
    """

    def __init__(self, command: str, secret: str, *, local: bool) -> None:
        self._server = Server(command, title="frostwatch")
        self._secret = secret
        self._local = local
        self._pages: set[asyncio.Task[Any]] = set()

    def app(self) -> web.Application:
        """Return the application."""
        made = web.Application(middlewares=[self._guard()])
        folder = jinja2.FileSystemLoader(self._server.templates_path)
        aiohttp_jinja2.setup(made, loader=folder)
        base = f"/{self._secret}"
        made.add_routes(
            [
                web.get(f"{base}/", self._index, name="index"),
                web.get(f"{base}/ws", self._page, name="websocket"),
                web.static(f"{base}/static", self._server.statics_path, name="static"),
            ]
        )
        made.on_shutdown.append(self._end_pages)
        return made

    def _guard(self) -> Any:
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            check(request, local=self._local)
            return await handler(request)

        return web.middleware(guard)

    async def _index(self, request: web.Request) -> web.StreamResponse:
        # As it is called from there: by a tunnel's port, or by another name of this host.
        self._server.public_url = f"http://{request.host}"
        response: web.StreamResponse = await self._server.handle_index(request)
        if isinstance(response, web.Response):
            response.text = (response.text or "").replace("</body>", _TAKES_KEYS)
        for name, value in _HEADERS.items():
            response.headers[name] = value.format(host=request.host)
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if not web.WebSocketResponse().can_prepare(request):
            raise web.HTTPBadRequest(text="this is for the connection of a page")
        if len(self._pages) >= MOST_PAGES:
            raise web.HTTPServiceUnavailable(text=f"{MOST_PAGES} pages are open already")
        check_size(request.query)
        task = asyncio.current_task()
        assert task is not None, "a request has one"
        self._pages.add(task)
        try:
            return await self._server.handle_websocket(request)
        except ConnectionError:  # the browser has gone while something was sent to it
            return web.Response()
        finally:
            self._pages.discard(task)

    async def _end_pages(self, _: web.Application) -> None:
        """End all consoles: each thaws what it has frozen."""
        for task in self._pages:
            task.cancel()
        if self._pages:
            await asyncio.wait(self._pages, timeout=LEAVING_S)
