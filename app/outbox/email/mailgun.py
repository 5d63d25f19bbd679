"""The wire format of Mailgun's API v3, sending MIME (documentation.mailgun.com). No I/O."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from app.domain.errors import ConfigurationError
from app.outbox.email.api_provider import ApiAnswer, ApiFault, refusal_of_status
from app.outbox.email.message import to_bytes
from app.outbox.email.provider import ComposedMail
from app.outbox.email.refusals import Refusal
from app.settings.mail_providers import MailgunSettings


class MailgunAnswer(msgspec.Struct):
    """The answer of Mailgun; `id` is the Message-ID in angle brackets."""

    id: str | None = None
    message: str = ""


class MailgunApi:
    """Raises `ConfigurationError` when the settings are incomplete. `domain` is that of MAIL_FROM."""

    name = "mailgun"

    def __init__(self, settings: MailgunSettings, domain: str) -> None:
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        if not key:
            raise ConfigurationError("EMAIL_PROVIDERS names mailgun, but MAILGUN_API_KEY isn't set.")
        self.base_url = settings.endpoint
        self.path = f"/v3/{quote(settings.domain or domain, safe='')}/messages.mime"
        login = b64encode(f"api:{key}".encode()).decode()
        self._authorization = f"Basic {login}"
        self.credentials: Sequence[str] = (key, login)
        self._boundary = secrets.token_hex(24)  # no mail has it: it is 7bit text and base64 without it

    def encode(self, mail: ComposedMail) -> bytes:
        """As `MailApi.encode`."""
        fields = {
            "to": str(mail.to),
            "o:tracking": "no",
            "v:delivery": str(mail.outgoing.id),
        }
        edge = f"--{self._boundary}".encode()
        parts = [
            b'%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
            % (edge, name.encode(), value.encode())
            for name, value in fields.items()
        ]
        parts.append(
            b'%b\r\nContent-Disposition: form-data; name="message"; filename="message.mime"\r\n'
            b"Content-Type: message/rfc822\r\n\r\n%b\r\n" % (edge, to_bytes(mail.message))
        )
        return b"".join((*parts, edge, b"--\r\n"))

    def headers(self, content: bytes) -> Mapping[str, str]:
        """As `MailApi.headers`."""
        return {
            "Authorization": self._authorization,
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
        }

    def message_id(self, answer: ApiAnswer) -> str | None:
        """As `MailApi.message_id`."""
        found = _read(answer.body).id
        return found.strip("<>") if found else None

    def fault(self, answer: ApiAnswer) -> ApiFault:
        """As `MailApi.fault`."""
        said = _read(answer.body).message
        return ApiFault(str(answer.status), said, _refusal(answer.status, said.lower()))


def _refusal(status: int, said: str) -> Refusal:
    if status == 400:
        if "'to' parameter" in said or "to parameter" in said:
            return Refusal.ADDRESS
        if "'from' parameter" in said or "from parameter" in said or "domain" in said:
            return Refusal.SENDER
    return refusal_of_status(status)


def _read(body: bytes) -> MailgunAnswer:
    """The answer; empty when it isn't Mailgun's JSON (401 is answered with plain text)."""
    try:
        return msgspec.json.decode(body, type=MailgunAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return MailgunAnswer()
