"""The mails that a hub sent to the mail server of the tests, as people read them."""

from __future__ import annotations

import re
from email.message import EmailMessage
from functools import cache
from html import unescape

from tests.support.hub import eventually
from tests.support.smtp_server import Received, SmtpServer

_NOTHING = re.compile(r"\b(None|null|nan|undefined|NaN)\b|\{\w*\}|\{\{|\[\]|%\(")
_EMPTY_LABEL = re.compile(r"^[^\n:]{1,40}:[ \t]*$", re.MULTILINE)
_HEAD = re.compile(r"<(style|head)\b.*?</\1>", re.DOTALL | re.IGNORECASE)
_TAGS = re.compile(r"\s*<[^>]+>\s*|[\u034f\u200c]")
_LINKS = re.compile(r'href="([^"]+)"')


def mails_to(server: SmtpServer, address: str) -> list[EmailMessage]:
    """Those to this address, in the order in which they came."""
    return [_parsed(each) for each in server.messages if each.recipient == address]


@cache
def _parsed(message: Received) -> EmailMessage:
    """Parse it once: tests poll, and parsing costs milliseconds."""
    return message.parsed


async def mail_to(server: SmtpServer, address: str, said: str = "") -> EmailMessage:
    """The first mail to this address that says this, once it came."""

    async def came() -> EmailMessage | None:
        return next((mail for mail in mails_to(server, address) if said in readable(mail)), None)

    return await eventually(came, f"a mail to {address} that says {said!r}", within=10)


@cache
def readable(mail: EmailMessage) -> str:
    """Subject, text, and the text of the HTML."""
    return "\n".join((str(mail["Subject"]), part_of(mail, "plain"), part_of(mail, "html")))


def part_of(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    if part is None:
        return ""
    content = str(part.get_content())
    if kind == "plain":
        return content
    return unescape(_TAGS.sub("\n", _HEAD.sub("", content)) + "\n".join(_LINKS.findall(content)))


def assert_whole(mail: EmailMessage) -> None:
    """A mail has a subject and both parts; none shows that a value was missing."""
    shown = readable(mail)
    assert str(mail["Subject"]).strip()
    assert part_of(mail, "plain").strip()
    assert part_of(mail, "html").strip()
    assert not _NOTHING.search(shown), f"{_NOTHING.search(shown)} in {shown}"
    assert not _EMPTY_LABEL.search(part_of(mail, "plain")), part_of(mail, "plain")
