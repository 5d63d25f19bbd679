"""What happens to a user's account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import Struct

from app.domain.effects import Effects
from app.domain.notifications import Group
from handlers.base import BaseMessageHandler


class LoggedOut(Struct):
    user_id: UUID


class AccountLoggedOut(BaseMessageHandler[LoggedOut]):
    """Ends every connection of the user."""

    event_type = "account_logged_out"
    category = "accounts"
    only_from = "kafka"
    message_type = LoggedOut

    def handle(
        self, message: LoggedOut, body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        return Effects(disconnect=message.user_id)
