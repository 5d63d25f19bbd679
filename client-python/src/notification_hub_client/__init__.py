"""Typed client of the notification hub: `HubClient` blocks, `AsyncHubClient` is for asyncio.

Kafka is in `notification_hub_client.kafka`, the event classes are in `notification_hub_client.events`.
"""

from importlib.metadata import PackageNotFoundError, version

from notification_hub_client.aio import AsyncHubClient, AsyncInbox, AsyncLiveFeed
from notification_hub_client.client import HubClient, Inbox, LiveFeed
from notification_hub_client.errors import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ContentTooLargeError,
    HubError,
    LoggedOutError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    TransportError,
    UnavailableError,
    UnprocessableError,
)
from notification_hub_client.event import Action, Actor, Attachment, Event, PublicEvent
from notification_hub_client.models import (
    AllChanged,
    AllMarkedRead,
    BulkResult,
    Delivery,
    DryRun,
    EventStatus,
    InboxCounters,
    Notification,
    Outcome,
    Page,
    SentEvent,
)
from notification_hub_client.session import (
    AllArchived,
    AllDeleted,
    AllRead,
    AllSeen,
    Connected,
    Disconnected,
    InboxErased,
    LiveEvent,
    NotificationArchived,
    NotificationDeleted,
    NotificationRead,
    NotificationReceived,
    NotificationRetracted,
    NotificationSnoozed,
    NotificationUnarchived,
    NotificationUnread,
    NotificationUpdated,
)

try:
    __version__ = version("notification-hub-client")
except PackageNotFoundError:  # used from its source folder
    __version__ = "0"

__all__ = [
    "Action",
    "Actor",
    "AllArchived",
    "AllChanged",
    "AllDeleted",
    "AllMarkedRead",
    "AllRead",
    "AllSeen",
    "AsyncHubClient",
    "AsyncInbox",
    "AsyncLiveFeed",
    "Attachment",
    "AuthenticationError",
    "BadRequestError",
    "BulkResult",
    "ConflictError",
    "Connected",
    "ContentTooLargeError",
    "Delivery",
    "Disconnected",
    "DryRun",
    "Event",
    "EventStatus",
    "HubClient",
    "HubError",
    "Inbox",
    "InboxCounters",
    "InboxErased",
    "LiveEvent",
    "LiveFeed",
    "LoggedOutError",
    "NotFoundError",
    "Notification",
    "NotificationArchived",
    "NotificationDeleted",
    "NotificationRead",
    "NotificationReceived",
    "NotificationRetracted",
    "NotificationSnoozed",
    "NotificationUnarchived",
    "NotificationUnread",
    "NotificationUpdated",
    "Outcome",
    "Page",
    "PermissionDeniedError",
    "PublicEvent",
    "RateLimitError",
    "SentEvent",
    "ServerError",
    "TransportError",
    "UnavailableError",
    "UnprocessableError",
    "__version__",
]
