"""Mails that come back: what mail servers really write, and what only looks like it.

The mails in `bounces/` are written by us, in the shapes of the servers that their names say.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import pytest
from pydantic import SecretStr

from app.api.callbacks import BounceKeys
from app.auth.secrets import SecretBox
from app.domain.delivery_events import DeliveryReport, EventKind
from app.outbox.email.bounces import read_returned
from app.outbox.email.return_path import ReturnPath
from tests.unit.test_callbacks import Served

NOW = datetime(2026, 12, 24, tzinfo=UTC)
DELIVERY, OTHER = UUID(int=0xA1B2 << 80), UUID(int=0xC3)
PATH, FORGERS = (
    ReturnPath("bounces+*@hub.example", SecretBox((), SecretStr(key * 40), SecretStr("postgresql://p/hub")))
    for key in "ab"
)
MAILS = Path(__file__).parent / "bounces"
UNKNOWN = "5.1.1"
B, F, D, C = EventKind.BOUNCED, EventKind.FAILED, EventKind.DEFERRED, EventKind.COMPLAINED
REPORTS = [
    ("postfix_unknown", B, "dsn_5.1.1", "550 5.1.1 <gone@receiver.example>: Recipient address rejected"),
    ("postfix_delayed", D, None, "4.4.1 connect to mx.receiver.example"),
    ("postfix_expired", F, "dsn_4.4.1", "connect to mx.receiver.example[203.0.113.9]:25"),
    ("exim_unknown", B, "dsn_5.0.0", "550 No such user here"),
    ("exim_old_text", B, "dsn_550", None),
    ("exim_old_delayed", D, None, None),
    ("exchange_online_unknown", B, "dsn_5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound"),
    ("exchange_full", F, "dsn_5.2.2", "554 5.2.2 mailbox full"),
    ("gmail_unknown", B, "dsn_5.1.1", "550-5.1.1 The email account that you tried to reach does not exist"),
    ("gmail_no_domain", B, "dsn_4.0.0", "DNS Error: 39857475"),
    ("qmail_unknown", B, "dsn_5.1.1", "5.1.1"),
    ("qmail_queue_too_long", F, "dsn_4.2.2", "450 4.2.2 <slow@elsewhere.example>... Mailbox Full"),
    ("yahoo_unknown", B, "dsn_554", "554: delivery error: dd This user doesn't have a yahoo.example account"),
    ("ses_unknown", B, "dsn_5.1.1", "550 5.1.1 user unknown"),
    ("workmail_unknown", B, "dsn_5.1.1", "550 5.1.1 <gone@receiver.example>... User unknown"),
    ("sendmail_unknown", B, "dsn_5.1.1", "550 5.1.1 <gone@receiver.example>... User unknown"),
    ("sendmail_dmarc", F, "dsn_5.7.26", "550-5.7.26 Unauthenticated email"),
    ("list_partly", F, "dsn_5.2.2", "552 5.2.2 Mailbox full"),
    ("complaint", C, None, "abuse"),
]
NO_REPORTS = [
    "postfix_relayed",
    "out_of_office",
    "vacation_of_a_server",
    "reply_of_a_person",
    "read_receipt",
    "forwarded_bounce",
]


def raw(name: str, path: ReturnPath = PATH) -> bytes:
    text = (MAILS / f"{name}.eml").read_text()
    return text.replace("RETURN-PATH", path.of(DELIVERY)).replace("\n", "\r\n").encode()


def only(reports: list[DeliveryReport]) -> DeliveryReport:
    (report,) = reports
    return report


def test_each_mail_has_its_row() -> None:
    assert sorted(path.stem for path in MAILS.glob("*.eml")) == sorted(
        [*(name for name, *_ in REPORTS), *NO_REPORTS]
    )


@pytest.mark.parametrize(("name", "kind", "code", "words"), REPORTS, ids=[row[0] for row in REPORTS])
def test_what_a_server_sends_back(name: str, kind: EventKind, code: str | None, words: str | None) -> None:
    report = only(read_returned(raw(name), PATH, NOW).reports)
    assert (report.delivery, report.kind, report.code) == (DELIVERY, kind, code)
    assert (report.detail or "").startswith(words or "")
    assert report.happened_at.tzinfo is not None
    assert report.happened_at < NOW
    again = only(read_returned(b"X-Spam: no\r\n" + raw(name), PATH, NOW).reports)
    if b"message-id:" in raw(name).lower():
        assert again.key == report.key, "it may come twice"


@pytest.mark.parametrize("name", NO_REPORTS)
def test_what_is_no_report(name: str) -> None:
    answer = read_returned(raw(name), PATH, NOW)
    assert answer.known
    assert answer.reports == []


@pytest.mark.parametrize("name", [row[0] for row in REPORTS])
def test_a_forged_report_changes_nothing(name: str) -> None:
    for forged in (raw(name, FORGERS), (MAILS / f"{name}.eml").read_bytes()):
        answer = read_returned(forged, PATH, NOW)
        assert not answer.known
        assert answer.reports == []


def test_an_address_may_be_known_from_the_envelope_alone() -> None:
    mail = (MAILS / "ses_unknown.eml").read_bytes()
    assert only(read_returned(mail, PATH, NOW, [PATH.of(DELIVERY)]).reports).kind is B
    assert not read_returned(mail, PATH, NOW, [FORGERS.of(DELIVERY)]).reports


def test_a_date_that_makes_no_sense_is_now() -> None:
    for date in ("Tue, 24 Dec 2099 00:00:00 +0000", "yesterday", "", "Mon, 30 Nov 2026 10:00:02 +9999"):
        mail = raw("ses_unknown").replace(b"Mon, 30 Nov 2026 10:00:08 +0000", date.encode())
        assert only(read_returned(mail, PATH, NOW).reports).happened_at <= NOW


HOSTILE = [
    b"",
    b"\xff\xfe\0",
    b"To: RETURN-PATH\r\nContent-Type: multipart/report; boundary=b\r\n\r\n" + b"--b\r\n" * 5000,
    b"To: RETURN-PATH\r\nContent-Type: message/delivery-status\r\n\r\n",
    b"To: RETURN-PATH\r\nContent-Type: text/plain; charset=nonsense\r\nFrom: postmaster@x\r\n"
    b"Subject: =?nonsense?Q?undeliverable?=\r\n\r\n\xff" + b"5" * 100_000,
    b"To: RETURN-PATH\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
    + b"".join(
        b"--%b\r\nContent-Type: multipart/mixed; boundary=%b\r\n\r\n" % (b"a" * n, b"a" * (n + 1))
        for n in range(1, 400)
    ),
    b"From: mailer-daemon@x\r\nSubject: undelivered\r\nTo: RETURN-PATH\r\n\r\n" + b"450 " * 200_000,
    b"From: mailer-daemon@x\r\nSubject: undelivered\r\nTo: RETURN-PATH\r\nContent-Type: text/html\r\n\r\n"
    + b"<" * 200_000,
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_mail_breaks_the_reader(number: int) -> None:
    answer = read_returned(HOSTILE[number].replace(b"RETURN-PATH", PATH.of(DELIVERY).encode()), PATH, NOW)
    assert all(report.kind is F for report in answer.reports)


async def test_a_mail_server_may_pass_mails_on() -> None:
    token = "hook-hunter2-hunter2"
    served = Served(bounces=BounceKeys(token, PATH))
    login = {"Authorization": f"Bearer {token}", "Content-Type": "message/rfc822"}
    at = "/callbacks/bounces"
    assert await served.post(at, raw("postfix_unknown"), login) == 204
    mail = (MAILS / "ses_unknown.eml").read_bytes()
    assert await served.post(f"{at}?recipient={quote(PATH.of(OTHER))}", mail, login) == 204
    assert [(each.delivery, each.kind) for each in served.reports.recorded] == [(DELIVERY, B), (OTHER, B)]
    unencoded = f"{at}?recipient={PATH.of(OTHER)}"  # as a shell script writes it
    assert await served.post(unencoded, mail, login) == 204
    assert served.reports.recorded.pop().delivery == OTHER
    for name in ("out_of_office", "reply_of_a_person"):
        assert await served.post(at, raw(name), login) == 204
    assert await served.post(at, raw("postfix_unknown", FORGERS), login) == 204
    assert await served.post(at, b"\xff", login) == 204
    assert await served.post(at, raw("postfix_unknown")) == 403
    assert await served.post(at, raw("postfix_unknown"), {"Authorization": "Bearer wrong-hunter2"}) == 403
    assert len(served.reports.recorded) == 2
    assert await Served().post(at, raw("postfix_unknown"), login) == 404


@pytest.mark.parametrize(
    "piece", ["client host ", "sender ", "user ", "daily ", "\n\nStatus: 5.1.1 ", "<", "message ", "550 "]
)
def test_a_report_of_a_megabyte_takes_no_longer_than_its_length(piece: str) -> None:
    """Whoever gets a mail has its return path, and can send back anything."""
    said = piece * (900_000 // len(piece))
    mail = (MAILS / "postfix_unknown.eml").read_bytes()
    for long in (
        mail.replace(b"Diagnostic-Code: smtp;", f"Diagnostic-Code: smtp; {said} ".encode()),
        f"From: mailer-daemon@x.example\nTo: {PATH.of(DELIVERY)}\nSubject: failure notice\n\n{said}".encode(),
    ):
        begun = time.process_time()
        read_returned(long, PATH, NOW, [PATH.of(DELIVERY)])
        assert time.process_time() - begun < 20  # what is quadratic takes hours
