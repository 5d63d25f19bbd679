"""A large event on Postgres and in memory: whatever a node has written when it dies, the rest comes once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import text

from app.domain.planning import Assumed, Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import SourceMessage
from app.ingest.chunks import MAX_ROWS_AT_ONCE
from app.ingest.parked import ParkedPorts, ParkedWorker
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.store.ports import EventWriter, PreferencesPort
from app.store.records import EventRecord, WriteResult
from app.testing import MemoryBus, MemoryGroups
from handlers.registry import HANDLERS
from tests.contract.conftest import POSTGRES, Store

CROWD = [uuid4() for _ in range(MAX_ROWS_AT_ONCE + 1)]


class Crash(BaseException):
    """kill -9: nothing after it runs."""


class DyingWriter:
    """Dies after a number of transactions."""

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer
        self.left: int | None = None

    async def write(
        self,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str] = MappingProxyType({}),
        assumed: Assumed | None = None,
    ) -> WriteResult:
        result = await self._writer.write(entries, resolved, assumed)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash
        return result


@pytest.mark.parametrize("transactions", [0, 1], ids=["before the last", "after the last"])
async def test_a_crash_between_chunks_repeats_nothing(
    store: Store, people: PreferencesPort, where: str, request: pytest.FixtureRequest, transactions: int
) -> None:
    writer, bus = DyingWriter(store.writer), MemoryBus()
    planner = Planner(people, Evaluator(()), "en")
    pipeline = Pipeline(
        HANDLERS,
        PipelinePorts(MemoryGroups(), planner, writer, store.processed, bus),
        "en",
        msgspec.json.encode,
        time.time,
    )
    event_id, group = str(uuid4()), uuid4()
    receivers = [*CROWD[1:], uuid4()]
    body = {
        "event_type": "food_expired",
        "event_id": event_id,
        "group_id": group,
        "receivers": receivers,
        "data": {"unit_name": "x", "storage_name": "s", "group_name": "Family"},
    }
    message = SourceMessage("kafka", event_id, msgspec.json.encode(body), None, labels=lambda _: b"")
    follows = msgspec.json.encode(body | {"event_id": f"{event_id}-2", "receivers": receivers[-1:]})
    await take(pipeline, message, SourceMessage("kafka", f"{event_id}-2", follows, None))
    writer.left = transactions
    with suppress(Crash):
        await worker(pipeline, store).resolve_due()
    writer.left = None
    recorded = await store.processed.processed([event_id])
    assert len(recorded) == (transactions > 0), "it comes with the last chunk"
    await leases_end(store, where, request)
    await worker(pipeline, store).resolve_due()
    await take(pipeline, message)
    found = await store.processed.find({event_id: receivers})
    assert sorted(each.receiver for each in found) == sorted(receivers)
    page = await store.inboxes.page(receivers[-1], 10)
    assert [each.seq for each in page] == [2, 1], "what follows is the second"
    assert (await store.parked.state()).events == 0


async def take(pipeline: Pipeline, *messages: SourceMessage) -> None:
    assert await pipeline.write(pipeline.prepare(messages).events) == []


def worker(pipeline: Pipeline, store: Store) -> ParkedWorker:
    return ParkedWorker(pipeline, ParkedPorts(store.parked, MemoryGroups(), lambda _: None))


async def leases_end(store: Store, where: str, request: pytest.FixtureRequest) -> None:
    if where != POSTGRES:
        store.clock.at = store.clock.now() + 60
        return
    async with request.getfixturevalue("engines")[0].begin() as connection:
        await connection.execute(text("update parked_events set leased_until = null"))
