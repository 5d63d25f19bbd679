"""The worker of parked events, in memory: order, calls, deadlines, dead letters."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec.structs import replace

from app.domain.errors import InvalidEvent, Unavailable
from app.domain.notifications import Group
from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import Rejected, SourceMessage
from app.ingest.parked import MAX_LANES, ParkedPorts, ParkedWorker
from app.ingest.parking import RETRY_DEADLINE_SECONDS
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.ingest.shared_writes import MAX_EVENTS_PER_WRITE
from app.runtime.backoff import Backoff
from app.testing import MemoryBus, MemoryGroups, MemoryPeople, MemoryStore
from handlers.registry import HANDLERS

USER = uuid4()
QUICK = Backoff(1e-6, 1e-6)


class Service(MemoryGroups):
    """Every group has USER as its only member; each answer takes `latency` seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.latency = 0.0
        self.failing: set[UUID] = set()
        self.unknown: set[UUID] = set()
        self.open_for: float | None = None
        self.concurrent = self.most = 0

    async def group(self, group_id: UUID, *, fresh: bool = False) -> Group:
        if self.open_for:
            raise Unavailable("user service", "not asked", asked=False)
        if not self.remembered(group_id) and group_id not in self.unknown | self.failing:
            self.add(group_id, "Family", [USER])
        self.concurrent += 1
        self.most = max(self.most, self.concurrent)
        try:
            await asyncio.sleep(self.latency)
            if group_id in self.failing:
                self.asked.append(group_id)
                raise Unavailable("user service", "answered 500")
            return await super().group(group_id, fresh=fresh)
        finally:
            self.concurrent -= 1

    def pause(self) -> float | None:
        return self.open_for


class Letters:
    """A DLQ that keeps what it gets, or is away."""

    def __init__(self) -> None:
        self.written: list[Rejected] = []
        self.away = False

    async def dead_letter(self, message: SourceMessage, labels: bytes, error: InvalidEvent) -> None:
        if self.away:
            raise Unavailable("kafka", "no broker")
        assert labels == message.dedup_key.encode()
        self.written.append(Rejected(message, error))

    @property
    def found(self) -> list[tuple[str, str]]:
        return [(each.message.dedup_key, each.error.reason) for each in self.written]


class Scene:
    def __init__(self) -> None:
        self.ahead = 0.0
        self.store = MemoryStore(self.now)
        self.bus = MemoryBus()
        self.groups = Service()
        self.letters = Letters()
        planner = Planner(MemoryPeople(), Evaluator(()), "en")
        ports = PipelinePorts(self.groups, planner, self.store, self.store, self.bus)
        self.pipeline = Pipeline(HANDLERS, ports, "en", msgspec.json.encode, self.now, QUICK)
        self.worker = self.another_node()

    def another_node(self) -> ParkedWorker:
        letters: dict[str, Letters] = {"kafka": self.letters}
        ports = ParkedPorts(self.store.parked, self.groups, letters.get)
        return ParkedWorker(self.pipeline, ports, Backoff(0.05, 0.05))

    def now(self) -> float:
        return time.time() + self.ahead

    async def take(self, *messages: SourceMessage) -> list[Rejected]:
        batch = self.pipeline.prepare(messages)
        return [*batch.rejected, *await self.pipeline.write(batch.events)]

    async def parked(self) -> int:
        return (await self.store.parked.state()).events

    @property
    def order(self) -> str:
        """The units of what is in the inbox, in its order."""
        found = [json.loads(bytes(each.raw_data)) for each in self.store.inbox(USER)]
        return "".join(each["unit_name"] for each in found)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def event(
    name: str, group: UUID, *, key: bytes | None = None, source: str = "kafka", **more: Any
) -> SourceMessage:
    data = {"unit_name": name, "storage_name": "s"}
    body = {"event_type": "food_expired", "event_id": f"{name}-{group}", "group_id": str(group), "data": data}
    body |= more
    position = f"{source}:{name}:{group}"
    encoded = json.dumps(body).encode()
    return SourceMessage(
        source, position, encoded, None, order_key=key, labels=lambda m: m.dedup_key.encode()
    )


def whole(name: str, group: UUID, **options: Any) -> SourceMessage:
    """An event that needs nobody."""
    data = {"unit_name": name, "storage_name": "s", "group_name": "Family"}
    return event(name, group, receivers=[str(USER)], data=data, **options)


async def test_ten_events_of_one_group_keep_their_order_and_ask_once(scene: Scene) -> None:
    group = uuid4()
    for start in (0, 5):
        assert await scene.take(*(event(str(number), group) for number in range(start, start + 5))) == []
    assert scene.order == ""
    await scene.worker.resolve_due()
    assert scene.order == "0123456789"
    assert scene.groups.asked == [group]
    assert await scene.parked() == 0
    assert [each.seq for each in scene.bus.pushed(USER)] == [*range(1, 11)]


async def test_an_event_whose_answer_is_cached_follows_those_that_are_parked(scene: Scene) -> None:
    group = uuid4()
    scene.groups.failing.add(group)
    await scene.take(event("a", group))
    await scene.worker.resolve_due()
    scene.groups.failing.clear()
    await scene.groups.group(group)
    await scene.take(event("b", group), event("c", group))
    assert scene.order == ""
    await asyncio.sleep(0.06)
    await scene.worker.resolve_due()
    await scene.take(event("d", group))
    assert scene.order == "abcd", "and d waits for no event"


async def test_events_that_need_nobody_and_other_groups_do_not_wait(scene: Scene) -> None:
    group, other = uuid4(), uuid4()
    scene.groups.failing.add(group)
    await scene.take(event("a", group), whole("w", group), event("o", other))
    assert scene.order == "w"
    await scene.worker.resolve_due()
    assert scene.order == "wo"
    assert await scene.parked() == 1


async def test_events_of_one_kafka_key_keep_their_order_whatever_they_need(scene: Scene) -> None:
    group, other, key = uuid4(), uuid4(), b"k" * 100
    scene.groups.failing.add(group)
    await scene.take(event("a", group, key=key), whole("b", other, key=key), whole("x", other, key=b"l"))
    await scene.take(whole("c", other, key=key), whole("y", other), event("d", other, key=key))
    assert scene.order == "xy"
    await scene.worker.resolve_due()
    assert scene.order == "xy"
    scene.groups.failing.clear()
    await asyncio.sleep(0.06)
    await scene.worker.resolve_due()
    assert scene.order == "xyabcd"


async def test_of_two_groups_whose_events_alternate_each_keeps_its_order_and_waits_for_none(
    scene: Scene,
) -> None:
    down, up = uuid4(), uuid4()
    scene.groups.failing.add(down)
    await scene.take(*(event(name, down if name in "aceg" else up) for name in "abcd"))
    await scene.take(*(event(name, down if name in "aceg" else up) for name in "efgh"))
    await scene.worker.resolve_due()
    assert scene.order == "bdfh"
    scene.groups.failing.clear()
    await asyncio.sleep(0.06)
    await scene.worker.resolve_due()
    assert scene.order == "bdfhaceg"


async def test_events_that_lack_the_name_the_receivers_or_both_keep_their_order(scene: Scene) -> None:
    """The third, of another group, needs nobody; so does the last, which names all and has no key."""
    group = uuid4()
    named = {"unit_name": "b", "storage_name": "s", "group_name": "Family"}
    await scene.take(
        event("a", group, receivers=[str(USER)]),
        event("b", group, data=named),
        whole("x", uuid4()),
        event("c", group),
        event("d", group, receivers=[str(USER)]),
        whole("y", group),
    )
    assert scene.order == "xy"
    await scene.worker.resolve_due()
    assert scene.order == "xyabcd"
    assert scene.groups.asked == [group]


async def test_an_event_that_can_do_without_its_group_waits_for_one_attempt(scene: Scene) -> None:
    group = uuid4()
    scene.groups.failing.add(group)
    await scene.take(event("a", group))
    for name, pause in (("b", None), ("c", 60.0)):
        scene.groups.open_for = pause
        await scene.take(whole(name, group, event_type="group_user_left"))
        await scene.worker.resolve_due()
    assert (scene.order, await scene.parked()) == ("bc", 1)


async def test_an_event_that_was_parked_for_its_key_only_is_stored_when_its_group_is_cached_no_more(
    scene: Scene,
) -> None:
    group, other, key = uuid4(), uuid4(), b"k"
    scene.groups.failing.add(group)
    await scene.groups.group(other)
    left = whole("l", other, key=key, event_type="group_user_left")
    await scene.take(event("a", group, key=key), left, event("b", group, key=key))
    scene.groups.failing.clear()
    scene.groups.add(other, "Family", [USER])  # forgets the answer
    await scene.worker.resolve_due()
    assert (scene.order, scene.letters.found) == ("alb", [])


async def test_logouts_and_codes_wait_for_nobody(scene: Scene) -> None:
    group, key = uuid4(), b"k"
    scene.groups.failing.add(group)
    logout = {"event_type": "account_logged_out", "user_id": str(USER)}
    code = {"email": "mai@example.com", "otp_code": "482913", "action": "register"}
    await scene.take(
        event("a", group, key=key),
        SourceMessage("kafka", "1", json.dumps(logout).encode(), None, order_key=key),
        SourceMessage("kafka", "2", json.dumps(code).encode(), None, "otp_register", order_key=key),
    )
    assert scene.bus.logouts == [USER]
    assert len(scene.store.deliveries.rows) == 1
    assert await scene.parked() == 1


async def test_an_event_that_is_parked_twice_is_stored_once(scene: Scene) -> None:
    group = uuid4()
    await scene.take(event("a", group), event("a", group, source="http"))
    await scene.take(event("a", group))
    await scene.worker.resolve_due()
    assert (scene.order, await scene.parked()) == ("a", 0)
    await scene.take(event("a", group, source="redis"))
    assert (scene.order, await scene.parked()) == ("a", 0)


async def test_a_group_that_does_not_exist_is_dead_lettered_once(scene: Scene) -> None:
    group = uuid4()
    scene.groups.unknown.add(group)
    a, b = event("a", group), event("b", group)
    await scene.take(a, b)
    await scene.worker.resolve_due()
    expected = [(a.dedup_key, "unknown_group"), (b.dedup_key, "unknown_group")]
    assert scene.letters.found == expected
    await scene.take(a, b)  # after a rebalance, or a crash before the offset was committed
    await scene.worker.resolve_due()
    assert scene.letters.found == expected
    scene.groups.unknown.clear()
    await scene.take(replace(a, attempts=1))  # replayed
    await scene.worker.resolve_due()
    assert scene.order == "a"


@pytest.mark.parametrize("again", ["while it is parked", "while it is resolved", "as it is dead-lettered"])
async def test_a_message_that_another_node_consumes_again_is_dead_lettered_once(
    scene: Scene, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rebalance: both nodes resolve what is parked."""
    group = uuid4()
    scene.groups.unknown.add(group)
    message, other = event("a", group), scene.another_node()
    await scene.take(message)
    if again == "while it is parked":
        await scene.take(message)
    dead_letter = scene.letters.dead_letter

    async def take_again(rejected: SourceMessage, labels: bytes, error: InvalidEvent) -> None:
        if again == "as it is dead-lettered":
            await scene.take(message)
        await dead_letter(rejected, labels, error)

    monkeypatch.setattr(scene.letters, "dead_letter", take_again)
    resolving = asyncio.gather(scene.worker.resolve_due(), other.resolve_due())
    if again == "while it is resolved":
        await asyncio.sleep(0)
        await scene.take(message)
    await resolving
    await other.resolve_due()
    assert scene.letters.found == [(message.dedup_key, "unknown_group")]


async def test_while_the_dlq_is_away_nothing_is_lost(scene: Scene) -> None:
    group = uuid4()
    scene.groups.unknown.add(group)
    scene.letters.away = True
    await scene.take(event("a", group))
    for _ in range(3):
        await scene.worker.resolve_due()
        await asyncio.sleep(0.06)
    assert await scene.parked() == 1
    scene.letters.away = False
    await scene.worker.resolve_due()
    assert [reason for _, reason in scene.letters.found] == ["unknown_group"]


async def test_past_the_retry_deadline_an_event_gets_a_last_call_then_it_is_dead_lettered(
    scene: Scene,
) -> None:
    group, late = uuid4(), uuid4()
    scene.groups.failing.add(group)
    await scene.take(event("a", group, key=b"k"), whole("b", group, key=b"k"), event("l", late))
    scene.ahead = RETRY_DEADLINE_SECONDS - 1
    await scene.take(event("c", group))
    scene.ahead = RETRY_DEADLINE_SECONDS + 1  # the hub was down meanwhile
    await scene.worker.resolve_due()
    assert [reason for _, reason in scene.letters.found] == ["user_service_unavailable"]
    await asyncio.sleep(0.06)
    await scene.worker.resolve_due()
    assert (scene.order, await scene.parked()) == ("lb", 1)


async def test_while_the_circuit_is_open_nobody_is_asked_and_deadlines_hold(scene: Scene) -> None:
    group = uuid4()
    await scene.take(event("a", group))
    scene.groups.open_for = 60.0
    await scene.worker.resolve_due()
    assert (scene.groups.asked, await scene.parked()) == ([], 1)
    scene.ahead = RETRY_DEADLINE_SECONDS + 1
    await scene.worker.resolve_due()
    assert [reason for _, reason in scene.letters.found] == ["user_service_unavailable"]


async def test_one_lane_tries_whether_the_service_is_back_and_another_the_next_time(scene: Scene) -> None:
    groups = [uuid4() for _ in range(5)]
    await scene.take(*(event("a", group) for group in groups))
    scene.groups.failing = set(groups)
    scene.groups.open_for = 0.0
    first = await scene.worker._claim()
    assert first, "there may be more"
    assert len(scene.worker._lanes) == 1
    assert not await scene.worker._claim()
    await asyncio.gather(*scene.worker._lanes)
    await scene.worker._claim()
    await asyncio.gather(*scene.worker._lanes)
    assert len(set(scene.groups.asked)) == 2


async def test_what_postgres_refuses_is_dead_lettered_alone(scene: Scene) -> None:
    group = uuid4()
    await scene.take(event("a", group), event("b", group), event("c", group))
    store = scene.store.write

    async def write(entries: Any, resolved: Any = (), assumed: Any = None) -> Any:
        if any(entry.event_id.startswith("b") for entry in entries):
            from app.domain.errors import StoreRejected

            raise StoreRejected("not this one")
        return await store(entries, resolved, assumed)

    scene.store.write = write  # type: ignore[method-assign]
    await scene.worker.resolve_due()
    assert (scene.order, await scene.parked()) == ("ac", 0)
    assert [reason for _, reason in scene.letters.found] == ["store_rejected"]


async def test_a_bug_in_one_lane_is_the_fault_of_no_other(scene: Scene) -> None:
    bad, good = uuid4(), uuid4()
    await scene.take(event("x", bad), event("g", good))
    planned = scene.pipeline._planned

    async def fail(ready: Any, **how: Any) -> Any:
        if any(item.event.event_id.startswith("x") for item in ready):
            raise RuntimeError("a bug")
        return await planned(ready, **how)

    scene.pipeline._planned = fail  # type: ignore[method-assign]
    await scene.worker.resolve_due()
    assert (scene.order, await scene.parked()) == ("g", 0)
    assert [reason for _, reason in scene.letters.found] == ["handler_failed"]


@pytest.mark.parametrize("number", [3, MAX_EVENTS_PER_WRITE + 1], ids=["one write", "several"])
async def test_a_bug_among_many_lanes_costs_no_other(scene: Scene, number: int) -> None:
    """Those of its transaction are written one by one then."""
    await scene.take(*(event("x" if number == 0 else "g", uuid4()) for number in range(number)))
    planned = scene.pipeline._planned

    async def fail(ready: Any, **how: Any) -> Any:
        await asyncio.sleep(0.001)
        if any(item.event.event_id.startswith("x") for item in ready):
            raise RuntimeError("a bug")
        return await planned(ready, **how)

    scene.pipeline._planned = fail  # type: ignore[method-assign]
    async with asyncio.timeout(20):
        await scene.worker.resolve_due()
    assert (len(scene.order), await scene.parked()) == (number - 1, 0)


async def test_no_transaction_is_longer_than_a_bound(scene: Scene) -> None:
    """Its inboxes are locked so long."""
    group, most = uuid4(), 0
    await scene.take(*(event(f"{number}", group) for number in range(2 * MAX_EVENTS_PER_WRITE + 1)))
    store = scene.store.write

    async def write(entries: Any, resolved: Any = (), assumed: Any = None) -> Any:
        nonlocal most
        most = max(most, len(entries))
        return await store(entries, resolved, assumed)

    scene.store.write = write  # type: ignore[method-assign]
    await scene.worker.resolve_due()
    assert (await scene.parked(), most) == (0, MAX_EVENTS_PER_WRITE)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what it waits for tells no one
            await asyncio.sleep(0.01)


async def test_a_running_worker_is_woken_by_what_is_parked_and_stops_with_its_leases_released(
    scene: Scene,
) -> None:
    await scene.worker.start()
    await asyncio.sleep(0.05)
    group = uuid4()
    began = time.monotonic()
    await scene.take(event("a", group))
    await until(lambda: scene.order == "a")
    assert time.monotonic() - began < 1.0, "it doesn't wait for the next poll"
    scene.groups.latency = 60.0
    await scene.take(event("b", uuid4()))
    await until(lambda: scene.groups.concurrent == 1)
    await scene.worker.stop()
    assert len(await scene.store.parked.claim(10, 10, 60.0, asking=True)) == 1


async def test_what_is_parked_while_parked_events_are_counted_is_known_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise events with the same key would pass it until the next count."""
    state, key = scene.store.parked.state, b"k"
    scene.groups.latency = 60.0

    async def counted() -> Any:
        found = await state()
        await scene.take(event("a", uuid4(), key=key))
        return found

    monkeypatch.setattr(scene.store.parked, "state", counted)
    await scene.worker._measure()
    await scene.take(whole("b", uuid4(), key=key))
    assert scene.order == ""


async def test_what_is_in_progress_stays_leased(scene: Scene) -> None:
    await scene.worker.start()
    scene.groups.latency = 60.0
    await scene.take(event("a", uuid4()))
    await until(lambda: scene.groups.concurrent == 1)
    await asyncio.sleep(0.05)
    before = await scene.store.parked.next_due()
    await scene.worker.renew()
    after = await scene.store.parked.next_due()
    assert before is not None
    assert after is not None
    assert after > before
    await scene.worker.stop()


async def test_hundreds_of_groups_are_resolved_with_bounded_concurrency_and_few_transactions(
    scene: Scene,
) -> None:
    groups = [uuid4() for _ in range(600)]
    await scene.take(*(event("a", group) for group in groups))
    writes = Counter[str]()
    store = scene.store.write

    async def write(entries: Any, resolved: Any = (), assumed: Any = None) -> Any:
        writes["calls"] += 1
        for _ in range(5):
            await asyncio.sleep(0)
        return await store(entries, resolved, assumed)

    scene.store.write = write  # type: ignore[method-assign]
    scene.groups.latency = 0.001
    await scene.worker.resolve_due()
    assert await scene.parked() == 0
    assert len(scene.groups.asked) == 600
    assert scene.groups.most <= MAX_LANES
    assert writes["calls"] < 200
