"""Catch-up: sending what a connection missed before anything newer reaches it."""

from __future__ import annotations

import asyncio

from app.domain.errors import Unavailable
from app.realtime.connection import Connection, details_needed
from app.realtime.inboxes import InboxReader
from app.realtime.language import in_language
from app.realtime.protocol import CloseCode, detailed_frame, notification_frame
from app.store.inboxes import InboxState
from handlers.registry import details_json

# Bytes sent before checking whether the client reads; below the smallest limit of a write buffer.
MAX_BYTES_PER_TURN = 32 * 1024


class CatchUp:
    """Sends connections what they missed, page by page, until their cursors are live again."""

    def __init__(self, reader: InboxReader) -> None:
        self._reader = reader
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, connection: Connection, inbox_seq: int, after: int | None = None) -> None:
        """Let a new connection go live behind `inbox_seq`, where its inbox stood when it was read. What was
        pushed since then is fetched first; with `after`, all that follows that `seq`.
        """
        if connection.cursor.started(inbox_seq, after):
            self.start(connection)

    def start(self, connection: Connection) -> None:
        """Begin with a connection whose cursor is catching up. It is closed with 1013 when that fails."""
        task = asyncio.create_task(self._run(connection), name="catch up")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: Connection) -> None:
        try:
            while connection.open and (fetch := connection.cursor.next_fetch()):
                state = await self._reader.read(connection.user_id, fetch.after)
                await send_missed(connection, state)
                connection.cursor.fetched(fetch, state.last_seq)
        except Unavailable:
            connection.close(CloseCode.OVERLOADED, "cannot read the inbox: reconnect and resume")


async def send_missed(connection: Connection, state: InboxState) -> None:
    """Send what `state` says was missed, as fast as the client reads. The cursor has to be catching up."""
    frames: list[bytes] = []
    locale = connection.client.locale
    for notification in state.missed:
        frame = notification_frame(notification)
        shown = connection.details >= details_needed(notification)
        frame = detailed_frame(frame, details_json(notification)) if shown else frame
        frames.append(frame if locale is None else in_language(frame, locale))
        if sum(map(len, frames)) >= MAX_BYTES_PER_TURN:
            connection.send(b"".join(frames))
            frames.clear()
            await connection.drained()
    if frames:
        connection.send(b"".join(frames))
    connection.cursor.sent(state.until)
