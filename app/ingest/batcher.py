"""Batches for the sources without offsets, whose messages arrive one by one.  The batch size follows the
load: messages that arrive while one batch is written form the next. No message waits for others to arrive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence

from msgspec.structs import replace

from app.domain.errors import InvalidEvent, StoreFailed
from app.ingest.batch import Batch, ParkedEvent, PreparedEvent, Rejected, SourceMessage
from app.ingest.pipeline import Pipeline
from app.runtime.tasks import end

log = logging.getLogger("hub.intake")

Outcome = asyncio.Future[InvalidEvent | None]
"""Completes with None when the event is stored and pushed (now or earlier) or parked, and with the reason
when it can never be stored. Cancelled if the hub stops first: the message then has to be redelivered, which
is safe.
"""


class Batcher:
    """Passes the messages of all its sources through the pipeline. It prepares the next batch while one is
    written, so that Postgres and the hub work in parallel.
    """

    def __init__(self, pipeline: Pipeline, batch_size: int) -> None:
        """`batch_size` is the maximum number of messages in one transaction."""
        self._pipeline = pipeline
        self._batch_size = batch_size
        self._pending: list[SourceMessage] = []
        self._arrived = asyncio.Event()
        self._ready: list[PreparedEvent | ParkedEvent] = []
        self._prepared, self._room = asyncio.Event(), asyncio.Event()
        self._running: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        """Start the tasks that prepare and write batches."""
        self._running = (
            asyncio.create_task(self._prepare_all(), name="intake"),
            asyncio.create_task(self._write_all(), name="intake writer"),
        )

    async def stop(self) -> None:
        """Cancel the messages in progress. Callers that need their outcome must await it first."""
        await end(*self._running)
        _give_up([*self._pending, *(item.message for item in self._ready)])

    @property
    def failure(self) -> StoreFailed | None:
        """Why nothing can be stored until an operator acts."""
        return self._pipeline.failure

    @property
    def backlog(self) -> int:
        """The number of messages that wait for their transaction."""
        return len(self._pending) + len(self._ready)

    def submit(self, messages: Iterable[SourceMessage]) -> list[Outcome]:
        """Queue the messages in order. Returns an outcome for each, which replaces its `origin`."""
        loop = asyncio.get_running_loop()
        taken = [replace(message, origin=loop.create_future()) for message in messages]
        self._pending += taken
        self._arrived.set()
        return [message.origin for message in taken]

    async def _prepare_all(self) -> None:
        while True:
            await self._arrived.wait()
            await self._until_there_is_room()
            room = self._batch_size - len(self._ready)
            taken, self._pending = self._pending[:room], self._pending[room:]
            if not self._pending:
                self._arrived.clear()
            await self._settle(taken, self._prepare(taken))

    async def _until_there_is_room(self) -> None:
        while len(self._ready) >= self._batch_size:
            self._room.clear()
            await self._room.wait()

    async def _prepare(self, messages: Sequence[SourceMessage]) -> None:
        batch = Batch([], [])
        await self._pipeline.prepare_into(batch, messages)
        _refuse(batch.rejected)
        self._ready += batch.events
        self._prepared.set()

    async def _write_all(self) -> None:
        while True:
            await self._prepared.wait()
            self._prepared.clear()
            ready, self._ready = self._ready, []
            self._room.set()
            await self._settle([item.message for item in ready], self._write(ready))

    async def _settle(self, messages: Sequence[SourceMessage], work: Coroutine[None, None, None]) -> None:
        """Run the work. If it ends without an outcome for a message, cancel that outcome."""
        try:
            await work
        except Exception as error:
            log.exception("intake_failed", extra={"events": len(messages)})
            for message in messages:
                if not message.origin.done():
                    message.origin.set_exception(error)
        except BaseException:
            _give_up(messages)
            raise

    async def _write(self, events: Sequence[PreparedEvent | ParkedEvent]) -> None:
        _refuse(await self._pipeline.write(events))
        for item in events:
            if not item.message.origin.done():
                item.message.origin.set_result(None)


def _refuse(rejected: Iterable[Rejected]) -> None:
    for refused in rejected:
        if not refused.message.origin.done():
            refused.message.origin.set_result(refused.error)


def _give_up(messages: Iterable[SourceMessage]) -> None:
    for message in messages:
        message.origin.cancel()
