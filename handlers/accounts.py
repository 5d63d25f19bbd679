"""What happens to a user's account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from app.domain.effects import Effects, TokenBound
from app.domain.notifications import Group
from app.domain.time import read_timestamp
from app.domain.user_ids import canonical_id
from handlers.base import BaseMessageHandler
from handlers.fields import UserId

MAX_ROUNDING_SECONDS = 0.999_999
"""A timestamp in whole seconds says that the logout was some time in that second."""


class LoggedOut(Struct):
    """A logout of the user service."""

    user_id: UserId
    timestamp: Any = None
    access_token_id: Any = None


class AccountLoggedOut(BaseMessageHandler[LoggedOut]):
    """Ends the connections of the user whose token was issued before the logout, or is the one it names.

    So a logout that is handled late ends no newer session. Without a readable `timestamp` it ends all that
    are open when it is handled.
    """

    event_type = "account_logged_out"
    category = "accounts"
    only_from = "kafka"
    message_type = LoggedOut

    def handle(
        self, message: LoggedOut, body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        """End the sessions whose token was issued before the logout."""
        at = read_timestamp(message.timestamp)
        if at is not None and at.is_integer():
            at += MAX_ROUNDING_SECONDS
        token_id = message.access_token_id
        named = (canonical_id(token_id),) if isinstance(token_id, str) and token_id else ()
        bound = TokenBound(token_ids=named) if at is None else TokenBound(at, named)
        return Effects(disconnect=message.user_id, logged_out=bound)
