"""One experiment's hub: its nodes, its clients, its load, and the ledger of what became of it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from bench.events import make_topic
from faults.ledger import Found, Ledger, RowKey, balance
from faults.load import SERIAL, Load, Mixture
from faults.mails import Mails
from faults.services import Site
from tests.support.hub import Hub, eventually, hub_settings, new_user
from tests.support.resuming_client import Client

PARTITIONS = 6
LOOK_EVERY, SAY_EVERY = 0.2, 5.0  # seconds
STALLED = 60.0  # seconds without any progress, after which what is missing counts as lost
DEAD_LETTERS_WITHIN = 15.0  # seconds after all rows are there
READY_WITHIN = 120.0  # seconds; several may start at once, under load
TICK = 0.05
LATE = 1.0  # seconds that what nobody expects may still come
NEW_ROWS = """
select
    receiver::text,
    seq,
    coalesce((raw_data->>$1)::int, -1) as serial,
    extract(epoch from pg_xact_commit_timestamp(notifications.xmin))::float8 as committed_at
from unnest($2::uuid[], $3::int[]) as known (user_id, last_seq)
join notifications on receiver = known.user_id and seq > known.last_seq
"""
PEOPLE = """
select receiver::text, (raw_data->>$1)::int from notifications
where (raw_data->>$1)::int = any($2::int[]) and receiver <> all($3::uuid[])
"""
_NOBODY = "http://127.0.0.1:9"  # the user service: the events name their receivers

Say = Callable[[str], None]


class Node(Hub):
    """A node of the hub, as a process that can be frozen and killed."""

    def freeze(self) -> None:
        """SIGSTOP: it holds all that it has, and does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def poke(self) -> None:
        """SIGUSR1, which `faults.failing_hub` waits for."""
        self._signal(signal.SIGUSR1)

    async def until_ready(self, within: float = READY_WITHIN) -> None:
        await super().until_ready(within)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def killed(self, within: float) -> None:
        """Returns when the process has died by SIGKILL; fails when it ends otherwise."""
        assert self.process is not None
        status = await asyncio.to_thread(self.process.wait, within)
        assert status == -signal.SIGKILL, f"a node ended with {status}:\n{self.log.read_text()[-2000:]}"

    async def start_again(self) -> None:
        """What an orchestrator does with a node that ended; returns when it is ready."""
        self.launch()
        await self.until_ready()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)


class Listener(Client):
    """A client that keeps the serial numbers of the events it received."""

    def __init__(self, nodes: Sequence[Hub], user: str) -> None:
        super().__init__(nodes, user)
        self.received: set[int] = set()

    def key(self, notification: dict[str, Any]) -> str:
        serial = notification["raw_data"].get(SERIAL, -1)
        self.received.add(int(serial))
        return str(serial)


@dataclass
class Progress:
    """How far everything is, as last seen."""

    rows: int = 0
    frames: int = 0
    mails: int = 0
    longest_wait: float = 0.0
    """The most seconds from the broker's taking an event to its rows, of those that need nobody else."""
    late: float = 0.0
    """How many seconds this process itself was late, at most: all that is measured waits for it."""


@dataclass
class Waited:
    """What an experiment found of what waited, as the ledger takes it (`faults.ledger.Found`)."""

    digest_items: list[tuple[int, str]] = field(default_factory=list)
    steps: list[tuple[int, str]] = field(default_factory=list)
    snoozes: list[RowKey] = field(default_factory=list)


@dataclass
class World:
    """What an experiment works on. Its load and its faults are the experiment's own business."""

    site: Site
    database: str
    nodes: list[Node]
    clients: list[Listener]
    load: Load
    mails: Mails
    chance: random.Random
    say: Say
    progress: Progress = field(default_factory=Progress)
    waited: Waited = field(default_factory=Waited)
    _rows: set[RowKey] = field(default_factory=set)
    _last_seq: dict[str, int] = field(default_factory=dict)
    _looking: asyncpg.Connection | None = None
    _look_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def users(self) -> list[str]:
        """Those of the ledger; an experiment may have others beside them."""
        return [client.user for client in self.clients]

    async def stored(self, rows: int) -> None:
        """Returns when so many rows are there. Fails when some are due and none come any more."""
        before, moved = -1, time.monotonic()
        while True:
            now = self.progress.rows
            if now >= rows:
                return
            if now != before or now >= len(self.load.due.rows):
                before, moved = now, time.monotonic()
            assert time.monotonic() - moved < STALLED, f"{now:,} rows of {rows:,}, and no more came"
            await asyncio.sleep(LOOK_EVERY / 4)

    async def caught_up(self) -> float:
        """Returns when all that is due now is stored, whatever comes meanwhile: the seconds that took."""
        return await self._gone(self.load.due.rows - self._rows, lambda missing: missing - self._rows)

    async def delivered(self) -> float:
        """Returns when the clients have received all that is due now: the seconds that took."""
        received = {client.user: client.received for client in self.clients}

        def left(missing: set[RowKey]) -> set[RowKey]:
            return {(user, serial) for user, serial in missing if serial not in received[user]}

        return await self._gone(left(self.load.due.rows), left)

    async def fresh_rows(self) -> float:
        """Returns when a row comes that wasn't there when this was asked: the seconds that took."""
        begun = time.monotonic()
        await eventually(self._look, "Postgres can be looked into", STALLED)
        await self.stored(self.progress.rows + 1)
        return time.monotonic() - begun

    async def _gone(self, missing: set[RowKey], left: Callable[[set[RowKey]], set[RowKey]]) -> float:
        """Returns when none of them is `left`: the seconds that took. Fails when nothing changes any more."""
        begun = moved = time.monotonic()
        while missing:
            await asyncio.sleep(LOOK_EVERY / 4)
            before, missing = len(missing), left(missing)
            if len(missing) < before:
                moved = time.monotonic()
            assert time.monotonic() - moved < STALLED, f"{len(missing):,} rows or frames didn't come"
        return time.monotonic() - begun

    async def settle(self) -> float:
        """Returns when all that is due is there, or nothing moves any more: the seconds that took."""
        begun = moved = time.monotonic()
        seen = (0, 0, 0)
        while not self._complete():
            now = (self.progress.rows, self.progress.frames, self.progress.mails)
            if now != seen:
                seen, moved = now, time.monotonic()
            if time.monotonic() - moved > STALLED:
                self.say(f"nothing has come for {STALLED:.0f} s")
                break
            await asyncio.sleep(LOOK_EVERY)
        took = time.monotonic() - begun
        await asyncio.sleep(LATE)
        return took

    def _complete(self) -> bool:
        due, now = self.load.due, self.progress
        received = sum(len(client.received) for client in self.clients)
        return min(now.rows, received) >= len(due.rows) and now.mails >= len(due.mails)

    async def restless(self) -> None:
        """Cut a client off now and then, until cancelled; it reconnects and resumes."""
        while True:
            await asyncio.sleep(self.chance.uniform(0.5, 2))
            self.chance.choice(self.clients).cut()

    async def ledger(self) -> Ledger:
        """The balance of what is there now."""
        connection = await self.site.postgres.connect(self.database)
        try:
            rows = await connection.fetch(
                "select receiver::text, seq, coalesce((raw_data->>$1)::int, -1) as serial from notifications"
                " where receiver = any($2::uuid[])",
                SERIAL,
                self.users,
            )
            broadcasts = [*{serial for _, serial in self.load.due.people}]
            people = await connection.fetch(PEOPLE, SERIAL, broadcasts, self.users)
        finally:
            await connection.close()
        found = Found(
            rows=[tuple(row) for row in rows],
            frames=[(client.user, list(map(int, client.seen))) for client in self.clients],
            mails=self.mails.found,
            dead_letters=await self._dead_letters(),
            people=[tuple(row) for row in people],
            digest_items=self.waited.digest_items,
            steps=self.waited.steps,
            snoozes=self.waited.snoozes,
        )
        for client in self.clients:
            for wrong in client.wrong[:3]:
                self.say(f"a client received {wrong}")
        return balance(self.load.due, found)

    async def watch(self) -> None:
        """Keep `progress`, and say it every few seconds; until cancelled."""
        said = time.monotonic()
        while True:
            await self._look()
            if time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                self.say(self._how_far())
            await asyncio.sleep(LOOK_EVERY)

    async def watch_itself(self) -> None:
        """Keep `progress.late`; until cancelled."""
        while True:
            asleep = time.monotonic()
            await asyncio.sleep(TICK)
            self.progress.late = max(self.progress.late, time.monotonic() - asleep - TICK)

    async def _look(self) -> bool:
        """Bring `progress` up to date, and say whether Postgres let us."""
        async with self._look_lock:
            self.progress.frames = sum(len(client.seen) for client in self.clients)
            self.progress.mails = len(await asyncio.to_thread(self.mails.read))
            try:
                if self._looking is None or self._looking.is_closed():
                    self._looking = await asyncio.wait_for(self.site.postgres.connect(self.database), 5)
                seqs = [self._last_seq.get(user, 0) for user in self.users]
                found = await self._looking.fetch(NEW_ROWS, SERIAL, self.users, seqs, timeout=5)
            except Exception as error:  # of many kinds, while it is being stopped
                self.say(f"Postgres can't be looked into: {type(error).__name__}")
                self._looking = None
                return False
            now = time.monotonic()
            since_boot = now - time.time()
            for user, seq, serial, committed_at in found:  # an inbox's rows are committed in the order of seq
                self._rows.add((user, serial))
                self._last_seq[user] = max(seq, self._last_seq.get(user, 0))
                stored_at = min(now, committed_at + since_boot)  # a row changed since has a later time
                waited = stored_at - self.load.taken_at.get(serial, now)
                self.progress.longest_wait = max(self.progress.longest_wait, waited)
            self.progress.rows = len(self._rows)
            return True

    def _how_far(self) -> str:
        due, now = self.load.due, self.progress
        return (
            f"{due.produced:,} events, {now.rows:,} of {len(due.rows):,} rows, {now.frames:,} frames, "
            f"{now.mails:,} of {len(due.mails):,} mails"
        )

    async def _dead_letters(self) -> list[int]:
        """All dead letters, once there are as many as are due or none have come for some time."""
        end = time.monotonic() + DEAD_LETTERS_WITHIN
        while True:
            found = await self._read_dead_letters()
            if len(found) >= len(self.load.due.dead_letters) or time.monotonic() > end:
                return found
            await asyncio.sleep(LOOK_EVERY)

    async def _read_dead_letters(self) -> list[int]:
        dead_letters = await self.nodes[0].records(f"{self.nodes[0].topic}.dlq")
        return [int(dict(dead_letter.headers).get(SERIAL, b"-1")) for dead_letter in dead_letters]


@asynccontextmanager
async def open_world(
    site: Site,
    folder: Path,
    chance: random.Random,
    say: Say,
    *,
    nodes: int,
    users: int,
    mixture: Mixture,
    settings: Mapping[str, str],
    own_settings: Mapping[int, Mapping[str, str]],
) -> AsyncIterator[World]:
    """A fresh hub on a fresh database and fresh Kafka topics, with a client for each user.

    `settings` are for all nodes, `own_settings` for some, by their number from 0.
    """
    database = await site.postgres.copy("hub")
    environment = _settings(site, database, f"{chance.getrandbits(32):08x}") | dict(settings)
    topic = environment["NOTIFICATION_TOPIC"]
    make_topic(site.kafka.bootstrap, topic, PARTITIONS)
    hubs = [
        Node({**environment, **own_settings.get(number, {})}, folder / f"node-{number}.log")
        for number in range(nodes)
    ]
    await hubs[0].make_topics()
    people = [new_user() for _ in range(users)]
    clients = [Listener(hubs, user) for user in people]
    load = Load(site.kafka.bootstrap, topic, people, mixture, chance)
    world = World(site, database, hubs, clients, load, Mails(site.mailbox.folder), chance, say)
    try:
        for hub in hubs:
            hub.launch()
        await asyncio.gather(*(hub.until_ready() for hub in hubs))
        for client in clients:
            client.start()
        async with in_background(world.watch()), in_background(world.watch_itself()):
            yield world
    finally:
        if world._looking is not None:
            world._looking.terminate()
        site.repair()
        await asyncio.gather(*(client.disconnect(abruptly=True) for client in clients))
        await asyncio.gather(*(_end(hub) for hub in hubs))


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have it go on until the end of the block. Raises what it raised, after the block."""
    task = asyncio.create_task(work)
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _end(hub: Node) -> None:
    if hub.running:
        hub.thaw()
        try:
            await hub.stop()
        except Exception:
            await hub.kill()


def _settings(site: Site, database: str, mark: str) -> dict[str, str]:
    """Production's defaults, but for the lease of deliveries, which makes a run shorter."""
    own = hub_settings(
        f"postgresql://postgres@127.0.0.1:{site.to_postgres.port}/{database}",
        f"redis://127.0.0.1:{site.to_redis.port}/0",
        f"127.0.0.1:{site.to_kafka.port}",
        _NOBODY,
        mark,
    )
    return {
        **own,
        "KAFKA_SESSION_TIMEOUT_MS": "10000",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(site.mailbox.port),
        "SMTP_SECURITY": "none",
        "DELIVERY_LEASE": "30",
        "LOG_LEVEL": "info",
    }
