"""Presence: which users are connected to which nodes, and which nodes are alive. In Redis, for all nodes.

No command names keys of more than one slot, so it works on Redis Cluster. Times are those of Redis, so the
clocks of the nodes don't matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple, NewType
from uuid import UUID

from app.runtime.redis import Client

NodeId = NewType("NodeId", bytes)
"""Eight bytes, new whenever a node joins: see `app.realtime.membership`."""

NODE_ID_BYTES = 8
# One command a bucket: at 500 users HMGET costs 1.2 µs of CPU a user with 16 buckets, 2.5 with 64.
BUCKET_COUNT = 16
MAX_USERS_PER_COMMAND = 1000  # users

_CHANGE = """
local key, node, add = KEYS[1], ARGV[1], ARGV[2] == '1'
for number = 3, #ARGV do
  local nodes, others = redis.call('HGET', key, ARGV[number]) or '', ''
  for at = 1, #nodes, 8 do
    local other = string.sub(nodes, at, at + 7)
    if other ~= node then others = others .. other end
  end
  if add then others = others .. node end
  if others == '' then redis.call('HDEL', key, ARGV[number])
  else redis.call('HSET', key, ARGV[number], others) end
end
"""
_FORGET = """
local key, node = KEYS[1], ARGV[1]
local entries, gone = redis.call('HGETALL', key), {}
for number = 1, #entries, 2 do
  local nodes, others, found = entries[number + 1], '', false
  for at = 1, #nodes, 8 do
    local other = string.sub(nodes, at, at + 7)
    if other == node then found = true else others = others .. other end
  end
  if found and others == '' then
    redis.call('HDEL', key, entries[number])
    gone[#gone + 1] = entries[number]
  elseif found then redis.call('HSET', key, entries[number], others) end
end
return gone
"""
_BEAT = """
local key, node, silent_after = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('ZSCORE', key, node)
redis.call('ZADD', key, now, node)
local known = 0
if before and now - before <= silent_after then known = 1 end
return {known, redis.call('ZRANGEBYSCORE', key, '(' .. (now - silent_after), '+inf'),
        redis.call('ZRANGEBYSCORE', key, '-inf', now - silent_after)}
"""
_ALIVE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. (now - tonumber(ARGV[1])), '+inf')
"""


_TIME = "return redis.call('TIME')"


class Beat(NamedTuple):
    """The result of a heartbeat."""

    known: bool
    """Whether the other nodes counted it as alive until now."""
    others: frozenset[NodeId]
    unresponsive: frozenset[NodeId]
    """Nodes without a heartbeat for so long that they count as dead."""


class Presence:
    """The shared tables. Every call raises one of `app.runtime.redis.REDIS_ERRORS` if Redis is down."""

    def __init__(self, redis: Client, prefix: str) -> None:
        """Hubs that share a Redis need different prefixes."""
        self._redis = redis
        self._prefix = prefix
        self._nodes = f"{prefix}:nodes"

    def channel(self, node: NodeId) -> str:
        """The Pub/Sub channel that this node subscribes to."""
        return f"{self._prefix}:node:{node.hex()}"

    async def change(self, node: NodeId, present: Iterable[UUID], absent: Iterable[UUID] = ()) -> None:
        """Write which users are connected to the node from now on, and which no longer."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for flag, users in (("1", present), ("0", absent)):
                for bucket, members in _by_bucket(users).items():
                    for start in range(0, len(members), MAX_USERS_PER_COMMAND):
                        some = members[start : start + MAX_USERS_PER_COMMAND]
                        pipe.eval(_CHANGE, 1, self._bucket(bucket), node, flag, *some)
            await pipe.execute()

    async def look_up(self, users: Collection[UUID]) -> dict[UUID, list[NodeId]]:
        """The nodes of each user who is connected at all; a node may be dead by now."""
        buckets: dict[int, list[UUID]] = {}
        for user in users:
            buckets.setdefault(user.int % BUCKET_COUNT, []).append(user)
        found: dict[UUID, list[NodeId]] = {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for bucket, members in buckets.items():
                pipe.hmget(self._bucket(bucket), [user.bytes for user in members])
            for members, answers in zip(buckets.values(), await pipe.execute(), strict=True):
                for user, nodes in zip(members, answers, strict=True):
                    if nodes is not None:
                        found[user] = _split(nodes)
        return found

    async def beat(self, node: NodeId, unresponsive_after: float) -> Beat:
        """Send a heartbeat. Nodes without one for `unresponsive_after` seconds count as dead."""
        known, alive, unresponsive = await self._redis.eval(
            _BEAT, 1, self._nodes, node, round(unresponsive_after * 1000)
        )
        return Beat(bool(known), frozenset(alive) - {node}, frozenset(unresponsive))

    async def alive(self, unresponsive_after: float) -> frozenset[NodeId]:
        """The nodes with a heartbeat in the last `unresponsive_after` seconds. The caller need not be one."""
        return frozenset(await self._redis.eval(_ALIVE, 1, self._nodes, round(unresponsive_after * 1000)))

    async def is_connected(self, user: UUID, unresponsive_after: float) -> bool:
        """Whether the user is connected to a node that is alive."""
        nodes = (await self.look_up([user])).get(user, ())
        return bool(nodes) and not (await self.alive(unresponsive_after)).isdisjoint(nodes)

    async def time(self) -> float:
        """Redis' clock: unix seconds."""
        seconds, microseconds = await self._redis.eval(_TIME, 1, self._nodes)
        return int(seconds) + int(microseconds) / 1e6

    async def forget(self, node: NodeId, gone: Callable[[UUID], None] | None = None) -> None:
        """Remove all entries of a node that left or died.

        `gone` is called for each user who is connected to no other node. If several nodes forget one at once,
        one of them gets each user.
        """
        for bucket in range(BUCKET_COUNT):
            users = await self._redis.eval(_FORGET, 1, self._bucket(bucket), node)
            if gone is not None:
                for user in users:
                    gone(UUID(bytes=user))
        await self._redis.zrem(self._nodes, node)

    async def publish(self, publications: Collection[tuple[NodeId, bytes]]) -> None:
        """Send each node its publication."""
        # No pipeline: a cluster's client refuses PUBLISH in one.
        await asyncio.gather(
            *(self._redis.publish(self.channel(node), publication) for node, publication in publications)
        )

    def _bucket(self, number: int) -> str:
        return f"{self._prefix}:presence:{number}"


def _by_bucket(users: Iterable[UUID]) -> dict[int, list[bytes]]:
    buckets: dict[int, list[bytes]] = {}
    for user in users:
        buckets.setdefault(user.int % BUCKET_COUNT, []).append(user.bytes)
    return buckets


def _split(nodes: bytes) -> list[NodeId]:
    return [NodeId(nodes[at : at + NODE_ID_BYTES]) for at in range(0, len(nodes), NODE_ID_BYTES)]
