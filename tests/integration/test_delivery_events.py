"""What reports of providers change, on a real Postgres: the status, the log, and the suppression list."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from app.domain.deliveries import Delivery, Status
from app.domain.delivery_events import DeliveryReport, EventKind
from app.domain.errors import DeliveryFailed
from app.outbox.channel import Outgoing
from app.store.delivery_events import COMPLAINT, MAX_EVENTS_ROWS
from tests.support.outbox import Scene, code, mail


def report(delivery: UUID, kind: EventKind, key: str = "", **changes: Any) -> DeliveryReport:
    given = {"happened_at": datetime.now(UTC), **changes}
    return DeliveryReport(delivery, key or f"key-{kind}", kind, **given)


async def row(scene: Scene, delivery: UUID) -> Delivery:
    found = await scene.store.get(delivery)
    assert found is not None
    return found[0]


async def sent(scene: Scene, address: str) -> UUID:
    (delivery,) = await scene.ask(mail(address), category="food")
    await scene.ends(delivery, Status.SENT)
    return delivery


async def test_a_report_moves_what_was_sent_and_is_recorded_once(scene: Scene) -> None:
    await scene.node()
    delivery = await sent(scene, "an@example.com")
    reports = [
        report(delivery, EventKind.DEFERRED, detail="451 later"),
        report(delivery, EventKind.DELIVERED),
    ]
    assert await scene.store.reports.record([*reports, report(uuid4(), EventKind.DELIVERED)]) == 2
    assert await scene.store.reports.record(reports) == 0
    assert (await row(scene, delivery)).status is Status.DELIVERED
    events = await scene.store.events(delivery)
    assert [(each.kind, each.detail) for each in events] == [
        (EventKind.DEFERRED, "451 later"),
        (EventKind.DELIVERED, None),
    ]
    assert not await scene.store.resend(delivery), "it was sent"
    assert await scene.store.resend(delivery, force=True)


async def test_a_hard_bounce_and_a_complaint_suppress_the_address(scene: Scene) -> None:
    await scene.node()
    said = "550 5.1.1 no such user"
    bounced, complained = await sent(scene, "gone@example.com"), await sent(scene, "angry@example.com")
    soft = await sent(scene, "full@example.com")
    await scene.store.reports.record(
        [
            report(bounced, EventKind.DELIVERED),
            report(bounced, EventKind.BOUNCED, detail=said, code="sendgrid_bounce", provider_id="other"),
            report(complained, EventKind.COMPLAINED, detail="abuse"),
            report(soft, EventKind.FAILED, detail="552 5.2.2 full", code="ses_bounce"),
        ]
    )
    failed = await row(scene, bounced)
    assert (failed.status, failed.error_code, failed.error) == (Status.FAILED, "sendgrid_bounce", said)
    assert (failed.reason, failed.provider_id) == ("the address bounced", "provider's id")
    angry = await row(scene, complained)
    assert (angry.status, angry.reason) == (Status.DELIVERED, COMPLAINT)
    assert (await row(scene, soft)).status is Status.FAILED
    wanted = {
        "Gone@Example.com": f"the address is suppressed: it bounced: {said}",
        "angry@example.com": f"the address is suppressed: {COMPLAINT}",
    }
    for address, reason in wanted.items():
        (next_one,) = await scene.ask(mail(address), category="bookings")
        assert await scene.ends(next_one, Status.SUPPRESSED) == reason
    await sent(scene, "full@example.com")
    # a later bounce doesn't shorten a complaint
    await scene.store.reports.record([report(complained, EventKind.BOUNCED, detail=said)])
    (last,) = await scene.ask(mail("angry@example.com"), category="bookings")
    assert await scene.ends(last, Status.SUPPRESSED) == f"the address is suppressed: {COMPLAINT}"


async def test_what_is_said_of_a_code_is_kept_without_its_words(scene: Scene) -> None:
    await scene.node()
    (secret,) = await scene.ask(code("coded@example.com"), category="security")
    await scene.ends(secret, Status.SENT)
    said = "554 5.7.1 refused: your code is 482913"
    await scene.store.reports.record([report(secret, EventKind.BOUNCED, detail=said, code="smtp_554")])
    found = await row(scene, secret)
    assert (found.status, found.error) == (Status.FAILED, "554 5.7.1")
    assert [each.detail for each in await scene.store.events(secret)] == ["554 5.7.1"]
    (next_one,) = await scene.ask(mail("coded@example.com"), category="food")
    assert await scene.ends(next_one, Status.SUPPRESSED) == "the address is suppressed: it bounced: 554 5.7.1"


async def test_a_report_may_come_before_the_hub_knows_that_it_sent(scene: Scene) -> None:
    """The provider's answer was lost, or is slower than its callback: the message isn't sent again."""
    taken = asyncio.Event()

    async def slow() -> None:
        taken.set()
        await asyncio.Event().wait()

    scene.channel.answer = lambda _: slow()
    await scene.node()
    (delivery,) = await scene.ask(mail("early@example.com"), category="food")
    async with asyncio.timeout(30):
        await taken.wait()
    await scene.store.reports.record([report(delivery, EventKind.DELIVERED, provider_id="SM1")])
    await scene.stop()
    found = await row(scene, delivery)
    assert (found.status, found.provider_id, found.next_attempt_at) == (Status.DELIVERED, "SM1", None)


async def test_a_report_about_an_earlier_sending_does_not_end_the_next(scene: Scene) -> None:
    def fails(_: Outgoing) -> None:
        raise DeliveryFailed("smtp_451", "later", retryable=True, retry_after=600.0)

    await scene.node()
    delivery = await sent(scene, "earlier@example.com")
    scene.channel.answer = fails
    earlier = datetime.now(UTC) - timedelta(minutes=5)
    assert await scene.store.resend(delivery, force=True)
    await scene.store.reports.record([report(delivery, EventKind.DELIVERED, happened_at=earlier)])
    assert (await row(scene, delivery)).status in (Status.PENDING, Status.SENDING)


async def test_opens_have_an_end_and_nul_is_no_fault(scene: Scene) -> None:
    await scene.node()
    delivery = await sent(scene, "opener@example.com")
    opens = [
        report(delivery, EventKind.OPENED, f"open-{n}", detail="a\0b") for n in range(MAX_EVENTS_ROWS + 5)
    ]
    assert await scene.store.reports.record(opens) == MAX_EVENTS_ROWS
    assert (await row(scene, delivery)).status is Status.DELIVERED
    assert (await scene.store.events(delivery))[0].detail == "ab"
