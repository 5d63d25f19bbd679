"""Sending over HTTP, for services: one notification or many, now or scheduled; their status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, unquote
from uuid import UUID, uuid4

import msgspec
from msgspec import Meta
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import json_answer, json_body
from app.api.errors import RETRY_AFTER_SECONDS, Problem
from app.api.idempotency import Idempotency
from app.api.routes import Routes, add_routes
from app.domain.amendments import NO_SUCH_EVENT
from app.domain.audiences import BroadcastState
from app.domain.channels import DELIVERY_CHANNELS, EMAIL
from app.domain.deliveries import Status
from app.domain.errors import InvalidEvent
from app.domain.identity import CONFLICT, scoped_id
from app.ingest.dry_run import DryRun, DryRunResult
from app.sources.http import Accepted, HttpSource
from app.store.ports import Broadcasts, DeliveryLog, ParkedEvents, ProcessedEvents, ScheduledEvents
from app.store.scheduled import Scheduled, ScheduledState
from app.texts.i18n import N_
from handlers.messages import check_reply_to

SEND = "notifications:send"
MAX_BULK_EVENTS, MAX_DELIVERIES = 10_000, 1000
ACCEPTED, UNKNOWN = "accepted", "unknown"
RETRY_HINT = "It may still be stored. Retry with this id as its event_id: it is then processed once."


class Bulk(msgspec.Struct, forbid_unknown_fields=True):
    """Many notifications: each in the form that POST /notifications accepts."""

    notifications: Annotated[list[schemas.MessageOrEvent], Meta(min_length=1, max_length=MAX_BULK_EVENTS)]


class NotifyEmail(msgspec.Struct, forbid_unknown_fields=True):
    """A mail that a service has composed: `text`, `html` or both."""

    email: Annotated[str, Meta(min_length=3, max_length=320, examples=["user@example.com"])]
    subject: Annotated[str, Meta(min_length=1, max_length=200)]
    text: Annotated[str, Meta(min_length=1, max_length=10_000)] | None = None
    html: Annotated[str, Meta(min_length=1, max_length=200_000)] | None = None
    reply_to: Annotated[str, Meta(min_length=3, max_length=320)] | None = None

    def __post_init__(self) -> None:
        """msgspec passes the text of a ValueError on to the sender."""
        if self.text is None and self.html is None:
            raise ValueError("`text` or `html` is required")
        try:
            DELIVERY_CHANNELS[EMAIL](self.email)
        except ValueError as error:
            raise ValueError(f"`email`: {error}") from None
        if self.reply_to is not None:
            check_reply_to(self.reply_to)

    def event(self) -> bytes:
        """The message that sends it."""
        message = {"type": EMAIL, "to": self.email, "title": self.subject}
        texts = {"message": self.text, "html": self.html, "reply_to": self.reply_to}
        given = {name: text for name, text in texts.items() if text is not None}
        return msgspec.json.encode(message | given)


class Sent(msgspec.Struct, omit_defaults=True):
    """The event's id and where to follow it; in a bulk answer, also why it was rejected."""

    id: str
    status: str
    follow: str = ""
    code: str = ""
    detail: str = ""


class BulkSent(msgspec.Struct):
    """The result of each, in the order of the request."""

    accepted: int
    rejected: int
    unknown: int
    """Not stored within the time limit: they may still be stored. Retry with the same ids."""
    results: list[Sent]


class FollowedDelivery(msgspec.Struct):
    """A delivery that the event requested."""

    id: UUID
    channel: str
    status: Status
    reason: str | None


class Followed(msgspec.Struct):
    """The status of an event (scheduled, parked, cancelled, failed or processed), with its deliveries. One
    for an audience is `processed` once its `broadcast` has begun.
    """

    id: str
    status: str
    deliveries: list[FollowedDelivery]
    send_at: Annotated[datetime, Meta(tz=True)] | None = None
    reason: str | None = None
    broadcast: BroadcastState | None = None


def make_blueprint(prefix: str, sending: SendingResource, sent_events: SentEventResource) -> Blueprint:
    """The calls of both under `prefix`."""
    blueprint = Routes("sending", url_prefix=prefix)
    sending.add_to(blueprint)
    sent_events.add_to(blueprint)
    return blueprint


class SendingResource:
    """The calls that send, for services whose token has the scope `notifications:send`."""

    def __init__(
        self,
        prefix: str,
        authenticator: Authenticator,
        source: HttpSource,
        idempotency: Idempotency,
        dry_run: DryRun,
        channels: Sequence[str],
    ) -> None:
        """`prefix` is that of the addresses at which a client follows what it sent. `channels` are those that
        a test goes over.
        """
        self._channels = channels
        self._prefix = prefix
        self._authenticator = authenticator
        self._source = source
        self._idempotency = idempotency
        self._dry_run = dry_run

    def add_to(self, blueprint: Blueprint) -> None:
        """Add the calls to the blueprint of `make_blueprint`."""
        add_routes(
            (blueprint.post("/notifications"), self.send_one),
            (blueprint.post("/notify/email"), self.send_mail),
            (blueprint.post("/notifications/bulk"), self.send_many),
            (blueprint.post("/notifications/test"), self.send_test),
            (blueprint.post("/notifications/dry-run"), self.try_out),
        )

    @schemas.described(
        "Send a notification",
        "A message to one person, or any event in the form it has on Kafka (with `event_type`). The hub "
        "answers when it is stored. With `send_at` it is sent at that time, and can be cancelled until then. "
        "A request with an Idempotency-Key can be retried.",
        {202: schemas.Answer("Stored; it will be sent", Sent)},
        errors=(400, 401, 403, 409, 422, 503),
        body=schemas.MessageOrEvent,
        idempotent=True,
    )
    async def send_one(self, request: Request) -> HTTPResponse:
        """Store one event; once for each `event_id` and Idempotency-Key."""
        service = await self._authenticator.service(request, SEND)
        return await self.send(request, service.user_id, request.body)

    @schemas.described(
        "Send a mail",
        "A mail that the service has composed, as text, HTML or both. The HTML is sanitised for mail.",
        {202: schemas.Answer("Stored; it will be sent", Sent)},
        errors=(400, 401, 403, 409, 422, 503),
        body=NotifyEmail,
        idempotent=True,
    )
    async def send_mail(self, request: Request) -> HTTPResponse:
        """Store a mail to one address."""
        service = await self._authenticator.service(request, SEND)
        return await self.send(request, service.user_id, json_body(request, NotifyEmail).event())

    @schemas.described(
        "Send many notifications",
        "Each is accepted or rejected separately, and is stored before the hub answers. A notification "
        "that was not stored within the time limit is `unknown`: retry it with its id.",
        {202: schemas.Answer("The result of each", BulkSent)},
        errors=(400, 401, 403, 409, 422, 503),
        body=Bulk,
        idempotent=True,
    )
    async def send_many(self, request: Request) -> HTTPResponse:
        """Store up to 10,000 events, each accepted or rejected separately."""
        service = await self._authenticator.service(request, SEND)
        events = [bytes(each) for each in json_body(request, Bulk).notifications]
        return await self.send_many_of(request, service.user_id, events)

    async def send_many_of(self, request: Request, service: str, events: list[bytes]) -> HTTPResponse:
        """Store events of an authenticated service, each by itself; once for each Idempotency-Key."""

        async def handle(request_id: str) -> HTTPResponse:
            return await self.send_all(events, request_id, service)

        return await self._idempotency.handle_once(request, service, handle)

    @schemas.described(
        "Send yourself a test notification over each channel",
        "In-app, by mail, by SMS and, if the hub has a VAPID key, by web push: to the user the token belongs "
        "to, the addresses of their profile, and their devices.",
        {202: schemas.Answer("The result of each", BulkSent)},
        errors=(400, 401, 403, 503),
    )
    async def send_test(self, request: Request) -> HTTPResponse:
        """Send a test message over each channel to the user of the token."""
        service = await self._authenticator.service(request, SEND)
        user_id = self._authenticator.subject(service)
        if user_id is None:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "no_user",
                N_("The test is sent to the subject of the token, which must be a user id (a UUID)."),
            )
        return await self.send_all(
            events_of_test(str(user_id), self._channels), str(uuid4()), service.user_id
        )

    @schemas.described(
        "Try a notification without sending it",
        "For each receiver and channel: whether it would be sent, deferred or suppressed, and why. Accepts "
        "the same bodies as POST /notifications; nothing is stored or sent.",
        {200: schemas.Answer("The outcome for each receiver and channel", DryRunResult)},
        errors=(400, 401, 403, 409, 503),
        body=schemas.MessageOrEvent,
    )
    async def try_out(self, request: Request) -> HTTPResponse:
        """What publishing an event would do. Nothing is stored or sent."""
        service = await self._authenticator.service(request, SEND)
        try:
            self._source.check(request.body)
            return json_answer(await self._dry_run.of(request.body, str(uuid4()), service.user_id))
        except InvalidEvent as error:
            raise rejected(error) from None

    async def send(self, request: Request, service: str, event: bytes) -> HTTPResponse:
        """Store an event of an authenticated service; once for each Idempotency-Key."""

        async def handle(request_id: str) -> HTTPResponse:
            (accepted,) = await self._source.accept([event], request_id, service)
            if not accepted.known:
                raise _outcome_unknown(accepted.event_id)
            if accepted.refused is not None:
                raise rejected(accepted.refused)
            sent = self._sent(accepted)
            return json_answer(sent, HTTPStatus.ACCEPTED, {"Location": sent.follow})

        return await self._idempotency.handle_once(request, service, handle)

    async def send_all(self, events: list[bytes], request_id: str, service: str) -> HTTPResponse:
        """Store events of an authenticated service, each by itself."""
        results = [self._sent(each) for each in await self._source.accept(events, request_id, service)]
        accepted, unknown = (sum(each.status == it for each in results) for it in (ACCEPTED, UNKNOWN))
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if unknown else {}
        rejected = len(results) - accepted - unknown
        return json_answer(BulkSent(accepted, rejected, unknown, results), HTTPStatus.ACCEPTED, headers)

    def _sent(self, each: Accepted) -> Sent:
        follow = f"{self._prefix}/notifications/{quote(each.event_id, safe='')}"
        if not each.known:
            return Sent(each.event_id, UNKNOWN, follow, "not_known_in_time", RETRY_HINT)
        if each.refused is None:
            return Sent(each.event_id, ACCEPTED, follow)
        return Sent(each.event_id, "rejected", code=each.refused.reason, detail=str(each.refused))


class SentEventResource:
    """The calls that follow and cancel what was sent."""

    def __init__(
        self,
        authenticator: Authenticator,
        scheduled: ScheduledEvents,
        deliveries: DeliveryLog,
        processed: ProcessedEvents,
        parked: ParkedEvents,
        broadcasts: Broadcasts,
    ) -> None:
        self._authenticator = authenticator
        self._scheduled = scheduled
        self._deliveries = deliveries
        self._processed = processed
        self._parked = parked
        self._broadcasts = broadcasts

    def add_to(self, blueprint: Blueprint) -> None:
        """Add the calls to the blueprint of `make_blueprint`."""
        add_routes(
            (blueprint.get("/notifications/<event_id:str>"), self.get_sent),
            (blueprint.delete("/notifications/<event_id:str>"), self.cancel),
        )

    @schemas.described(
        "Follow a notification",
        "Takes the id from the hub's answer. Returns whether the notification is scheduled or processed, "
        "and its deliveries.",
        {200: schemas.Answer("The status", Followed)},
        errors=(400, 401, 403, 404, 503),
    )
    async def get_sent(self, request: Request, event_id: str) -> HTTPResponse:
        """The state of an event that the caller sent, and of its deliveries."""
        service = await self._authenticator.service(request, SEND)
        event_id = _event_id(event_id)
        parked = await self._parked.find(event_id)
        if parked is not None and parked.sender == str(service.user_id):
            status = "parked" if parked.rejected is None else "failed"
            return json_answer(Followed(event_id, status, [], reason=parked.rejected))
        stored_as, scheduled = await self._find(event_id, service.user_id)
        found = await self._deliveries.find(MAX_DELIVERIES, event_id=stored_as)
        listed = [FollowedDelivery(each.id, each.channel, each.status, each.reason) for each in found]
        begun = await self._broadcasts.get(stored_as)
        broadcast = None if begun is None else begun.state
        if scheduled is None:
            return json_answer(Followed(event_id, "processed", listed, broadcast=broadcast))
        status = "processed" if scheduled.status is ScheduledState.SENT else scheduled.status.value
        return json_answer(Followed(event_id, status, listed, scheduled.send_at, scheduled.reason, broadcast))

    @schemas.described(
        "Cancel a scheduled notification",
        "Possible until its `send_at`.",
        {200: schemas.Answer("Cancelled: it will not be sent", Followed)},
        errors=(400, 401, 403, 404, 409, 503),
    )
    async def cancel(self, request: Request, event_id: str) -> HTTPResponse:
        """Cancel a scheduled event; 409 if it is too late."""
        service = await self._authenticator.service(request, SEND)
        event_id = _event_id(event_id)
        stored_as, scheduled = await self._find(event_id, service.user_id)
        cancelled = await self._scheduled.cancel(stored_as, service.user_id)
        if cancelled:
            scheduled = await self._scheduled.get(stored_as)
        if cancelled and scheduled is not None:
            return json_answer(Followed(event_id, scheduled.status.value, [], scheduled.send_at))
        raise Problem(
            HTTPStatus.CONFLICT,
            "not_cancellable",
            N_(
                "The notification can no longer be cancelled: it was sent, is being sent, failed, or is "
                "already cancelled."
            ),
        )

    async def _find(self, event_id: str, service: str) -> tuple[str, Scheduled | None]:
        """The id under which this service's event is stored, with what was scheduled; None if it was
        processed at once. What came over a broker is anybody's.

        Raises `Problem` when there is no such event, or it is another service's.
        """
        names = (scoped_id(event_id, service), event_id)
        processed = await self._processed.identities(names)
        for name in names:
            found = await self._scheduled.get(name)
            if found is not None and found.is_of(service):
                return name, found
            if name in processed and processed[name].sender in (None, service):
                return name, None
        raise _not_found()


def events_of_test(user_id: str, channels: Iterable[str]) -> list[bytes]:
    """The events of a test: one to the user over each channel."""
    test = {"user_id": user_id, "title": "Test", "message": "This is a test of the notification hub."}
    return [msgspec.json.encode({"type": channel, **test}) for channel in channels]


def _event_id(quoted: str) -> str:
    """The id in a path. Raises `Problem` for one with NUL: no event has it, and Postgres rejects it."""
    event_id = unquote(quoted)
    if "\0" in event_id:
        raise _not_found()
    return event_id


def rejected(error: InvalidEvent) -> Problem:
    """The answer to an event that can't be processed."""
    if error.reason == NO_SUCH_EVENT:
        return Problem(
            HTTPStatus.NOT_FOUND, NO_SUCH_EVENT, N_("The event was rejected: %(why)s"), why=str(error)
        )
    if error.reason == CONFLICT:
        return Problem(HTTPStatus.CONFLICT, CONFLICT, N_("The event was rejected: %(why)s"), why=str(error))
    return Problem(
        HTTPStatus.BAD_REQUEST, error.reason, N_("The event was rejected: %(why)s"), why=str(error)
    )


def _outcome_unknown(event_id: str) -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "not_known_in_time",
        N_(
            "The event was not stored within the time limit and may still be stored. Retry with event_id "
            "%(event_id)s or the same Idempotency-Key: it is then processed once."
        ),
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
        event_id=event_id,
    )


def _not_found() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "no_such_event", N_("No sent or scheduled event has this id."))
