"""The suppression list on a real Postgres: what is on it gets nothing, over a restart too."""

from __future__ import annotations

from app.domain.deliveries import Status
from app.domain.errors import DeliveryFailed
from app.outbox.channel import Outgoing
from app.store.suppressions import ALL
from tests.support.outbox import Scene, code, mail


async def test_an_address_gets_nothing_of_a_category_it_unsubscribed_from(scene: Scene) -> None:
    address = "gone@example.com"
    await scene.store.suppressions.add("email", address, "food", "the receiver unsubscribed from food")
    for _ in range(2):  # a node, and one that was started later
        await scene.node()
        (one,) = await scene.ask(mail("Gone@Example.com"), category="food")
        (other,) = await scene.ask(mail(address), category="messages")
        (secret,) = await scene.ask(code(address), category="security")
        reason = await scene.ends(one, Status.SUPPRESSED)
        assert reason == "the address is suppressed: the receiver unsubscribed from food"
        await scene.ends(other, Status.SENT)
        await scene.ends(secret, Status.SENT)
        assert not await scene.store.resend(one, force=True)
        await scene.stop()
    found = await scene.store.get(other)
    assert found is not None
    assert found[0].category == "messages"


async def test_an_address_that_bounces_gets_nothing_for_a_while_but_codes(scene: Scene) -> None:
    address, refused = "bounces@example.com", "550 5.1.1 no such user"

    def answer(outgoing: Outgoing) -> None:
        if outgoing.address == address and not outgoing.confidential:
            raise DeliveryFailed("smtp_550", refused, retryable=False, bad_address=True)

    scene.channel.answer = answer
    await scene.node()
    (first,) = await scene.ask(mail(address), category="food")
    await scene.ends(first, Status.FAILED)
    (second,) = await scene.ask(mail(address), category="messages")
    assert await scene.ends(second, Status.SUPPRESSED) == f"the address is suppressed: {refused}"
    (secret,) = await scene.ask(code(address), category="security")
    await scene.ends(secret, Status.SENT)
    (sms,) = await scene.ask(mail(address, channel="sms"), category="food")
    await scene.store.suppressions.add("email", address, ALL, refused, days=0)  # the time is over
    (third,) = await scene.ask(mail("other@example.com"), category="food")
    await scene.ends(third, Status.SENT)
    scene.channel.answer = lambda _: None
    (fourth,) = await scene.ask(mail(address), category="food")
    await scene.ends(fourth, Status.SENT)
    found = await scene.store.get(sms)
    assert found is not None
    assert found[0].status is Status.PENDING
