"""Users whose last connection on this node ended, or died with its node: what waited for that is looked at
again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

from app.domain.errors import Unavailable

LOOK_AT_DISCONNECTED_SECONDS = 5.0
"""A user who is back within this time, as after a page was loaded again, counts as connected."""
MAX_NOTED_USERS = 10_000
"""Of more users at once, steps of escalations are looked at as late as if nobody had noted them."""


class DisconnectedUsers:
    """Notes them, and passes them on a while later."""

    def __init__(self, look_again: Callable[[Collection[UUID]], Awaitable[object]]) -> None:
        self._look_again = look_again
        self._earlier: set[UUID] = set()
        self._latest: set[UUID] = set()

    def user_disconnected(self, user: UUID) -> None:
        """Note a user."""
        if len(self._latest) < MAX_NOTED_USERS:
            self._latest.add(user)

    async def look(self) -> None:
        """Pass on those who were noted before the last call, each once; again if Postgres doesn't answer."""
        users, self._earlier, self._latest = self._earlier, self._latest, set()
        if not users:
            return
        try:
            await self._look_again(users)
        except Unavailable:  # of Postgres: the next call passes them on too
            self._earlier |= users
