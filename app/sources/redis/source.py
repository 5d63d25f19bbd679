"""The Redis source: events from a stream and from a Pub/Sub channel. The same alert on both is one event.

Every node is a consumer of the stream's group and a subscriber of the channel. Pub/Sub stores nothing: a
message that is published while no node is subscribed is lost, unless it is in the stream too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from app.domain.errors import InvalidEvent, Unavailable
from app.ingest.batch import SourceMessage
from app.ingest.batcher import Batcher, Outcome
from app.ingest.parts import MAX_MESSAGES_PER_TURN
from app.runtime.backoff import Backoff
from app.runtime.redis import REDIS_ERRORS, connect, subscription
from app.runtime.services import Background
from app.runtime.tasks import first
from app.settings.sources import RedisStreamsSettings
from app.sources.dead_letters import SUFFIX
from app.sources.redis.dedup import Deduplicator
from app.sources.redis.group import ConsumerGroup
from app.sources.redis.messages import (
    LOW_STOCK,
    Reading,
    Received,
    dead_letter,
    labels_of,
    parked_message,
    read,
)

log = logging.getLogger("hub.redis_source")

MAX_PENDING_MESSAGES = 5_000  # messages without an outcome; past that, reading waits for them
MAX_READ_SECONDS = 1.0  # seconds an answer may be held back for entries to come
RECONNECT_BACKOFF = Backoff(first=1.0, cap=1.0)


class _Settled(NamedTuple):
    received: Received
    dedup_key: str
    outcome: Outcome


def events_redis(settings: RedisStreamsSettings) -> Redis:
    """A client of the Redis of events. `settings.url` must be set."""
    redis = connect(settings.connection)
    assert isinstance(redis, Redis)
    return redis


class RedisSource:
    """Reads events from Redis as a member of the stream's consumer group.

    A stream entry is acknowledged only when its event was stored and pushed, parked, or dead-lettered. Until
    then it is kept from being claimed; when the node dies, others claim it.
    """

    def __init__(self, settings: RedisStreamsSettings, batcher: Batcher) -> None:
        """`settings.url` must be set."""
        self._settings = settings
        self._redis = redis = events_redis(settings)
        self._batcher = batcher
        self._group = ConsumerGroup(redis, settings.stream, settings.group, uuid4().hex)
        self._deduplicator = Deduplicator(redis, settings.prefix)
        self._unresponsive_ms = int(settings.claim_after * 1000)
        self._renew_every = settings.claim_after / 3
        self._pending: set[Received] = set()
        self._settled: list[_Settled] = []
        self._any_settled = asyncio.Event()
        self._changed = asyncio.Condition()  # fewer are pending, or the source is stopping
        self._stopping = False
        self._serving = False
        self._running = Background(self._run, name="redis source")

    async def start(self) -> None:
        """Start: connect (repeatedly while Redis doesn't answer), join the group, subscribe, read.

        Returns at once.
        """
        await self._running.start()

    async def stop(self, within: float) -> None:
        """Read no more; wait `within` seconds for pending messages, and acknowledge them."""
        self._stopping = True
        await self._notify_changed()
        await self._running.stop(within)
        await self._redis.aclose()

    async def check(self) -> None:
        """Raises `Unavailable` unless Redis answers and this node reads from it."""
        if not self._serving:
            raise Unavailable("redis_events", "the source is not running; see the hub's log")
        try:
            await self._redis.ping()
        except REDIS_ERRORS as error:
            raise Unavailable("redis_events", type(error).__name__) from None

    async def _run(self) -> None:
        """Serve until `stop`.

        After any failure restart: create the group if it is missing, and fetch entries whose read was
        interrupted. Pending messages stay pending.
        """
        while not self._stopping:
            try:
                await self._serve()
            except REDIS_ERRORS as error:
                hint = "Is REDIS_EVENTS_URL right, and does that Redis run?"
                why = str(error) or type(error).__name__
                log.error("redis_events_unavailable", extra={"why": why, "hint": hint})
            except Exception:
                log.exception("source_failed")
            finally:
                self._serving = False
            if not self._stopping:
                await asyncio.sleep(RECONNECT_BACKOFF.delay(0))

    async def _serve(self) -> None:
        await self._group.make()
        await self._recover_held()
        async with subscription(self._redis, self._settings.connection, self._settings.channel) as subscribed:
            self._serving = True
            await first(self._consume(subscribed), self._finish_all(), self._renew_and_claim())

    async def _consume(self, subscribed: PubSub) -> None:
        await first(self._read_stream(), self._listen(subscribed))
        await self._until(lambda: not self._pending)

    async def _read_stream(self) -> None:
        """Return when the node stops, and never with entries that were read and not submitted."""
        # Below the time-out of Redis, and below the time after which others claim our entries.
        longest = min(MAX_READ_SECONDS, self._settings.timeout / 2, self._renew_every)
        while not self._stopping:
            await self._until(lambda: self._room > 0 or self._stopping)
            count = min(self._settings.batch_size, max(1, self._room))
            await self._submit(await self._group.read(count, wait_ms=int(longest * 1000)))

    async def _listen(self, subscribed: PubSub) -> None:
        """Submit what is published. An idle connection must answer a ping."""
        asked = False
        while True:
            await self._until(lambda: self._room > 0)
            messages = await self._published(subscribed)
            if not messages and asked:
                raise TimeoutError("the subscription doesn't answer")
            asked = not messages
            if asked:
                await subscribed.ping()
            channel = self._settings.channel
            await self._submit([Received(channel, m["data"]) for m in messages if m["type"] == "message"])

    async def _published(self, subscribed: PubSub) -> list[dict[str, Any]]:
        """The messages of one batch; none when none is published within the time-out."""
        messages: list[dict[str, Any]] = []
        wait = self._settings.timeout
        while len(messages) < self._settings.batch_size:
            message = await subscribed.get_message(timeout=wait)
            if message is None:
                break
            messages.append(message)
            wait = 0.0
        return messages

    async def _renew_and_claim(self) -> None:
        """Renew the claims of pending entries, and claim those of unresponsive nodes."""
        while True:
            await self._group.renew(_ids(self._pending))
            await self._claim()
            await self._group.remove_unresponsive(self._unresponsive_ms)
            await asyncio.sleep(self._renew_every)

    async def _claim(self) -> None:
        after: bytes | None = b"0-0"
        vanished = False
        while after is not None and self._room > 0:
            count = min(self._settings.batch_size, self._room)
            claimed = await self._group.claim(self._unresponsive_ms, count, after)
            await self._submit_unknown(claimed.entries)
            after, vanished = claimed.after, vanished or claimed.vanished
        if vanished:
            await self._recover_held()

    async def _recover_held(self) -> None:
        """Submit entries that are ours and not pending, such as those read when the connection broke."""
        known = {item.entry_id for item in self._pending}
        ids = [entry_id for entry_id in await self._group.held() if entry_id not in known]
        entries = await self._group.fetch(ids)
        await self._group.acknowledge([*set(ids).difference(_ids(entries))])  # they were trimmed
        await self._submit_unknown(entries)

    async def _submit_unknown(self, entries: Sequence[Received]) -> None:
        known = {item.entry_id for item in self._pending}
        await self._submit([entry for entry in entries if entry.entry_id not in known], redelivered=True)

    async def _submit(self, received: Sequence[Received], *, redelivered: bool = False) -> None:
        """Hand the messages to the batcher; `_finish_all` does the rest. `redelivered`: a node that died, or
        this one, may have handled them.
        """
        if not received:
            return
        self._pending.update(received)
        try:
            messages = await self._messages(received, redelivered=redelivered)
        except BaseException:
            self._pending.difference_update(received)
            raise
        for item, message, outcome in zip(received, messages, self._batcher.submit(messages), strict=True):
            outcome.add_done_callback(partial(self._settle, item, message.dedup_key))

    async def _messages(self, received: Sequence[Received], *, redelivered: bool) -> list[SourceMessage]:
        """Without an `event_id` the deduplication key is the content and when it was first seen.

        A replayed message keeps its key.
        """
        readings = []
        for start in range(0, len(received), MAX_MESSAGES_PER_TURN):
            readings += [read(item.value) for item in received[start : start + MAX_MESSAGES_PER_TURN]]
            await asyncio.sleep(0)
        known = [_known_by(item, reading) for item, reading in zip(received, readings, strict=True)]
        unknown = [
            (reading.digest, item.sent_at_ms)
            for item, reading, dedup_key in zip(received, readings, known, strict=True)
            if dedup_key is None
        ]
        times = iter(await self._deduplicator.first_seen(unknown))
        return [
            SourceMessage(
                "redis",
                dedup_key or f"redis:{reading.digest}:{next(times)}",
                item.value,
                None,
                happened_at=item.happened_at,
                default_type=LOW_STOCK,
                attempts=item.replay.attempts,
                separate=item.replay.separate,
                redelivered=redelivered,
                labels=partial(_labels_of, item),
            )
            for item, reading, dedup_key in zip(received, readings, known, strict=True)
        ]

    def _settle(self, received: Received, dedup_key: str, outcome: Outcome) -> None:
        self._settled.append(_Settled(received, dedup_key, outcome))
        self._any_settled.set()

    async def _finish_all(self) -> None:
        while True:
            while not self._settled:
                self._any_settled.clear()
                await self._any_settled.wait()
            settled = self._settled.copy()
            await self._finish(settled)
            del self._settled[: len(settled)]
            self._pending.difference_update(item.received for item in settled)
            await self._notify_changed()

    async def _finish(self, settled: Sequence[_Settled]) -> None:
        """Acknowledge stored messages; dead-letter rejected ones, then acknowledge them.

        Those that failed by a fault of the hub (the batcher logged it) are claimed again when they have
        been idle.
        """
        known = [item for item in settled if not (item.outcome.cancelled() or item.outcome.exception())]
        stored = [item.received for item in known if item.outcome.result() is None]
        await self._group.acknowledge(_ids(stored))
        rejected = [(item, error) for item in known if (error := item.outcome.result()) is not None]
        await self._add_dead_letters([(item.received, item.dedup_key, error) for item, error in rejected])
        await self._group.acknowledge(_ids(item.received for item, _ in rejected))

    async def dead_letter(self, message: SourceMessage, labels: bytes, error: InvalidEvent) -> None:
        """See `Source.dead_letter`."""
        received = parked_message(labels, message.value or b"")
        try:
            await self._add_dead_letters([(received, message.dedup_key, error)])
        except REDIS_ERRORS as problem:
            raise Unavailable("redis_events", type(problem).__name__) from None

    async def _add_dead_letters(self, rejected: Iterable[tuple[Received, str, InvalidEvent]]) -> None:
        dead_letters = []
        for received, dedup_key, error in rejected:
            log.warning("event_rejected", extra={"dedup_key": dedup_key, "reason": error.reason})
            # A replayed message that fails again within the window gets a separate dead letter.
            identity = f"{dedup_key}:{received.replay.attempts}"
            dead_letters.append((identity, dead_letter(received, dedup_key, error)))
        await self._deduplicator.add_dead_letters(self._settings.stream + SUFFIX, dead_letters)

    @property
    def _room(self) -> int:
        return MAX_PENDING_MESSAGES - len(self._pending)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(holds)

    async def _notify_changed(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _known_by(received: Received, reading: Reading) -> str | None:
    """The deduplication key, where it doesn't depend on when the message was first seen."""
    return received.replay.dedup_key or (f"redis:{reading.digest}" if reading.has_id else None)


def _labels_of(received: Received, _: SourceMessage) -> bytes:
    return labels_of(received)


def _ids(entries: Iterable[Received]) -> list[bytes]:
    return [entry.entry_id for entry in entries if entry.entry_id is not None]
