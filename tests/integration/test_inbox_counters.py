"""The counters and the watermark of inboxes against a naive model, over random schedules."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from app.cli import check
from app.domain.amendments import Amendment, Texts, Update
from app.domain.details import Details
from app.domain.erasure import Subject
from app.domain.errors import TooManyUnreadAgain
from app.domain.notifications import InboxCounters, Notification
from app.store import triage, watermarks
from app.store.cleaning import CleaningStore, Kind
from app.store.counters import CounterStore
from app.store.erasure import ErasingStore
from app.store.inboxes import InboxStore
from app.store.notifications import NotificationStore
from app.store.records import EventRecord
from app.store.triage import TriageStore
from app.store.writer import BatchWriter
from tests.support.store import engine_on, entry, stored_seqs

AGED = timedelta(days=100)
KINDS = (
    *("write", "write", "write", "read", "read", "again", "again", "delete", "all", "up to"),
    *("delete up to", "clear", "age", "unread", "erase"),
    *("seen", "seen", "seen up to", "archive all", "archive up to", "move", "move"),
    *("update", "update", "update", "retract"),
    *("archive", "archive", "archive", "unarchive", "unarchive", "snooze", "wake"),
)
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))]


@pytest_asyncio.fixture(scope="module")
async def nodes(database: str) -> AsyncIterator[list[AsyncEngine]]:
    """The pools of two nodes."""
    pools = [engine_on(database, database_pool_size=8) for _ in range(2)]
    yield pools
    for pool in pools:
        await pool.dispose()


@pytest_asyncio.fixture
async def operator(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@dataclass
class Inbox:
    """What an inbox is, said as plainly as can be."""

    last_seq: int = 0
    rev: int = 0
    read: dict[int, bool] = field(default_factory=dict)
    """By `seq`, of those that are there."""
    ids: dict[int, int] = field(default_factory=dict)
    read_up_to: int = 0
    removed_up_to: int = 0
    seen_up_to: int = 0
    archived: dict[int, bool] = field(default_factory=dict)
    """As `read`, of those that are archived."""
    snoozed: dict[int, bool] = field(default_factory=dict)
    threads: dict[int, str] = field(default_factory=dict)
    """Of each `seq`; no two that are there have the same."""

    @property
    def counters(self) -> InboxCounters:
        unread = [seq for seq, read in self.read.items() if not read]
        seen_up_to = max(self.seen_up_to, self.read_up_to)
        unseen = sum(seq > seen_up_to for seq in unread)
        return InboxCounters(len(unread), self.last_seq, self.rev, unseen, seen_up_to)

    def came(self, made: Notification) -> None:
        """It is new here, also if it was here before with another `seq`."""
        thread = thread_of(made)
        self.threads = {seq: each for seq, each in self.threads.items() if each != thread}
        self.read[made.seq], self.ids[made.seq], self.threads[made.seq] = False, made.id, thread

    def shown(self, *, unread: bool) -> list[tuple[int, bool]]:
        rows = sorted(self.read.items(), reverse=True)
        return [row for row in rows if not (unread and row[1])]


def thread_of(notification: Notification) -> str:
    assert notification.details is not None
    return notification.details.thread_key or ""


def shown(page: Sequence[Notification]) -> list[tuple[int, bool]]:
    return [(each.seq, each.is_read) for each in page]


class Schedule:
    """Random operations on some inboxes, each by either of two nodes, and the same on the model."""

    def __init__(self, nodes: Sequence[AsyncEngine], operator: asyncpg.Connection, chance: random.Random):
        self._nodes, self._operator, self._chance = nodes, operator, chance
        self.inboxes = {uuid4(): Inbox() for _ in range(3)}
        self.titles: dict[tuple[UUID, str], str] = {}
        """Of threads that were updated."""

    async def step(self) -> None:
        node, chance = self._chance.choice(self._nodes), self._chance
        user = chance.choice([*self.inboxes])
        kind = chance.choice(KINDS)
        inbox, store = self.inboxes[user], NotificationStore(node)
        seq = chance.choice([*inbox.read, 0])
        if kind == "write":
            await self._write(node)
        elif kind == "read":
            changed = await store.mark_read(inbox.ids.get(seq, 2**50), user)
            assert (changed is not None) is (seq in inbox.read)
            if changed is not None:
                inbox.read[seq], inbox.rev = True, inbox.rev + 1
                assert (changed[0].seq, changed[0].is_read, changed[1]) == (seq, True, inbox.counters)
        elif kind == "delete":
            count = await store.delete(inbox.ids.get(seq, 2**50), user)
            assert (count is not None) is (inbox.read.pop(seq, None) is not None)
            inbox.rev += count is not None
            assert count in (None, inbox.counters)
        elif kind == "again":
            changed = await store.mark_unread(inbox.ids.get(seq, 2**50), user)
            assert (changed is not None) is (seq in inbox.read)
            if changed is not None:
                inbox.read[seq], inbox.rev = False, inbox.rev + 1
                assert (changed[0].seq, changed[0].is_read, changed[1]) == (seq, False, inbox.counters)
        elif kind in ("all", "up to"):
            await self._read_all(
                store, user, chance.randint(0, inbox.last_seq + 3) if kind == "up to" else None
            )
        elif kind in ("seen", "seen up to"):
            await self._seen(store, user, chance.randint(0, inbox.last_seq + 3) if kind != "seen" else None)
        elif kind in ("archive", "unarchive", "snooze", "wake"):
            await self._triage(kind, node, user)
        elif kind in ("update", "retract"):
            await self._amend(kind, node, user)
        elif kind in ("archive all", "archive up to"):
            await self._archive_all(node, user, inbox.last_seq // 2 if kind == "archive up to" else None)
        elif kind == "delete up to":
            await self._delete_all(store, user, chance.choice((None, inbox.last_seq // 2)))
        else:
            await self._without_rev(kind, node, user)

    async def _write(self, node: AsyncEngine) -> None:
        receivers = self._chance.sample([*self.inboxes], self._chance.randint(1, 3))
        threads = [Details(thread_key=str(uuid4())) for _ in range(self._chance.randint(1, 4))]
        events = [entry(*receivers, details=thread) for thread in threads]
        for made in (await BatchWriter(node).write(events)).notifications:
            inbox = self.inboxes[made.receiver]
            inbox.last_seq += 1
            assert made.seq == inbox.last_seq
            inbox.came(made)

    async def _amend(self, kind: str, node: AsyncEngine, user: UUID) -> None:
        """What its publisher does to a notification, wherever it is."""
        inbox = self.inboxes[user]
        places = {"inbox": inbox.read, "archived": inbox.archived, "snoozed": inbox.snoozed}
        seq = self._chance.choice([*inbox.threads, 0])
        thread, unread = inbox.threads.get(seq, "none"), self._chance.random() < 0.5
        title = self._chance.choice(("newer", "newest"))
        update = None if kind == "retract" else Update(texts={"": Texts(title, None)}, unread=unread)
        event = EventRecord(str(uuid4()), amendment=Amendment(None, thread, [user], update))
        amended = (await BatchWriter(node).write([event])).amended
        place = next((name for name, each in places.items() if seq in each), None)
        assert [each.place for each in amended] == ([] if place is None else [place])
        if place is None:
            return
        inbox.rev += 1
        if update is None:
            del places[place][seq]
        else:
            places[place][seq] = places[place][seq] and not unread
            self.titles[user, thread] = title
        assert (amended[0].id, amended[0].counters) == (inbox.ids[seq], inbox.counters)
        shown = amended[0].notification
        assert shown is None or (shown.seq, shown.title, shown.is_read) == (seq, title, places[place][seq])

    async def _read_all(self, store: NotificationStore, user: UUID, up_to: int | None) -> None:
        inbox = self.inboxes[user]
        until = inbox.last_seq if up_to is None else min(up_to, inbox.last_seq)
        inbox.read = {seq: read or seq <= until for seq, read in inbox.read.items()}
        inbox.read_up_to = max(inbox.read_up_to, until)
        inbox.rev += bool(inbox.last_seq)
        assert await store.mark_all_read(user, up_to) == (until, inbox.counters)

    async def _seen(self, store: NotificationStore, user: UUID, up_to: int | None) -> None:
        inbox = self.inboxes[user]
        until = inbox.last_seq if up_to is None else min(up_to, inbox.last_seq)
        inbox.seen_up_to = max(inbox.seen_up_to, until)
        inbox.rev += bool(inbox.last_seq)
        assert await store.mark_all_seen(user, up_to) == (until, inbox.counters)

    async def _delete_all(self, store: NotificationStore, user: UUID, up_to: int | None) -> None:
        inbox = self.inboxes[user]
        until = inbox.last_seq if up_to is None else min(up_to, inbox.last_seq)
        inbox.read = {seq: read for seq, read in inbox.read.items() if seq > until}
        inbox.rev += bool(inbox.last_seq)
        inbox.removed_up_to = max(inbox.removed_up_to, until)
        inbox.read_up_to = max(inbox.read_up_to, until)
        assert await store.delete_all(user, up_to) == (until, inbox.counters)

    async def _archive_all(self, node: AsyncEngine, user: UUID, up_to: int | None) -> None:
        inbox = self.inboxes[user]
        until = inbox.last_seq if up_to is None else min(up_to, inbox.last_seq)
        for seq in [seq for seq in inbox.read if seq <= until]:
            inbox.archived[seq] = inbox.read.pop(seq)
        inbox.rev += bool(inbox.last_seq)
        inbox.read_up_to = max(inbox.read_up_to, until)
        assert await TriageStore(node).archive_all(user, up_to) == (until, inbox.counters)

    async def _triage(self, kind: str, node: AsyncEngine, user: UUID) -> None:
        inbox, store = self.inboxes[user], TriageStore(node)
        places = (inbox.read, inbox.archived, inbox.snoozed)
        seq = self._chance.choice([0, *inbox.read, *inbox.archived, *inbox.snoozed])
        place = next((place for place in places if seq in place), None)
        one = inbox.ids.get(seq, 2**50)
        if kind == "wake":
            await self._wake(store)
            return
        if kind == "archive":
            changed, goal = await store.archive(one, user), inbox.archived
        elif kind == "snooze":
            # those of all others are due when this schedule wakes them
            changed, goal = await store.snooze(one, user, datetime(2999, 1, 1, tzinfo=UTC)), inbox.snoozed
        else:
            changed, goal = await store.unarchive(one, user), inbox.read
        assert (changed is not None) is (place is not None)
        if changed is None or place is None:
            return
        is_read, inbox.rev = place.pop(seq), inbox.rev + 1
        hidden = "select archived_up_to from inboxes where user_id = $1"
        gone_up_to = max(inbox.removed_up_to, await self._operator.fetchval(hidden, user))
        if goal is inbox.read and place is not inbox.read and seq <= gone_up_to:
            seq, is_read = inbox.last_seq + 1, False
            inbox.last_seq = seq
            inbox.came(changed[0])
        goal[seq] = is_read
        assert (changed[0].seq, changed[0].is_read, changed[1]) == (seq, is_read, inbox.counters)

    async def _wake(self, store: TriageStore) -> None:
        """End all snoozes of these users."""
        due = (
            "update archived_notifications set snoozed_until = now() - interval '1 hour' where receiver = $1"
        )
        for user in self.inboxes:
            await self._operator.execute(f"{due} and snoozed_until is not null", user)
        for made in await store.wake(1000):
            if made.receiver not in self.inboxes:
                continue
            inbox = self.inboxes[made.receiver]
            inbox.last_seq += 1
            assert (made.seq, made.is_read) == (inbox.last_seq, False)
            inbox.came(made)
        for inbox in self.inboxes.values():
            inbox.snoozed.clear()

    async def _without_rev(self, kind: str, node: AsyncEngine, user: UUID) -> None:
        """What isn't a change of the user's."""
        inbox = self.inboxes[user]
        if kind == "age":
            while await TriageStore(node).move_swept(100):
                pass
            until = self._chance.randint(0, inbox.last_seq)
            aging = "update notifications set created_at = '2020-01-01Z' where receiver = $1 and seq <= $2"
            await self._operator.execute(aging, user, until)
            await CleaningStore(node).remove(Kind.NOTIFICATIONS, AGED, 100)
            inbox.read = {seq: read for seq, read in inbox.read.items() if seq > until}
        elif kind == "move":
            await TriageStore(node).move_swept(self._chance.randint(1, 3))
        elif kind == "clear":
            await CleaningStore(node).clear_removed(self._chance.randint(1, 5))
        elif kind == "unread":  # an operator's repair of something; under the watermark it has no effect
            newest = max((seq for seq, read in inbox.read.items() if not read), default=0)
            if newest > inbox.read_up_to:
                reading = "update notifications set is_read = $1 where receiver = $2 and seq = $3"
                for is_read in (True, False):
                    await self._operator.execute(reading, is_read, user, newest)
        elif self._chance.random() < 0.3:
            await ErasingStore(node).erase(Subject(user))
            self.inboxes[user] = Inbox()

    async def check(self) -> None:
        node = self._chance.choice(self._nodes)
        store = NotificationStore(node)
        for user, inbox in self.inboxes.items():
            for unread in (False, True):
                assert shown(await store.page(user, 1000, unread=unread)) == inbox.shown(unread=unread)
            limit, skip, before = (self._chance.randint(1, 8) for _ in range(3))
            page = await store.page(user, limit, before, unread=True, skip=skip - 1)
            wanted = [row for row in inbox.shown(unread=True) if row[0] < before]
            assert shown(page) == wanted[skip - 1 :][:limit]
            assert await store.counters(user) == inbox.counters
            archive = TriageStore(node)
            archived = await archive.archive_page(user, "archived", 1000, None, 2**20)
            snoozed = await archive.archive_page(user, "snoozed", 1000, None, 2**20)
            for each in (*archived, *snoozed, *await store.page(user, 1000)):
                assert each.title == self.titles.get((user, thread_of(each)), "title")
            assert shown(archived) == sorted(inbox.archived.items(), reverse=True)
            assert shown(snoozed) == sorted(inbox.snoozed.items(), reverse=True)
        after = self._chance.randint(0, 5)
        states = await InboxStore(node).states([(user, after) for user in self.inboxes], 1000)
        for state, inbox in zip(states, self.inboxes.values(), strict=True):
            assert state.counted == inbox.counters
            missed = [row for row in inbox.shown(unread=False)[::-1] if row[0] > after]
            assert shown(state.missed) == missed


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_inbox_is_what_a_naive_model_says(
    nodes: list[AsyncEngine], operator: asyncpg.Connection, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage, "MAX_MOVED_AT_ONCE", 2)  # most of an archive-all is moved later
    schedule = Schedule(nodes, operator, random.Random(seed))
    for number in range(80):
        await schedule.step()
        if number % 5 == 0:
            await schedule.check()
    await schedule.check()


@pytest.mark.parametrize("seed", SEEDS)
async def test_counters_hold_when_everything_happens_at_once(
    nodes: list[AsyncEngine], operator: asyncpg.Connection, seed: int
) -> None:
    chance, users = random.Random(seed), [uuid4() for _ in range(3)]
    ids: list[tuple[int, UUID]] = []

    async def act() -> None:
        node, user = chance.choice(nodes), chance.choice(users)
        store, one = NotificationStore(node), chance.choice(ids)
        kinds = (
            *("write", "write", "read", "read", "again", "again", "delete", "all", "up to", "clean"),
            *("archive", "unarchive", "sweep", "move", "delete up to", "clear", "seen up to"),
            *("update", "retract"),
        )
        match chance.choice(kinds):
            case "write":
                written = await BatchWriter(node).write([entry(*users), entry(user)])
                ids.extend((made.id, made.receiver) for made in written.notifications)
            case "read":
                await store.mark_read(*one)
            case "delete":
                await store.delete(*one)
            case "all":
                await store.mark_all_read(user, None)
            case "up to":
                await store.mark_all_read(user, chance.randint(0, 60))
            case "again":
                await store.mark_unread(*one)
            case "delete up to":
                await store.delete_all(user, chance.randint(0, 60))
            case "seen up to":
                await store.mark_all_seen(user, chance.randint(0, 60))
            case "update" | "retract" as kind:
                update = Update(unread=True) if kind == "update" else None
                target = Amendment(None, f"thread {chance.randint(0, 19)}", users, update)
                await BatchWriter(node).write([EventRecord(str(uuid4()), amendment=target)])
            case "sweep":
                await TriageStore(node).archive_all(user, chance.randint(0, 60))
            case "move":
                await TriageStore(node).move_swept(chance.randint(1, 9))
            case "archive":
                await TriageStore(node).archive(*one)
            case "unarchive":
                await TriageStore(node).unarchive(*one)
            case "clear":
                await CleaningStore(node).clear_removed(chance.randint(1, 5))
            case "clean":
                await CleaningStore(node).remove(Kind.NOTIFICATIONS, timedelta(0), chance.randint(1, 5))

    threads = [Details(thread_key=f"thread {number}") for number in range(20)]
    written = await BatchWriter(nodes[0]).write([entry(*users, details=thread) for thread in threads])
    ids.extend((made.id, made.receiver) for made in written.notifications)
    for _ in range(5):
        await asyncio.gather(*(act() for _ in range(40)))
        checks = await CounterStore(nodes[0]).compare(None, 10_000)
        assert [each for each in checks if not each.right] == []


async def test_what_is_deleted_with_all_goes_in_the_end_and_locks_no_inbox_meanwhile(
    nodes: list[AsyncEngine], operator: asyncpg.Connection
) -> None:
    user = uuid4()
    await operator.execute("truncate inboxes, notifications")
    await BatchWriter(nodes[0]).write([entry(user) for _ in range(7)])
    store, cleaning = NotificationStore(nodes[0]), CleaningStore(nodes[1])
    assert await store.delete_all(user, 6) == (6, InboxCounters(1, 7, 1, 1, 6))
    async with operator.transaction():
        await operator.execute("select 1 from inboxes for update")
        assert [await cleaning.clear_removed(4) for _ in range(2)] == [4, 2]
        assert await stored_seqs(operator, user) == [7]
    assert [await cleaning.clear_removed(4) for _ in range(2)] == [0, None]
    assert shown(await store.page(user, 10)) == [(7, False)]
    assert await store.delete_all(uuid4(), None) == (0, InboxCounters(0, 0, 0))


async def test_only_so_many_can_be_unread_again(
    nodes: list[AsyncEngine], operator: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermarks, "MAX_UNREAD_AGAIN", 2)
    user, store = uuid4(), NotificationStore(nodes[0])
    written = await BatchWriter(nodes[0]).write([entry(user) for _ in range(4)])
    first, second, third, fourth = (made.id for made in written.notifications)
    await store.mark_all_read(user, 3)
    for each in (first, second, second, fourth):
        assert await store.mark_unread(each, user) is not None
    before = await store.counters(user)
    with pytest.raises(TooManyUnreadAgain):
        await store.mark_unread(third, user)
    assert await store.counters(user) == before
    assert before.unread == 3
    assert await store.mark_read(first, user) is not None
    assert await store.mark_unread(third, user) is not None
    assert (await CounterStore(nodes[0]).compare(UUID(int=user.int - 1), 1))[0].right


async def test_the_command_names_wrong_counters_and_repairs_them(
    nodes: list[AsyncEngine],
    operator: asyncpg.Connection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    user, other = uuid4(), uuid4()
    await operator.execute("truncate inboxes, notifications")
    await BatchWriter(nodes[0]).write([entry(user, other) for _ in range(3)])
    assert await check.compare_counters(nodes[0], repair=False) == 0
    assert capsys.readouterr().out == "2 inboxes, 0 wrong\n"
    await operator.execute("update inboxes set settled = 1, last_seq = 2 where user_id = $1", user)
    named = f"inbox {user}: unread 1, its rows 3; unseen 1, its rows 3; last_seq 2, its newest row 3\n"
    for repair, status, word in ((False, 1, "wrong"), (True, 0, "repaired")):
        assert await check.compare_counters(nodes[0], repair=repair) == status
        assert capsys.readouterr().out == f"{named}2 inboxes, 1 {word}\n"
    assert await check.compare_counters(nodes[0], repair=False) == 0
    assert (await NotificationStore(nodes[0]).counters(user)).unread == 3
