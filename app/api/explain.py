"""Why: what became of an event for each receiver and channel, and of what was not sent, the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple
from urllib.parse import unquote
from uuid import UUID

import msgspec
from msgspec import Meta
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import json_answer
from app.api.deliveries import READ
from app.api.errors import Problem
from app.api.parameters import uuid
from app.api.routes import Routes, add_routes
from app.domain.audiences import BroadcastState
from app.domain.channels import INAPP, WEBPUSH
from app.domain.deliveries import Delivery, Status, Withheld, masked
from app.domain.identity import scoped_id
from app.domain.notifications import Notification
from app.domain.preferences import Verdict
from app.domain.time import Now, moment
from app.ingest.dry_run import IN_INBOX, SIMULATE, Outcome
from app.store.ports import Broadcasts, Decisions, DeliveryLog, ParkedEvents, ProcessedEvents, ScheduledEvents
from app.store.scheduled import ScheduledState
from app.texts.i18n import N_
from handlers.registry import implied_refusals

MAX_OUTCOMES = 1000
"""Of deliveries, and again of decisions."""
NO_TRACE = (
    "nothing is kept of this user: the event is not for them (no receiver, no member of its group), or they "
    "deleted the notification"
)


class ExplainedOutcome(Outcome, kw_only=True):
    """The outcome on one channel for one receiver, and the reason, in the words of the dry run. Of a delivery
    also its `status` and id; of a notification whether it was read.
    """

    status: str | None = None
    delivery: UUID | None = None


class Explained(msgspec.Struct):
    """`status`: processed, scheduled, parked, cancelled or failed, with the `reason`. `broadcast`: the state
    of the broadcast of an event for an audience, which may not have come to all of them yet. Each receiver's
    notification, and a mail that is off by default, is listed with `user_id` only; whatever else was not sent
    is always listed. `truncated`: there is
    more than an answer holds.
    """

    event_id: str
    status: str
    reason: str | None
    send_at: Annotated[datetime, Meta(tz=True)] | None
    outcomes: list[ExplainedOutcome]
    truncated: bool
    broadcast: BroadcastState | None = None


class ExplainPorts(NamedTuple):
    """Where the traces of an event are, and what time it is."""

    scheduled: ScheduledEvents
    parked: ParkedEvents
    processed: ProcessedEvents
    deliveries: DeliveryLog
    decisions: Decisions
    broadcasts: Broadcasts
    now: Now


class _EventState(NamedTuple):
    stored_as: str
    status: str
    reason: str | None = None
    send_at: datetime | None = None


class ExplainResource:
    """For services whose token has the scope `deliveries:read`."""

    def __init__(self, authenticator: Authenticator, ports: ExplainPorts) -> None:
        self._authenticator = authenticator
        self._ports = ports

    def blueprint(self, prefix: str) -> Blueprint:
        """The call under `prefix`/events."""
        blueprint = Routes("explain", url_prefix=f"{prefix}/events")
        add_routes((blueprint.get("/<event_id:str>/explain"), self.explain))
        return blueprint

    @schemas.described(
        "Why an event reached somebody, or not",
        "For services with the scope `deliveries:read`. What was not sent is listed with the reason: a "
        "preference, quiet hours, the suppression list, a cap, an expiry, no address. With `user_id`, only "
        "that user, including their notification. Decisions are kept as long as event ids (EVENT_IDS_KEPT).",
        {200: schemas.Answer("What became of it", Explained)},
        errors=(400, 401, 403, 404, 503),
        query=schemas.EXPLAIN_QUERY,
    )
    async def explain(self, request: Request, event_id: str) -> HTTPResponse:
        """What happened to an event for each receiver and channel, and why something was not sent."""
        service = await self._authenticator.service(request, READ)
        user_id = uuid(request, "user_id")
        state = await self._state(unquote(event_id), service.user_id)
        wanted: dict[str, Any] = {"event_id": state.stored_as}
        if user_id is not None:
            wanted["user_id"] = user_id
        deliveries = await self._ports.deliveries.find(MAX_OUTCOMES + 1, **wanted)
        withheld = await self._ports.decisions.of_event(state.stored_as, user_id, MAX_OUTCOMES + 1)
        now = moment(self._ports.now())
        in_inbox = await self._in_inbox(state.stored_as, user_id)
        traced = {each.channel for each in deliveries} | {each.channel for each in withheld}
        outcomes = [
            *map(_of_notification, in_inbox),
            *(outcome_of(each, now) for each in reversed(deliveries[:MAX_OUTCOMES])),
            *_of_decisions(withheld[:MAX_OUTCOMES]),
            *(more for each in in_inbox for more in _of_decisions(implied_refusals(each, traced))),
        ]
        found = await self._ports.broadcasts.get(state.stored_as)
        broadcast = None if found is None else found.state
        if not outcomes and user_id is not None and state.status == "processed":
            outcomes.append(_untraced(user_id, broadcast))
        truncated = max(len(deliveries), len(withheld)) > MAX_OUTCOMES
        return json_answer(Explained(*state, outcomes, truncated, broadcast))

    async def _state(self, event_id: str, service: str) -> _EventState:
        """Raises `Problem` if nothing is known of the event. One with this service's id of it goes first."""
        if "\0" not in event_id:
            parked = await self._ports.parked.find(event_id)
            if parked is not None:
                return _EventState(
                    event_id, "parked" if parked.rejected is None else "failed", parked.rejected
                )
            names = (scoped_id(event_id, service), event_id)
            processed = await self._ports.processed.identities(names)
            for name in names:
                found = await self._ports.scheduled.get(name)
                if found is not None and found.status is not ScheduledState.SENT:
                    return _EventState(name, found.status.value, found.reason, found.send_at)
                if name in processed:
                    return _EventState(name, "processed", send_at=found and found.send_at)
        raise Problem(HTTPStatus.NOT_FOUND, "no_such_event", N_("No sent or scheduled event has this id."))

    async def _in_inbox(self, event_id: str, user_id: UUID | None) -> Sequence[Notification]:
        return () if user_id is None else await self._ports.processed.find({event_id: [user_id]})


def _of_notification(each: Notification) -> ExplainedOutcome:
    status = "read" if each.is_read else "unread"
    return ExplainedOutcome(INAPP, Verdict.SEND.value, IN_INBOX, each.receiver, status=status)


def _untraced(user_id: UUID, broadcast: BroadcastState | None) -> ExplainedOutcome:
    """Why there is no trace of this user."""
    if broadcast in (BroadcastState.RUNNING, BroadcastState.PAUSED):
        why = f"the broadcast is {broadcast.value}, and has not come to this user"
        return ExplainedOutcome(INAPP, Verdict.WAIT.value, why, user_id)
    return ExplainedOutcome(INAPP, Verdict.SUPPRESS.value, NO_TRACE, user_id)


def outcome_of(each: Delivery, now: datetime) -> ExplainedOutcome:
    """What became of a delivery, or what it waits for."""
    waits = each.status is Status.PENDING and each.attempts == 0 and each.next_attempt_at is not None
    verdict, until = Verdict.SEND.value, None
    if each.status is Status.HELD or (
        waits and each.next_attempt_at is not None and each.next_attempt_at > now
    ):
        verdict, until = Verdict.WAIT.value, each.next_attempt_at
    elif each.status in (Status.SUPPRESSED, Status.EXPIRED):
        verdict = Verdict.SUPPRESS.value
    elif each.status is Status.SIMULATED:
        verdict = SIMULATE
    shown = each.address if each.channel == WEBPUSH else each.address and masked(each.address)
    reason = each.error if each.status is Status.FAILED and each.error else each.reason
    return ExplainedOutcome(
        each.channel,
        verdict,
        reason or each.status.value,
        each.user_id,
        shown,
        until,
        status=each.status.value,
        delivery=each.id,
    )


def _of_decisions(withheld: Iterable[Withheld]) -> Iterator[ExplainedOutcome]:
    for each in withheld:
        yield ExplainedOutcome(each.channel, Verdict.SUPPRESS.value, each.reason, each.user_id, each.address)
