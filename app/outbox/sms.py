"""SMS over Twilio (its REST API of 2010-04-01): from a Messaging Service, or from a number."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from app.domain.addresses import phone_number
from app.domain.channels import SMS
from app.domain.errors import ConfigurationError, DeliveryFailed
from app.outbox.channel import ChannelPorts, Confirm, Outgoing, Receipt, wanted
from app.outbox.failures import FailFastBreaker, SetupFailed, not_rendered, retry_after, safe_words
from app.outbox.twilio_codes import Fault, fault, of_some_receivers
from app.runtime.tls import client_context, tls_fault, tls_words
from app.settings.channels import ChannelSections, SmsSettings
from app.texts.rendering import sms_text
from app.texts.sms import TooLong, segments

log = logging.getLogger("hub.sms")


class TwilioAnswer(msgspec.Struct):
    """What is read of Twilio's JSON: `sid` of a message, or `code` and `message` of an error."""

    sid: str | None = None
    code: int | None = None
    message: str | None = None


class SmsChannel:
    """Sends SMS by Twilio. Raises `ConfigurationError` when the settings are incomplete or unsafe."""

    name: ClassVar[str] = SMS

    def __init__(
        self, settings: SmsSettings, render: Callable[[str, str, Mapping[str, Any]], str] = sms_text
    ) -> None:
        self._render = render
        self._limit = settings.limit
        self._callback_url = settings.callback_url
        self._timeout = settings.timeout
        self._at_once = settings.concurrency
        self._breaker = FailFastBreaker(log)
        self._client: httpx.AsyncClient | None = None
        if settings.account_sid is None:
            return
        self._sid = settings.account_sid
        self._token = settings.auth_token.get_secret_value() if settings.auth_token else ""
        self._from = _origin(settings)
        if not self._token:
            raise ConfigurationError("TWILIO_ACCOUNT_SID is set, but TWILIO_AUTH_TOKEN isn't.")
        _check_endpoint(settings.endpoint)
        account = f"/2010-04-01/Accounts/{quote(self._sid, safe='')}"
        self._client = httpx.AsyncClient(
            base_url=settings.endpoint.rstrip("/") + account,
            auth=(self._sid, self._token),
            timeout=settings.timeout,
            verify=client_context(),
        )

    @property
    def simulated(self) -> bool:
        """As `Channel.simulated`."""
        return self._client is None

    @property
    def at_once(self) -> int:
        """As `Channel.at_once`."""
        return self._at_once

    async def send(self, outgoing: Outgoing, confirm: Confirm = wanted) -> Receipt:
        """As `Channel.send`. Twilio doesn't deduplicate: when its answer is lost, the SMS is sent twice."""
        assert self._client is not None, "simulated"
        try:
            phone_number(outgoing.address)
        except ValueError as error:
            raise DeliveryFailed("bad_number", str(error), retryable=False) from None
        text = self._text(outgoing)
        form = {**self._from, "To": outgoing.address, "Body": text}
        if self._callback_url is not None:
            form["StatusCallback"] = f"{self._callback_url}?delivery={outgoing.id}"
        self._breaker.check()
        await confirm()
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.post("/Messages.json", data=form)
        except (TimeoutError, httpx.TimeoutException):
            raise DeliveryFailed("timeout", "Twilio didn't answer in time", retryable=True) from None
        except (httpx.HTTPError, OSError) as error:
            if (of_tls := tls_fault(error)) is not None:
                failure: DeliveryFailed = SetupFailed(*tls_words(of_tls))
                self._breaker.note(failure)
                raise failure from None
            raise DeliveryFailed(
                "connect", f"no connection to Twilio ({type(error).__name__})", retryable=True
            ) from None
        answer = _read(response.content)
        if response.is_success:
            self._breaker.succeeded()
            return Receipt(answer.sid, segments(text).number)
        failure = self._failure(response, answer, outgoing)
        self._breaker.note(failure)
        raise failure

    async def close(self) -> None:
        """As `Channel.close`."""
        if self._client is not None:
            await self._client.aclose()

    def _text(self, outgoing: Outgoing) -> str:
        try:
            return self._limit.fit(self._render(outgoing.template, outgoing.locale, outgoing.data))
        except TooLong as error:
            raise DeliveryFailed("too_long", str(error), retryable=False) from None
        except Exception as error:  # a template may raise anything
            raise not_rendered(outgoing.template, error) from None

    def _failure(self, response: httpx.Response, answer: TwilioAnswer, outgoing: Outgoing) -> DeliveryFailed:
        status = response.status_code
        code = f"twilio_{answer.code}" if answer.code is not None else f"twilio_http_{status}"
        said = safe_words(answer.message or response.reason_phrase, outgoing, (self._token,)) or str(status)
        match fault(status, answer.code):
            case Fault.SETUP:
                return SetupFailed(code, said, certain=not of_some_receivers(answer.code))
            case Fault.PASSING:
                return DeliveryFailed(
                    code,
                    said,
                    retryable=True,
                    retry_after=retry_after(response.headers.get("Retry-After", "")),
                )
            case Fault.NUMBER:
                return DeliveryFailed(code, said, retryable=False, bad_address=True)
            case Fault.MESSAGE:
                return DeliveryFailed(code, said, retryable=False)


def make_channel(settings: ChannelSections, _: ChannelPorts) -> SmsChannel:
    """The channel `sms`. Raises `ConfigurationError`."""
    return SmsChannel(settings.sms)


def _origin(settings: SmsSettings) -> dict[str, str]:
    """What a message is from, in Twilio's words. Raises `ConfigurationError`."""
    if settings.messaging_service_sid:
        return {"MessagingServiceSid": settings.messaging_service_sid}
    if settings.sender:
        return {"From": settings.sender}
    raise ConfigurationError(
        "TWILIO_ACCOUNT_SID is set, but neither TWILIO_MESSAGING_SERVICE_SID nor TWILIO_FROM is."
    )


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname and _is_loopback(parts.hostname):
        return
    raise ConfigurationError(
        "TWILIO_ENDPOINT: the token must not be sent in plain text. Use https://host, or http:// with a "
        "loopback address for tests."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(content: bytes) -> TwilioAnswer:
    """The answer; empty when it isn't Twilio's JSON (a proxy's page, say)."""
    try:
        return msgspec.json.decode(content, type=TwilioAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return TwilioAnswer()
