"""Updates and retractions by publishers, on Postgres and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.domain.amendments import NO_SUCH_EVENT, Amended, Amendment, Texts, Update
from app.domain.deliveries import DeliveryDraft
from app.domain.details import Details
from app.domain.errors import InvalidEvent
from app.domain.identity import EventIdentity
from app.domain.notifications import InboxCounters
from app.store import writer
from app.store.records import DeliveryRecord, EventRecord
from tests.contract.conftest import Store
from tests.support.store import draft

THREAD = Details(thread_key="order-7", severity="info")
NEWER = Update(texts={"": Texts("newer", None)}, details=Details(severity="success"))
FUTURE = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_ROWS_AT_ONCE", 3)


async def publish(
    store: Store, *receivers: UUID, sender: str | None = None, event_id: str | None = None, **changes: Any
) -> str:
    """The id of an event that was written."""
    event = EventRecord(
        event_id or str(uuid4()), [draft(receivers, **changes)], identity=EventIdentity(sender=sender)
    )
    await store.writer.write([event])
    return event.event_id


async def amend(
    store: Store, amendment: Amendment, sender: str | None = None, event_id: str | None = None
) -> Sequence[Amended]:
    """What an event changes."""
    event = EventRecord(event_id or str(uuid4()), identity=EventIdentity(1, sender), amendment=amendment)
    return [*(await store.writer.write([event])).amended]


async def titles(store: Store, user: UUID) -> list[tuple[int, str, bool]]:
    page = await store.inboxes.page(user, 100)
    return [(each.seq, each.title, each.is_read) for each in page]


@pytest.mark.parametrize("named", [False, True])
async def test_all_notifications_of_an_event_change_where_they_are(store: Store, named: bool) -> None:
    users = [uuid4() for _ in range(4)]
    event = await publish(store, *users)
    await publish(store, *users)
    first, second, third, fourth = users
    ids = [(await store.inboxes.page(user, 9))[1].id for user in users]
    await store.inboxes.mark_all_read(second, None)
    await store.triage.archive(ids[2], third)
    await store.triage.snooze(ids[3], fourth, FUTURE)
    found = await amend(store, Amendment(event, receivers=users if named else (), update=NEWER))
    places = {each.receiver: each.place for each in found}
    assert places == {first: "inbox", second: "inbox", third: "archived", fourth: "snoozed"}
    counts = {each.receiver: each.counters for each in found}
    assert counts[first] == InboxCounters(2, 2, 1, 2, 0)
    assert counts[second] == InboxCounters(0, 2, 2, 0, 2)
    assert counts[third] == InboxCounters(1, 2, 2, 1, 0)
    for each in found:
        assert each.notification is not None
        assert (each.id, each.notification.id) == (ids[users.index(each.receiver)],) * 2
        assert (each.notification.title, each.notification.content) == ("newer", "content")
        assert each.notification.details == Details(severity="success")
    assert await titles(store, first) == [(2, "title", False), (1, "newer", False)]
    assert await titles(store, second) == [(2, "title", True), (1, "newer", True)]
    kept = await store.triage.archive_page(third, "archived", 9, None, 2**20)
    assert [each.title for each in kept] == ["newer"]


async def test_it_is_unread_again_only_if_that_is_asked_for(store: Store) -> None:
    user = uuid4()
    event = await publish(store, user, details=THREAD)
    await publish(store, user)
    await store.inboxes.mark_all_read(user, None)
    again = Update(texts=NEWER.texts, unread=True)
    (changed,) = await amend(store, Amendment(event, update=again))
    assert changed.counters == InboxCounters(1, 2, 2, 0, 2)
    assert changed.notification is not None
    assert (changed.notification.is_read, changed.notification.details) == (False, THREAD)
    assert await titles(store, user) == [(2, "title", True), (1, "newer", False)]
    assert await store.inboxes.counters(user) == changed.counters


async def test_an_update_of_a_thread_changes_its_newest_and_a_retraction_all_of_it(store: Store) -> None:
    user, other = uuid4(), uuid4()
    for details in (THREAD, THREAD, None, Details(thread_key="order-8")):
        await publish(store, user, details=details)
    await publish(store, other, details=THREAD)
    await store.inboxes.mark_all_seen(user, 1)
    (changed,) = await amend(store, Amendment(None, "order-7", [user], NEWER))
    assert await titles(store, user) == [
        *((4, "title", False), (3, "title", False), (2, "newer", False), (1, "title", False)),
    ]
    gone = await amend(store, Amendment(None, "order-7", [user]))
    assert [each.notification for each in gone] == [None, None]
    assert changed.id in [each.id for each in gone]
    assert await titles(store, user) == [(4, "title", False), (3, "title", False)]
    counters = await store.inboxes.counters(user)
    assert (counters.unread, counters.last_seq, counters.unseen) == (2, 4, 2)
    assert await titles(store, other) == [(1, "title", False)]
    assert await amend(store, Amendment(None, "order-7", [user])) == []


async def test_what_a_retracted_event_still_sends_is_suppressed(store: Store) -> None:
    user, other = uuid4(), uuid4()
    event = str(uuid4())
    deliveries = [
        DeliveryRecord(DeliveryDraft("email", "plain", f"{each}@example.com", "en", {}, user_id=each))
        for each in (user, other)
    ]
    await store.writer.write([EventRecord(event, [draft((user, other))], deliveries)])
    assert len(await amend(store, Amendment(event, receivers=[user]))) == 1
    found = await store.deliveries.find(9, event_id=event)
    assert {each.user_id: each.status.value for each in found} == {user: "suppressed", other: "pending"}
    assert len(await amend(store, Amendment(event))) == 1
    found = await store.deliveries.find(9, event_id=event)
    assert {each.status.value for each in found} == {"suppressed"}
    assert {each.next_attempt_at for each in found} == {None}


async def test_a_service_changes_only_what_it_sent_itself_or_came_over_a_broker(store: Store) -> None:
    user = uuid4()
    own, theirs, broker = [
        await publish(store, user, sender=sender, details=THREAD) for sender in ("shop", "bank", None)
    ]
    assert len(await amend(store, Amendment(own, update=NEWER), "shop")) == 1
    assert len(await amend(store, Amendment(broker, update=NEWER), "shop")) == 1
    for sender in ("shop", None):
        with pytest.raises(InvalidEvent) as refused:
            await amend(store, Amendment(theirs), sender)
        assert refused.value.reason == NO_SUCH_EVENT
    gone = await amend(store, Amendment(None, "order-7", [user]), "shop")
    assert len(gone) == 2
    assert [seq for seq, _, _ in await titles(store, user)] == [2]


async def test_an_id_that_two_services_used_means_each_ones_event(store: Store) -> None:
    first, second, event = uuid4(), uuid4(), str(uuid4())
    await publish(store, first, sender="bank", event_id=event)
    await publish(store, second, sender="shop", event_id=event)
    assert [each.receiver for each in await amend(store, Amendment(event), "shop")] == [second]
    assert [each.receiver for each in await amend(store, Amendment(event), "bank")] == [first]


async def test_the_id_of_a_change_may_be_another_services_too(store: Store) -> None:
    user, change = uuid4(), str(uuid4())
    own = await publish(store, user, sender="shop")
    await publish(store, uuid4(), sender="bank", event_id=change)
    for amended in (1, 0):
        assert len(await amend(store, Amendment(own, update=NEWER), "shop", change)) == amended
    assert await titles(store, user) == [(1, "newer", False)]


async def test_a_change_that_comes_again_has_no_effect_and_one_that_comes_too_early_is_no_event(
    store: Store,
) -> None:
    user, original, change = uuid4(), str(uuid4()), str(uuid4())
    update = Amendment(original, update=NEWER)
    with pytest.raises(InvalidEvent) as early:
        await amend(store, update, event_id=change)
    assert early.value.reason == NO_SUCH_EVENT
    await publish(store, user, event_id=original)
    assert len(await amend(store, update, event_id=change)) == 1
    before = await store.inboxes.counters(user)
    assert await amend(store, update, event_id=change) == []
    assert await store.inboxes.counters(user) == before
    one = (await store.inboxes.page(user, 1))[0].id
    await store.inboxes.delete(one, user)
    assert await amend(store, update) == []


async def test_what_was_deleted_or_archived_together_is_found_only_where_it_is(store: Store) -> None:
    user = uuid4()
    events = [await publish(store, user, details=THREAD) for _ in range(3)]
    await store.inboxes.delete_all(user, 1)
    await store.triage.archive_all(user, 2)
    assert await amend(store, Amendment(events[0], update=NEWER)) == []
    (archived,) = await amend(store, Amendment(events[1], update=NEWER))
    assert archived.place == "archived"
    assert len(await amend(store, Amendment(None, "order-7", [user]))) == 2
    assert await titles(store, user) == []
    assert await store.triage.archive_page(user, "archived", 9, None, 2**20) == []
