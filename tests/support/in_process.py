"""Nodes of one hub in this process, on a real Redis: without HTTP, Kafka and Postgres."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from app.domain.notifications import Notification
from app.realtime import bus, membership
from app.realtime.bus import RedisBus
from app.realtime.connection import ClientInfo, Connection
from app.realtime.manager import WebSocketManager
from app.realtime.membership import Membership
from app.realtime.presence import Beat, NodeId, Presence
from app.realtime.publication import Publication, unpack
from app.runtime import tasks
from app.runtime.backoff import Backoff
from app.runtime.redis import connect, subscription
from app.settings.services import RedisSettings
from tests.support.hub import eventually
from tests.support.peers import Peer, joined, notification
from tests.support.settings import settings_on

BEAT_SECONDS, REJOIN_BACKOFF = 0.02, Backoff(0.02, 0.02)
LEASE = 0.05  # after which a node that joined compares again

Start = Callable[[int], Awaitable[list["Node"]]]
"""Starts so many nodes more; returns when all know each other and have nothing more to do."""


class Hold:
    """Calls that wait: `reached` is set when one does, `released` lets all go on."""

    def __init__(self) -> None:
        self.reached, self.released = asyncio.Event(), asyncio.Event()


class WatchedPresence(Presence):
    """The real one; its calls (change, beat, forget, publish, reconcile) fail or wait on command."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        super().__init__(redis, prefix)
        self.looked_up = 0
        self.changes: list[int] = []
        """How many users each call was about."""
        self.sent: list[Publication] = []
        self.failing: set[str] = set()
        self.deaf = False
        """Whether what the node sends itself gets lost."""
        self._holds: dict[str, Hold] = {}

    def hold(self, call: str) -> Hold:
        """From now on such calls wait, until released or until `let_pass`."""
        self._holds[call] = Hold()
        return self._holds[call]

    def let_pass(self) -> None:
        """New calls don't wait; those that do go on waiting."""
        self._holds.clear()

    async def _pass(self, call: str) -> None:
        if hold := self._holds.get(call):
            hold.reached.set()
            await hold.released.wait()
        if call in self.failing:
            raise ConnectionError("Redis is away")

    async def change(self, node: NodeId, present: Iterable[UUID], absent: Iterable[UUID] = ()) -> None:
        present, absent = list(present), list(absent)
        self.changes.append(len(present) + len(absent))
        await self._pass("change")
        await super().change(node, present, absent)

    async def look_up(self, users: Collection[UUID]) -> dict[UUID, list[NodeId]]:
        self.looked_up += 1
        return await super().look_up(users)

    async def beat(self, node: NodeId, unresponsive_after: float) -> Beat:
        await self._pass("beat")
        return await super().beat(node, unresponsive_after)

    async def forget(self, node: NodeId, gone: Callable[[UUID], None] | None = None) -> None:
        await self._pass("forget")
        await super().forget(node, gone)

    async def silence(self, node: NodeId) -> None:
        """Let it count as dead, as if its last heartbeat was long ago."""
        await self._redis.zadd(self._nodes, {node: 0})

    async def publish(self, publications: Collection[tuple[NodeId, bytes]]) -> None:
        sent = [unpack(data) for _, data in publications if data]
        if sent:
            await self._pass("publish")
        elif self.deaf:
            return
        if any(each.reconcile for each in sent):
            await self._pass("reconcile")
        self.sent += sent  # not after: a receiver may be faster than the answer of Redis
        await super().publish(publications)

    def pushed(self) -> Counter[UUID]:
        """How many frames it sent other nodes, by receiver."""
        return Counter(push.receiver for each in self.sent for push in each.pushes)


class Node:
    """All of a node that has to do with the others."""

    def __init__(self, settings: RedisSettings) -> None:
        redis = connect(settings)
        assert isinstance(redis, Redis)
        self.redis = redis
        self.presence = WatchedPresence(redis, settings.prefix)
        self.membership = Membership(self.presence, partial(subscription, redis, settings))
        self.behind: list[Connection] = []
        self.manager = WebSocketManager(self.behind.append, self.membership.user_disconnected)
        self.reconciled: list[float] = []
        """When it was asked to (loop time)."""
        self.resynced = 0
        self.gone: list[UUID] = []
        """The users whose logout it received."""
        self.orphaned: list[UUID] = []
        """The users of dead nodes whom it got."""
        self.bus = RedisBus(
            self.manager,
            self.presence,
            self.membership,
            reconcile=lambda: self.reconciled.append(now()),
            resync=self._count_resync,
            on_logout=self.gone.append,
        )

    def _count_resync(self) -> None:
        self.resynced += 1

    @property
    def id(self) -> NodeId:
        return self.membership.node

    async def start(self) -> None:
        self.membership.attach(self.manager.users, self.bus, self.orphaned.append)
        await self.membership.start()
        await self.bus.start()

    async def stop(self) -> None:
        await self.bus.stop()
        await self.membership.stop()

    async def arrive(self, user: UUID, asked_at: float = 0.0, *, session: bool = False) -> Peer:
        """A client of this user, connected; the others know."""
        peer = joined(self.manager, user, session=session, info=ClientInfo(asked_at=asked_at))
        await self.membership.user_connected(user)
        return peer

    async def lost(self) -> None:
        """It loses Redis, until `back`."""
        self.presence.failing.add("beat")
        await until(lambda: not self.membership.joined, "it notices")

    async def back(self) -> None:
        self.presence.failing.clear()
        await until(lambda: self.membership.joined, "it joins again")


@asynccontextmanager
async def running_nodes(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Nodes that beat fast."""
    for name in ("BEAT_SECONDS", "REJOIN_BACKOFF"):
        monkeypatch.setattr(membership, name, globals()[name])
    monkeypatch.setattr(bus, "LEASE_SECONDS", LEASE)
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.1)
    settings = settings_on(redis_url, redis_prefix=f"nodes-{uuid4().hex}").redis
    nodes: list[Node] = []

    async def start(count: int) -> list[Node]:
        new = [Node(settings) for _ in range(count)]
        nodes.extend(new)
        for node in new:
            await node.start()
        await acquainted(nodes)
        await until(lambda: all(len(node.reconciled) >= 2 for node in new), "all have compared twice")
        for node in nodes:
            node.reconciled.clear()
            node.resynced = 0
        return new

    try:
        yield start
    finally:
        for node in nodes:
            node.presence.let_pass()
            await node.stop()
            await node.redis.aclose()


class Clock:
    """The bus's and the memberships', which may go ahead of the loop's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr(bus, "_now", self.now)
        monkeypatch.setattr(membership, "_now", self.now)

    def now(self) -> float:
        return now() + self.ahead


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(holds: Callable[[], bool], what: str) -> None:
    async def ask() -> bool:
        return holds()

    await eventually(ask, what)


async def acquainted(nodes: Collection[Node]) -> None:
    """Returns when each is joined and knows just the others."""

    def all_know() -> bool:
        ids = {node.id for node in nodes}
        return all(node.membership.joined and node.membership.others == ids - {node.id} for node in nodes)

    await until(all_know, "the nodes know each other")


async def at(seq: int, *peers: Peer) -> None:
    """Returns when all have come that far."""
    await until(
        lambda: all(peer.connection.cursor.last_seq == seq for peer in peers), f"all have come to {seq}"
    )


def rows(user: UUID, first: int, last: int | None = None) -> list[Notification]:
    """The user's notifications from one `seq` up to and with another."""
    return [notification(user, seq) for seq in range(first, (last or first) + 1)]
