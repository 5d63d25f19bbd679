"""This node's connections, by user. The bus serves other nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, KeysView, Sequence
from uuid import UUID

from app.domain.notifications import Notification
from app.realtime.connection import Connection, DetailsShown, details_needed
from app.realtime.cursor import FETCH, SEND
from app.realtime.language import InLanguages
from app.realtime.logout import Logout
from app.realtime.protocol import CloseCode, detailed_frame, notification_frame
from app.realtime.publication import CarriedDetails, Push
from app.runtime.metrics import CONNECTIONS
from handlers.registry import details_json

DRAIN_POLL_SECONDS = 0.02
MAX_CLOSES_PER_SECOND = 1000  # connections: as many as another node accepts easily


class WebSocketManager:
    """Registers connections and pushes to them. Local to one event loop; only `drain` waits.

    `catch_up` is called with a connection whose cursor says FETCH; `user_disconnected` with a
    user whose last connection ended.
    """

    def __init__(
        self, catch_up: Callable[[Connection], None], user_disconnected: Callable[[UUID], None]
    ) -> None:
        self._catch_up = catch_up
        self._user_disconnected = user_disconnected
        self._by_user: dict[UUID, tuple[Connection, ...]] = {}
        self._by_address: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Connection]:
        return (connection for connections in self._by_user.values() for connection in connections)

    @property
    def users(self) -> KeysView[UUID]:
        """All who are connected to this node, at any time."""
        return self._by_user.keys()

    def of(self, user_id: UUID) -> tuple[Connection, ...]:
        """The user's open connections on this node."""
        return self._by_user.get(user_id, ())

    def from_address(self, address: str | None) -> int:
        """The number of connections from an address; 0 for None, which isn't counted."""
        return self._by_address.get(address, 0) if address else 0

    def add(self, connection: Connection) -> None:
        """Register a connection: from now on it gets what is pushed to its user."""
        self._by_user[connection.user_id] = (*self.of(connection.user_id), connection)
        self._counted(connection, 1)

    def has(self, connection: Connection) -> bool:
        """Whether it is registered."""
        return connection in self.of(connection.user_id)

    def remove(self, connection: Connection) -> None:
        """Undo `add`. Does nothing when the connection isn't registered."""
        before = self.of(connection.user_id)
        after = tuple(other for other in before if other is not connection)
        if len(after) == len(before):
            return
        self._counted(connection, -1)
        if after:
            self._by_user[connection.user_id] = after
        else:
            del self._by_user[connection.user_id]
            self._user_disconnected(connection.user_id)

    def _counted(self, connection: Connection, change: int) -> None:
        self._count += change
        CONNECTIONS.set(self._count)
        address = connection.client.address
        if address is not None:
            count = self._by_address.get(address, 0) + change
            if count:
                self._by_address[address] = count
            else:
                del self._by_address[address]

    def push(self, pushes: Iterable[Push], details: Iterable[CarriedDetails] = ()) -> int:
        """Send each frame to all connections of its receiver. Returns the number of notification frames sent.

        `pushes` have rising `seq` for each receiver. The cursor of a connection decides which it gets. Frames
        of one connection are joined into one write. `details` are what the notifications carry beside the
        fields in their frames.
        """
        carried = {place: each for each in details for place in each.places}
        return self._send(
            (connections, each.seq, _received(each.frame, carried.get(place), connections), each.redelivered)
            for place, each in enumerate(pushes)
            if (connections := self._by_user.get(each.receiver))
        )

    def publish(self, notifications: Iterable[Notification], *, redelivered: bool = False) -> int:
        """`push` of the notifications. Frames are encoded only for receivers who are connected here."""
        by_user = self._by_user
        return self._send(
            (connections, each.seq, _encoded(each, connections), redelivered)
            for each in notifications
            if (connections := by_user.get(each.receiver))
        )

    def _send(self, pushes: Iterable[tuple[Sequence[Connection], int, _Frames, bool]]) -> int:
        frames: dict[Connection, list[bytes]] = {}
        languages = InLanguages()
        sent = 0
        for connections, seq, (plain, detailed, needed), redelivered in pushes:
            for connection in connections:
                if seq == 0:
                    if connection.session:
                        locale = connection.client.locale
                        frame = plain if locale is None else languages.frame(plain, locale)
                        frames.setdefault(connection, []).append(frame)
                    continue
                step = connection.cursor.pushed(seq, redelivered)
                if step is SEND:
                    frame = detailed if connection.details >= needed else plain
                    if (locale := connection.client.locale) is not None:
                        frame = languages.frame(frame, locale)
                    frames.setdefault(connection, []).append(frame)
                    sent += 1
                elif step is FETCH:
                    self._catch_up(connection)
        for connection, parts in frames.items():
            connection.send(parts[0] if len(parts) == 1 else b"".join(parts))
        return sent

    def disconnect(self, user_id: UUID, code: CloseCode, reason: str, logout: Logout) -> int:
        """Close the connections of a user here that the logout ends. Returns how many."""
        connections = [
            connection
            for connection in self.of(user_id)
            if connection.client.asked_at <= logout.moment
            and logout.bound.covers(connection.claims.issued_at, connection.claims.token_id)
        ]
        for connection in connections:
            connection.close(code, reason)
        return len(connections)

    async def drain(self, within: float) -> None:
        """Close all connections, and abort those that don't answer `within` seconds.

        They are closed (1012) one after the other over a window that grows with their number. The close
        reason announces it: clients that reconnect at a random moment within it cause no thundering herd.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        connections = list(self)
        window = min(within / 2, len(connections) / MAX_CLOSES_PER_SECOND)
        reason = f"restarting; reconnect_within_ms={max(1000, round(window * 1000))}"
        for number, connection in enumerate(connections):
            ahead = start + window * number / len(connections) - loop.time()
            if ahead > 0:
                await asyncio.sleep(ahead)
            connection.close(CloseCode.RESTARTING, reason)
        while any(connection.connected for connection in connections):
            if loop.time() >= start + within:
                for connection in connections:
                    connection.abort()
            await asyncio.sleep(DRAIN_POLL_SECONDS)


_Frames = tuple[bytes, bytes, DetailsShown]
"""A notification as one frame, without and with its details, and which details a connection has to get to be
sent the second. A named tuple takes longer than the rest of the decision.
"""


def _encoded(notification: Notification, connections: Sequence[Connection]) -> _Frames:
    plain, needed = notification_frame(notification), details_needed(notification)
    shown = _any_shows(connections, needed)
    return plain, detailed_frame(plain, details_json(notification)) if shown else plain, needed


def _received(frame: bytes, carried: CarriedDetails | None, connections: Sequence[Connection]) -> _Frames:
    """From another node."""
    if carried is None:
        return frame, frame, DetailsShown.ALL
    needed = DetailsShown.PUBLISHED if carried.published else DetailsShown.ALL
    shown = _any_shows(connections, needed)
    return frame, detailed_frame(frame, carried.fields) if shown else frame, needed


def _any_shows(connections: Sequence[Connection], needed: DetailsShown) -> bool:
    for connection in connections:  # noqa: SIM110 - a generator would cost as much as the frame
        if connection.details >= needed:
            return True
    return False
