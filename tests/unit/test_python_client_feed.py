"""The live feed of the Python client against a server of the test: waits, closes, restarts, refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from notification_hub_client import (
    AllDeleted,
    AsyncHubClient,
    AuthenticationError,
    Connected,
    Disconnected,
    HubClient,
    HubError,
    LiveEvent,
    NotificationArchived,
    NotificationReceived,
    NotificationRetracted,
    UnavailableError,
)

USER = "456e7890-e89b-12d3-a456-426614174001"
CONNECTED: dict[str, Any] = {"type": "connected", "node": "n", "last_seq": 0, "unread": 0, "rev": 1}


def notification(seq: int) -> dict[str, Any]:
    return {
        **{"id": seq, "seq": seq, "receiver": USER, "created_at": "2026-11-21T08:48:27.905890Z"},
        **{"template_code": "MESSAGE", "title": "Title", "content": "Text", "is_read": False},
    }


def frame(seq: int) -> dict[str, Any]:
    return {"event_type": "message", "data": notification(seq)}


def refusal(status: int, code: str, **headers: str) -> Response:
    body = json.dumps({"code": code, "detail": "No."}).encode()
    return Response(
        status, HTTPStatus(status).phrase, Headers(headers | {"Content-Length": str(len(body))}), body
    )


@dataclass
class Server:
    """Answers each request, and each connection, with what is next in its list."""

    answers: list[Response | None] = field(default_factory=list)
    """To the first requests, upgrades included; None opens the connection."""
    scripts: list[Sequence[dict[str, Any] | int]] = field(default_factory=list)
    """What a connection sends: frames, or the code that it is closed with. Then it waits for `more`."""
    more: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    url: str = ""

    def answer(self, _: ServerConnection, __: Request) -> Response | None:
        return self.answers.pop(0) if self.answers else None

    async def talk(self, connection: ServerConnection) -> None:
        for step in self.scripts.pop(0) if self.scripts else [CONNECTED]:
            if isinstance(step, int):
                await connection.close(step)
                return
            await connection.send(json.dumps(step))
        sender = asyncio.create_task(self._send_more(connection))
        await connection.wait_closed()
        sender.cancel()

    async def _send_more(self, connection: ServerConnection) -> None:
        while True:
            await connection.send(json.dumps(await self.more.get()))


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    hub = Subprotocol("hub.v1")
    async with serve(
        server.talk, "127.0.0.1", 0, process_request=server.answer, subprotocols=[hub]
    ) as listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server


async def kinds(server: Server, count: int) -> list[type[LiveEvent]]:
    """The first events of a feed."""
    async with AsyncHubClient(server.url, "token", retries=0) as hub, hub.inbox(USER).listen() as feed:
        return [type(await anext(feed)) for _ in range(count)]


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    async with (
        running(Server()) as server,
        AsyncHubClient(server.url, "token") as hub,
        hub.inbox(USER).listen() as feed,
    ):
        assert isinstance(await anext(feed), Connected)
        for seq in (1, 2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(feed), 0.01)
            server.more.put_nowait(frame(seq))
            received = await anext(feed)
            assert isinstance(received, NotificationReceived)
            assert received.notification.seq == seq == feed.position


async def test_a_feed_that_another_task_closes_ends() -> None:
    async with running(Server()) as server, AsyncHubClient(server.url, "token") as hub:
        feed = hub.inbox(USER).listen()
        assert isinstance(await anext(feed), Connected)
        reader = asyncio.create_task(_rest(feed))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await anext(feed)
        await feed.close()
        assert await reader == []


async def _rest(feed: Any) -> list[LiveEvent]:
    return [event async for event in feed]


async def test_a_blocking_wait_has_a_limit_and_loses_nothing() -> None:
    def listen(url: str, publish: Callable[[dict[str, Any]], None]) -> None:
        with HubClient(url, "token") as hub, hub.inbox(USER).listen() as feed:
            assert isinstance(feed.get(20), Connected)
            with pytest.raises(TimeoutError):
                feed.get(0.01)
            publish(frame(1))
            received = next(feed)
            assert isinstance(received, NotificationReceived)
        with pytest.raises(RuntimeError):
            feed.get(1)

    async with running(Server()) as server:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(
            listen,
            server.url,
            lambda sent: (loop.call_soon_threadsafe(server.more.put_nowait, sent), None)[1],
        )


async def test_a_blocking_feed_that_another_thread_closes_ends() -> None:
    async with running(Server()) as server:
        with HubClient(server.url, "token") as hub:
            feed = hub.inbox(USER).listen()
            assert isinstance(await asyncio.to_thread(next, feed), Connected)
            reader = asyncio.create_task(asyncio.to_thread(list, feed))
            await asyncio.sleep(0.05)  # it waits for a frame, or soon will
            await asyncio.to_thread(feed.close)
            assert await reader == []


async def test_a_restart_is_survived_and_a_logout_is_not() -> None:
    async with running(Server(scripts=[[CONNECTED, 1012], [CONNECTED, 4500]])) as server:
        with pytest.raises(HubError) as ended:
            await kinds(server, 4)
    assert ended.value.status == 4500
    async with running(Server(scripts=[[CONNECTED, 1012]])) as server:
        assert await kinds(server, 3) == [Connected, Disconnected, Connected]


async def test_an_overloaded_hub_is_tried_again_and_a_refused_token_is_not() -> None:
    busy = refusal(503, "overloaded", **{"Retry-After": "0"})
    async with (
        running(Server([busy])) as server,
        AsyncHubClient(server.url, "token") as hub,
        hub.inbox(USER).listen() as feed,
    ):
        lost = await anext(feed)
        assert isinstance(lost, Disconnected)
        assert isinstance(lost.error, UnavailableError)
        assert lost.error.code == "overloaded"
        assert isinstance(await anext(feed), Connected)
    async with running(Server([refusal(401, "invalid_token")])) as server:
        with pytest.raises(AuthenticationError):
            await kinds(server, 1)


async def test_history_that_cannot_be_read_now_is_read_later() -> None:
    resumed: dict[str, Any] = {
        "type": "resumed",
        "from": 0,
        "to": 1,
        "complete": False,
        "read_on": "/api/x?before=2",
    }
    async with running(Server(scripts=[[CONNECTED, resumed], [CONNECTED, resumed]])) as server:
        page = json.dumps([notification(1)]).encode()
        found = Response(200, "OK", Headers({"Content-Length": str(len(page))}), page)
        server.answers = [None, refusal(503, "dependency_down"), None, found]
        assert await kinds(server, 4) == [Connected, Disconnected, Connected, NotificationReceived]


async def test_frames_of_the_triage_are_events_and_others_are_ignored() -> None:
    archived: dict[str, Any] = {
        "type": "notification_archived",
        "id": 1,
        "unread": 0,
        "last_seq": 1,
        "rev": 2,
    }
    script: list[dict[str, Any]] = [
        CONNECTED,
        {"type": "of_a_later_version"},
        archived | {"data": notification(1)},
    ]
    script.append({"type": "all_deleted", "up_to": 1, "unread": 0, "last_seq": 1, "rev": 3})
    script.append(archived | {"type": "notification_retracted", "unseen": 0, "seen_up_to": 1})
    async with running(Server(scripts=[script])) as server:
        expected = [Connected, NotificationArchived, AllDeleted, NotificationRetracted]
        assert await kinds(server, 4) == expected


async def test_what_is_no_frame_of_a_hub_is_an_error() -> None:
    async with running(Server(scripts=[[{"event_type": "message", "data": {}}]])) as server:
        with pytest.raises(HubError) as wrong:
            await kinds(server, 1)
    assert wrong.value.code == "unexpected_frame"
