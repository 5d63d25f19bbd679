"""The way from a committed batch to the connections."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

from app.metrics import FRAMES
from app.notifications import Notification
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import CloseCode


class Bus(Protocol):
    """Tells connections what was committed.

    The caller serialises calls, and passes notifications in rising `seq` for each receiver. Nothing is kept:
    who isn't connected reads the inbox later.
    """

    def publish(self, notifications: Sequence[Notification]) -> None:
        """Push the notifications to their receivers' connections."""

    def disconnect(self, users: Collection[UUID]) -> None:
        """End every connection of these users: they logged out."""

    def tell(self, user_id: UUID, frame: bytes) -> None:
        """Send a session frame to the user's connections: another device changed something."""


class LocalBus:
    """The bus of a hub that is one node."""

    def __init__(self, manager: WebSocketManager) -> None:
        self._manager = manager

    def publish(self, notifications: Sequence[Notification]) -> None:
        FRAMES.inc(self._manager.push(notifications))

    def tell(self, user_id: UUID, frame: bytes) -> None:
        self._manager.tell(user_id, frame)

    def disconnect(self, users: Collection[UUID]) -> None:
        for user in users:
            self._manager.disconnect(user, CloseCode.LOGGED_OUT, "logged out")
