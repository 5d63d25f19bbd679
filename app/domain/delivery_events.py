"""What becomes of a delivery after a provider has taken it: reports of providers and mail servers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta


class EventKind(StrEnum):
    """What a report says."""

    DELIVERED = "delivered"
    """The receiver's server, or phone, has it."""
    DEFERRED = "deferred"
    """Not yet; the reporter keeps retrying."""
    BOUNCED = "bounced"
    """Nothing can be delivered to the address: it is suppressed."""
    FAILED = "failed"
    """This message can't be delivered."""
    COMPLAINED = "complained"
    """The receiver reported it as spam: the address is suppressed."""
    OPENED = "opened"
    CLICKED = "clicked"


class DeliveryReport(NamedTuple):
    """One report. One with the same `key` of the same delivery is the same report."""

    delivery: UUID
    key: str
    kind: EventKind
    happened_at: datetime
    code: str | None = None
    """A stable identifier of a failure."""
    detail: str | None = None
    """The provider's words, in one line of bounded length."""
    provider_id: str | None = None


class DeliveryEvent(msgspec.Struct, frozen=True):
    """What was reported of a delivery."""

    kind: EventKind
    happened_at: Annotated[datetime, Meta(tz=True)]
    detail: Annotated[str, Meta(description="the provider's own words")] | None
