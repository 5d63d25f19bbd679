"""SMS by Twilio's wire format: what is sent, what can pass, and what is left alone."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from app.domain.errors import ConfigurationError, DeliveryFailed
from app.outbox import failures
from app.outbox.channel import Outgoing
from app.outbox.sms import SmsChannel
from app.texts.rendering import sms_text
from tests.support.settings import settings_on
from tests.support.twilio_server import NO_SUCH_NUMBER, SERVICE, SID, TOKEN, FakeTwilio, run_twilio

NUMBER = "+84912345678"
CODE = "739148"  # a canary
TIMEOUT = 0.5


@pytest.fixture(scope="module")
def shared_twilio() -> Iterator[FakeTwilio]:
    with run_twilio() as twilio:
        yield twilio


@pytest.fixture
def twilio(shared_twilio: FakeTwilio) -> FakeTwilio:
    shared_twilio.calm()
    shared_twilio.sent.clear()
    shared_twilio.calls = 0
    return shared_twilio


def channel_to(endpoint: str, **changes: Any) -> SmsChannel:
    given = {
        "twilio_account_sid": SID,
        "twilio_auth_token": TOKEN,
        "twilio_messaging_service_sid": SERVICE,
        "twilio_endpoint": endpoint,
        "twilio_timeout": TIMEOUT,
    }
    return SmsChannel(settings_on("redis://redis", **{**given, **changes}).sms, _text)


def _text(template: str, locale: str, data: Mapping[str, Any]) -> str:
    return f"Mã của bạn là {data['code']} & + ="


@pytest_asyncio.fixture
async def channel(twilio: FakeTwilio) -> AsyncIterator[SmsChannel]:
    channel = channel_to(twilio.address)
    yield channel
    await channel.close()


def sms(address: str = NUMBER, **data: Any) -> Outgoing:
    return Outgoing(uuid4(), "otp_register", address, "vi", data or {"code": CODE})


async def failure(channel: SmsChannel, outgoing: Outgoing | None = None) -> DeliveryFailed:
    """Why it can't be sent. Nothing that could be written of it holds the code, the number or the token."""
    with pytest.raises(DeliveryFailed) as failed:
        await channel.send(outgoing or sms())
    shown = "".join(traceback.format_exception(failed.value))
    assert not any(secret in shown for secret in (CODE, TOKEN, (outgoing or sms()).address))
    return failed.value


async def test_an_sms_is_taken_over(twilio: FakeTwilio, channel: SmsChannel) -> None:
    receipt = await channel.send(sms())
    assert twilio.sent == [
        {"To": NUMBER, "MessagingServiceSid": SERVICE, "Body": f"Mã của bạn là {CODE} & + ="}
    ]
    assert receipt.provider_id == f"SM{1:032x}"


async def test_an_sms_is_from_the_number_where_no_service_is_set(twilio: FakeTwilio) -> None:
    number = channel_to(twilio.address, twilio_messaging_service_sid=None, twilio_from="+15005550006")
    try:
        await number.send(sms())
    finally:
        await number.close()
    assert [(form["From"], "MessagingServiceSid" in form) for form in twilio.sent] == [
        ("+15005550006", False)
    ]


async def test_two_at_once_do_not_mix(twilio: FakeTwilio, channel: SmsChannel) -> None:
    first, second = await asyncio.gather(channel.send(sms("+84912345601")), channel.send(sms("+84912345602")))
    assert {form["To"] for form in twilio.sent} == {"+84912345601", "+84912345602"}
    assert first.provider_id != second.provider_id


async def test_the_text_is_the_template_of_sms(twilio: FakeTwilio) -> None:
    given = {
        "twilio_account_sid": SID,
        "twilio_auth_token": TOKEN,
        "twilio_messaging_service_sid": SERVICE,
        "twilio_endpoint": twilio.address,
    }
    channel = SmsChannel(settings_on("redis://redis", **given).sms)
    data = {"code": CODE, "minutes": 10}
    await channel.send(Outgoing(uuid4(), "otp_register", NUMBER, "ru", data))
    await channel.close()
    assert twilio.sent[0]["Body"] == sms_text("otp_register", "ru", data)


async def test_what_twilio_refuses_does_not_pass(twilio: FakeTwilio, channel: SmsChannel) -> None:
    failed = await failure(channel, sms(NO_SUCH_NUMBER))
    assert (failed.code, failed.retryable) == ("twilio_21211", False)
    assert str(failed) == "The 'To' number ***001 is not a valid phone number."
    twilio.fail(400, 21610, f"Attempt to send '{CODE}' to an unsubscribed recipient {NUMBER}")
    failed = await failure(channel)
    assert (failed.code, failed.retryable) == ("twilio_21610", False)
    assert str(failed) == "Attempt to send '…' to an unsubscribed recipient ***678"


async def test_too_many_requests_pass_after_the_time_twilio_asks_for(
    twilio: FakeTwilio, channel: SmsChannel
) -> None:
    twilio.fail(429, 20429, "Too Many Requests", Retry_After="17")
    failed = await failure(channel)
    assert (failed.code, failed.retryable, failed.retry_after) == ("twilio_20429", True, 17.0)
    later = datetime.now(UTC) + timedelta(seconds=60)
    twilio.fail(429, 20429, "Too Many Requests", Retry_After=format_datetime(later, usegmt=True))
    assert (await failure(channel)).retry_after == pytest.approx(60, abs=2)
    twilio.fail(429, 20429, "Too Many Requests", Retry_After="Sat, 21 Nov 2020 12:00:00 GMT")
    assert (await failure(channel)).retry_after == 0.0
    for nonsense in ("", "soon", "-5", "²"):
        twilio.fail(429, 20429, "Too Many Requests", Retry_After=nonsense.encode().decode("latin-1"))
        failed = await failure(channel)
        assert (failed.retryable, failed.retry_after) == (True, None)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_a_fault_of_twilio_is_retryable(twilio: FakeTwilio, channel: SmsChannel, status: int) -> None:
    twilio.fail(status)
    failed = await failure(channel)
    assert (failed.code, failed.retryable) == (f"twilio_http_{status}", True)
    twilio.fail(status, 20500, "Internal error")
    failed = await failure(channel)
    assert (failed.code, str(failed), failed.retryable) == ("twilio_20500", "Internal error", True)


async def test_no_answer_in_time_is_retryable(twilio: FakeTwilio, channel: SmsChannel) -> None:
    twilio.awake.clear()
    begun = time.monotonic()
    failed = await failure(channel)
    assert time.monotonic() - begun < TIMEOUT + 1
    assert (failed.code, failed.retryable) == ("timeout", True)


async def test_nobody_listens() -> None:
    channel = channel_to("http://127.0.0.1:1")
    failed = await failure(channel)
    assert (failed.code, failed.retryable) == ("connect", True)
    await channel.close()


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_an_account_that_does_not_hold_waits_for_an_operator(
    twilio: FakeTwilio,
    channel: SmsChannel,
    status: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failures, "PAUSE_SECONDS", 0.2)
    if status == 401:
        twilio.token = "another"
    else:
        twilio.fail(status, 20003, "Authenticate")
    failed = [await failure(channel) for _ in range(3)]
    assert {(each.code, each.retryable, each.retry_after) for each in failed} == {("twilio_20003", True, 0.2)}
    assert twilio.calls == 1
    logged = [record for record in caplog.records if record.message == "setup_failed"]
    assert [(record.name, record.levelname) for record in logged] == [("hub.sms", "ERROR")]
    twilio.calm()
    await asyncio.sleep(0.2)
    await channel.send(sms())


async def test_what_can_not_be_read_of_a_success_is_no_failure(
    twilio: FakeTwilio, channel: SmsChannel
) -> None:
    """Twilio has it: trying again would send it twice."""
    twilio.fail(201)
    assert (await channel.send(sms())).provider_id is None


@pytest.mark.parametrize(
    "number",
    ["0912345678", "84912345678", "+84 912 345 678", "+0912345678", "+849", f"+{'1' * 16}", "", "+٨٤٩١٢٣٤٥٦"],
)
async def test_only_numbers_in_e164_are_sent_to(twilio: FakeTwilio, channel: SmsChannel, number: str) -> None:
    with pytest.raises(DeliveryFailed) as failed:
        await channel.send(sms(number))
    assert (failed.value.code, failed.value.retryable) == ("bad_number", False)
    assert not twilio.calls


async def test_a_failing_template_exposes_nothing_of_its_data(
    twilio: FakeTwilio, channel: SmsChannel
) -> None:
    failed = await failure(channel, sms(kode=CODE))
    assert (failed.code, failed.retryable) == ("not_rendered", False)
    assert not twilio.calls


async def test_the_code_is_in_no_log_line(
    twilio: FakeTwilio, channel: SmsChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await channel.send(sms())
    twilio.fail(400, 21617, f"The body '{CODE}' is too long, token {TOKEN}")
    await failure(channel)
    assert CODE not in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"twilio_auth_token": None},
        {"twilio_messaging_service_sid": None},
        {"twilio_endpoint": "http://api.twilio.com"},
        {"twilio_endpoint": "http://localhost.evil.example"},
        {"twilio_endpoint": "api.twilio.com"},
    ],
)
def test_settings_that_are_incomplete_or_unsafe_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        channel_to("https://api.twilio.com", **changes)
    assert "TWILIO_" in str(refused.value)
    assert TOKEN not in str(refused.value)


async def test_without_an_account_sms_is_simulated() -> None:
    channel = SmsChannel(settings_on("redis://redis").sms)
    assert channel.simulated
    await channel.close()
