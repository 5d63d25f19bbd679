"""The outbox's workers: each claims the due deliveries of one channel, and hands them to the channel.

Several nodes work on one outbox. The deliveries that a dead node had leased are claimed by others after the
lease.
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
from app.domain.errors import DeliveryFailed, StoreFailed, Unavailable
from app.outbox.attachments import load
from app.outbox.channel import Channel, DeliveryCancelled, NotYet, Outgoing
from app.outbox.failures import Deferred, SetupFailed
from app.outbox.results import ResultRecorder
from app.outbox.unsubscribe import UnsubscribeLinks
from app.runtime.backoff import Backoff
from app.runtime.metrics import ATTEMPT_SECONDS, DELIVERIES
from app.runtime.services import Background
from app.runtime.tasks import end
from app.settings.processing import OutboxSettings
from app.store.deliveries import AttemptResult, DeliveryResult, DeliveryStore, LeasedDelivery
from app.store.suppressions import ALL, BOUNCE_DAYS, suppressed_because

log = logging.getLogger("hub.outbox")

ATTEMPT_BACKOFF = Backoff(first=2.0, cap=900.0)
POLL_SECONDS = 5.0  # in case that the signal of a new delivery is lost
POSTGRES_BACKOFF = Backoff(first=1.0, cap=1.0)
RELEASE_TIMEOUT_SECONDS = 1.0  # at the end; what isn't released is due after the lease
MAX_LEASE_SHARE = 0.8  # of the lease, for one attempt: so no other node tries meanwhile
EXPIRED = "it expired"
_UNWANTED = {Status.SUPPRESSED: "a newer code replaced it", Status.EXPIRED: EXPIRED}  # of a code


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
    """Delivers over one channel: the deliveries with one-time codes, or all others.

    It claims only as many as the channel sends at once, so none waits while it is leased.
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
        self._results = ResultRecorder(store)
        self._channel = channel
        self._box = box
        self._settings = settings
        self._codes = codes
        self._links = UnsubscribeLinks(settings, box)
        self._wake = asyncio.Event()
        self._stopping = False
        self._backoff = backoff
        self._running = Background(self._run, name=f"outbox {channel.name}")
        self._attempts: dict[asyncio.Task[None], LeasedDelivery] = {}

    async def start(self) -> None:
        """Start claiming deliveries, and return at once."""
        await self._running.start()

    def wake(self) -> None:
        """Look for due deliveries now. Call it when there may be a new one."""
        self._wake.set()

    async def stop(self, within: float) -> None:
        """Claim no more; give attempts in progress `within` seconds. What isn't finished then is due at
        once.
        """
        self._stopping = True
        self.wake()
        begun = time.monotonic()
        await self._running.stop(within)
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=max(0.0, begun + within - time.monotonic()))
        left = list(self._attempts.values())
        await end(*self._attempts)
        await self._results.close(RELEASE_TIMEOUT_SECONDS)
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_SECONDS):
                await self._store.release([(leased.id, leased.attempts) for leased in left])
        except (Unavailable, TimeoutError) as error:
            log.warning("not_released", extra={"deliveries": len(left), "why": str(error)})
        await self._channel.close()

    async def _run(self) -> None:
        failed = False  # then the log has its trace already
        while not self._stopping:
            self._wake.clear()
            try:
                await self._wait_for_more(await self._claim())
                failed = False
            except Unavailable as error:
                trace = error if isinstance(error, StoreFailed) and not failed else None
                failed = isinstance(error, StoreFailed)
                log.warning("outbox_unreachable", exc_info=trace, extra={"why": str(error)})
                await asyncio.sleep(POSTGRES_BACKOFF.delay(0))
            except Exception:
                log.exception("outbox_failed")
                await asyncio.sleep(POSTGRES_BACKOFF.delay(0))

    @property
    def _room(self) -> int:
        return self._channel.at_once - len(self._attempts)

    async def _claim(self) -> bool:
        """Start as many attempts as there is room for; return whether more may be due."""
        room = self._room
        if room <= 0:
            return False
        asked_at = time.monotonic()
        leased = await self._store.claim(
            self._channel.name, room, self._settings.lease, self._held(), codes=self._codes
        )
        for each in leased:
            attempt = asyncio.create_task(self._deliver(each, asked_at), name="delivery")
            self._attempts[attempt] = each
            attempt.add_done_callback(self._ended)
        return len(leased) == room

    def _held(self) -> Iterable[UUID]:
        """While Postgres is unavailable for longer than a lease, our own deliveries look like a dead
        node's.
        """
        return [leased.id for leased in self._attempts.values()]

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

    async def _deliver(self, leased: LeasedDelivery, asked_at: float) -> None:
        deadline = asked_at + self._settings.lease * MAX_LEASE_SHARE
        if leased.expires_in is not None:
            deadline = min(deadline, asked_at + leased.expires_in)
        cap, cooldown = self._settings.otp_hourly_cap, self._settings.otp_cooldown
        since_last = leased.seconds_since_last_code
        if leased.expires_in is not None and asked_at + leased.expires_in <= time.monotonic():
            await self._finish(leased, Status.EXPIRED, EXPIRED)
        elif leased.code and leased.codes_last_hour >= cap:
            await self._finish(leased, Status.SUPPRESSED, f"{cap} codes went to this address within an hour")
        elif leased.code and since_last is not None and since_last < cooldown:
            await self._reschedule(leased, "another code was sent a moment ago", cooldown - since_last)
        elif leased.suppressed is not None:
            await self._finish(leased, Status.SUPPRESSED, suppressed_because(leased.suppressed))
        elif self._channel.simulated:
            log.warning("delivery_simulated", extra={"channel": leased.channel, **_shown(leased)})
            await self._finish(leased, Status.SIMULATED, f"{leased.channel} isn't configured")
        else:
            await self._attempt(leased, deadline)

    async def _attempt(self, leased: LeasedDelivery, deadline: float) -> None:
        started_at, begun = datetime.now(UTC), time.monotonic()
        try:
            async with asyncio.timeout(deadline - begun):
                receipt = await self._channel.send(
                    await self._outgoing(leased), lambda: self._confirm(leased)
                )
        except DeliveryCancelled as unwanted:
            await self._finish(leased, unwanted.status, unwanted.reason)
            return
        except NotYet as later:
            await self._reschedule(leased, later.reason, later.seconds)
            return
        except Exception as error:
            failure = _failure(error)
            seconds = time.monotonic() - begun
            await self._failed(
                leased, failure, AttemptResult(started_at, seconds, failure.code, str(failure))
            )
        else:
            log.info("delivered", extra=_shown(leased))
            tried = AttemptResult(started_at, time.monotonic() - begun, provider_id=receipt.provider_id)
            tried = tried._replace(segments=receipt.segments)
            await self._finish(leased, Status.SENT, None, tried)
        ATTEMPT_SECONDS.labels(leased.channel).observe(time.monotonic() - begun)

    async def _confirm(self, leased: LeasedDelivery) -> None:
        """Raises `DeliveryCancelled` when the code was replaced or has expired since it was claimed."""
        if leased.code:
            unwanted = await self._store.unwanted(leased.id)
            if unwanted is not None:
                raise DeliveryCancelled(unwanted, _UNWANTED[unwanted])

    async def _outgoing(self, leased: LeasedDelivery) -> Outgoing:
        """Raises `DeliveryFailed`."""
        secret: dict[str, Any] | None = self._box.decrypt(leased.secret) if leased.secret else {}
        if secret is None:  # another node may have the key already, or still
            raise DeliveryFailed("no_key", "no key in DELIVERY_KEYS decrypts its secret", retryable=True)
        folder, most = self._settings.attachments_dir, self._settings.attachments_max_bytes
        attachments = (
            await asyncio.to_thread(load, leased.attachments, folder, most) if leased.attachments else ()
        )
        data = leased.data | secret
        return Outgoing(
            leased.id,
            leased.template,
            leased.address,
            leased.locale,
            data,
            attachments,
            category=leased.category,
            unsubscribe=self._links.of(leased),
            preferences=self._links.settings_of(leased),
            confidential=bool(secret),
            event_id=leased.event_id,
            user_id=leased.user_id,
            expires_in=leased.expires_in,
            age=leased.age,
            digest=leased.digest,
            only_if=leased.only_if,
            notification=leased.notification,
        )

    async def _failed(self, leased: LeasedDelivery, failure: DeliveryFailed, tried: AttemptResult) -> None:
        pause = retry_delay(
            leased.attempts, failure, leased.age, self._settings.retry_deadline, self._backoff
        )
        if pause is not None and isinstance(failure, Deferred):
            await self._reschedule(leased, str(failure), pause)
            return
        if pause is not None and isinstance(failure, SetupFailed) and failure.repeated:
            await self._reschedule(
                leased, f"deferred because other messages failed: {failure}", failure.retry_after or 0.0
            )
            return
        log.warning("attempt_failed", extra={**_shown(leased), "code": failure.code})
        if failure.bad_address and not leased.code:
            await self._suppress(leased, str(failure))
        if pause is None:
            reason = "retry deadline exceeded" if failure.retryable else "not retryable"
            await self._finish(leased, Status.FAILED, reason, tried)
        else:
            await self._reschedule(leased, None, pause, tried)

    async def _suppress(self, leased: LeasedDelivery, why: str) -> None:
        """Send nothing more to the address for a while. If it can't be noted, the next failure will be."""
        try:
            await self._store.suppressions.add(leased.channel, leased.address, ALL, why, BOUNCE_DAYS)
        except Unavailable as error:
            log.warning("not_suppressed", extra={"delivery": leased.id, "why": str(error)})

    async def _finish(
        self, leased: LeasedDelivery, status: Status, reason: str | None, tried: AttemptResult | None = None
    ) -> None:
        DELIVERIES.labels(leased.channel, status.value).inc()
        result = DeliveryResult(leased.id, leased.attempts, status, reason, tried)
        for delay in POSTGRES_BACKOFF.delays():  # a mail that was sent and isn't noted goes out twice
            try:
                await self._results.record(result)
                return
            except Unavailable as error:
                log.error("delivery_not_noted", extra={"delivery": leased.id, "why": str(error)})
                await asyncio.sleep(delay)

    async def _reschedule(
        self, leased: LeasedDelivery, reason: str | None, pause: float, tried: AttemptResult | None = None
    ) -> None:
        try:
            await self._store.reschedule(leased.id, reason, pause, tried, leased.attempts)
        except Unavailable as error:  # then it is due after the lease
            log.error("delivery_not_noted", extra={"delivery": leased.id, "why": str(error)})


def _failure(error: Exception) -> DeliveryFailed:
    """Translate what an attempt raised. Of an unexpected exception only the type is kept: its text may hold a
    secret.
    """
    match error:
        case DeliveryFailed():
            return error
        case TimeoutError():
            return DeliveryFailed("timeout", "the attempt took too long", retryable=True)
        case Unavailable():
            return DeliveryFailed("unavailable", f"{error.dependency} didn't answer", retryable=True)
    log.error("attempt_broke", extra={"why": type(error).__name__})
    return DeliveryFailed("internal", f"internal error of the hub ({type(error).__name__})", retryable=True)


def _shown(leased: LeasedDelivery) -> dict[str, object]:
    """The log fields of a delivery; none is secret."""
    return {
        "delivery": leased.id,
        "template": leased.template,
        "to": masked(leased.address),
        "attempt": leased.attempts,
    }
