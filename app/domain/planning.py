"""The plan of an event for each person: which notifications and deliveries, and why others are suppressed.

Real runs and dry runs use the same plan.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from app.domain.channels import INAPP
from app.domain.deliveries import DeliveryDraft
from app.domain.effects import Effects
from app.domain.notifications import NotificationDraft
from app.domain.preferences import NOBODY_KNOWN, Decision, Evaluator, Person, Verdict, choice_id
from app.domain.time import Now, moment


class PlanRequest(msgspec.Struct, frozen=True, gc=False):
    """A handler's effects of an event, and the same effects in another locale."""

    effects: Effects
    category: str
    urgent: bool
    in_locale: Callable[[str], Effects]


class PlannedDelivery(NamedTuple):
    """A delivery with its address, if one is known, and the decision about it."""

    draft: DeliveryDraft
    decision: Decision


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What is to be written: `notifications` by locale and text, each receiver in one of them at most."""

    notifications: Sequence[NotificationDraft]
    deliveries: Sequence[PlannedDelivery]
    declined: Sequence[PlannedDelivery]
    """Offers that were not accepted: they are not stored."""
    not_notified: Sequence[tuple[UUID, Decision]]
    """Receivers who get no notification, and why."""


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


class Planner:
    """Plans by what each person prefers."""

    def __init__(self, people: People, evaluator: Evaluator, locale: str, now: Now = time.time) -> None:
        """`locale` is that of the requests' `effects`."""
        self._people = people
        self._evaluator = evaluator
        self._locale = locale
        self._now = now

    async def plan(self, requests: Sequence[PlanRequest]) -> list[Plan]:
        """A plan for each. Raises `Unavailable` when Postgres doesn't answer."""
        users: list[UUID] = []  # may hold duplicates: removing them costs more
        for request in requests:
            if request.effects.notification is not None:
                users += request.effects.notification.receivers
            if request.effects.deliveries:
                users += [each.user_id for each in request.effects.deliveries if each.user_id is not None]
        known = await self._people.people(users)
        now = moment(self._now())
        return [self._plan(request, known, now) for request in requests]

    def _plan(self, request: PlanRequest, known: Mapping[UUID, Person], now: datetime) -> Plan:
        draft = request.effects.notification
        notifications: Sequence[NotificationDraft] = ()
        not_notified: list[tuple[UUID, Decision]] = []
        if draft is not None and draft.details is not None and draft.details.expired(now):
            expired = Decision(Verdict.SUPPRESS, "its `expires_at` has passed")
            not_notified = [(receiver, expired) for receiver in draft.receivers]
        elif draft is not None:
            usual = not known or known.keys().isdisjoint(draft.receivers)
            if usual and self._evaluator.on_by_default(request.category, INAPP):
                notifications = draft.by_text()
            else:
                notifications, not_notified = self._notifications(request, draft, known, now)
        if not request.effects.deliveries:
            return Plan(notifications, (), (), not_notified)
        deliveries: list[PlannedDelivery] = []
        declined: list[PlannedDelivery] = []
        for number, each in enumerate(request.effects.deliveries):
            person = known.get(each.user_id or _NO_ONE, NOBODY_KNOWN)
            planned = self._delivery(request, number, each, person, now)
            accepted = planned.decision.verdict is not Verdict.SUPPRESS or not each.offered
            asked_for = person.choices.get(choice_id(request.category, each.channel), False)
            (deliveries if accepted or asked_for else declined).append(planned)
        return Plan(notifications, deliveries, declined, not_notified)

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
        if address is None and decision.verdict is not Verdict.SUPPRESS:
            decision = Decision(Verdict.SUPPRESS, f"the user's profile has no address for {draft.channel}")
        if person.locale is not None and person.locale != self._locale:
            draft = request.in_locale(person.locale).deliveries[number]
        return PlannedDelivery(msgspec.structs.replace(draft, address=address), decision)


_NO_ONE = UUID(int=0)
