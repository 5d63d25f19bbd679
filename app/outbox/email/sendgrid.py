"""The wire format of SendGrid's API v3, Mail Send (docs.sendgrid.com/api-reference/mail-send). No I/O."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.domain.errors import ConfigurationError
from app.outbox.email.api_provider import ApiAnswer, ApiFault, refusal_of_status
from app.outbox.email.message import MailAttachment, Sender
from app.outbox.email.provider import ComposedMail
from app.outbox.email.refusals import Refusal
from app.settings.mail_providers import SendGridSettings

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
            "from": _address(message.origin),
            "subject": message.subject,
            "content": [
                {"type": "text/plain", "value": message.text},
                {"type": "text/html", "value": message.html},
            ],
            "headers": message.extra_headers,
            "custom_args": {"delivery": str(mail.outgoing.id)},
            "tracking_settings": _NO_TRACKING,
        }
        if message.reply_to is not None:
            body["reply_to"] = _address(message.reply_to)
        if message.attachments:
            body["attachments"] = [_attachment(each) for each in message.attachments]
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


def _address(named: Sender) -> dict[str, str]:
    email = {"email": str(named.mailbox)}
    return {**email, "name": named.name} if named.name else email


def _attachment(attachment: MailAttachment) -> dict[str, str]:
    kind = f"{attachment.main_type}/{attachment.subtype}"
    method = attachment.params.get("method")
    return {
        "content": b64encode(attachment.content).decode(),
        "type": kind if method is None else f"{kind}; method={method}",
        "filename": attachment.name or "attachment",
        "disposition": "attachment",
    }
