"""The store's ports, in memory and on Postgres: what one suite runs on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.waiting import WaitingDeliveries
from app.store.audiences import AudienceStore
from app.store.broadcasts import BroadcastStore
from app.store.decisions import DecisionStore
from app.store.deliveries import DeliveryStore
from app.store.inboxes import InboxStore
from app.store.notifications import NotificationStore
from app.store.parked import ParkedStore
from app.store.ports import (
    Audiences,
    Broadcasts,
    Decisions,
    DeliveryLog,
    EventWriter,
    Inboxes,
    InboxStates,
    ParkedEvents,
    PreferencesPort,
    ProcessedEvents,
    ScheduledEvents,
    Topics,
    Triage,
)
from app.store.preferences import PreferenceStore
from app.store.scheduled import ScheduledStore
from app.store.topics import TopicStore
from app.store.triage import TriageStore
from app.store.waiting import WaitingStore
from app.store.writer import BatchWriter
from app.testing import MemoryPeople, MemoryStore
from tests.support.hub import free_port
from tests.support.store import engine_on

POOL = 4
MEMORY, POSTGRES = BOTH = ("memory", "postgres")


@dataclass
class Clock:
    """The store's clock for `created_at`: the machine's, or stopped `at` a time."""

    at: float | None = None

    def now(self) -> float:
        return time.time() if self.at is None else self.at


class Store(NamedTuple):
    """All ports of one store."""

    writer: EventWriter
    processed: ProcessedEvents
    inboxes: Inboxes
    triage: Triage
    states: InboxStates
    scheduled: ScheduledEvents
    deliveries: DeliveryLog
    parked: ParkedEvents
    decisions: Decisions
    topics: Topics
    broadcasts: Broadcasts
    audiences: Audiences
    waiting: WaitingDeliveries
    clock: Clock
    nodes: list[EventWriter]
    """The writers of four nodes, each with separate connections."""


def in_memory(store: MemoryStore, clock: Clock) -> Store:
    return Store(
        store,
        store,
        store,
        store,
        store,
        store.scheduled,
        store.deliveries,
        store.parked,
        store,
        store.topics,
        store.broadcasts,
        store.audiences,
        store.deliveries,
        clock,
        [store] * 4,
    )


def on_postgres(engine: AsyncEngine, nodes: list[AsyncEngine], clock: Clock) -> Store:
    notifications = NotificationStore(engine)
    return Store(
        BatchWriter(engine, clock.now),
        notifications,
        notifications,
        TriageStore(engine),
        InboxStore(engine),
        ScheduledStore(engine),
        DeliveryStore(engine),
        ParkedStore(engine),
        DecisionStore(engine),
        TopicStore(engine),
        BroadcastStore(engine),
        AudienceStore(engine, "en"),
        WaitingStore(engine),
        clock,
        [BatchWriter(node) for node in nodes],
    )


@pytest_asyncio.fixture(scope="module")
async def engines(database: str) -> AsyncIterator[list[AsyncEngine]]:
    """The pools of five nodes."""
    pools = [engine_on(database, database_pool_size=POOL) for _ in range(5)]
    yield pools
    for pool in pools:
        await pool.dispose()


@pytest.fixture(params=BOTH)
def where(request: pytest.FixtureRequest) -> str:
    """In which of both the test's ports are."""
    return str(request.param)


@pytest.fixture
def store(where: str, request: pytest.FixtureRequest) -> Store:
    """An empty store in memory, or one on Postgres with what earlier tests wrote."""
    clock = Clock()
    if where == MEMORY:
        return in_memory(MemoryStore(clock.now), clock)
    engine, *nodes = request.getfixturevalue("engines")
    return on_postgres(engine, nodes, clock)


@pytest.fixture
def people(where: str, request: pytest.FixtureRequest) -> PreferencesPort:
    """What people have set, beside `store`."""
    if where == POSTGRES:
        return PreferenceStore(request.getfixturevalue("engines")[0])
    writer = request.getfixturevalue("store").writer
    assert isinstance(writer, MemoryStore)
    return writer.people


@pytest_asyncio.fixture
async def away(where: str) -> AsyncIterator[tuple[Store, PreferencesPort]]:
    """A store and preferences that do not answer."""
    if where == MEMORY:
        store, people = MemoryStore(), MemoryPeople()
        store.unavailable = people.unavailable = True
        yield in_memory(store, Clock()), people
        return
    engine = engine_on(f"postgresql://hunter2:hunter2@127.0.0.1:{free_port()}/hub")
    yield on_postgres(engine, [], Clock()), PreferenceStore(engine)
    await engine.dispose()
