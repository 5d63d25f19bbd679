"""The service that took one message to one person: POST /notifications and GET /users/{id}/notifications."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.bodies import json_body
from app.api.compat.context import CompatContext, CompatService
from app.api.compat.fields import refuse_decisive
from app.api.compat.rows import PAGED_QUERY, OldNotification, window, with_channel
from app.api.docs import Reference
from app.api.errors import Problem, forbidden
from app.api.routes import Routes, add_routes
from app.api.sending import SEND, Sent
from app.domain.channels import INAPP
from app.domain.user_ids import foreign_id, parse_uuid

NAME = "message-service"


class OldMessage(msgspec.Struct, omit_defaults=True):
    """A message to one person. Without a title, the first line of the message is the subject of a mail. Other
    fields, and a `user_id` that names nobody, are left out.
    """

    type: Annotated[str, Meta(examples=["email"], description="email, sms or in-app")]
    message: Annotated[str, Meta(min_length=1, max_length=10_000, examples=["Hello!"])]
    to: Annotated[str, Meta(max_length=320, examples=["user@example.com"])] | None = None
    user_id: Annotated[Any, Meta(examples=[1], description="a number or a string")] = None
    title: Annotated[str, Meta(max_length=200)] | None = None
    subject: Annotated[str, Meta(max_length=200, description="the same as `title`")] | None = None

    def event(self) -> bytes:
        """The message that the hub takes."""
        channel = self.type.lower().replace("-", "").replace("_", "")
        user_id = foreign_id(self.user_id) or parse_uuid(self.user_id)
        # Clients give an address with every message; the inbox is that of the user.
        by_user = channel == INAPP and user_id is not None and parse_uuid(self.to) is None
        message = {
            "type": channel,
            "message": self.message,
            "to": None if by_user else self.to or None,
            "user_id": user_id,
            "title": self.title or self.subject,
        }
        return msgspec.json.encode({name: value for name, value in message.items() if value is not None})


class MessageService:
    """Its calls, over the hub's own."""

    def __init__(self, context: CompatContext) -> None:
        self._context = context

    def blueprint(self) -> Blueprint:
        """The calls at their old paths."""
        blueprint = Routes(NAME)
        add_routes(
            (blueprint.post("/notifications"), self.send_message),
            (blueprint.get("/users/<old_user_id:str>/notifications"), self.list_messages),
        )
        return blueprint

    @schemas.described(
        "Send a message",
        "To one person over one channel, for services with the scope `notifications:send`. The hub "
        "answers when it is stored; `follow` says where its status is.",
        {202: schemas.Answer("Stored; it will be sent", Sent)},
        errors=(400, 401, 403, 409, 422, 503),
        body=OldMessage,
        idempotent=True,
    )
    async def send_message(self, request: Request) -> HTTPResponse:
        """Store a message of an authenticated service."""
        service = await self._context.authenticator.service(request, SEND)
        refuse_decisive(request, OldMessage.__struct_fields__)
        event = json_body(request, OldMessage).event()
        return await self._context.sending.send(request, service.user_id, event)

    @schemas.described(
        "List the user's notifications, newest first",
        "The inbox of the user whose token it is. An id that is not a user id of the hub, such as 1, also "
        "means that user; the id of another user is refused.",
        {200: schemas.Answer("The notifications", list[OldNotification])},
        errors=(400, 401, 403, 503),
        query=PAGED_QUERY,
    )
    async def list_messages(self, request: Request, old_user_id: str) -> HTTPResponse:
        """The caller's notifications, by the user id that the replaced service used."""
        authenticator = self._context.authenticator
        caller = await authenticator.caller(request)
        try:
            named = authenticator.user_in_path(old_user_id)
        except Problem:  # an id of the service that was replaced: the token says who it is
            named = caller
        if named != caller:
            raise forbidden()
        return await self._context.notifications.list_of(request, caller, window(request), with_channel)


SERVICE = CompatService(
    NAME,
    "The paths of the message service that the hub replaces: it sent single messages and listed a user's "
    "notifications.",
    ("/notifications", "/users"),
    lambda context: MessageService(context).blueprint(),
    Reference("/openapi.json", "/docs", "/redoc", NAME),
)
