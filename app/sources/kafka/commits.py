"""Commits of offsets, concurrent with the batches that follow."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from app.runtime.tasks import end
from app.sources.kafka.offsets import OffsetTracker

log = logging.getLogger("hub.kafka")

COMMIT_SECONDS = 0.1  # between two commits of offsets: each costs the broker a write, however many it has


class OffsetCommits:
    """Commits the offsets of what is done, for one consumer."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.offsets: OffsetTracker[TopicPartition] = OffsetTracker()
        """What is done; another one after `forget`."""
        self._committing: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._due_at = 0.0

    def soon(self) -> None:
        """Commit within `COMMIT_SECONDS`, with all that is done by then."""
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_when_due(), name="kafka commit")

    async def now(self) -> None:
        """Return when all that is done is committed, or can't be."""
        async with self._one_at_a_time:
            while await self._commit():
                pass

    def forget(self) -> None:
        """The partitions were revoked: what is done from here on is of others."""
        self.offsets = OffsetTracker()

    async def stop(self) -> None:
        """Cancel a commit that is under way."""
        await end(self._committing)

    async def _commit_when_due(self) -> None:
        may_be_more = True
        while may_be_more:
            if (left := self._due_at - time.monotonic()) > 0:
                await asyncio.sleep(left)
            self._due_at = time.monotonic() + COMMIT_SECONDS
            async with self._one_at_a_time:
                may_be_more = await self._commit()

    async def _commit(self) -> bool:
        """Commit positions that moved; return whether that succeeded, and there may be more by now."""
        offsets, assigned = self.offsets, self._consumer.assignment()
        positions = {p: offset for p, offset in offsets.to_commit().items() if p in assigned}
        if not positions:
            return False
        try:
            await self._consumer.commit(positions)
        except (CommitFailedError, IllegalStateError) as error:
            # After a rebalance another node has the partition, and recognises our events as processed.
            log.info("commit_refused", extra={"why": type(error).__name__})
        except KafkaError as error:
            log.warning("commit_failed", extra={"why": type(error).__name__})
        else:
            offsets.committed(positions)
            return True
        return False
