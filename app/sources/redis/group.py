"""A stream's consumer group, as one of its consumers sees it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.sources.redis.messages import Received, entry

MAX_PENDING_ENTRIES = 10_000  # of one look-up; more than a node has pending

# In one step: a consumer that comes back to life in between would lose what it just read.
_REMOVE_CONSUMERS = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local is = {}
  for i = 1, #consumer, 2 do is[consumer[i]] = consumer[i + 1] end
  if is.pending == 0 and is.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], is.name)
  end
end
"""


class Claimed(NamedTuple):
    """Entries taken over. `after`: where to go on, None at the end. `vanished`: some were no longer there."""

    entries: list[Received]
    after: bytes | None
    vanished: bool


class ConsumerGroup:
    """Entries are a consumer's from when it reads or claims them until someone acknowledges or claims them.

    All methods raise what redis-py raises, and may be called again after that.
    """

    def __init__(self, redis: Redis, stream: str, group: str, consumer: str) -> None:
        self._redis = redis
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._remove_consumers = redis.register_script(_REMOVE_CONSUMERS)

    async def make(self) -> None:
        """Create the stream and the group if they are missing.

        A new group begins with the stream's first entry.
        """
        try:
            await self._redis.xgroup_create(self._stream, self._group, "0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self, count: int, wait_ms: int) -> list[Received]:
        """Read the next entries that no consumer has; none if none arrives within `wait_ms`."""
        found: Any = await self._redis.xreadgroup(
            self._group, self._consumer, {self._stream: ">"}, count=count, block=wait_ms
        )
        return [self._received(*entry) for _, entries in found for entry in entries]

    async def acknowledge(self, ids: Collection[bytes]) -> None:
        """Acknowledge them, for the whole group."""
        if ids:
            await self._redis.xack(self._stream, self._group, *ids)

    async def renew(self, ids: Collection[bytes]) -> None:
        """Renew the claim on them: they are still pending here, and no other consumer claims them for now."""
        if ids:
            await self._redis.xclaim(self._stream, self._group, self._consumer, 0, [*ids], justid=True)

    async def claim(self, idle_ms: int, count: int, after: bytes) -> Claimed:
        """Claim what its consumers, this one included, have neither acknowledged nor renewed for so long."""
        cursor, entries, *_ = await self._redis.xautoclaim(
            self._stream, self._group, self._consumer, idle_ms, after, count
        )
        found = [self._received(*entry) for entry in entries if entry[0] is not None]
        return Claimed(found, None if cursor == b"0-0" else cursor, len(found) < len(entries))

    async def held(self) -> list[bytes]:
        """The ids of this consumer's entries."""
        pending: Any = await self._redis.xpending_range(
            self._stream, self._group, "-", "+", MAX_PENDING_ENTRIES, consumername=self._consumer
        )
        return [entry["message_id"] for entry in pending]

    async def fetch(self, ids: Iterable[bytes]) -> list[Received]:
        """The entries with these ids, without those that were trimmed from the stream."""
        async with self._redis.pipeline(transaction=False) as asked:
            for entry_id in ids:
                asked.xrange(self._stream, entry_id, entry_id)
            return [self._received(*entry) for found in await asked.execute() for entry in found]

    async def remove_unresponsive(self, idle_ms: int) -> None:
        """Remove consumers that have no entry and read none for so long: each start of a node adds one.

        Redis before 7.2 doesn't count a read that finds nothing: there active consumers are removed too
        while no entries arrive, and return with their next entry.
        """
        await self._remove_consumers(keys=[self._stream], args=[self._group, idle_ms])

    def _received(self, entry_id: bytes, fields: dict[bytes, bytes]) -> Received:
        return entry(self._stream, entry_id, fields)
