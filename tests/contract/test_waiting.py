"""Digests, throttles and escalations as they are planned and stored, on Postgres and in memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.deliveries import Delivery, Status
from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.domain.waiting import RecentDeliveries, WaitPlanner
from app.ingest.batch import SourceMessage
from app.ingest.dry_run import DryRun, DryRunResult
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.settings.waiting import WaitSettings
from app.store.ports import PreferencesPort
from app.store.preferences import Profile
from app.testing import MemoryBus, MemoryGroups
from handlers.registry import HANDLERS, usual_details
from tests.contract.conftest import Store
from tests.contract.test_planning import NothingSuppressed

ADDRESS = "of-profile@example.com"
PHONE = "+84912345678"


class Scene(NamedTuple):
    """A pipeline with rules; `ahead` is how far its clock is ahead, in a list of one."""

    people: PreferencesPort
    store: Store
    pipeline: Pipeline
    dry_run: DryRun
    ahead: list[float]
    started: datetime
    """What its clock shows while `ahead` is 0."""

    async def happen(self, *events: dict[str, Any]) -> None:
        """Several events are one batch."""
        messages = [SourceMessage("kafka", str(uuid4()), msgspec.json.encode(each), None) for each in events]
        batch = self.pipeline.prepare(messages)
        assert not batch.rejected, [str(each.error) for each in batch.rejected]
        assert await self.pipeline.write(batch.ready) == []

    async def tried(self, event: dict[str, Any]) -> DryRunResult:
        return await self.dry_run.of(msgspec.json.encode(event), "unused")

    async def of_user(self, user: UUID) -> tuple[list[Delivery], list[Delivery]]:
        """The user's deliveries, and the digests, oldest first."""
        found = await self.store.deliveries.find(100, user_id=user)
        rows = sorted(found, key=lambda row: row.number)
        digests = [row for row in rows if row.digest_id == row.id]
        return [row for row in rows if row not in digests], digests


def make_scene(store: Store, people: PreferencesPort, **given: Any) -> Scene:
    evaluator, ahead = Evaluator(("food.sms",)), [0.0]
    rules = WaitSettings(**given).rules
    waits = WaitPlanner(rules, evaluator, store.waiting, "en", usual_details)

    started = time.time()  # the dry run and the event see the same minute

    def now() -> float:
        return started + ahead[0]

    planner = Planner(people, evaluator, "en", now, waits=waits)
    ports = PipelinePorts(MemoryGroups(), planner, store.writer, store.processed, MemoryBus())
    pipeline = Pipeline(HANDLERS, ports, "en", lambda _: b"x")
    dry_run = DryRun(pipeline, store.processed, NothingSuppressed(), (), 1.0, store.audiences)
    return Scene(people, store, pipeline, dry_run, ahead, datetime.fromtimestamp(started, UTC))


def mail(user: UUID, **more: Any) -> dict[str, Any]:
    texts = {"title": "T", "message": "M", "event_id": str(uuid4())}
    return {"type": "email", "user_id": str(user), "to": ADDRESS, "category": "food", **texts, **more}


def food(*users: UUID, **more: Any) -> dict[str, Any]:
    data = {"group_name": "Us", "unit_name": "Fridge", "storage_name": "Top"}
    ids = [str(each) for each in users]
    event = {"event_type": "food_expired", "group_id": str(uuid4()), "receivers": ids, "data": data}
    return {**event, "event_id": str(uuid4()), **more}


async def known(scene: Scene, **profile: Any) -> UUID:
    user = uuid4()
    await scene.people.set_profile(user, Profile(email=ADDRESS, phone=PHONE, **profile))
    return user


@pytest.fixture
def daily(store: Store, people: PreferencesPort) -> Scene:
    return make_scene(store, people, digests="food.email=daily at 18:00", time_zone="Asia/Ho_Chi_Minh")


async def test_messages_of_a_window_are_held_for_one_digest(daily: Scene) -> None:
    user, other = await known(daily), await known(daily)
    await daily.happen(mail(user), mail(other))
    await daily.happen(mail(user))
    messages, (digest,) = await daily.of_user(user)
    assert [each.status for each in messages] == [Status.HELD] * 2
    assert {each.digest_id for each in messages} == {digest.id}
    assert digest.next_attempt_at is not None
    local = digest.next_attempt_at.astimezone(ZoneInfo("Asia/Ho_Chi_Minh"))
    assert f"{local:%H:%M}" == "18:00"
    assert daily.started < digest.next_attempt_at <= daily.started + timedelta(days=1)
    assert {each.next_attempt_at for each in messages} == {digest.next_attempt_at}
    assert {each.reason for each in messages} == {
        f"joins the digest of 18:00 on {local:%Y-%m-%d} (Asia/Ho_Chi_Minh)"
    }
    assert (digest.template, digest.address, digest.category) == ("digest", ADDRESS, "food")
    assert digest.status is Status.PENDING
    assert len((await daily.of_user(other))[1]) == 1


async def test_what_is_urgent_or_of_another_category_does_not_wait(daily: Scene) -> None:
    user = await known(daily)
    code = {"event_type": "otp_register", "email": ADDRESS, "otp_code": "482913", "action": "register"}
    attached = [{"content": "AAAA", "name": "a.pdf"}]
    await daily.happen(
        mail(user, urgent=True), mail(user, category="plans"), mail(user, attachments=attached), code
    )
    messages, digests = await daily.of_user(user)
    assert [each.status for each in messages] == [Status.PENDING] * 3
    assert digests == []


async def test_the_same_event_again_joins_nothing(daily: Scene) -> None:
    user = await known(daily)
    event = mail(user)
    await daily.happen(event)
    await daily.happen(event)
    messages, digests = await daily.of_user(user)
    assert (len(messages), len(digests)) == (1, 1)
    assert (await daily.tried(event)).already_processed


@pytest.mark.parametrize(
    ("choice", "held"), [("immediate", False), ("hourly", True), ("weekly on monday at 09:00", True)]
)
async def test_a_person_chooses_another_window(daily: Scene, choice: str, held: bool) -> None:
    user = await known(daily, time_zone="Europe/Berlin")
    await daily.people.set_digest(user, "food.email", choice)
    await daily.happen(mail(user))
    (message,), digests = await daily.of_user(user)
    assert (message.status is Status.HELD, len(digests)) == (held, int(held))
    if choice == "weekly on monday at 09:00":
        assert message.reason is not None
        assert message.reason.startswith("joins the digest of 09:00 on ")
        assert message.reason.endswith("(Europe/Berlin)")
    await daily.people.set_digest(user, "food.email", None)
    await daily.happen(mail(user))
    assert (await daily.of_user(user))[0][-1].status is Status.HELD


async def test_a_digest_waits_for_the_end_of_quiet_hours(store: Store, people: PreferencesPort) -> None:
    scene = make_scene(store, people, digests="food.email=every 10m")
    now = datetime.now(UTC)
    begins, ends = ((now + timedelta(hours=hours)).replace(second=0, microsecond=0) for hours in (-1, 2))
    user = await known(scene, time_zone="UTC", quiet_from=begins.time(), quiet_until=ends.time())
    await scene.happen(mail(user))
    _, (digest,) = await scene.of_user(user)
    assert digest.next_attempt_at == ends


async def test_a_sliding_digest_is_postponed_until_its_most(store: Store, people: PreferencesPort) -> None:
    scene = make_scene(store, people, digests="food.email=sliding 10m up to 15m")
    user, dues = await known(scene), []
    for minutes in (0, 8, 9):
        scene.ahead[0] = minutes * 60.0
        await scene.happen(mail(user))
        _, (digest,) = await scene.of_user(user)
        assert digest.next_attempt_at is not None
        dues.append(digest.next_attempt_at - scene.started)
    assert dues == [timedelta(minutes=each) for each in (10, 15, 15)]


async def test_a_fixed_window_begins_with_the_first_message(store: Store, people: PreferencesPort) -> None:
    scene = make_scene(store, people, digests="food.email=every 10m")
    user = await known(scene)
    await scene.happen(mail(user), mail(user))
    before = (await scene.of_user(user))[1]
    scene.ahead[0] = 300.0
    tried = await scene.tried(mail(user))
    await scene.happen(mail(user))
    messages, digests = await scene.of_user(user)
    assert [each.next_attempt_at for each in digests] == [each.next_attempt_at for each in before]
    assert messages[-1].reason == messages[0].reason == tried.outcomes[0].reason
    assert tried.outcomes[0].until == digests[0].next_attempt_at


async def test_each_group_has_its_digest(store: Store, people: PreferencesPort) -> None:
    scene = make_scene(
        store, people, digests="food.email=every 10m by group", escalations="food.email=after 1m"
    )
    user, group = await known(scene), str(uuid4())
    await scene.happen(food(user, group_id=group), food(user, group_id=group), food(user))
    messages, digests = await scene.of_user(user)
    assert [each.status for each in messages] == [Status.HELD] * 3
    assert len(digests) == 2
    assert messages[0].digest_id == messages[1].digest_id != messages[2].digest_id


async def test_a_throttle_lets_so_many_through(store: Store, people: PreferencesPort) -> None:
    scene = make_scene(store, people, throttles="food.email=3 in 1h")
    user, other = await known(scene), await known(scene)
    await scene.happen(mail(user), mail(user))
    await scene.happen(mail(user), mail(user), mail(other))
    tried = await scene.tried(mail(user))
    await scene.happen(mail(user), mail(user, urgent=True))
    messages, (digest,) = await scene.of_user(user)
    passed, held = Status.PENDING, Status.HELD
    assert [each.status for each in messages] == [passed, passed, passed, held, held, passed]
    assert messages[4].reason is not None
    assert messages[4].reason.startswith("more than 3 in 1h: joins the digest of ")
    assert messages[4].reason == tried.outcomes[0].reason
    assert digest.next_attempt_at is not None
    assert digest.next_attempt_at == scene.started + timedelta(hours=1)
    assert [each.status for each in (await scene.of_user(other))[0]] == [passed]
    assert await store.waiting.recent([RecentDeliveries(user, "food", "email", 3600)]) == [4]


async def test_steps_of_an_escalation_are_stored_with_their_event(
    store: Store, people: PreferencesPort
) -> None:
    chain = "food.email=after 30m if unread,food.sms=after 2h if unread and critical"
    scene = make_scene(store, people, escalations=chain, base_url="https://app.example.com")
    user, without_address, off = await known(scene), uuid4(), await known(scene)
    await people.set_choice(off, "food.email", False)
    event = food(user, without_address, off)
    tried = await scene.tried(event)
    await scene.happen(event)
    (step,), digests = await scene.of_user(user)
    assert digests == []
    assert (step.channel, step.template, step.status) == ("email", "digest", Status.PENDING)
    assert step.next_attempt_at is not None
    assert step.next_attempt_at == scene.started + timedelta(minutes=30)
    assert (
        step.reason == f"sent at {step.next_attempt_at:%Y-%m-%d %H:%M} UTC if the notification is unread then"
    )
    assert step.reason in {each.reason for each in tried.outcomes}
    assert (await scene.of_user(without_address), await scene.of_user(off)) == (([], []), ([], []))
    refused = {
        each.user_id: each.reason for each in await store.decisions.of_event(event["event_id"], None, 9)
    }
    assert refused == {
        without_address: "the user's profile has no address for email",
        off: "the person turned off food by email",
    }


async def test_a_critical_notification_takes_further_steps(store: Store, people: PreferencesPort) -> None:
    chain = "messages.email=after 30m,messages.sms=after 2h if unread and critical"
    scene = make_scene(store, people, escalations=chain)
    user = await known(scene)
    for severity in ("critical", "info"):
        event = {"type": "inapp", "user_id": str(user), "message": "M", "severity": severity}
        await scene.happen(event | {"event_id": str(uuid4())})
    messages, _ = await scene.of_user(user)
    assert sorted(each.channel for each in messages) == ["email", "email", "sms"]


async def test_who_gets_the_event_by_mail_anyway_gets_no_step(store: Store, people: PreferencesPort) -> None:
    scene = make_scene(store, people, escalations="inventory.email=after 30m")
    user = await known(scene)
    await people.set_choice(user, "inventory.email", True)
    stock = {"event_type": "low_stock", "receivers": [str(user)], "product_name": "Beans"}
    await scene.happen({**stock, "current_stock": 3, "threshold": 10, "event_id": str(uuid4())})
    (message,), _ = await scene.of_user(user)
    assert message.template == "low_stock"


async def test_events_without_rules_wait_for_nothing(store: Store, people: PreferencesPort) -> None:
    scene = make_scene(store, people)
    user = await known(scene)
    await scene.happen(mail(user), food(user))
    (message,), digests = await scene.of_user(user)
    assert (message.status, message.digest_id, digests) == (Status.PENDING, None, [])


def waits(row: Delivery) -> bool:
    return row.status is Status.HELD or (row.reason or "").startswith("sent at ")


kinds = st.sampled_from(["mail", "urgent", "food", "plans"])


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(kinds, min_size=1, max_size=4), min_size=1, max_size=4))
async def test_the_dry_run_says_what_then_happens(
    store: Store, people: PreferencesPort, batches: Sequence[Sequence[str]]
) -> None:
    """And each message is in one digest at most, which is open, or is sent by itself."""
    scene = make_scene(
        store,
        people,
        digests="plans.email=daily at 18:00",
        throttles="food.email=2 in 1h",
        escalations="food.email=after 30m",
    )
    user, made = await known(scene), 0
    make = {
        "mail": lambda: mail(user),
        "urgent": lambda: mail(user, urgent=True),
        "food": lambda: food(user),
        "plans": lambda: mail(user, category="plans"),
    }
    for batch in batches:
        first = make[batch[0]]()
        tried = await scene.tried(first)
        await scene.happen(first, *(make[kind]() for kind in batch[1:]))
        made += len(batch)
        (row,) = await store.deliveries.find(10, event_id=first["event_id"])
        (would,) = [each for each in tried.outcomes if each.channel == "email"]
        assert (would.verdict, would.reason) == ("wait" if waits(row) else "send", row.reason)
    messages, digests = await scene.of_user(user)
    assert len(messages) == made
    held = [each for each in messages if each.status is Status.HELD]
    assert {each.digest_id for each in held} == {each.id for each in digests}
    assert len(digests) <= 3, "one for each category, and one for steps"
