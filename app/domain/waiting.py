"""What waits: messages that join a digest, and steps of an escalation. Decided when an event is planned.

What waits is decided again when it is due (`app.outbox.waiting`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from urllib.parse import urljoin
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from app.domain.channels import WEBPUSH
from app.domain.deliveries import DeliveryDraft, Hold
from app.domain.details import Details, over
from app.domain.digests import (
    DIGEST_CHANNELS,
    DIGEST_TEMPLATE,
    NO_RULE,
    DigestDue,
    DigestRule,
    Window,
    digest_key,
    joins,
    shown_duration,
)
from app.domain.escalation import EscalationStep, waits
from app.domain.notifications import NotificationDraft
from app.domain.planning import (
    ABOUT_NOTIFICATION,
    MAX_PUSH_CHARS,
    URGENT,
    Plan,
    PlannedDelivery,
    PlanRequest,
)
from app.domain.preferences import ALWAYS_ON, NOBODY_KNOWN, Decision, Evaluator, Person, Verdict, choice_id

URGENT_SEVERITY = "critical"


class WaitRules(NamedTuple):
    """What the operator set: digests by the id of the choice, steps by category, the time zone of those who
    have set none, and the URL that links in mail are relative to.
    """

    digests: Mapping[str, DigestRule]
    escalations: Mapping[str, Sequence[EscalationStep]]
    zone: ZoneInfo
    base_url: str | None = None


class RecentDeliveries(NamedTuple):
    """Whose deliveries are counted, of which category and channel, and of how many seconds."""

    user_id: UUID
    category: str
    channel: str
    seconds: int


class WaitingDeliveries(Protocol):
    """What the planner asks of the deliveries that wait: `app.store.waiting` in production. Read only."""

    async def open_digests(self, keys: Collection[str]) -> Mapping[str, DigestDue]:
        """When the digests with these keys are due that messages can still join.

        Raises:
            Unavailable: The store does not answer.
        """

    async def recent(self, wanted: Sequence[RecentDeliveries]) -> Sequence[int]:
        """Of how many events each of these got messages that were in no digest.

        Raises:
            Unavailable: The store does not answer.
        """


class _Candidate(NamedTuple):
    """A delivery for which there is a rule."""

    plan: int
    place: int
    person: Person
    rule: DigestRule
    due: DigestDue
    """When a digest is due that begins with it."""
    key: str
    recent: RecentDeliveries | None
    """Of a rule with a throttle."""


class WaitPlanner:
    """Adds steps of escalations to plans, and makes deliveries join digests.

    Neither urgent messages nor codes, attachments and messages of the category security join any.
    """

    def __init__(
        self,
        rules: WaitRules,
        evaluator: Evaluator,
        store: WaitingDeliveries,
        locale: str,
        usual_details: Callable[[NotificationDraft], Details],
    ) -> None:
        """`locale` is that of people who have set none; `usual_details` those of an event type."""
        self._rules = rules
        self._evaluator = evaluator
        self._store = store
        self._locale = locale
        self._usual_details = usual_details

    async def apply(
        self,
        requests: Sequence[PlanRequest],
        plans: list[Plan],
        known: Mapping[UUID, Person],
        now: datetime,
    ) -> list[Plan]:
        """See `app.domain.planning.Waits`."""
        if self._rules.escalations:
            plans = [
                self._escalated(request, plan, known, now) if plan.notifications else plan
                for request, plan in zip(requests, plans, strict=True)
            ]
        found = [
            candidate
            for number, plan in enumerate(plans)
            if plan.deliveries
            for candidate in self._candidates(number, requests[number], plan, known, now)
        ]
        return await self._digested(requests, plans, found) if found else plans

    # Escalation

    def _escalated(
        self, request: PlanRequest, plan: Plan, known: Mapping[UUID, Person], now: datetime
    ) -> Plan:
        steps = self._rules.escalations.get(request.category, ())
        deliveries, declined = [*plan.deliveries], [*plan.declined]
        for draft in plan.notifications if steps else ():
            details, receivers = over(self._usual_details(draft), draft.details), {*draft.receivers}
            for step in steps:
                if step.severity in (None, details.severity):
                    due = now + timedelta(seconds=step.after)
                    if step.channel == WEBPUSH:
                        deliveries = [_later(each, receivers, step, due) for each in deliveries]
                        continue
                    for planned in self._steps(request, deliveries, draft, details, step, known, due):
                        refused = planned.decision.verdict is Verdict.SUPPRESS
                        (declined if refused else deliveries).append(planned)
        return msgspec.structs.replace(plan, deliveries=deliveries, declined=declined)

    def _steps(
        self,
        request: PlanRequest,
        deliveries: Sequence[PlannedDelivery],
        draft: NotificationDraft,
        details: Details,
        step: EscalationStep,
        known: Mapping[UUID, Person],
        due: datetime,
    ) -> Iterator[PlannedDelivery]:
        """The step's message to each receiver whom the event doesn't reach by its channel anyway."""
        reached = {each.draft.user_id for each in deliveries if each.draft.channel == step.channel}
        data: dict[str, Any] = {"entries": [self._entry(draft, details)], "count": 1}
        if request.urgent:
            data[URGENT] = True
        for receiver in draft.receivers:
            if receiver in reached:
                continue
            person = known.get(receiver, NOBODY_KNOWN)
            decision = self._evaluator.decide(
                person, request.category, step.channel, due, urgent=request.urgent
            )
            address = person.address(step.channel)
            if decision.verdict is not Verdict.SUPPRESS:
                until = decision.until or due
                decision = Decision(Verdict.WAIT, waits(step, until), until)
                if address is None:
                    reason = f"the user's profile has no address for {step.channel}"
                    decision = Decision(Verdict.SUPPRESS, reason)
            message = DeliveryDraft(
                step.channel,
                DIGEST_TEMPLATE,
                address,
                person.locale or self._locale,
                data,
                user_id=receiver,
                offered=True,
                expires_at=details.expires_at,
            )
            yield PlannedDelivery(message, decision, Hold(only_if=step.only_if))

    def _entry(self, draft: NotificationDraft, details: Details) -> dict[str, Any]:
        entry: dict[str, Any] = {"title": draft.title, "text": draft.content[:MAX_PUSH_CHARS]}
        if details.url is not None and (url := absolute(details.url, self._rules.base_url)):
            entry["url"] = url
        return entry

    # Digests

    def _candidates(
        self, number: int, request: PlanRequest, plan: Plan, known: Mapping[UUID, Person], now: datetime
    ) -> Iterator[_Candidate]:
        if request.urgent or request.category == ALWAYS_ON:
            return
        for place, planned in enumerate(plan.deliveries):
            draft = planned.draft
            if draft.channel not in DIGEST_CHANNELS or not _may_wait(planned):
                continue
            person = known.get(draft.user_id, NOBODY_KNOWN) if draft.user_id else NOBODY_KNOWN
            choice = choice_id(request.category, draft.channel)
            rule = self._rules.digests.get(choice, NO_RULE)
            if choice in person.digests:
                rule = rule.chosen(person.digests[choice])
            throttle = rule.throttle if draft.user_id else None
            if (rule.window is None and throttle is None) or self._is_critical(request):
                continue
            recent = None
            if throttle is not None and draft.user_id is not None:
                recent = RecentDeliveries(draft.user_id, request.category, draft.channel, throttle.seconds)
            due, slot = self._due(planned, person, rule.overflow, now)
            yield _Candidate(number, place, person, rule, due, self._key(request, draft, rule, slot), recent)

    def _due(
        self, planned: PlannedDelivery, person: Person, window: Window, now: datetime
    ) -> tuple[DigestDue, str | None]:
        """When a digest is due that begins with the message; and the slot whose digest it joins, if it is a
        step. A step begins to wait when it is due, so it may join no digest that is sent before.
        """
        is_step = planned.hold is not None
        begins = planned.decision.until if is_step and planned.decision.until else now
        due = window.due(begins, person.zone or self._rules.zone)
        slot = window.slot(begins, due.at)
        if person.quiet_hours is not None:
            at, latest = person.quiet_hours.until(due.at), due.latest
            if latest is not None:
                latest = max(person.quiet_hours.until(latest) or latest, at or due.at)
            if at is not None:
                slot = f"quiet hours {at.timestamp():.0f}"
            due = DigestDue(at or due.at, latest)
        return due, slot if is_step else None

    async def _digested(
        self,
        requests: Sequence[PlanRequest],
        plans: list[Plan],
        candidates: Sequence[_Candidate],
    ) -> list[Plan]:
        wanted = [*dict.fromkeys(each.recent for each in candidates if each.recent is not None)]
        counts = dict(zip(wanted, await self._store.recent(wanted), strict=True)) if wanted else {}
        due_at = dict(await self._store.open_digests({each.key for each in candidates}))
        counted: set[tuple[int, RecentDeliveries]] = set()  # an event counts once
        deliveries = [[*plan.deliveries] for plan in plans]
        for each in candidates:
            planned = deliveries[each.plan][each.place]
            if (recent := each.recent) is not None and (throttle := each.rule.throttle) is not None:
                if (each.plan, recent) not in counted and counts[recent] < throttle.most:
                    counts[recent] += 1
                    counted.add((each.plan, recent))
                if (each.plan, recent) in counted:
                    deliveries[each.plan][each.place] = planned._replace(throttle=throttle)
                    continue
            deliveries[each.plan][each.place] = self._joined(each, planned, requests[each.plan], due_at)
        return [
            msgspec.structs.replace(plan, deliveries=theirs) if theirs else plan
            for plan, theirs in zip(plans, deliveries, strict=True)
        ]

    def _joined(
        self,
        candidate: _Candidate,
        planned: PlannedDelivery,
        request: PlanRequest,
        due_at: MutableMapping[str, DigestDue],
    ) -> PlannedDelivery:
        """The delivery in a digest, which is noted in `due_at`."""
        _, _, person, rule, due, key, _ = candidate
        zone = person.zone or self._rules.zone
        due_at[key] = due_at[key].joined(due) if key in due_at else due
        reason = joins(due_at[key].at, zone)
        if rule.throttle is not None:
            reason = f"more than {rule.throttle.most} in {shown_duration(rule.throttle.seconds)}: {reason}"
        notification = request.effects.notification
        by_group = rule.key == "group" and notification is not None
        hold = Hold(
            key,
            due.at,
            due.latest,
            planned.hold.only_if if planned.hold is not None else None,
            notification.group_name if notification is not None and by_group else None,
        )
        return PlannedDelivery(planned.draft, Decision(Verdict.WAIT, reason, due_at[key].at), hold)

    def _key(self, request: PlanRequest, draft: DeliveryDraft, rule: DigestRule, slot: str | None) -> str:
        notification = request.effects.notification
        about: str | None = None
        if notification is not None and rule.key == "group":
            about = None if notification.group_id is None else str(notification.group_id)
        elif notification is not None and rule.key == "thread":
            about = over(self._usual_details(notification), notification.details).thread_key
        user = draft.foreign_user_id if draft.user_id is None else str(draft.user_id)
        steps = () if slot is None else ("steps", slot)
        return digest_key(user, draft.address, request.category, draft.channel, rule.key, about, *steps)

    def _is_critical(self, request: PlanRequest) -> bool:
        draft = request.effects.notification
        if draft is None:
            return False
        return over(self._usual_details(draft), draft.details).severity == URGENT_SEVERITY


def absolute(url: str, base: str | None) -> str | None:
    """The URL as mail can show it; None for a path if there is no `base`."""
    if url.startswith("/"):
        return None if base is None else urljoin(base, url)
    return url


def _may_wait(planned: PlannedDelivery) -> bool:
    draft, decision, *_ = planned
    return (
        decision.verdict is not Verdict.SUPPRESS
        and draft.address is not None
        and draft.decision is None
        and draft.replaces is None
        and draft.secret is None
        and not draft.attachments
    )


def _later(
    planned: PlannedDelivery, receivers: Collection[UUID], step: EscalationStep, due: datetime
) -> PlannedDelivery:
    """A web push of the notification to one of the receivers, as a step; any other delivery as it is."""
    push, decision, *_ = planned
    about = push.channel == WEBPUSH and push.data.get(ABOUT_NOTIFICATION) and push.user_id in receivers
    if not about or decision.verdict is Verdict.SUPPRESS:
        return planned
    until = due if decision.until is None else max(due, decision.until)
    valid_for = None if push.valid_for is None else push.valid_for + step.after
    return PlannedDelivery(
        msgspec.structs.replace(push, valid_for=valid_for),
        Decision(Verdict.WAIT, waits(step, until), until),
        Hold(only_if=step.only_if),
    )
