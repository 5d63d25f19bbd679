"""The store's contract (app/store/ports.py), on Postgres and in memory."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.domain import exact_json
from app.domain.deliveries import DeliveryDraft, Status, delivery_id
from app.domain.details import Action, Actor, Details
from app.domain.errors import StoreRejected, Unavailable
from app.domain.identity import UNKNOWN
from app.domain.notifications import (
    DETAILS_BYTES,
    MAX_NOTIFICATION_ID,
    InboxCounters,
    Notification,
    fitting,
)
from app.store.notifications import NEWEST_ROWS
from app.store.ports import EventWriter, PreferencesPort
from app.store.records import DeliveryRecord, EventRecord, WriteResult
from app.store.scheduled import ScheduledState
from tests.contract.conftest import POOL, Store
from tests.support.store import counted, entry, seqs


async def seqs_in(store: Store, user: UUID) -> list[int]:
    """Of the inbox's notifications, oldest first."""
    return [each.seq for each in reversed(await store.inboxes.page(user, 10_000))]


# The batch writer


async def test_seq_counts_from_1_in_the_order_of_the_entries(store: Store) -> None:
    a, b = uuid4(), uuid4()
    first = await store.writer.write([entry(a, title="0"), entry(b, a, title="1"), entry(a, title="2")])
    second = await store.writer.write([entry(a, title="3"), entry(b, title="4")])
    assert seqs(first, a) == [1, 2, 3]
    assert seqs(first, b) == [1]
    assert (seqs(second, a), seqs(second, b)) == ([4], [2])
    assert [(n.seq, n.title) for n in await store.inboxes.page(a, 10)] == [
        (4, "3"),
        (3, "2"),
        (2, "1"),
        (1, "0"),
    ]


async def test_a_notification_is_made_when_the_given_clock_says(store: Store) -> None:
    user, moment = uuid4(), datetime(2026, 11, 21, 12, tzinfo=UTC)
    store.clock.at = moment.timestamp()
    written = await store.writer.write([entry(user)])
    assert [n.created_at for n in (*written.notifications, *await store.inboxes.page(user, 1))] == [
        moment
    ] * 2


async def test_what_is_returned_is_what_is_stored(store: Store) -> None:
    user = uuid4()
    event = entry(user)
    written = await store.writer.write([event])
    (stored,) = await store.inboxes.page(user, 10)
    (returned,) = written.notifications
    assert json.loads(bytes(stored.raw_data)) == json.loads(bytes(returned.raw_data))
    for name in Notification.__struct_fields__:
        if name != "raw_data":
            assert getattr(stored, name) == getattr(returned, name)
    assert not stored.is_read
    assert datetime.now(UTC) - stored.created_at < timedelta(minutes=1)


DETAILS = Details(
    category="payments",
    severity="critical",
    url="/orders/7?a=1&b=%C3%A9",
    actions=(Action("pay", "Trả tiền", "https://shop.example.com/7"), Action("no", "Không")),
    icon="card",
    image="https://cdn.example.com/7.png",
    actor=Actor("Lê Thị B", "/b.png"),
    thread_key="order-7",
    expires_at=datetime(2999, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
)


@pytest.mark.parametrize("mails", [False, True])
async def test_details_are_stored_listed_found_and_missed(store: Store, mails: bool) -> None:
    """Of a batch in which others have none, with and without deliveries."""
    user = uuid4()
    each = (None, DETAILS, Details(thread_key="a"), Details(expires_at=DETAILS.expires_at), Details(url="/x"))
    events = [entry(user, title=str(number), details=details) for number, details in enumerate(each)]
    deliveries = [DeliveryRecord(mail())] if mails else []
    events.append(EventRecord(str(uuid4()), deliveries=deliveries))
    written = await store.writer.write(events)
    assert [each.details for each in written.notifications] == [*each]
    ((_, _, missed),) = await store.states.states([(user, 0)], 100)
    listed = (await store.inboxes.page(user, 10))[::-1]
    found = await store.processed.find({event.event_id: [user] for event in events})
    assert listed == missed == found
    assert [each.details for each in listed] == [*each]
    changed = await store.inboxes.mark_read(listed[1].id, user)
    assert changed is not None
    assert changed[0].details == DETAILS


async def test_what_has_expired_is_deleted_with_the_counters_after_it(store: Store) -> None:
    past, future = datetime(2001, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
    a, b, other = uuid4(), uuid4(), uuid4()
    for moment in (past, None, future, past):
        await store.writer.write([entry(a, b, details=Details(expires_at=moment))])
    await store.writer.write([entry(other, details=Details(expires_at=future))])
    ids = {user: [each.id for each in reversed(await store.inboxes.page(user, 10))] for user in (a, b)}
    await store.inboxes.mark_read(ids[a][0], a)
    assert {each.receiver: each for each in await store.inboxes.expire(100)} == {
        a: (a, [ids[a][0], ids[a][3]], counted(2, 4, 2)),
        b: (b, [ids[b][0], ids[b][3]], counted(2, 4, 1)),
    }
    assert list(await store.inboxes.expire(100)) == []
    assert await seqs_in(store, a) == [2, 3]
    assert await store.inboxes.counters(a) == counted(2, 4, 2)
    assert await seqs_in(store, other) == [1]


async def test_no_more_than_asked_for_expire_at_once(store: Store) -> None:
    user = uuid4()
    for second in (3, 1, 2):
        moment = datetime(2001, 1, 1, 0, 0, second, tzinfo=UTC)
        await store.writer.write([entry(user, details=Details(expires_at=moment))])
    gone = [await store.inboxes.expire(2) for _ in range(3)]
    assert [len(each[0].ids) if each else 0 for each in gone] == [2, 1, 0]


async def test_a_page_is_bounded_by_details_too(store: Store) -> None:
    user = uuid4()
    await store.writer.write([entry(user, content="", details=DETAILS) for _ in range(5)])
    page = await store.inboxes.page(user, 10, most_bytes=2 * DETAILS_BYTES + 1000)
    assert (fitting(page, 2 * DETAILS_BYTES + 1000), len(page)) == (2, 3)


async def test_numbers_keep_their_digits(store: Store) -> None:
    numbers = [
        "0.12345678901234567890123456789",
        "123456789012345678901234567890",
        "0.10",
        "9007199254740993",
    ]
    user, raw_data = uuid4(), f'{{"n": [{", ".join(numbers)}, 1e400]}}'
    written = await store.writer.write([entry(user, raw_data=raw_data)])
    (stored,) = await store.inboxes.page(user, 1)
    for text in (bytes(stored.raw_data).decode(), bytes(written.notifications[0].raw_data).decode()):
        assert all(number in text for number in numbers)
    assert exact_json.decode(bytes(stored.raw_data))["n"][-1] == 10**400


def repeated(*events: EventRecord) -> WriteResult:
    """All of them were recorded before, and nothing is known of them."""
    return WriteResult(frozenset(), [], repeated={event.event_id: UNKNOWN for event in events})


async def test_the_same_batch_twice_gives_no_second_row(store: Store) -> None:
    a, b = uuid4(), uuid4()
    batch = [entry(a, b), entry(a), EventRecord(str(uuid4()))]
    assert (await store.writer.write(batch)).new == {event.event_id for event in batch}
    assert await store.writer.write(batch) == repeated(*batch)
    assert await seqs_in(store, a) == [1, 2]
    assert (await store.writer.write([entry(a)])).notifications[0].seq == 3


async def test_of_a_batch_that_came_in_part_before_only_the_rest_is_written(store: Store) -> None:
    user = uuid4()
    events = [entry(user) for _ in range(5)]
    await store.writer.write(events[1:4:2])
    written = await store.writer.write(events)
    assert written.new == {events[0].event_id, events[2].event_id, events[4].event_id}
    assert seqs(written, user) == [3, 4, 5]
    assert await seqs_in(store, user) == [1, 2, 3, 4, 5]


async def test_the_same_event_with_other_content_changes_nothing(store: Store) -> None:
    user, other = uuid4(), uuid4()
    event = entry(user, title="first")
    await store.writer.write([event])
    changed = entry(user, other, event_id=event.event_id, title="second")
    later = EventRecord(event.event_id, deliveries=[DeliveryRecord(mail())])
    assert await store.writer.write([changed]) == repeated(event)
    assert await store.writer.write([later]) == repeated(event)
    assert [each.title for each in await store.inboxes.page(user, 10)] == ["first"]
    assert await store.inboxes.page(other, 10) == []
    assert await store.deliveries.find(10, event_id=event.event_id) == []


async def test_an_event_without_receivers_is_recorded(store: Store) -> None:
    event = EventRecord(str(uuid4()))
    assert (await store.writer.write([event])).new == {event.event_id}
    assert await store.writer.write([event]) == repeated(event)


async def test_an_empty_batch_is_harmless(store: Store) -> None:
    assert await store.writer.write([]) == WriteResult(set(), [])


async def test_ten_thousand_receivers_fit_in_one_event(store: Store) -> None:
    event = entry(*(uuid4() for _ in range(10_000)))
    assert {n.seq for n in (await store.writer.write([event])).notifications} == {1}
    assert len(await store.processed.find({event.event_id: event.drafts[0].receivers})) == 10_000


async def test_ids_rise_in_the_order_of_the_entries_and_of_their_receivers(store: Store) -> None:
    users = [uuid4() for _ in range(50)]
    written = []
    for _ in range(3):
        batch = [entry(*users), entry(users[1], users[0]), entry(users[0])]
        written += (await store.writer.write(batch)).notifications
    order = [*users, users[1], users[0], users[0]] * 3
    assert [n.receiver for n in written] == order
    ids = [n.id for n in written]
    assert ids == sorted(set(ids))
    assert all(0 < each <= MAX_NOTIFICATION_ID for each in ids)
    for user in users[:2]:
        page = await store.inboxes.page(user, 100)
        assert [n.id for n in page] == sorted((n.id for n in page), reverse=True)


@pytest.mark.parametrize("seed", range(4))
async def test_writers_at_once_neither_deadlock_nor_leave_a_gap(store: Store, seed: int) -> None:
    """Four nodes write overlapping receivers in any order, some of the events twice."""
    chance = random.Random(seed)
    users = [uuid4() for _ in range(8)]
    events = [entry(*chance.sample(users, chance.randint(1, 8))) for _ in range(120)]
    got: defaultdict[UUID, list[int]] = defaultdict(list)

    async def work(node: EventWriter, mine: list[EventRecord]) -> None:
        while mine:
            size = chance.randint(1, 12)
            batch, mine = mine[:size], mine[size:]
            for n in (await node.write(batch)).notifications:
                got[n.receiver].append(n.seq)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(node, chance.sample(events, 60)) for node in store.nodes))
        await work(store.nodes[0], events)
    told = Counter(user for event in events for each in event.drafts for user in each.receivers)
    for user in users:
        everything = list(range(1, told[user] + 1))
        assert await seqs_in(store, user) == sorted(got[user]) == everything


async def test_a_reader_sees_whole_batches_and_all_that_was_written_before(store: Store) -> None:
    user, size = uuid4(), 3
    written = 0

    async def write() -> None:
        nonlocal written
        for node in store.nodes * 5:
            await node.write([entry(user) for _ in range(size)])
            written += size

    writing = asyncio.create_task(write())
    seen = 0
    while not writing.done():
        before = written
        seen = len(await seqs_in(store, user))
        assert seen % size == 0
        assert seen >= before
        await asyncio.sleep(0)
    await writing
    assert await seqs_in(store, user) == [*range(1, written + 1)]


async def test_an_event_is_processed_from_its_commit_on(store: Store) -> None:
    told, silent, unknown = entry(uuid4()), EventRecord(str(uuid4())), str(uuid4())
    ids = [told.event_id, silent.event_id, unknown]
    assert await store.processed.processed(ids) == []
    await store.writer.write([told, silent])
    ages = dict(await store.processed.processed(ids))
    assert ages.keys() == {told.event_id, silent.event_id}
    assert all(0 <= age < 60 for age in ages.values())


# What goes wrong


REFUSED: list[dict[str, Any]] = [
    {"title": "a\0b"},
    {"content": "\0"},
    {"group_name": "\0"},
    {"group_name": "x" * 256},
    {"title": "x" * 256},
    {"template_code": "x" * 101},
    {"raw_data": "{"},
    {"raw_data": ""},
    {"raw_data": '{"a": "\\u0000"}'},
    {"raw_data": '{"a": 1e999999}'},
    {"raw_data": '{"a": "\\ud800"}'},
    {"event_id": "a\0b"},
    {"event_id": "".join(chr(0x4E00 + n) for n in range(20_000))},
]


@pytest.mark.parametrize("wrong", REFUSED, ids=lambda wrong: repr(wrong)[:40])
async def test_what_the_store_can_not_take_is_rejected_with_its_batch_and_the_next_is_written(
    store: Store, wrong: dict[str, Any]
) -> None:
    user = uuid4()
    good = entry(user)
    for _ in range(POOL + 1):
        with pytest.raises(StoreRejected) as rejected:
            await store.writer.write([good, entry(user, **wrong)])
    assert "insert into" not in str(rejected.value)
    assert await seqs_in(store, user) == []
    assert seqs(await store.writer.write([good]), user) == [1]


async def test_the_words_of_a_rejection_hold_nobodys_data(store: Store) -> None:
    with pytest.raises(StoreRejected) as rejected:
        await store.writer.write([entry(uuid4(), content="my secret", title="\0")])
    assert "my secret" not in str(rejected.value)


async def test_a_store_that_is_away_is_unavailable_in_every_call(
    away: tuple[Store, PreferencesPort],
) -> None:
    store, _ = away
    user, one = uuid4(), 1
    for asking in (
        store.writer.write([entry(user)]),
        store.processed.find({"a": [user]}),
        store.processed.processed(["a"]),
        store.inboxes.page(user, 1),
        store.inboxes.counters(user),
        store.inboxes.mark_read(one, user),
        store.inboxes.mark_unread(one, user),
        store.inboxes.mark_all_read(user, None),
        store.inboxes.delete_all(user, None),
        store.inboxes.delete(one, user),
        store.states.last_seqs([user]),
        store.states.states([(user, 0)], 1),
        store.scheduled.claim(1, 1.0),
        store.scheduled.finish(["a"], ScheduledState.SENT),
        store.scheduled.cancel("a", "kitchen"),
        store.scheduled.get("a"),
        store.deliveries.find(1),
        store.deliveries.get(uuid4()),
        store.deliveries.resend(uuid4()),
    ):
        with pytest.raises(Unavailable) as unavailable:
            await asking
        assert unavailable.value.dependency == "postgres"
        assert "hunter2" not in str(unavailable.value)


# Single inboxes


MISSING = MAX_NOTIFICATION_ID
"""An id that no notification has."""


async def filled(store: Store, user: UUID, count: int) -> list[int]:
    """The ids of so many notifications of the user, in rising `seq`."""
    written = await store.writer.write([entry(user) for _ in range(count)])
    return [n.id for n in written.notifications]


async def test_a_page_is_the_newest_first_and_leads_on_by_seq(store: Store) -> None:
    user = uuid4()
    await filled(store, user, 5)
    await filled(store, uuid4(), 5)
    assert [n.seq for n in await store.inboxes.page(user, 2)] == [5, 4]
    assert [n.seq for n in await store.inboxes.page(user, 2, before=4)] == [3, 2]
    assert [n.seq for n in await store.inboxes.page(user, 100, before=2)] == [1]
    assert await store.inboxes.page(user, 100, before=1) == []
    assert len(await store.inboxes.page(user, 100, before=2**63 - 1)) == 5
    assert await store.inboxes.page(uuid4(), 100) == []


async def test_a_page_ends_by_its_bytes_too_but_holds_one_notification(store: Store) -> None:
    user = uuid4()
    await store.writer.write([entry(user, content="ÿ" * size) for size in (10, 400, 100, 100, 1)])
    whole = await store.inboxes.page(user, 10)
    sizes = [each.size for each in whole]
    for most in (
        1,
        sizes[0],
        sum(sizes[:2]) - 1,
        sum(sizes[:2]),
        sum(sizes[:3]) + 1,
        sum(sizes) - 1,
        sum(sizes),
    ):
        fits = fitting(whole, most)
        assert fits == max(1, sum(sum(sizes[: n + 1]) <= most for n in range(5)))
        assert await store.inboxes.page(user, 10, most_bytes=most) == whole[: fits + 1]
    assert await store.inboxes.page(user, 2, skip=1, most_bytes=10_000) == whole[1:3]
    assert [n.seq for n in await store.inboxes.page(user, 2, before=5, skip=3)] == [1]


async def test_a_page_of_unread_leaves_the_read_out(store: Store) -> None:
    user = uuid4()
    ids = await filled(store, user, 4)
    await store.inboxes.mark_read(ids[1], user)
    assert [n.seq for n in await store.inboxes.page(user, 2, unread=True)] == [4, 3]
    assert [n.seq for n in await store.inboxes.page(user, 2, before=3, unread=True)] == [1]
    assert [n.is_read for n in await store.inboxes.page(user, 4)] == [False, False, True, False]


async def test_marking_read_answers_with_the_notification_as_often_as_asked(store: Store) -> None:
    user = uuid4()
    one, _ = await filled(store, user, 2)
    for _ in range(2):
        changed = await store.inboxes.mark_read(one, user)
        assert changed is not None
        read, count = changed
        assert (read.id, read.is_read, count.unread) == (one, True, 1)
    assert [n.is_read for n in await store.inboxes.page(user, 2)] == [False, True]


async def test_nobody_reads_or_deletes_what_is_not_theirs(store: Store) -> None:
    user, stranger = uuid4(), uuid4()
    (one,) = await filled(store, user, 1)
    assert await store.inboxes.mark_read(one, stranger) is None
    assert await store.inboxes.delete(one, stranger) is None
    assert await store.inboxes.mark_read(MISSING, user) is None
    assert await store.inboxes.delete(MISSING, user) is None
    (untouched,) = await store.inboxes.page(user, 10)
    assert not untouched.is_read


async def test_what_is_deleted_is_gone_and_its_seq_is_not_given_again(store: Store) -> None:
    user = uuid4()
    ids = await filled(store, user, 3)
    assert await store.inboxes.delete(ids[2], user) == counted(unread=2, last_seq=3, rev=1)
    assert await store.inboxes.delete(ids[2], user) is None
    assert [n.seq for n in await store.inboxes.page(user, 10)] == [2, 1]
    await filled(store, user, 1)
    assert [n.seq for n in await store.inboxes.page(user, 10)] == [4, 2, 1]


async def test_a_deleted_notification_does_not_come_back_with_its_event(store: Store) -> None:
    user = uuid4()
    event = entry(user)
    (written,) = (await store.writer.write([event])).notifications
    await store.inboxes.delete(written.id, user)
    assert (await store.writer.write([event])).notifications == []
    assert await store.inboxes.page(user, 10) == []


async def test_find_gives_the_notifications_of_events_that_are_still_there_in_rising_seq(
    store: Store,
) -> None:
    user, other, stranger = uuid4(), uuid4(), uuid4()
    events = [entry(user), entry(user, other), entry(other, user), entry(user), entry(other)]
    written = (await store.writer.write(events)).notifications
    gone = next(n for n in written if n.receiver == user)
    await store.inboxes.delete(gone.id, user)
    asked = {event.event_id: [user] for event in events[:2]} | {events[2].event_id: [stranger, other]}
    assert [n.seq for n in await store.processed.find({each.event_id: [user] for each in events})] == [
        2,
        3,
        4,
    ]
    found = await store.processed.find(asked | {str(uuid4()): [user, other]})
    assert {(n.receiver, n.seq) for n in found} == {(user, 2), (other, 2)}
    assert {n.id for n in found} <= {n.id for n in written}
    assert await store.processed.find({}) == []


async def test_find_looks_no_further_down_an_inbox_than_its_newest_rows(store: Store) -> None:
    user, event = uuid4(), entry(uuid4())
    deep, found = entry(user), entry(user)
    await store.writer.write([deep, found, event])
    await filled(store, user, NEWEST_ROWS - 1)
    asked = {each.event_id: [user] for each in (deep, found, event)}
    assert [n.seq for n in await store.processed.find(asked)] == [2]


async def test_marking_all_read_stops_at_the_seq_that_is_named(store: Store) -> None:
    user, other = uuid4(), uuid4()
    await filled(store, user, 5)
    await filled(store, other, 1)
    assert await store.inboxes.mark_all_read(user, 3) == (3, counted(unread=2, last_seq=5, rev=1))
    assert [n.seq for n in await store.inboxes.page(user, 10, unread=True)] == [5, 4]
    assert await store.inboxes.mark_all_read(user, None) == (5, counted(unread=0, last_seq=5, rev=2))
    assert (await store.inboxes.counters(user)).unread == 0
    assert (await store.inboxes.counters(other)).unread == 1


async def test_marking_all_read_says_nothing_of_those_that_are_still_to_come(store: Store) -> None:
    user = uuid4()
    assert await store.inboxes.mark_all_read(user, 9) == (0, counted(unread=0, last_seq=0, rev=0))
    await filled(store, user, 2)
    assert await store.inboxes.mark_all_read(user, 9) == (2, counted(unread=0, last_seq=2, rev=1))
    await filled(store, user, 1)
    assert (await store.inboxes.counters(user)).unread == 1


async def test_what_is_marked_unread_is_so_until_it_is_read_again(store: Store) -> None:
    user = uuid4()
    written = await store.writer.write([entry(user) for _ in range(5)])
    ids = [made.id for made in written.notifications]
    await store.inboxes.mark_all_read(user, 4)
    for number in (0, 2, 2):
        marked = await store.inboxes.mark_unread(ids[number], user)
        assert marked is not None
        assert (marked[0].seq, marked[0].is_read) == (number + 1, False)
        counters = marked[1]
    assert counters == counted(3, 5, 4)
    assert [each.seq for each in await store.inboxes.page(user, 10, unread=True)] == [5, 3, 1]
    assert [each.seq for each in await store.inboxes.page(user, 1, unread=True, skip=1)] == [3]
    assert [each.seq for each in await store.inboxes.page(user, 10, 3, unread=True)] == [1]
    assert [each.is_read for each in await store.inboxes.page(user, 10)] == [False, True, False, True, False]
    (state,) = await store.states.states([(user, 0)], 10)
    assert [each.is_read for each in state.missed] == [False, True, False, True, False]
    assert await store.inboxes.mark_all_read(user, 2) == (2, counted(2, 5, 5))
    assert await store.inboxes.delete(ids[2], user) == counted(1, 5, 6)
    assert await store.inboxes.mark_all_read(user, None) == (5, counted(0, 5, 7))
    assert await store.inboxes.mark_unread(ids[2], user) is None
    assert await store.inboxes.mark_unread(ids[0], uuid4()) is None


async def test_deleting_all_stops_at_the_seq_that_is_named(store: Store) -> None:
    user, expires_at = uuid4(), datetime(2020, 1, 1, tzinfo=UTC)
    events = [entry(user) for _ in range(4)]
    events.append(entry(user, details=Details(expires_at=expires_at)))
    written = await store.writer.write(events)
    ids = [made.id for made in written.notifications]
    assert await store.inboxes.delete_all(user, 2) == (2, counted(3, 5, 1))
    assert await seqs_in(store, user) == [3, 4, 5]
    assert await store.inboxes.mark_read(ids[1], user) is None
    assert await store.inboxes.mark_unread(ids[1], user) is None
    assert await store.inboxes.delete(ids[1], user) is None
    assert [each.seq for each in await store.processed.find({events[0].event_id: [user]})] == []
    (state,) = await store.states.states([(user, 0)], 10)
    assert [each.seq for each in state.missed] == [3, 4, 5]
    assert await store.inboxes.delete_all(user, 99) == (5, counted(0, 5, 2))
    assert await seqs_in(store, user) == []
    assert not [each for each in await store.inboxes.expire(1000) if each.receiver == user]
    await store.writer.write([entry(user)])
    assert await seqs_in(store, user) == [6]


async def test_what_changes_nothing_has_no_revision(store: Store) -> None:
    user = uuid4()
    (one,) = await filled(store, user, 1)
    assert await store.inboxes.mark_read(MISSING, user) is None
    assert await store.inboxes.delete(MISSING, user) is None
    assert await store.inboxes.delete(one, user) == counted(unread=0, last_seq=1, rev=1)


@pytest.mark.parametrize("seed", range(5))
async def test_each_count_of_many_changes_at_once_is_that_of_its_revision(store: Store, seed: int) -> None:
    """What there was up to `last_seq`, less what the changes up to `rev` read and deleted: nothing else."""
    user, chance = uuid4(), random.Random(seed)
    ids = await filled(store, user, 10)
    seq_of = {identity: seq for seq, identity in enumerate(ids, 1)}
    history: dict[int, tuple[set[int], InboxCounters]] = {}

    async def publish() -> None:
        for notification in (
            await store.writer.write([entry(user) for _ in range(chance.randint(1, 3))])
        ).notifications:
            seq_of[notification.id] = notification.seq
            ids.append(notification.id)

    async def change() -> None:
        one = chance.choice(ids)
        kind = chance.choice(("read", "read", "delete", "delete", "all"))
        if kind == "all":
            up_to, count = await store.inboxes.mark_all_read(user, chance.randint(1, 12))
            history[count.rev] = set(range(1, up_to + 1)), count
        elif kind == "read" and (changed := await store.inboxes.mark_read(one, user)):
            history[changed[1].rev] = {seq_of[one]}, changed[1]
        elif kind == "delete" and (gone := await store.inboxes.delete(one, user)):
            history[gone.rev] = {seq_of[one]}, gone

    await asyncio.gather(*(chance.choice((publish, change, change))() for _ in range(60)))
    assert sorted(history) == list(range(1, len(history) + 1))
    done: set[int] = set()
    for rev in sorted(history):
        changed, count = history[rev]
        done |= changed
        assert count.unread == len(set(range(1, count.last_seq + 1)) - done), f"revision {rev}"
    [state] = await store.states.states([(user, None)], 1)
    assert state.counted == await store.inboxes.counters(user)
    assert state.counted[1:3] == (max(seq_of.values()), len(history))


async def test_the_states_of_many_inboxes_come_in_the_order_they_were_asked_for(store: Store) -> None:
    full, holed, empty = uuid4(), uuid4(), uuid4()
    await filled(store, full, 6)
    ids = await filled(store, holed, 4)
    await store.inboxes.delete(ids[2], holed)
    wanted = [(empty, 0), (full, 1), (holed, 0), (full, None), (full, 6), (full, 99)]
    states = await store.states.states(wanted, 3)
    found = [(s.last_seq, s.counted.unread, s.until, [n.seq for n in s.missed]) for s in states]
    assert found == [
        (0, 0, 0, []),
        (6, 6, 4, [2, 3, 4]),
        (4, 3, 3, [1, 2]),
        (6, 6, 6, []),
        (6, 6, 6, []),
        (6, 6, 6, []),
    ]


async def test_last_seqs_are_those_of_inboxes_that_got_something(store: Store) -> None:
    full, emptied, nobody = uuid4(), uuid4(), uuid4()
    await filled(store, full, 3)
    (one,) = await filled(store, emptied, 1)
    await store.inboxes.delete(one, emptied)
    assert dict(await store.states.last_seqs([full, emptied, nobody])) == {full: 3, emptied: 1}


# Deliveries


def mail(address: str = "mai@example.com", *, template: str = "plain", **changes: Any) -> DeliveryDraft:
    return DeliveryDraft("email", template, address, "en", {"title": "Phở"}, **changes)


def code(group: str, happened_at: datetime) -> EventRecord:
    """An event with a one-time code; the newest of its group replaces the others."""
    draft = mail(template="otp_register", replaces=group, valid_for=600.0)
    return EventRecord(str(uuid4()), deliveries=[DeliveryRecord(draft, b"secret")], happened_at=happened_at)


async def test_a_delivery_is_recorded_with_its_event_once(store: Store) -> None:
    user = uuid4()
    record = DeliveryRecord(mail(user_id=user), reason="on by default")
    event = EventRecord(str(uuid4()), deliveries=[record, record])
    for _ in range(2):
        await store.writer.write([event])
    (made,) = await store.deliveries.find(10, event_id=event.event_id)
    assert (made.id, made.user_id, made.channel, made.template, made.address, made.locale) == (
        delivery_id(event.event_id, record.draft),
        *(user, "email", "plain", "mai@example.com", "en"),
    )
    assert (made.status, made.reason, made.attempts) == (Status.PENDING, "on by default", 0)
    assert made.next_attempt_at is not None
    assert abs(made.next_attempt_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert (made.expires_at, made.finished_at) == (None, None)
    assert await store.deliveries.get(made.id) == (made, [])
    assert await store.deliveries.get(uuid4()) is None


async def test_a_delivery_is_due_when_its_record_says_and_one_that_is_suppressed_never(store: Store) -> None:
    due_at = datetime.now(UTC) + timedelta(hours=8)
    event = EventRecord(
        str(uuid4()),
        deliveries=[
            DeliveryRecord(mail("later@example.com"), due_at=due_at, reason="quiet hours"),
            DeliveryRecord(mail("never@example.com"), reason="switched off", suppressed=True),
        ],
    )
    await store.writer.write([event])
    found = {row.address: row for row in await store.deliveries.find(10, event_id=event.event_id)}
    later, never = found["later@example.com"], found["never@example.com"]
    assert (later.status, later.next_attempt_at, later.finished_at) == (Status.PENDING, due_at, None)
    assert (never.status, never.next_attempt_at) == (Status.SUPPRESSED, None)
    assert never.finished_at is not None


async def test_a_delivery_that_was_not_tried_or_is_suppressed_can_not_be_sent_again(store: Store) -> None:
    event = EventRecord(
        str(uuid4()),
        deliveries=[DeliveryRecord(mail("a@example.com")), DeliveryRecord(mail(), suppressed=True)],
    )
    await store.writer.write([event])
    before = await store.deliveries.find(10, event_id=event.event_id)
    assert [await store.deliveries.resend(each.id) for each in before] == [False, False]
    assert not await store.deliveries.resend(uuid4())
    assert await store.deliveries.find(10, event_id=event.event_id) == before


async def test_of_codes_for_the_same_only_the_newest_event_is_pending_whatever_the_order(
    store: Store,
) -> None:
    group, now = f"otp_register:{uuid4()}", datetime.now(UTC)
    newest, older, oldest = (code(group, now - timedelta(minutes=ago)) for ago in (1, 2, 3))
    other = code(f"otp_register:{uuid4()}", now - timedelta(minutes=9))
    await store.writer.write([other, older])
    await store.writer.write([newest, oldest])
    for event, status, reason in (
        (newest, Status.PENDING, None),
        (other, Status.PENDING, None),
        (older, Status.SUPPRESSED, "a newer code replaced it"),
        (oldest, Status.SUPPRESSED, "a newer code replaced it"),
    ):
        (made,) = await store.deliveries.find(10, event_id=event.event_id)
        assert (made.status, made.reason) == (status, reason)
        assert (made.next_attempt_at is None) == (made.finished_at is not None) == (reason is not None)


async def test_a_code_expires_after_its_event_and_a_publishers_clock_may_be_ahead(store: Store) -> None:
    now, ago = datetime.now(UTC), timedelta(minutes=3)
    for happened_at, expected in ((now - ago, now - ago), (now + timedelta(days=1), now)):
        event = code(f"otp_register:{uuid4()}", happened_at)
        await store.writer.write([event])
        (made,) = await store.deliveries.find(10, event_id=event.event_id)
        assert made.expires_at is not None
        assert abs(made.expires_at - expected - timedelta(seconds=600)) < timedelta(minutes=1)


async def test_the_log_of_deliveries_is_read_newest_first_in_pages(store: Store) -> None:
    user = uuid4()
    for number in range(5):
        record = DeliveryRecord(mail(f"{number}@example.com", user_id=user))
        await store.writer.write([EventRecord(str(uuid4()), deliveries=[record])])
    first = await store.deliveries.find(3, user_id=user)
    rest = await store.deliveries.find(3, first[-1].id, user_id=user)
    addresses = [each.address for each in (*first, *rest)]
    assert addresses == [f"{number}@example.com" for number in (4, 3, 2, 1, 0)]
    assert await store.deliveries.find(9, user_id=user, address="2@example.com") == first[2:]
    assert await store.deliveries.find(9, user_id=user, since=first[1].created_at) == first[:2]
    assert await store.deliveries.find(9, user_id=user, until=first[1].created_at) == [first[2], *rest]
    assert await store.deliveries.find(9, uuid4(), user_id=user) == []
