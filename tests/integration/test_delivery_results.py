"""Results of many deliveries are recorded by one call."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text

from app.domain.deliveries import Status
from app.store.deliveries import AttemptResult, DeliveryResult
from tests.support.outbox import Scene, code, mail


async def test_each_of_a_batch_gets_its_own_result(scene: Scene) -> None:
    asked = await scene.ask(*(mail(f"user-{number}@example.com") for number in range(4)))
    for each in await scene.store.claim("email", 4, 60.0, codes=False):
        assert each.attempts == 1
    sent, failed, simulated, late = asked
    now = datetime.now(UTC)
    await scene.store.finish(
        [
            DeliveryResult(sent, 1, Status.SENT, None, AttemptResult(now, 0.1, provider_id="a", segments=2)),
            DeliveryResult(
                failed, 1, Status.FAILED, "no", AttemptResult(now, 0.2, "smtp_550", "\ud800 un\0known")
            ),
            DeliveryResult(simulated, 1, Status.SIMULATED, "email isn't configured"),
            DeliveryResult(late, 7, Status.SENT, None, AttemptResult(now, 0.3)),
        ]
    )
    found = [await scene.store.get(each) for each in asked]
    shown = [
        (d.status, d.reason, d.error_code, d.error, d.provider_id, len(attempts))
        for d, attempts in filter(None, found)
    ]
    assert shown == [
        (Status.SENT, None, None, None, "a", 1),
        (Status.FAILED, "no", "smtp_550", "? unknown", None, 1),
        (Status.SIMULATED, "email isn't configured", None, None, None, 0),
        (Status.SENDING, None, None, None, None, 1),
    ]


async def test_what_was_erased_meanwhile_costs_no_other(scene: Scene) -> None:
    erased, left = await scene.ask(mail("a@example.com"), mail("b@example.com"))
    await scene.store.claim("email", 2, 60.0, codes=False)
    async with scene.engine.begin() as connection:
        await connection.execute(text("delete from deliveries where id = :id"), {"id": erased})
    tried = AttemptResult(datetime.now(UTC), 0.1)
    await scene.store.finish([DeliveryResult(each, 1, Status.SENT, None, tried) for each in (erased, left)])
    found = await scene.store.get(left)
    assert found is not None
    assert (found[0].status, len(found[1])) == (Status.SENT, 1)
    assert await scene.store.get(erased) is None


async def test_the_secrets_of_a_batch_are_erased(scene: Scene) -> None:
    asked = await scene.ask(code("a@example.com"), code("b@example.com"))
    await scene.store.claim("email", 2, 60.0, codes=True)
    await scene.store.finish([DeliveryResult(each, 1, Status.SENT) for each in asked])
    async with scene.engine.connect() as connection:
        kept = await connection.scalar(text("select count(*) from deliveries where secret is not null"))
    assert kept == 0
