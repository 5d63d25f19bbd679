"""Tabs of a headless Firefox, over the WebDriver BiDi that it has built in: no driver is needed.

They have the interface of `tests.support.tabs.Tabs`, as far as both browsers' tests want it. Their pages come
from a server of the tests, so the hub is of another origin.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.hub import WAIT, Hub, added, eventually, free_port, new_user, token
from tests.support.install_tools import FIREFOX
from tests.support.tabs import CLIENT, LONGEST_PAUSE, PAGE

PROGRAM = next(filter(None, map(shutil.which, FIREFOX)), None)
needs_firefox = pytest.mark.skipif(PROGRAM is None, reason="no Firefox: its tests are skipped")
KEYS = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Control": "\ue009",
    "Escape": "\ue00c",
    "ArrowDown": "\ue015",
    "Delete": "\ue017",
}
"""As WebDriver encodes them (https://www.w3.org/TR/webdriver2/#keyboard-actions)."""
_LISTENS = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
_TYPES = {".js": "text/javascript", "": "text/html; charset=utf-8"}


class Firefox:
    """A session of WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/)."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read(), name="firefox")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Raises `AssertionError` for what Firefox refuses."""
        number = next(self._ids)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(WAIT):
            said = await answer
        assert said["type"] == "success", said
        result: dict[str, Any] = said["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message)
            if answer := self._asked.pop(said.get("id"), None):
                answer.set_result(said)


class FirefoxPage:
    """A tab."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._target = {"context": context}

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, which JSON can hold; that of a promise is awaited."""
        said = await self._firefox.call(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target=self._target,
            awaitPromise=True,
        )
        assert said["type"] == "success", said
        return json.loads(said["result"]["value"])

    async def until(self, expression: str, within: float = WAIT) -> None:
        async def holds() -> bool:
            return bool(await self.evaluate(expression))

        await eventually(holds, expression, within=within)

    async def press(self, *keys: str) -> None:
        """Press these one after the other: characters, or `KEYS` by name. `Control+z` holds the first."""
        actions = [
            {"type": kind, "value": KEYS.get(key, key)}
            for pressed in keys
            for kind, key in _pressed(pressed.split("+"))
        ]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        await self._firefox.call("input.performActions", actions=[source], **self._target)


def _pressed(keys: list[str]) -> list[tuple[str, str]]:
    return [("keyDown", key) for key in keys] + [("keyUp", key) for key in reversed(keys)]


class FirefoxTabs:
    """Tabs that share storage with one another, and with no other tabs."""

    def __init__(self, firefox: Firefox, storage: str, origin: str, hub: Hub, hub_origin: str) -> None:
        self._firefox = firefox
        self._storage = storage
        self._hub = hub
        self.user = new_user()
        self._address = f"{origin}/page?user={self.user}&hub={hub_origin}"
        self.pages: list[FirefoxPage] = []

    async def open(self) -> None:
        made = await self._firefox.call("browsingContext.create", type="tab", userContext=self._storage)
        context = made["context"]
        await self._firefox.call(
            "browsingContext.navigate", context=context, url=self._address, wait="complete"
        )
        self.pages.append(FirefoxPage(self._firefox, context))

    async def live(self) -> None:
        for page in self.pages:
            await page.until("window.inbox?.state.name === 'live'")

    async def publish(self, count: int = 1) -> None:
        await self._hub.publish(*(added(self.user) for _ in range(count)))

    async def received(self, count: int) -> None:
        """Every tab received 1, 2, 3 … count, and lists them."""
        for page in self.pages:
            await page.until(f"received.at(-1) >= {count}", LONGEST_PAUSE + WAIT)
            assert await page.evaluate("received") == list(range(1, count + 1))
            assert await page.evaluate("inbox.list().map(({seq}) => seq)") == list(range(count, 0, -1))
            assert await page.evaluate("inbox.unreadCount()") == count


@asynccontextmanager
async def run_firefox(home: Path) -> AsyncIterator[Firefox]:
    """A headless Firefox with a new profile, in `home`."""
    assert PROGRAM is not None
    profile = home / "profile"
    profile.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port"),
        str(free_port()),
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(2 * WAIT):
            while not (found := _LISTENS.search(await process.stderr.readline())):
                assert not process.stderr.at_eof(), "Firefox ended"
        async with connect(
            f"{found[1].decode()}/session", max_size=None, ping_interval=None, proxy=None
        ) as socket:
            firefox = Firefox(socket)
            await firefox.call("session.new", capabilities={})
            yield firefox
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@asynccontextmanager
async def page_server(port: int, page: str = PAGE) -> AsyncIterator[str]:
    """The origin of a server that has the page, the client library and tokens."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path, kind = _content(head.split(b" ", 2)[1].decode(), page)
            writer.write(
                f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(path)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + path
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


def _content(target: str, page: str) -> tuple[bytes, str]:
    parts = urlsplit(target)
    if parts.path == "/token":
        [user] = parse_qs(parts.query)["user"]
        return token(user).encode(), "text/plain"
    if parts.path.startswith("/notification-hub-client/"):
        file = CLIENT / parts.path.removeprefix("/notification-hub-client/")
        return file.read_bytes(), _TYPES[file.suffix]
    return page.encode(), _TYPES[""]


@asynccontextmanager
async def open_firefox_tabs(
    firefox: Firefox, origin: str, hub: Hub, hub_origin: str
) -> AsyncIterator[FirefoxTabs]:
    """Tabs that have nothing in store, none open yet; their pages come from `origin`."""
    storage = (await firefox.call("browser.createUserContext"))["userContext"]
    try:
        yield FirefoxTabs(firefox, storage, origin, hub, hub_origin)
    finally:
        await firefox.call("browser.removeUserContext", userContext=storage)
