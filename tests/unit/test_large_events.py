"""Large events, in memory: they are written in chunks, once, in order, and nobody waits for them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from app.domain.errors import InboxesLocked
from app.domain.identity import MAX_NAME_CHARS
from app.domain.planning import Assumed, Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import PreparedEvent, Rejected, SourceMessage
from app.ingest.chunks import (
    MAX_ROWS_AT_ONCE,
    ROWS_PER_TRANSACTION,
    chunk_keys,
    divide,
    transactions,
)
from app.ingest.parked import LEASE_SECONDS, ParkedPorts, ParkedWorker
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.ingest.prepare import Preparer
from app.runtime.backoff import Backoff
from app.store.records import EventRecord, WriteResult
from app.testing import MemoryBus, MemoryGroups, MemoryPeople, MemoryStore
from handlers.registry import HANDLERS

CROWD = [UUID(int=number) for number in range(MAX_ROWS_AT_ONCE + 1)]
LATE = UUID(int=10**6)
USER = CROWD[0]
GROUP, OTHER_GROUP = UUID(int=7), UUID(int=8)
QUICK = Backoff(1e-6, 1e-6)


class Crash(BaseException):
    """kill -9: nothing after it runs."""


class Store(MemoryStore):
    """Counts transactions, dies after one of them, and has locked inboxes."""

    def __init__(self) -> None:
        super().__init__(self.later)
        self.ahead = 0.0
        self.sizes: list[int] = []
        self.dies_after: int | None = None
        self.locked: frozenset[UUID] = frozenset()

    def later(self) -> float:
        return time.time() + self.ahead

    async def write(
        self,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str] = MappingProxyType({}),
        assumed: Assumed | None = None,
    ) -> WriteResult:
        reached = {user for each in entries if not each.parked for d in each.drafts for user in d.receivers}
        if found := self.locked & reached:
            raise InboxesLocked(found)
        result = await super().write(entries, resolved, assumed)
        self.sizes.append(len(result.notifications))
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                self.dies_after = None
                raise Crash
        return result


class Scene:
    def __init__(self) -> None:
        self.store = Store()
        self.bus = MemoryBus()
        self.groups = MemoryGroups()
        self.letters: list[Rejected] = []
        planner = Planner(MemoryPeople(), Evaluator(()), "en")
        ports = PipelinePorts(self.groups, planner, self.store, self.store, self.bus)
        self.pipeline = Pipeline(HANDLERS, ports, "en", msgspec.json.encode, self.store.later, QUICK)

    async def dead_letter(self, message: SourceMessage, labels: bytes, error: Any) -> None:
        self.letters.append(Rejected(message, error))

    async def take(self, *messages: SourceMessage) -> list[str]:
        """Why some are refused at once."""
        batch = self.pipeline.prepare(messages)
        return [each.error.reason for each in [*batch.rejected, *await self.pipeline.write(batch.events)]]

    async def resolve(self, *, crash_after: int | None = None) -> None:
        """Another node resolves what is parked, once the leases of one that died have ended."""
        self.store.ahead += LEASE_SECONDS + 6  # and after the longest delay of a lane
        self.store.dies_after = crash_after
        worker = ParkedWorker(self.pipeline, ParkedPorts(self.store.parked, self.groups, lambda _: self))
        with suppress(Crash):
            await worker.resolve_due()
        self.store.dies_after = None

    async def parked(self) -> int:
        return (await self.store.parked.state()).events

    def units(self, user: UUID = USER) -> str:
        found = [json.loads(bytes(each.raw_data)) for each in self.store.inbox(user)]
        return "".join(each["unit_name"] for each in found)

    def pushed(self, user: UUID) -> list[int]:
        return [each.seq for each in self.bus.pushed(user)]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def event(
    name: str,
    receivers: Sequence[UUID] | None,
    *,
    key: bytes | None = None,
    group: UUID = GROUP,
    source: str = "kafka",
    **more: Any,
) -> SourceMessage:
    data = {"unit_name": name, "storage_name": "s", "group_name": "Family"}
    body = {
        "event_type": "food_expired",
        "event_id": f"id-{name}",
        "group_id": group,
        "receivers": receivers,
        "data": data,
        **more,
    }
    encoded = msgspec.json.encode(body)
    return SourceMessage(source, f"{source}:{name}", encoded, None, order_key=key, labels=lambda _: b"labels")


def prepared(message: SourceMessage) -> PreparedEvent:
    [item] = Preparer(HANDLERS, MemoryGroups(), "en").prepare([message]).ready
    return item


user_ids = st.lists(st.uuids(), min_size=1, max_size=60, unique=True)


@given(user_ids, user_ids)
def test_each_receiver_is_in_one_chunk_and_whoever_else_there_is_in_the_same(
    some: list[UUID], others: list[UUID]
) -> None:
    def chunks(receivers: list[UUID]) -> dict[UUID, str]:
        found: dict[UUID, str] = {}
        for chunk in divide(prepared(event("a", receivers))):
            assert chunk.chunk_of == "id-a"
            assert chunk.effects.notification is not None
            for receiver in chunk.effects.notification.receivers:
                assert found.setdefault(receiver, chunk.event.event_id) == chunk.event.event_id
        return found

    alone, together = chunks(some), chunks([*dict.fromkeys(some + others)])
    assert alone.keys() == {*some}
    assert alone.items() <= together.items()


@pytest.mark.parametrize("name", ["a", "x" * 200, "\ud83d" * 200], ids=["short", "long", "surrogates"])
@pytest.mark.parametrize("sender", [None, "s" * 300], ids=["anybody", "a service"])
def test_the_keys_of_chunks_are_short_enough_for_an_index(name: str, sender: str | None) -> None:
    item = prepared(event("a", [USER]))
    named = msgspec.structs.replace(
        item,
        event=msgspec.structs.replace(item.event, event_id=name),
        identity=item.identity._replace(sender=sender),
    )
    keys = chunk_keys(named)
    assert len({*keys}) == len(keys)
    assert all(len(key) <= MAX_NAME_CHARS + 10 for key in keys)
    assert keys[3].startswith(f"{name}#3/") == (sender is None)


async def test_a_large_event_is_written_in_chunks_while_others_are_not_kept_waiting(scene: Scene) -> None:
    assert await scene.take(event("a", CROWD), event("b", [LATE], group=OTHER_GROUP)) == []
    assert (scene.units(LATE), scene.units(), await scene.parked()) == ("b", "", 1)
    await scene.resolve()
    assert {scene.units(user) for user in CROWD} == {"a"}
    assert {tuple(scene.pushed(user)) for user in CROWD} == {(1,)}
    assert (await scene.parked(), scene.letters) == (0, [])
    own = max(len([user for user in CROWD if user.int % 61 == number]) for number in range(61))
    assert max(scene.store.sizes) < ROWS_PER_TRANSACTION + own
    assert await scene.store.find({"id-a": [USER]}) == scene.store.inbox(USER), "by the event's own id"


async def test_an_event_at_the_limit_is_written_at_once(scene: Scene) -> None:
    await scene.take(event("a", CROWD[1:]))
    assert (await scene.parked(), scene.units(CROWD[1])) == (0, "a")


@pytest.mark.parametrize("key", [b"k", None], ids=["kafka key", "group"])
async def test_what_follows_a_large_event_comes_after_it(scene: Scene, key: bytes | None) -> None:
    await scene.take(event("a", [USER], key=key), event("b", CROWD, key=key), event("c", [USER], key=key))
    await scene.take(event("d", [USER], key=key), event("e", [USER, LATE], group=uuid4()))
    await scene.take(event("f", CROWD, key=key), event("g", [USER], key=key))
    assert scene.units() == "ae", "what has another key or group waits for nothing"
    await scene.resolve()
    assert scene.units() == "aebcdfg"
    await scene.take(event("h", [USER], key=key))
    assert scene.units() == "aebcdfgh"


async def test_an_event_that_needs_its_groups_answer_follows_a_large_one_of_the_group(scene: Scene) -> None:
    scene.groups.add(GROUP, "Family", [USER, LATE])
    await scene.take(event("a", CROWD))
    await scene.take(event("b", None), event("c", [USER]))
    await scene.resolve()
    assert (scene.units(), scene.units(LATE)) == ("abc", "b")


async def test_events_that_name_their_receivers_still_pass_those_that_need_an_answer(scene: Scene) -> None:
    await scene.take(event("a", None), event("b", [USER]))
    assert scene.units() == "b"


async def test_a_group_that_is_large_is_written_in_chunks_when_it_is_known(scene: Scene) -> None:
    scene.groups.add(GROUP, "Family", CROWD)
    await scene.take(event("a", None), event("b", None))
    await scene.resolve()
    assert {scene.units(user) for user in CROWD} == {"ab"}
    assert max(scene.store.sizes) < MAX_ROWS_AT_ONCE


@given(st.lists(st.integers(0, 4), max_size=4), st.lists(st.booleans(), min_size=5, max_size=5))
@settings(max_examples=15)
async def test_crashes_between_chunks_repeat_nothing_and_lose_nothing(
    crashes: list[int], joins: list[bool]
) -> None:
    """Also if members join the group between two attempts."""
    scene = Scene()
    members, late = [*CROWD], [UUID(int=10**6 + number) for number in range(5)]
    scene.groups.add(GROUP, "Family", members)
    await scene.take(event("a", None), event("b", None))
    for crash, joined, newcomer in zip(crashes, joins, late, strict=False):
        await scene.resolve(crash_after=crash)
        if joined and "a" not in scene.units(members[-1]):
            members.append(newcomer)
            scene.groups.add(GROUP, "Family", members)
    await scene.resolve()
    assert await scene.parked() == 0
    assert {scene.units(user) for user in CROWD} == {"ab"}
    assert all(scene.units(user) in ("", "b", "ab") for user in late)


async def test_copies_over_other_transports_and_repeats_change_nothing(scene: Scene) -> None:
    stored = events("stored")
    await scene.take(event("a", CROWD), event("a", CROWD, source="http"), event("a", CROWD))
    await scene.resolve(crash_after=0)
    await scene.take(event("a", CROWD, source="redis"))
    await scene.resolve()
    await scene.take(event("a", CROWD, source="redis"))
    await scene.resolve()
    assert {scene.units(user) for user in CROWD} == {"a"}
    assert (await scene.parked(), scene.letters, events("stored") - stored) == (0, [], 1)


async def test_an_id_with_other_content_is_a_conflict_while_its_event_is_being_written_and_after(
    scene: Scene,
) -> None:
    await scene.take(event("a", CROWD))
    await scene.resolve(crash_after=0)
    await scene.take(event("a", CROWD, source="http", extra="another"))
    await scene.resolve()
    assert [each.error.reason for each in scene.letters] == ["event_id_conflict"]
    assert await scene.take(event("a", CROWD, source="redis", extra="third")) == ["event_id_conflict"]
    assert {scene.units(user) for user in CROWD} == {"a"}


async def test_a_message_id_tells_conflicts_although_the_event_was_parked(scene: Scene) -> None:
    """Its publisher chose the key of the message; the event itself has no id."""
    first = msgspec.structs.replace(event("a", CROWD, event_id=None), publisher_key=True)
    second = msgspec.structs.replace(event("a", [USER], event_id=None), publisher_key=True)
    await scene.take(first)
    await scene.resolve()
    assert await scene.take(second) == ["event_id_conflict"]


async def test_a_locked_inbox_delays_its_chunk_only(scene: Scene) -> None:
    scene.store.locked = frozenset([USER])
    await scene.take(event("a", CROWD, key=b"k"), event("b", [LATE], key=b"k"))
    await scene.resolve()
    assert sum(scene.units(user) == "" for user in CROWD) < len(CROWD) / 10
    assert scene.units(LATE) == "", "what follows comes after all of it"
    scene.store.locked = frozenset()
    await scene.resolve()
    assert {scene.units(user) for user in CROWD} == {"a"}
    assert (scene.units(LATE), await scene.parked()) == ("b", 0)


async def test_two_large_events_are_written_one_after_the_other(scene: Scene) -> None:
    other = [UUID(int=10**7 + number) for number in range(len(CROWD))]
    await scene.take(event("a", CROWD, group=OTHER_GROUP), event("b", other, group=OTHER_GROUP))
    await asyncio.gather(scene.resolve(), scene.resolve())
    assert {scene.units(user) for user in CROWD} == {"a"}
    assert {scene.units(user) for user in other} == {"b"}


def test_chunks_share_transactions() -> None:
    sizes = [sum(each.rows for each in part) for part in transactions(divide(prepared(event("a", CROWD))))]
    assert sum(sizes) == len(CROWD)
    assert len(sizes) == 2


def events(outcome: str) -> float:
    names = ("kafka", "http", "redis")
    found = [
        REGISTRY.get_sample_value("hub_events_total", {"source": source, "outcome": outcome})
        for source in names
    ]
    return sum(each or 0.0 for each in found)
