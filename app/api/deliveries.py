"""The log of deliveries, for services: their status and attempts, and sending them again."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import Meta
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import json_answer
from app.api.errors import Problem
from app.api.parameters import bad_parameter, choice, flag, moment, number, path_uuid, text, uuid
from app.api.routes import Routes, add_routes
from app.domain.deliveries import Attempt, Delivery, Status
from app.domain.delivery_events import DeliveryEvent
from app.domain.user_ids import MAX_FOREIGN_ID_CHARS, parse_uuid
from app.store.ports import DeliveryLog
from app.texts.i18n import N_

READ, RESEND = "deliveries:read", "deliveries:resend"
DEFAULT_PAGE_ROWS, MAX_DELIVERY_ROWS = 100, 1000


class DeliveryWithAttempts(Delivery, frozen=True):
    """One message to one address over one channel, with its attempts and what providers reported."""

    tries: Annotated[list[Attempt], Meta(description="each attempt")]
    events: Annotated[list[DeliveryEvent], Meta(description="what providers reported of it")]


class Resent(msgspec.Struct):
    """The answer to a resend."""

    id: UUID
    status: Status


class DeliveryResource:
    """The calls of services whose token's `scope` names them."""

    def __init__(self, authenticator: Authenticator, store: DeliveryLog, channels: Sequence[str]) -> None:
        self._authenticator = authenticator
        self._store = store
        self._channels = channels

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`/deliveries."""
        blueprint = Routes("deliveries", url_prefix=f"{prefix}/deliveries")
        add_routes(
            (blueprint.get("/"), self.list_deliveries),
            (blueprint.get("/<delivery_id:str>"), self.get_delivery),
            (blueprint.post("/<delivery_id:str>/resend"), self.resend),
        )
        return blueprint

    @schemas.described(
        "List deliveries, newest first",
        'For services with the scope `deliveries:read`. `Link: rel="next"` has the next page.',
        {200: schemas.Answer("The deliveries", list[Delivery])},
        errors=(400, 401, 403, 503),
        query=schemas.DELIVERIES_QUERY,
    )
    async def list_deliveries(self, request: Request) -> HTTPResponse:
        """A page of deliveries, newest first, by status, channel, event or user."""
        await self._authenticator.service(request, READ)
        limit = number(request, "limit", 1, MAX_DELIVERY_ROWS) or DEFAULT_PAGE_ROWS
        wanted = {
            **_user(request),
            "event_id": text(request, "event_id", 200),
            "status": choice(request, "status", [status.value for status in Status]),
            "channel": choice(request, "channel", self._channels),
            "since": moment(request, "since"),
            "until": moment(request, "until"),
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        before = uuid(request, "before")
        found = await self._store.find(limit + 1, before, **given)
        if not found and before is not None and await self._store.get(before) is None:
            raise bad_parameter(N_("`before` must be the id of an existing delivery."))
        headers = {}
        if len(found) > limit:
            names = {"foreign_user_id": "user_id"}  # as the query has it
            query = {names.get(name, name): str(value) for name, value in given.items()}
            query["limit"] = str(limit)
            query["before"] = str(found[limit - 1].id)
            headers["Link"] = f'<{request.path}?{urlencode(query)}>; rel="next"'
        return json_answer(found[:limit], headers=headers)

    @schemas.described(
        "A delivery with its attempts",
        "For services with the scope `deliveries:read`.",
        {200: schemas.Answer("The delivery", DeliveryWithAttempts)},
        errors=(400, 401, 403, 404, 503),
    )
    async def get_delivery(self, request: Request, delivery_id: str) -> HTTPResponse:
        """One delivery with its attempts and what providers reported."""
        await self._authenticator.service(request, READ)
        wanted = path_uuid("id", delivery_id)
        found = await self._store.get(wanted)
        if found is None:
            raise _not_found()
        delivery, attempts = found
        events = await self._store.events(wanted)
        values = msgspec.structs.asdict(delivery)
        return json_answer(DeliveryWithAttempts(**values, tries=attempts, events=events))

    @schemas.described(
        "Send a delivery again",
        "For services with the scope `deliveries:resend`. A one-time code cannot be resent: the hub erases "
        "it after use. A delivery that was sent is resent only with `force=true`.",
        {202: schemas.Answer("Queued again", Resent)},
        errors=(400, 401, 403, 404, 409, 503),
        query=schemas.RESEND_QUERY,
    )
    async def resend(self, request: Request, delivery_id: str) -> HTTPResponse:
        """Schedule a delivery again, now; 409 if it was sent, unless `force=true`."""
        await self._authenticator.service(request, RESEND)
        wanted = path_uuid("id", delivery_id)
        force = flag(request, "force")
        if await self._store.resend(wanted, force=force):
            return json_answer(Resent(wanted, Status.PENDING), HTTPStatus.ACCEPTED)
        found = await self._store.get(wanted)
        if found is None:
            raise _not_found()
        was_sent = found[0].status in (Status.SENT, Status.DELIVERED)
        if was_sent and not force and not found[0].template.startswith("otp_"):
            raise Problem(
                HTTPStatus.CONFLICT,
                "already_sent",
                N_("The delivery was sent. To send it a second time, add `force=true` to the query."),
            )
        raise Problem(
            HTTPStatus.CONFLICT,
            "not_resendable",
            N_(
                "The delivery cannot be resent: it is in progress, it was suppressed, or its one-time "
                "code was erased."
            ),
        )


def _user(request: Request) -> dict[str, object]:
    """The column that holds the user id of the query, and its value."""
    given = text(request, "user_id", MAX_FOREIGN_ID_CHARS)
    found = parse_uuid(given)
    return {"foreign_user_id": given} if found is None else {"user_id": found}


def _not_found() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "no_such_delivery", N_("No delivery has this id."))
