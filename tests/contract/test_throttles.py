"""A throttle holds if several nodes, or several batches of one, are planned at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.deliveries import DeliveryDraft, Status
from app.domain.digests import Throttle
from app.domain.errors import PlanOutdated
from app.domain.planning import Assumed, Planner
from app.domain.preferences import Evaluator
from app.domain.waiting import RecentDeliveries, WaitPlanner
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.settings.waiting import WaitSettings
from app.store.notifications import NotificationStore
from app.store.ports import EventWriter, PreferencesPort
from app.store.preferences import PreferenceStore
from app.store.records import DeliveryRecord, EventRecord, WriteResult
from app.store.throttles import LOCKS_COUNT
from app.store.waiting import WaitingStore
from app.store.writer import BatchWriter
from app.testing import MemoryBus, MemoryGroups
from handlers.registry import HANDLERS, usual_details
from tests.contract.conftest import Clock, Store, on_postgres
from tests.contract.test_waiting import ADDRESS, Scene, food, known, mail, make_scene

MOST = 3
RULE = f"food.email={MOST} in 1h"
ROUNDS_COUNT = 10


class Overtaken:
    """A writer, before whose first write something else happens: after the batch was planned."""

    def __init__(self, writer: EventWriter, before: Callable[[], Awaitable[None]]) -> None:
        self._writer = writer
        self._before: Callable[[], Awaitable[None]] | None = before
        self.calls = 0

    async def write(
        self,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str] = MappingProxyType({}),
        assumed: Assumed | None = None,
    ) -> WriteResult:
        if assumed is not None:
            raise PlanOutdated  # the plan is made by what is read, right before the first write that counts
        before, self._before = self._before, None
        if before is not None:
            await before()
        self.calls += 1
        return await self._writer.write(entries, resolved)


async def statuses(scene: Scene, user: UUID) -> list[Status]:
    messages, digests = await scene.of_user(user)
    assert len(digests) <= 1
    return sorted(each.status for each in messages)


async def test_another_batch_reaches_the_throttle_after_this_one_was_planned(
    store: Store, people: PreferencesPort
) -> None:
    scene = make_scene(store, people, throttles=RULE)
    user = await known(scene)
    writer = Overtaken(store.writer, lambda: scene.happen(mail(user), mail(user)))
    overtaken = make_scene(store._replace(writer=writer), people, throttles=RULE)
    await overtaken.happen(mail(user), mail(user))
    assert await statuses(scene, user) == [Status.HELD] + [Status.PENDING] * MOST
    assert writer.calls == 2
    held = next(each for each in (await scene.of_user(user))[0] if each.status is Status.HELD)
    assert (held.reason or "").startswith("more than 3 in 1h: joins the digest of ")


async def test_a_batch_within_the_throttle_is_planned_once(store: Store, people: PreferencesPort) -> None:
    scene = make_scene(store, people, throttles=RULE)
    user, other = await known(scene), await known(scene)
    writer = Overtaken(store.writer, lambda: scene.happen(mail(user), mail(other), mail(other)))
    overtaken = make_scene(store._replace(writer=writer), people, throttles=RULE)
    await overtaken.happen(mail(user), mail(user), mail(other), mail(user, urgent=True))
    assert await statuses(scene, user) == [Status.PENDING] * 4
    assert await statuses(scene, other) == [Status.PENDING] * MOST
    assert writer.calls == 1


async def test_an_event_that_comes_twice_at_once_counts_once(store: Store, people: PreferencesPort) -> None:
    scene = make_scene(store, people, throttles=RULE)
    user, event = await known(scene), {}
    await scene.happen(mail(user), mail(user))
    event = mail(user)
    writer = Overtaken(store.writer, lambda: scene.happen(event))
    overtaken = make_scene(store._replace(writer=writer), people, throttles=RULE)
    await overtaken.happen(event)
    assert await statuses(scene, user) == [Status.PENDING] * MOST


async def test_steps_of_an_escalation_are_throttled_alike(store: Store, people: PreferencesPort) -> None:
    rules = {"throttles": "food.email=1 in 1h", "escalations": "food.email=after 30m"}
    scene = make_scene(store, people, **rules)
    user = await known(scene)
    writer = Overtaken(store.writer, lambda: scene.happen(food(user)))
    overtaken = make_scene(store._replace(writer=writer), people, **rules)
    await overtaken.happen(food(user))
    assert await statuses(scene, user) == [Status.HELD, Status.PENDING]


def let_through(user: UUID, most: int = MOST) -> EventRecord:
    draft = DeliveryDraft("email", "plain", ADDRESS, "en", {"title": "T", "message": "M"}, user_id=user)
    record = DeliveryRecord(draft, category="food", throttle=Throttle(most, 3600))
    return EventRecord(str(uuid4()), deliveries=[record])


async def test_a_writer_refuses_all_of_a_batch_that_a_throttle_does_not_let_through(store: Store) -> None:
    user, other = uuid4(), uuid4()
    await store.writer.write([let_through(user), let_through(user)])
    refused = [let_through(user), let_through(other), let_through(user)]
    with pytest.raises(PlanOutdated):
        await store.writer.write(refused)
    wanted = [RecentDeliveries(each, "food", "email", 3600) for each in (user, other)]
    assert await store.waiting.recent(wanted) == [2, 0]
    assert (await store.writer.write(refused[:2])).new == {each.event_id for each in refused[:2]}
    assert await store.waiting.recent(wanted) == [3, 1]


async def test_more_receivers_than_locks_are_written_at_once(store: Store) -> None:
    users = [uuid4() for _ in range(LOCKS_COUNT * 3)]
    written = await store.writer.write([let_through(user) for user in users])
    assert len(written.new) == len(users)


def node(engine: AsyncEngine, scene: Scene) -> Scene:
    """A node with separate connections, which plans and writes as the hub's nodes do."""
    waits = WaitPlanner(
        WaitSettings(throttles=(RULE,)).rules, Evaluator(()), WaitingStore(engine), "en", usual_details
    )
    planner = Planner(PreferenceStore(engine), Evaluator(()), "en", waits=waits)
    ports = PipelinePorts(
        MemoryGroups(), planner, BatchWriter(engine), NotificationStore(engine), MemoryBus()
    )
    return scene._replace(pipeline=Pipeline(HANDLERS, ports, "en", lambda _: b"x"))


async def test_nodes_that_plan_at_the_same_moment(engines: list[AsyncEngine]) -> None:
    store = on_postgres(engines[0], [], Clock())
    scene = make_scene(store, PreferenceStore(engines[0]), throttles=RULE)
    nodes = [node(engine, scene) for engine in engines[1:4]]
    for _ in range(ROUNDS_COUNT):
        users = [await known(scene), await known(scene)]
        batches = [[mail(user) for user in users for _ in range(MOST)] for _ in nodes]
        await asyncio.gather(*(each.happen(*batch) for each, batch in zip(nodes, batches, strict=True)))
        for user in users:
            found = await statuses(scene, user)
            assert found == [Status.HELD] * (MOST * 2) + [Status.PENDING] * MOST
