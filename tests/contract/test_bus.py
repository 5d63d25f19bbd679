"""The contract of the bus (`app.realtime.bus.Bus`), on two nodes over Redis and in memory."""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from app.realtime.bus import Bus
from app.realtime.protocol import CloseCode, text_frame
from app.testing import MemoryBus, MemoryConnection
from tests.support.in_process import Node, now, rows, running_nodes, until
from tests.support.peers import Peer, notification

FRAME, OTHER_FRAME = text_frame(b'{"type":"all_read"}'), text_frame(b'{"type":"read"}')


class Client(ABC):
    """A client of one user, on any node."""

    @abstractmethod
    def received(self) -> list[int | bytes]:
        """All it got: notifications, by their `seq`, and session frames."""

    @abstractmethod
    def close_code(self) -> int | None: ...


class Scene(ABC):
    """A bus, and clients wherever it has to reach them."""

    bus: Bus

    @abstractmethod
    async def connect(
        self, user: UUID, *, last_seq: int = 0, session: bool = False, seconds_ago: float = 0.0
    ) -> list[Client]:
        """A client on each node; the inbox stood at `last_seq` then."""

    @abstractmethod
    async def arrived(self) -> None:
        """Returns when all that was published has come to every node."""

    @abstractmethod
    async def lose_peers(self) -> list[Client]:
        """The bus can't reach other nodes any more. Returns who is still reached: a client of `WITNESS`."""


WITNESS = uuid4()


class MemoryClient(Client):
    def __init__(self, connection: MemoryConnection) -> None:
        self._connection = connection

    def received(self) -> list[int | bytes]:
        return [each if isinstance(each, bytes) else each.seq for each in self._connection.received]

    def close_code(self) -> int | None:
        return self._connection.close_code


class InMemory(Scene):
    def __init__(self) -> None:
        self.bus = self._bus = MemoryBus()

    async def connect(
        self, user: UUID, *, last_seq: int = 0, session: bool = False, seconds_ago: float = 0.0
    ) -> list[Client]:
        made = self._bus.connect(user, last_seq=last_seq, session=session, seconds_ago=seconds_ago)
        return [MemoryClient(made)]

    async def arrived(self) -> None:
        """A call returns when it has."""

    async def lose_peers(self) -> list[Client]:
        """It has none."""
        return await self.connect(WITNESS)


class NodeClient(Client):
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._received: list[int | bytes] = []

    def received(self) -> list[int | bytes]:
        for frame in self._peer.read():
            data = bytes(frame.data)
            told = json.loads(data) if data.startswith(b"{") else {}
            if "event_type" in told:
                self._received.append(told["data"]["seq"])
            elif "type" in told:
                self._received.append(text_frame(data))
        return self._received

    def close_code(self) -> int | None:
        self.received()
        return self._peer.close_code()


class OverRedis(Scene):
    def __init__(self, nodes: Sequence[Node]) -> None:
        self.bus = nodes[0].bus
        self._nodes = nodes

    async def connect(
        self, user: UUID, *, last_seq: int = 0, session: bool = False, seconds_ago: float = 0.0
    ) -> list[Client]:
        asked_at = now() - seconds_ago
        peers = [await node.arrive(user, asked_at, session=session) for node in self._nodes]
        for peer in peers:
            assert not peer.connection.cursor.started(last_seq)
        return [NodeClient(peer) for peer in peers]

    async def arrived(self) -> None:
        """What is published last is the last to come; logouts come by themselves."""
        far, mark, last = self._nodes[1], uuid4(), uuid4()
        witness = await far.arrive(last)
        self.bus.disconnect(mark)
        self.bus.publish(rows(last, 1))
        await until(lambda: mark in far.gone, "the last logout has come")
        await until(lambda: witness.connection.cursor.last_seq == 1, "the last notification has come")

    async def lose_peers(self) -> list[Client]:
        here = self._nodes[0]
        near = await here.arrive(WITNESS)
        await here.lost()
        return [NodeClient(near)]


@pytest_asyncio.fixture(params=["memory", "redis"])
async def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    if request.param == "memory":
        yield InMemory()
        return
    async with running_nodes(request.getfixturevalue("redis_url"), monkeypatch) as start:
        yield OverRedis(await start(2))


async def test_each_client_gets_its_users_notifications_once_and_in_order(scene: Scene) -> None:
    users, chance = [uuid4() for _ in range(3)], random.Random(7)
    clients = {user: await scene.connect(user) for user in users}
    next_seq = dict.fromkeys(users, 1)
    for _ in range(200):
        batch = []
        for user in chance.choices(users, k=chance.randint(0, 5)):
            batch.append(notification(user, next_seq[user]))
            next_seq[user] += 1
        scene.bus.publish(batch)
    await scene.arrived()
    for user in users:
        for client in clients[user]:
            assert client.received() == [*range(1, next_seq[user])]


async def test_nobody_receives_what_is_for_another(scene: Scene) -> None:
    user, stranger, nobody = uuid4(), uuid4(), uuid4()
    own, strangers = await scene.connect(user), await scene.connect(stranger, session=True)
    scene.bus.publish([notification(nobody, 1), notification(user, 1)])
    scene.bus.send_frame(user, FRAME)
    scene.bus.disconnect(nobody)
    await scene.arrived()
    assert [client.received() for client in own] == [[1]] * len(own)
    assert [client.received() for client in strangers] == [[]] * len(strangers)
    assert [client.close_code() for client in (*own, *strangers)] == [None] * len((*own, *strangers))


async def test_nothing_is_kept_for_who_is_not_connected(scene: Scene) -> None:
    user = uuid4()
    scene.bus.publish(rows(user, 1, 3))
    scene.bus.send_frame(user, FRAME)
    await scene.arrived()
    clients = await scene.connect(user, last_seq=3, session=True)
    scene.bus.publish(rows(user, 4))
    await scene.arrived()
    assert [client.received() for client in clients] == [[4]] * len(clients)


async def test_a_session_frame_reaches_session_connections_only_in_the_order_of_the_calls(
    scene: Scene,
) -> None:
    user = uuid4()
    sessions, plain = await scene.connect(user, session=True), await scene.connect(user)
    scene.bus.send_frame(user, FRAME)
    scene.bus.publish(rows(user, 1))
    scene.bus.send_frame(user, OTHER_FRAME)
    scene.bus.publish(rows(user, 2))
    await scene.arrived()
    assert [client.received() for client in sessions] == [[FRAME, 1, OTHER_FRAME, 2]] * len(sessions)
    assert [client.received() for client in plain] == [[1, 2]] * len(plain)


async def test_who_missed_one_gets_nothing_more_before_the_store_was_read(scene: Scene) -> None:
    user = uuid4()
    clients = await scene.connect(user)
    scene.bus.publish(rows(user, 1))
    scene.bus.publish(rows(user, 3, 5))
    await scene.arrived()
    assert [client.received() for client in clients] == [[1]] * len(clients)


async def test_what_is_published_again_comes_to_plain_connections_that_were_opened_since_unless_it_is_late(
    scene: Scene,
) -> None:
    user = uuid4()
    before = await scene.connect(user)
    scene.bus.publish(rows(user, 1, 2))
    await scene.arrived()
    since, session = (
        await scene.connect(user, last_seq=2),
        await scene.connect(user, last_seq=2, session=True),
    )
    for _ in range(2):  # Redis may deliver a publication twice, Kafka an event
        scene.bus.publish(rows(user, 1, 2), redelivered=True)
    scene.bus.publish(rows(user, 3))
    scene.bus.publish(rows(user, 2), redelivered=True)
    await scene.arrived()
    assert [client.received() for client in before] == [[1, 2, 3]] * len(before)
    assert [client.received() for client in since] == [[1, 2, 3]] * len(since)
    assert [client.received() for client in session] == [[3]] * len(session)


async def test_what_is_published_again_and_was_never_is_for_all(scene: Scene) -> None:
    user = uuid4()
    clients = await scene.connect(user) + await scene.connect(user, session=True)
    scene.bus.publish(rows(user, 1), redelivered=True)
    await scene.arrived()
    assert [client.received() for client in clients] == [[1]] * len(clients)


async def test_a_logout_ends_all_connections_that_were_open_and_they_get_nothing_more(scene: Scene) -> None:
    user = uuid4()
    clients = await scene.connect(user) + await scene.connect(user, session=True)
    scene.bus.publish(rows(user, 1))
    await scene.arrived()
    scene.bus.disconnect(user)
    scene.bus.publish(rows(user, 2))
    scene.bus.send_frame(user, FRAME)
    await scene.arrived()
    assert [client.close_code() for client in clients] == [CloseCode.LOGGED_OUT] * len(clients)
    assert [client.received() for client in clients] == [[1]] * len(clients)
    scene.bus.disconnect(user)


async def test_a_logout_spares_connections_asked_for_after_it(scene: Scene) -> None:
    user = uuid4()
    before, after = await scene.connect(user, seconds_ago=31), await scene.connect(user, seconds_ago=29)
    scene.bus.disconnect(user, seconds_ago=30)
    await scene.arrived()
    assert [client.close_code() for client in before] == [CloseCode.LOGGED_OUT] * len(before)
    assert [client.close_code() for client in after] == [None] * len(after)


async def test_of_two_logouts_at_once_the_newer_counts(scene: Scene) -> None:
    user = uuid4()
    clients = await scene.connect(user, seconds_ago=10)
    scene.bus.disconnect(user)
    scene.bus.disconnect(user, seconds_ago=30)  # redelivered in the same batch
    await scene.arrived()
    assert [client.close_code() for client in clients] == [CloseCode.LOGGED_OUT] * len(clients)


async def test_no_call_fails_and_local_clients_are_notified_while_the_peers_are_away(scene: Scene) -> None:
    near = await scene.lose_peers()
    for seq in range(1, 10):
        scene.bus.publish(rows(WITNESS, seq))
        scene.bus.publish(rows(uuid4(), seq))
        scene.bus.send_frame(WITNESS, FRAME)
    assert [client.received() for client in near] == [[*range(1, 10)]]
    scene.bus.disconnect(uuid4())
    assert [client.close_code() for client in near] == [None]
    scene.bus.disconnect(WITNESS)
    assert [client.close_code() for client in near] == [CloseCode.LOGGED_OUT]
