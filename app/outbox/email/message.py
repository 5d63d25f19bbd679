"""A mail as bytes: addresses that mail can be sent to, and a message whose headers nobody can add to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address, AddressHeader, BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.policy import EmailPolicy
from textwrap import TextWrapper
from typing import NamedTuple

from app.domain.addresses import Mailbox, mailbox
from app.outbox.channel import Attachment
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
_REPEATED = frozenset(
    (
        *("auto-submitted", "mime-version", "content-type", "content-transfer-encoding"),
        "list-unsubscribe-post",
    )
)
MAX_PARSED_COUNT = 200  # headers; those of attachments have names of their files
MAX_FILE_NAME_CHARS = 255  # characters, of a file
MAX_NAMED_ADDRESS_CHARS = 70  # beside `From: ` in a line of 78 (RFC 5322, 2.1.1)


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


class _Policy(EmailPolicy):
    """Doesn't fold List-Unsubscribe: a long URL would become encoded words, which no reader of it undoes.

    Folds the subject by the older `Header` (RFC 2047): the newer way loses a space where it breaks a line
    behind a special character (`{{`). Writes a sender whose name needs more than a line itself: some Pythons
    break a quoted name at its comma, and readers then find several addresses.
    """

    def fold_binary(self, name: str, value: str) -> bytes:
        if name == _UNSUBSCRIBE:
            return f"{name}: {value}{self.linesep}".encode()
        if name == "Subject" and not self.utf8 and not value.isascii():
            words = Header(value, "utf-8", header_name=name).encode(linesep=self.linesep)
            return f"{name}: {words}{self.linesep}".encode()
        if name in ("From", "Reply-To") and isinstance(value, AddressHeader):
            return f"{name}: {_written(name, value.addresses[0])}{self.linesep}".encode()
        return super().fold_binary(name, value)


def _written(header: str, address: Address) -> str:
    """The address with its name: quoted, and folded at its blanks, or in encoded words if it isn't ASCII."""
    short = str(address)
    if short.isascii() and len(short) <= MAX_NAMED_ADDRESS_CHARS:
        return short
    if address.display_name.isascii():
        quoted = re.sub(r'(["\\])', r"\\\1", address.display_name)
        return "\r\n ".join(_IN_LINES.wrap(f'"{quoted}" <{address.addr_spec}>'))
    words = Header(address.display_name, "utf-8", header_name=header, maxlinelen=75).encode(linesep="\r\n")
    return f"{words}\r\n <{address.addr_spec}>"


_IN_LINES = TextWrapper(MAX_NAMED_ADDRESS_CHARS, break_long_words=False, break_on_hyphens=False)


class _Headers(HeaderRegistry):
    """Makes the class of each header once, and parses what each mail has only once: doing so again takes half
    of the time of a mail.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, type[BaseHeader]] = {}
        self._parsed: dict[tuple[str, str], BaseHeader] = {}

    def __call__(self, name: str, value: object) -> BaseHeader:
        if name.lower() not in _REPEATED or not isinstance(value, str):
            return super().__call__(name, value)
        key = (name, str(value))
        if key not in self._parsed:
            if len(self._parsed) >= MAX_PARSED_COUNT:
                self._parsed.clear()
            self._parsed[key] = super().__call__(name, value)
        return self._parsed[key]

    def __getitem__(self, name: str) -> type[BaseHeader]:
        if name not in self._known:
            self._known[name] = super().__getitem__(name)
        return self._known[name]


_UNSUBSCRIBE = "List-Unsubscribe"
# 7bit: what needs no conversion on its way can't have its DKIM signature broken by one
_POLICY = _Policy(linesep="\r\n", cte_type="7bit", header_factory=_Headers())


def build(
    mail: Mail,
    origin: Sender,
    to: Mailbox,
    *,
    message_id: str,
    reply_to: Sender | None = None,
    unsubscribe: str | None = None,
    attachments: Iterable[Attachment] = (),
) -> EmailMessage:
    """The message: text and HTML as alternatives, then the attachments.

    `message_id` is without the angle brackets. `unsubscribe` is a URL where one click is enough (RFC 8058).
    Raises `ValueError` when a text can't be written as UTF-8.
    """
    message = EmailMessage(_POLICY)
    message["Message-ID"] = f"<{message_id}>"
    message["Date"] = datetime.now(UTC)
    message["From"] = Address(origin.name, origin.mailbox.local, origin.mailbox.domain)
    message["To"] = Address("", to.local, to.domain)
    if reply_to is not None:
        message["Reply-To"] = Address(reply_to.name, reply_to.mailbox.local, reply_to.mailbox.domain)
    message["Subject"] = one_line(mail.subject)
    message["Auto-Submitted"] = "auto-generated"
    if unsubscribe is not None:
        message[_UNSUBSCRIBE] = f"<{unsubscribe}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    # quoted-printable also keeps lines short enough for SMTP, whatever the template's are
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    for attachment in attachments:
        _attach(message, attachment)
    return message


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    known = _TYPE.fullmatch(attachment.content_type.partition(";")[0].strip().lower())
    main, sub = known.groups() if known else ("application", "octet-stream")
    message.add_attachment(
        attachment.content,
        maintype=main,
        subtype=sub,
        filename=one_line(attachment.name, MAX_FILE_NAME_CHARS),
        params=_parameters(f"{main}/{sub}", attachment.content) or None,
    )


def to_bytes(message: EmailMessage, *, utf8: bool) -> bytes:
    """The message as it is transferred, each line ended by CRLF; `utf8` for a transaction with SMTPUTF8."""
    return message.as_bytes(policy=_POLICY.clone(utf8=utf8))


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
