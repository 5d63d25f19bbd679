"""What mail servers and Twilio refuse: the recipient, the mail, the sender's set-up, or nothing for good."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from aiosmtplib import SMTPDataError, SMTPRecipientRefused

from app.domain.errors import DeliveryFailed
from app.outbox.email.refusals import Refusal, enhanced_status, refusal
from app.outbox.email.smtp import classify
from app.outbox.failures import MAX_REFUSED_IN_A_ROW, FailFastBreaker, SetupFailed
from app.outbox.twilio_codes import Fault, fault, of_some_receivers

RCPT, DATA = True, False
SENDER = [
    (DATA, "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail go to ..."),
    (DATA, "550-5.4.5 Daily SMTP relay sending limit exceeded for user"),
    (DATA, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; daily message limit"),
    (RCPT, "550 5.1.90 Your message can't be sent because you've reached your daily limit for recipients"),
    (DATA, "554 Message rejected: Daily message quota exceeded."),
    (RCPT, "452 4.5.3 Hourly mail limit reached for this account"),
    (RCPT, "554 5.7.1 <an@example.com>: Relay access denied"),
    (RCPT, "550 5.7.1 Unable to relay for an@example.com"),
    (RCPT, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"),
    (RCPT, "550 5.7.64 TenantAttribution; Relay Access Denied"),
    (RCPT, "550 relay not permitted"),
    (RCPT, "554 5.7.1 <hub>: Helo command rejected: Host not found"),
    (RCPT, "550 5.1.1 <an@example.com> - 203.0.113.2 has sent to too many recipients this hour. IB607"),
    (RCPT, "553 sorry, that domain isn't in my list of allowed rcpthosts; relaying denied"),
    (DATA, "550 5.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy."),
    (DATA, "550-5.7.26 This mail has been blocked because the sender is unauthenticated."),
    (DATA, "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification"),
    (DATA, "550 5.7.515 Access denied, sending domain doesn't meet the required authentication level."),
    (DATA, "554 5.7.9 Message not accepted for policy reasons."),
    (RCPT, "550 5.7.23 The message was rejected because of Sender Policy Framework violation"),
    (RCPT, "550 SPF check failed"),
    (RCPT, "554 5.7.1 Service unavailable; Client host [203.0.113.5] blocked using zen.spamhaus.org"),
    (RCPT, "550 5.7.1 Service unavailable, Client host [203.0.113.5] blocked using Spamhaus."),
    (RCPT, "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation."),
    (RCPT, "550 5.7.606 Access denied, banned sending IP [203.0.113.5]"),
    (RCPT, "550 5.7.25 The IP address sending this message does not have a PTR record setup"),
    (RCPT, "530 5.7.57 Client not authenticated to send mail"),
    (RCPT, "503 5.5.1 Authentication Required"),
    (DATA, "554 Message rejected: Email address is not verified. The following identities failed the check"),
    (DATA, "550 The from address does not match a verified Sender Identity."),
    (DATA, "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
    (DATA, "554 5.2.252 SendAsDenied; hub@example.com not allowed to send as other@example.com"),
]
ADDRESS = [
    (RCPT, "550 5.1.1 <an@example.com>: Recipient address rejected: User unknown in virtual mailbox table"),
    (RCPT, "550-5.1.1 The email account that you tried to reach does not exist."),
    (RCPT, "550 5.2.1 The email account that you tried to reach is disabled."),
    (RCPT, "554 5.4.14 Hop count exceeded - possible mail loop"),
    (RCPT, "550 5.4.1 Recipient address rejected: Access denied."),
    (RCPT, "553 5.1.2 We weren't able to find the recipient domain."),
    (RCPT, "550 No such user here"),
    (RCPT, "554 delivery error: dd This user doesn't have a yahoo.com account: mailbox unknown"),
    (RCPT, "554 delivery error: dd This user doesn't have a yahoo.com account (an@yahoo.com) [0] - mta1082"),
    (RCPT, "552 1 Requested mail action aborted, mailbox not found"),
    (RCPT, "554 delivery error: dd Not a valid recipient - mta4199.mail.bf1.yahoo.com"),
    (RCPT, "550 5.0.0 User An (an@example.com) not listed in Domino Directory"),
    (RCPT, "550 Host or domain name not found. Name service error for name=example.comn type=A"),
    (RCPT, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
]
MAIL = [
    (DATA, "554 5.7.1 Message rejected as spam"),
    (DATA, "550 5.7.1 Our system has detected that this message is likely unsolicited mail."),
    (DATA, "552 5.3.4 Message size exceeds fixed limit"),
    (DATA, "552-5.7.0 This message was blocked because its content presents a potential security issue."),
    (DATA, "552 5.2.3 Message exceeds maximum message size"),
    (DATA, "550 5.6.0 Message is not RFC compliant"),
    (DATA, "554 no"),
    (RCPT, "550 5.7.129 RESOLVER.RST.RestrictedToRecipientsPermission; not authorized to send to the group"),
    (RCPT, "551 no"),
]
PASSING = [
    (RCPT, "550 4.2.1 The user you are trying to contact is receiving mail too quickly."),
    (RCPT, "552 5.2.2 The email account that you tried to reach is over quota"),
    (RCPT, "552 sorry, mailbox an@example.org is over quota temporarily (#5.1.1)"),
    (
        RCPT,
        "550-5.2.1 The user you are trying to contact is receiving mail at a rate that 550-5.2.1 prevents",
    ),
    (RCPT, "550 5.2.121 Recipient's per hour message receive limit from specific sender exceeded"),
    (RCPT, "550 Mailbox quota exceeded"),
    (RCPT, "451 4.3.5 Server configuration problem"),
    (RCPT, "450 4.7.1 greylisted, try again in 5 minutes"),
    (RCPT, "451 try later"),
    (DATA, "554 4.3.2 please try again"),
    (DATA, "452 4.3.1 Insufficient system storage"),
    (DATA, "421 4.7.0 Try again later, closing connection."),
]


@pytest.mark.parametrize(
    ("recipient", "said", "meant"),
    [
        (recipient, said, meant)
        for meant, answers in (
            (Refusal.SENDER, SENDER),
            (Refusal.ADDRESS, ADDRESS),
            (Refusal.MAIL, MAIL),
            (Refusal.PASSING, PASSING),
        )
        for recipient, said in answers
    ],
)
def test_an_answer_says_whom_the_server_refuses(recipient: bool, said: str, meant: Refusal) -> None:
    code, words = int(said[:3]), said[4:]
    assert refusal(code, words, recipient=recipient) is meant
    error = SMTPRecipientRefused(code, words, "an@example.com") if recipient else SMTPDataError(code, words)
    failure = classify(error)
    assert failure.code == f"smtp_{code}"
    assert isinstance(failure, SetupFailed) is (meant is Refusal.SENDER)
    assert failure.retryable is (meant in (Refusal.SENDER, Refusal.PASSING))
    assert failure.bad_address is (meant is Refusal.ADDRESS)


def test_what_large_providers_and_common_servers_answer_is_told_apart() -> None:
    """`refusals.txt`: what is refused, the command, and the answer, as Gmail, Microsoft 365, … write it."""
    wrong = []
    for line in Path(__file__).with_name("refusals.txt").read_text().splitlines():
        meant, command, said = line.split(maxsplit=2)
        found = refusal(int(said[:3]), said[4:], recipient=command == "RCPT")
        if found != meant:
            wrong.append(f"{found}: {line}")
    assert wrong == []


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("5.1.1 no", (5, "1.1")),
        ("-5.7.26 no", (5, "7.26")),
        ("#5.05.04 no", (5, "5.4")),
        ("sorry [4.2.0]", (4, "2.0")),
        ("from 5.6.7.8", None),
        ("203.5.1.1 no", None),
        ("no", None),
    ],
)
def test_an_enhanced_status_is_found_where_there_is_one(words: str, status: tuple[int, str] | None) -> None:
    assert enhanced_status(words) == status


@pytest.mark.parametrize(
    ("status", "code", "meant"),
    [
        *((400, code, Fault.SETUP) for code in (21703, 21704, 21705, 21606, 21659, 21608, 21408)),
        *(
            (400, code, Fault.SETUP)
            for code in (21212, 21601, 21603, 21607, 21609, 21612, 21660, 21661, 21663)
        ),
        *((400, code, Fault.SETUP) for code in (21701, 21702, 21711, 21712, 21713, 21720, 21901, 21910)),
        *((400, code, Fault.SETUP) for code in (10001, 20005, 20008, 20012, 20151, 20423, 30002, 30023)),
        *((400, code, Fault.SETUP) for code in (30018, 30024, 30032, 30033, 30034, 30037, 30041, 30454)),
        *((400, code, Fault.SETUP) for code in (63001, 63002, 63007, 63015, 63020, 63038, 63051)),
        *((400, code, Fault.NUMBER) for code in (21211, 21610, 21614, 21217, 21265, 21268, 21635)),
        *((400, code, Fault.NUMBER) for code in (30005, 30006, 63003, 63024)),
        *((400, code, Fault.MESSAGE) for code in (21617, 21602, 99999, 21604, 21618, 21620, 21654, 21656)),
        *((400, code, Fault.MESSAGE) for code in (30010, 30012, 30013, 30019, 30036, 30038, 63013, 63016)),
        *((400, code, Fault.PASSING) for code in (21611, 21730, 30001, 30003, 30017, 30022, 63012, 63018)),
        *((429, code, Fault.PASSING) for code in (20429, 14107, None)),
        (401, 20003, Fault.SETUP),
        (403, None, Fault.SETUP),
        (404, 20404, Fault.SETUP),
        (500, 20500, Fault.PASSING),
        (503, None, Fault.PASSING),
        (408, None, Fault.PASSING),
        (400, None, Fault.MESSAGE),
        (400, 30007, Fault.MESSAGE),
    ],
)
def test_a_code_of_twilio_says_whose_fault_it_is(status: int, code: int | None, meant: Fault) -> None:
    assert fault(status, code) is meant


@pytest.mark.parametrize("code", [21408, 21608, 21612, 21910, 30018])
def test_a_receiver_who_can_not_be_sent_to_from_here_stops_no_others(code: int) -> None:
    assert of_some_receivers(code)
    assert not any(map(of_some_receivers, (20003, 21703, 21606, 30002, 21211, None)))


def test_faults_of_the_set_up_are_one_alarm_and_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    breaker = FailFastBreaker(logging.getLogger("hub.mail"))
    breaker.check()
    for _ in range(5):
        breaker.note(SetupFailed("smtp_535", "wrong password"))
    assert [record.message for record in caplog.records] == ["setup_failed"]
    with pytest.raises(SetupFailed, match="wrong password") as repeated:
        breaker.check()
    assert repeated.value.repeated


def test_what_one_recipient_is_refused_for_stops_no_others_until_it_is_all() -> None:
    breaker = FailFastBreaker(logging.getLogger("hub.mail"))
    refused = SetupFailed("smtp_554", "554 5.7.1 Relay access denied", certain=False)
    for _ in range(10):
        for _ in range(MAX_REFUSED_IN_A_ROW - 1):
            breaker.note(refused)
        breaker.note(DeliveryFailed("smtp_550", "550 5.1.1 no such user", retryable=False))
        breaker.check()
        breaker.succeeded()
    for _ in range(MAX_REFUSED_IN_A_ROW):
        breaker.check()
        breaker.note(refused)
    with pytest.raises(SetupFailed):
        breaker.check()
