"""What a channel is: a medium of delivery behind one interface. Adding one costs one class."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol
from uuid import UUID

import msgspec

from app.domain.deliveries import Status


class Attachment(msgspec.Struct, frozen=True):
    """A file that goes along."""

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
    confidential: bool = False
    """Whether `data` holds a secret: then nothing that the provider says is kept, as it may quote it."""


class DeliveryCancelled(Exception):  # noqa: N818 - no error
    """What was to be sent isn't wanted any more; `status` is what becomes of it."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


Confirm = Callable[[], Awaitable[None]]


async def wanted() -> None:
    """It is wanted in any case."""


class Receipt(NamedTuple):
    """`provider_id` names the message at the provider, where it gives it a name."""

    provider_id: str | None


class Channel(Protocol):
    """A medium. Several `send`s may run at once."""

    name: ClassVar[str]

    @property
    def simulated(self) -> bool:
        """Whether the channel isn't configured: then nothing is sent, and that is no error."""

    @property
    def at_once(self) -> int:
        """How many messages it hands over at the same time; more would wait for each other."""

    async def send(self, outgoing: Outgoing, confirm: Confirm = wanted) -> Receipt:
        """Returns when the provider has taken the message over. `confirm` is awaited when all is ready, right
        before; what it raises is passed on, and nothing is sent.

        Raises `DeliveryFailed`, which says whether another attempt can help; after it the message may have
        been taken over all the same, if the answer was lost.
        """

    async def close(self) -> None:
        """Give up all connections."""
