"""Connections of the pool that died in silence: found quickly, and all at once.

A firewall, a cut cable or a frozen host ends connections without telling anyone. SQLAlchemy's own pre-ping
waits for as long as a statement may take, and finds them one by one: 5 connections and a time-out of 3 s
took 25 s (decision 019).
"""

from __future__ import annotations

from time import monotonic
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine

PING_TIMEOUT_SECONDS = 2.0  # seconds; a Postgres that needs longer for nothing counts as away
_MADE_AT = "made_at"
LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises, besides errors of Postgres, when a connection is lost in the middle of something.

A backend that is terminated while its answer is read leaves asyncpg in a state that it doesn't know:
InternalClientError, which SQLAlchemy passes on as it is.
"""


def look_after(engine: AsyncEngine) -> None:
    """From now on each connection is asked whether it lives when it is taken from the pool. When one doesn't,
    all that were made before are given up, without a close message, and a new one takes its place.
    """
    lost_at = 0.0

    @event.listens_for(engine.sync_engine, "connect")
    def made(_: Any, record: Any) -> None:
        record.info[_MADE_AT] = monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def ask(connection: Any, *_: Any) -> None:
        nonlocal lost_at
        try:
            connection.run_async(_ping)
        except (asyncpg.PostgresError, *LOST) as error:
            lost_at = monotonic()
            raise InvalidatePoolError(type(error).__name__) from None

    @event.listens_for(engine.sync_engine, "close")
    def part(connection: Any, record: Any) -> None:
        if record.info.get(_MADE_AT, lost_at) < lost_at:
            connection.driver_connection.terminate()  # a close message would be waited for, 2 s each


async def _ping(connection: asyncpg.Connection) -> None:
    await connection.execute("select 1", timeout=PING_TIMEOUT_SECONDS)
