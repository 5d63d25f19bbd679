"""Results of deliveries, recorded together: those that come while Postgres records others are the next batch.

How much that saves depends on how many deliveries end together (decision 012).
"""

from __future__ import annotations

import asyncio

from app.domain.errors import StoreFailed, StoreRejected
from app.runtime.tasks import end
from app.store.deliveries import DeliveryResult, DeliveryStore

MAX_BATCH = 100


class ResultRecorder:
    """Records results in batches. It delays none: what comes alone is recorded at once."""

    def __init__(self, store: DeliveryStore) -> None:
        """`store` records them."""
        self._store = store
        self._waiting: list[tuple[DeliveryResult, asyncio.Future[None]]] = []
        self._recording: asyncio.Task[None] | None = None

    async def record(self, result: DeliveryResult) -> None:
        """Return when it is committed. Raises what `DeliveryStore.finish` raises.

        A caller that is cancelled may find it recorded all the same.
        """
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((result, recorded))
        if self._recording is None:
            self._recording = asyncio.create_task(self._record_all(), name="delivery results")
        await recorded

    async def close(self, within: float) -> None:
        """Give what is being recorded `within` seconds."""
        if self._recording is not None:
            await asyncio.wait((self._recording,), timeout=within)
        if self._recording is not None:
            await end(self._recording)

    async def _record_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._record_batch(batch)
        finally:
            self._recording = None

    async def _record_batch(self, batch: list[tuple[DeliveryResult, asyncio.Future[None]]]) -> None:
        try:
            await self._store.finish([result for result, _ in batch])
        except (StoreRejected, StoreFailed) as error:
            if len(batch) == 1:
                _fail(batch, error)
            for each in batch if len(batch) > 1 else ():  # one must not cost the others
                await self._record_batch([each])
        except Exception as error:
            _fail(batch, error)
        except BaseException:
            for _, recorded in batch:
                recorded.cancel()
            raise
        else:
            for _, recorded in batch:
                if not recorded.done():
                    recorded.set_result(None)


def _fail(batch: list[tuple[DeliveryResult, asyncio.Future[None]]], error: Exception) -> None:
    for _, recorded in batch:
        if not recorded.done():
            recorded.set_exception(error)
