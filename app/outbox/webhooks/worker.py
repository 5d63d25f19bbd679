"""Sends webhook messages, as POST requests or as records: each endpoint has a task, so none delays another.

Several nodes share the work. What a node that dies had claimed is due again after the lease.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

import msgspec
from cryptography.fernet import InvalidToken, MultiFernet

from app.auth.secrets import SecretBox
from app.domain.errors import Unavailable
from app.domain.outbound import https_url
from app.domain.time import Now, moment
from app.domain.webhooks import message_id, record_place, secret_key, signature
from app.outbox.failures import retry_after
from app.runtime.backoff import Backoff
from app.runtime.metrics import WEBHOOKS
from app.runtime.outbound import OutboundClient, OutboundError, PrivateAddress, Records
from app.runtime.tasks import end
from app.settings.processing import WebhookSettings
from app.store.webhooks import WebhookMessage, WebhookStore

log = logging.getLogger("hub.webhooks")

WEBHOOK_POLL_SECONDS = 1.0
MAX_WEBHOOK_CONNECTIONS = 100
BACKOFF = Backoff(first=10.0, cap=4 * 3600.0)
LEASE_MARGIN_SECONDS = 15.0
_PURPOSE = b"notification hub: webhook secrets"


def secret_fernet(box: SecretBox) -> MultiFernet:
    """What encrypts the secrets of endpoints."""
    return box.for_purpose(_PURPOSE)


class WebhookFailed(Exception):  # noqa: N818
    """The endpoint didn't take a message. The text holds neither its URL nor its answer's body."""

    def __init__(self, text: str, *, pause: float | None = None, gone: bool = False) -> None:
        super().__init__(text)
        self.pause = pause
        self.gone = gone


class Targets(NamedTuple):
    """What messages are sent by: to https URLs, and to topics of brokers, by the names of these."""

    client: OutboundClient
    records: Mapping[str, Records]


class _Subject(msgspec.Struct):
    """Whom the data of a message is about."""

    user_id: str | None = None


class WebhookWorker:
    """Sends what is due, in `round`s."""

    def __init__(
        self,
        store: WebhookStore,
        targets: Targets,
        box: SecretBox,
        settings: WebhookSettings,
        now: Now = time.time,
        backoff: Backoff = BACKOFF,
    ) -> None:
        self._store = store
        self._client, self._records = targets
        self._fernet = secret_fernet(box)
        self._settings = settings
        self._now = now
        self._backoff = backoff
        self._running: dict[UUID, asyncio.Task[None]] = {}

    async def round(self) -> None:
        """Start a task for each endpoint with messages that are due, unless it has one."""
        try:
            due = await self._store.due()
        except Unavailable as error:
            log.warning("webhooks_unreachable", extra={"why": str(error)})
            return
        for endpoint in due:
            if endpoint not in self._running:
                task = asyncio.create_task(self._serve(endpoint), name="webhooks of an endpoint")
                self._running[endpoint] = task
                task.add_done_callback(partial(self._ended, endpoint))

    async def stop(self) -> None:
        """Stop sending, and close all connections. What wasn't finished is due again after the lease."""
        await end(*self._running.values())
        await self._client.close()
        for each in self._records.values():
            await each.close()

    def _ended(self, endpoint: UUID, _: asyncio.Task[None]) -> None:
        del self._running[endpoint]

    async def _serve(self, endpoint: UUID) -> None:
        """Send until nothing is due. An error of Postgres ends it: the next round starts it again."""
        most, lease = self._settings.concurrency, self._settings.timeout + LEASE_MARGIN_SECONDS
        try:
            while messages := await self._store.claim(endpoint, most, lease):
                await asyncio.gather(*(self._deliver(endpoint, each) for each in messages))
        except Unavailable as error:
            log.warning("webhooks_unreachable", extra={"why": str(error)})
        except Exception:
            log.exception("webhooks_failed", extra={"endpoint": endpoint})

    async def _deliver(self, endpoint: UUID, message: WebhookMessage) -> None:
        try:
            await self._post(message)
        except WebhookFailed as failure:
            WEBHOOKS.labels("failed").inc()
            await self._failed(endpoint, message, failure)
        else:
            WEBHOOKS.labels("sent").inc()
            await self._store.sent(message)

    async def _failed(self, endpoint: UUID, message: WebhookMessage, failure: WebhookFailed) -> None:
        known = {"endpoint": endpoint, "webhook": message_id(message.id), "why": str(failure)}
        log.warning("webhook_failed", extra={**known, "attempt": message.attempts})
        pause = max(self._backoff.delay(message.attempts - 1), failure.pause or 0.0)
        deadline = self._settings.retry_for
        if failure.gone or message.age + pause >= deadline:
            await self._store.failed(message, str(failure))
        else:
            await self._store.retry(message, str(failure), pause)
        reason = str(failure) if failure.gone else f"it failed for {deadline / 3600:g} hours: {failure}"
        if await self._store.disable(endpoint, reason, None if failure.gone else deadline):
            WEBHOOKS.labels("disabled").inc()
            log.error("webhook_disabled", extra={"endpoint": endpoint, "why": reason})

    async def _post(self, message: WebhookMessage) -> None:
        """Raises `WebhookFailed`."""
        body = msgspec.json.encode(
            {"type": message.kind, "timestamp": message.created_at, "data": message.data}
        )
        named, sent_at = message_id(message.id), int(moment(self._now()).timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "notification-hub",
            "webhook-id": named,
            "webhook-timestamp": str(sent_at),
            "webhook-signature": signature(self._keys(message.secrets), named, sent_at, body),
        }
        try:
            if (place := record_place(message.url)) is not None and place[0] in self._records:
                subject = msgspec.json.decode(message.data, type=_Subject)
                await self._records[place[0]].send(place[1], subject.user_id, headers, body)
                return
            https_url(message.url, allow_private=self._settings.allow_private)
            answer = await self._client.post(message.url, headers, body)
        except ValueError as error:
            raise WebhookFailed(f"its URL: {error}") from None
        except PrivateAddress:
            raise WebhookFailed("its host is in a private network") from None
        except OutboundError as error:
            raise WebhookFailed(str(error)) from None
        if not answer.success:
            pause = retry_after(answer.headers.get("retry-after", ""))
            gone = answer.status == HTTPStatus.GONE
            raise WebhookFailed(f"it answered {answer.status}", pause=pause, gone=gone)

    def _keys(self, secrets: Sequence[bytes]) -> Sequence[bytes]:
        """Raises `WebhookFailed` if none of DELIVERY_KEYS decrypts them: another node may have the key."""
        try:
            return [secret_key(self._fernet.decrypt(each).decode()) for each in secrets]
        except (InvalidToken, ValueError):
            raise WebhookFailed("no key in DELIVERY_KEYS decrypts its secret") from None
