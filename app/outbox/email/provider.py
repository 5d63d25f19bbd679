"""The interface of a mail provider: whoever takes a finished mail over, by SMTP or by an HTTP API."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from app.domain.addresses import Mailbox
from app.outbox.channel import Confirm, Outgoing
from app.outbox.email.message import MailMessage


class ComposedMail(NamedTuple):
    """A mail that is written: the same for each provider that is asked to take it."""

    outgoing: Outgoing
    message: MailMessage
    to: Mailbox
    envelope_sender: str
    """The address that reports of failed delivery go to."""


class MailProvider(Protocol):
    """Takes mail over. Several calls may run concurrently, each within `async with provider.slots`."""

    name: str
    """As in EMAIL_PROVIDERS."""
    at_once: int

    @property
    def slots(self) -> asyncio.Semaphore:
        """As many as `at_once`."""

    def encode(self, mail: ComposedMail) -> bytes:
        """What goes over the wire. It may be called in a thread."""

    async def send(self, mail: ComposedMail, content: bytes, confirm: Confirm) -> str | None:
        """Hand a mail and what `encode` made of it over; return its id at the provider.

        `confirm` is awaited right before. Raises what it raises, and `DeliveryFailed`: with `of_provider` if
        another provider may take the mail.
        """

    async def close(self) -> None:
        """Close all connections."""
