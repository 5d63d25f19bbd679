"""What people prefer, on a real Postgres: the dry run says what then happens, whatever they have said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.errors import Unavailable
from app.domain.notifications import Group
from app.domain.planning import Planner
from app.domain.preferences import CHOICES, Evaluator
from app.ingest.batch import SourceMessage
from app.ingest.dry_run import DryRun
from app.ingest.pipeline import Pipeline
from app.store.engine import make_engine
from app.store.notifications import NotificationStore
from app.store.preferences import PreferenceStore, Profile
from app.store.writer import BatchWriter
from app.texts.i18n import LOCALES
from handlers.registry import HANDLERS
from tests.support.settings import settings_on

OFF = ("inventory.email", "food.inapp")


class Groups:
    def remembered(self, group_id: UUID) -> Group | None:
        return None

    async def group(self, group_id: UUID) -> Group:
        raise Unavailable("user service", "there is none")


class Bus:
    def publish(self, *_: object, again: bool = False) -> None:
        pass


class Scene(NamedTuple):
    database: str
    people: PreferenceStore
    pipeline: Pipeline
    dry_run: DryRun

    async def happen(self, event: dict[str, Any]) -> None:
        batch = self.pipeline.prepare(
            [SourceMessage("kafka", str(uuid4()), msgspec.json.encode(event), None)]
        )
        assert not batch.rejected, [str(each.error) for each in batch.rejected]
        assert await self.pipeline.write(batch.ready) == []

    async def rows(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.database)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()


@pytest_asyncio.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    engine = make_engine(settings_on("redis://redis", database_url=database).postgres)
    people, store = PreferenceStore(engine), NotificationStore(engine)
    planner = Planner(people, Evaluator(OFF), "en")
    pipeline = Pipeline(
        HANDLERS, Groups(), planner, BatchWriter(engine), store, cast(Any, Bus()), "en", lambda _: b"x"
    )
    yield Scene(database, people, pipeline, DryRun(pipeline, store, (), 1.0))
    await engine.dispose()


clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))
profiles = st.builds(
    Profile,
    locale=st.none() | st.sampled_from(LOCALES),
    time_zone=st.none() | st.sampled_from(["Asia/Ho_Chi_Minh", "America/New_York", "Pacific/Apia"]),
    quiet_from=st.none() | clocks,
    quiet_until=st.none() | clocks,
    email=st.none() | st.just("of-profile@example.com"),
    phone=st.none() | st.just("+84912345678"),
)
choices = st.dictionaries(st.sampled_from(CHOICES), st.booleans(), max_size=8)
people = st.lists(st.tuples(profiles, choices) | st.none(), min_size=1, max_size=4)


def stock(receivers: list[UUID]) -> dict[str, Any]:
    numbers = {"product_name": "Beans", "current_stock": 3, "threshold": 10}
    return {"event_type": "low_stock", "receivers": [str(each) for each in receivers], **numbers}


def food(receivers: list[UUID]) -> dict[str, Any]:
    data = {"group_name": "Us", "unit_name": "Fridge", "storage_name": "Top"}
    ids = [str(each) for each in receivers]
    return {"event_type": "food_expired", "group_id": str(uuid4()), "receivers": ids, "data": data}


def failed_payment(receivers: list[UUID]) -> dict[str, Any]:
    return {
        "event_type": "payment.failed",
        "user_id": str(receivers[0]),
        "user_email": "of-event@example.com",
        "booking_id": "B",
        "transaction_id": "T",
        "amount": 1,
        "payment_method": "cash",
        "reason": "card_declined",
    }


def message(channel: str, **more: Any) -> Any:
    def make(receivers: list[UUID]) -> dict[str, Any]:
        return {"type": channel, "user_id": str(receivers[0]), "title": "T", "message": "M", **more}

    return make


def code(_: list[UUID]) -> dict[str, Any]:
    address = f"{uuid4()}@example.com"
    return {
        "event_type": "otp_register",
        "email": address,
        "otp_code": "482913",
        "action": "register",
    }


events = st.sampled_from(
    [
        *(stock, food, failed_payment),
        *(message("inapp"), message("email"), message("sms"), message("sms", urgent=True)),
        *(message("email", to="given@example.com", category="food"), message("inapp", category="plans")),
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=people, make=events)
async def test_the_dry_run_is_what_then_happens(scene: Scene, said: list[Any], make: Any) -> None:
    users = [uuid4() for _ in said]
    for user, words in zip(users, said, strict=True):
        if words is not None:
            await scene.people.set_profile(user, words[0])
            for choice, on in words[1].items():
                await scene.people.set_choice(user, choice, on)
    event = make(users) | {"event_id": str(uuid4())}
    tried = await scene.dry_run.of(msgspec.json.encode(event), "unused")
    assert not tried.already_processed
    assert await scene.rows("select 1 from processed_events where event_id = $1", event["event_id"]) == []
    await scene.happen(event)
    told = await scene.rows("select receiver from notifications where receiver = any($1)", users)
    expected = [each.user_id for each in tried.outcomes if (each.channel, each.verdict) == ("inapp", "send")]
    assert sorted(row["receiver"] for row in told) == sorted(cast(list[UUID], expected))
    rows = await scene.rows(
        "select channel, user_id, status, reason, next_attempt_at from deliveries where event_id = $1",
        event["event_id"],
    )
    happened = {(row["channel"], str(row["user_id"]), stands(row), row["reason"]) for row in rows}
    would = {
        (each.channel, str(each.user_id), each.verdict, each.reason)
        for each in tried.outcomes
        if each.channel != "inapp"
    }
    assert happened <= would
    assert all(verdict == "suppress" for _, _, verdict, _ in would - happened), (
        "what was declined leaves none"
    )
    if make is not stock:
        assert happened == would
    assert not any("of-" in (each.address or "") for each in tried.outcomes), "addresses are masked"
    waiting = sorted(each.until for each in tried.outcomes if each.until is not None)
    due = sorted(row["next_attempt_at"] for row in rows if stands(row) == "wait")
    assert waiting == due
    assert (await scene.dry_run.of(msgspec.json.encode(event), "unused")).already_processed


def stands(row: asyncpg.Record) -> str:
    """The verdict that the row comes from."""
    if row["status"] == "suppressed":
        return "suppress"
    assert row["status"] == "pending"
    return "wait" if row["next_attempt_at"] > datetime.now(UTC) + timedelta(seconds=1) else "send"


def quiet_now() -> Profile:
    """Quiet hours from an hour ago until in an hour, in a zone where that is not over midnight."""
    now = datetime.now(UTC)
    return Profile(
        time_zone="UTC",
        quiet_from=(now - timedelta(hours=1)).time().replace(second=0, microsecond=0),
        quiet_until=(now + timedelta(hours=1)).time().replace(second=0, microsecond=0),
        email="of-profile@example.com",
        phone="+84912345678",
    )


async def test_in_quiet_hours_mail_and_sms_wait_and_what_is_urgent_does_not(scene: Scene) -> None:
    user = uuid4()
    await scene.people.set_profile(user, quiet_now())
    for make, urgent in (
        (message("email"), False),
        (message("sms"), False),
        (message("sms", urgent=True), True),
        (failed_payment, True),
    ):
        event = make([user]) | {"event_id": str(uuid4())}
        await scene.happen(event)
        (row,) = await scene.rows("select * from deliveries where event_id = $1", event["event_id"])
        assert (stands(row) == "send") is urgent
        if not urgent:
            wait = row["next_attempt_at"] - datetime.now(UTC)
            assert timedelta(minutes=58) < wait <= timedelta(hours=1)
            assert row["reason"].startswith("quiet hours until ")
    await scene.happen(message("inapp")([user]))
    told = await scene.rows("select 1 from notifications where receiver = $1", user)
    assert len(told) == 2, "the failed payment and the message: what is in-app never waits"


async def test_of_an_offer_each_hears_why_they_do_not_get_it(scene: Scene) -> None:
    indifferent, wants, reachable = users = [uuid4() for _ in range(3)]
    for user in (wants, reachable):
        await scene.people.set_choice(user, "inventory.email", True)
    await scene.people.set_profile(reachable, Profile(email="r@example.com"))
    event = stock(users) | {"event_id": str(uuid4())}
    tried = await scene.dry_run.of(msgspec.json.encode(event), "unused")
    mails = {each.user_id: (each.verdict, each.reason) for each in tried.outcomes if each.channel == "email"}
    assert mails == {
        indifferent: ("suppress", "inventory by email is off by default"),
        wants: ("suppress", "the user's profile has no address for email"),
        reachable: ("send", "inventory by email is on by the person's choice"),
    }
    await scene.happen(event)
    rows = await scene.rows("select * from deliveries where event_id = $1", event["event_id"])
    assert {row["user_id"]: row["reason"] for row in rows} == {
        user: mails[user][1] for user in (wants, reachable)
    }


async def test_a_code_can_not_be_switched_off(scene: Scene) -> None:
    user = uuid4()
    for choice in CHOICES:
        await scene.people.set_choice(user, choice, False)
    event = code([]) | {"event_id": str(uuid4())}
    await scene.happen(event)
    (row,) = await scene.rows("select status from deliveries where event_id = $1", event["event_id"])
    assert row["status"] == "pending"


async def test_each_is_told_in_their_language_with_one_seq_each(scene: Scene) -> None:
    users = [uuid4() for _ in range(4)]
    for user, locale in zip(users, ("vi", "ru", "en"), strict=False):
        await scene.people.set_profile(user, Profile(locale=locale, email=f"{user}@example.com"))
        await scene.people.set_choice(user, "inventory.email", True)
    await asyncio.gather(*(scene.happen(stock(users)) for _ in range(3)))
    rows = await scene.rows("select * from notifications where receiver = any($1)", users)
    titles = {user: {row["title"] for row in rows if row["receiver"] == user} for user in users}
    assert [len(titles[user]) for user in users] == [1, 1, 1, 1]
    assert len(set.union(*titles.values())) == 3, "the fourth has said nothing: the default, as the third"
    for user in users:
        assert sorted(row["seq"] for row in rows if row["receiver"] == user) == [1, 2, 3]
    mails = await scene.rows("select user_id, locale, address from deliveries where user_id = any($1)", users)
    assert {(row["user_id"], row["locale"]) for row in mails} == set(
        zip(users[:3], ("vi", "ru", "en"), strict=True)
    )
    assert {row["address"] for row in mails} == {f"{user}@example.com" for user in users[:3]}


async def test_a_zone_that_no_longer_exists_stops_nothing(scene: Scene) -> None:
    user = uuid4()
    await scene.people.set_profile(user, quiet_now())
    await scene.rows("update preferences set time_zone = 'Atlantis/Poseidonis' where user_id = $1", user)
    event = message("email")([user]) | {"event_id": str(uuid4())}
    await scene.happen(event)
    (row,) = await scene.rows("select * from deliveries where event_id = $1", event["event_id"])
    assert stands(row) == "send"
