"""The interface of a channel: a medium of delivery. To add one: docs/explanation/architecture.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec

from app.auth.secrets import SecretBox
from app.domain.deliveries import Status
from app.store.devices import DeviceStore


class Attachment(msgspec.Struct, frozen=True):
    """An attached file."""

    name: str
    content_type: str
    content: bytes


class Outgoing(msgspec.Struct, frozen=True):
    """One message to one address, ready to be rendered and sent.

    `id` is the delivery's: the same at every attempt. `data` is what the template shows; it may hold a code
    that must not be logged.
    """

    id: UUID
    template: str
    address: str
    locale: str
    data: Mapping[str, Any]
    attachments: tuple[Attachment, ...] = ()
    category: str | None = None
    """That of the event; unknown of old deliveries."""
    unsubscribe: str | None = None
    """The URL where its receiver can end messages of this kind, if they can."""
    preferences: str | None = None
    """The URL of all preferences of its receiver, for a mail with such a link."""
    confidential: bool = False
    """Whether `data` holds a secret. Then the provider's texts aren't stored, as they may quote it."""
    event_id: str | None = None
    user_id: UUID | None = None
    expires_in: float | None = None
    """Seconds; after that it is of no use."""
    age: float = 0.0
    """Seconds since it was due first."""
    digest: bool = False
    """Whether others are sent in it."""
    only_if: str | None = None
    """Of a step of an escalation: what its notification has to be, `unread` or `unseen`."""
    notification: str | None = None
    """Of such a step: `unseen`, `seen`, `read` or `expired`; None if the notification is gone."""


class DeliveryCancelled(Exception):  # noqa: N818 - no error
    """The message is no longer wanted; `status` is the delivery's new status, `reason` says why."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(status)
        self.status = status
        self.reason = reason


class NotYet(Exception):  # noqa: N818 - no error
    """The message is to be sent later; it is decided again in so many seconds."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


class Outdated(Exception):  # noqa: N818 - no error
    """A `Confirm` raises it: the message is composed again, as what it shows has changed since."""


class ChannelPorts(NamedTuple):
    """What channels may ask besides their providers. A channel that lacks what it needs is simulated."""

    devices: DeviceStore | None = None
    connected: Callable[[UUID], Awaitable[bool]] | None = None
    """Whether a user has a live connection. Raises one of `REDIS_ERRORS`."""
    secrets: SecretBox | None = None


NO_PORTS = ChannelPorts()


Confirm = Callable[[], Awaitable[None]]


async def wanted() -> None:
    """Confirm unconditionally."""


class Receipt(NamedTuple):
    """`provider_id` is the message's id at the provider, if it returns one; `segments` those of an SMS."""

    provider_id: str | None
    segments: int | None = None


class Channel(Protocol):
    """A medium of delivery. Several `send`s may run concurrently."""

    @property
    def name(self) -> str:
        """Its name in the registry; a constant of its class."""

    @property
    def simulated(self) -> bool:
        """Whether the channel isn't configured. Then nothing is sent, and deliveries end as simulated."""

    @property
    def at_once(self) -> int:
        """The maximum of messages that it sends concurrently; more would wait."""

    async def send(self, outgoing: Outgoing, confirm: Confirm = wanted) -> Receipt:
        """Returns when the provider has taken the message over.

        `confirm` is awaited when all is ready, right before; what it raises is passed on, and nothing is
        sent.

        Raises `DeliveryFailed`, which says whether another attempt can help; after it the message may have
        been taken over all the same, if the answer was lost. Raises `DeliveryCancelled` or `NotYet` if it
        turns out that nobody needs the message, or needs it later.
        """

    async def close(self) -> None:
        """Close all connections."""
