"""The outbox's workers: each takes the deliveries of one channel that are due, and hands them over.

Several nodes work on one outbox. A node that dies leaves what it had taken to the others, after the lease.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.auth.secrets import SecretBox
from app.domain.deliveries import Status, masked
from app.domain.errors import DeliveryFailed, Unavailable
from app.outbox.attachments import load
from app.outbox.channel import Channel, DeliveryCancelled, Outgoing
from app.runtime.backoff import Backoff
from app.runtime.metrics import ATTEMPT_SECONDS, DELIVERIES
from app.runtime.services import Background
from app.runtime.tasks import end
from app.settings.processing import OutboxSettings
from app.store.deliveries import AttemptResult, DeliveryStore, LeasedDelivery

log = logging.getLogger("hub.outbox")

ATTEMPT_BACKOFF = Backoff(first=2.0, cap=900.0)
POLL_SECONDS = 5.0  # seconds, in case that the signal of a new delivery is lost
POSTGRES_BACKOFF = Backoff(first=1.0, cap=1.0)
RELEASE_TIMEOUT_SECONDS = 1.0  # seconds, at the end; what isn't released is due after the lease
MAX_LEASE_SHARE = 0.8  # share of the lease that an attempt may take, so that no other node tries meanwhile
EXPIRED = "its time was over"
_UNWANTED = {Status.SUPPRESSED: "a newer code took its place", Status.EXPIRED: EXPIRED}


def retry_delay(
    attempt: int, error: DeliveryFailed, age: float, deadline: float, backoff: Backoff
) -> float | None:
    """Compute the seconds to pause before the next attempt; None when there is to be none.

    Args:
        attempt: The number of the attempt that failed, from 1.
        error: Why it failed. A provider that asks for more time than the backoff gets it.
        age: The seconds since the delivery was requested.
        deadline: The age past which it isn't retried.
        backoff: The delays between attempts.
    """
    if not error.retryable:
        return None
    delay = max(backoff.delay(attempt - 1), error.retry_after or 0.0)
    return delay if age + delay < deadline else None


class Outbox:
    """Works while it is started, on one channel's deliveries: on those with one-time codes, or on all others.

    It takes only what it can hand over at once, so nothing that it took waits for anything else. `wake` says
    that something may be due.
    """

    def __init__(
        self,
        store: DeliveryStore,
        channel: Channel,
        box: SecretBox,
        settings: OutboxSettings,
        *,
        codes: bool,
        backoff: Backoff = ATTEMPT_BACKOFF,
    ) -> None:
        """`channel` is its own; `backoff` has the delays between the attempts of one delivery."""
        self._store = store
        self._channel = channel
        self._box = box
        self._settings = settings
        self._codes = codes
        self._wake = asyncio.Event()
        self._stopping = False
        self._backoff = backoff
        self._running = Background(self._run, name=f"outbox {channel.name}")
        self._attempts: dict[asyncio.Task[None], LeasedDelivery] = {}

    async def start(self) -> None:
        """Start claiming deliveries, and return at once."""
        await self._running.start()

    def wake(self) -> None:
        self._wake.set()

    async def stop(self, within: float) -> None:
        """Take no more; finish what is under way, `within` seconds. What isn't finished is due at once."""
        self._stopping = True
        self.wake()
        begun = time.monotonic()
        await self._running.stop(within)
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=max(0.0, begun + within - time.monotonic()))
        left = list(self._attempts.values())
        await end(*self._attempts)
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_SECONDS):
                await self._store.release([(taken.id, taken.attempts) for taken in left])
        except (Unavailable, TimeoutError) as error:
            log.warning("not_released", extra={"deliveries": len(left), "why": str(error)})
        await self._channel.close()

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                await self._wait_for_more(await self._take())
            except Unavailable as error:
                log.warning("outbox_unreachable", extra={"why": str(error)})
                await asyncio.sleep(POSTGRES_BACKOFF.delay(0))
            except Exception:
                log.exception("outbox_failed")
                await asyncio.sleep(POSTGRES_BACKOFF.delay(0))

    @property
    def _room(self) -> int:
        return self._channel.at_once - len(self._attempts)

    async def _take(self) -> bool:
        """Begin as many as there is room for; whether there may be more at once."""
        room = self._room
        if room <= 0:
            return False
        asked_at = time.monotonic()
        taken = await self._store.take(
            self._channel.name, room, self._settings.lease, self._held(), codes=self._codes
        )
        for each in taken:
            attempt = asyncio.create_task(self._deliver(each, asked_at), name="delivery")
            self._attempts[attempt] = each
            attempt.add_done_callback(self._ended)
        return len(taken) == room

    def _held(self) -> Iterable[UUID]:
        """While Postgres is away for longer than the lease, what we can't note looks like a dead node's."""
        return [taken.id for taken in self._attempts.values()]

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        del self._attempts[attempt]
        self._wake.set()

    async def _wait_for_more(self, more: bool) -> None:
        if (more and self._room > 0) or self._stopping:
            return
        pause = POLL_SECONDS
        if self._room > 0:
            due = await self._store.next_due(self._channel.name, codes=self._codes)
            pause = POLL_SECONDS if due is None else min(POLL_SECONDS, due + 0.01)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)

    async def _deliver(self, taken: LeasedDelivery, asked_at: float) -> None:
        deadline = asked_at + self._settings.lease * MAX_LEASE_SHARE
        if taken.expires_in is not None:
            deadline = min(deadline, asked_at + taken.expires_in)
        cap, cooldown = self._settings.otp_hourly_cap, self._settings.otp_cooldown
        since_last = taken.seconds_since_last_code
        if taken.expires_in is not None and asked_at + taken.expires_in <= time.monotonic():
            await self._finish(taken, Status.EXPIRED, EXPIRED)
        elif taken.code and taken.codes_last_hour >= cap:
            await self._finish(taken, Status.SUPPRESSED, f"{cap} codes went to this address within an hour")
        elif taken.code and since_last is not None and since_last < cooldown:
            await self._again(taken, "another code was sent just before", cooldown - since_last)
        elif self._channel.simulated:
            log.info("delivery_simulated", extra=_shown(taken))
            await self._finish(taken, Status.SIMULATED, f"{taken.channel} isn't configured")
        else:
            await self._attempt(taken, deadline)

    async def _attempt(self, taken: LeasedDelivery, deadline: float) -> None:
        started_at, begun = datetime.now(UTC), time.monotonic()
        try:
            async with asyncio.timeout(deadline - begun):
                receipt = await self._channel.send(await self._outgoing(taken), lambda: self._confirm(taken))
        except DeliveryCancelled as unwanted:
            await self._finish(taken, unwanted.status, _UNWANTED[unwanted.status])
            return
        except Exception as error:
            failure = _failure(error)
            seconds = time.monotonic() - begun
            await self._failed(taken, failure, AttemptResult(started_at, seconds, failure.code, str(failure)))
        else:
            log.info("delivered", extra=_shown(taken))
            tried = AttemptResult(started_at, time.monotonic() - begun, provider_id=receipt.provider_id)
            await self._finish(taken, Status.SENT, None, tried)
        ATTEMPT_SECONDS.labels(taken.channel).observe(time.monotonic() - begun)

    async def _confirm(self, taken: LeasedDelivery) -> None:
        """Raises `DeliveryCancelled` when the code was replaced or has expired since it was claimed."""
        if taken.code:
            unwanted = await self._store.unwanted(taken.id)
            if unwanted is not None:
                raise DeliveryCancelled(unwanted)

    async def _outgoing(self, taken: LeasedDelivery) -> Outgoing:
        """Raises `DeliveryFailed`."""
        secret: dict[str, Any] | None = self._box.decrypt(taken.secret) if taken.secret else {}
        if secret is None:  # another node may have the key already, or still
            raise DeliveryFailed("no_key", "no key of DELIVERY_KEYS opens its secret", retryable=True)
        folder, most = self._settings.attachments_dir, self._settings.attachments_max_bytes
        attachments = (
            await asyncio.to_thread(load, taken.attachments, folder, most) if taken.attachments else ()
        )
        data = taken.data | secret
        return Outgoing(
            taken.id, taken.template, taken.address, taken.locale, data, attachments, bool(secret)
        )

    async def _failed(self, taken: LeasedDelivery, failure: DeliveryFailed, tried: AttemptResult) -> None:
        log.warning("attempt_failed", extra={**_shown(taken), "code": failure.code})
        pause = retry_delay(taken.attempts, failure, taken.age, self._settings.retry_deadline, self._backoff)
        if pause is None:
            reason = "tried for too long" if failure.retryable else "another attempt can't help"
            await self._finish(taken, Status.FAILED, reason, tried)
        else:
            await self._again(taken, None, pause, tried)

    async def _finish(
        self, taken: LeasedDelivery, status: Status, reason: str | None, tried: AttemptResult | None = None
    ) -> None:
        DELIVERIES.labels(taken.channel, status.value).inc()
        for delay in POSTGRES_BACKOFF.delays():  # a mail that was sent and isn't noted goes out twice
            try:
                await self._store.finish(taken.id, status, reason, tried, taken.attempts)
                return
            except Unavailable as error:
                log.error("delivery_not_noted", extra={"delivery": taken.id, "why": str(error)})
                await asyncio.sleep(delay)

    async def _again(
        self, taken: LeasedDelivery, reason: str | None, pause: float, tried: AttemptResult | None = None
    ) -> None:
        try:
            await self._store.again(taken.id, reason, pause, tried, taken.attempts)
        except Unavailable as error:  # then it is due after the lease
            log.error("delivery_not_noted", extra={"delivery": taken.id, "why": str(error)})


def _failure(error: Exception) -> DeliveryFailed:
    """What a failed attempt comes to. Of an exception nobody meant only the type is shown: its text may hold
    what is secret.
    """
    match error:
        case DeliveryFailed():
            return error
        case TimeoutError():
            return DeliveryFailed("timeout", "the attempt took too long", retryable=True)
        case Unavailable():
            return DeliveryFailed("unavailable", f"{error.dependency} didn't answer", retryable=True)
    log.error("attempt_broke", extra={"why": type(error).__name__})
    return DeliveryFailed("internal", f"the hub failed on it ({type(error).__name__})", retryable=True)


def _shown(taken: LeasedDelivery) -> dict[str, object]:
    """What of a delivery may stand in a log."""
    return {
        "delivery": taken.id,
        "template": taken.template,
        "to": masked(taken.address),
        "attempt": taken.attempts,
    }
