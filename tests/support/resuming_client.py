"""A client of the session protocol that never gives up: what it has seen should be its inbox."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.support.hub import Hub, token

PAGE = 500
MISSED = (WebSocketException, OSError, TimeoutError, httpx.HTTPError)


class Client:
    """It always resumes after the last `seq` it saw, on any node; what is too far back it reads over REST."""

    def __init__(self, nodes: Sequence[Hub], user: str) -> None:
        self.user = user
        self.seen: list[str] = []
        self.wrong: list[str] = []
        self._nodes = nodes
        self._last_seq = 0
        self._socket: ClientConnection | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._running is not None

    def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    def cut(self) -> None:
        """Lose the connection; it comes back by itself."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def disconnect(self, abruptly: bool) -> None:
        """Go away, with or without a closing handshake, and remember what was seen."""
        running, self._running = self._running, None
        if abruptly:
            self.cut()
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            node = random.choice(self._nodes)
            try:
                async with self._session(node) as self._socket:
                    async for text in self._socket:
                        await self._take(node, json.loads(text))
            except MISSED:
                pass  # it comes back, as clients do
            await asyncio.sleep(random.uniform(0.02, 0.3))

    def _session(self, node: Hub) -> connect:
        return connect(
            f"{node.socket_address(self.user)}?after={self._last_seq}",
            subprotocols=["hub.v1", f"bearer.{token(self.user)}"],  # type: ignore[list-item]
            compression=None,
            open_timeout=5,
            close_timeout=1,
            max_queue=None,
        )

    async def _take(self, node: Hub, frame: dict[str, Any]) -> None:
        if frame.get("type") == "resumed" and not frame["complete"]:
            await self._read_on(node, frame["from"], frame["to"])
        if "event_type" in frame:
            self._see(frame["data"])

    async def _read_on(self, node: Hub, after: int, until: int) -> None:
        """Read over REST what follows `after`, up to and with `until`."""
        missed: list[dict[str, Any]] = []
        async with node.client(self.user) as rest:
            before = until + 1
            while before > after + 1:
                page = await rest.get(
                    f"/notifications/users/{self.user}", params={"before": before, "limit": PAGE}
                )
                page.raise_for_status()
                found = [each for each in page.json() if each["seq"] > after]
                if not found:
                    break
                missed += found
                before = found[-1]["seq"]
        for notification in reversed(missed):
            self._see(notification)

    def _see(self, notification: dict[str, Any]) -> None:
        if notification["seq"] <= self._last_seq:
            self.wrong.append(f"seq {notification['seq']} after {self._last_seq}")
        self._last_seq = notification["seq"]
        self.seen.append(self.key(notification))

    def key(self, notification: dict[str, Any]) -> str:
        """What `seen` keeps of a notification."""
        return str(notification["id"])
