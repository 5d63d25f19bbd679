"""The bus in memory: one node that has no peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

from app.domain.notifications import Notification


@dataclass(eq=False)
class MemoryConnection:
    """A client of one user, with everything it got since it connected."""

    user_id: UUID
    opened_at: float
    first_seq: int
    """The last `seq` of the inbox when it connected."""
    session: bool = False
    """Whether it speaks the session protocol, and gets session frames."""
    received: list[Notification | bytes] = field(default_factory=list)
    """Notifications and session frames, in their order."""
    last_seq: int = field(init=False)
    behind: bool = False
    """Whether it missed a notification, and gets no more until it has read the store."""
    closed: bool = False

    def __post_init__(self) -> None:
        self.last_seq = self.first_seq

    @property
    def notifications(self) -> list[Notification]:
        return [each for each in self.received if isinstance(each, Notification)]

    def push(self, notification: Notification, *, again: bool) -> None:
        """Receive the notification, unless it has it or has to read the store first."""
        seq = notification.seq
        if self.behind:
            return
        if seq == self.last_seq + 1:
            self.last_seq = seq
            self.received.append(notification)
        elif seq > self.last_seq:
            self.behind = True
        elif again and not self.session and seq <= self.first_seq:
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
        self, user_id: UUID, *, last_seq: int = 0, session: bool = False, seconds_ago: float = 0.0
    ) -> MemoryConnection:
        """Connect a client whose inbox stands at `last_seq`, as if it had done so `seconds_ago`."""
        connection = MemoryConnection(user_id, self._now() - seconds_ago, last_seq, session)
        self._connections.append(connection)
        return connection

    def pushed(self, user_id: UUID) -> list[Notification]:
        """The notifications that were pushed to this user, in their order."""
        return [each for each in self.published if each.receiver == user_id]

    def publish(self, notifications: Sequence[Notification], *, again: bool = False) -> None:
        self.published += notifications
        for notification in notifications:
            for connection in self._of(notification.receiver):
                connection.push(notification, again=again)

    def tell(self, user_id: UUID, frame: bytes) -> None:
        for connection in self._of(user_id):
            if connection.session:
                connection.received.append(frame)

    def disconnect(self, user_id: UUID, seconds_ago: float = 0.0) -> None:
        self.logouts.append(user_id)
        logged_out_at = self._now() - seconds_ago
        for connection in self._of(user_id):
            if connection.opened_at <= logged_out_at:
                connection.closed = True

    def _of(self, user_id: UUID) -> list[MemoryConnection]:
        return [each for each in self._connections if each.user_id == user_id and not each.closed]
