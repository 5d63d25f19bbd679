"""Connections of asyncpg for what each batch of events needs; SQLAlchemy would cost 1.5 ms of CPU a batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from types import MappingProxyType
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.errors import HubError
from app.store.liveness import LOST, PING_TIMEOUT_SECONDS

DIRECT = "hub_direct"
"""The execution option of an engine that holds its `DirectConnections`."""
MAX_IDLE_SECONDS = 1.0
"""A connection that was used within this time is taken to be alive; others are asked first."""
# The statements are made for these: one plan each, whatever the sizes of tables and batches are.
_PLANNER = MappingProxyType({"plan_cache_mode": "force_generic_plan", "enable_nestloop": "off"})
_USABLE_AFTER = ("22", "23", "55")
"""Classes of errors (SQLSTATE) that say nothing bad of the connection: values, constraints, locks."""


class DirectConnections:
    """A pool that makes connections as they are needed; its callers bound their number.

    A connection is lost with its first error, other than of a value or a lock.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        session: Mapping[str, str] | None,
        max_idle: float = MAX_IDLE_SECONDS,
    ) -> None:
        """`arguments` are those of `asyncpg.connect`. `session`: what to set in each transaction, behind a
        pooler; None without one.
        """
        self._max_idle = max_idle
        self._arguments = arguments
        self._session = None if session is None else {**session, **_PLANNER}
        self._idle: list[tuple[asyncpg.Connection, float]] = []
        self._closed = 0
        """How often `close` was called. A connection from before it isn't kept."""

    @property
    def needs_transactions(self) -> bool:
        """Whether each statement has to be in a transaction: a pooler could exchange the server otherwise."""
        return self._session is not None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the caller's own. Raises what `store_errors` translates."""
        found = await self._live()
        closed = self._closed
        connection = found or await self._connect()
        is_usable = False
        try:
            yield connection
            is_usable = True
        except BaseException as error:
            is_usable = _says_nothing_bad(error)
            raise
        finally:
            if is_usable and closed == self._closed:
                self._idle.append((connection, monotonic()))
            else:
                connection.terminate()

    @asynccontextmanager
    async def transaction(self, connection: asyncpg.Connection) -> AsyncIterator[None]:
        """A transaction on it."""
        async with connection.transaction():
            if self._session is not None:
                calls = ", ".join(
                    f"set_config('{name}', '{value}', true)" for name, value in self._session.items()
                )
                await connection.execute(f"select {calls}")
            yield

    async def fetch(self, statement: str, *values: Any) -> Sequence[Any]:
        """The rows of one statement that reads."""
        async with self.connection() as connection:
            if self._session is None:
                return await connection.fetch(statement, *values)
            async with self.transaction(connection):
                return await connection.fetch(statement, *values)

    async def close(self) -> None:
        """End the connections: those in use when their callers have done with them."""
        self._closed += 1
        while self._idle:
            self._idle.pop()[0].terminate()
        await asyncio.sleep(0)  # their sockets are closed in the loop's next round

    async def _live(self) -> asyncpg.Connection | None:
        while self._idle:
            connection, used_at = self._idle.pop()
            if connection.is_closed():
                continue
            if monotonic() - used_at < self._max_idle or await _answers(connection):
                return connection
            await self.close()  # what ended one in silence ended the others
        return None

    async def _connect(self) -> asyncpg.Connection:
        connection: asyncpg.Connection = await asyncpg.connect(**self._arguments)
        if self._session is None:
            try:
                await connection.execute(
                    "; ".join(f"set {name} = {value}" for name, value in _PLANNER.items())
                )
            except BaseException:
                connection.terminate()
                raise
        return connection


def _says_nothing_bad(error: BaseException) -> bool:
    """Whether the connection can be used again after this error."""
    sqlstate = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
    return isinstance(error, HubError) or (sqlstate is not None and sqlstate[:2] in _USABLE_AFTER)


async def _answers(connection: asyncpg.Connection) -> bool:
    """Whether it is alive; it is terminated if not, and where this is cancelled."""
    is_alive = False
    try:
        await connection.execute("select 1", timeout=PING_TIMEOUT_SECONDS)
        is_alive = True
    except (asyncpg.PostgresError, *LOST):
        pass
    finally:
        if not is_alive:
            connection.terminate()
    return is_alive


def direct(engine: AsyncEngine) -> DirectConnections:
    """The connections of this engine's database that bypass SQLAlchemy; they end when the engine does."""
    found: DirectConnections = engine.get_execution_options()[DIRECT]
    return found
