"""The service that sent mails: POST /notify/email and /notify/bulk."""

from __future__ import annotations

import asyncio
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.bodies import bad_body, decoded_body, json_answer, json_body
from app.api.compat.context import CompatContext, CompatService
from app.api.compat.fields import refuse_decisive
from app.api.openapi import schema_of
from app.api.parameters import bad_parameter, choice
from app.api.routes import Routes, add_routes
from app.api.sending import MAX_BULK_EVENTS, SEND, BulkSent, NotifyEmail, Sent
from app.domain.deliveries import Delivery, Status
from app.domain.errors import Unavailable
from app.runtime.backoff import Backoff
from app.texts.i18n import N_

NAME = "mail-service"
POLL = Backoff(first=0.02, cap=0.5)
NOT_SENT = "the mail was not sent: no mail server is configured (SMTP_HOST)"
WAIT_QUERY = {
    "wait": {
        "type": "string",
        "enum": ["sent"],
        "description": "answer with the outcome, if it is known within `HTTP_WAIT` seconds",
    }
}


class MailRow(msgspec.Struct, kw_only=True):
    """A mail and its outcome. One that is `pending` was not sent in time, and `follow` has its status."""

    id: int
    email: str
    subject: str
    text: str | None
    status: Literal["sent", "failed", "pending"]
    sent_at: Annotated[datetime, Meta(tz=True)] | None
    error_message: str | None
    follow: str | UnsetType = UNSET


SentOrRow = Annotated[msgspec.Raw, Meta(extra_json_schema={"anyOf": [schema_of(Sent), schema_of(MailRow)]})]


class OldMail(NotifyEmail, forbid_unknown_fields=False):
    """A mail that a service has composed: `text`, `html` or both. Other fields are left out. An empty text is
    treated as missing; with an empty subject the first line of the text is the subject.
    """

    subject: Annotated[str, Meta(max_length=200)]
    text: Annotated[str, Meta(max_length=10_000)] | None = None
    html: Annotated[str, Meta(max_length=200_000)] | None = None

    def __post_init__(self) -> None:
        self.text, self.html = self.text or None, self.html or None
        NotifyEmail.__post_init__(self)


class BulkMail(msgspec.Struct, omit_defaults=True):
    """A mail in a list; what it leaves out, the body around the list says."""

    email: str
    subject: str | None = None
    text: str | None = None
    html: str | None = None


Recipients = Annotated[list[str | BulkMail], Meta(min_length=1, max_length=MAX_BULK_EVENTS)]


class BulkMails(msgspec.Struct):
    """Mails in `notifications` or `emails`: whole ones, or addresses that get the same mail."""

    notifications: Recipients | None = None
    emails: Recipients | None = None
    subject: str | None = None
    text: str | None = None
    html: str | None = None

    def __post_init__(self) -> None:
        """msgspec passes the text of a ValueError on to the sender."""
        if (self.notifications is None) == (self.emails is None):
            raise ValueError("the body must list the mails in `notifications` or in `emails`")

    def events(self) -> list[bytes]:
        """The messages that send them."""
        return [
            self._event(each, number) for number, each in enumerate(self.notifications or self.emails or [])
        ]

    def _event(self, given: str | BulkMail, number: int) -> bytes:
        mail = BulkMail(given) if isinstance(given, str) else given
        own = bool(mail.text or mail.html)
        fields = {
            "email": mail.email,
            "subject": self.subject if mail.subject is None else mail.subject,
            "text": mail.text if own else self.text,
            "html": mail.html if own else self.html,
        }
        try:
            return msgspec.convert({k: v for k, v in fields.items() if v is not None}, OldMail).event()
        except msgspec.ValidationError as error:
            raise bad_body(f"mail {number}: {error}") from None


_BULK: msgspec.json.Decoder[list[str | BulkMail] | BulkMails] = msgspec.json.Decoder(Recipients | BulkMails)


class MailService:
    """Its calls, over the hub's own."""

    def __init__(self, context: CompatContext) -> None:
        self._context = context

    def blueprint(self) -> Blueprint:
        """The calls at their old paths."""
        blueprint = Routes(NAME, url_prefix="/notify")
        add_routes(
            (blueprint.post("/email"), self.mail_one),
            (blueprint.post("/bulk"), self.mail_many),
        )
        return blueprint

    @schemas.described(
        "Send a mail",
        "For services whose token has the scope `notifications:send`. With `wait=sent` the answer has the "
        "outcome; if the outcome is not known in time, the answer is 202 and the hub keeps trying to send.",
        {
            200: schemas.Answer("The outcome, with `wait=sent`", MailRow),
            202: schemas.Answer("Stored; it will be sent", SentOrRow, types=(Sent, MailRow)),
        },
        errors=(400, 401, 403, 409, 422, 503),
        query=WAIT_QUERY,
        body=OldMail,
        idempotent=True,
    )
    async def mail_one(self, request: Request) -> HTTPResponse:
        """Send a mail. With `wait`, the answer follows the first attempt."""
        end = asyncio.get_running_loop().time() + self._context.wait
        service = await self._context.authenticator.service(request, SEND)
        wanted = choice(request, "wait", ("sent",))
        refuse_decisive(request, OldMail.__struct_fields__)
        mail = json_body(request, OldMail)
        stored = await self._context.sending.send(request, service.user_id, mail.event())
        if wanted is None:
            return stored
        sent = msgspec.json.decode(stored.body or b"", type=Sent)
        delivery = await self._outcome(sent.id, end)
        return stored if delivery is None else _answer(mail, delivery, sent.follow)

    @schemas.described(
        "Send many mails",
        "All are stored before the hub answers. The body is a list of mails, or an object with the list.",
        {202: schemas.Answer("The result of each", BulkSent)},
        errors=(400, 401, 403, 409, 422, 503),
        body=Recipients | BulkMails,
        idempotent=True,
    )
    async def mail_many(self, request: Request) -> HTTPResponse:
        """Send mails, each accepted or rejected separately."""
        service = await self._context.authenticator.service(request, SEND)
        if "wait" in request.args:
            raise bad_parameter(N_("`wait` is for POST /notify/email only."))
        refuse_decisive(request, BulkMail.__struct_fields__)
        events = _bulk(request).events()
        return await self._context.sending.send_many_of(request, service.user_id, events)

    async def _outcome(self, event_id: str, end: float) -> Delivery | None:
        """The delivery of a mail when it is final, or as it is at `end`; None if it cannot be read."""
        loop = asyncio.get_running_loop()
        for pause in POLL.delays():
            try:
                found = await self._context.deliveries.find(1, event_id=event_id)
            except Unavailable:  # the mail is stored: an error would invite sending it again
                return None
            if not found or found[0].finished_at is not None or loop.time() >= end:
                break
            await asyncio.sleep(min(pause, max(0.0, end - loop.time())))
        return found[0] if found else None


def _bulk(request: Request) -> BulkMails:
    """The mails of a body that is a list of them, or an object around the list."""
    body = decoded_body(request, _BULK)
    return body if isinstance(body, BulkMails) else BulkMails(notifications=body)


def _answer(mail: NotifyEmail, delivery: Delivery, follow: str) -> HTTPResponse:
    row = MailRow(
        id=delivery.number,
        email=mail.email,
        subject=mail.subject,
        text=mail.text,
        status="pending",
        sent_at=None,
        error_message=delivery.error or delivery.reason,
    )
    if delivery.finished_at is None:
        row.follow = follow
        return json_answer(row, HTTPStatus.ACCEPTED, {"Location": follow})
    if delivery.status in (Status.SENT, Status.DELIVERED):
        row.status, row.sent_at, row.error_message = "sent", delivery.finished_at, None
    else:
        row.status = "failed"
        row.error_message = NOT_SENT if delivery.status is Status.SIMULATED else row.error_message
    return json_answer(row)


SERVICE = CompatService(
    NAME,
    "The paths of the mail service that the hub replaces.",
    ("/notify",),
    lambda context: MailService(context).blueprint(),
)
