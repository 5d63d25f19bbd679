"""The channels that messages go over: the one list of their names. No I/O.

`app.outbox` has a module for each channel that delivers to an address; preferences, the API and the message
handler loop over this list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from app.domain.addresses import mailbox, phone_number
from app.domain.devices import device_id

INAPP, EMAIL, SMS, WEBPUSH = "inapp", "email", "sms", "webpush"

DELIVERY_CHANNELS: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {
        EMAIL: mailbox,
        SMS: phone_number,
        WEBPUSH: device_id,
    }
)
"""Those that deliver to an address, each with the check of one. It raises `ValueError`, whose text doesn't
repeat the address.
"""
CHANNELS = (INAPP, *DELIVERY_CHANNELS)
"""All of them; in-app needs no address."""
