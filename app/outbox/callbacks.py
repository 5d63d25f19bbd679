"""What the callbacks of providers say, as reports. No I/O: signatures are checked before.

A report about nothing that the hub sent, or of a kind that it doesn't keep, is left out. Whatever else has an
unexpected shape is left out too: providers add kinds, and would repeat the whole call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from app.domain.delivery_events import DeliveryReport, EventKind
from app.outbox.email.refusals import Refusal, refusal
from app.outbox.failures import safe_words
from app.outbox.twilio_codes import Fault, of_delivery

_SENDGRID = {
    "delivered": EventKind.DELIVERED,
    "deferred": EventKind.DEFERRED,
    "open": EventKind.OPENED,
    "click": EventKind.CLICKED,
    "spamreport": EventKind.COMPLAINED,
}
_SENDGRID_UNWANTED = ("bounced address", "invalid", "spam reporting address")
_MAILGUN = {
    "delivered": EventKind.DELIVERED,
    "opened": EventKind.OPENED,
    "clicked": EventKind.CLICKED,
    "complained": EventKind.COMPLAINED,
    "rejected": EventKind.FAILED,
}
_SES = {
    "Delivery": EventKind.DELIVERED,
    "DeliveryDelay": EventKind.DEFERRED,
    "Open": EventKind.OPENED,
    "Click": EventKind.CLICKED,
    "Complaint": EventKind.COMPLAINED,
    "Reject": EventKind.FAILED,
}
_TWILIO = {
    "delivered": EventKind.DELIVERED,
    "read": EventKind.OPENED,
    "undelivered": EventKind.FAILED,
    "failed": EventKind.FAILED,
}


def of_sendgrid(body: bytes) -> list[DeliveryReport]:
    """Of SendGrid's Event Webhook: a list of events."""
    events = _decoded(body)
    return [*_each(_sendgrid, events)] if isinstance(events, list) else []


def of_mailgun(data: object) -> list[DeliveryReport]:
    """Of `event-data` of Mailgun's webhook: one event."""
    return [*_each(_mailgun, [data])]


def of_ses(message: str) -> list[DeliveryReport]:
    """Of the message of SES in a notification of SNS: one event."""
    return [*_each(_ses, [_decoded(message.encode())])]


def of_twilio(delivery: str | None, form: Mapping[str, str], now: datetime) -> list[DeliveryReport]:
    """Of a status callback for a message; `delivery` is what its URL names."""
    kind, sid = _TWILIO.get(form.get("MessageStatus", "")), form.get("MessageSid", "")
    found = _uuid(delivery)
    if kind is None or found is None:
        return []
    given = form.get("ErrorCode", "")
    number = int(given) if given.isascii() and given.isdecimal() else None
    code = None
    if kind is EventKind.FAILED:
        code = f"twilio_{number}" if number is not None else "twilio_undelivered"
        if of_delivery(number) is Fault.NUMBER:
            kind = EventKind.BOUNCED
    key = f"{sid}:{form['MessageStatus']}"
    words = safe_words(form.get("ErrorMessage", "")) or code
    return [DeliveryReport(found, key[:200], kind, now, code, words, sid[:100] or None)]


def _each(read: Any, events: Sequence[object]) -> Iterator[DeliveryReport]:
    for event in events:
        try:
            report = read(event) if isinstance(event, dict) else None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError):
            continue
        if report is not None:
            yield report


def _sendgrid(event: dict[str, Any]) -> DeliveryReport | None:
    name = event["event"]
    kind = _SENDGRID.get(name)
    words = str(event.get("reason") or event.get("response") or "")
    if name == "dropped":
        unwanted = words.lower().startswith(_SENDGRID_UNWANTED)
        kind = EventKind.BOUNCED if unwanted else EventKind.FAILED
    elif name == "bounce":
        kind = EventKind.FAILED if event.get("type") == "blocked" else EventKind.BOUNCED
    happened_at = datetime.fromtimestamp(float(event["timestamp"]), UTC)
    sent = str(event.get("sg_message_id", "")).partition(".")[0]
    return _report(
        event.get("delivery"), event["sg_event_id"], kind, happened_at, f"sendgrid_{name}", words, sent
    )


def _mailgun(event: dict[str, Any]) -> DeliveryReport | None:
    name = event["event"]
    kind = _MAILGUN.get(name)
    status = event.get("delivery-status") or {}
    words = str(status.get("message") or status.get("description") or event.get("reason") or "")
    if name == "failed":
        kind = _mailgun_failure(event, status, words)
    happened_at = datetime.fromtimestamp(float(event["timestamp"]), UTC)
    delivery = (event.get("user-variables") or {}).get("delivery")
    headers = (event.get("message") or {}).get("headers") or {}
    return _report(
        delivery, event["id"], kind, happened_at, f"mailgun_{name}", words, headers.get("message-id")
    )


def _mailgun_failure(event: dict[str, Any], status: dict[str, Any], words: str) -> EventKind:
    if event.get("severity") != "permanent":
        return EventKind.DEFERRED
    if str(event.get("reason", "")).startswith(("bounce", "suppress-")):
        return EventKind.BOUNCED
    code = status.get("code")
    known = isinstance(code, int) and 500 <= code < 600
    return failure_kind(code, words) if known and isinstance(code, int) else EventKind.FAILED


def failure_kind(code: int, words: str) -> EventKind:
    """What the final refusal of a receiver's server means: of the address, or of this message alone."""
    refused = refusal(code, words, recipient=True)
    return EventKind.BOUNCED if refused is Refusal.ADDRESS else EventKind.FAILED


def _ses(event: dict[str, Any]) -> DeliveryReport | None:
    name = event.get("eventType") or event["notificationType"]
    mail = event["mail"]
    about = event.get(name[:1].lower() + name[1:]) or {}
    kind, words = _SES.get(name), str(about.get("smtpResponse") or about.get("reason") or "")
    if name == "Bounce":
        kind = EventKind.BOUNCED if about.get("bounceType") == "Permanent" else EventKind.FAILED
        recipients = about.get("bouncedRecipients") or [{}]
        words = str(recipients[0].get("diagnosticCode") or about.get("bounceSubType") or "")
    elif name == "Complaint":
        words = str(about.get("complaintFeedbackType") or "")
    happened_at = datetime.fromisoformat(about.get("timestamp") or mail["timestamp"])
    key = about.get("feedbackId") or f"{mail['messageId']}:{name}:{happened_at.isoformat()}"
    return _report(_of_ses(mail), key, kind, happened_at, f"ses_{name.lower()}", words, mail["messageId"])


def _of_ses(mail: dict[str, Any]) -> str | None:
    """The delivery that a mail is of: by its tag, or by the Message-ID that the hub gave it."""
    for tag in (mail.get("tags") or {}).get("delivery") or ():
        return str(tag)
    for header in mail.get("headers") or ():
        if str(header.get("name", "")).lower() == "message-id":
            return str(header.get("value", "")).strip("<> ").partition("@")[0]
    return None


def _report(
    delivery: object,
    key: str,
    kind: EventKind | None,
    happened_at: datetime,
    code: str,
    words: str,
    provider_id: object,
) -> DeliveryReport | None:
    found = _uuid(delivery)
    if found is None or kind is None:
        return None
    if happened_at.tzinfo is None:
        happened_at = happened_at.replace(tzinfo=UTC)
    named = str(key) if len(str(key)) <= 200 else hashlib.sha256(str(key).encode()).hexdigest()
    failed = kind in (EventKind.FAILED, EventKind.BOUNCED)
    return DeliveryReport(
        found,
        named,
        kind,
        happened_at,
        code if failed else None,
        safe_words(words) or None,
        str(provider_id).strip("<>")[:200] if provider_id else None,
    )


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
