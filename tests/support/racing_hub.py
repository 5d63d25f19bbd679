"""A hub where, whenever a client is let in, another device reads everything: after the look at the inbox, and
before the client is connected. `python -m tests.support.racing_hub`
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app import settings
from app.realtime.changes import InboxCommands
from app.realtime.inboxes import InboxReader
from app.server import app as server
from app.store.inboxes import InboxState

_made: list[InboxCommands] = []
_make = InboxCommands.__init__
_read = InboxReader.read


def make(self: InboxCommands, *parts: Any) -> None:
    _make(self, *parts)
    _made.append(self)


async def read(self: InboxReader, user_id: UUID, after: int | None = None) -> InboxState:
    state = await _read(self, user_id, after)
    await _made[0].read_all(user_id, None)
    return state


if __name__ == "__main__":
    InboxCommands.__init__ = make  # type: ignore[assignment, method-assign]
    InboxReader.read = read  # type: ignore[method-assign]
    server.run(settings.load())
