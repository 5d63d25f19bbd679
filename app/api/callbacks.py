"""The callbacks of providers: what became of mails and SMS. Each is checked by its signature."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from time import time
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec
from cachetools import TTLCache
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.errors import Problem
from app.api.routes import Routes, add_routes
from app.auth.callback_signatures import MAX_AGE_SECONDS, mailgun_signed, sendgrid_signed, twilio_signed
from app.auth.sns import SnsVerifier
from app.domain.delivery_events import DeliveryReport
from app.outbox.callbacks import of_mailgun, of_sendgrid, of_ses, of_twilio
from app.outbox.email.bounces import read_returned
from app.outbox.email.return_path import ReturnPath
from app.store.delivery_events import DeliveryEventStore
from app.texts.i18n import N_

PATH = "/callbacks"
Key = TypeVar("Key")
Reports = Sequence[DeliveryReport] | None
"""What a call says; None if it isn't the provider's."""
MAX_FORM_FIELDS_COUNT = 100
MAX_TOKENS_COUNT = 10_000
_DONE = {204: schemas.Answer("Recorded, or nothing that the hub keeps", None)}


class TwilioKeys(NamedTuple):
    """The auth token of the account, and the URL that Twilio calls."""

    account_sid: str
    auth_token: str
    url: str


class BounceKeys(NamedTuple):
    """The token of whoever passes mails on, and what the addresses of deliveries are read with."""

    token: str
    return_path: ReturnPath


class CallbackKeys(NamedTuple):
    """What the signatures of each provider are checked with; None: its callbacks aren't expected."""

    sendgrid: EllipticCurvePublicKey | None
    mailgun: str | None
    sns: SnsVerifier | None
    twilio: TwilioKeys | None
    bounces: BounceKeys | None


class MailgunSignature(msgspec.Struct):
    """What Mailgun signs: `signature` is the HMAC of `timestamp` and `token`."""

    timestamp: str
    token: str
    signature: str


class MailgunCallback(msgspec.Struct, rename="kebab"):
    """A webhook of Mailgun: one delivery event."""

    signature: MailgunSignature
    event_data: dict[str, object]


class CallbackResource:
    """The calls under `PATH`. A call that can't be recorded gets 503, and its provider repeats it."""

    def __init__(self, authenticator: Authenticator, reports: DeliveryEventStore, keys: CallbackKeys) -> None:
        self._authenticator = authenticator
        self._reports = reports
        self._keys = keys
        # Mailgun signs no content: whoever has a signature could send anything with it
        self._used: TTLCache[str, bool] = TTLCache(MAX_TOKENS_COUNT, 2 * MAX_AGE_SECONDS)

    def blueprint(self) -> Blueprint:
        """The calls at `PATH`."""
        blueprint = Routes("callbacks", url_prefix=PATH)
        add_routes(
            (blueprint.post("/sendgrid"), self.sendgrid),
            (blueprint.post("/mailgun"), self.mailgun),
            (blueprint.post("/ses"), self.ses),
            (blueprint.post("/twilio"), self.twilio),
            (blueprint.post("/bounces"), self.bounces),
        )
        return blueprint

    @schemas.described(
        "Event Webhook of SendGrid",
        "Signed by ECDSA, checked with SENDGRID_WEBHOOK_KEY.",
        _DONE,
        errors=(403, 404, 503),
        body=list[dict[str, Any]],
    )
    async def sendgrid(self, request: Request) -> HTTPResponse:
        """Delivery events of SendGrid, signed with ECDSA."""
        return await self._handle(request, self._keys.sendgrid, _of_sendgrid)

    @schemas.described(
        "Webhook of Mailgun",
        "Signed by HMAC, checked with MAILGUN_WEBHOOK_KEY. Each signature is accepted once.",
        _DONE,
        errors=(403, 404, 503),
        body=dict[str, Any],
    )
    async def mailgun(self, request: Request) -> HTTPResponse:
        """One delivery event of Mailgun. The token of a signature is accepted once."""
        used: list[str] = []

        async def read(request: Request, key: str) -> Reports:
            given = _mailgun_callback(request.body, key)
            if given is None or given.signature.token in self._used:
                return None
            used.append(given.signature.token)
            return of_mailgun(given.event_data)

        answer = await self._handle(request, self._keys.mailgun, read)
        self._used.update(dict.fromkeys(used, True))  # not before: Mailgun repeats what wasn't recorded
        return answer

    @schemas.described(
        "Notification of Amazon SES, over SNS",
        "Signed by SNS, and accepted from the topics of SES_TOPIC_ARNS. Their subscription is confirmed.",
        _DONE,
        errors=(403, 404, 503),
        body=dict[str, Any],
    )
    async def ses(self, request: Request) -> HTTPResponse:
        """A notification of Amazon SES, or the confirmation of a subscription, over SNS."""
        return await self._handle(request, self._keys.sns, _of_ses)

    @schemas.described(
        "Status callback of Twilio",
        "Signed by HMAC over PUBLIC_URL and the form, checked with TWILIO_AUTH_TOKEN.",
        _DONE,
        errors=(403, 404, 503),
        body=dict[str, str],
        media_type="application/x-www-form-urlencoded",
    )
    async def twilio(self, request: Request) -> HTTPResponse:
        """The status of an SMS, as Twilio reports it in a form."""
        return await self._handle(request, self._keys.twilio, _of_twilio)

    @schemas.described(
        "A mail that a mail server sent back",
        "The whole mail, as it arrived at the address of MAIL_RETURN_PATH. It is about the delivery whose "
        "signed address is in its headers or in `recipient`; any other mail changes nothing.",
        _DONE,
        errors=(403, 404, 503),
        query=schemas.BOUNCES_QUERY,
        body=str,
        media_type="message/rfc822",
    )
    async def bounces(self, request: Request) -> HTTPResponse:
        """A report of failed delivery, as a mail server received it."""
        return await self._handle(request, self._keys.bounces, _of_bounce)

    async def _handle(
        self, request: Request, key: Key | None, read: Callable[[Request, Key], Awaitable[Reports]]
    ) -> HTTPResponse:
        """`read` returns None when the key says that the call isn't the provider's."""
        if key is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                "callbacks_off",
                N_("Callbacks of this provider are not set up. See the how-to on bounces."),
            )
        await self._authenticator.signed(request)
        reports = await read(request, key)
        if reports is None:
            self._authenticator.refused(request)
            raise Problem(HTTPStatus.FORBIDDEN, "bad_signature", N_("The signature is not valid."))
        if reports:
            await self._reports.record(reports)
        return HTTPResponse(status=HTTPStatus.NO_CONTENT)


async def _of_sendgrid(request: Request, key: EllipticCurvePublicKey) -> Reports:
    signature = request.headers.get("X-Twilio-Email-Event-Webhook-Signature", "")
    timestamp = request.headers.get("X-Twilio-Email-Event-Webhook-Timestamp", "")
    signed = sendgrid_signed(key, signature, timestamp, request.body, time())
    return of_sendgrid(request.body) if signed else None


def _mailgun_callback(body: bytes, key: str) -> MailgunCallback | None:
    try:
        given = msgspec.json.decode(body, type=MailgunCallback)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    by = given.signature
    return given if mailgun_signed(key, by.signature, by.timestamp, by.token, time()) else None


async def _of_ses(request: Request, sns: SnsVerifier) -> Reports:
    message = await sns.read(request.body)
    if message is None:
        return None
    if message.type == "SubscriptionConfirmation":
        return () if await sns.confirm(message) else None
    return of_ses(message.message)


async def _of_twilio(request: Request, keys: TwilioKeys) -> Reports:
    form = _form(request.body)
    query = f"?{request.query_string}" if request.query_string else ""
    signature = request.headers.get("X-Twilio-Signature", "")
    values = dict(form)
    signed = twilio_signed(keys.auth_token, signature, keys.url + query, form)
    if not signed or values.get("AccountSid") != keys.account_sid:
        return None
    return of_twilio(request.args.get("delivery"), values, datetime.now(UTC))


async def _of_bounce(request: Request, keys: BounceKeys) -> Reports:
    given = request.headers.get("Authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {keys.token}".encode()):
        return None
    # A + that nobody encoded arrives as a blank, and these addresses have no blanks.
    recipients = [each.replace(" ", "+") for each in request.args.getlist("recipient") or []]
    now = datetime.now(UTC)
    answer = await asyncio.to_thread(read_returned, request.body, keys.return_path, now, recipients)
    return answer.reports


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS_COUNT)
    except ValueError:  # no UTF-8, or too many
        return []
