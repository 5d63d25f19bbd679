"""What the sources without offsets share: messages that come one by one are made into batches.

A batch is as large as the load makes it: while one is written the next comes together, and no message waits
for others to come.
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
"""Done when the event is stored and pushed, now or before, or parked (None), or can never be (why). Cancelled
when the hub stops before it knows: then the message has to come again, which is safe.
"""


class Batcher:
    """Passes messages through the pipeline, those of all its sources together. While one batch is written the
    next is prepared, so that Postgres and we work at the same time.
    """

    def __init__(self, pipeline: Pipeline, batch_size: int) -> None:
        """`batch_size` is how many messages are in one transaction, at most."""
        self._pipeline = pipeline
        self._batch_size = batch_size
        self._pending: list[SourceMessage] = []
        self._arrived = asyncio.Event()
        self._ready: list[PreparedEvent | ParkedEvent] = []
        self._prepared, self._room = asyncio.Event(), asyncio.Event()
        self._running: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        self._running = (
            asyncio.create_task(self._prepare_all(), name="intake"),
            asyncio.create_task(self._write_all(), name="intake writer"),
        )

    async def stop(self) -> None:
        """Give up what is in hand. Who wants its outcome waits for it before."""
        await end(*self._running)
        _give_up([*self._pending, *(item.message for item in self._ready)])

    @property
    def failure(self) -> StoreFailed | None:
        """Why nothing can be stored until an operator acts."""
        return self._pipeline.failure

    @property
    def backlog(self) -> int:
        """How many messages wait for their transaction."""
        return len(self._pending) + len(self._ready)

    def submit(self, messages: Iterable[SourceMessage]) -> list[Outcome]:
        """Take the messages, in their order; an outcome for each, which takes the place of its `origin`."""
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
        """Do the work, and see that each of the messages has its outcome when the work ends without."""
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
