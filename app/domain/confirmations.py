"""Addresses that people confirm by a code: what the API shows of them, and the limits. No I/O."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from app.domain.channels import EMAIL, SMS

CONFIRMED_CHANNELS = (EMAIL, SMS)
"""Those with an address in the profile."""
CODE_TEMPLATE = "otp_confirm_address"
"""No message of a service may name it, as that of any code."""
CODE_DIGITS_COUNT = 6
CODE_SECONDS = 600
"""How long a code is valid."""
MAX_TRIES_COUNT = 5
"""Of a code; after that it is worth nothing."""
MAX_CODES_PER_HOUR = 5
"""For one user, and for one address whoever asks."""


class AddressStatus(StrEnum):
    """Whether an address was confirmed."""

    PENDING = "pending"
    """A code was sent to it, and is still valid."""
    CONFIRMED = "confirmed"
    """It is the address of the user's profile."""


class ContactAddress(msgspec.Struct, frozen=True):
    """An address of a user. `expires_at` is that of its code, while it is pending."""

    id: UUID
    channel: Annotated[str, Meta(extra_json_schema={"enum": list(CONFIRMED_CHANNELS)})]
    address: Annotated[str, Meta(examples=["mai@example.com"])]
    status: AddressStatus
    created_at: Annotated[datetime, Meta(tz=True)]
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class CodeRequest(NamedTuple):
    """A code that a user asks to be sent."""

    id: UUID
    user_id: UUID
    channel: str
    address: str
    code_hash: bytes


class RequestedCode(NamedTuple):
    """What became of the request: the address; whether the code is to be sent; and, if it isn't because of a
    limit, in how many seconds one may be.
    """

    address: ContactAddress | None
    send: bool = False
    retry_after: float = 0.0


class CodeResult(StrEnum):
    """What a code was worth."""

    RIGHT = "right"
    WRONG = "wrong"
    NONE_VALID = "none valid"
    """The address has no code that is valid: it expired, was tried too often, or a newer one was sent."""
    NO_ADDRESS = "no address"
