"""A mail before it is sent: who it is from, and a message whose headers nobody can add to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from app.domain.addresses import Mailbox, mailbox
from app.outbox.channel import Attachment
from app.outbox.email.mime import (
    attachment_part,
    header,
    multipart,
    named_address,
    text_part,
    unstructured,
)
from app.texts.rendering import Mail, one_line

_TYPE = re.compile(r"(application|audio|font|image|text|video)/([a-z0-9][a-z0-9!#$&^_.+-]*)")
_CALENDAR_METHOD = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*BEGIN:VCALENDAR\r?\n(?:(?!BEGIN:)[^\n]*\n)*?METHOD:([A-Z]{1,20})\s*\n",
    re.IGNORECASE,
)
"""Of the calendar itself: one of its components may hold such a line in a text."""
_NAMED = re.compile(r"\"?([^<>]*?)\"?\s*<([^<>]*)>")
_QUOTED_NAME = re.compile(r"\"((?:[^\"\\]|\\.)*)\"\s*<([^<>]*)>")
_ESCAPED = re.compile(r"\\(.)")
MAX_FILE_NAME_CHARS = 255  # characters, of a file


class Sender(NamedTuple):
    """Who mail comes from, or who gets the answers."""

    name: str
    mailbox: Mailbox


def sender(text: str) -> Sender:
    """Read `Name <address>` or a bare address. Raises `ValueError` when it is none every server takes."""
    bare = text.strip()
    if quoted := _QUOTED_NAME.fullmatch(bare):  # RFC 5322, 3.2.4
        name, address = _ESCAPED.sub(r"\1", quoted[1]), quoted[2]
    else:
        parts = _NAMED.fullmatch(bare)
        name, address = parts.groups() if parts else ("", bare)
    found = mailbox(address)
    if not found.ascii:
        raise ValueError("the address has non-ASCII characters before the @, which many servers refuse")
    return Sender(one_line(name), found)


class MailMessage(NamedTuple):
    """A mail as it is sent, whatever takes it: a mail server or an API."""

    message_id: str
    """With the angle brackets."""
    date: datetime
    origin: Sender
    to: Mailbox
    reply_to: Sender | None
    subject: str
    """One line."""
    text: str
    html: str
    attachments: Sequence[MailAttachment]
    unsubscribe: str | None
    """A URL where one click is enough (RFC 8058)."""

    @property
    def extra_headers(self) -> dict[str, str]:
        """Beside the addresses, the date, the subject and those of MIME."""
        found = {"Message-ID": self.message_id, "Auto-Submitted": "auto-generated"}
        if self.unsubscribe is not None:
            found["List-Unsubscribe"] = f"<{self.unsubscribe}>"
            found["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        return found


class MailAttachment(NamedTuple):
    """An attached file, with what is known of its type."""

    name: str
    """One line."""
    main_type: str
    subtype: str
    params: dict[str, str]
    content: bytes


def build(
    mail: Mail,
    origin: Sender,
    to: Mailbox,
    *,
    message_id: str,
    reply_to: Sender | None = None,
    unsubscribe: str | None = None,
    attachments: Iterable[Attachment] = (),
) -> MailMessage:
    """The message of a rendered mail. `message_id` is without the angle brackets."""
    return MailMessage(
        f"<{message_id}>",
        datetime.now(UTC),
        origin,
        to,
        reply_to,
        one_line(mail.subject),
        mail.text,
        mail.html,
        [_attached(each) for each in attachments],
        unsubscribe,
    )


def _attached(attachment: Attachment) -> MailAttachment:
    known = _TYPE.fullmatch(attachment.content_type.partition(";")[0].strip().lower())
    main, sub = known.groups() if known else ("application", "octet-stream")
    return MailAttachment(
        one_line(attachment.name, MAX_FILE_NAME_CHARS),
        main,
        sub,
        _parameters(f"{main}/{sub}", attachment.content),
        attachment.content,
    )


def to_bytes(message: MailMessage) -> bytes:
    """The message as it is transferred, each line ended by CRLF. Its texts are alternatives, followed by the
    attachments. An address with non-ASCII characters before the @ needs a transaction with SMTPUTF8.

    Raises `ValueError` when a header would have several lines, or a text can't be written as UTF-8.
    """
    mark = message.message_id[1:].partition("@")[0]
    body = multipart(
        "alternative",
        f"=_{mark}",
        [text_part("plain", message.text), text_part("html", message.html)],
    )
    if message.attachments:
        files = [attachment_part(*each) for each in message.attachments]
        body = multipart("mixed", f"=_+{mark}", [body, *files])
    return b"".join((*_headers(message), header("MIME-Version", "1.0"), body))


def _headers(message: MailMessage) -> Iterator[bytes]:
    yield header("Date", format_datetime(message.date))
    yield header("From", *named_address(*message.origin))
    yield header("To", str(message.to))
    if message.reply_to is not None:
        yield header("Reply-To", *named_address(*message.reply_to))
    yield header("Subject", *unstructured(message.subject))
    for name, value in message.extra_headers.items():
        yield header(name, value)


def _parameters(content_type: str, content: bytes) -> dict[str, str]:
    """Those of the part's content type. A calendar's method has to be that of its content (RFC 6047, 2.4):
    by it mail programs show an invitation instead of a file.
    """
    params = {"charset": "utf-8"} if content_type.startswith("text/") and _is_utf8(content) else {}
    if content_type == "text/calendar" and (method := _CALENDAR_METHOD.search(content)):
        params["method"] = method[1].decode().upper()
    return params


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
