"""A provider that takes mail by an HTTP API: the call, its failures and its breaker, for any `MailApi`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple, Protocol

import httpx

from app.domain.errors import DeliveryFailed
from app.outbox.channel import Confirm
from app.outbox.email.provider import ComposedMail
from app.outbox.email.refusals import Refusal
from app.outbox.failures import FailFastBreaker, SetupFailed, retry_after, safe_words
from app.runtime.tls import client_context, tls_fault, tls_words
from app.settings.mail_providers import MailApiSettings

log = logging.getLogger("hub.mail")

MAX_ANSWER_BYTES = 64 * 1024  # more isn't read of an answer
_TRANSIENT = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_OF_THE_ACCOUNT = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
)


class ApiAnswer(NamedTuple):
    """What an API answered; `body` is cut at `MAX_ANSWER_BYTES`."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ApiFault(NamedTuple):
    """What an answer means that isn't a success: an id of the fault, the API's words, and whom it refuses."""

    code: str
    said: str
    refusal: Refusal


class MailApi(Protocol):
    """The wire format of one provider. No I/O."""

    name: str
    base_url: str
    path: str
    credentials: Sequence[str]
    """What must be in no text that is kept."""

    def encode(self, mail: ComposedMail) -> bytes:
        """The body of the request."""

    def headers(self, content: bytes) -> Mapping[str, str]:
        """Those of the request with this body: its type, and the login."""

    def message_id(self, answer: ApiAnswer) -> str | None:
        """The provider's id of a mail that it took; None if the answer can't be read."""

    def fault(self, answer: ApiAnswer) -> ApiFault:
        """What an answer other than 2xx means."""


def refusal_of_status(status: int) -> Refusal:
    """What an HTTP status means where nothing else tells."""
    if status >= 500 or status in _TRANSIENT:
        return Refusal.PASSING
    return Refusal.SENDER if status in _OF_THE_ACCOUNT or status < 400 else Refusal.MAIL


class ApiProvider:
    """Calls the API of one provider. It follows no redirects."""

    def __init__(self, api: MailApi, settings: MailApiSettings) -> None:
        self.name = api.name
        self.at_once = settings.concurrency
        self.slots = asyncio.Semaphore(settings.concurrency)
        self._api = api
        self._timeout = settings.timeout
        self._breaker = FailFastBreaker(log)
        self._client = httpx.AsyncClient(
            base_url=api.base_url, timeout=settings.timeout, verify=client_context()
        )

    def encode(self, mail: ComposedMail) -> bytes:
        """As `MailProvider.encode`."""
        return self._api.encode(mail)

    async def send(self, mail: ComposedMail, content: bytes, confirm: Confirm) -> str | None:
        """As `MailProvider.send`. No provider deduplicates: when an answer is lost, the mail may arrive
        twice, with one Message-ID.
        """
        if not mail.to.ascii:
            raise DeliveryFailed(
                "smtputf8_not_offered",
                f"the address has non-ASCII characters before the @, which {self.name} can't carry",
                retryable=False,
                of_provider=True,
            )
        self._breaker.check()
        await confirm()
        try:
            answer = await self._call(content)
        except DeliveryFailed as unanswered:
            self._breaker.note(unanswered)
            raise
        if 200 <= answer.status < 300:
            self._breaker.succeeded()
            return self._api.message_id(answer)
        failure = self._failure(answer, mail)
        self._breaker.note(failure)
        raise failure

    async def close(self) -> None:
        """As `MailProvider.close`."""
        await self._client.aclose()

    async def _call(self, content: bytes) -> ApiAnswer:
        """Raises `DeliveryFailed`."""
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream(
                    "POST", self._api.path, content=content, headers=self._api.headers(content)
                ) as response,
            ):
                body = b""
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) >= MAX_ANSWER_BYTES:
                        break
                return ApiAnswer(response.status_code, response.headers, body[:MAX_ANSWER_BYTES])
        except (TimeoutError, httpx.TimeoutException):
            raise DeliveryFailed(
                "timeout", f"{self.name} didn't answer in time", retryable=True, of_provider=True
            ) from None
        except (httpx.HTTPError, OSError) as error:
            if (of_tls := tls_fault(error)) is not None:
                raise SetupFailed(*tls_words(of_tls)) from None
            raise DeliveryFailed(
                "connect",
                f"no connection to {self.name} ({type(error).__name__})",
                retryable=True,
                of_provider=True,
            ) from None

    def _failure(self, answer: ApiAnswer, mail: ComposedMail) -> DeliveryFailed:
        code, words, refusal = self._api.fault(answer)
        code = f"{self.name}_{code}"
        said = safe_words(f"{answer.status} {words}".strip(), mail.outgoing, self._api.credentials)
        match refusal:
            case Refusal.SENDER:
                certain = answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED)
                return SetupFailed(code, said, certain=certain)
            case Refusal.PASSING:
                pause = retry_after(answer.headers.get("Retry-After", ""))
                return DeliveryFailed(code, said, retryable=True, retry_after=pause, of_provider=True)
            case Refusal.ADDRESS:
                return DeliveryFailed(code, said, retryable=False, bad_address=True)
            case Refusal.MAIL:
                return DeliveryFailed(code, said, retryable=False)
