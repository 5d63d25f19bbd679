"""The bus in memory: one node that has no peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from uuid import UUID

from app.domain.effects import TokenBound
from app.domain.notifications import Notification
from app.realtime.cursor import InboxCursor, Step
from app.realtime.logout import EVERY_TOKEN
from app.realtime.protocol import CloseCode


class MemoryConnection:
    """A client of one user, with everything it received since it connected."""

    def __init__(
        self, user_id: UUID, opened_at: float, last_seq: int, *, session: bool, issued_at: float = 0.0
    ) -> None:
        """The inbox stood at `last_seq` when it connected. A `session` receives session frames too. Its token
        was issued at `issued_at` (unix seconds).
        """
        self.user_id = user_id
        self.issued_at = issued_at
        self.opened_at = opened_at
        self.session = session
        self.received: list[Notification | bytes] = []
        """Notifications and session frames, in their order."""
        self.close_code: CloseCode | None = None
        """Why the hub closed it; None while it is open."""
        self._cursor = InboxCursor(resumes=session)
        self._cursor.started(last_seq)

    @property
    def notifications(self) -> list[Notification]:
        """What was received, without other frames."""
        return [each for each in self.received if isinstance(each, Notification)]

    def push(self, notification: Notification, *, redelivered: bool) -> None:
        """Receive the notification, unless the client has it. After a gap it receives nothing more: in memory
        no reader of the store brings it what it missed.
        """
        if self._cursor.pushed(notification.seq, redelivered) is Step.SEND:
            self.received.append(notification)


class MemoryBus:
    """`Bus` that records what is published, and pushes it to connections in memory."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        """`now` gives seconds; only differences count."""
        self.published: list[Notification] = []
        """All notifications that were pushed, whoever was connected; those pushed again too."""
        self.logouts: list[UUID] = []
        self._now = now
        self._connections: list[MemoryConnection] = []

    def connect(
        self,
        user_id: UUID,
        *,
        last_seq: int = 0,
        session: bool = False,
        seconds_ago: float = 0.0,
        issued_at: float = 0.0,
    ) -> MemoryConnection:
        """Connect a client whose inbox stands at `last_seq`, as if it had done so `seconds_ago`, with a token
        that was issued at `issued_at` (unix seconds) and has no id.
        """
        opened_at = self._now() - seconds_ago
        connection = MemoryConnection(user_id, opened_at, last_seq, session=session, issued_at=issued_at)
        self._connections.append(connection)
        return connection

    def pushed(self, user_id: UUID) -> list[Notification]:
        """The notifications that were pushed to this user, in their order."""
        return [each for each in self.published if each.receiver == user_id]

    def publish(self, notifications: Sequence[Notification], *, redelivered: bool = False) -> None:
        """As `Bus.publish`."""
        self.published += notifications
        for notification in notifications:
            for connection in self._of(notification.receiver):
                connection.push(notification, redelivered=redelivered)

    def send_frame(self, user_id: UUID, frame: bytes) -> None:
        """As `Bus.send_frame`."""
        for connection in self._of(user_id):
            if connection.session:
                connection.received.append(frame)

    def disconnect(self, user_id: UUID, seconds_ago: float = 0.0, bound: TokenBound = EVERY_TOKEN) -> None:
        """As `Bus.disconnect`."""
        self.logouts.append(user_id)
        logged_out_at = self._now() - seconds_ago
        for connection in self._of(user_id):
            if connection.opened_at <= logged_out_at and bound.covers(connection.issued_at, ""):
                connection.close_code = CloseCode.LOGGED_OUT

    def _of(self, user_id: UUID) -> list[MemoryConnection]:
        return [each for each in self._connections if each.user_id == user_id and each.close_code is None]
