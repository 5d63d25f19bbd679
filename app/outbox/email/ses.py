"""The wire format of Amazon SES, SendEmail of the API v2 (docs.aws.amazon.com/ses). No I/O."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from app.domain.errors import ConfigurationError
from app.outbox.email.api_provider import ApiAnswer, ApiFault, refusal_of_status
from app.outbox.email.message import to_bytes
from app.outbox.email.provider import ComposedMail
from app.outbox.email.refusals import Refusal
from app.outbox.email.sigv4 import AwsKey, signed_headers
from app.settings.mail_providers import SesSettings

# Without "Exception", which the API v2 writes behind most of them and the older one doesn't.
_OF_THE_ACCOUNT = frozenset(
    (
        *("AccessDenied", "AccountSendingPaused", "AccountSuspended", "SendingPaused"),
        *("ConfigurationSetDoesNotExist", "ConfigurationSetSendingPaused", "LimitExceeded"),
        *("ExpiredToken", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId"),
        *("InvalidSignature", "MissingAuthenticationToken", "NotAuthorized", "OptInRequired"),
        *("RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClient"),
        *("MailFromDomainNotVerified", "FromEmailAddressNotVerified", "NotFound"),
    )
)
_FOR_NOW = frozenset(
    ("Throttling", "TooManyRequests", "RequestLimitExceeded", "Conflict", "ConcurrentModification")
)
_KIND = re.compile(r"(?:.*#)?([A-Za-z]+)")
_RECIPIENT = re.compile(
    r"local address|domain (?:contains|starts|name)|illegal (?:address|character)|missing final"
    r"|address is not valid|invalid (?:email|recipient|destination|to )"
)


class SesAnswer(msgspec.Struct):
    """The answer of Amazon SES: a message id or an error."""

    message_id: str | None = msgspec.field(default=None, name="MessageId")
    message: str | None = None
    long_message: str | None = msgspec.field(default=None, name="Message")
    kind: str | None = msgspec.field(default=None, name="__type")


class SesApi:
    """Raises `ConfigurationError` when the settings are incomplete."""

    name = "ses"
    path = "/v2/email/outbound-emails"

    def __init__(self, settings: SesSettings) -> None:
        secret = settings.secret_access_key.get_secret_value() if settings.secret_access_key else ""
        given = {
            "SES_REGION": settings.region,
            "SES_ACCESS_KEY_ID": settings.access_key_id,
            "SES_SECRET_ACCESS_KEY": secret,
        }
        missing = [name for name, value in given.items() if not value]
        if missing:
            raise ConfigurationError(f"EMAIL_PROVIDERS names ses, but {' and '.join(missing)} isn't set.")
        token = settings.session_token.get_secret_value() if settings.session_token else None
        self._key = AwsKey(settings.access_key_id or "", secret, settings.region or "", "ses", token)
        self._configuration_set = settings.configuration_set
        self.base_url = settings.endpoint or f"https://email.{settings.region}.amazonaws.com"
        self.credentials: Sequence[str] = (secret, *((token,) if token else ()))

    def encode(self, mail: ComposedMail) -> bytes:
        """As `MailApi.encode`."""
        body: dict[str, Any] = {
            "FromEmailAddress": str(mail.message.origin.mailbox),
            "Destination": {"ToAddresses": [str(mail.to)]},
            "Content": {"Raw": {"Data": b64encode(to_bytes(mail.message)).decode()}},
            "EmailTags": [{"Name": "delivery", "Value": str(mail.outgoing.id)}],
        }
        if mail.envelope_sender != body["FromEmailAddress"]:
            body["FeedbackForwardingEmailAddress"] = mail.envelope_sender
        if self._configuration_set is not None:
            body["ConfigurationSetName"] = self._configuration_set
        return msgspec.json.encode(body)

    def headers(self, content: bytes) -> Mapping[str, str]:
        """As `MailApi.headers`."""
        url = self.base_url + self.path
        return signed_headers(
            self._key, "POST", url, {"Content-Type": "application/json"}, content, datetime.now(UTC)
        )

    def message_id(self, answer: ApiAnswer) -> str | None:
        """As `MailApi.message_id`."""
        return _read(answer.body).message_id

    def fault(self, answer: ApiAnswer) -> ApiFault:
        """As `MailApi.fault`."""
        found = _read(answer.body)
        named = _KIND.match(answer.headers.get("x-amzn-ErrorType", "") or found.kind or "")
        kind = named[1] if named else ""
        said = found.message or found.long_message or ""
        return ApiFault(kind or str(answer.status), said, _refusal(answer.status, kind, said.lower()))


def _refusal(status: int, kind: str, said: str) -> Refusal:
    if "sending rate" in said:
        return Refusal.PASSING  # whatever SES calls it
    if "quota exceeded" in said or "not verified" in said or "sending paused" in said:
        return Refusal.SENDER
    name = kind.removesuffix("Exception")
    if name in _OF_THE_ACCOUNT:
        return Refusal.SENDER
    if name in _FOR_NOW:
        return Refusal.PASSING
    if name in ("BadRequest", "InvalidParameterValue") and _RECIPIENT.search(said):
        return Refusal.ADDRESS
    return refusal_of_status(status)


def _read(body: bytes) -> SesAnswer:
    """The answer; empty when it isn't SES's JSON."""
    try:
        return msgspec.json.decode(body, type=SesAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return SesAnswer()
