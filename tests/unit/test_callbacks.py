"""The callbacks of providers: whose signature is accepted, and what each report says."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sanic import Sanic
from sanic_testing.testing import SanicASGITestClient

from app.api import errors
from app.api.callbacks import CallbackKeys, CallbackResource, TwilioKeys
from app.auth.callback_signatures import (
    MAX_AGE_SECONDS,
    ecdsa_key,
    mailgun_signed,
    sendgrid_signed,
    twilio_signed,
)
from app.auth.sns import SnsMessage, SnsVerifier, is_certificate_url, is_sns_url
from app.domain.delivery_events import DeliveryReport, EventKind
from app.outbox.callbacks import of_mailgun, of_sendgrid, of_ses, of_twilio

DELIVERY = UUID("6f1c2a3b-7e8d-5c4b-9a0f-1e2d3c4b5a69")
NOW = datetime.now(UTC)
TOPIC = "arn:aws:sns:eu-central-1:123456789012:mail"
CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem"
SID, TOKEN, MAILGUN_KEY = f"AC{'5' * 32}", "twilio-token-hunter2", "mailgun-key-hunter2"
TWILIO_URL = "https://hub.example.com/callbacks/twilio"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_PUBLIC = b64encode(
    EC_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()


# --- signatures ---------------------------------------------------------------------------------------------


def test_twilio_s_own_example() -> None:
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
        "Caller": "+14158675309",
    }
    url, signature = "https://mycompany.com/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert twilio_signed("12345", signature, url, form.items())
    assert not twilio_signed("12346", signature, url, form.items())
    assert not twilio_signed("12345", signature, url + "&c=3", form.items())
    assert not twilio_signed("12345", signature, url, [*form.items(), ("To", "+18005551213")])
    assert not twilio_signed("12345", "", url, form.items())
    assert not twilio_signed("12345", "é", url, form.items())


@pytest.mark.parametrize("signed", ["https://hub.example.com/c", "https://hub.example.com:443/c"])
@pytest.mark.parametrize("called", ["https://hub.example.com/c", "https://hub.example.com:443/c"])
def test_twilio_signs_the_port_or_not(signed: str, called: str) -> None:
    signature = b64encode(hmac.new(b"t", f"{signed}a1".encode(), "sha1").digest()).decode()
    assert twilio_signed("t", signature, called, [("a", "1")])


def mailgun(timestamp: int, token: str = "t" * 50, key: str = MAILGUN_KEY) -> dict[str, str]:
    digest = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": str(timestamp), "token": token, "signature": digest}


@pytest.mark.parametrize(
    ("signature", "fits"),
    [
        (mailgun(1_000_000), True),
        (mailgun(1_000_000 - MAX_AGE_SECONDS), True),
        (mailgun(1_000_000 - MAX_AGE_SECONDS - 1), False),
        (mailgun(1_000_000 + MAX_AGE_SECONDS + 1), False),
        (mailgun(1_000_000, key="another"), False),
        ({**mailgun(1_000_000), "token": "another"}, False),
        ({**mailgun(1_000_000), "signature": ""}, False),
        ({**mailgun(1_000_000), "timestamp": "soon"}, False),
    ],
)
def test_mailgun_s_signature(signature: dict[str, str], fits: bool) -> None:
    assert mailgun_signed(MAILGUN_KEY, now=1_000_000, **signature) is fits


def sendgrid(
    body: bytes, at: float | None = None, key: ec.EllipticCurvePrivateKey = EC_KEY
) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }


def test_sendgrid_s_signature() -> None:
    public = ecdsa_key(EC_PUBLIC)

    def check(headers: dict[str, str], body: bytes = b"[]", now: float = 1_000_000) -> bool:
        signature, timestamp = headers.values()
        return sendgrid_signed(public, signature, timestamp, body, now)

    assert check(sendgrid(b"[]", 1_000_000))
    assert not check(sendgrid(b"[]", 1_000_000), b"[ ]")
    assert not check(sendgrid(b"[]", 1_000_000 - MAX_AGE_SECONDS - 1))
    assert not check(sendgrid(b"[]", 1_000_000, ec.generate_private_key(ec.SECP256R1())))
    assert not check({"signature": "", "timestamp": "1000000"})
    assert not check({"signature": "****", "timestamp": "1000000"})


@pytest.mark.parametrize("key", ["", "MFkw", "not base64", b64encode(b"x" * 91).decode()])
def test_what_is_no_key_of_sendgrid_is_refused(key: str) -> None:
    with pytest.raises(ValueError):
        ecdsa_key(key)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-0a.pem",
        "https://evil.example/sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-0a.pem",
        "https://snsXeu-central-1.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com/../SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a.pem?x=1",
        "https://sns.eu-central-1.amazonaws.com/?Action=Publish",
        "https://sns.eu-central-1.amazonaws.com\\@127.0.0.1/SimpleNotificationService-0a.pem",
        "https://sns.eu-central-1.amazonaws.com\r\n/SimpleNotificationService-0a.pem",
        "https://169.254.169.254/SimpleNotificationService-0a.pem",
        "https://[::1]/SimpleNotificationService-0a.pem",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_certificate_is_asked_of_sns_alone(url: str) -> None:
    assert not is_certificate_url(url)


def test_the_certificates_of_sns() -> None:
    assert is_certificate_url(CERTIFICATE_URL)
    assert is_certificate_url("https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0a.pem")
    assert is_sns_url("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=1")


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(RSA_KEY.public_key())
    made = made.serial_number(1).not_valid_before(NOW - timedelta(days=1))
    return made.not_valid_after(NOW + timedelta(days=1)).sign(RSA_KEY, SHA256()).public_bytes(Encoding.PEM)


class Verifier(SnsVerifier):
    """Has the certificate; notes what it would call."""

    def __init__(self) -> None:
        super().__init__([TOPIC])
        self.called: list[str] = []

    async def _fetch(self, url: str) -> httpx.Response:
        self.called.append(url)
        return httpx.Response(200, content=certificate())


def sns(message: Any, kind: str = "Notification", **changes: Any) -> bytes:
    given = {
        "Type": kind,
        "MessageId": "m1",
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": NOW.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SignatureVersion": "2",
        "Signature": "",
        "SigningCertURL": CERTIFICATE_URL,
        **changes,
    }
    text = msgspec.convert(given, SnsMessage).signed_text()
    if not given["Signature"]:
        given["Signature"] = b64encode(RSA_KEY.sign(text or b"", PKCS1v15(), SHA256())).decode()
    return json.dumps(given).encode()


async def test_a_message_of_sns_is_checked() -> None:
    verifier = Verifier()
    assert (await verifier.read(sns("hello"))) is not None
    assert (await verifier.read(sns("hello", Subject="Notification"))) is not None
    assert verifier.called == [CERTIFICATE_URL]
    forged = json.loads(sns("hello"))
    for change in (
        {"Message": "other"},
        {"MessageId": "m2"},
        {"TopicArn": f"{TOPIC}2"},
        {"SignatureVersion": "1"},
        {"SignatureVersion": "3"},
        {"Signature": "AAAA"},
        {"Signature": "é"},
        {"SigningCertURL": "https://evil.example/SimpleNotificationService-0a.pem"},
        {"Timestamp": "yesterday"},
        {"Type": "Other"},
        {"Type": None},
    ):
        assert await verifier.read(json.dumps({**forged, **change}).encode()) is None, change
    old = (NOW - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert await verifier.read(sns("hello", Timestamp=old)) is None
    assert await verifier.read(sns("hello", TopicArn="arn:aws:sns:eu-central-1:666:evil")) is None
    for body in (b"", b"[]", b"\xff", b"null"):
        assert await verifier.read(body) is None
    assert verifier.called == [CERTIFICATE_URL]


# --- what they say ------------------------------------------------------------------------------------------


def kinds(reports: Sequence[DeliveryReport]) -> list[tuple[UUID, EventKind, str | None]]:
    return [(each.delivery, each.kind, each.code) for each in reports]


def sendgrid_event(event: str, **more: Any) -> dict[str, Any]:
    named = {"email": "an@example.com", "timestamp": 1600112492, "sg_event_id": f"e-{event}", "event": event}
    return {**named, "sg_message_id": "id-1.filterdrecv-1", "delivery": str(DELIVERY), **more}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (sendgrid_event("delivered", response="250 OK"), EventKind.DELIVERED),
        (sendgrid_event("deferred", response="451 4.7.1 later"), EventKind.DEFERRED),
        (sendgrid_event("bounce", type="bounce", reason="550 5.1.1 no such user"), EventKind.BOUNCED),
        (sendgrid_event("bounce", type="blocked", reason="554 5.7.1 blocked"), EventKind.FAILED),
        (sendgrid_event("dropped", reason="Bounced Address"), EventKind.BOUNCED),
        (sendgrid_event("dropped", reason="Unsubscribed Address"), EventKind.FAILED),
        (sendgrid_event("spamreport"), EventKind.COMPLAINED),
        (sendgrid_event("open"), EventKind.OPENED),
        (sendgrid_event("click", url="https://x.example"), EventKind.CLICKED),
        (sendgrid_event("processed"), None),
        (sendgrid_event("delivered", delivery="another's"), None),
        (sendgrid_event("delivered", timestamp="soon"), None),
        ({"event": "delivered"}, None),
        ("delivered", None),
    ],
)
def test_events_of_sendgrid(event: Any, kind: EventKind | None) -> None:
    other = sendgrid_event("delivered", sg_event_id="other")
    reports = of_sendgrid(json.dumps([event, other]).encode())
    assert reports[-1].key == "other"
    assert [each.kind for each in reports[:-1]] == ([] if kind is None else [kind])
    if kind is not None:
        assert (reports[0].delivery, reports[0].provider_id) == (DELIVERY, "id-1")


def mailgun_event(event: str, **more: Any) -> dict[str, Any]:
    named = {"event": event, "id": f"m-{event}", "timestamp": 1529006854.329574}
    return {**named, "user-variables": {"delivery": str(DELIVERY)}, **more}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (
            mailgun_event("delivered", **{"delivery-status": {"code": 250, "message": "OK"}}),
            EventKind.DELIVERED,
        ),
        (mailgun_event("failed", severity="temporary", reason="generic"), EventKind.DEFERRED),
        (mailgun_event("failed", severity="permanent", reason="suppress-bounce"), EventKind.BOUNCED),
        (mailgun_event("failed", severity="permanent", reason="bounce"), EventKind.BOUNCED),
        (
            mailgun_event(
                "failed",
                severity="permanent",
                reason="generic",
                **{"delivery-status": {"code": 550, "message": "5.1.1 The email account does not exist"}},
            ),
            EventKind.BOUNCED,
        ),
        (
            mailgun_event("failed", severity="permanent", reason="old", **{"delivery-status": {"code": 602}}),
            EventKind.FAILED,
        ),
        (mailgun_event("complained"), EventKind.COMPLAINED),
        (mailgun_event("opened"), EventKind.OPENED),
        (mailgun_event("accepted"), None),
        (mailgun_event("delivered", **{"user-variables": {}}), None),
        (mailgun_event("delivered", **{"user-variables": []}), None),
        ([], None),
    ],
)
def test_events_of_mailgun(event: Any, kind: EventKind | None) -> None:
    assert [each.kind for each in of_mailgun(event)] == ([] if kind is None else [kind])


def ses_event(name: str, **about: Any) -> dict[str, Any]:
    mail = {
        "messageId": "id-1",
        "timestamp": "2026-11-30T12:00:00.000Z",
        "tags": {"delivery": [str(DELIVERY)]},
    }
    return {"eventType": name, "mail": mail, name[:1].lower() + name[1:]: about}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (ses_event("Delivery", smtpResponse="250 ok"), EventKind.DELIVERED),
        (
            ses_event(
                "Bounce",
                bounceType="Permanent",
                feedbackId="f1",
                bouncedRecipients=[{"diagnosticCode": "smtp; 550 5.1.1 unknown"}],
            ),
            EventKind.BOUNCED,
        ),
        (ses_event("Bounce", bounceType="Transient", bounceSubType="MailboxFull"), EventKind.FAILED),
        (ses_event("Complaint", complaintFeedbackType="abuse"), EventKind.COMPLAINED),
        (ses_event("DeliveryDelay", delayType="MailboxFull"), EventKind.DEFERRED),
        (ses_event("Reject", reason="Bad content"), EventKind.FAILED),
        (ses_event("Open", timestamp="2026-11-30T12:00:01.000Z"), EventKind.OPENED),
        (ses_event("Send"), None),
        (
            {
                "notificationType": "Delivery",
                "mail": {
                    "messageId": "id-1",
                    "timestamp": "2026-11-30T12:00:00.000Z",
                    "headers": [{"name": "Message-ID", "value": f"<{DELIVERY}@hub.example>"}],
                },
            },
            EventKind.DELIVERED,
        ),
        ({"mail": {}}, None),
        ("Successfully validated SNS topic for Amazon SES event publishing.", None),
    ],
)
def test_events_of_ses(event: Any, kind: EventKind | None) -> None:
    reports = of_ses(event if isinstance(event, str) else json.dumps(event))
    assert [(each.delivery, each.kind) for each in reports] == ([] if kind is None else [(DELIVERY, kind)])


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"MessageStatus": "delivered"}, (EventKind.DELIVERED, None)),
        ({"MessageStatus": "undelivered", "ErrorCode": "30005"}, (EventKind.BOUNCED, "twilio_30005")),
        ({"MessageStatus": "undelivered", "ErrorCode": "30003"}, (EventKind.FAILED, "twilio_30003")),
        ({"MessageStatus": "failed", "ErrorCode": "21610"}, (EventKind.BOUNCED, "twilio_21610")),
        ({"MessageStatus": "failed"}, (EventKind.FAILED, "twilio_undelivered")),
        ({"MessageStatus": "sent"}, None),
        ({"SmsStatus": "delivered"}, None),
        ({}, None),
    ],
)
def test_status_callbacks_of_twilio(
    form: dict[str, str], expected: tuple[EventKind, str | None] | None
) -> None:
    reports = of_twilio(str(DELIVERY), {"MessageSid": "SM1", **form}, NOW)
    assert [(each.kind, each.code) for each in reports] == ([] if expected is None else [expected])
    assert of_twilio(None, form, NOW) == of_twilio("1", form, NOW) == []


# --- the calls ----------------------------------------------------------------------------------------------


class Reports:
    def __init__(self) -> None:
        self.recorded: list[DeliveryReport] = []

    async def record(self, reports: Sequence[DeliveryReport]) -> int:
        self.recorded += reports
        return len(reports)


class Open:
    """As `Authenticator`; counts what is refused."""

    def __init__(self) -> None:
        self.refusals = 0

    async def signed(self, request: Any) -> None:
        await request.receive_body()

    def refused(self, request: Any) -> None:
        self.refusals += 1


class Served:
    def __init__(self, **changes: Any) -> None:
        self.reports, self.open, self.sns = Reports(), Open(), Verifier()
        keys = CallbackKeys(
            ecdsa_key(EC_PUBLIC), MAILGUN_KEY, self.sns, TwilioKeys(SID, TOKEN, TWILIO_URL), None
        )._replace(**changes)
        app: Sanic[Any, Any] = Sanic(f"callbacks-{id(self)}", configure_logging=False)
        errors.install(app)
        app.blueprint(CallbackResource(self.open, self.reports, keys).blueprint())  # type: ignore[arg-type]
        self._client = SanicASGITestClient(app)

    async def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> int:
        _, answer = await self._client.post(path, content=body, headers=headers or {})
        status: int = answer.status
        return status


async def test_signed_calls_are_recorded_and_others_change_nothing() -> None:
    served = Served()
    body = json.dumps([sendgrid_event("delivered")]).encode()
    assert await served.post("/callbacks/sendgrid", body, sendgrid(body)) == 204
    assert await served.post("/callbacks/sendgrid", body + b" ", sendgrid(body)) == 403
    assert await served.post("/callbacks/sendgrid", body) == 403
    assert await served.post("/callbacks/sendgrid", b"{", sendgrid(b"{")) == 204

    event = json.dumps(
        {"signature": mailgun(int(time.time())), "event-data": mailgun_event("opened")}
    ).encode()
    assert await served.post("/callbacks/mailgun", event) == 204
    assert await served.post("/callbacks/mailgun", event) == 403, "a signature is accepted once"
    old = {"signature": mailgun(int(time.time()) - 3600), "event-data": mailgun_event("opened")}
    assert await served.post("/callbacks/mailgun", json.dumps(old).encode()) == 403
    for nonsense in (b"", b"[]", b'{"signature": 1}'):
        assert await served.post("/callbacks/mailgun", nonsense) == 403

    assert await served.post("/callbacks/ses", sns(ses_event("Complaint"))) == 204
    assert await served.post("/callbacks/ses", sns(ses_event("Complaint"), Signature="AAAA")) == 403

    form = urlencode({"AccountSid": SID, "MessageSid": "SM1", "MessageStatus": "delivered"})
    query = f"?delivery={DELIVERY}"
    fields = "".join(f"{n}{v}" for n, v in sorted(pair.split("=") for pair in form.split("&")))
    signature = b64encode(hmac.new(TOKEN.encode(), f"{TWILIO_URL}{query}{fields}".encode(), "sha1").digest())
    headers = {
        "X-Twilio-Signature": signature.decode(),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    assert await served.post(f"/callbacks/twilio{query}", form.encode(), headers) == 204
    assert await served.post(f"/callbacks/twilio?delivery={SID}", form.encode(), headers) == 403
    assert await served.post(f"/callbacks/twilio{query}", form.encode()) == 403

    assert kinds(served.reports.recorded) == [
        (DELIVERY, EventKind.DELIVERED, None),
        (DELIVERY, EventKind.OPENED, None),
        (DELIVERY, EventKind.COMPLAINED, None),
        (DELIVERY, EventKind.DELIVERED, None),
    ]
    assert served.open.refusals == 10


async def test_a_subscription_of_a_topic_of_ours_is_confirmed() -> None:
    served = Served()
    url = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    asked = sns("You have chosen", "SubscriptionConfirmation", Token="t", SubscribeURL=url)
    assert await served.post("/callbacks/ses", asked) == 204
    assert served.sns.called == [CERTIFICATE_URL, url]
    evil = sns("", "SubscriptionConfirmation", Token="t", SubscribeURL="http://169.254.169.254/")
    assert await served.post("/callbacks/ses", evil) == 403
    assert served.sns.called == [CERTIFICATE_URL, url]


@pytest.mark.parametrize("provider", ["sendgrid", "mailgun", "ses", "twilio"])
async def test_callbacks_that_are_not_set_up_are_not_there(provider: str) -> None:
    field = {"ses": "sns"}.get(provider, provider)
    assert await Served(**{field: None}).post(f"/callbacks/{provider}", b"{}") == 404


def test_a_signature_is_base64_of_der() -> None:
    assert b64decode(sendgrid(b"")["X-Twilio-Email-Event-Webhook-Signature"])[0] == 0x30
