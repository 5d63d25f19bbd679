"""The callbacks of providers: what became of mails and SMS. Each is checked by its signature."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from time import time
from typing import Any, NamedTuple, NoReturn, TypeVar
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
from app.store.delivery_events import DeliveryEventStore
from app.texts.i18n import N_

PATH = "/callbacks"
Key = TypeVar("Key")
MAX_FORM_FIELDS_COUNT = 100
MAX_TOKENS_COUNT = 10_000
_DONE = {204: schemas.Answer("Recorded, or nothing that the hub keeps", None)}


class TwilioKeys(NamedTuple):
    """The auth token of the account, and the URL that Twilio calls."""

    account_sid: str
    auth_token: str
    url: str


class CallbackKeys(NamedTuple):
    """What the signatures of each provider are checked with; None: its callbacks aren't expected."""

    sendgrid: EllipticCurvePublicKey | None
    mailgun: str | None
    sns: SnsVerifier | None
    twilio: TwilioKeys | None


class MailgunSignature(msgspec.Struct):
    timestamp: str
    token: str
    signature: str


class MailgunCallback(msgspec.Struct, rename="kebab"):
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
        key = _expected(self._keys.sendgrid)
        await self._authenticator.signed(request)
        signature = request.headers.get("X-Twilio-Email-Event-Webhook-Signature", "")
        timestamp = request.headers.get("X-Twilio-Email-Event-Webhook-Timestamp", "")
        if not sendgrid_signed(key, signature, timestamp, request.body, time()):
            self._refuse(request)
        return await self._record(of_sendgrid(request.body))

    @schemas.described(
        "Webhook of Mailgun",
        "Signed by HMAC, checked with MAILGUN_WEBHOOK_KEY. Each signature is accepted once.",
        _DONE,
        errors=(403, 404, 503),
        body=dict[str, Any],
    )
    async def mailgun(self, request: Request) -> HTTPResponse:
        key = _expected(self._keys.mailgun)
        await self._authenticator.signed(request)
        try:
            given = msgspec.json.decode(request.body, type=MailgunCallback)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._refuse(request)
        by = given.signature
        if by.token in self._used or not mailgun_signed(key, by.signature, by.timestamp, by.token, time()):
            self._refuse(request)
        answer = await self._record(of_mailgun(given.event_data))
        self._used[by.token] = True  # not before: Mailgun repeats what wasn't recorded
        return answer

    @schemas.described(
        "Notification of Amazon SES, over SNS",
        "Signed by SNS, and accepted from the topics of SES_TOPIC_ARNS. Their subscription is confirmed.",
        _DONE,
        errors=(403, 404, 503),
        body=dict[str, Any],
    )
    async def ses(self, request: Request) -> HTTPResponse:
        sns = _expected(self._keys.sns)
        await self._authenticator.signed(request)
        message = await sns.read(request.body)
        if message is None:
            self._refuse(request)
        if message.type == "SubscriptionConfirmation":
            if not await sns.confirm(message):
                self._refuse(request)
            return await self._record(())
        return await self._record(of_ses(message.message))

    @schemas.described(
        "Status callback of Twilio",
        "Signed by HMAC over PUBLIC_URL and the form, checked with TWILIO_AUTH_TOKEN.",
        _DONE,
        errors=(403, 404, 503),
        body=dict[str, str],
        media_type="application/x-www-form-urlencoded",
    )
    async def twilio(self, request: Request) -> HTTPResponse:
        keys = _expected(self._keys.twilio)
        await self._authenticator.signed(request)
        form = _form(request.body)
        query = f"?{request.query_string}" if request.query_string else ""
        signature = request.headers.get("X-Twilio-Signature", "")
        signed = twilio_signed(keys.auth_token, signature, keys.url + query, form)
        values = dict(form)
        if not signed or values.get("AccountSid") != keys.account_sid:
            self._refuse(request)
        return await self._record(of_twilio(request.args.get("delivery"), values, datetime.now(UTC)))

    async def _record(self, reports: Sequence[DeliveryReport]) -> HTTPResponse:
        if reports:
            await self._reports.record(reports)
        return HTTPResponse(status=HTTPStatus.NO_CONTENT)

    def _refuse(self, request: Request) -> NoReturn:
        self._authenticator.refused(request)
        raise Problem(HTTPStatus.FORBIDDEN, "bad_signature", N_("The signature is not valid."))


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS_COUNT)
    except ValueError:  # no UTF-8, or too many
        return []


def _expected(key: Key | None) -> Key:
    if key is None:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            "callbacks_off",
            N_("Callbacks of this provider are not set up. See the how-to on bounces."),
        )
    return key
