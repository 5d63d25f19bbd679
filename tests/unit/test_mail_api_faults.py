"""What SendGrid, Mailgun and Amazon SES refuse, by the bodies that their APIs answer with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from app.outbox.email.api_provider import ApiAnswer
from app.outbox.email.mailgun import MailgunApi
from app.outbox.email.refusals import Refusal
from app.outbox.email.sendgrid import SendGridApi
from app.outbox.email.ses import SesApi
from app.settings.mail_providers import MailgunSettings, SendGridSettings, SesSettings

SENDER, ADDRESS, MAIL, PASSING = Refusal.SENDER, Refusal.ADDRESS, Refusal.MAIL, Refusal.PASSING
SENDGRID = SendGridApi(SendGridSettings(api_key=SecretStr("SG.key")))
MAILGUN = MailgunApi(MailgunSettings(api_key=SecretStr("key")), "mg.example.com")
SES = SesApi(SesSettings(region="eu-west-1", access_key_id="AKIA", secret_access_key=SecretStr("secret-key")))


@pytest.mark.parametrize(
    ("status", "field", "said", "meant"),
    [
        (401, None, "The provided authorization grant is invalid, expired, or revoked", SENDER),
        (401, None, "Maximum credits exceeded", SENDER),
        (403, "from", "The from address does not match a verified Sender Identity.", SENDER),
        (403, None, "access forbidden", SENDER),
        (400, "from.email", "Does not contain a valid address.", SENDER),
        (400, "personalizations.0.to.0.email", "Does not contain a valid address.", ADDRESS),
        (400, "content.0.value", "The content value must be a string at least one character", MAIL),
        (400, None, "Bad Request", MAIL),
        (413, None, "Payload too large", MAIL),
        (404, None, "not found", SENDER),
        (429, None, "too many requests", PASSING),
        (502, None, "", PASSING),
    ],
)
def test_a_fault_of_sendgrid(status: int, field: str | None, said: str, meant: Refusal) -> None:
    body = json.dumps({"errors": [{"message": said, "field": field, "help": None}]})
    assert SENDGRID.fault(ApiAnswer(status, {}, body.encode())).refusal is meant


@pytest.mark.parametrize(
    ("status", "said", "meant"),
    [
        (401, "Invalid private key", SENDER),
        (400, "'to' parameter is not a valid address. please check documentation", ADDRESS),
        (400, "from parameter is missing", SENDER),
        (400, "Sandbox subdomains are for test purposes only. Please add your own domain", SENDER),
        (403, "Domain mg.example.com is not allowed to send: Sandbox", SENDER),
        (404, "Domain not found: mg.example.com", SENDER),
        (402, "Account disabled", SENDER),
        (400, "Invalid MIME", MAIL),
        (429, "Too many requests", PASSING),
        (500, "Internal Server Error", PASSING),
    ],
)
def test_a_fault_of_mailgun(status: int, said: str, meant: Refusal) -> None:
    answer = ApiAnswer(status, {}, json.dumps({"message": said}).encode())
    assert MAILGUN.fault(answer).refusal is meant


@pytest.mark.parametrize(
    ("status", "kind", "said", "meant"),
    [
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.", PASSING),
        (400, "LimitExceededException", "Maximum sending rate exceeded.", PASSING),
        (400, "ThrottlingException", "Rate exceeded", PASSING),
        (400, "Throttling", "Rate exceeded", PASSING),
        (429, "TooManyRequestsException", "Daily message quota exceeded.", SENDER),
        (400, "MessageRejected", "Email address is not verified. These identities failed: a@b", SENDER),
        (400, "MessageRejected", "Transaction failed: Unbalanced quotes", MAIL),
        (400, "MailFromDomainNotVerifiedException", "Domain not set up", SENDER),
        (400, "MailFromDomainNotVerified", "Domain not set up", SENDER),
        (400, "AccountSendingPausedException", "", SENDER),
        (400, "SendingPausedException", "", SENDER),
        (400, "ConfigurationSetSendingPausedException", "", SENDER),
        (400, "ConfigurationSetDoesNotExist", "", SENDER),
        (400, "AccountSuspendedException", "", SENDER),
        (404, "NotFoundException", "Configuration set <x> does not exist", SENDER),
        (400, "RequestExpired", "Request has expired", SENDER),
        (403, "SignatureDoesNotMatch", "The request signature we calculated does not match", SENDER),
        (403, "ExpiredTokenException", "The security token included in the request is expired", SENDER),
        (400, "BadRequestException", "Local address contains control or whitespace", ADDRESS),
        (400, "BadRequestException", "Email address is not valid: an@", ADDRESS),
        (400, "BadRequestException", "Duplicate tags", MAIL),
        (500, "InternalFailure", "", PASSING),
        (503, "ServiceUnavailable", "", PASSING),
    ],
)
@pytest.mark.parametrize("place", ["header", "body", "url"])
def test_a_fault_of_ses(place: str, status: int, kind: str, said: str, meant: Refusal) -> None:
    headers, body = (
        {},
        {"message": said} | ({"__type": f"com.amazonaws.ses#{kind}"} if place == "body" else {}),
    )
    if place != "body":
        headers = {"x-amzn-ErrorType": kind if place == "header" else f"{kind}:http://internal.amazon.com/"}
    assert SES.fault(ApiAnswer(status, headers, json.dumps(body).encode())).refusal is meant


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"x"', b"null", b"\xff", b'{"errors": 5}'])
@pytest.mark.parametrize("api", [SENDGRID, MAILGUN, SES])
def test_an_answer_in_no_known_form_is_judged_by_its_status(api: Any, body: bytes) -> None:
    meant = {400: MAIL, 401: SENDER, 403: SENDER, 429: PASSING, 503: PASSING, 302: SENDER}
    assert {status: api.fault(ApiAnswer(status, {}, body)).refusal for status in meant} == meant
