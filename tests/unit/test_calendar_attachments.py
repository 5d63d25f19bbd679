"""Attached calendars: an invitation arrives as one, and only as what its content says."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from app.domain.addresses import Mailbox
from app.outbox.channel import Attachment
from app.outbox.email.message import build, sender, to_bytes
from app.texts.rendering import Mail


def calendar(*lines: str, end: str = "\r\n") -> bytes:
    event = ("BEGIN:VEVENT", "UID:1@hub.example", "SUMMARY:Bữa tối", "END:VEVENT")
    return end.join(("BEGIN:VCALENDAR", "VERSION:2.0", *lines, *event, "END:VCALENDAR", "")).encode()


def attached(content: bytes, content_type: str) -> EmailMessage:
    file = Attachment("invite.ics", content_type, content)
    mail = Mail("s", "t\n", "<p>t</p>\n")
    message = build(
        mail, sender("hub@hub.example"), Mailbox("an", "example.com"), message_id="1@x", attachments=[file]
    )
    read = message_from_bytes(to_bytes(message), _class=EmailMessage, policy=policy.default)
    (part,) = read.iter_attachments()
    assert isinstance(part, EmailMessage)
    return part


@pytest.mark.parametrize(
    "given", ["text/calendar", "text/calendar; method=REQUEST", "Text/Calendar;method=X"]
)
@pytest.mark.parametrize(
    ("content", "method"),
    [
        (calendar("METHOD:REQUEST"), "REQUEST"),
        (calendar("PRODID:-//Hub//EN", "METHOD:CANCEL", end="\n"), "CANCEL"),
        (calendar("method:reply"), "REPLY"),
        (b"\xef\xbb\xbf" + calendar("METHOD:PUBLISH"), "PUBLISH"),
        (calendar(), None),
        (calendar('METHOD:X"; name=evil'), None),
        (calendar("BEGIN:VEVENT", "DESCRIPTION:a", "METHOD:REQUEST", "END:VEVENT"), None),
        (b"METHOD:REQUEST\r\n", None),
    ],
)
def test_the_method_is_that_of_the_content(given: str, content: bytes, method: str | None) -> None:
    part = attached(content, given)
    assert (part.get_content_type(), part.get_param("method"), part.get_filename()) == (
        "text/calendar",
        method,
        "invite.ics",
    )
    assert part.get_param("charset") == "utf-8"
    assert part.get_payload(decode=True) == content


def test_another_file_with_such_a_line_has_no_method() -> None:
    part = attached(calendar("METHOD:REQUEST"), "text/plain")
    assert part.get_param("method") is None


def test_a_calendar_of_many_lines_takes_no_time() -> None:
    content = b"BEGIN:VCALENDAR\r\n" + b"X-LINE:METHOD\r\n" * 100_000
    assert attached(content, "text/calendar").get_param("method") is None
