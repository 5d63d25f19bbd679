"""Sending session clients how their inbox stands, again after changes may have been missed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from app.domain.errors import Unavailable
from app.realtime.connection import Connection
from app.realtime.inboxes import MAX_READERS_PER_QUERY, InboxReader
from app.realtime.membership import Membership
from app.realtime.session_frames import Connected, session_frame
from app.store.inboxes import InboxState


class Resync:
    """Sends `connected` frames, which hold the counters of an inbox."""

    def __init__(
        self, connections: Iterable[Connection], membership: Membership, reader: InboxReader
    ) -> None:
        """`connections` are all of this node, at any time."""
        self._connections = connections
        self._membership = membership
        self._reader = reader
        self._running: set[asyncio.Task[None]] = set()

    def frame(self, state: InboxState) -> bytes:
        """Encode the frame for this state of an inbox."""
        unread, last_seq, rev, unseen, seen_up_to = state.counted
        node = self._membership.node.hex()
        return session_frame(Connected(node, last_seq, unread, rev, unseen, seen_up_to))

    def start(self) -> None:
        """Read the inboxes of all session clients and send each its frame, in the background: changes that
        other devices made may have been missed.
        """
        task = asyncio.create_task(self._run(), name="resync")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self) -> None:
        sessions = [connection for connection in self._connections if connection.session]
        for start in range(0, len(sessions), MAX_READERS_PER_QUERY):
            some = sessions[start : start + MAX_READERS_PER_QUERY]
            try:
                states = await asyncio.gather(*(self._reader.read(each.user_id) for each in some))
            except Unavailable:
                return  # Postgres is down too; clients that reconnect get the frame then
            for connection, state in zip(some, states, strict=True):
                connection.send(self.frame(state))  # held until after the first one where it is still to come
