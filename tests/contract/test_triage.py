"""The port `Triage`, on Postgres and in memory."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from app.domain.details import Details
from app.domain.errors import Unavailable
from app.domain.notifications import ArchivePlace, InboxCounters, Notification
from app.store.ports import PreferencesPort
from tests.contract.conftest import Store
from tests.contract.test_store import DETAILS, MISSING, filled
from tests.support.store import counted, entry

MISSED = InboxCounters(-1, -1, -1, -1, -1)
PAST, FUTURE = datetime(2001, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)


async def inbox(store: Store, user: UUID) -> list[tuple[int, bool]]:
    """The `seq`s of what is there, newest first, and whether it is read."""
    return [(each.seq, each.is_read) for each in await store.inboxes.page(user, 1000)]


async def kept(store: Store, user: UUID, place: ArchivePlace = "archived") -> list[tuple[int, bool]]:
    page = await store.triage.archive_page(user, place, 1000, None, 2**20)
    return [(each.seq, each.is_read) for each in page]


async def woken(store: Store, user: UUID) -> list[Notification]:
    """What came back of this user, as other tests' do too."""
    found: list[Notification] = []
    while some := await store.triage.wake(100):
        found += some
    return [each for each in found if each.receiver == user]


async def test_one_that_was_read_is_unread_again(store: Store) -> None:
    user = uuid4()
    first, second = await filled(store, user, 2)
    await store.inboxes.mark_read(first, user)
    changed = await store.inboxes.mark_unread(first, user)
    assert changed is not None
    assert (changed[0].id, changed[0].is_read, changed[1]) == (first, False, counted(2, 2, 2))
    again = await store.inboxes.mark_unread(second, user)
    assert again is not None
    assert again[1] == counted(2, 2, 3)
    assert await inbox(store, user) == [(2, False), (1, False)]
    unread = await store.inboxes.page(user, 10, unread=True)
    assert [each.seq for each in unread] == [2, 1]


async def test_what_is_archived_is_kept_beside_the_inbox_and_goes_back_to_its_place(store: Store) -> None:
    user = uuid4()
    ids = [
        each.id
        for each in (
            await store.writer.write([entry(user), entry(user, details=DETAILS), entry(user)])
        ).notifications
    ]
    before = (await store.inboxes.page(user, 10))[1]
    await store.inboxes.mark_read(ids[0], user)
    gone = await store.triage.archive(ids[1], user)
    assert gone == (before, counted(1, 3, 2))
    read = await store.triage.archive(ids[0], user)
    assert read is not None
    assert read[1] == counted(1, 3, 3)
    assert await inbox(store, user) == [(3, False)]
    assert await kept(store, user) == [(2, False), (1, True)]
    assert await kept(store, user, "snoozed") == []
    back = await store.triage.unarchive(ids[1], user)
    assert back == (before, counted(2, 3, 4))
    assert (await store.triage.unarchive(ids[0], user) or ())[1:] == (counted(2, 3, 5),)
    assert await inbox(store, user) == [(3, False), (2, False), (1, True)]
    assert await kept(store, user) == []


async def test_each_call_may_be_repeated(store: Store) -> None:
    user = uuid4()
    (one,) = await filled(store, user, 1)
    for rev in (1, 2):
        assert (await store.triage.archive(one, user) or ())[1:] == (counted(0, 1, rev),)
    for rev in (3, 4):
        assert (await store.triage.unarchive(one, user) or ())[1:] == (counted(1, 1, rev),)


async def test_nothing_happens_to_what_there_is_not_or_is_anothers(store: Store) -> None:
    user, stranger = uuid4(), uuid4()
    inside, archived = await filled(store, user, 2)
    await filled(store, stranger, 1)
    await store.triage.archive(archived, user)
    for asked in (inside, archived, MISSING):
        for change in (
            store.inboxes.mark_unread(asked, stranger),
            store.triage.archive(asked, stranger),
            store.triage.unarchive(asked, stranger),
            store.triage.snooze(asked, stranger, FUTURE),
            store.inboxes.mark_read(asked, stranger),
            store.inboxes.delete(asked, stranger),
        ):
            assert await change is None
    assert await store.inboxes.mark_unread(archived, user) is None
    assert await store.inboxes.counters(stranger) == counted(1, 1, 0)
    assert (await inbox(store, user), await kept(store, user)) == ([(1, False)], [(2, False)])
    assert await kept(store, stranger) == []


async def test_what_is_archived_is_read_and_deleted_like_any_other(store: Store) -> None:
    user = uuid4()
    one, two = await filled(store, user, 2)
    await store.triage.archive(one, user)
    changed = await store.inboxes.mark_read(one, user)
    assert changed is not None
    assert (changed[0].is_read, changed[1]) == (True, counted(1, 2, 2))
    assert await store.inboxes.delete(one, user) == counted(1, 2, 3)
    assert await kept(store, user) == []
    assert await store.triage.unarchive(one, user) is None
    assert await store.triage.archive(two, user) is not None


async def test_reading_and_deleting_all_leaves_what_is_archived_as_it_is(store: Store) -> None:
    user = uuid4()
    ids = await filled(store, user, 4)
    for each in (ids[0], ids[1], ids[3]):
        await store.triage.archive(each, user)
    assert (await store.inboxes.mark_all_read(user, None))[1] == counted(0, 4, 4)
    assert await kept(store, user) == [(4, False), (2, False), (1, False)]
    assert (await store.triage.unarchive(ids[0], user) or ())[1:] == (counted(1, 4, 5),)
    assert await inbox(store, user) == [(3, True), (1, False)]
    assert [each.seq for each in await store.inboxes.page(user, 9, unread=True)] == [1]
    assert (await store.triage.archive(ids[0], user) or ())[1:] == (counted(0, 4, 6),)
    assert (await store.inboxes.delete_all(user, 3))[1] == counted(0, 4, 7)
    assert (await store.triage.unarchive(ids[3], user) or ())[1:] == (counted(1, 4, 8),)
    revived = await store.triage.unarchive(ids[1], user)
    assert revived is not None
    assert revived[0].id not in ids
    assert (revived[0].seq, revived[1]) == (5, counted(2, 5, 9))
    assert (await inbox(store, user), await kept(store, user)) == ([(5, False), (4, False)], [(1, False)])


async def test_archiving_all_keeps_each_as_unread_as_it_was(store: Store) -> None:
    user = uuid4()
    ids = await filled(store, user, 6)
    await store.inboxes.mark_all_read(user, 2)
    await store.inboxes.mark_unread(ids[0], user)
    await store.inboxes.mark_read(ids[3], user)
    await store.triage.snooze(ids[4], user, FUTURE)
    assert await store.triage.archive_all(user, 4) == (4, InboxCounters(1, 6, 5, 1, 4))
    assert (await inbox(store, user), await kept(store, user)) == (
        [(6, False)],
        [(4, True), (3, False), (2, True), (1, False)],
    )
    assert await store.triage.archive_all(user, 3) == (3, InboxCounters(1, 6, 6, 1, 4))
    assert await kept(store, user, "snoozed") == [(5, False)]
    back = await store.triage.unarchive(ids[0], user)
    assert back is not None
    assert (back[0].id, back[0].seq, back[1]) == (ids[0], 1, InboxCounters(2, 6, 7, 1, 4))
    assert await inbox(store, user) == [(6, False), (1, False)]
    assert await store.triage.archive_all(user, None) == (6, InboxCounters(0, 6, 8, 0, 6))
    assert await inbox(store, user) == []
    assert [seq for seq, _ in await kept(store, user)] == [6, 4, 3, 2, 1]
    assert await store.triage.archive_all(uuid4(), None) == (0, InboxCounters(0, 0, 0))
    assert await store.triage.move_swept(100) >= 0


async def test_the_archive_is_listed_by_pages(store: Store) -> None:
    user = uuid4()
    for each in await filled(store, user, 5):
        await store.triage.archive(each, user)
    page = store.triage.archive_page
    assert [n.seq for n in await page(user, "archived", 2, None, 2**20)] == [5, 4]
    assert [n.seq for n in await page(user, "archived", 2, 4, 2**20)] == [3, 2]
    assert [n.seq for n in await page(user, "archived", 9, None, 1)] == [5, 4]


async def test_a_snoozed_one_comes_back_as_a_new_one(store: Store) -> None:
    user = uuid4()
    ids = [
        each.id
        for each in (await store.writer.write([entry(user, details=DETAILS), entry(user)])).notifications
    ]
    await store.inboxes.mark_read(ids[0], user)
    gone = await store.triage.snooze(ids[0], user, FUTURE)
    assert gone is not None
    assert (gone[0].snoozed_until, gone[1]) == (FUTURE, counted(1, 2, 2))
    assert (await inbox(store, user), await kept(store, user)) == ([(2, False)], [])
    assert await kept(store, user, "snoozed") == [(1, True)]
    assert await woken(store, user) == []
    await store.triage.snooze(ids[0], user, PAST)
    (new,) = await woken(store, user)
    assert new.id not in ids
    assert (new.seq, new.is_read, new.details, new.snoozed_until) == (3, False, DETAILS, None)
    assert datetime.now(UTC) - new.created_at < timedelta(minutes=1)
    assert (await store.inboxes.page(user, 10))[0] == new
    assert await store.inboxes.counters(user) == counted(2, 3, 3)
    assert await kept(store, user, "snoozed") == []
    await filled(store, user, 1)
    assert await inbox(store, user) == [(4, False), (3, False), (2, False)]


async def test_those_that_come_back_together_come_in_the_order_of_their_times(store: Store) -> None:
    user = uuid4()
    ids = await filled(store, user, 4)
    for number, second in enumerate((3, 1, 2)):
        await store.triage.snooze(ids[number], user, PAST + timedelta(seconds=second))
    await store.triage.archive(ids[3], user)
    back = await woken(store, user)
    assert [each.seq for each in back] == [5, 6, 7]
    assert await inbox(store, user) == [(7, False), (6, False), (5, False)]
    assert await kept(store, user) == [(4, False)]


async def test_a_snooze_ends_with_unarchive_or_archive(store: Store) -> None:
    user = uuid4()
    one, two = await filled(store, user, 2)
    for each in (one, two):
        await store.triage.snooze(each, user, FUTURE)
    back = await store.triage.unarchive(one, user)
    assert back is not None
    assert (back[0].snoozed_until, back[1].unread) == (None, 1)
    await store.triage.archive(two, user)
    assert (await inbox(store, user), await kept(store, user)) == ([(1, False)], [(2, False)])


async def test_what_is_due_is_noticed_until_it_is_done(store: Store) -> None:
    async def done() -> None:
        while (
            await store.triage.wake(100)
            or await store.triage.expire_archived(100)
            or await store.inboxes.expire(100)
            or await store.triage.move_swept(100)
        ):
            pass
        await store.triage.move_swept(100)  # ends a sweep that is empty
        assert not await store.triage.is_anything_due()

    await done()  # what earlier tests left
    user = uuid4()
    for moment in (FUTURE, PAST):
        assert not await store.triage.is_anything_due()
        await store.writer.write([entry(user, details=Details(expires_at=moment))])
    assert await store.triage.is_anything_due()
    await done()
    (one,) = await filled(store, user, 1)
    await store.triage.snooze(one, user, FUTURE)
    assert not await store.triage.is_anything_due()
    await store.triage.snooze(one, user, PAST)
    assert await store.triage.is_anything_due()
    await done()
    written = await store.writer.write([entry(user, details=Details(expires_at=PAST))])
    await store.triage.archive(written.notifications[0].id, user)
    assert await store.triage.is_anything_due()
    await done()


async def test_what_expires_outside_the_inbox_is_deleted_too(store: Store) -> None:
    user = uuid4()
    for moment in (PAST, FUTURE, PAST):
        await store.writer.write([entry(user, details=Details(expires_at=moment))])
    ids = [each.id for each in reversed(await store.inboxes.page(user, 10))]
    for each in ids[:2]:
        await store.triage.archive(each, user)
    found = {each.receiver: each for each in await store.triage.expire_archived(100)}
    assert found[user] == (user, [ids[0]], counted(2 - 1, 3, 3))
    assert await kept(store, user) == [(2, False)]
    assert await inbox(store, user) == [(3, False)]


@pytest.mark.parametrize("seed", range(3))
async def test_changes_at_once_leave_each_notification_in_one_place_and_the_counters_right(
    store: Store, seed: int
) -> None:
    user, chance = uuid4(), random.Random(seed)
    ids = await filled(store, user, 6)
    counts: list[InboxCounters] = []

    async def change() -> None:
        one = chance.choice(ids)
        triage, inboxes = store.triage, store.inboxes
        kind = chance.choice(("archive", "unarchive", "unread", "read", "snooze", "all", "wake", "write"))
        if kind == "write":
            await filled(store, user, 1)
            return
        if kind == "wake":
            await triage.wake(100)
            return
        if kind == "all":
            counts.append((await inboxes.mark_all_read(user, chance.randint(1, 5)))[1])
            return
        calls = {
            "archive": triage.archive,
            "unarchive": triage.unarchive,
            "unread": inboxes.mark_unread,
            "read": inboxes.mark_read,
        }
        until = chance.choice((PAST, FUTURE))
        changed = await (triage.snooze(one, user, until) if kind == "snooze" else calls[kind](one, user))
        if changed is not None:
            counts.append(changed[1])

    await asyncio.gather(*(change() for _ in range(80)))
    listed = await inbox(store, user)
    everywhere = listed + await kept(store, user) + await kept(store, user, "snoozed")
    assert len({seq for seq, _ in everywhere}) == len(everywhere)
    counters = await store.inboxes.counters(user)
    assert counters.unread == sum(not read for _, read in listed)
    assert sorted(each.rev for each in counts) == [*range(1, counters.rev + 1)]


async def test_what_is_new_since_all_was_seen_is_unseen_as_long_as_it_is_unread(store: Store) -> None:
    user = uuid4()
    ids = await filled(store, user, 3)
    assert await store.inboxes.counters(user) == InboxCounters(3, 3, 0, 3, 0)
    assert await store.inboxes.mark_all_seen(user, 2) == (2, InboxCounters(3, 3, 1, 1, 2))
    assert await store.inboxes.mark_all_seen(user, 1) == (1, InboxCounters(3, 3, 2, 1, 2))
    assert await store.inboxes.mark_all_seen(user, None) == (3, InboxCounters(3, 3, 3, 0, 3))
    assert await inbox(store, user) == [(3, False), (2, False), (1, False)]
    fourth, fifth = await filled(store, user, 2)
    assert await store.inboxes.counters(user) == InboxCounters(3 + 2, 5, 3, 2, 3)
    states = await store.states.states([(user, None), (uuid4(), None)], 10)
    assert [each.counted for each in states] == [InboxCounters(5, 5, 3, 2, 3), InboxCounters(0, 0, 0)]
    for change, unseen in (
        (store.inboxes.mark_read, 1),
        (store.inboxes.mark_unread, 2),
        (store.triage.archive, 1),
        (store.triage.unarchive, 2),
    ):
        changed = await change(fourth, user)
        assert changed is not None
        assert changed[1].unseen == unseen
    await store.inboxes.mark_unread(ids[0], user)
    assert (await store.inboxes.counters(user)).unseen == 2
    assert (await store.inboxes.delete(fifth, user) or MISSED).unseen == 1
    assert await store.inboxes.mark_all_read(user, None) == (5, InboxCounters(0, 5, 10, 0, 5))
    await store.inboxes.mark_unread(ids[0], user)
    assert await store.inboxes.counters(user) == InboxCounters(1, 5, 11, 0, 5)


async def test_one_that_comes_back_from_a_snooze_is_unseen(store: Store) -> None:
    user = uuid4()
    (one,) = await filled(store, user, 1)
    await store.inboxes.mark_all_seen(user, None)
    await store.triage.snooze(one, user, PAST)
    assert (await store.inboxes.counters(user)).unseen == 0
    await woken(store, user)
    assert await store.inboxes.counters(user) == InboxCounters(1, 2, 2, 1, 1)


async def test_nothing_is_seen_in_an_inbox_that_never_got_anything(store: Store) -> None:
    user = uuid4()
    assert await store.inboxes.mark_all_seen(user, None) == (0, InboxCounters(0, 0, 0))
    assert await store.inboxes.mark_all_seen(user, 7) == (0, InboxCounters(0, 0, 0))
    await filled(store, user, 1)
    assert (await store.inboxes.counters(user)).unseen == 1


async def test_a_store_that_is_away_is_unavailable(away: tuple[Store, PreferencesPort]) -> None:
    triage, user = away[0].triage, uuid4()
    for asking in (
        away[0].inboxes.mark_unread(1, user),
        away[0].inboxes.mark_all_seen(user, None),
        triage.archive(1, user),
        triage.unarchive(1, user),
        triage.snooze(1, user, FUTURE),
        triage.archive_page(user, "archived", 1, None, 1),
        triage.is_anything_due(),
        triage.wake(1),
        triage.expire_archived(1),
        triage.archive_all(user, None),
        triage.move_swept(1),
    ):
        with pytest.raises(Unavailable):
            await asking
