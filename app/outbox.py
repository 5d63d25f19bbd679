"""The outbox's worker: takes deliveries that are due and hands them to their channels.

Several nodes work on one outbox. A node that dies leaves what it had taken to the others, after the lease.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from app.channels.attachments import load
from app.channels.base import Channel, Outgoing, Receipt
from app.deliveries import Status, masked
from app.errors import DeliveryFailed, Unavailable
from app.metrics import ATTEMPT_SECONDS, DELIVERIES
from app.security.secrets import SecretBox
from app.settings import Settings
from app.store.deliveries import DeliveryStore, Taken, Tried
from app.tasks import end

log = logging.getLogger("hub.outbox")

FIRST_PAUSE, LAST_PAUSE = 2.0, 900.0  # seconds between attempts
POLL = 5.0  # seconds, in case that the signal of a new delivery is lost
POSTGRES_AWAY = 1.0
OF_LEASE = 0.8  # share of the lease that an attempt may take, so that no other node tries meanwhile


def pause_before(
    attempt: int, error: DeliveryFailed, age: float, give_up: float, chance: float
) -> float | None:
    """The seconds to wait before the next attempt; None when there is to be none.

    `attempt` (from 1) has failed with `error`, `age` seconds after the delivery was asked for; `chance` is a
    random number in 0 … 1. Exponential, capped, with jitter; a provider that asks for more time gets it.
    """
    if not error.passes:
        return None
    pause = float(min(FIRST_PAUSE * 2.0 ** min(attempt - 1, 30), LAST_PAUSE)) * (0.5 + chance / 2)
    pause = max(pause, error.retry_after or 0.0)
    return pause if age + pause < give_up else None


class Outbox:
    """Works while it is started, on deliveries with one-time codes or on all others. `wake` says that
    something may be due.
    """

    def __init__(
        self,
        store: DeliveryStore,
        channels: Mapping[str, Channel],
        box: SecretBox,
        settings: Settings,
        *,
        codes: bool,
    ) -> None:
        """`channels` are its own: what others wait for there holds up no code."""
        self._store = store
        self._channels = channels
        self._box = box
        self._settings = settings
        self._codes = codes
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._attempts: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._running = asyncio.create_task(self._run(), name="outbox")

    def wake(self) -> None:
        self._wake.set()

    async def stop(self, within: float) -> None:
        """Take no more; finish what is under way, `within` seconds. What isn't finished is tried again."""
        await end(self._running)
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=within)
        for attempt in self._attempts:
            attempt.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)
        for channel in self._channels.values():
            await channel.close()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._wait_for_more(await self._take())
            except Unavailable as error:
                log.warning("outbox_unreachable", extra={"why": str(error)})
                await asyncio.sleep(POSTGRES_AWAY)
            except Exception:
                log.exception("outbox_failed")
                await asyncio.sleep(POSTGRES_AWAY)

    async def _take(self) -> bool:
        """Begin as many as there is room for; whether there may be more at once."""
        room = self._settings.delivery_concurrency - len(self._attempts)
        if room <= 0:
            return False
        lease = self._settings.delivery_lease
        taken = await self._store.take(self._channels, room, lease, codes=self._codes)
        for each in taken:
            attempt = asyncio.create_task(self._deliver(each), name="delivery")
            self._attempts.add(attempt)
            attempt.add_done_callback(self._ended)
        return len(taken) == room

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        self._attempts.discard(attempt)
        self._wake.set()

    async def _wait_for_more(self, more: bool) -> None:
        if more and len(self._attempts) < self._settings.delivery_concurrency:
            return
        pause = POLL
        if len(self._attempts) < self._settings.delivery_concurrency:
            due = await self._store.next_due(self._channels, codes=self._codes)
            pause = POLL if due is None else min(POLL, due + 0.01)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)

    async def _deliver(self, taken: Taken) -> None:
        try:
            await self._decide(taken)
        except Exception as error:  # its text may hold what is secret
            log.error("delivery_failed", extra={"delivery": taken.id, "why": type(error).__name__})
            await self._finish(taken, Status.FAILED, "the hub failed on it")

    async def _decide(self, taken: Taken) -> None:
        channel = self._channels[taken.channel]
        cap, cooldown = self._settings.otp_hourly_cap, self._settings.otp_cooldown
        since_last = taken.seconds_since_last_code
        if taken.replaced:
            await self._finish(taken, Status.SUPPRESSED, "a newer code took its place")
        elif taken.expires_in is not None and taken.expires_in <= 0:
            await self._finish(taken, Status.EXPIRED, "its time was over")
        elif taken.code and taken.codes_last_hour >= cap:
            await self._finish(taken, Status.SUPPRESSED, f"{cap} codes went to this address within an hour")
        elif taken.code and since_last is not None and since_last < cooldown:
            await self._again(taken, "another code was sent just before", cooldown - since_last)
        elif channel.simulated:
            log.info("delivery_simulated", extra=_shown(taken))
            await self._finish(taken, Status.SIMULATED, f"{taken.channel} isn't configured")
        else:
            await self._attempt(channel, taken)

    async def _attempt(self, channel: Channel, taken: Taken) -> None:
        secret: dict[str, Any] | None = self._box.decrypt(taken.secret) if taken.secret else {}
        if secret is None:
            await self._finish(taken, Status.FAILED, "no key of DELIVERY_KEYS opens its secret")
            return
        started_at, begun = datetime.now(UTC), time.perf_counter()
        failure: DeliveryFailed | None = None
        receipt: Receipt | None = None
        try:
            within = self._settings.delivery_lease * OF_LEASE
            async with asyncio.timeout(min(within, within if taken.expires_in is None else taken.expires_in)):
                receipt = await channel.send(await self._outgoing(taken, secret))
        except DeliveryFailed as error:
            failure = error
        except TimeoutError:
            failure = DeliveryFailed("timeout", "the attempt took too long", passes=True)
        seconds = time.perf_counter() - begun
        ATTEMPT_SECONDS.labels(taken.channel).observe(seconds)
        if receipt is not None:
            log.info("delivered", extra=_shown(taken))
            tried = Tried(started_at, seconds, provider_id=receipt.provider_id)
            await self._finish(taken, Status.SENT, None, tried)
        elif failure is not None:
            await self._failed(taken, failure, Tried(started_at, seconds, failure.code, str(failure)))

    async def _outgoing(self, taken: Taken, secret: dict[str, Any]) -> Outgoing:
        folder, most = self._settings.attachments_dir, self._settings.attachments_max_bytes
        attachments = (
            await asyncio.to_thread(load, taken.attachments, folder, most) if taken.attachments else ()
        )
        data = taken.data | secret
        return Outgoing(taken.id, taken.template, taken.address, taken.locale, data, attachments)

    async def _failed(self, taken: Taken, failure: DeliveryFailed, tried: Tried) -> None:
        log.warning("attempt_failed", extra={**_shown(taken), "code": failure.code})
        pause = pause_before(
            taken.attempts,
            failure,
            taken.age,
            self._settings.delivery_give_up,
            random.random(),  # noqa: S311 - jitter
        )
        if pause is None:
            reason = "tried for too long" if failure.passes else "another attempt can't help"
            await self._finish(taken, Status.FAILED, reason, tried)
        else:
            await self._again(taken, None, pause, tried)

    async def _finish(
        self, taken: Taken, status: Status, reason: str | None, tried: Tried | None = None
    ) -> None:
        DELIVERIES.labels(taken.channel, status.value).inc()
        while True:  # a mail that was sent and isn't noted goes out twice
            try:
                await self._store.finish(taken.id, status, reason, tried, taken.attempts)
                return
            except Unavailable as error:
                log.error("delivery_not_noted", extra={"delivery": taken.id, "why": str(error)})
                await asyncio.sleep(POSTGRES_AWAY)

    async def _again(
        self, taken: Taken, reason: str | None, pause: float, tried: Tried | None = None
    ) -> None:
        try:
            await self._store.again(taken.id, reason, pause, tried, taken.attempts)
        except Unavailable as error:  # then it is due after the lease
            log.error("delivery_not_noted", extra={"delivery": taken.id, "why": str(error)})


def _shown(taken: Taken) -> dict[str, object]:
    """What of a delivery may stand in a log."""
    return {
        "delivery": taken.id,
        "template": taken.template,
        "to": masked(taken.address),
        "attempt": taken.attempts,
    }
