"""Parked events on a real Postgres and a user service over HTTP: what its return costs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import SourceMessage
from app.ingest.parked import ParkedPorts, ParkedWorker
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.ingest.user_service import UserService
from app.settings.services import UserServiceSettings
from app.store.notifications import NotificationStore
from app.store.parked import ParkedStore
from app.store.parked_operations import ParkedOperations
from app.store.preferences import PreferenceStore
from app.store.writer import BatchWriter
from app.testing import MemoryBus
from handlers.registry import HANDLERS
from tests.support.store import engine_on
from tests.support.user_service import FakeUserService

EVENTS = int(os.environ.get("PARKED_EVENTS", "200"))
LATENCY = 0.02


@dataclass
class Node:
    """What of a node has to do with parked events; its clients are in memory."""

    engine: AsyncEngine
    service: FakeUserService
    groups: UserService
    pipeline: Pipeline
    worker: ParkedWorker

    async def take(self, messages: list[SourceMessage]) -> None:
        for start in range(0, len(messages), 500):
            batch = self.pipeline.prepare(messages[start : start + 500])
            assert await self.pipeline.write(batch.events) == []

    async def parked(self) -> int:
        return (await ParkedStore(self.engine).state()).events

    async def done(self) -> None:
        async with asyncio.timeout(120):
            while await self.parked():  # noqa: ASYNC110 - nothing tells when another node is done
                await asyncio.sleep(0.1)


@pytest_asyncio.fixture
async def node(database: str, user_service: FakeUserService) -> AsyncIterator[Node]:
    user_service.calm()
    user_service.asked.clear()
    engine = engine_on(database)
    async with engine.begin() as connection:
        await connection.execute(text("truncate parked_events"))
    groups = UserService(UserServiceSettings(url=user_service.address, timeout=2.0, cache=60.0))
    planner = Planner(PreferenceStore(engine), Evaluator(()), "en")
    ports = PipelinePorts(groups, planner, BatchWriter(engine), NotificationStore(engine), MemoryBus())
    pipeline = Pipeline(HANDLERS, ports, "en", msgspec.json.encode)
    worker = ParkedWorker(pipeline, ParkedPorts(ParkedStore(engine), groups, lambda _: None))
    yield Node(engine, user_service, groups, pipeline, worker)
    await worker.stop()
    await groups.close()
    await engine.dispose()
    user_service.calm()


def event(group: UUID | str, number: int, **more: object) -> SourceMessage:
    data = {"unit_name": f"{number}", "storage_name": "s", **more}
    body = {"event_type": "food_expired", "event_id": f"{group}-{number}", "group_id": group, "data": data}
    return SourceMessage("kafka", f"kafka:{group}:{number}", msgspec.json.encode(body), None)


@pytest.mark.parametrize("groups", [20, EVENTS], ids=["few groups", "a group each"])
async def test_after_the_return_of_the_user_service_all_is_done_and_nothing_else_waits(
    node: Node, groups: int
) -> None:
    ids, user = [str(uuid4()) for _ in range(groups)], str(uuid4())
    for group in ids:
        node.service.add_group(group, "Family", [user])
    node.service.status, node.service.latency = 503, LATENCY
    await node.worker.start()
    await node.take([event(ids[number % groups], number) for number in range(EVENTS)])
    await asyncio.sleep(1)
    assert await node.parked() == EVENTS
    asked = len(node.service.asked)
    assert asked < 100, "the circuit is open"
    node.service.status = 200
    began, cpu, slowest = time.monotonic(), time.process_time(), 0.0
    done = asyncio.create_task(node.done())
    number = 0
    while not done.done():
        number += 1
        body = {"type": "inapp", "user_id": user, "event_id": f"{user}{number}", "title": "T", "message": "M"}
        taken = time.monotonic()
        await node.take([SourceMessage("kafka", f"{user}{number}", msgspec.json.encode(body), None)])
        slowest = max(slowest, time.monotonic() - taken)
        await asyncio.sleep(0.05)
    await done
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    print(
        f"{EVENTS} events, {groups} groups: {took:.1f} s, {cpu:.1f} s of CPU, others at most {slowest:.2f} s"
    )
    assert took < 30.0
    assert slowest < 5.0
    assert len(node.service.asked) - asked <= groups + 1


async def test_an_operator_lists_replays_and_drops_parked_events(node: Node) -> None:
    operations, group = ParkedOperations(node.engine), str(uuid4())
    node.service.status = 503
    await node.take([event(group, number) for number in range(3)])
    rows = await operations.rows(None, 10, done=False)
    assert [(row.source, str(row.group_id), row.event_type) for row in rows] == [
        ("kafka", group, "food_expired")
    ] * 3
    assert await operations.drop([rows[1].id]) == 1
    assert await operations.replay([rows[0].id, rows[2].id], 600.0) == 2
    await node.worker.resolve_due()
    assert [row.id for row in await operations.rows(None, 10, done=False)] == [rows[0].id, rows[2].id]
    [found] = await operations.rows([rows[1].id], 1, done=True)
    assert found.reason.startswith("dropped: ")
    assert found.body == b""
