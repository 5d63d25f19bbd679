"""The pipeline on Postgres and in memory: what is committed, when it is pushed, what comes twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY

from app.domain.identity import CONFLICT
from app.domain.notifications import Group, Notification
from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import SourceMessage
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.ingest.scheduler import due_message
from app.store.ports import PreferencesPort
from app.store.records import EventRecord
from app.store.scheduled import ScheduledState
from app.testing import MemoryBus, MemoryGroups
from handlers.registry import HANDLERS
from tests.contract.conftest import Store


class ReadingBus(MemoryBus):
    """Looks into the store at the moment of each push, as a client does that is notified."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self.found: list[asyncio.Task[list[Notification]]] = []

    def publish(self, notifications: Sequence[Notification], *, redelivered: bool = False) -> None:
        super().publish(notifications, redelivered=redelivered)
        for each in notifications:
            looking = self._store.inboxes.page(each.receiver, 1, before=each.seq + 1)
            self.found.append(asyncio.ensure_future(looking))


@pytest.fixture
def bus(store: Store) -> ReadingBus:
    return ReadingBus(store)


@pytest.fixture
def pipeline(store: Store, people: PreferencesPort, bus: ReadingBus) -> Pipeline:
    planner = Planner(people, Evaluator(()), "en")
    return Pipeline(
        HANDLERS,
        PipelinePorts(MemoryGroups(), planner, store.writer, store.processed, bus),
        "en",
        msgspec.json.encode,
        time.time,
    )


def event(user: UUID, source: str = "kafka", **changes: Any) -> SourceMessage:
    body = {
        "event_id": str(uuid4()),
        "type": "inapp",
        "user_id": user,
        "title": "T",
        "message": "M",
        **changes,
    }
    return SourceMessage(source, str(uuid4()), msgspec.json.encode(body), None)


async def write(pipeline: Pipeline, *messages: SourceMessage) -> None:
    batch = pipeline.prepare(messages)
    assert not batch.rejected
    assert await pipeline.write(batch.ready) == []


async def test_what_is_pushed_is_committed(pipeline: Pipeline, bus: ReadingBus) -> None:
    users = [uuid4() for _ in range(5)]
    await asyncio.gather(*(write(pipeline, *(event(user) for user in users)) for _ in range(4)))
    assert len(bus.published) == len(bus.found) == 20
    found = [each.id for page in await asyncio.gather(*bus.found) for each in page]
    assert found == [each.id for each in bus.published]


async def test_pushes_keep_the_order_of_seq_whoever_writes_at_once(
    pipeline: Pipeline, bus: ReadingBus
) -> None:
    users = [uuid4() for _ in range(3)]
    await asyncio.gather(*(write(pipeline, *(event(user) for user in users)) for _ in range(10)))
    for user in users:
        assert [each.seq for each in bus.pushed(user)] == [*range(1, 11)]


async def test_the_same_event_over_two_transports_at_once_has_its_effects_once(
    pipeline: Pipeline, store: Store, bus: ReadingBus
) -> None:
    user, inapp, email = uuid4(), str(uuid4()), str(uuid4())
    client = bus.connect(user, session=True)
    messages = [
        event(user, source, event_id=event_id, **changes)
        for source in ("kafka", "http")
        for event_id, changes in ((inapp, {}), (email, {"type": "email", "to": "mai@example.com"}))
    ]
    await asyncio.gather(*(write(pipeline, message) for message in messages * 2))
    told = await store.inboxes.page(user, 10)
    assert [each.id for each in reversed(told)] == [each.id for each in client.notifications]
    assert {each.id for each in bus.pushed(user)} == {each.id for each in told}
    assert len(told) == len(await store.processed.find({inapp: [user]})) == 1
    assert len(await store.deliveries.find(10, event_id=email)) == 1


async def test_a_scheduled_event_waits_in_the_store_and_has_no_effect_yet(
    pipeline: Pipeline, store: Store, bus: ReadingBus
) -> None:
    user, event_id = uuid4(), str(uuid4())
    await write(pipeline, event(user, event_id=event_id, send_at="2999-01-01T00:00:00Z"))
    assert await store.inboxes.page(user, 10) == []
    assert bus.pushed(user) == []
    assert await store.processed.processed([event_id]) == []
    found = await store.scheduled.get(event_id)
    assert found is not None
    assert found.send_at.year == 2999


# Ids that are used again


async def refused(pipeline: Pipeline, *messages: SourceMessage) -> list[str]:
    """The reasons why some of the messages are refused, in their order."""
    batch = pipeline.prepare(messages)
    assert not batch.rejected
    return [each.error.reason for each in await pipeline.write(batch.events)]


async def titles(store: Store, user: UUID) -> list[str]:
    return [each.title for each in reversed(await store.inboxes.page(user, 100))]


def rejections(source: str) -> float:
    labels = {"source": source, "reason": CONFLICT}
    return REGISTRY.get_sample_value("hub_events_rejected_total", labels) or 0.0


@pytest.mark.parametrize("second", ["kafka", "rabbitmq", "redis", "http"])
async def test_an_id_with_other_content_is_a_conflict_over_any_transport_and_counted(
    pipeline: Pipeline, store: Store, second: str
) -> None:
    user, event_id, before = uuid4(), str(uuid4()), rejections(second)
    await write(pipeline, event(user, "kafka", event_id=event_id))
    assert await refused(pipeline, event(user, second, event_id=event_id, title="Other")) == [CONFLICT]
    assert await refused(pipeline, event(uuid4(), second, event_id=event_id)) == [CONFLICT]
    assert await refused(pipeline, event(user, second, event_id=event_id)) == []
    assert await titles(store, user) == ["T"]
    assert rejections(second) == before + 2


async def test_of_one_batch_the_first_content_stands_and_repeats_of_it_are_none(
    pipeline: Pipeline, store: Store, bus: ReadingBus
) -> None:
    user, event_id = uuid4(), str(uuid4())
    same, other = event(user, event_id=event_id), event(user, event_id=event_id, title="Other")
    between = event(user, title="Between")
    assert await refused(pipeline, same, other, between, same, other, event(user, title="Last")) == [
        *(CONFLICT, CONFLICT)
    ]
    assert await titles(store, user) == ["T", "Between", "Last"]
    assert [each.seq for each in bus.pushed(user)] == [1, 2, 3]


async def test_an_id_belongs_to_the_service_that_sends_over_http(pipeline: Pipeline, store: Store) -> None:
    user, event_id = uuid4(), "order-1" + str(uuid4())
    kitchen, shop = (
        replace(event(user, "http", event_id=event_id, title=name), sender=name)
        for name in ("kitchen", "shop")
    )
    same_text = replace(kitchen, sender="a third")
    for _ in range(2):
        assert await refused(pipeline, kitchen) == await refused(pipeline, shop, same_text) == []
    assert await titles(store, user) == ["kitchen", "shop", "kitchen"]
    for sender in ("kitchen", "shop", "a third"):
        changed = replace(event(user, "http", event_id=event_id, title="changed"), sender=sender)
        assert await refused(pipeline, changed) == [CONFLICT]
    assert len(await titles(store, user)) == 3
    assert await refused(pipeline, replace(kitchen, source="kafka", sender=None)) == []


async def test_two_services_with_one_id_in_one_batch_are_two_events(pipeline: Pipeline, store: Store) -> None:
    user, event_id = uuid4(), str(uuid4())
    both = [replace(event(user, "http", event_id=event_id), sender=name) for name in ("kitchen", "shop")]
    assert await refused(pipeline, *both, *both) == []
    assert len(await titles(store, user)) == 2


async def hand_over_due(pipeline: Pipeline, store: Store) -> list[str]:
    """Handle all that is due; the reasons why some is refused."""
    due = await store.scheduled.claim(1000, 60.0)
    reasons = []
    for each in due:
        found = await refused(pipeline, due_message(each))
        reasons += found
        await store.scheduled.finish([each.event_id], ScheduledState.FAILED if found else ScheduledState.SENT)
    return reasons


def soon(seconds: float = 0.5) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_scheduled_event_is_not_swallowed_by_another_services(
    pipeline: Pipeline, store: Store
) -> None:
    await hand_over_due(pipeline, store)  # of other tests
    user, at = uuid4(), soon()
    ids = [str(uuid4()), str(uuid4())]

    def sent(sender: str, event_id: str, **changes: Any) -> SourceMessage:
        return replace(event(user, "http", event_id=event_id, title=sender, **changes), sender=sender)

    assert await refused(pipeline, sent("kitchen", ids[0], send_at=at)) == []
    assert await refused(pipeline, sent("shop", ids[0]), sent("shop", ids[1])) == []
    assert await refused(pipeline, sent("kitchen", ids[1], send_at=at)) == []
    assert await refused(pipeline, sent("third", ids[0], send_at=at)) == []
    assert await titles(store, user) == ["shop", "shop"]
    await asyncio.sleep(0.6)
    assert await hand_over_due(pipeline, store) == []
    assert sorted(await titles(store, user)) == ["kitchen", "kitchen", "shop", "shop", "third"]
    for _ in range(2):  # now that its time is over, too
        assert await refused(pipeline, sent("kitchen", ids[0], send_at=at)) == []
    assert len(await titles(store, user)) == 5


async def test_the_id_of_a_scheduled_event_with_other_content_is_a_conflict(
    pipeline: Pipeline, store: Store
) -> None:
    user, event_id, processed = uuid4(), str(uuid4()), str(uuid4())
    scheduled = replace(event(user, "http", event_id=event_id, send_at="2999-01-01T00:00:00Z"), sender="a")
    now = replace(event(user, "http", event_id=event_id), sender="a")
    moved = replace(event(user, "http", event_id=event_id, send_at="2998-01-01T00:00:00Z"), sender="a")
    assert await refused(pipeline, scheduled) == await refused(pipeline, scheduled) == []
    assert await refused(pipeline, now) == await refused(pipeline, moved) == [CONFLICT]
    await write(pipeline, replace(event(user, "http", event_id=processed), sender="a"))
    later = replace(event(user, "http", event_id=processed, send_at="2999-01-01T00:00:00Z"), sender="a")
    assert await refused(pipeline, later) == [CONFLICT]
    assert await store.scheduled.cancel(event_id, "a")
    assert await refused(pipeline, now) == [CONFLICT]
    assert await refused(pipeline, scheduled) == []
    assert await titles(store, user) == ["T"]


async def test_a_scheduled_event_whose_id_a_broker_took_meanwhile_fails_when_it_is_due(
    pipeline: Pipeline, store: Store
) -> None:
    await hand_over_due(pipeline, store)
    user, event_id = uuid4(), str(uuid4())
    await write(pipeline, replace(event(user, "http", event_id=event_id, send_at=soon()), sender="a"))
    await write(pipeline, event(user, "kafka", event_id=event_id, title="Of Kafka"))
    await asyncio.sleep(0.6)
    assert await hand_over_due(pipeline, store) == [CONFLICT]
    assert await titles(store, user) == ["Of Kafka"]


async def test_what_is_recorded_without_content_matches_any(pipeline: Pipeline, store: Store) -> None:
    """As the rows of before migration 0015."""
    user, event_id = uuid4(), str(uuid4())
    await store.writer.write([EventRecord(event_id)])
    assert await refused(pipeline, replace(event(user, "http", event_id=event_id), sender="a")) == []
    assert await titles(store, user) == []


async def test_an_event_without_an_id_is_known_by_its_position_alone(
    pipeline: Pipeline, store: Store
) -> None:
    user, position = uuid4(), str(uuid4())
    for title in ("T", "Other"):
        assert (
            await refused(pipeline, replace(event(user, event_id=None, title=title), dedup_key=position))
            == []
        )
    assert await titles(store, user) == ["T"]


async def test_a_message_id_of_amqp_with_other_content_is_a_conflict_as_well(
    pipeline: Pipeline, store: Store
) -> None:
    user, key = uuid4(), f"rabbitmq:q:{uuid4()}"
    first, second = (
        replace(event(user, "rabbitmq", event_id=None, title=title), dedup_key=key, publisher_key=True)
        for title in ("T", "Other")
    )
    assert await refused(pipeline, first) == await refused(pipeline, first) == []
    assert await refused(pipeline, second) == [CONFLICT]


async def test_a_conflict_that_an_operator_replays_is_an_event_of_its_own_once(
    pipeline: Pipeline, store: Store
) -> None:
    user, event_id = uuid4(), str(uuid4())
    await write(pipeline, event(user, event_id=event_id))
    for title in ("Other", "Third", "Other"):
        replayed = replace(event(user, event_id=event_id, title=title), separate=True)
        assert await refused(pipeline, replayed) == []
    assert await titles(store, user) == ["T", "Other", "Third"]


async def test_a_parked_event_that_is_a_conflict_stays_parked_until_it_is_dead_lettered(
    pipeline: Pipeline, store: Store
) -> None:
    user, event_id = uuid4(), str(uuid4())
    group = str(uuid4())
    needs = {"event_type": "group_user_added", "group_id": group, "receivers": [str(user)]}
    body = {"event_id": event_id, **needs, "data": {"requester_username": "Mai"}}
    message = SourceMessage("kafka", str(uuid4()), msgspec.json.encode(body), None, labels=lambda _: b"")
    parked = pipeline.prepare([message])
    assert len(parked.parked) == 1
    assert await pipeline.write(parked.events) == []
    await write(pipeline, event(user, event_id=event_id))
    (found,) = [
        each for each in await store.parked.claim(1000, 1000, 0.0, asking=True) if each.event_id == event_id
    ]
    ready = pipeline.prepare(
        [replace(message, parked_id=found.id, event_id=event_id)], {UUID(group): Group("g", (user,), ())}
    )
    assert [each.error.reason for each in await pipeline.write(ready.events)] == [CONFLICT]
    still = await store.parked.claim(1000, 1000, 0.0, asking=True)
    assert event_id in {each.event_id for each in still}


# What is pushed again


@pytest.mark.parametrize("source", ["kafka", "rabbitmq", "redis", "http"])
async def test_a_copy_of_an_event_is_pushed_to_nobody(
    pipeline: Pipeline, bus: ReadingBus, source: str
) -> None:
    user, event_id = uuid4(), str(uuid4())
    first = replace(event(user, "kafka", event_id=event_id), position="kafka:t:0:1:1")
    await write(pipeline, first)
    since = bus.connect(user, last_seq=1)
    copy = event(user, source, event_id=event_id)
    await write(pipeline, copy if source != "kafka" else replace(copy, position="kafka:t:0:2:1"))
    await write(pipeline, event(user))
    assert [each.seq for each in since.notifications] == [2]


@pytest.mark.parametrize(
    ("source", "own_id", "known"),
    [
        ("kafka", True, {"position": "kafka:t:0:1:1"}),
        ("kafka", False, {"position": "kafka:t:0:1:1"}),
        ("rabbitmq", True, {"redelivered": True}),
        ("redis", False, {"redelivered": True}),
        ("schedule", True, {"redelivered": True}),
    ],
)
async def test_a_message_that_its_source_delivers_again_is_pushed_before_anything_newer(
    pipeline: Pipeline, bus: ReadingBus, source: str, own_id: bool, known: dict[str, Any]
) -> None:
    user, key = uuid4(), known.get("position", "") + str(uuid4())
    if "position" in known:
        known = {"position": key}
    event_id = str(uuid4()) if own_id else None
    message = replace(event(user, source, event_id=event_id), dedup_key=key, **known)
    await write(pipeline, message)
    since, session = bus.connect(user, last_seq=1), bus.connect(user, last_seq=1, session=True)
    for _ in range(2):
        await write(pipeline, message, event(user))
    await write(pipeline, message)
    assert [each.seq for each in since.notifications] == [1, 2, 3]
    assert [each.seq for each in session.notifications] == [2, 3]
