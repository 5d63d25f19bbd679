"""What waits, on a real Postgres: one message for a digest, without what was read, and each one once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from app.domain.deliveries import Hold, Status, delivery_id
from app.domain.details import Details
from app.domain.errors import DeliveryFailed
from app.outbox.channel import Outgoing
from app.outbox.waiting import EMPTY
from app.store.notifications import NotificationStore
from app.store.preferences import Profile
from app.store.records import DeliveryRecord, EventRecord
from app.store.triage import TriageStore
from tests.support.hub import eventually
from tests.support.outbox import Scene, mail
from tests.support.store import draft


class Held(NamedTuple):
    """A delivery that waits, and the notification of its event."""

    delivery: UUID
    notification: int
    seq: int


async def hold(scene: Scene, user: UUID, title: str = "T", **given: Any) -> Held:
    """An event with a notification and a delivery that waits: in a digest, or with `only_if` a step."""
    event_id, key = str(uuid4()), given.pop("key", str(user))
    details = given.pop("details", None)
    due = given.pop("due", datetime.now(UTC))
    step = given.pop("step", None)
    only_if = given.pop("only_if", None)
    waits = Hold(only_if=step) if step is not None else Hold(key, due, only_if=only_if, group_name="Us")
    message = mail(data={"title": title, "message": "M"}, user_id=user, **given)
    record = DeliveryRecord(message, due_at=due, category="food", hold=waits)
    shown = draft([user], details=details)
    written = await scene.writer.write([EventRecord(event_id, [shown], [record])])
    (made,) = written.notifications
    return Held(delivery_id(event_id, message), made.id, made.seq)


async def digest_of(scene: Scene, held: Held) -> UUID:
    found = await scene.store.get(held.delivery)
    assert found is not None
    assert found[0].digest_id is not None
    return found[0].digest_id


def titles(outgoing: Outgoing) -> list[str]:
    return [each["title"] for each in outgoing.data["entries"]]


async def test_a_digest_is_one_message_without_what_was_read(scene: Scene) -> None:
    user = uuid4()
    held = [await hold(scene, user, title) for title in ("one", "two", "three", "four", "five")]
    store, triage = NotificationStore(scene.engine), TriageStore(scene.engine)
    assert await store.mark_read(held[1].notification, user)
    assert await store.delete(held[2].notification, user)
    assert await triage.archive(held[3].notification, user)
    await scene.node()
    digest = await digest_of(scene, held[0])
    assert await scene.ends(digest, Status.SENT) is None
    (sent,) = scene.channel.sent
    assert (sent.id, sent.template, titles(sent)) == (digest, "digest", ["five", "one"])
    assert (sent.data["count"], sent.data["group_name"]) == (2, "Us")
    assert await scene.ends(held[0].delivery, Status.SENT) == "sent in a digest"
    assert await scene.ends(held[1].delivery, Status.SUPPRESSED) == "the notification was read"
    for gone in held[2:4]:
        reason = await scene.ends(gone.delivery, Status.SUPPRESSED)
        assert reason == "the notification was deleted or archived"


async def test_what_was_read_together_leaves_the_digest(scene: Scene) -> None:
    store, user = NotificationStore(scene.engine), uuid4()
    held = [await hold(scene, user) for _ in range(3)]
    await store.mark_all_read(user, held[1].seq)
    assert await store.mark_unread(held[0].notification, user)
    await scene.node()
    await scene.ends(await digest_of(scene, held[0]), Status.SENT)
    statuses = [await status(scene, each) for each in held]
    assert statuses == [Status.SENT, Status.SUPPRESSED, Status.SENT]


async def test_each_message_links_to_where_its_notification_leads(scene: Scene) -> None:
    user = uuid4()
    leads = Details(url="https://app.example.com/food/17")
    held = [await hold(scene, user, details=leads), await hold(scene, user)]
    await scene.node()
    await scene.ends(await digest_of(scene, held[0]), Status.SENT)
    (sent,) = scene.channel.sent
    assert [each.get("url") for each in sent.data["entries"]] == [None, leads.url]


async def test_an_empty_digest_is_not_sent(scene: Scene) -> None:
    store, user = NotificationStore(scene.engine), uuid4()
    held = [await hold(scene, user) for _ in range(2)]
    await store.delete_all(user, None)
    await scene.node()
    assert await scene.ends(await digest_of(scene, held[0]), Status.SUPPRESSED) == EMPTY
    assert scene.channel.sent == []


async def test_a_digest_is_retried_as_the_same_message(scene: Scene) -> None:
    store, user = NotificationStore(scene.engine), uuid4()
    held = [await hold(scene, user, title) for title in ("one", "two")]
    failures = [DeliveryFailed("smtp_451", "451 try later", retryable=True)]
    shown: list[list[str]] = []

    async def answer(outgoing: Outgoing) -> None:
        shown.append(titles(outgoing))
        if failures:
            await store.mark_read(held[0].notification, user)
            later.append(await hold(scene, user, "later", due=datetime.now(UTC) + timedelta(hours=1)))
            raise failures.pop()

    later: list[Held] = []
    scene.channel.answer = answer
    await scene.node()
    digest = await digest_of(scene, held[0])
    await scene.ends(digest, Status.SENT)
    assert shown == [["two", "one"], ["two"]], "what was read meanwhile has left it"
    assert {each.id for each in scene.channel.sent} == {digest}
    assert await digest_of(scene, later[0]) != digest, "what came later waits for the next one"
    assert await status(scene, later[0]) is Status.HELD


async def test_what_is_read_while_the_provider_lets_a_digest_wait_is_not_in_it(scene: Scene) -> None:
    store, user = NotificationStore(scene.engine), uuid4()
    held = [await hold(scene, user, title) for title in ("one", "two", "three")]
    to_read = [each.notification for each in held[:2]]

    async def slow(_: Outgoing) -> None:  # as a mail server that doesn't greet for a while
        if to_read:
            assert await store.mark_read(to_read.pop(), user)

    scene.channel.answer = slow
    await scene.node()
    digest = await digest_of(scene, held[0])
    await scene.ends(digest, Status.SENT)
    (sent,) = scene.channel.sent
    assert (titles(sent), sent.data["count"]) == (["three"], 1)
    statuses = [await status(scene, each) for each in held]
    assert statuses == [Status.SUPPRESSED, Status.SUPPRESSED, Status.SENT]
    _, attempts = await scene.store.get(digest) or (None, [])
    assert len(attempts) == 1


async def test_a_digest_is_not_sent_if_all_is_read_while_the_provider_lets_it_wait(scene: Scene) -> None:
    store, user = NotificationStore(scene.engine), uuid4()
    held = [await hold(scene, user) for _ in range(2)]

    async def slow(_: Outgoing) -> None:
        await store.mark_all_read(user, None)

    scene.channel.answer = slow
    await scene.node()
    assert await scene.ends(await digest_of(scene, held[0]), Status.SUPPRESSED) == EMPTY
    assert scene.channel.sent == []


async def test_all_in_a_digest_fail_with_it(scene: Scene) -> None:
    user = uuid4()
    held = [await hold(scene, user) for _ in range(2)]

    def answer(_: Outgoing) -> None:
        raise DeliveryFailed("smtp_550", "550 no such user", retryable=False)

    scene.channel.answer = answer
    await scene.node()
    digest = await digest_of(scene, held[0])
    await scene.ends(digest, Status.FAILED)
    assert [await status(scene, each) for each in held] == [Status.FAILED] * 2
    scene.channel.answer = lambda _: None
    assert await scene.store.resend(digest)
    await scene.ends(digest, Status.SENT)
    assert [await status(scene, each) for each in held] == [Status.SENT] * 2
    assert len(titles(scene.channel.sent[-1])) == 2


async def test_a_digest_whose_node_died_is_sent_by_another(scene: Scene) -> None:
    user = uuid4()
    held = [await hold(scene, user, due=datetime.now(UTC)) for _ in range(2)]
    digest = await digest_of(scene, held[0])
    (leased,) = await scene.store.claim("email", 10, 0.3, codes=False)  # and the node is killed
    assert (leased.id, leased.digest) == (digest, True)
    later = await hold(scene, user, due=datetime.now(UTC))
    await scene.node()
    await scene.ends(digest, Status.SENT)
    await scene.ends(later.delivery, Status.SENT)
    sent = {each.id: len(titles(each)) for each in scene.channel.sent}
    assert sent == {digest: 2, await digest_of(scene, later): 1}


async def test_many_nodes_send_each_digest_once(scene: Scene) -> None:
    users = [uuid4() for _ in range(10)]
    held = [await hold(scene, user) for user in users for _ in range(5)]
    for _ in range(3):
        await scene.node()
    for each in held:
        await scene.ends(each.delivery, Status.SENT)
    sent = [each.id for each in scene.channel.sent]
    assert len(sent) == len({*sent})
    assert sum(len(titles(each)) for each in scene.channel.sent) == len(held)


async def test_a_digest_is_decided_again_when_it_is_due(scene: Scene) -> None:
    user, quiet = uuid4(), uuid4()
    off, waiting = await hold(scene, user), await hold(scene, quiet)
    await scene.people.set_choice(user, "food.email", False)
    now = datetime.now(UTC)
    begins, ends = (
        (now + timedelta(hours=hours)).time().replace(second=0, microsecond=0) for hours in (-2, 2)
    )
    await scene.people.set_profile(quiet, Profile(time_zone="UTC", quiet_from=begins, quiet_until=ends))
    await scene.node()
    reason = "the person turned off food by email"
    assert await scene.ends(await digest_of(scene, off), Status.SUPPRESSED) == reason
    assert await scene.ends(off.delivery, Status.SUPPRESSED) == reason
    digest = await digest_of(scene, waiting)

    async def waits() -> bool:
        found = await scene.store.get(digest)
        assert found is not None
        return (found[0].reason or "").startswith("quiet hours until ")

    await eventually(waits, "it waits for the end of quiet hours")
    assert await status(scene, waiting) is Status.HELD
    assert scene.channel.sent == []


async def test_a_step_is_sent_unless_its_notification_was_read(scene: Scene) -> None:
    store, user = NotificationStore(scene.engine), uuid4()
    read, gone, seen, seen_only, unread = [
        await hold(scene, user, step=only_if)
        for only_if in ("unread", "unread", "unread", "unseen", "unseen")
    ]
    await store.mark_all_seen(user, seen_only.seq)
    await store.mark_read(read.notification, user)
    await store.delete(gone.notification, user)
    await scene.node()
    await scene.ends(unread.delivery, Status.SENT)
    await scene.ends(seen.delivery, Status.SENT)
    assert await scene.ends(seen_only.delivery, Status.SUPPRESSED) == "the notification was seen"
    assert await scene.ends(read.delivery, Status.SUPPRESSED) == "the notification was read"
    assert await scene.ends(gone.delivery, Status.SUPPRESSED) == "the notification was deleted or archived"
    assert {each.id for each in scene.channel.sent} == {unread.delivery, seen.delivery}


async def test_a_step_is_not_sent_that_was_read_while_its_provider_let_it_wait(scene: Scene) -> None:
    store, user = NotificationStore(scene.engine), uuid4()
    step = await hold(scene, user, step="unread")

    async def slow(_: Outgoing) -> None:  # as a mail server that doesn't greet for a while
        assert await store.mark_read(step.notification, user)

    scene.channel.answer = slow
    await scene.node()
    assert await scene.ends(step.delivery, Status.SUPPRESSED) == "the notification was read"
    assert scene.channel.sent == []


async def test_a_step_for_the_unseen_leaves_its_digest_when_it_is_seen(scene: Scene) -> None:
    store, user = NotificationStore(scene.engine), uuid4()
    held = [
        await hold(scene, user, title, only_if=only_if)
        for title, only_if in (("unseen", "unseen"), ("unread", "unread"), ("message", None))
    ]
    later = await hold(scene, user, "later", only_if="unseen")
    await store.mark_all_seen(user, held[-1].seq)
    await scene.node()
    await scene.ends(later.delivery, Status.SENT)
    (sent,) = scene.channel.sent
    assert titles(sent) == ["later", "message", "unread"]
    assert await scene.ends(held[0].delivery, Status.SUPPRESSED) == "the notification was seen"


async def test_a_push_that_waited_for_a_connection_to_end_is_due_then(scene: Scene) -> None:
    user, other = uuid4(), uuid4()
    for each in (user, other):
        await hold(scene, each, step="unread", channel="webpush", address=str(uuid4()))
    await hold(scene, user, step="unread", channel="webpush", address=str(uuid4()), due=far())
    for leased in await scene.store.claim("webpush", 10, 600.0, codes=False):
        await scene.store.reschedule(leased.id, "connected", 600.0, None, leased.attempts)
    due = await scene.store.next_due("webpush", codes=False)
    assert due is not None
    assert due > 500
    assert await scene.store.waiting.look_again([user]) == 1
    assert [each.user_id for each in await scene.store.claim("webpush", 10, 600.0, codes=False)] == [user]


async def test_messages_about_no_notification_stay_in_the_digest(scene: Scene) -> None:
    user = uuid4()
    message = mail(data={"title": "T", "message": "M"}, user_id=user)
    record = DeliveryRecord(
        message, due_at=datetime.now(UTC), category="food", hold=Hold("key of one", datetime.now(UTC))
    )
    await scene.writer.write([EventRecord("alone", (), [record])])
    await scene.node()
    await scene.ends(delivery_id("alone", message), Status.SENT)
    assert [titles(each) for each in scene.channel.sent] == [["T"]]


async def test_concurrent_batches_join_one_digest(scene: Scene) -> None:
    user = uuid4()
    held = await asyncio.gather(*(hold(scene, user, due=far()) for _ in range(10)))
    assert len({await digest_of(scene, each) for each in held}) == 1


def far() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def status(scene: Scene, held: Held) -> Status:
    found = await scene.store.get(held.delivery)
    assert found is not None
    return found[0].status
