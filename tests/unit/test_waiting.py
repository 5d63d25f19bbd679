"""Digests and escalation against a simple model: schedules, reads, quiet hours, zones and clock changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.domain.deliveries import DeliveryDraft
from app.domain.details import Details
from app.domain.digests import MAX_GAPS_COUNT, DigestDue, read_duration
from app.domain.effects import Effects
from app.domain.errors import ConfigurationError
from app.domain.notifications import NotificationDraft
from app.domain.planning import PlannedDelivery, Planner, PlanRequest
from app.domain.preferences import Evaluator
from app.domain.waiting import RecentDeliveries, WaitPlanner, absolute
from app.outbox.channel import Channel, Confirm, DeliveryCancelled, NotYet, Outgoing, Receipt, wanted
from app.outbox.waiting import WaitingChannel
from app.settings.waiting import WaitSettings
from app.store.preferences import Profile
from app.store.waiting import DigestContent, HeldDelivery
from app.testing import MemoryPeople
from handlers.registry import usual_details
from tests.unit.test_digests import begins, first_showing
from tests.unit.test_quiet_hours import ZONES, minutes, near_a_change, quiet

USER = UUID(int=1)
MINUTE = timedelta(minutes=1)
ADDRESS = "user@example.com"


class Message(NamedTuple):
    """A message that waits, or was sent; its notification may be read."""

    number: int
    planned: PlannedDelivery
    digest: str | None


class TakesAll(Channel):
    """Takes everything, and notes what it shows."""

    at_once, simulated = 1, False

    def __init__(self, name: str) -> None:
        self.channel = name
        self.sent: list[list[str]] = []

    @property
    def name(self) -> str:
        return self.channel

    async def send(self, outgoing: Outgoing, confirm: Confirm = wanted) -> Receipt:
        await confirm()
        self.sent.append([each["title"] for each in outgoing.data["entries"]])
        return Receipt(None)

    async def close(self) -> None:
        pass


class World:
    """One person, planned and delivered to by the hub's parts; time passes as the test says."""

    def __init__(self, person: Profile, **rules: Any) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.people = MemoryPeople()
        self.person = person
        self.messages: list[Message] = []
        self.digests: dict[str, DigestDue] = {}
        self.reads: dict[int, datetime] = {}
        """When which are read."""
        self.state: str | None = None
        evaluator = Evaluator(())
        waits = WaitPlanner(WaitSettings(**rules).rules, evaluator, self, "en", usual_details)
        self.planner = Planner(self.people, evaluator, "en", self.clock, waits=waits)
        self.channels = {name: TakesAll(name) for name in ("email", "sms")}
        self.deciding = {
            name: WaitingChannel(channel, self, self.people, evaluator, self.clock)  # type: ignore[arg-type]
            for name, channel in self.channels.items()
        }

    def clock(self) -> float:
        return self.now.timestamp()

    async def open_digests(self, keys: Collection[str]) -> Mapping[str, DigestDue]:
        return {key: due for key, due in self.digests.items() if key in keys}

    async def recent(self, wanted: Sequence[RecentDeliveries]) -> Sequence[int]:
        return [0 for _ in wanted]

    async def state_of_notification(self, delivery: UUID) -> str | None:
        """Of the step whose turn it is."""
        return self.state

    async def leave(self, digest: UUID) -> int:
        """Nothing is read between composing a digest and sending it."""
        return 0

    async def content(self, digest: UUID) -> DigestContent:
        """What is in the digest whose turn it is."""
        held = [
            each
            for each in self.messages
            if each.digest == self.due_key and self.reads.get(each.number, self.now + MINUTE) > self.now
        ]
        newest = [HeldDelivery(each.planned.draft.template, "en", each.planned.draft.data) for each in held]
        return DigestContent(newest, len(newest), 0)

    async def event(self, number: int, at: datetime, *, mail: bool = False) -> list[PlannedDelivery]:
        """Something happens: a notification, and with `mail` a message by mail."""
        self.now = at
        await self.people.set_profile(USER, self.person)
        draft = NotificationDraft(None, None, [USER], "FOOD_EXPIRED", "{}", f"N{number}", "Text")
        mails = [
            DeliveryDraft("email", "plain", None, "en", {"title": f"M{number}", "message": "M"}, user_id=USER)
        ]
        effects = Effects(draft, deliveries=mails if mail else ())
        (plan,) = await self.planner.plan([PlanRequest(effects, "food", False, lambda _: effects)])
        for each in plan.deliveries:
            key = each.hold.digest if each.hold is not None else None
            self.messages.append(Message(number, each, key))
            if key is not None and each.hold is not None and each.hold.due is not None:
                due = DigestDue(each.hold.due, each.hold.latest)
                self.digests[key] = self.digests[key].joined(due) if key in self.digests else due
        return [*plan.deliveries]

    async def step(self, planned: PlannedDelivery, reads_at: datetime | None) -> datetime | None:
        """When the step of an escalation is sent; None if it isn't."""
        due = planned.decision.until
        while due is not None:
            self.now = due
            self.state = state = "read" if reads_at is not None and reads_at <= due else "unseen"
            outgoing = self.outgoing(
                planned, only_if=planned.hold and planned.hold.only_if, notification=state
            )
            try:
                await self.deciding[planned.draft.channel].send(outgoing)
            except DeliveryCancelled:
                return None
            except NotYet as later:
                due += timedelta(seconds=later.seconds)
            else:
                return due
        raise AssertionError("it waits for nothing")

    async def send_digest(self, key: str) -> list[str]:
        """What the digest with this key shows when it is sent, which is `now` then; nothing if it isn't."""
        self.due_key, self.now = key, self.digests.pop(key).at
        (first, *_) = [each for each in self.messages if each.digest == key]
        try:
            while True:
                try:
                    await self.deciding["email"].send(self.outgoing(first.planned, digest=True))
                except NotYet as later:
                    self.now += timedelta(seconds=later.seconds)
                else:
                    return self.channels["email"].sent[-1]
        except DeliveryCancelled:
            return []
        finally:
            self.messages = [each for each in self.messages if each.digest != key]

    def outgoing(self, planned: PlannedDelivery, **more: Any) -> Outgoing:
        draft = planned.draft
        return Outgoing(
            uuid4(),
            draft.template,
            draft.address or "",
            "en",
            draft.data,
            category="food",
            user_id=USER,
            **more,
        )


def first_allowed(moment: datetime, person: Profile) -> datetime:
    """The first minute from then on whose clock shows no quiet hour."""
    assert person.quiet_from is not None
    assert person.quiet_until is not None
    while quiet(moment, person.quiet_from, person.quiet_until, person.time_zone or "UTC"):
        moment += MINUTE
    return moment


people = st.builds(
    Profile,
    time_zone=st.sampled_from(ZONES),
    email=st.just(ADDRESS),
    phone=st.just("+84912345678"),
    quiet_from=minutes,
    quiet_until=minutes,
)


@settings(deadline=None)
@given(near_a_change, people, st.none() | st.integers(0, 3000))
async def test_a_step_is_sent_at_the_first_allowed_minute_unless_it_was_read_by_then(
    happens: datetime, person: Profile, read_after: int | None
) -> None:
    assume(person.quiet_from != person.quiet_until)
    world = World(person, escalations="food.email=after 30m,food.sms=after 2h")
    reads_at = None if read_after is None else happens + read_after * MINUTE
    steps = await world.event(1, happens)
    assert [each.draft.channel for each in steps] == ["email", "sms"]
    for step, after in zip(steps, (30, 120), strict=True):
        due = first_allowed(happens + after * MINUTE, person)
        expected = due if reads_at is None or reads_at > due else None
        assert await world.step(step, reads_at) == expected


@settings(deadline=None)
@given(near_a_change, people, people)
async def test_preferences_of_the_time_when_it_is_due_count(
    happens: datetime, then: Profile, later: Profile
) -> None:
    assume(then.quiet_from != then.quiet_until)
    assume(later.quiet_from != later.quiet_until)
    world = World(then, escalations="food.email=after 30m")
    (step,) = await world.event(1, happens)
    await world.people.set_profile(USER, later)
    planned = first_allowed(happens + 30 * MINUTE, then)
    assert await world.step(step, None) == first_allowed(planned, later)
    await world.people.set_choice(USER, "food.email", False)
    assert await world.step(step, None) is None


schedule = st.lists(st.tuples(st.integers(0, 4000), st.none() | st.integers(0, 3000)), min_size=1, max_size=8)


@settings(deadline=None)
@given(near_a_change, st.sampled_from([each for each in ZONES if each != "Pacific/Apia"]), minutes, schedule)
@example(datetime(2026, 3, 28, 22, tzinfo=UTC), "Europe/Berlin", time(2, 30), [(0, None), (100, 10)])
async def test_each_message_is_in_the_next_daily_digest_unless_it_was_read(
    start: datetime, name: str, at: time, events: list[tuple[int, int | None]]
) -> None:
    zone = ZoneInfo(name)
    world = World(Profile(email=ADDRESS, time_zone=name), digests=f"food.email=daily at {at:%H:%M}")
    expected: dict[datetime, list[str]] = {}
    shown: dict[datetime, list[str]] = {}
    timeline = sorted((start + after * MINUTE, number) for number, (after, _) in enumerate(events))
    reads = {
        number: start + (after + read) * MINUTE
        for number, (after, read) in enumerate(events)
        if read is not None
    }

    world.reads = reads

    async def send_due(until: datetime | None) -> None:
        for key, due in [*world.digests.items()]:
            if (until is None or due.at <= until) and (titles := await world.send_digest(key)):
                shown[due.at] = sorted(titles)

    for moment, number in timeline:
        await send_due(moment)
        await world.event(number, moment, mail=True)
        due = next_at(moment, at, zone)
        if reads.get(number, due + MINUTE) > due:
            expected.setdefault(due, []).append(f"M{number}")
    await send_due(None)
    assert shown == {moment: sorted(titles) for moment, titles in expected.items()}


windows = st.sampled_from(
    [
        *("hourly", "every 7m", "every 3h", "sliding 10m up to 25m", "sliding 2h"),
        *("daily at 02:30", "daily at 18:00", "weekly on sunday at 02:30", "weekly on monday at 09:00"),
    ]
)


@settings(deadline=None)
@given(near_a_change, people, windows, st.booleans(), schedule)
@example(  # the latest moment of a sliding window is in quiet hours, and a message comes after it
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    Profile(time_zone="UTC", email=ADDRESS, quiet_from=time(17, 1), quiet_until=time(5)),
    "sliding 2h",
    False,
    [(0, None), (1, None), (720, None)],
)
async def test_in_any_window_each_message_is_sent_once_unless_it_was_read(
    start: datetime, person: Profile, window: str, steps: bool, events: list[tuple[int, int | None]]
) -> None:
    """In a digest, outside quiet hours, and no later than at the end of its window or of quiet hours then.

    With `steps` the messages are those of an escalation, which begin to wait when they are due (and no quiet
    hours are).
    """
    assume(person.quiet_from != person.quiet_until)
    world = World(person, digests=f"food.email={window}", escalations="food.email=after 5m" if steps else "")
    timeline = sorted((start + delay * MINUTE, number) for number, (delay, _) in enumerate(events))
    happened = {number: moment for moment, number in timeline}
    waits_from = {
        number: first_allowed(moment + 5 * MINUTE, person) if steps else moment
        for number, moment in happened.items()
    }
    world.reads = {
        number: happened[number] + read * MINUTE
        for number, (_, read) in enumerate(events)
        if read is not None
    }
    sent: list[tuple[datetime, list[int]]] = []

    async def send_due(until: datetime | None) -> None:
        for key, due in sorted(world.digests.items(), key=lambda item: item[1].at):
            if until is None or due.at <= until:
                titles = await world.send_digest(key)
                sent.append((world.now, [int(title[1:].split()[0]) for title in titles]))

    for moment, number in timeline:
        await send_due(moment)
        await world.event(number, moment, mail=not steps)
    await send_due(None)
    shown = [number for _, numbers in sent for number in numbers]
    assert len(shown) == len({*shown}), "each once"
    assert len({moment for moment, _ in sent}) == len(sent), "two at the same moment, as after quiet hours"
    for moment, numbers in sent:
        assert first_allowed(moment, person) == moment, "in quiet hours"
        for number in numbers:
            assert waits_from[number] < moment <= latest_of(waits_from[number], window, person)
            assert world.reads.get(number, moment + MINUTE) > moment, "it was read"
    for number in happened.keys() - {*shown}:
        assert world.reads[number] <= latest_of(waits_from[number], window, person), "it is lost"


def latest_of(moment: datetime, window: str, person: Profile) -> datetime:
    """When a message has to be sent at the latest that begins to wait at this moment."""
    zone = ZoneInfo(person.time_zone or "UTC")
    match window.split():
        case ["hourly"]:
            end = moment + MINUTE
            while end.astimezone(zone).minute:
                end += MINUTE
        case ["every", duration] | ["sliding", _, "up", "to", duration]:
            end = moment + timedelta(seconds=read_duration(duration))
        case ["sliding", gap]:
            end = moment + MAX_GAPS_COUNT * timedelta(seconds=read_duration(gap))
        case ["daily", *_]:
            end = moment + timedelta(days=1, hours=25)  # the exact time: the test above
        case _:
            end = moment + timedelta(days=7, hours=25)
    return first_allowed(end, person)


def next_at(now: datetime, at: time, zone: ZoneInfo) -> datetime:
    """The first minute after `now` at which a daily digest is sent."""
    today = begins(now, zone)
    found = first_showing(today, at, zone)
    if found > now:
        return found
    tomorrow = begins(first_showing(today, time.max, zone) + timedelta(hours=2), zone)
    return first_showing(tomorrow, at, zone)


@pytest.mark.parametrize(
    ("url", "base", "shown"),
    [
        ("https://a.example/x", None, "https://a.example/x"),
        ("/orders/7", "https://app.example.com", "https://app.example.com/orders/7"),
        ("/orders/7?a=1#b", "https://app.example.com/en/", "https://app.example.com/orders/7?a=1#b"),
        ("/orders/7", None, None),
    ],
)
def test_links_in_mail_are_absolute(url: str, base: str | None, shown: str | None) -> None:
    assert absolute(url, base) == shown


async def test_a_critical_notification_waits_for_no_digest() -> None:
    world = World(Profile(email=ADDRESS), digests="food.email=hourly")
    draft = NotificationDraft(
        None, None, [USER], "FOOD_EXPIRED", "{}", "T", "C", details=Details(severity="critical")
    )
    mail = DeliveryDraft("email", "plain", ADDRESS, "en", {"message": "M"}, user_id=USER)
    effects = Effects(draft, deliveries=[mail])
    (plan,) = await world.planner.plan([PlanRequest(effects, "food", False, lambda _: effects)])
    assert [each.hold for each in plan.deliveries] == [None]


@pytest.mark.parametrize(
    ("setting", "text", "named"),
    [
        ("digests", "food.email", "food.email"),
        ("digests", "food.webpush=hourly", "email, sms"),
        ("digests", "security.email=hourly", "food"),
        ("digests", "food.email=immediate", "leave out"),
        ("digests", "food.email=hourly,food.email=every 5m", "twice"),
        ("digests", "food.email=every 5m by person", "group"),
        ("throttles", "food.email=many", "3 in 1h"),
        ("escalations", "food.inapp=after 5m", "webpush"),
        ("escalations", "food.email=30m if unread", "after 30m"),
        ("escalations", "food.email=after 30m if unread and serious", "critical"),
        ("time_zone", "Saigon", "Asia/Ho_Chi_Minh"),
    ],
)
def test_settings_name_what_is_wrong(setting: str, text: str, named: str) -> None:
    with pytest.raises((ValueError, ConfigurationError), match=named):
        WaitSettings.model_validate({setting: text})


async def test_a_step_joins_no_digest_that_is_sent_before_it_is_due() -> None:
    world = World(Profile(email=ADDRESS), digests="food.email=every 15m", escalations="food.email=after 2h")
    start = world.now
    await world.event(1, start, mail=True)
    (direct,) = world.digests
    await world.event(2, start + MINUTE)
    (step,) = world.digests.keys() - {direct}
    await world.event(3, start + 131 * MINUTE)
    (later,) = world.digests.keys() - {direct, step}
    assert {key: (due.at - start) / MINUTE for key, due in world.digests.items()} == {
        direct: 15,
        step: 136,
        later: 266,
    }


async def test_what_joins_a_digest_begins_another_of_full_length_if_that_is_closed_meanwhile() -> None:
    world = World(Profile(email=ADDRESS), digests="food.email=every 15m")
    start = world.now
    await world.event(1, start, mail=True)
    (second,) = await world.event(2, start + 14 * MINUTE, mail=True)
    assert second.hold is not None
    assert second.decision.until == start + 15 * MINUTE
    assert second.hold.due == start + 29 * MINUTE
