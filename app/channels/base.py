"""What a channel is: a medium of delivery behind one interface. Adding one costs one class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol
from uuid import UUID

import msgspec


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


class Receipt(NamedTuple):
    """What the provider answered. `provider_id` names the message there, where it gives it a name."""

    provider_id: str | None
    answer: str


class Channel(Protocol):
    """A medium. Several `send`s may run at once."""

    name: ClassVar[str]

    @property
    def simulated(self) -> bool:
        """Whether the channel isn't configured: then nothing is sent, and that is no error."""

    async def send(self, outgoing: Outgoing) -> Receipt:
        """Returns when the provider has taken the message over.

        Raises `DeliveryFailed`, which says whether another attempt can help; after it the message may have
        been taken over all the same, if the answer was lost.
        """

    async def close(self) -> None:
        """Give up all connections."""
