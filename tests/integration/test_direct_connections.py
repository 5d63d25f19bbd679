"""The connections beside the pools: none is left open, however its caller ends."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from app.store.direct import DirectConnections


async def test_one_in_use_ends_after_its_use_when_the_others_are_closed(database: str) -> None:
    connections = DirectConnections({"dsn": database}, None)
    async with connections.connection() as first, connections.connection():
        pass
    async with connections.connection() as used:
        await connections.close()
        assert await used.fetchval("select 1") == 1
    assert used.is_closed()
    assert first.is_closed()


async def test_after_a_close_new_ones_are_kept(database: str) -> None:
    connections = DirectConnections({"dsn": database}, None)
    await connections.close()
    async with connections.connection() as first:
        pass
    async with connections.connection() as second:
        pass
    assert second is first
    await connections.close()


async def test_a_caller_that_is_cancelled_while_it_asks_for_life_leaves_none_open(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = DirectConnections({"dsn": database}, None, max_idle=0.0)
    async with connections.connection() as used:
        pass

    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncpg.Connection, "execute", hang)
    asking = asyncio.create_task(connections.fetch("select 1"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert used.is_closed()
