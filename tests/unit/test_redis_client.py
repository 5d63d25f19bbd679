"""The Redis client packs commands as redis-py does, only in C."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from app.runtime.redis import connect
from tests.support.settings import settings_on

COMMANDS = [
    ("PING",),
    ("MGET", *(f"ключ:{number}" for number in range(2000))),
    ("SET", "key", b"\x00\r\n\xff", "PX", 1500),
    ("ZADD", "key", 1796013130.25, b"member", -1.5, "", 10**18, "other"),
    ("XGROUP CREATE", "stream", "group", "$", "MKSTREAM"),
    (b"CLIENT KILL", "ID", 7),
]


@pytest.mark.parametrize("url", ["redis://redis:6379/1", "rediss://redis", "unix:///run/redis.sock"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_packed_as_redis_py_packs(url: str, command: tuple[str | bytes | int | float, ...]) -> None:
    client: Any = connect(settings_on(url).redis)
    connection = client.connection_pool.make_connection()
    packed = b"".join(connection.pack_commands([command]))
    assert packed == b"".join(AbstractConnection.pack_command(connection, *command))
