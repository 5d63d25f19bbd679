"""Broadcasts on Postgres and in memory: whenever a node dies, each person is notified once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from app.domain.amendments import Amendment
from app.domain.audiences import BroadcastState
from app.domain.errors import InboxesLocked, Unavailable
from app.domain.identity import EventIdentity, page_name
from app.domain.planning import Assumed, Planner
from app.domain.preferences import Evaluator
from app.domain.topics import TopicDeletion
from app.ingest import broadcasts
from app.ingest.batch import SourceMessage
from app.ingest.broadcasts import BroadcastPorts, BroadcastWorker
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.store.ports import EventWriter, PreferencesPort
from app.store.preferences import Profile
from app.store.records import EventRecord, WriteResult
from app.testing import MemoryBus, MemoryGroups
from handlers.registry import HANDLERS
from tests.contract.conftest import POSTGRES, Store
from tests.support.store import entry

PAGE = 3
Hook = Callable[[Sequence[EventRecord]], Awaitable[None]]


class Crash(BaseException):
    """kill -9: nothing after it runs."""


class HookedWriter:
    """Calls the hooks around each page."""

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer
        self.before: Hook | None = None
        self.after: Hook | None = None

    async def write(
        self,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str] = MappingProxyType({}),
        assumed: Assumed | None = None,
    ) -> WriteResult:
        pages = [entry for entry in entries if entry.page is not None]
        if pages and self.before is not None:
            await self.before(pages)
        result = await self._writer.write(entries, resolved, assumed)
        if pages and self.after is not None:
            await self.after(pages)
        return result


class Scene:
    def __init__(self, store: Store, people: PreferencesPort, request: pytest.FixtureRequest) -> None:
        self.store, self.people, self._request = store, people, request
        self.writer = HookedWriter(store.writer)
        self.topic, self.event_id = f"topic-{uuid4()}", f"event-{uuid4()}"

    def worker(self, rate: float = 0.0) -> BroadcastWorker:
        ports = BroadcastPorts(self.store.broadcasts, self.store.audiences)
        return BroadcastWorker(self.pipeline, ports, rate, time.time)

    @property
    def pipeline(self) -> Pipeline:
        """A node's: with it dies what it knows."""
        planner = Planner(self.people, Evaluator(()), "en")
        ports = PipelinePorts(MemoryGroups(), planner, self.writer, self.store.processed, MemoryBus())
        return Pipeline(HANDLERS, ports, "en", msgspec.json.encode, time.time)

    async def accept(self, audience: Mapping[str, Any] | None = None, **more: Any) -> None:
        body = {"type": "inapp", "title": "T", "message": "M", "audience": audience or {"topic": self.topic}}
        value = msgspec.json.encode({"event_id": self.event_id, **body, **more})
        message = SourceMessage("kafka", self.event_id, value, None)
        pipeline = self.pipeline
        batch = pipeline.prepare([message])
        assert not batch.rejected, batch.rejected
        assert await pipeline.write(batch.events) == []

    async def follow(self, number: int) -> list[UUID]:
        users = sorted(uuid4() for _ in range(number))
        await self.store.topics.change(self.topic, add=users)
        return users

    async def told(self, users: Sequence[UUID]) -> Counter[UUID]:
        """How often each was notified; each inbox counts from 1."""
        found = await self.store.processed.find({self.event_id: users})
        return Counter(each.receiver for each in found)

    async def leases_end(self) -> None:
        if self._request.getfixturevalue("where") != POSTGRES:
            self.store.clock.at = self.store.clock.now() + 60
            return
        async with self._request.getfixturevalue("engines")[0].begin() as connection:
            await connection.execute(text("update broadcasts set leased_until = null, next_page_at = now()"))

    async def state(self) -> BroadcastState:
        found = await self.store.broadcasts.get(self.event_id)
        assert found is not None
        return found.state


@pytest_asyncio.fixture
async def scene(
    store: Store,
    people: PreferencesPort,
    where: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    monkeypatch.setattr(broadcasts, "MAX_PEOPLE_PER_PAGE", PAGE)
    if where == POSTGRES:
        async with request.getfixturevalue("engines")[0].begin() as connection:
            await connection.execute(
                text("truncate broadcasts, inboxes, preferences, devices, topic_followers")
            )
    return Scene(store, people, request)


@pytest.mark.parametrize("number", [0, 1, PAGE, PAGE + 1, 3 * PAGE])
async def test_each_follower_is_notified_once_and_the_broadcast_is_done(scene: Scene, number: int) -> None:
    users = await scene.follow(number)
    await scene.accept()
    await scene.accept()  # a repeat changes nothing
    assert await scene.told(users) == {}, "it is processed in the background"
    await scene.worker().work_due()
    assert await scene.told(users) == dict.fromkeys(users, 1)
    done = await scene.store.broadcasts.get(scene.event_id)
    assert done is not None
    assert (done.state, done.people, done.passed, done.notified) == ("done", number, number, number)
    assert done.finished_at is not None
    await scene.accept()
    await scene.leases_end()
    await scene.worker().work_due()
    assert await scene.told(users) == dict.fromkeys(users, 1)


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_follows_from_acceptance_to_the_end_is_notified_once(scene: Scene, seed: int) -> None:
    """Nodes die before and after commits, and followers come and go meanwhile."""
    chance = Random(seed)
    users = await scene.follow(14)
    late = [uuid4() for _ in range(6)]
    left: set[UUID] = set()

    async def restless(_: Sequence[EventRecord]) -> None:
        if chance.random() < 0.3:
            raise Crash
        left.update(gone := chance.sample(users, 2))
        await scene.store.topics.change(scene.topic, add=[chance.choice(late)], remove=gone)

    await scene.accept()
    scene.writer.before = scene.writer.after = restless
    while await scene.state() is BroadcastState.RUNNING:
        with suppress(Crash):
            await scene.worker().work_due()
        await scene.leases_end()
    told = await scene.told([*users, *late])
    assert max(told.values(), default=1) == 1, "nobody twice"
    assert {*users} - left <= told.keys(), "all who stayed"
    assert told.keys().isdisjoint(late), "nobody who came later"


async def test_two_nodes_that_believe_in_the_same_page_write_it_once(scene: Scene) -> None:
    users = await scene.follow(2 * PAGE)
    await scene.accept()

    async def overtaken(_: Sequence[EventRecord]) -> None:
        scene.writer.before = None
        await scene.leases_end()
        await scene.worker().work_due()

    scene.writer.before = overtaken
    await scene.worker().work_due()
    assert await scene.told(users) == dict.fromkeys(users, 1)
    assert await scene.state() is BroadcastState.DONE


async def test_an_answer_that_is_lost_repeats_nothing(scene: Scene) -> None:
    users = await scene.follow(2 * PAGE)
    await scene.accept()

    async def lost(_: Sequence[EventRecord]) -> None:
        scene.writer.after = None
        raise Unavailable("postgres", "the answer is lost")

    scene.writer.after = lost
    await scene.worker().work_due()
    await scene.leases_end()
    await scene.worker().work_due()
    assert await scene.told(users) == dict.fromkeys(users, 1)
    assert await scene.state() is BroadcastState.DONE


async def test_pause_resume_and_cancel(scene: Scene) -> None:
    users, moves = await scene.follow(4 * PAGE), scene.store.broadcasts

    async def pause(_: Sequence[EventRecord]) -> None:
        await moves.pause(scene.event_id)

    await scene.accept()
    assert await moves.resume(scene.event_id) is False, "it is running"
    scene.writer.after = pause
    await scene.worker().work_due()
    assert len(await scene.told(users)) == PAGE
    assert await scene.state() is BroadcastState.PAUSED
    await scene.leases_end()
    await scene.worker().work_due()
    assert len(await scene.told(users)) == PAGE, "it is paused"
    assert await moves.pause(scene.event_id) is False
    assert await moves.resume(scene.event_id) is True
    scene.writer.after = None
    scene.writer.before = pause
    await scene.worker().work_due()
    assert len(await scene.told(users)) == PAGE, "paused before the page was written"
    assert await moves.cancel(scene.event_id) is True
    assert await moves.cancel(scene.event_id) is False
    assert await moves.resume(scene.event_id) is False
    await scene.worker().work_due()
    assert len(await scene.told(users)) == PAGE
    assert await scene.state() is BroadcastState.CANCELLED


async def test_whoever_has_a_locked_inbox_follows_at_the_end(scene: Scene) -> None:
    users = await scene.follow(3 * PAGE)
    locked = {users[0], users[PAGE], users[PAGE + 1]}
    seen: list[set[UUID]] = []

    async def lock(entries: Sequence[EventRecord]) -> None:
        receivers = {user for entry in entries for draft in entry.drafts for user in draft.receivers}
        if found := receivers & locked:
            raise InboxesLocked(found)
        seen.append(receivers)
        if len(seen) == 3:
            locked.clear()

    await scene.accept()
    later = {*locked}
    scene.writer.before = lock
    await scene.worker().work_due()
    await scene.leases_end()
    await scene.worker().work_due()
    assert await scene.told(users) == dict.fromkeys(users, 1)
    assert seen[-1] | seen[-2] >= later
    assert await scene.state() is BroadcastState.DONE


async def test_everyone_is_whoever_has_an_inbox_or_preferences_or_follows_something(scene: Scene) -> None:
    (follower,) = await scene.follow(1)
    known, settled, stranger = uuid4(), uuid4(), uuid4()
    await scene.store.writer.write([entry(known)])
    await scene.people.set_choice(settled, "food.email", False)
    await scene.accept({"everyone": True})
    await scene.worker().work_due()
    told = await scene.told([follower, known, settled, stranger])
    assert told == dict.fromkeys((follower, known, settled), 1)


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        ({"locale": ["vi"]}, {"vi", "both"}),
        ({"locale": "en"}, {"nothing", "hanoi"}),
        ({"time_zone": ["Asia/Ho_Chi_Minh", "Europe/Berlin"]}, {"hanoi", "both"}),
        ({"time_zone": "Asia/Ho_Chi_Minh", "locale": ["vi", "ru"]}, {"both"}),
        ({"time_zone": "Europe/Berlin"}, set()),
        ({}, {"vi", "both", "nothing", "hanoi"}),
    ],
    ids=str,
)
async def test_a_filter_selects_by_the_profile(
    scene: Scene, selected: dict[str, Any], expected: set[str]
) -> None:
    zone = "Asia/Ho_Chi_Minh"
    profiles = {
        "vi": Profile("vi"),
        "both": Profile("vi", zone),
        "nothing": None,
        "hanoi": Profile(None, zone),
    }
    names = dict(zip(await scene.follow(4), profiles, strict=True))
    for user, name in names.items():
        if (profile := profiles[name]) is not None:
            await scene.people.set_profile(user, profile)
    for audience in ({"topic": scene.topic, "filter": selected}, {"everyone": True, "filter": selected}):
        scene.event_id = f"event-{uuid4()}"
        await scene.accept(audience)
        await scene.worker().work_due()
        assert {names[user] for user in await scene.told([*names])} == expected
        found = await scene.store.broadcasts.get(scene.event_id)
        assert found is not None
        assert (found.people, found.passed, found.notified) == (len(expected),) * 3


async def test_preferences_and_languages_are_respected(scene: Scene) -> None:
    users = await scene.follow(4)
    await scene.people.set_choice(users[1], "messages.inapp", False)
    await scene.accept()
    await scene.worker().work_due()
    assert (await scene.told(users)).keys() == {users[0], *users[2:]}
    withheld = await scene.store.decisions.of_event(scene.event_id, users[1], 10)
    assert [each.reason for each in withheld] == ["the person turned off messages by inapp"]
    found = await scene.store.broadcasts.get(scene.event_id)
    assert found is not None
    assert (found.passed, found.notified) == (4, 3)


async def test_a_mail_goes_to_the_address_of_each_profile(scene: Scene) -> None:
    users = await scene.follow(3)
    for user in users[:2]:
        await scene.people.set_profile(user, Profile(email=f"{user}@example.com"))
    await scene.accept(type="email")
    await scene.worker().work_due()
    sent = await scene.store.deliveries.find(10, event_id=scene.event_id)
    assert {(each.user_id, each.address) for each in sent} == {
        (user, f"{user}@example.com") for user in users[:2]
    }
    withheld = await scene.store.decisions.of_event(scene.event_id, users[2], 10)
    assert "no address" in withheld[0].reason


async def test_broadcasts_are_listed_and_counted(scene: Scene) -> None:
    store, ids = scene.store.broadcasts, []
    for _ in range(3):
        scene.event_id = f"event-{uuid4()}"
        ids.append(scene.event_id)
        await scene.accept(send_at=None)
        scene.store.clock.at = None
    assert [each.id for each in await store.newest(2)] == ids[:0:-1]
    assert [each.id for each in await store.newest(10, ids[1])] == ids[:1]
    running, oldest = await store.running()
    assert running == 3
    assert oldest >= 0
    await store.fail(ids[0], "why")
    failed = await store.get(ids[0])
    assert failed is not None
    assert (failed.state, failed.reason) == ("failed", "why")
    assert (await store.running())[0] == 2
    assert await store.get("nothing") is None


async def test_a_broadcast_of_an_event_that_has_expired_ends(scene: Scene) -> None:
    users = await scene.follow(1)
    await scene.accept(expires_at="2020-01-01T00:00:00Z")
    await scene.worker().work_due()
    assert await scene.told(users) == {}
    assert await scene.state() is BroadcastState.FAILED


async def retract(scene: Scene) -> int:
    """How many notifications the retraction of the broadcast takes back."""
    change = Amendment(scene.event_id)
    event = EventRecord(str(uuid4()), identity=EventIdentity(1, None), amendment=change)
    return len((await scene.store.writer.write([event])).amended)


async def test_a_retraction_stops_a_running_broadcast_and_takes_back_what_it_wrote(scene: Scene) -> None:
    users = await scene.follow(3 * PAGE)
    await scene.accept()
    scene.writer.after = crash
    with pytest.raises(Crash):
        await scene.worker().work_due()
    scene.writer.after = None
    assert await retract(scene) == PAGE
    assert await scene.state() is BroadcastState.CANCELLED
    await scene.leases_end()
    await scene.worker().work_due()
    assert await scene.told(users) == {}


async def test_a_topic_that_is_deleted_cancels_its_broadcasts(scene: Scene) -> None:
    users = await scene.follow(3 * PAGE)
    await scene.accept()
    scene.writer.after = crash
    with pytest.raises(Crash):
        await scene.worker().work_due()
    scene.writer.after = None
    running, scene.event_id = scene.event_id, f"event-{uuid4()}"
    await scene.accept({"everyone": True})
    assert await scene.store.topics.delete(scene.topic, 60) == TopicDeletion(len(users), True)
    cancelled = await scene.store.broadcasts.get(running)
    assert cancelled is not None
    assert (cancelled.state, cancelled.reason) == (BroadcastState.CANCELLED, "its topic was deleted")
    await scene.leases_end()
    await scene.worker().work_due()
    assert await scene.state() is BroadcastState.DONE, "that to everyone goes on"
    scene.event_id = running
    assert await scene.told(users) == dict.fromkeys(users[:PAGE], 1)


async def test_a_page_that_is_being_written_is_the_last_one_of_a_deleted_topic(scene: Scene) -> None:
    users = await scene.follow(3 * PAGE)
    await scene.accept()

    async def delete(_: Sequence[EventRecord]) -> None:
        scene.writer.before = None
        await scene.store.topics.delete(scene.topic, 60)

    scene.writer.before = delete
    await scene.worker().work_due()
    assert await scene.state() is BroadcastState.CANCELLED
    assert await scene.told(users) == {}


async def test_a_retraction_takes_back_pages_that_were_written_later(
    scene: Scene, where: str, request: pytest.FixtureRequest
) -> None:
    """Minutes later, as a million people take."""
    users = await scene.follow(3 * PAGE)
    await scene.accept()
    await scene.worker().work_due()
    if where == POSTGRES:
        async with request.getfixturevalue("engines")[0].begin() as connection:
            later = text(
                "update processed_events set processed_at = processed_at + make_interval(secs => :seconds) "
                "where event_id = :event"
            )
            for page, seconds in ((1, 5), (2, 60)):
                values = {"event": page_name(scene.event_id, page), "seconds": seconds}
                await connection.execute(later, values)
            await connection.execute(
                text(
                    "update notifications set created_at = created_at + make_interval(secs => :seconds) "
                    "where receiver = any(:users)"
                ),
                [
                    {"seconds": 5, "users": users[PAGE : 2 * PAGE]},
                    {"seconds": 60, "users": users[2 * PAGE :]},
                ],
            )
    assert await retract(scene) == 3 * PAGE
    assert await scene.told(users) == {}
    assert await scene.state() is BroadcastState.DONE


async def crash(_: Sequence[EventRecord]) -> None:
    raise Crash
