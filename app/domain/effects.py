"""The effects of an event, as its handler returns them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import inf
from typing import NamedTuple
from uuid import UUID

import msgspec

from app.domain.amendments import Amendment
from app.domain.deliveries import DeliveryDraft
from app.domain.notifications import NotificationDraft
from app.domain.user_ids import canonical_id

MAX_TOKEN_IDS = 8  # of one user, whose logouts are remembered together


class Text(NamedTuple):
    """The texts of a notification."""

    title: str
    content: str


class TokenBound(NamedTuple):
    """Which of a user's tokens a logout ends: those issued until a moment, and those with these ids."""

    issued_until: float = inf
    """Unix seconds."""
    token_ids: tuple[str, ...] = ()
    """In the spelling of `canonical_id`."""

    def covers(self, issued_at: float, token_id: str) -> bool:
        """Whether a logout ends the session of a token.

        Args:
            issued_at: The token's `iat`, in Unix seconds.
            token_id: The token's `jti`.
        """
        return issued_at <= self.issued_until or canonical_id(token_id) in self.token_ids

    def at_most(self, unix_seconds: float) -> TokenBound:
        """The same, but for tokens that were issued later than this."""
        return self._replace(issued_until=min(self.issued_until, unix_seconds))

    def joined(self, other: TokenBound) -> TokenBound:
        """What both end; of very many token ids the newest."""
        token_ids = tuple(dict.fromkeys((*self.token_ids, *other.token_ids)))
        return TokenBound(max(self.issued_until, other.issued_until), token_ids[-MAX_TOKEN_IDS:])


class Effects(msgspec.Struct, frozen=True):
    """What the hub does for an event.

    `logged_out` says with which tokens the user of `disconnect` is disconnected. `category` and `urgent`
    override the handler's. With a `send_at` in the future, all of it happens then. `reaches_nobody` is why
    that is so, of an event that is stored for the record only.
    """

    notification: NotificationDraft | None = None
    disconnect: UUID | None = None
    deliveries: Sequence[DeliveryDraft] = ()
    category: str | None = None
    urgent: bool | None = None
    send_at: datetime | None = None
    logged_out: TokenBound = TokenBound()
    reaches_nobody: str | None = None
    amendment: Amendment | None = None
    """What changes of notifications of before; then there is nothing else."""
