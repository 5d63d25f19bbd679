"""What mail servers say of a mail that they send back, in a report's words or in plain text. No I/O."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from typing import NamedTuple

from app.domain.delivery_events import EventKind
from app.outbox.email.refusals import Refusal, enhanced_status, refusal

MAX_TEXT_CHARS = 4000  # looked at, before the mail that is returned


class BounceVerdict(NamedTuple):
    """What a report says; `code` is that of a failure, `words` those of the server."""

    kind: EventKind
    code: str | None
    words: str


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE)


_SERVER = _any(
    r"mailer[- ]?daemon|postmaster@|mail-?daemon|\bmdaemon\b|bounces?@",
    r"mail delivery (?:sub)?system|delivery subsystem|mail(?:er)? administrator",
)
_AUTO_REPLY_HEADERS = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Mail-Autoreply")
_AUTO_REPLY = _any(
    r"out of (?:the )?office|\bauto(?:matic)?[ -]?(?:reply|response|antwort)",
    r"\bvacation\b|\bon (?:leave|holiday)",
    r"abwesen|absence|r[ée]ponse automatique|respuesta autom[áa]tica|trả lời tự động|автоответ",
)
_BOUNCE_SUBJECT = _any(
    r"undeliver|not delivered|non-?deliver|delivery (?:status|fail|problem|error|has failed|incomplete)",
    r"delivery (?:report|notification)|failure (?:notice|notification)|returned (?:mail|to sender)",
    r"returning (?:mail|message)|(?:mail|message)(?: \S+)? (?:delivery )?fail",
    r"could not (?:be sent|send|be delivered|deliver)|mail system error|address(?:es)? had",
    r"permanent (?:fail|error|delivery)|bounce|delivery.{0,20}(?:suspend|delay)|^warning",
)
_QMAIL = re.compile(r"\A\s*(?:Hi\. )?This is the \S*(?:mail|MTA)", re.IGNORECASE)
_COPY = _any(
    r"^[-=\s>]*below this line is a copy|^[-=\s>]*this is a copy of|^[-=\s>]*included is a copy",
    r"^[-=\s>]*(?:the )?original message|^[-=\s>]*original mail|^[-=\s>]*message headers? follow",
    r"^[-=\s>]*(?:unsent|returned) (?:message|mail)|^[-=\s>]*(?:enclosed is a|your) copy|^received:",
)
_DELAYED = _any(
    r"has not (?:yet )?been delivered|(?:was|been|is) delayed|still (?:be|being) retried",
    r"(?:will|to) (?:continue to |keep )?(?:be )?(?:re-?try|retried|trying|attempt)",
    r"you do not need to resend|this is a warning",
)
_GAVE_UP = _any(r"given up|giving up|permanent|could not be delivered to|won't be|will not be re")
_SUCCEEDED = _any(r"success(?:fully)? (?:delivered|relayed|delivery|mail delivery)")
_NO_DOMAIN = _any(r"nxdomain|domain name not found")
_CODE = _any(
    r"(?<![0-9.])([45][0-9][0-9])(?=[ -][#<(]*[45]\.[0-9]{1,3}\.[0-9]{1,3}|[ -]+\D|:)",
    r"(?<![0-9.])([45]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])",
)


def failed(said: str, status: str = "") -> BounceVerdict:
    """The verdict on a failure.

    Args:
        said: The words of the server that refused the mail, or of the one that gave up.
        status: The enhanced status code of the report, which may say less than the words.
    """
    said = said[:MAX_TEXT_CHARS]
    basic = re.search(r"(?<![0-9.])([45][0-9][0-9])(?![0-9.])", said)
    if _NO_DOMAIN.search(said):  # whatever its status: Gmail gives up at once, with 4.0.0
        return BounceVerdict(EventKind.BOUNCED, f"dsn_{status or 550}", said)
    code = int(basic[1]) if basic else (450 if status.startswith("4.") else 550)
    words = said[basic.start() :] if basic else said
    if status and not status.endswith(".0.0") and enhanced_status(words) is None:
        words = f"{status} {words}"
    refused = refusal(code, words, recipient=True)
    kind = EventKind.BOUNCED if refused is Refusal.ADDRESS else EventKind.FAILED
    return BounceVerdict(kind, f"dsn_{status or code}", said or status)


def is_of_server(message: Message) -> bool:
    """Whether a mail says that a mail server wrote it."""
    return _SERVER.search(str(message.get("From", ""))) is not None


def of_text(message: Message, text: str) -> BounceVerdict | None:
    """The verdict of a report in plain text; None if the mail is no report."""
    subject = _decoded(message.get("Subject", ""))
    text = text[: MAX_TEXT_CHARS * 2].replace("\r\n", "\n")
    copy = _COPY.search(text)
    text = text[: copy.start() if copy else MAX_TEXT_CHARS][:MAX_TEXT_CHARS]
    if not _is_bounce(message, subject, text):
        return None
    if _DELAYED.search(text) and not _GAVE_UP.search(text):
        return BounceVerdict(EventKind.DEFERRED, None, "")
    line = " ".join(text.split())
    codes = [*_CODE.finditer(line)]
    if not codes:
        refused = refusal(550, line, recipient=True)
        kind = EventKind.BOUNCED if refused is Refusal.ADDRESS else EventKind.FAILED
        return BounceVerdict(kind, "dsn_550", "")
    first = next((each for each in codes if each[1]), codes[0])
    enhanced = next((each[2] for each in codes if each[2]), "")
    return failed(line[first.start() : first.start() + 300], enhanced)


def _decoded(header: object) -> str:
    try:
        return str(make_header(decode_header(str(header))))
    except (HeaderParseError, UnicodeError, LookupError, ValueError):
        return str(header)


def _is_bounce(message: Message, subject: str, text: str) -> bool:
    if _AUTO_REPLY.search(subject) or any(name in message for name in _AUTO_REPLY_HEADERS):
        return False
    if _SUCCEEDED.search(subject) or _SUCCEEDED.search(text):
        return False
    if _QMAIL.match(text) or "X-Failed-Recipients" in message:
        return True
    return is_of_server(message) and _BOUNCE_SUBJECT.search(subject) is not None
