"""Changes of notifications that a service published before: update and retract (052)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import decoded_body
from app.api.parameters import bad_parameter, given, text
from app.api.routes import Routes, add_routes
from app.api.sending import SEND, SendingResource, Sent, rejected
from app.domain.details import MAX_THREAD_KEY_CHARS, Actions, Actor, DetailUrl, Icon, Image, Severity
from app.domain.errors import InvalidEvent
from app.domain.events import MAX_EVENT_ID_CHARS
from app.texts.i18n import N_
from handlers.amendments import RetractionRequested, UpdateRequested
from handlers.details import GIVEN_FIELDS, check
from handlers.messages import MAX_MESSAGE_CHARS, Category

_ERRORS = (400, 401, 403, 404, 409, 422, 503)


class NotificationUpdate(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is new of the notifications; what isn't given stays. `actions: []` removes the buttons.

    With `template_code` the texts are made from `data`, in the language of each receiver.
    """

    event_id: Annotated[str, Meta(min_length=1, max_length=MAX_EVENT_ID_CHARS)] | None = None
    title: Annotated[str, Meta(max_length=MAX_MESSAGE_CHARS)] | None = None
    message: Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE_CHARS)] | None = None
    template_code: Annotated[str, Meta(max_length=100)] | None = None
    data: dict[str, Any] | None = None
    locale: Annotated[str, Meta(max_length=35)] | None = None
    category: Category | None = None
    severity: Severity | None = None
    url: DetailUrl | None = None
    actions: Actions | None = None
    icon: Icon | None = None
    image: Image | None = None
    actor: Actor | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    unread: bool = False


_update = msgspec.json.Decoder(NotificationUpdate)


class AmendingResource:
    """The calls that change what was published, for services whose token has the scope `notifications:send`.
    Each is an event, so it is stored, pushed and deduplicated as one.
    """

    def __init__(self, authenticator: Authenticator, sending: SendingResource, image_hosts: Any = ()) -> None:
        """`image_hosts` are those that the images may come from."""
        self._authenticator = authenticator
        self._sending = sending
        self._image_hosts = image_hosts

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`."""
        blueprint = Routes("amending", url_prefix=prefix)
        add_routes(
            (blueprint.patch("/notifications"), self.update),
            (blueprint.delete("/notifications"), self.retract),
        )
        return blueprint

    @schemas.described(
        "Update notifications that you published",
        "Those of an event (`event_id`), or the newest of a thread (`thread_key`, with `user_id`). They keep "
        "their `id` and `seq`, and are unread again only with `unread`. Devices get `notification_updated`. "
        "404 if no event of yours with that id was processed.",
        {202: schemas.Answer("Stored", Sent)},
        errors=_ERRORS,
        query=schemas.AMENDING_QUERY,
        body=NotificationUpdate,
        idempotent=True,
    )
    async def update(self, request: Request) -> HTTPResponse:
        """An event that puts something newer in the place of what was published."""
        service = await self._authenticator.service(request, SEND)
        body = decoded_body(request, _update)
        new: dict[str, Any] = msgspec.to_builtins(body)
        if body.actions == ():
            new["actions"] = []
        details = {name: value for name, value in new.items() if name in GIVEN_FIELDS}
        try:
            check(details, self._image_hosts)
        except InvalidEvent as error:
            raise rejected(error) from None
        event = new | _target(request) | {"event_type": UpdateRequested.event_type}
        return await self._sending.send(request, service.user_id, msgspec.json.encode(event))

    @schemas.described(
        "Retract notifications that you published",
        "Those of an event (`event_id`), or all of a thread (`thread_key`, with `user_id`): they are in no "
        "inbox and no archive any more, and what is still to be sent of them is not sent. Devices get "
        "`notification_retracted`. 404 if no event of yours with that id was processed.",
        {202: schemas.Answer("Stored", Sent)},
        errors=_ERRORS,
        query=schemas.AMENDING_QUERY,
        idempotent=True,
    )
    async def retract(self, request: Request) -> HTTPResponse:
        """An event that takes back what was published."""
        service = await self._authenticator.service(request, SEND)
        event = _target(request) | {"event_type": RetractionRequested.event_type}
        return await self._sending.send(request, service.user_id, msgspec.json.encode(event))


def _target(request: Request) -> dict[str, Any]:
    """What the query names, as an event does."""
    original = text(request, "event_id", MAX_EVENT_ID_CHARS)
    thread = text(request, "thread_key", MAX_THREAD_KEY_CHARS)
    users = given(request, "user_id")
    if (original is None) == (thread is None):
        raise bad_parameter(N_("Give either `event_id` or `thread_key`."))
    if thread is not None and not users:
        raise bad_parameter(N_("With `thread_key`, `user_id` is required."))
    named = {"original_event_id": original, "thread_key": thread, "receivers": users or None}
    return {name: value for name, value in named.items() if value is not None}
