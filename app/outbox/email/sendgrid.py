"""The wire format of SendGrid's API v3, Mail Send (docs.sendgrid.com/api-reference/mail-send). No I/O."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any

import msgspec

from app.domain.errors import ConfigurationError
from app.outbox.email.api_provider import ApiAnswer, ApiFault, refusal_of_status
from app.outbox.email.provider import ComposedMail
from app.outbox.email.refusals import Refusal
from app.settings.mail_providers import SendGridSettings

_OWN_FIELDS = frozenset(
    ("from", "to", "subject", "reply-to", "date", "mime-version", "content-type", "content-transfer-encoding")
)
"""Headers that SendGrid writes itself, from fields of the request."""
_NO_TRACKING = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
}


class SendGridError(msgspec.Struct):
    """One error of SendGrid's answer."""

    message: str = ""
    field: str | None = None


class SendGridErrors(msgspec.Struct):
    """The errors of SendGrid's answer."""

    errors: list[SendGridError] = []


class SendGridApi:
    """Raises `ConfigurationError` when the settings are incomplete."""

    name = "sendgrid"
    path = "/v3/mail/send"

    def __init__(self, settings: SendGridSettings) -> None:
        self._key = settings.api_key.get_secret_value() if settings.api_key else ""
        if not self._key:
            raise ConfigurationError("EMAIL_PROVIDERS names sendgrid, but SENDGRID_API_KEY isn't set.")
        self.base_url = settings.endpoint
        self.credentials: Sequence[str] = (self._key,)

    def encode(self, mail: ComposedMail) -> bytes:
        """As `MailApi.encode`."""
        message = mail.message
        body: dict[str, Any] = {
            "personalizations": [{"to": [{"email": str(mail.to)}]}],
            "from": _address(message["From"].addresses[0]),
            "subject": str(message["Subject"]),
            "content": [*_texts(message)],
            "headers": {name: str(value) for name, value in _headers(message)},
            "custom_args": {"delivery": str(mail.outgoing.id)},
            "tracking_settings": _NO_TRACKING,
        }
        if message["Reply-To"] is not None:
            body["reply_to"] = _address(message["Reply-To"].addresses[0])
        if attachments := [*_attachments(message)]:
            body["attachments"] = attachments
        return msgspec.json.encode(body)

    def headers(self, content: bytes) -> Mapping[str, str]:
        """As `MailApi.headers`."""
        return {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}

    def message_id(self, answer: ApiAnswer) -> str | None:
        """As `MailApi.message_id`."""
        return answer.headers.get("X-Message-Id")

    def fault(self, answer: ApiAnswer) -> ApiFault:
        """As `MailApi.fault`."""
        try:
            errors = msgspec.json.decode(answer.body, type=SendGridErrors).errors
        except (msgspec.MsgspecError, UnicodeDecodeError):
            errors = []
        first = errors[0] if errors else SendGridError()
        words = first.message if first.field is None else f"{first.field}: {first.message}"
        return ApiFault(str(answer.status), words, _refusal(answer.status, first))


def _refusal(status: int, error: SendGridError) -> Refusal:
    field, said = error.field or "", error.message.lower()
    if status == 400:
        if field.startswith("from") or "from address" in said or "sender identity" in said:
            return Refusal.SENDER
        if field.startswith("personalizations") and field.endswith("email"):
            return Refusal.ADDRESS
    return refusal_of_status(status)


def _address(address: Address) -> dict[str, str]:
    named = {"email": address.addr_spec}
    return {**named, "name": address.display_name} if address.display_name else named


def _texts(message: EmailMessage) -> Iterator[dict[str, str]]:
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        if part is not None:
            yield {"type": f"text/{kind}", "value": part.get_content()}


def _headers(message: EmailMessage) -> Iterator[tuple[str, str]]:
    for name, value in message.items():
        if name.lower() not in _OWN_FIELDS:
            yield name, value


def _attachments(message: EmailMessage) -> Iterator[dict[str, str]]:
    for part in message.iter_attachments():
        content = part.get_payload(decode=True)
        method = part.get_param("method")
        kind = part.get_content_type()
        yield {
            "content": b64encode(content if isinstance(content, bytes) else b"").decode(),
            "type": f"{kind}; method={method}" if isinstance(method, str) else kind,
            "filename": part.get_filename() or "attachment",
            "disposition": "attachment",
        }
