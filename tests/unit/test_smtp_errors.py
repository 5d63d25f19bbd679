"""What an exception of an SMTP conversation means, and words that are safe to keep."""

from __future__ import annotations

import base64
import ssl
from uuid import uuid4

import pytest
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPConnectResponseError,
    SMTPConnectTimeoutError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupported,
    SMTPReadTimeoutError,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from app.domain.deliveries import masked
from app.domain.errors import DeliveryFailed
from app.outbox.channel import Outgoing
from app.outbox.email.smtp import classify
from app.outbox.failures import MAX_ERROR_CHARS, SetupFailed, safe_words

CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")
CERTIFICATE.verify_message = "Hostname mismatch"


def caused(error: SMTPException, cause: Exception) -> SMTPException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (SMTPConnectResponseError(421, "busy"), "smtp_421", "421 busy"),
        (SMTPSenderRefused(451, "later", "a@b.c"), "smtp_451", "451 later"),
        (SMTPRecipientRefused(450, "greylisted", "a@b.c"), "smtp_450", "450 greylisted"),
        (SMTPDataError(452, "full"), "smtp_452", "452 full"),
        (SMTPAuthenticationError(454, "not now"), "smtp_454", "454 not now"),
        (SMTPDataError(-1, "?"), "bad_answer", "the server's answer is not valid SMTP: -1 ?"),
        (
            SMTPSenderRefused(354, "go", "a@b.c"),
            "bad_answer",
            ("the server's answer is not valid SMTP: 354 go"),
        ),
        (SMTPReadTimeoutError("no answer"), "timeout", "no answer"),
        (SMTPConnectTimeoutError("no greeting"), "timeout", "no greeting"),
        (TimeoutError(), "timeout", "the server didn't answer in time"),
        (SMTPServerDisconnected("gone"), "disconnected", "gone"),
        (ConnectionResetError(104, "reset"), "disconnected", "[Errno 104] reset"),
        (BrokenPipeError(), "disconnected", "BrokenPipeError"),
        (SMTPConnectError("refused"), "connect", "refused"),
        (SMTPException("what?"), "smtp", "SMTPException"),
    ],
)
def test_connection_and_temporary_errors_are_retryable(error: Exception, code: str, text: str) -> None:
    failure = classify(error)
    assert not isinstance(failure, SetupFailed)
    assert (failure.code, str(failure), failure.retryable, failure.retry_after) == (code, text, True, None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SMTPSenderRefused(552, "no", "a@b.c"), "smtp_552"),
        (SMTPRecipientRefused(551, "no", "a@b.c"), "smtp_551"),
        (SMTPDataError(554, "no"), "smtp_554"),
        (SMTPNotSupported("no"), "smtputf8_not_offered"),
    ],
)
def test_what_is_said_of_the_mail_itself_does_not(error: Exception, code: str) -> None:
    failure = classify(error)
    assert (failure.code, failure.retryable) == (code, False)
    assert str(failure).endswith("no")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SMTPConnectResponseError(554, "not you"), "smtp_554"),
        (SMTPHeloError(550, "not you"), "smtp_550"),
        (SMTPResponseException(502, "no STARTTLS"), "smtp_502"),
        (SMTPAuthenticationError(535, "wrong"), "smtp_535"),
        (SMTPSenderRefused(530, "log in", "a@b.c"), "smtp_530"),
        (CERTIFICATE, "certificate"),
        (caused(SMTPConnectError("TLS"), CERTIFICATE), "certificate"),
        (ssl.SSLError(1, "wrong version"), "tls"),
    ],
)
def test_what_concerns_every_mail_waits_for_an_operator(error: Exception, code: str) -> None:
    failure = classify(error)
    assert isinstance(failure, SetupFailed)
    assert (failure.code, failure.retryable) == (code, True)
    assert failure.retry_after


def test_what_is_classified_stays_so() -> None:
    failure = DeliveryFailed("bad_address", "no", retryable=False)
    assert classify(failure) is failure


def outgoing(**data: object) -> Outgoing:
    return Outgoing(uuid4(), "otp_register", "An.Nguyen@example.com", "vi", data)


def test_words_are_one_line_of_bounded_length() -> None:
    assert safe_words("no\r\nsuch\x00 \x1b[31muser\udc80") == "no such [31muser"
    assert safe_words("x" * 1000) == "x" * (MAX_ERROR_CHARS - 1) + "…"


def test_words_hold_nothing_of_the_mail() -> None:
    mail = outgoing(code="739148", number=55512345, nested={"links": ["https://pay.example/t0ken"]})
    said = "<an.nguyen@EXAMPLE.com>: 739148, 739 148, 739-148, 55512345, https://pay.example/t0ken, hunter2"
    assert safe_words(said, mail, ["hunter2"]) == "<A***@example.com>: …, …, …, …, …, …"


def test_words_keep_what_only_looks_alike() -> None:
    mail = outgoing(minutes=10, grade="5.1", none=None, empty="")
    assert safe_words("550 5.1.1 no user, 10 tries", mail, ["", "a"]) == "550 5.1.1 no user, 10 tries"


@pytest.mark.parametrize(
    "quoted",
    [
        "CanaryAbc123",
        "CANARYABC123",
        "canary abc 123",
        "Canary-Abc-123",
        "Canary.Abc.123",
        "Canary\u2013Abc123",
    ],
)
def test_a_value_is_found_in_any_spelling(quoted: str) -> None:
    mail = Outgoing(uuid4(), "plain", "an@example.com", "en", {"title": "CanaryAbc123"})
    assert safe_words(f"550 spam: {quoted}!", mail) == "550 spam: …!"


@pytest.mark.parametrize("username", ["", "a", "ab", "abc", "hub@example.com"])
def test_a_password_is_found_as_it_is_sent(username: str) -> None:
    password = "correct horse battery staple"
    blob = base64.b64encode(f"\0{username}\0{password}".encode()).decode()
    said = safe_words(f"535 what is {blob}?", None, [password])
    assert base64.b64encode(password.encode()).decode()[4:-4] not in said
    assert not any(blob[start : start + 12] in said for start in range(len(blob) - 20, len(blob) - 12))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("550 5.7.1 spam: 482.913", "550 5.7.1"),
        ("451-4.7.1 NDgyOTEz", "451-4.7.1"),
        ("482913", ""),
        ("554 482913", "554"),
    ],
)
def test_of_what_is_said_of_a_code_only_the_status_is_kept(said: str, kept: str) -> None:
    mail = Outgoing(uuid4(), "otp", "an@example.com", "en", {"code": "482913"}, confidential=True)
    words = "(text omitted because it may quote the code)"
    assert safe_words(said, mail) == f"{kept} {words}".strip()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("anna@example.com", "a***@example.com"),
        ("a@b.example", "***@b.example"),
        ("+84912345678", "***678"),
        ("123", "***"),
    ],
)
def test_an_address_is_masked(address: str, shown: str) -> None:
    assert masked(address) == shown
