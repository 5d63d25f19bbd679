"""A reader of event streams, as the HTML standard says ("Interpreting an event stream")."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx

from tests.support.hub import NO_TLS, REST, WAIT, Hub, token


class Event(NamedTuple):
    name: str
    data: Any
    id: str
    """The last event id after it."""


class EventSource:
    """An open stream. `last_event_id` is what a browser would send when it reconnects."""

    def __init__(self, response: httpx.Response, last_event_id: str = "") -> None:
        self.response = response
        self.last_event_id = last_event_id
        self.retry = 0
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self, within: float = WAIT) -> Event | None:
        """The next event; None at the end of the stream."""
        name = "message"
        data: list[str] = []
        async with asyncio.timeout(within):
            async for line in self._lines:
                key, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if not line:
                    if data:
                        return Event(name, json.loads("\n".join(data)), self.last_event_id)
                    name = "message"
                elif key == "event":
                    name = value
                elif key == "data":
                    data.append(value)
                elif key == "id":
                    self.last_event_id = value
                elif key == "retry":
                    self.retry = int(value)
                elif not key:
                    self.comments += 1
        return None

    async def event(self, name: str = "message") -> Event:
        """The next event, which has this name."""
        event = await self.next()
        assert event is not None, "the stream ended"
        assert event.name == name, event
        return event

    async def seqs(self, count: int) -> list[int]:
        """The `seq` of the next notifications, which are also the ids of their events."""
        events = [await self.event() for _ in range(count)]
        assert [event.id for event in events] == [str(event.data["data"]["seq"]) for event in events]
        return [event.data["data"]["seq"] for event in events]


@asynccontextmanager
async def event_source(
    hub: Hub, user: str, query: str = "", last_event_id: str = "", **headers: str
) -> AsyncIterator[EventSource]:
    """An event stream of this user."""
    headers = {"Authorization": f"Bearer {token(user)}", **headers}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    async with (
        httpx.AsyncClient(verify=NO_TLS, timeout=WAIT) as client,
        client.stream("GET", address(hub, user) + query, headers=headers) as response,
    ):
        if response.status_code != 200:
            await response.aread()
        yield EventSource(response, last_event_id)


def address(hub: Hub, user: str) -> str:
    return f"{hub.http}{REST}/notifications/users/{user}/events"
