"""The session protocol `hub.v1` without I/O: what a frame means, where to resume, when to reconnect.

The notifications of a feed come in rising `seq`, each once and without a gap, whatever happens to the
connection: each connection resumes after the last `seq`, and what is too far back is read over REST.
"""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

from notification_hub_client.errors import (
    AuthenticationError,
    HubError,
    LoggedOutError,
    PermissionDeniedError,
    error_of_close,
)
from notification_hub_client.models import InboxCounters, Notification

SUBPROTOCOL = "hub.v1"
PREFIX = "/ws/v2/notification-service"
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
STABLE_SECONDS = 5.0
"""After a connection that lasted this long, waits begin from the shortest again."""
MAX_FRAME_BYTES = 2 * 1024 * 1024
CLOSE_TIMEOUT_SECONDS = 2.0
BAD_CERTIFICATE = "bad_certificate"
LOST = 1006
log = logging.getLogger("notification_hub_client")
_WITHIN = re.compile(r"reconnect_within_ms=(\d+)")
_FINAL = frozenset({1007, 1009})


@dataclass(frozen=True)
class Connected:
    """The feed is connected, for the first time or again, to the node `node`."""

    node: str
    counters: InboxCounters


@dataclass(frozen=True)
class Disconnected:
    """The connection was lost, or could not be opened. The feed connects again after `retry_in` seconds."""

    error: HubError
    retry_in: float


@dataclass(frozen=True)
class NotificationReceived:
    """A new notification, or one that was missed while the feed was not connected."""

    notification: Notification


@dataclass(frozen=True)
class NotificationRead:
    """A notification was marked read, on this or another device."""

    id: int
    counters: InboxCounters


@dataclass(frozen=True)
class NotificationDeleted:
    """A notification was deleted."""

    id: int
    counters: InboxCounters


@dataclass(frozen=True)
class NotificationUnread:
    """A notification was marked unread."""

    notification: Notification
    counters: InboxCounters


@dataclass(frozen=True)
class NotificationArchived:
    """A notification was moved to the archive."""

    notification: Notification
    counters: InboxCounters


@dataclass(frozen=True)
class NotificationUnarchived:
    """A notification is in the inbox again, with the `seq` that it had."""

    notification: Notification
    counters: InboxCounters


@dataclass(frozen=True)
class NotificationSnoozed:
    """A notification is hidden for a while. Then it comes as a new one, with another `id` and `seq`."""

    notification: Notification
    counters: InboxCounters


@dataclass(frozen=True)
class AllRead:
    """All notifications up to the `seq` `up_to` were marked read."""

    up_to: int
    counters: InboxCounters


@dataclass(frozen=True)
class AllSeen:
    """All notifications up to the `seq` `up_to` were seen in a list. They stay unread."""

    up_to: int
    counters: InboxCounters


@dataclass(frozen=True)
class AllArchived:
    """All notifications of the inbox up to the `seq` `up_to` are in the archive."""

    up_to: int
    counters: InboxCounters


@dataclass(frozen=True)
class AllDeleted:
    """All notifications of the inbox up to the `seq` `up_to` were deleted. The archive stays."""

    up_to: int
    counters: InboxCounters


@dataclass(frozen=True)
class NotificationUpdated:
    """The publisher changed a notification. Its `id` and `seq` stay."""

    notification: Notification
    counters: InboxCounters


@dataclass(frozen=True)
class NotificationRetracted:
    """The publisher withdrew a notification: it is gone from the inbox and the archive."""

    id: int
    counters: InboxCounters


@dataclass(frozen=True)
class InboxErased:
    """The inbox was erased and counts from 1 again: forget what you know of it."""


Changed = (
    NotificationUnread
    | NotificationArchived
    | NotificationUnarchived
    | NotificationSnoozed
    | NotificationUpdated
)
Gone = NotificationDeleted | NotificationRetracted
All = AllRead | AllSeen | AllArchived | AllDeleted
LiveEvent = (
    Connected | Disconnected | NotificationReceived | NotificationRead | Gone | Changed | All | InboxErased
)
_CHANGES: Mapping[str, type[Changed]] = {
    "notification_unread": NotificationUnread,
    "notification_archived": NotificationArchived,
    "notification_unarchived": NotificationUnarchived,
    "notification_snoozed": NotificationSnoozed,
    "notification_updated": NotificationUpdated,
}
_BY_ID: Mapping[str, type[NotificationRead | Gone]] = {
    "notification_read": NotificationRead,
    "notification_deleted": NotificationDeleted,
    "notification_retracted": NotificationRetracted,
}
_OF_ALL: Mapping[str, type[All]] = {
    "all_read": AllRead,
    "all_seen": AllSeen,
    "all_archived": AllArchived,
    "all_deleted": AllDeleted,
}


@dataclass(frozen=True)
class ReadHistory:
    """To the caller: read the pages at `path` back to the `seq` `after`, and pass them to `Feed.history`."""

    path: str
    after: int


class Feed:
    """The position in one inbox, over any number of connections."""

    def __init__(self, user_id: UUID | str, after: int | None) -> None:
        self._user_id = user_id
        self.position = after
        """The `seq` of the last notification; None before the first connection."""

    def address(self, base: str) -> str:
        """The address of the next connection to the hub at `base`."""
        resume = "" if self.position is None else f"?after={self.position}"
        sockets = re.sub("^http", "ws", base)
        return f"{sockets}{PREFIX}/notifications/users/{quote(str(self._user_id), safe='')}{resume}"

    def received(self, text: str | bytes) -> Iterator[LiveEvent | ReadHistory]:
        """What a frame means. Frames of kinds that this version does not know mean nothing.

        Raises:
            HubError: if it is not a frame of a hub.
        """
        try:
            yield from self._read(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HubError(
                "unexpected_frame", f"the frame is not from a notification hub ({error!r})"
            ) from error

    def _read(self, frame: Mapping[str, Any]) -> Iterator[LiveEvent | ReadHistory]:
        if "event_type" in frame:
            yield from self.history([Notification.from_json(frame["data"])])
            return
        match frame.get("type"):
            case "connected":
                if self.position is None:
                    self.position = frame["last_seq"]
                yield Connected(frame["node"], InboxCounters.from_json(frame))
            case "resumed":
                yield from self._resumed(frame)
            case str(kind) if kind in _BY_ID:
                yield _BY_ID[kind](frame["id"], InboxCounters.from_json(frame))
            case str(kind) if kind in _OF_ALL:
                yield _OF_ALL[kind](frame["up_to"], InboxCounters.from_json(frame))
            case str(kind) if kind in _CHANGES:
                yield _CHANGES[kind](Notification.from_json(frame["data"]), InboxCounters.from_json(frame))

    def history(self, rising: Iterable[Notification]) -> Iterator[NotificationReceived]:
        """Notifications in rising `seq`, without those that came before."""
        for notification in rising:
            if self.position is None or notification.seq > self.position:
                self.position = notification.seq
                yield NotificationReceived(notification)

    def _resumed(self, frame: Mapping[str, Any]) -> Iterator[LiveEvent | ReadHistory]:
        after, until = frame["from"], frame["to"]
        if after > until:
            self.position = after = 0
            yield InboxErased()
        if not frame["complete"]:
            yield ReadHistory(frame["read_on"], after)
        self.position = max(until, self.position or 0)


class Reconnect:
    """When to connect again: exponential backoff with jitter, or when the hub asks for it."""

    def __init__(self) -> None:
        self._losses = 0
        self._refusals = 0

    def connected(self) -> None:
        """A connection was opened."""
        self._refusals = 0

    def after_close(self, code: int, reason: str, lasted: float, can_renew: bool) -> float:
        """Seconds to wait after a connection was closed.

        Args:
            code: The close code; 1006 if the connection was lost.
            reason: The reason of the close frame.
            lasted: How many seconds the connection was open.
            can_renew: Whether there can be another token.

        Raises:
            HubError: if another connection would be closed as well.
        """
        if 4500 <= code < 5000 or code in _FINAL or (code == 4401 and not can_renew):
            raise error_of_close(code, reason)
        if lasted >= STABLE_SECONDS:
            self._losses = 0
        if code == 4401:
            return 0.0
        within = _WITHIN.search(reason) if code == 1012 else None
        return random.uniform(0, int(within[1]) / 1000) if within else self._backoff()  # noqa: S311

    def after_refusal(self, error: HubError, can_renew: bool) -> float:
        """Seconds to wait after the connection could not be opened.

        Raises:
            HubError: `error`, if another attempt would be refused as well.
        """
        refused = isinstance(error, AuthenticationError)
        if refused and (self._refusals or not can_renew):
            raise error
        self._refusals += refused
        if isinstance(error, LoggedOutError | PermissionDeniedError) or _is_callers(error, refused):
            raise error
        if error.code in (BAD_CERTIFICATE, "unexpected_frame"):
            raise error
        wait = self._backoff()
        return wait if error.retry_after is None else error.retry_after + wait

    def _backoff(self) -> float:
        most = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**self._losses)
        self._losses = min(self._losses + 1, 30)
        return random.uniform(0, most)  # noqa: S311


def _is_callers(error: HubError, refused: bool) -> bool:
    """Whether the request itself is wrong: a 4xx other than 401, 408 and 429."""
    return 400 <= error.status < 500 and not refused and error.status not in (408, 429)


def disconnected(error: HubError, wait: float) -> Disconnected:
    """The event of a lost or refused connection, which is also logged: at INFO if the hub asked for it."""
    asked = error.status in (1012, 4401)
    log.log(logging.INFO if asked else logging.WARNING, "%s; connecting again in %.1f s", error, wait)
    return Disconnected(error, wait)
