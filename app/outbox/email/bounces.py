"""Mails that mail servers send back: which delivery each is about, and what it says. No I/O.

Most are delivery status notifications (RFC 3464); qmail, older Exims and others write plain text. A mail is
about the delivery whose signed return path it was sent to (`ReturnPath`), whatever it says itself. Replies of
people and of vacation programs come to the same address, and are no reports.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from app.domain.delivery_events import DeliveryReport, EventKind
from app.outbox.email.bounce_texts import BounceVerdict, failed, is_of_server, of_text
from app.outbox.email.return_path import ReturnPath
from app.outbox.failures import safe_words

log = logging.getLogger("hub.bounces")

_RECIPIENT_HEADERS = (
    *("To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Forwarded-To", "X-Rcpt-To"),
    *("Resent-To", "Received"),
)
_STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
_RETURNED_TYPES = ("message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers")
_COMPLAINTS = ("abuse", "fraud", "other", "virus")
_STATUS_FIELD = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_FIELD = re.compile(r"^(Action|Status|Diagnostic-Code):[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
_ACTION = re.compile(r"^Action:[ \t]*failed", re.IGNORECASE | re.MULTILINE)
_DIAGNOSTIC_TYPE = re.compile(r"^[A-Za-z][\w.-]{0,30}\s*;\s*")
MAX_READ_BYTES = (
    128 * 1024
)  # of one mail: what it returns is behind what it says, and a parser takes its time
MAX_PARTS_COUNT = 50  # looked at of one mail
MAX_BOUNDARIES_COUNT = 50  # the parser's time is their number times that of lines


class ReturnedMail(NamedTuple):
    """What a mail to a return path is: the reports in it; none if it is something else."""

    reports: list[DeliveryReport]
    known: bool
    """Whether it came to an address that the hub signed."""


def read_returned(
    raw: bytes, path: ReturnPath, now: datetime, recipients: Iterable[str] = ()
) -> ReturnedMail:
    """Read a mail, whatever is wrong with it.

    Args:
        raw: The mail, as it arrived.
        path: What the addresses of deliveries are read with.
        now: The time that it is reported for if its own can't be.
        recipients: The addresses that it was sent to, where they are known beside its headers.
    """
    raw = raw[:MAX_READ_BYTES]
    if raw.lower().count(b"boundary=") > MAX_BOUNDARIES_COUNT:
        return ReturnedMail([], False)
    try:
        message = message_from_bytes(raw)
        parts = [*_parts(message)]
        deliveries = path.deliveries([*recipients, *_recipients(message, parts)])
        verdict = _verdict(message, parts) if deliveries else None
    except Exception as error:  # the parser raises all kinds of them on what is no mail
        log.warning("bounce_unreadable", extra={"why": type(error).__name__})
        return ReturnedMail([], False)
    if verdict is None:
        return ReturnedMail([], bool(deliveries))
    happened_at = _date(message, now)
    key = hashlib.sha256((message.get("Message-ID") or "").strip().encode() or raw).hexdigest()
    words = safe_words(verdict.words) or None
    return ReturnedMail(
        [
            DeliveryReport(each, f"dsn:{key[:40]}", verdict.kind, happened_at, verdict.code, words)
            for each in deliveries
        ],
        True,
    )


def _parts(message: Message) -> Iterator[Message]:
    """The parts of a mail, without those of a mail that it returns."""
    left = [message]
    for _ in range(MAX_PARTS_COUNT):
        if not left:
            return
        part = left.pop(0)
        yield part
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            left[:0] = [each for each in payload if isinstance(each, Message)]


def _recipients(message: Message, parts: Iterable[Message]) -> Iterator[str]:
    for name in _RECIPIENT_HEADERS:
        yield from map(str, message.get_all(name, ()))
    for part in parts:
        if part.get_content_type() == "message/feedback-report":  # its own To is whoever takes complaints
            yield from map(str, _blocks(part)[0].get_all("Original-Mail-From", ()))


def _verdict(message: Message, parts: list[Message]) -> BounceVerdict | None:
    types = {part.get_content_type() for part in parts}
    if "message/feedback-report" in types:
        return _of_feedback(parts)
    if "message/disposition-notification" in types:  # it was read, or deleted
        return None
    for part in parts:
        blocks = _blocks(part) if part.get_content_type() in _STATUS_TYPES else []
        if any("Action" in block for block in blocks):
            return _of_recipients(blocks)
    text = _text(parts)
    return _of_fields_in(text) if is_of_server(message) and _ACTION.search(text) else of_text(message, text)


def _of_fields_in(text: str) -> BounceVerdict | None:
    """The verdict where the fields of a report stand in a text, as Amazon WorkMail writes them."""
    fields = Message()
    for name, value in _FIELD.findall(text):
        fields[name] = value
    return _of_recipients([fields])


def _blocks(part: Message) -> list[Message]:
    """The groups of fields of a report (RFC 3464, 2.1): of the mail, then one for each recipient."""
    payload = part.get_payload()
    if isinstance(payload, list) and payload:
        return [each for each in payload if isinstance(each, Message)]
    content = part.get_payload(decode=True)
    text = content if isinstance(content, bytes) else str(payload or "").encode(errors="replace")
    return [message_from_bytes(each) for each in re.split(rb"\r?\n\s*\r?\n", text.strip() or b"\n")]


def _of_feedback(parts: Iterable[Message]) -> BounceVerdict | None:
    """A complaint (RFC 5965)."""
    for part in parts:
        if part.get_content_type() == "message/feedback-report":
            kind = str(_blocks(part)[0].get("Feedback-Type", "")).strip().lower()
            return BounceVerdict(EventKind.COMPLAINED, None, kind) if kind in _COMPLAINTS else None
    return None


def _of_recipients(blocks: Iterable[Message]) -> BounceVerdict | None:
    """One verdict for the one address that the mail went to. An alias has several recipients: only if none
    can be delivered to, the address bounced.
    """
    found = [each for each in map(_of_recipient, blocks) if each is not None]
    for kind in (EventKind.FAILED, EventKind.BOUNCED, EventKind.DEFERRED, EventKind.DELIVERED):
        for each in found:
            if each.kind is not kind:
                continue
            mixed = kind is EventKind.BOUNCED and any(other.kind is not kind for other in found)
            return each._replace(kind=EventKind.FAILED) if mixed else each
    return None


def _of_recipient(fields: Message) -> BounceVerdict | None:
    action = str(fields.get("Action", "")).partition(";")[0].strip().lower()
    status_field = _STATUS_FIELD.search(str(fields.get("Status", "")))
    status = status_field[0] if status_field else ""
    said = _DIAGNOSTIC_TYPE.sub("", " ".join(str(fields.get("Diagnostic-Code", "")).split()))
    if action == "delayed":
        return BounceVerdict(EventKind.DEFERRED, None, f"{status} {said}".strip())
    if action in ("delivered", "relayed", "expanded") or status.startswith("2."):
        return BounceVerdict(EventKind.DELIVERED, None, "") if action == "delivered" else None
    return failed(said, status) if action or status else None


def _text(parts: Iterable[Message]) -> str:
    """The text of a mail, as far as it is one for people."""
    texts = [part for part in parts if part.get_content_maintype() == "text"]
    texts = [part for part in texts if part.get_content_type() not in _RETURNED_TYPES]
    plain = [part for part in texts if part.get_content_type() == "text/plain"]
    shown = (plain or texts)[:1]
    return "".join(map(_decoded, shown))


def _decoded(part: Message) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    try:
        text = content.decode(part.get_content_charset() or "utf-8", "replace")
    except LookupError:
        text = content.decode("latin-1")
    return re.sub(r"<[^<>@]{1,500}>", " ", text) if part.get_content_subtype() == "html" else text


def _date(message: Message, now: datetime) -> datetime:
    """When the mail was written, if it says so in a way that makes sense."""
    try:
        given = parsedate_to_datetime(str(message.get("Date")))
    except (ValueError, TypeError, IndexError, OverflowError):
        return now
    if given.tzinfo is None:
        given = given.replace(tzinfo=UTC)
    return min(given.astimezone(UTC), now) if given.year > 1970 else now
