"""The plan of an event for each person: which notifications and deliveries, and why others are suppressed.

Real runs and dry runs use the same plan.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec

from app.domain.channels import INAPP, WEBPUSH
from app.domain.deliveries import DeliveryDraft, Hold, Withheld, masked
from app.domain.details import NOTHING, Details, over
from app.domain.devices import Devices
from app.domain.digests import Throttle
from app.domain.effects import Effects
from app.domain.notifications import NotificationDraft
from app.domain.preferences import (
    NOBODY_KNOWN,
    Decision,
    Evaluator,
    Person,
    Verdict,
    choice_id,
    off_by_default,
)
from app.domain.time import Now, moment

PUSH_TEMPLATE = "plain"
ABOUT_NOTIFICATION, URGENT, DETAILS = "about_notification", "urgent", "details"
"""In the data of a web push: whether it is about the user's notification of its event, whether it is not to
wait, and what the notification carries.
"""
_SHOWN_DETAILS = ("severity", "url", "actions", "icon", "image", "thread_key")
MAX_PUSH_CHARS = 1000
"""Of a notification's text that are kept with each delivery by web push; it shows less."""


EXPIRED = Decision(Verdict.SUPPRESS, "its `expires_at` has passed")


class PlanRequest(msgspec.Struct, frozen=True, gc=False):
    """A handler's effects of an event, and the same effects in another locale."""

    effects: Effects
    category: str
    urgent: bool
    in_locale: Callable[[str], Effects]
    offers: Sequence[str] = ()
    """See `BaseMessageHandler.offers`."""


class PlannedDelivery(NamedTuple):
    """A delivery with its address, if one is known, and the decision about it."""

    draft: DeliveryDraft
    decision: Decision
    hold: Hold | None = None
    throttle: Throttle | None = None
    """What lets it through now; checked again in the transaction that writes it."""
    implied: bool = False
    """Whether why it is not sent follows from its user's notification, so that no row has to say so."""


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What is to be written: `notifications` by locale and text, each receiver in one of them at most."""

    notifications: Sequence[NotificationDraft]
    deliveries: Sequence[PlannedDelivery]
    declined: Sequence[PlannedDelivery]
    """Offers that were not accepted: they are not stored."""
    not_notified: Sequence[tuple[UUID, Decision]]
    """Receivers who get no notification, and why."""

    def withheld(self) -> Sequence[Withheld]:
        """What is not to be written, and why: each reason once for a person and channel."""
        if not (self.not_notified or self.declined):
            return ()
        found = [Withheld(INAPP, decision.reason, user) for user, decision in self.not_notified]
        if self.not_notified and all(decision is EXPIRED for _, decision in self.not_notified):
            found = [Withheld(INAPP, EXPIRED.reason)]
        for draft, decision, *_ in (each for each in self.declined if not each.implied):
            address = masked(draft.address) if draft.address and draft.channel != WEBPUSH else None
            found.append(Withheld(draft.channel, decision.reason, draft.user_id, address))
        return [*dict.fromkeys(found)]


class Assumed(NamedTuple):
    """What people had set when it was last read, so that planning needn't wait for the store.

    Who writes by it checks in the same transaction that it still holds (`EventWriter.write`): then it is
    newer than anything that could be read before.
    """

    users: Collection[UUID]
    """Of whom it is assumed; a user may be there twice."""
    people: Mapping[UUID, Person]
    """Those of them who had set anything."""
    versions: Mapping[UUID, str]
    """Of what those had set."""


class People(Protocol):
    """What people have set in their profiles: `app.store.preferences` in production, `app.testing` in tests.

    Read only. Everything that was saved before the call is in the answer; a change that is saved during the
    call may be in it or not.
    """

    async def people(self, users: Collection[UUID]) -> Mapping[UUID, Person]:
        """Those of `users` who have set anything. `users` may hold the same user twice.

        Raises:
            Unavailable: The store does not answer.
        """

    def assumed(self, users: Collection[UUID]) -> Assumed | None:
        """The same as it was read last, without I/O. None: it has to be read."""


class Waits(Protocol):
    """Digests and escalation: `app.domain.waiting`."""

    async def apply(
        self,
        requests: Sequence[PlanRequest],
        plans: list[Plan],
        known: Mapping[UUID, Person],
        now: datetime,
    ) -> list[Plan]:
        """The plans, with what waits.

        Raises:
            Unavailable: The store does not answer.
        """


def _no_details(_: NotificationDraft) -> Details:
    return NOTHING


class PushPlan(NamedTuple):
    """What web push needs: the devices, for how many seconds after its event one may be delivered, and what
    notifications carry where their publishers say nothing.
    """

    devices: Devices
    valid_for: float
    usual_details: Callable[[NotificationDraft], Details] = _no_details


_SAME_ADDRESS = Decision(Verdict.SUPPRESS, "another receiver has the same address")


class Planner:
    """Plans by what each person prefers."""

    def __init__(
        self,
        people: People,
        evaluator: Evaluator,
        locale: str,
        now: Now = time.time,
        push: PushPlan | None = None,
        waits: Waits | None = None,
    ) -> None:
        """`locale` is that of the requests' `effects`. Without `push` nobody is asked about devices; without
        `waits` there are neither digests nor escalations.
        """
        self._people = people
        self._waits = waits
        self._push = push
        self._evaluator = evaluator
        self._locale = locale
        self._now = now

    async def plan(self, requests: Sequence[PlanRequest]) -> list[Plan]:
        """A plan for each. Raises `Unavailable` when Postgres doesn't answer."""
        users = _users(requests)
        return await self._planned(requests, users, await self._people.people(users))

    async def plan_by_assumption(self, requests: Sequence[PlanRequest]) -> tuple[list[Plan], Assumed | None]:
        """The same, without reading what people have set if that isn't necessary; and what was assumed."""
        users = _users(requests)
        assumed = self._people.assumed(users)
        known = await self._people.people(users) if assumed is None else assumed.people
        return await self._planned(requests, users, known), assumed

    async def _planned(
        self, requests: Sequence[PlanRequest], users: Collection[UUID], known: Mapping[UUID, Person]
    ) -> list[Plan]:
        devices = {} if self._push is None else await self._push.devices.of_users(users)
        now = moment(self._now())
        plans = [self._plan(request, known, now) for request in requests]
        if self._push is not None:
            plans = [
                self._with_push(request, plan, known, devices, now) if devices or plan.deliveries else plan
                for request, plan in zip(requests, plans, strict=True)
            ]
        return plans if self._waits is None else await self._waits.apply(requests, plans, known, now)

    def _with_push(
        self,
        request: PlanRequest,
        plan: Plan,
        known: Mapping[UUID, Person],
        devices: Mapping[UUID, Sequence[UUID]],
        now: datetime,
    ) -> Plan:
        """The plan, with notifications by web push as well, and a message by web push to each device."""
        deliveries = [each for planned in plan.deliveries for each in _to_devices(planned, devices)]
        declined = [*plan.declined]
        for draft in plan.notifications:
            for receiver in draft.receivers:
                if receiver in devices:
                    person = known.get(receiver, NOBODY_KNOWN)
                    decision = self._evaluator.decide(
                        person, request.category, WEBPUSH, now, urgent=request.urgent
                    )
                    asked_for = person.choices.get(choice_id(request.category, WEBPUSH), False)
                    accepted = decision.verdict is not Verdict.SUPPRESS or asked_for
                    (deliveries if accepted else declined).extend(
                        PlannedDelivery(push, decision)
                        for push in self._pushes(request, draft, receiver, person, devices[receiver])
                    )
        return msgspec.structs.replace(plan, deliveries=deliveries, declined=declined)

    def _pushes(
        self,
        request: PlanRequest,
        draft: NotificationDraft,
        receiver: UUID,
        person: Person,
        devices: Sequence[UUID],
    ) -> Iterator[DeliveryDraft]:
        assert self._push is not None
        details = over(self._push.usual_details(draft), draft.details)
        data = {"title": draft.title, "message": draft.content[:MAX_PUSH_CHARS], ABOUT_NOTIFICATION: True}
        if request.urgent:
            data[URGENT] = True
        if shown := shown_details(details):
            data[DETAILS] = shown
        for device in devices:
            yield DeliveryDraft(
                WEBPUSH,
                PUSH_TEMPLATE,
                str(device),
                person.locale or self._locale,
                data,
                valid_for=self._push.valid_for,
                user_id=receiver,
                offered=True,
                expires_at=details.expires_at,
            )

    def _plan(self, request: PlanRequest, known: Mapping[UUID, Person], now: datetime) -> Plan:
        draft = request.effects.notification
        notifications: Sequence[NotificationDraft] = ()
        not_notified: list[tuple[UUID, Decision]] = []
        if draft is not None and draft.details is not None and draft.details.expired(now):
            not_notified = [(receiver, EXPIRED) for receiver in draft.receivers]
        elif draft is not None:
            usual = not known or known.keys().isdisjoint(draft.receivers)
            if usual and self._evaluator.on_by_default(request.category, INAPP):
                notifications = draft.by_text()
            else:
                notifications, not_notified = self._notifications(request, draft, known, now)
        if not request.effects.deliveries:
            return Plan(notifications, (), (), not_notified)
        notified = {user for each in notifications for user in each.receivers} if request.offers else ()
        deliveries: list[PlannedDelivery] = []
        declined: list[PlannedDelivery] = []
        for number, each in enumerate(request.effects.deliveries):
            person = known.get(each.user_id or _NO_ONE, NOBODY_KNOWN)
            planned = self._delivery(request, number, each, person, now)
            accepted = planned.decision.verdict is not Verdict.SUPPRESS or not each.offered
            asked_for = person.choices.get(choice_id(request.category, each.channel), False)
            if accepted or asked_for:
                deliveries.append(planned)
            else:
                declined.append(planned._replace(implied=_is_implied(request, planned, notified)))
        deliveries, repeated = _once_for_each_address(deliveries)
        return Plan(notifications, deliveries, declined + repeated, not_notified)

    def _notifications(
        self, request: PlanRequest, draft: NotificationDraft, known: Mapping[UUID, Person], now: datetime
    ) -> tuple[list[NotificationDraft], list[tuple[UUID, Decision]]]:
        """The draft in each receiver's locale, and the receivers for whom it is suppressed."""
        by_locale: defaultdict[str, list[UUID]] = defaultdict(list)
        not_notified = []
        for receiver in draft.receivers:
            person = known.get(receiver, NOBODY_KNOWN)
            decision = self._evaluator.decide(person, request.category, INAPP, now, urgent=request.urgent)
            if decision.verdict is Verdict.SUPPRESS:
                not_notified.append((receiver, decision))
            else:
                by_locale[person.locale or self._locale].append(receiver)
        drafts: list[NotificationDraft] = []
        for locale, receivers in by_locale.items():
            spoken = draft if locale == self._locale else request.in_locale(locale).notification
            assert spoken is not None, "a locale changes texts only"
            drafts += msgspec.structs.replace(spoken, receivers=receivers).by_text()
        return drafts, not_notified

    def _delivery(
        self, request: PlanRequest, number: int, draft: DeliveryDraft, person: Person, now: datetime
    ) -> PlannedDelivery:
        if draft.decision is not None:
            return PlannedDelivery(draft, draft.decision)
        decision = self._evaluator.decide(person, request.category, draft.channel, now, urgent=request.urgent)
        address = draft.address or person.address(draft.channel)
        if draft.channel == WEBPUSH:  # `_to_devices` finds the addresses
            if self._push is None:
                decision = Decision(Verdict.SUPPRESS, "this hub sends no web push")
        elif address is None and decision.verdict is not Verdict.SUPPRESS:
            decision = Decision(Verdict.SUPPRESS, f"the user's profile has no address for {draft.channel}")
        if person.locale is not None and person.locale != self._locale:
            draft = request.in_locale(person.locale).deliveries[number]
        return PlannedDelivery(msgspec.structs.replace(draft, address=address), decision)


def _is_implied(request: PlanRequest, declined: PlannedDelivery, notified: Collection[UUID]) -> bool:
    """Whether it is off by default, and its user gets the notification of an event type that offers it."""
    channel, user = declined.draft.channel, declined.draft.user_id
    return (
        channel in request.offers
        and declined.decision.reason == off_by_default(request.category, channel)
        and user in notified
    )


def _users(requests: Sequence[PlanRequest]) -> list[UUID]:
    """Whom the requests are for: with duplicates, as removing them costs more."""
    users: list[UUID] = []
    for request in requests:
        if request.effects.notification is not None:
            users += request.effects.notification.receivers
        if request.effects.deliveries:
            users += [each.user_id for each in request.effects.deliveries if each.user_id is not None]
    return users


def shown_details(details: Details) -> dict[str, Any]:
    """The details that a web push shows, in types of JSON."""
    found: dict[str, Any] = msgspec.to_builtins(details)
    return {name: found[name] for name in _SHOWN_DETAILS if name in found}


def _to_devices(
    planned: PlannedDelivery, devices: Mapping[UUID, Sequence[UUID]]
) -> Iterator[PlannedDelivery]:
    """A message by web push that names no device is one to each of the user's."""
    draft, decision, *_ = planned
    if draft.channel != WEBPUSH or draft.address is not None:
        yield planned
    elif theirs := devices.get(draft.user_id or _NO_ONE, ()):
        for device in theirs:
            yield planned._replace(draft=msgspec.structs.replace(draft, address=str(device)))
    elif decision.verdict is Verdict.SUPPRESS:
        yield planned
    else:
        yield planned._replace(decision=Decision(Verdict.SUPPRESS, "the user has no device for web push"))


_NO_ONE = UUID(int=0)


def _once_for_each_address(
    deliveries: list[PlannedDelivery],
) -> tuple[list[PlannedDelivery], list[PlannedDelivery]]:
    """The deliveries, and those to an address that gets the same already: their ids would be the same."""
    if len(deliveries) < 2:
        return deliveries, []
    first: list[PlannedDelivery] = []
    repeated: list[PlannedDelivery] = []
    seen: set[tuple[str, str, str]] = set()
    for planned in deliveries:
        draft = planned.draft
        to = (draft.channel, draft.template, draft.address or "")
        if draft.address is not None and to in seen:
            repeated.append(PlannedDelivery(draft, _SAME_ADDRESS))
        else:
            seen.add(to)
            first.append(planned)
    return first, repeated
