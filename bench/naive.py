"""The baseline: what people write first. Correct at a glance, and the measure for everything else here.

Sanic's own WebSocket, `async for message in consumer` with auto-commit, one ORM insert and commit an event, a
dict of user → sockets, `await ws.send(json)`. It isn't made slow on purpose: uvloop, a connection pool, no
reload after the commit, one process as the hub has.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import jwt
from aiokafka import AIOKafkaConsumer
from sanic import HTTPResponse, Request, Sanic, Websocket
from sanic.exceptions import Forbidden
from sanic.response import empty
from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TABLE = "naive_notifications"


class Base(DeclarativeBase):
    """The tables of the baseline."""


class Notification(Base):
    """One notification, with the columns the hub's clients know."""

    __tablename__ = TABLE

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    group_id: Mapped[UUID]
    group_name: Mapped[str]
    receiver: Mapped[UUID] = mapped_column(index=True)
    created_at: Mapped[datetime]
    template_code: Mapped[str]
    raw_data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    is_read: Mapped[bool] = mapped_column(default=False)
    title: Mapped[str]
    content: Mapped[str]

    def as_json(self) -> dict[str, object]:
        """What a client gets as `data`."""
        return {
            "id": self.id,
            "group_id": str(self.group_id),
            "group_name": self.group_name,
            "receiver": str(self.receiver),
            "created_at": self.created_at.isoformat() + "Z",
            "template_code": self.template_code,
            "raw_data": self.raw_data,
            "is_read": self.is_read,
            "title": self.title,
            "content": self.content,
        }


def _notification(event: Mapping[str, Any], receiver: str) -> Notification:
    data = event["data"]
    group, requester = data["group_name"], data["requester_username"]
    return Notification(
        group_id=UUID(event["group_id"]),
        group_name=group,
        receiver=UUID(receiver),
        created_at=datetime.now(UTC).replace(tzinfo=None),
        template_code=event["event_type"].upper(),
        raw_data=data,
        title=f"Welcome to the group {group}!",
        content=f"{requester} added you to the group {group}. Start planning your meals right away!",
    )


class Hub:
    """The whole service."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._sockets: defaultdict[str, set[Websocket]] = defaultdict(set)
        url = environment["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
        self._engine = create_async_engine(url)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._consumer: Any = None

    async def start(self, app: Sanic[Any, Any]) -> None:
        """Make the table, join the group, consume."""
        async with self._engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        self._consumer = AIOKafkaConsumer(
            self._environment["NOTIFICATION_TOPIC"],
            bootstrap_servers=self._environment["KAFKA_BOOTSTRAP_SERVERS"],
            group_id="naive",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=int(self._environment.get("KAFKA_FETCH_MAX_WAIT_MS") or 500),
        )
        await self._consumer.start()
        app.add_task(self._consume())

    async def stop(self, _: Sanic[Any, Any]) -> None:
        """Leave the group."""
        await self._consumer.stop()
        await self._engine.dispose()

    async def ready(self, _: Request) -> HTTPResponse:
        """200 when it consumes."""
        return empty(200 if self._consumer is not None else 503)

    async def connect(self, request: Request, ws: Websocket, user_id: str) -> None:
        """One client, until it leaves."""
        claims = jwt.decode(request.token or "", self._environment["JWT_SECRET"], algorithms=["HS256"])
        if claims["sub"] != user_id:
            raise Forbidden
        self._sockets[user_id].add(ws)
        try:
            async for _ in ws:
                pass
        finally:
            self._sockets[user_id].discard(ws)

    async def _consume(self) -> None:
        async for message in self._consumer:
            event = json.loads(message.value)
            for receiver in event["receivers"]:
                notification = _notification(event, receiver)
                async with self._sessions() as session:
                    await self._save(session, notification)
                await self._push(event["event_type"], notification)

    async def _save(self, session: AsyncSession, notification: Notification) -> None:
        session.add(notification)
        await session.commit()

    async def _push(self, event_type: str, notification: Notification) -> None:
        frame = json.dumps({"event_type": event_type, "data": notification.as_json()})
        for ws in tuple(self._sockets[str(notification.receiver)]):
            await ws.send(frame)


def create_app(environment: Mapping[str, str]) -> Sanic[Any, Any]:
    """The baseline as a Sanic app."""
    app: Sanic[Any, Any] = Sanic("naive", configure_logging=False)
    app.config.ACCESS_LOG = False
    hub = Hub(environment)
    app.register_listener(hub.start, "after_server_start")
    app.register_listener(hub.stop, "before_server_stop")
    app.add_route(hub.ready, "/ready")
    app.add_websocket_route(hub.connect, "/users/<user_id:str>")
    return app


def run(app: Sanic[Any, Any], port: int) -> None:
    """Serve until SIGTERM, in this process."""
    app.run("127.0.0.1", port, single_process=True, access_log=False, motd=False, backlog=4096)


if __name__ == "__main__":
    run(create_app(os.environ), int(os.environ["PORT"]))
