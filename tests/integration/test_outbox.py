"""The outbox on a real Postgres: every delivery goes out, once, at the right time, and never a stale code."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from app.auth.secrets import SecretBox
from app.domain.deliveries import Status
from app.domain.errors import ConfigurationError, DeliveryFailed
from app.outbox.channel import Outgoing
from app.outbox.worker import ATTEMPT_BACKOFF, retry_delay
from tests.support.hub import eventually
from tests.support.outbox import CODE, FakeChannel, Scene, code, mail, secret_box
from tests.support.settings import changed


async def secrets_left(database: str) -> int:
    connection = await asyncpg.connect(database)
    try:
        return int(await connection.fetchval("select count(*) from deliveries where secret is not null"))
    finally:
        await connection.close()


async def test_a_delivery_goes_out_at_once_and_its_row_says_so(scene: Scene, database: str) -> None:
    await scene.node()
    await asyncio.sleep(0.2)  # it waits for a signal now
    begun = asyncio.get_running_loop().time()
    (delivery,) = await scene.ask(code())
    assert await scene.ends(delivery, Status.SENT) is None
    assert asyncio.get_running_loop().time() - begun < 2, "not at the next poll"
    (sent,) = scene.channel.sent
    assert (sent.id, sent.template, sent.address) == (delivery, "otp_register", "user@example.com")
    assert sent.data == {"minutes": 10, "code": CODE}
    found = await scene.store.get(delivery)
    assert found is not None
    row, (attempt,) = found
    assert (row.attempts, row.provider_id, attempt.outcome) == (1, "provider's id", "sent")
    assert await secrets_left(database) == 0


async def test_what_can_pass_is_tried_again_until_it_does(scene: Scene) -> None:
    failures = [DeliveryFailed("smtp_451", "451 try later", retryable=True)] * 3

    def answer(_: Outgoing) -> None:
        if failures:
            raise failures.pop()

    scene.channel.answer = answer
    await scene.node()
    (delivery,) = await scene.ask(mail())
    await scene.ends(delivery, Status.SENT)
    found = await scene.store.get(delivery)
    assert found is not None
    assert [each.outcome for each in found[1]] == ["failed", "failed", "failed", "sent"]
    assert {each.error for each in found[1]} == {"451 try later", None}
    assert {each.id for each in scene.channel.sent} == {delivery}


async def test_what_cannot_pass_fails_at_once_with_the_providers_words(scene: Scene, database: str) -> None:
    def answer(_: Outgoing) -> None:
        raise DeliveryFailed("smtp_550", "550 no such user", retryable=False)

    scene.channel.answer = answer
    await scene.node()
    (delivery,) = await scene.ask(code())
    await scene.ends(delivery, Status.FAILED)
    found = await scene.store.get(delivery)
    assert found is not None
    assert (found[0].error_code, found[0].error, found[0].attempts) == ("smtp_550", "550 no such user", 1)
    assert await secrets_left(database) == 0


async def test_a_code_is_never_sent_after_its_time(scene: Scene, database: str) -> None:
    await scene.node()
    (delivery,) = await scene.ask(code(), age=601)
    assert await scene.ends(delivery, Status.EXPIRED) == "it expired"
    assert scene.channel.sent == []
    assert await secrets_left(database) == 0


async def test_only_the_newest_code_of_an_address_and_action_is_sent(scene: Scene, database: str) -> None:
    old, older, other = code(), code(), code(replaces="otp_change_email:user@example.com")
    (first,) = await scene.ask(old, age=20)
    (second,) = await scene.ask(older, age=30)  # it comes later, but is of before
    (third,) = await scene.ask(other, age=40)
    (newest,) = await scene.ask(code(), age=10)
    await scene.node()
    await scene.ends(newest, Status.SENT)
    await scene.ends(third, Status.SENT)
    for delivery in (first, second):
        assert await scene.ends(delivery, Status.SUPPRESSED) == "a newer code replaced it"
    assert {each.id for each in scene.channel.sent} == {newest, third}
    assert await secrets_left(database) == 0


async def test_an_address_gets_so_many_codes_an_hour(scene: Scene) -> None:
    await scene.node(otp_hourly_cap=3)
    for number in range(3):
        (delivery,) = await scene.ask(code(), age=10 - number)
        await scene.ends(delivery, Status.SENT)
    (fourth,) = await scene.ask(code())
    reason = await scene.ends(fourth, Status.SUPPRESSED)
    assert reason == "3 codes went to this address within an hour"
    (other,) = await scene.ask(code("other@example.com"))
    await scene.ends(other, Status.SENT)


async def test_a_code_waits_until_the_cooldown_is_over(scene: Scene) -> None:
    await scene.node(otp_cooldown=0.7)
    (first,) = await scene.ask(code(), age=5)
    await scene.ends(first, Status.SENT)
    begun = asyncio.get_running_loop().time()
    (second,) = await scene.ask(code())
    await scene.ends(second, Status.SENT)
    assert asyncio.get_running_loop().time() - begun > 0.3
    found = await scene.store.get(second)
    assert found is not None
    assert found[0].attempts == 1, "waiting is no attempt"


async def test_no_code_waits_for_a_mail_server_that_is_slow_with_other_mail(scene: Scene) -> None:
    slow, codes = FakeChannel(), FakeChannel()
    slow.answer = lambda _: asyncio.sleep(60)
    await scene.node(slow, codes)
    held = await scene.ask(*(mail(f"user-{number}@example.com") for number in range(20)))
    await scene.ends(held[0], Status.SENDING)
    (delivery,) = await scene.ask(code())
    await scene.ends(delivery, Status.SENT)
    assert [each.id for each in codes.sent] == [delivery]
    assert slow.sent == []


async def test_two_nodes_send_each_delivery_once(scene: Scene) -> None:
    for _ in range(2):
        await scene.node()
    asked = [delivery for _ in range(30) for delivery in await scene.ask(mail(), mail("b@example.com"))]
    for delivery in asked:
        await scene.ends(delivery, Status.SENT)
    assert sorted(each.id for each in scene.channel.sent) == sorted(asked)


async def test_what_a_dead_node_had_taken_goes_out_after_the_lease_with_the_same_id(scene: Scene) -> None:
    stuck = asyncio.Event()
    dead = FakeChannel()
    dead.answer = lambda _: stuck.wait()
    await scene.node(dead, delivery_lease=1.0)
    (delivery,) = await scene.ask(mail())
    await scene.ends(delivery, Status.SENDING)
    await scene.stop(within=0.0)
    await scene.node()
    await scene.ends(delivery, Status.SENT)
    assert [each.id for each in scene.channel.sent] == [delivery]


async def test_a_channel_that_is_not_configured_is_simulated(scene: Scene) -> None:
    scene.channel.is_simulated = True
    await scene.node()
    (delivery,) = await scene.ask(code())
    assert await scene.ends(delivery, Status.SIMULATED) == "email isn't configured"
    assert scene.channel.sent == []


async def test_a_delivery_can_be_sent_again_but_not_one_with_a_code(scene: Scene) -> None:
    await scene.node()
    plain, secret = await scene.ask(mail(), code())
    await scene.ends(plain, Status.SENT)
    await scene.ends(secret, Status.SENT)
    assert not await scene.store.resend(plain), "it was sent"
    assert await scene.store.resend(plain, force=True)
    assert not await scene.store.resend(secret)
    assert not await scene.store.resend(uuid4())

    async def twice() -> bool:
        return [each.id for each in scene.channel.sent].count(plain) == 2

    await eventually(twice, "it was sent again")


async def test_after_an_exception_of_a_channel_it_is_tried_again_and_no_code_is_shown(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(outgoing: Outgoing) -> None:
        if "code" in outgoing.data and not failures:
            failures.append(outgoing)
            raise RuntimeError(f"a bug that quotes {outgoing.data}")

    failures: list[Outgoing] = []
    scene.channel.answer = answer
    await scene.node()
    secret, plain = await scene.ask(code(), mail())
    await scene.ends(plain, Status.SENT)
    await scene.ends(secret, Status.SENT)
    assert CODE not in caplog.text
    found = await scene.store.get(secret)
    assert found is not None
    assert [(each.error_code, each.error) for each in found[1]] == [
        ("internal", "internal error of the hub (RuntimeError)"),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("attempt", "error", "age", "pause"),
    [
        (1, DeliveryFailed("x", "", retryable=True), 0, 2.0),
        (2, DeliveryFailed("x", "", retryable=True), 0, 4.0),
        (50, DeliveryFailed("x", "", retryable=True), 0, 900.0),
        (1, DeliveryFailed("x", "", retryable=False), 0, None),
        (1, DeliveryFailed("x", "", retryable=True, retry_after=77), 0, 77.0),
        (1, DeliveryFailed("x", "", retryable=True), 86_399, None),
    ],
)
def test_whether_and_when_to_try_again(
    attempt: int, error: DeliveryFailed, age: float, pause: float | None
) -> None:
    backoff = replace(ATTEMPT_BACKOFF, jitter=0.0)
    assert retry_delay(attempt, error, age, 86_400, backoff) == pause


def test_the_pause_has_jitter() -> None:
    error = DeliveryFailed("x", "", retryable=True)
    shortest = replace(ATTEMPT_BACKOFF, draw=lambda: 1.0)
    longest = replace(ATTEMPT_BACKOFF, draw=lambda: 0.0)
    assert retry_delay(3, error, 0, 86_400, shortest) == 4.0
    assert retry_delay(3, error, 0, 86_400, longest) == 8.0


def test_a_secret_opens_with_any_of_the_keys_and_with_no_other(scene: Scene) -> None:
    old, new, foreign = (Fernet.generate_key().decode() for _ in range(3))

    def box(*keys: str) -> SecretBox:
        return secret_box(changed(scene.settings, delivery_keys=[SecretStr(key) for key in keys]))

    sealed = box(old).encrypt({"code": CODE})
    assert CODE.encode() not in sealed
    assert box(new, old).decrypt(sealed) == {"code": CODE}
    assert box(new, foreign).decrypt(sealed) is None


def test_a_secret_from_before_the_keys_were_set_still_opens(scene: Scene) -> None:
    sealed = secret_box(scene.settings).encrypt({"code": CODE})
    key = SecretStr(Fernet.generate_key().decode())
    later = secret_box(changed(scene.settings, delivery_keys=(key,)))
    assert later.decrypt(sealed) == {"code": CODE}
    assert secret_box(scene.settings).decrypt(later.encrypt({"code": CODE})) is None


def test_without_any_secret_to_derive_a_key_from_the_hub_does_not_start(scene: Scene) -> None:
    nothing = {"jwt_secret": None, "database_url": SecretStr("postgresql://hub@host/hub")}
    with pytest.raises(ConfigurationError, match="DELIVERY_KEYS"):
        secret_box(changed(scene.settings, **nothing))
    password = {"jwt_secret": None, "database_url": SecretStr("postgresql://hub:secret@host/hub")}
    secret_box(changed(scene.settings, **password))
