"""Codes are never stale and never too many, whatever happens in whatever moment; deliveries outlast it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from app.domain.deliveries import Status, delivery_id
from app.domain.errors import DeliveryFailed, Unavailable
from app.outbox.worker import Outbox
from app.store import delivery_statements as sql
from app.store.deliveries import DeliveryResult, DeliverySignal, DeliveryStore, LeasedDelivery
from app.store.records import DeliveryRecord, EventRecord
from tests.support.hub import eventually
from tests.support.outbox import QUICK, FakeChannel, Scene, code, mail, secret_box
from tests.support.settings import changed

ADDRESS = "user@example.com"
YEAR = 365 * 24 * 3600.0


def action(name: str, **changes: Any) -> Any:
    """A code for one of the actions, all to one address."""
    return code(template=f"otp_{name}", replaces=f"otp_{name}:{ADDRESS}", limit_key=ADDRESS, **changes)


@asynccontextmanager
async def asked(database: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database)
    try:
        yield connection
    finally:
        await connection.close()


async def stands(scene: Scene, delivery: UUID) -> tuple[str, str | None]:
    found = await scene.store.get(delivery)
    assert found is not None
    return str(found[0].status), found[0].reason


async def test_a_code_that_is_replaced_while_its_connection_is_made_is_not_sent(scene: Scene) -> None:
    connecting, go_on = asyncio.Event(), asyncio.Event()

    async def connect() -> None:
        connecting.set()
        await go_on.wait()

    scene.channel.answer = lambda _: connect()
    await scene.node()
    (older,) = await scene.ask(code(), age=5)
    await connecting.wait()
    (newer,) = await scene.ask(code())
    go_on.set()
    assert await scene.ends(older, Status.SUPPRESSED) == "a newer code replaced it"
    await scene.ends(newer, Status.SENT)
    assert [each.id for each in scene.channel.sent] == [newer]


async def test_a_code_that_waits_is_erased_when_a_newer_one_comes(scene: Scene, database: str) -> None:
    (newer,) = await scene.ask(code(), age=5)
    (older,) = await scene.ask(code(), age=10)  # the partitions keep no order among them
    (newest,) = await scene.ask(code())
    async with asked(database) as connection:
        rows = await connection.fetch("select id from deliveries where secret is not null")
    assert [row["id"] for row in rows] == [newest]
    assert [(await stands(scene, each))[0] for each in (older, newer)] == ["suppressed"] * 2


async def test_of_two_codes_of_one_moment_the_later_counts(scene: Scene) -> None:
    for _ in range(8):
        scene.channel.sent.clear()
        (older,) = await scene.ask(code(), age=-YEAR)  # both are put at the moment of their writing
        (newer,) = await scene.ask(code(), age=-YEAR)
        await scene.node()
        await scene.ends(newer, Status.SENT)
        assert (await stands(scene, older))[0] == Status.SUPPRESSED
        await scene.stop()


async def test_the_codes_of_all_actions_share_the_cooldown(scene: Scene) -> None:
    for _ in range(2):
        await scene.node(otp_cooldown=30)
    asked = [*(await scene.ask(action("register"))), *(await scene.ask(action("reset_password")))]
    asked += await scene.ask(action("change_email"))
    await scene.ends(asked[0], Status.SENT)

    async def waiting() -> bool:
        others = [await stands(scene, each) for each in asked[1:]]
        return others == [("pending", "another code was sent a moment ago")] * 2

    await eventually(waiting, "the others wait")
    assert len(scene.channel.sent) == 1


async def test_nodes_at_once_keep_the_hourly_cap(scene: Scene) -> None:
    scene.channel.answer = lambda _: asyncio.sleep(0.05)
    asked = [
        delivery
        for number in range(12)
        for delivery in await scene.ask(code(replaces=f"otp_register:{number}", limit_key=ADDRESS))
    ]
    for _ in range(3):
        await scene.node(otp_hourly_cap=3)

    async def done() -> bool:
        return all([(await stands(scene, each))[0] in ("sent", "suppressed") for each in asked])

    await eventually(done, "all are sent or suppressed")
    assert len(scene.channel.sent) == 3


async def test_a_node_that_takes_codes_sees_what_another_is_just_taking(scene: Scene, database: str) -> None:
    (earlier,) = await scene.ask(action("register"), age=5)
    (later,) = await scene.ask(action("change_email"))
    due_at = "update deliveries set next_attempt_at = now() + make_interval(secs => $2) where id = $1"
    async with asked(database) as connection:
        await connection.execute(due_at, earlier, 60.0)
        async with connection.transaction():
            await connection.execute(sql.ONE_AT_A_TIME)
            claimed = await connection.fetch(sql.CLAIM_CODES, "email", 1, 60.0, [])
            assert [row["id"] for row in claimed] == [later]
            async with asked(database) as other:
                await other.execute(due_at, earlier, -1.0)
            claiming = asyncio.create_task(scene.store.claim("email", 1, 60.0, codes=True))
            await asyncio.sleep(0.2)
    assert await claiming == [], "the other code to this address is in progress"


async def test_the_cap_counts_a_whole_hour(scene: Scene, database: str) -> None:
    await scene.node(otp_hourly_cap=1)
    (first,) = await scene.ask(action("register"))
    await scene.ends(first, Status.SENT)
    async with asked(database) as connection:
        earlier = "update deliveries set finished_at = finished_at - $1::interval"
        await connection.execute(earlier.replace("$1", "'50 minutes'"))
        (second,) = await scene.ask(action("change_email"))
        await scene.ends(second, Status.SUPPRESSED)
        await connection.execute(earlier.replace("$1", "'11 minutes'"))
    (third,) = await scene.ask(action("reset_password"))
    await scene.ends(third, Status.SENT)


async def test_a_code_that_expires_while_postgres_answers_is_not_sent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = DeliveryStore.claim

    async def slowly(self: DeliveryStore, *given: Any, **more: Any) -> list[LeasedDelivery]:
        claimed = await claim(self, *given, **more)
        await asyncio.sleep(1.2 if claimed else 0)
        return claimed

    monkeypatch.setattr(DeliveryStore, "claim", slowly)
    (delivery,) = await scene.ask(code(valid_for=1.0))
    await scene.node()
    assert await scene.ends(delivery, Status.EXPIRED) == "it expired"
    assert scene.channel.sent == []


async def test_an_attempt_ends_when_the_code_expires(scene: Scene) -> None:
    scene.channel.answer = lambda _: asyncio.sleep(60)
    await scene.node()
    (delivery,) = await scene.ask(code(valid_for=1.0))
    await scene.ends(delivery, Status.EXPIRED)
    assert scene.channel.sent == []


async def test_a_secret_is_gone_when_its_code_expires_whatever_the_server_asks_for(
    scene: Scene, database: str
) -> None:
    def later(_: object) -> None:
        raise DeliveryFailed("smtp_451", "in an hour", retryable=True, retry_after=3600)

    scene.channel.answer = later
    await scene.node()
    (delivery,) = await scene.ask(code(valid_for=1.5))
    await scene.ends(delivery, Status.EXPIRED)
    async with asked(database) as connection:
        assert await connection.fetchval("select count(*) from deliveries where secret is not null") == 0


async def test_a_clock_that_is_ahead_shuts_no_address_out(scene: Scene) -> None:
    await scene.node()
    (ahead,) = await scene.ask(code(), age=-YEAR)
    await scene.ends(ahead, Status.SENT)
    (next_one,) = await scene.ask(code())
    await scene.ends(next_one, Status.SENT)
    found = await scene.store.get(ahead)
    assert found is not None
    assert found[0].expires_at is not None
    assert (found[0].expires_at - found[0].created_at).total_seconds() < 601


async def test_a_node_that_can_not_note_what_it_sent_does_not_send_it_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, away = DeliveryStore.finish, asyncio.Event()

    async def finish_later(self: DeliveryStore, *given: Any, **more: Any) -> None:
        if not away.is_set():
            raise Unavailable("postgres", "it is away")
        await finish(self, *given, **more)

    monkeypatch.setattr(DeliveryStore, "finish", finish_later)
    await scene.node(delivery_lease=0.5)
    asked = await scene.ask(*(mail(f"user-{number}@example.com") for number in range(5)))
    await asyncio.sleep(2.0)
    away.set()
    for delivery in asked:
        await scene.ends(delivery, Status.SENT)
    assert sorted(each.id for each in scene.channel.sent) == sorted(asked)


async def test_an_attempt_that_ends_after_its_lease_changes_nothing(scene: Scene) -> None:
    (delivery,) = await scene.ask(mail())
    late = await scene.store.claim("email", 1, 0.0, codes=False)
    again = await scene.store.claim("email", 1, 60.0, codes=False)
    assert [late[0].attempts, again[0].attempts] == [1, 2]
    await scene.store.finish([DeliveryResult(delivery, 2, Status.SENT)])
    await scene.store.finish([DeliveryResult(delivery, 1, Status.FAILED, "too late")])
    await scene.store.reschedule(delivery, None, 0.0, None, 1)
    await scene.store.release([(delivery, 1)])
    assert await stands(scene, delivery) == ("sent", None)


async def test_what_is_taken_is_nobody_elses(scene: Scene) -> None:
    await scene.ask(*(mail(f"user-{number}@example.com") for number in range(10)))
    claimed = await asyncio.gather(*(scene.store.claim("email", 4, 60.0, codes=False) for _ in range(3)))
    assert sorted(map(len, claimed)) == [2, 4, 4]
    assert len({each.id for part in claimed for each in part}) == 10


async def test_no_two_nodes_try_at_once(scene: Scene) -> None:
    under_way, most = 0, 0

    async def hang() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await asyncio.sleep(60)
        finally:
            under_way -= 1

    scene.channel.answer = lambda _: hang()
    for _ in range(2):
        await scene.node(delivery_lease=0.5)
    (delivery,) = await scene.ask(mail())

    async def tried_again() -> bool:
        found = await scene.store.get(delivery)
        return found is not None and len(found[1]) >= 3

    await eventually(tried_again, "it is tried three times")
    assert most == 1


async def test_a_locked_row_blocks_no_other(scene: Scene, database: str) -> None:
    held, free = await scene.ask(mail(), mail("b@example.com"))
    async with asked(database) as connection, connection.transaction():
        await connection.execute("select 1 from deliveries where id = $1 for update", held)
        await scene.node()
        await scene.ends(free, Status.SENT)
        assert [each.id for each in scene.channel.sent] == [free]
    await scene.ends(held, Status.SENT)


async def test_a_node_that_stops_leaves_what_it_had_to_others_at_once(scene: Scene) -> None:
    scene.channel.answer = lambda _: asyncio.sleep(60)
    await scene.node()
    (delivery,) = await scene.ask(code())
    await scene.ends(delivery, Status.SENDING)
    await scene.stop(within=0.2)
    assert (await stands(scene, delivery))[0] == "pending"
    scene.channel.answer = lambda _: None
    await scene.node()
    await scene.ends(delivery, Status.SENT)


async def test_a_node_without_the_key_leaves_a_code_to_those_that_have_it(scene: Scene) -> None:
    elsewhere = FakeChannel()
    without = secret_box(changed(scene.settings, jwt_secret=SecretStr("x" * 40)))
    stranger = Outbox(scene.store, elsewhere, without, scene.settings.outbox, codes=True, backoff=QUICK)
    await stranger.start()
    (delivery,) = await scene.ask(code())

    async def tried() -> bool:
        found = await scene.store.get(delivery)
        return found is not None and bool(found[1]) and found[1][0].error_code == "no_key"

    await eventually(tried, "the node without the key has tried")
    await stranger.stop(within=1.0)
    await scene.node()
    await scene.ends(delivery, Status.SENT)
    assert elsewhere.sent == []


async def test_one_that_was_asked_for_long_ago_is_tried_as_long_again_when_resent(
    scene: Scene, database: str
) -> None:
    def unknown(_: object) -> None:
        raise DeliveryFailed("smtp_550", "no such user", retryable=False)

    def greylisted(_: object) -> None:
        raise DeliveryFailed("smtp_450", "come back later", retryable=True)

    scene.channel.answer = unknown
    await scene.node()
    (delivery,) = await scene.ask(mail())
    await scene.ends(delivery, Status.FAILED)
    async with asked(database) as connection:
        await connection.execute("update deliveries set asked_at = asked_at - interval '3 days'")
    scene.channel.answer = greylisted
    assert await scene.store.resend(delivery)
    assert not await scene.store.resend(delivery), "it is in progress"

    async def tried_again() -> bool:
        found = await scene.store.get(delivery)
        return found is not None and len(found[1]) >= 3

    await eventually(tried_again, "it is tried more than once")


@pytest.mark.parametrize("query", ["prepared_statement_cache_size=0", "ssl=disable"])
async def test_the_signal_hears_with_any_address_that_the_pool_takes(scene: Scene, query: str) -> None:
    heard = asyncio.Event()
    url = scene.settings.postgres.url.get_secret_value()
    with_query = SecretStr(f"{url}?{query}")
    signal = DeliverySignal(changed(scene.settings, database_url=with_query).postgres, heard.set)
    await signal.start()
    async with asyncio.timeout(5):
        await heard.wait()  # it listens
        heard.clear()
        await scene.ask(mail())
        await heard.wait()
    await signal.stop()


async def test_taking_reads_no_more_of_a_large_table_than_it_takes(scene: Scene, database: str) -> None:
    async with asked(database) as connection:
        await connection.execute(
            """
            insert into deliveries (id, event_id, channel, template, address, locale, data, replaces,
              limit_key, event_at, status, next_attempt_at, finished_at)
            select gen_random_uuid(), 'e', 'email', 'plain', 'a@b.example', 'en', '{}',
              case when n % 5 = 0 then 'otp_register:' || n end, case when n % 5 = 0 then 'key ' || n end,
              now() - make_interval(secs => n), case when n <= 30000 then 'sent' else 'pending' end,
              case when n > 30000 then now() - interval '1 minute' end, case when n <= 30000 then now() end
            from generate_series(1, 40000) as n
            """
        )
        await connection.execute("analyze deliveries")
        for statement, values in (
            (sql.CLAIM, ("email", 16, 60.0, [])),
            (sql.CLAIM_CODES, ("email", 4, 60.0, [])),
            (sql.NEXT_OTHER, ("email",)),
            (sql.NEXT_CODE, ("email",)),
        ):
            for mode in ("force_custom_plan", "force_generic_plan"):
                await connection.execute(f"set plan_cache_mode = {mode}")
                plan = "\n".join(row[0] for row in await connection.fetch(f"explain {statement}", *values))
                assert "Seq Scan on deliveries" not in plan, plan
                assert "Sort" not in plan, plan


async def test_a_code_for_a_channel_that_nobody_serves_is_erased_all_the_same(
    scene: Scene, database: str
) -> None:
    (forgotten,) = await scene.ask(code(channel="pigeon"))
    (other,) = await scene.ask(code("b@example.com"))
    async with asked(database) as connection:
        past = "update deliveries set expires_at = now() - interval '10 minutes' where id = $1"
        await connection.execute(past, forgotten)
        assert await scene.cleaning.erase_secrets(timedelta(minutes=5)) == 1
        left = await connection.fetch("select id from deliveries where secret is not null")
    assert [row["id"] for row in left] == [other]
    assert (await stands(scene, forgotten))[0] == "expired"


async def test_the_time_until_it_is_due_does_not_count_as_retrying(scene: Scene, database: str) -> None:
    def greylisted(_: object) -> None:
        raise DeliveryFailed("smtp_450", "come back later", retryable=True)

    scene.channel.answer = greylisted
    due_at = datetime.now(UTC) + timedelta(seconds=1.2)
    entry = DeliveryRecord(mail(), None, due_at, "quiet hours")
    await scene.writer.write([EventRecord("of the night", (), [entry])])
    await scene.node(delivery_give_up=1.0)
    (delivery,) = [delivery_id("of the night", mail())]

    async def tried_again() -> bool:
        found = await scene.store.get(delivery)
        return found is not None and len(found[1]) >= 2

    await eventually(tried_again, "it is tried more than once")


async def test_what_was_suppressed_can_not_be_sent_again(scene: Scene) -> None:
    nowhere = mail(user_id=uuid4(), address=None)
    entry = DeliveryRecord(nowhere, None, None, "the user's profile has no address for email", True)
    await scene.writer.write([EventRecord("nowhere", (), [entry])])
    assert not await scene.store.resend(delivery_id("nowhere", nowhere))
