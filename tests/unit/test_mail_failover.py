"""Which provider a mail goes to: the next one where a provider fails, none where the mail is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from pydantic import SecretStr

from app.auth.secrets import SecretBox
from app.domain.deliveries import REPLY_TO, Status
from app.domain.errors import ConfigurationError, DeliveryFailed
from app.outbox import make_channels
from app.outbox.channel import Confirm, DeliveryCancelled, Outgoing, wanted
from app.outbox.email.channel import MAX_OUTAGES_IN_A_ROW, EmailChannel
from app.outbox.email.mime import named_address
from app.outbox.email.provider import ComposedMail
from app.outbox.email.return_path import ReturnPath
from app.outbox.failures import SetupFailed
from app.settings.channels import SmtpSettings
from tests.support.mail import Texts
from tests.support.settings import settings_on

OUTAGE = DeliveryFailed("connect", "no connection", retryable=True, of_provider=True)
GREYLISTED = DeliveryFailed("smtp_451", "later", retryable=True)
NO_SUCH_USER = DeliveryFailed("smtp_550", "no such user", retryable=False, bad_address=True)
WRONG_KEY = SetupFailed("sendgrid_401", "wrong key")
WAITS = SetupFailed("sendgrid_401", "wrong key", repeated=True)


class Provider:
    """Fails with `failure`, if it has one, or hangs."""

    at_once = 4

    def __init__(self, name: str, failure: DeliveryFailed | None = None) -> None:
        self.name = name
        self.failure = failure
        self.hangs = False
        self.calls = 0
        self.ids: list[str] = []
        self.slots = asyncio.Semaphore(self.at_once)

    def encode(self, mail: ComposedMail) -> bytes:
        return self.name.encode()

    async def send(self, mail: ComposedMail, content: bytes, confirm: Confirm) -> str | None:
        assert content == self.name.encode()
        self.calls += 1
        await confirm()
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        self.ids.append(mail.message.message_id)
        return self.name

    async def close(self) -> None:
        pass


def channel(providers: Sequence[Provider], **settings: Any) -> EmailChannel:
    return EmailChannel(SmtpSettings(sender="no-reply@hub.example", **settings), Texts(), providers)


def mail() -> Outgoing:
    data: Mapping[str, Any] = {"code": "739148"}
    return Outgoing(uuid4(), "plain", "an@example.com", "vi", data)


@pytest.mark.parametrize("failure", [OUTAGE, WRONG_KEY, WAITS])
async def test_a_provider_that_fails_is_passed_over(
    failure: DeliveryFailed, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Provider("one", failure), Provider("two")
    outgoing = mail()
    receipt = await channel([first, second]).send(outgoing)
    assert receipt.provider_id == "two"
    assert second.ids == [f"<{outgoing.id}@hub.example>"]
    (logged,) = [record for record in caplog.records if record.message == "failed_over"]
    assert (logged.provider, logged.code) == ("one", failure.code)  # type: ignore[attr-defined]


@pytest.mark.parametrize("failure", [NO_SUCH_USER, GREYLISTED])
async def test_what_is_refused_is_asked_of_nobody_else(failure: DeliveryFailed) -> None:
    first, second = Provider("one", failure), Provider("two")
    with pytest.raises(DeliveryFailed) as failed:
        await channel([first, second]).send(mail())
    assert failed.value is failure
    assert second.calls == 0


@pytest.mark.parametrize(
    ("failures", "code", "setup"),
    [
        ((OUTAGE, WRONG_KEY), "connect", False),
        ((WRONG_KEY, OUTAGE), "connect", False),
        ((WAITS, WRONG_KEY), "sendgrid_401", True),
        ((WAITS, WAITS), "sendgrid_401", True),
        ((OUTAGE, NO_SUCH_USER), "smtp_550", False),
    ],
)
async def test_where_nobody_takes_it_the_failure_says_what_helps(
    failures: Sequence[DeliveryFailed], code: str, setup: bool
) -> None:
    providers = [Provider(str(number), failure) for number, failure in enumerate(failures)]
    with pytest.raises(DeliveryFailed) as failed:
        await channel(providers).send(mail())
    assert (failed.value.code, isinstance(failed.value, SetupFailed)) == (code, setup)
    if failures == (WAITS, WRONG_KEY):
        assert failed.value is WRONG_KEY


async def test_a_provider_that_hangs_has_a_limit_unless_it_is_the_last() -> None:
    first, second = Provider("one"), Provider("two")
    first.hangs = True
    receipt = await channel([first, second], failover_after=0.05).send(mail())
    assert receipt.provider_id == "two"


async def test_a_provider_that_keeps_failing_is_not_asked_for_a_while() -> None:
    first, second = Provider("one", OUTAGE), Provider("two")
    sending = channel([first, second])
    for _ in range(MAX_OUTAGES_IN_A_ROW + 5):
        await sending.send(mail())
    assert first.calls == MAX_OUTAGES_IN_A_ROW
    second.failure = OUTAGE
    with pytest.raises(DeliveryFailed) as failed:
        await sending.send(mail())
    assert (failed.value.code, failed.value.retryable) == ("connect", True)


async def test_a_refused_recipient_is_no_outage() -> None:
    first, second = Provider("one", NO_SUCH_USER), Provider("two")
    sending = channel([first, second])
    for _ in range(MAX_OUTAGES_IN_A_ROW + 5):
        with pytest.raises(DeliveryFailed):
            await sending.send(mail())
    first.failure = None
    assert (await sending.send(mail())).provider_id == "one"


async def test_what_is_no_longer_wanted_goes_to_nobody() -> None:
    async def unwanted() -> None:
        raise DeliveryCancelled(Status.SUPPRESSED, "")

    first, second = Provider("one"), Provider("two")
    with pytest.raises(DeliveryCancelled):
        await channel([first, second]).send(mail(), unwanted)
    assert second.calls == 0
    await channel([first, second]).send(mail(), wanted)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"email_providers": "sendgrid"}, "SENDGRID_API_KEY"),
        ({"email_providers": "mailgun"}, "MAILGUN_API_KEY"),
        ({"email_providers": "ses", "ses_region": "eu-central-1"}, "SES_ACCESS_KEY_ID"),
        ({"email_providers": "smtp,sendgrid", "sendgrid_api_key": "k"}, "SMTP_HOST"),
        ({"email_providers": "postmark"}, "EMAIL_PROVIDERS"),
        ({"sendgrid_endpoint": "http://api.sendgrid.com"}, "SENDGRID_ENDPOINT"),
        ({"ses_endpoint": "http://localhost.evil.example"}, "SES_ENDPOINT"),
    ],
)
def test_settings_that_are_incomplete_or_unsafe_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        make_channels(settings_on("redis://redis", **changes))


def test_the_order_is_that_of_the_setting() -> None:
    settings = settings_on("redis://redis", email_providers="SendGrid, smtp", smtp_host="mail.example")
    assert settings.smtp.providers == ("sendgrid", "smtp")
    assert settings.smtp.missing is None


class Kept(Provider):
    """Keeps what it was handed."""

    mail: ComposedMail | None = None

    async def send(self, mail: ComposedMail, content: bytes, confirm: Confirm) -> str | None:
        self.mail = mail
        return await super().send(mail, content, confirm)


@pytest.mark.parametrize(
    ("given", "setting", "answers_to"),
    [
        ({}, None, None),
        ({}, "Help <help@hub.example>", "Help <help@hub.example>"),
        ({REPLY_TO: "table@shop.example"}, "help@hub.example", "table@shop.example"),
        ({REPLY_TO: "table@shop.example"}, None, "table@shop.example"),
        ({REPLY_TO: "no address"}, "help@hub.example", "help@hub.example"),
        ({REPLY_TO: 5}, None, None),
    ],
)
async def test_answers_go_to_whom_the_message_or_the_setting_says(
    given: dict[str, Any], setting: str | None, answers_to: str | None
) -> None:
    provider = Kept("one")
    outgoing = msgspec.structs.replace(mail(), data={"code": "739148", **given})
    await channel([provider], reply_to=setting).send(outgoing)
    assert provider.mail is not None
    found = provider.mail.message.reply_to
    assert (found and " ".join(named_address(*found))) == answers_to


async def test_reports_of_failed_delivery_go_to_the_return_path() -> None:
    provider, outgoing = Kept("one"), mail()
    box = SecretBox((), SecretStr("k" * 40), SecretStr("postgresql://p/hub"))
    path = ReturnPath("bounces+*@hub.example", box)
    settings = SmtpSettings(sender="no-reply@hub.example")
    await EmailChannel(settings, Texts(), [provider], path).send(outgoing)
    assert provider.mail is not None
    assert path.deliveries([provider.mail.envelope_sender]) == [outgoing.id]
    await channel([provider]).send(outgoing)
    assert provider.mail.envelope_sender == "no-reply@hub.example"
