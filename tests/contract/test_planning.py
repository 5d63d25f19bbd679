"""Plans, on Postgres and in memory: the dry run says what then happens, whatever people have chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.domain.deliveries import Delivery, Status, Withheld
from app.domain.notifications import Notification
from app.domain.planning import Planner
from app.domain.preferences import CHOICES, Evaluator
from app.ingest.batch import SourceMessage
from app.ingest.dry_run import DryRun
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.store.ports import PreferencesPort
from app.store.preferences import Profile
from app.testing import MemoryBus, MemoryGroups
from app.texts.i18n import LOCALES
from handlers.registry import HANDLERS, implied_refusals
from tests.contract.conftest import Store

OFF = ("inventory.email", "food.inapp")


class Scene(NamedTuple):
    people: PreferencesPort
    store: Store
    pipeline: Pipeline
    dry_run: DryRun

    async def happen(self, event: dict[str, Any]) -> None:
        batch = self.pipeline.prepare(
            [SourceMessage("kafka", str(uuid4()), msgspec.json.encode(event), None)]
        )
        assert not batch.rejected, [str(each.error) for each in batch.rejected]
        assert await self.pipeline.write(batch.ready) == []

    async def told(self, *users: UUID) -> list[Notification]:
        """What is in the inboxes of these users."""
        return [each for user in users for each in await self.store.inboxes.page(user, 100)]

    async def deliveries(self, event_id: str) -> list[Delivery]:
        return await self.store.deliveries.find(100, event_id=event_id)


class NothingSuppressed:
    """A suppression list without entries."""

    async def reasons(self, wanted: Sequence[tuple[str, str, str]]) -> Sequence[str | None]:
        return [None for _ in wanted]


@pytest.fixture
def scene(people: PreferencesPort, store: Store) -> Scene:
    planner = Planner(people, Evaluator(OFF), "en")
    pipeline = Pipeline(
        HANDLERS,
        PipelinePorts(MemoryGroups(), planner, store.writer, store.processed, MemoryBus()),
        "en",
        lambda _: b"x",
    )
    dry_run = DryRun(pipeline, store.processed, NothingSuppressed(), (), 1.0, store.audiences)
    return Scene(people, store, pipeline, dry_run)


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


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=people, make=events)
@example(said=[(Profile(email="of-profile@example.com"), {"inventory.email": True})] * 2, make=stock)
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
    assert await scene.store.processed.processed([event["event_id"]]) == []
    await scene.happen(event)
    told = await scene.told(*users)
    expected = [each.user_id for each in tried.outcomes if (each.channel, each.verdict) == ("inapp", "send")]
    assert sorted(each.receiver for each in told) == sorted(cast(list[UUID], expected))
    rows = await scene.deliveries(event["event_id"])
    happened = {(row.channel, str(row.user_id), stands(row), row.reason) for row in rows}
    would = {
        (each.channel, str(each.user_id), each.verdict, each.reason)
        for each in tried.outcomes
        if each.channel != "inapp"
    }
    assert happened <= would
    if make is not stock:
        assert happened == would
    withheld = await scene.store.decisions.of_event(event["event_id"], None, 100)
    refused = {(each.channel, str(each.user_id), each.verdict, each.reason) for each in tried.outcomes}
    traced = {(row.channel, row.user_id) for row in rows} | {
        (each.channel, each.user_id) for each in withheld
    }
    implied = [
        more
        for each in told
        for more in implied_refusals(each, {channel for channel, user in traced if user == each.receiver})
    ]
    assert make is stock or not implied
    kept = {(each.channel, str(each.user_id), "suppress", each.reason) for each in (*withheld, *implied)}
    assert kept | happened == {each for each in refused if each[::2] != ("inapp", "send")}, (
        "what leaves no delivery leaves its reason, or the notification says it"
    )
    for user in users:
        theirs = await scene.store.decisions.of_event(event["event_id"], user, 100)
        assert theirs == [each for each in withheld if each.user_id == user]
    assert not any("of-" in (each.address or "") for each in tried.outcomes), "addresses are masked"
    waiting = sorted(each.until for each in tried.outcomes if each.until is not None)
    due = sorted(row.next_attempt_at for row in rows if row.next_attempt_at and stands(row) == "wait")
    assert waiting == due
    assert (await scene.dry_run.of(msgspec.json.encode(event), "unused")).already_processed


def stands(row: Delivery) -> str:
    """The verdict that the row comes from."""
    if row.status is Status.SUPPRESSED:
        return "suppress"
    assert row.status is Status.PENDING
    assert row.next_attempt_at is not None
    return "wait" if row.next_attempt_at > datetime.now(UTC) + timedelta(seconds=1) else "send"


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
        (row,) = await scene.deliveries(event["event_id"])
        assert (stands(row) == "send") is urgent
        if not urgent:
            assert row.next_attempt_at is not None
            wait = row.next_attempt_at - datetime.now(UTC)
            assert timedelta(minutes=58) < wait <= timedelta(hours=1)
            assert row.reason is not None
            assert row.reason.startswith("quiet hours until ")
    await scene.happen(message("inapp")([user]))
    assert len(await scene.told(user)) == 2, "the failed payment and the message: what is in-app never waits"


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
    assert {row.user_id: row.reason for row in await scene.deliveries(event["event_id"])} == {
        user: mails[user][1] for user in (wants, reachable)
    }


async def test_what_is_off_by_default_is_stored_only_where_no_notification_implies_it(scene: Scene) -> None:
    indifferent, without_inbox, refuses = users = [uuid4() for _ in range(3)]
    await scene.people.set_choice(without_inbox, "inventory.inapp", False)
    await scene.people.set_choice(refuses, "inventory.email", False)
    event = stock(users) | {"event_id": str(uuid4())}
    await scene.happen(event)
    stored = await scene.store.decisions.of_event(event["event_id"], None, 100)
    assert {(each.user_id, each.channel, each.reason) for each in stored} == {
        (without_inbox, "inapp", "the person turned off inventory by inapp"),
        (without_inbox, "email", "inventory by email is off by default"),
        (refuses, "email", "the person turned off inventory by email"),
    }
    (notification,) = await scene.told(indifferent)
    off = Withheld("email", "inventory by email is off by default", indifferent)
    assert [*implied_refusals(notification, ())] == [off]
    assert [*implied_refusals(notification, {"email"})] == []


async def test_a_code_can_not_be_switched_off(scene: Scene) -> None:
    user = uuid4()
    for choice in CHOICES:
        await scene.people.set_choice(user, choice, False)
    event = code([]) | {"event_id": str(uuid4())}
    await scene.happen(event)
    (row,) = await scene.deliveries(event["event_id"])
    assert row.status is Status.PENDING


async def test_each_is_notified_in_their_language_with_one_seq_each(scene: Scene) -> None:
    users = [uuid4() for _ in range(4)]
    for user, locale in zip(users, ("vi", "ru", "en"), strict=False):
        await scene.people.set_profile(user, Profile(locale=locale, email=f"{user}@example.com"))
        await scene.people.set_choice(user, "inventory.email", True)
    await asyncio.gather(*(scene.happen(stock(users)) for _ in range(3)))
    titles = {user: {each.title for each in await scene.told(user)} for user in users}
    assert [len(titles[user]) for user in users] == [1, 1, 1, 1]
    assert len(set.union(*titles.values())) == 3, "the fourth has said nothing: the default, as the third"
    for user in users:
        assert sorted(each.seq for each in await scene.told(user)) == [1, 2, 3]
    mails = [mail for user in users for mail in await scene.store.deliveries.find(10, user_id=user)]
    assert {(mail.user_id, mail.locale) for mail in mails} == set(
        zip(users[:3], ("vi", "ru", "en"), strict=True)
    )
    assert {mail.address for mail in mails} == {f"{user}@example.com" for user in users[:3]}


async def test_a_zone_that_no_longer_exists_stops_nothing(scene: Scene) -> None:
    user = uuid4()
    gone = msgspec.structs.replace(quiet_now(), time_zone="Atlantis/Poseidonis")
    await scene.people.set_profile(user, gone)
    event = message("email")([user]) | {"event_id": str(uuid4())}
    await scene.happen(event)
    (row,) = await scene.deliveries(event["event_id"])
    assert stands(row) == "send"
