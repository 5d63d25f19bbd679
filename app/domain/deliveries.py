"""The values of deliveries: what a handler asks for, and what the outbox holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from app.domain.preferences import Decision

SIGNAL = "deliveries"  # the channel of LISTEN/NOTIFY on which new ones are made known
REPLY_TO = "Reply-To"
"""In the data of a mail: the address that answers go to. No template can name it, as it has a hyphen."""


class Status(StrEnum):
    """The status of a delivery. The first three are in progress, the others final; a report of the provider
    can still move one that was sent.
    """

    PENDING = "pending"
    HELD = "held"
    """It waits in a digest."""
    SENDING = "sending"
    SENT = "sent"
    """The provider has it."""
    DELIVERED = "delivered"
    """The receiver's server, or phone, has it: a provider reported so."""
    FAILED = "failed"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"
    SIMULATED = "simulated"


class GivenAttachment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attachment in an event: its bytes (base64 in JSON) with a `name`, or the `path` of a file.

    `path` is one inside the folder for attachments, relative to it or absolute.
    """

    content: bytes | None = None
    path: str | None = None
    name: str | None = None
    content_type: str | None = None


class Hold(NamedTuple):
    """What a delivery waits for besides its time: it joins the digest with the key `digest`, or is sent only
    if the notification of its event is still unread, or unseen (`only_if`).
    """

    digest: str | None = None
    due: datetime | None = None
    """When the digest is due if this message is its first. The one that was open when this was planned may be
    closed when it is stored.
    """
    latest: datetime | None = None
    """How long later messages may postpone the digest; None: not at all."""
    only_if: str | None = None
    group_name: str | None = None
    """Of a digest whose messages are about one group."""


class DeliveryDraft(msgspec.Struct, frozen=True):
    """One message to one address that an event asks for.

    Without `address` it goes to the address of the profile of `user_id`.

    `data` is what the template shows, kept in plain; `secret` is what it shows as well, kept encrypted and
    erased once it was sent or can't be any more. It may be sent for `valid_for` seconds after the event, and
    until `expires_at`. What has `replaces` carries a code: of those with the same one only the newest is ever
    sent, and those with the same `limit_key` (an address, in one spelling) share a cooldown and an hourly
    cap.

    One that is `offered` leaves no trace when the user doesn't want it: nobody asked for this one. With a
    `decision` no preferences are applied. `foreign_user_id` is the id of its user in another system.
    """

    channel: str
    template: str
    address: str | None
    locale: str
    data: Mapping[str, Any] = {}
    secret: Mapping[str, Any] | None = None
    valid_for: float | None = None
    replaces: str | None = None
    limit_key: str | None = None
    user_id: UUID | None = None
    offered: bool = False
    attachments: tuple[GivenAttachment, ...] = ()
    decision: Decision | None = None
    foreign_user_id: str | None = None
    expires_at: datetime | None = None

    def seconds_valid(self, event_at: datetime) -> float | None:
        """For how many seconds after its event it may be sent; None: always."""
        if self.expires_at is None:
            return self.valid_for
        left = max(0.0, (self.expires_at - event_at).total_seconds())
        return left if self.valid_for is None else min(left, self.valid_for)


Timestamp = Annotated[datetime, Meta(tz=True)]


class Delivery(msgspec.Struct, frozen=True):
    """One message to one address over one channel, and what became of it."""

    id: UUID
    number: Annotated[int, Meta(ge=1, description="counts the deliveries, with gaps")]
    event_id: str
    user_id: UUID | None
    foreign_user_id: Annotated[str, Meta(description="the user's id in another system")] | None
    channel: Annotated[str, Meta(examples=["email"])]
    template: Annotated[str, Meta(examples=["otp_register"])]
    address: Annotated[str, Meta(examples=["user@example.com"])] | None
    locale: Annotated[str, Meta(examples=["vi"])]
    status: Status
    reason: Annotated[str, Meta(description="the reason for the status, as text")] | None
    attempts: Annotated[int, Meta(ge=0)]
    next_attempt_at: Timestamp | None
    error_code: Annotated[str, Meta(examples=["smtp_451"])] | None
    error: Annotated[str, Meta(description="the provider's own text")] | None
    provider_id: str | None
    created_at: Timestamp
    expires_at: Timestamp | None
    finished_at: Timestamp | None
    category: Annotated[str, Meta(examples=["food"])] | None
    segments: Annotated[int, Meta(ge=1, description="of an SMS that was sent")] | None
    digest_id: Annotated[UUID, Meta(description="the delivery that it is, or was, sent in")] | None


class Withheld(NamedTuple):
    """A decision not to notify that leaves no delivery. Without `user_id` it is about all receivers."""

    channel: str
    reason: str
    user_id: UUID | None = None
    address: str | None = None
    """Masked."""


class Attempt(msgspec.Struct, frozen=True):
    """One try to hand a delivery over."""

    number: int
    started_at: Timestamp
    seconds: float
    outcome: str
    error_code: str | None
    error: str | None
    provider_id: str | None


def delivery_id(event_id: str, draft: DeliveryDraft) -> UUID:
    """The id of what `draft` asks for. Derived: the same event, the same delivery."""
    to = str(draft.user_id) if draft.address is None else draft.address
    what = "\0".join((event_id, draft.channel, draft.template, to))
    return UUID(bytes=hashlib.sha256(what.encode()).digest()[:16], version=5)


def masked(address: str) -> str:
    """An address as logs may show it: enough to recognise, too little to write to."""
    name, at, domain = address.rpartition("@")
    if at:
        return f"{name[:1] if len(name) > 2 else ''}***@{domain}"
    return f"***{address[-3:]}" if len(address) > 6 else "***"
