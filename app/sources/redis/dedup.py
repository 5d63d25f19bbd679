"""Deduplication among nodes, and between the stream and Pub/Sub: scripts that run in Redis.

Each script is atomic (decision 014). Not for a Redis Cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

WINDOW_MS = 60_000  # two messages with the same content within it are one event
RETENTION_MS = 24 * 3600 * 1000
MAX_TIMES_PER_MESSAGE = 24 * 60  # of one message; there can't be more in a day
MAX_DEAD_LETTERS = 100_000

# The first time that was *recorded*, not the earliest: a later one is appended, so an answer never changes.
_FIRST_SEEN = f"""
local at = ARGV[1]
if at == '' then
  local now = redis.call('TIME')
  at = now[1] .. string.format('%03d', math.floor(now[2] / 1000))
end
for _, known in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if math.abs(known - at) <= {WINDOW_MS} then return known end
end
redis.call('RPUSH', KEYS[1], at)
redis.call('LTRIM', KEYS[1], -{MAX_TIMES_PER_MESSAGE}, -1)
redis.call('PEXPIRE', KEYS[1], {RETENTION_MS})
return at
"""

_ADD_DEAD_LETTER = f"""
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', {MAX_DEAD_LETTERS}, '*', unpack(ARGV))
  redis.call('SET', KEYS[1], '', 'PX', {WINDOW_MS})
end
"""


class Deduplicator:
    """Decides which messages are the same event. Raises what redis-py raises; calls may be repeated."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        """`prefix` begins its keys."""
        self._redis = redis
        self._prefix = prefix
        self._first_seen = redis.register_script(_FIRST_SEEN)
        self._add_dead_letter = redis.register_script(_ADD_DEAD_LETTER)

    async def first_seen(self, messages: Sequence[tuple[str, int | None]]) -> list[str]:
        """Return when the event of each message was first seen.

        A message is given by its digest and time (ms; None: now).
        """
        async with self._redis.pipeline(transaction=False) as asked:
            for digest, at in messages:
                key = f"{self._prefix}:heard:{digest}"
                await self._first_seen(keys=[key], args=["" if at is None else at], client=asked)
            return [time.decode() for time in await asked.execute()]

    async def add_dead_letters(
        self, stream: str, dead_letters: Sequence[tuple[str, Mapping[str, bytes | str]]]
    ) -> None:
        """Append the dead letters to the stream, each with the deduplication key of its event: nodes that
        reject the same event write one. When this returns, Redis has them.
        """
        async with self._redis.pipeline(transaction=False) as asked:
            for identity, fields in dead_letters:
                key = f"{self._prefix}:letter:{identity}"
                parts = [part for field in fields.items() for part in field]
                await self._add_dead_letter(keys=[key, stream], args=parts, client=asked)
            await asked.execute()
