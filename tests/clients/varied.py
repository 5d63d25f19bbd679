"""The messages of the old publishers as they vary: which fields are there, in which form, how encoded."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.clients.published import CHEF, GROUP, LEFT, MARIA, Published, compressed, with_bom

BOOKINGS, PAYMENTS, EVENTS = (
    "notification.booking_events",
    "notification.payment_events",
    "NOTIFICATION_TOPIC",
)
STOCK = "channel inventory:low-stock and stream inventory:low-stock:stream"
WRONG: dict[str, Any] = {"a": {"b": [1]}}
"""What no optional field can be used as."""


def booking(event_type: str, **fields: Any) -> dict[str, Any]:
    return {"event_type": event_type, "booking_id": "BOOK-123", **fields}


def rabbitmq_message(body: Any, **properties: Any) -> Published:
    """A message about a booking or a payment; a body of bytes is what it says in `event_type`'s place."""
    queue = (
        PAYMENTS
        if b"payment." in (body if isinstance(body, bytes) else json.dumps(body).encode())
        else BOOKINGS
    )
    return Published("rabbitmq", queue, body, properties)


FILM: dict[str, Any] = {
    "movie_title": "Movie Name",
    "showtime": "2024-12-15 7:30 PM",
    "seats": ["A1", "A2"],
    "total_amount": 25.5,
}
PAYMENT: dict[str, Any] = {"transaction_id": "TXN-456", "amount": 25.5, "payment_method": "credit_card"}
AMOUNT = re.compile(r"25[.,]50?\b")


@dataclass(frozen=True)
class Mailed:
    """A booking or a payment, and what its mail must and must not say."""

    body: dict[str, Any]
    says: tuple[str | re.Pattern[str], ...] = ()
    never: tuple[str, ...] = ()


MAILED: dict[str, Mailed] = {
    "a foreign user": Mailed(
        booking("booking.confirmed", user_id="user_123", **FILM), ("Movie Name", "A1", AMOUNT)
    ),
    "a number as user": Mailed(booking("booking.confirmed", user_id=42, **FILM), ("Movie Name", AMOUNT)),
    "an amount in a string": Mailed(
        booking("booking.confirmed", **{**FILM, "total_amount": "25.50"}), (AMOUNT,)
    ),
    "a payment's amount in a string": Mailed(
        booking("payment.success", **{**PAYMENT, "amount": "25.50"}), ("TXN-456", AMOUNT)
    ),
    "a number as booking": Mailed({**booking("booking.confirmed", **FILM), "booking_id": 123}, ("123",)),
    "seats in one string": Mailed(booking("booking.confirmed", **{**FILM, "seats": "A1, A2"}), ("A1", "A2")),
    "seats as numbers": Mailed(booking("booking.confirmed", **{**FILM, "seats": [11, 12]}), ("11", "12")),
    "cancelled without film": Mailed(booking("booking.cancelled"), ("BOOK-123",), ("Movie",)),
    "cancelled without seats": Mailed(
        booking("booking.cancelled", movie_title="Movie Name", total_amount="25.50"), ("Movie Name", AMOUNT)
    ),
    "failed with failure_reason": Mailed(
        booking("payment.failed", failure_reason="Not enough money", amount="25.50"),
        ("Not enough money", AMOUNT),
    ),
    "failed with a code": Mailed(
        booking("payment.failed", failure_reason="insufficient_funds"), ("BOOK-123",)
    ),
    "refund of another name": Mailed(
        booking("payment.refund", refund_amount=25.5, refund_transaction_id="RTXN-9"), (AMOUNT, "RTXN-9")
    ),
    "refund of a part": Mailed(
        booking(
            "payment.refund",
            amount=99,
            transaction_id="TXN-1",
            refund_amount="25.50",
            refund_transaction_id="R-9",
        ),
        (AMOUNT, "R-9"),
    ),
    "booking.refunded": Mailed(
        booking("booking.refunded", refund_amount="25.50", refund_transaction_id="RTXN-9", **FILM),
        (AMOUNT, "RTXN-9"),
    ),
    "a price of nothing": Mailed(
        booking("booking.confirmed", **{**FILM, "total_amount": 0}), ("Movie Name",)
    ),
}
TYPES = {
    "booking.confirmed": {"user_id", *FILM},
    "booking.cancelled": {"user_id", *FILM},
    "booking.refunded": {"user_id", "refund_amount", "refund_transaction_id", "payment_method", *FILM},
    "payment.success": {"user_id", *PAYMENT},
    "payment.failed": {"user_id", "reason", "failure_reason", "retry_url", *PAYMENT},
    "payment.refund": {"user_id", "refund_amount", "refund_transaction_id", *PAYMENT},
}
"""The optional fields of each."""
USELESS: dict[str, Any] = {"null": None, "useless": WRONG, "blank": " ", "a list": [], "true": True}
for event_type, names in TYPES.items():
    for what, value in USELESS.items():
        useless = dict.fromkeys(sorted(names | {"locale", "event_id"}), value)
        MAILED[f"{event_type}, {what}"] = Mailed(booking(event_type, **useless), ("BOOK-123",))
    MAILED[f"{event_type}, the least"] = Mailed(booking(event_type), ("BOOK-123",))
    MAILED[f"{event_type}, more fields"] = Mailed(
        booking(event_type, version=2, customer={"name": "Mai"}), ("BOOK-123",)
    )

ENCODED: dict[str, Any] = {
    "a byte order mark": (with_bom, {}),
    "gzip": (lambda body: compressed(gzip.compress, body), {"content_encoding": "gzip"}),
    "deflate": (lambda body: compressed(zlib.compress, body), {"content_encoding": "deflate"}),
    "gzip of a byte order mark": (lambda body: gzip.compress(with_bom(body)), {"content_encoding": "gzip"}),
    "a text": (lambda body: json.dumps(body, ensure_ascii=False).encode(), {"content_type": "text/plain"}),
}

INBOXES: dict[str, Callable[[str], str]] = {
    "a UUID": str,
    "in capitals": str.upper,
    "without hyphens": lambda user: user.replace("-", ""),
}
"""How a user id may be spelt."""


def group_event(event_type: str, body: Any = None, **fields: Any) -> Published:
    message = {"event_type": event_type, "group_id": GROUP, **fields}
    return Published("kafka", EVENTS, message if body is None else body(message))


GROUP_EVENTS: dict[str, tuple[Published, str, str, dict[str, Any], tuple[str, ...]]] = {
    "null for each optional field": (
        group_event(
            "group_user_added",
            receivers=[MARIA],
            receiver_is_head_chef=None,
            event_id=None,
            data={"requester_username": "nothing", "group_name": None},
        ),
        *(MARIA, "group_user_added", {"requester_username": "nothing"}, ("Family Group", "nothing")),
    ),
    "no receivers: null": (
        group_event("food_expired", receivers=None, data={"unit_name": "Null", "storage_name": "S"}),
        *(LEFT, "food_expired", {"unit_name": "Null"}, ("Null",)),
    ),
    "a byte order mark": (
        group_event("food_expired", with_bom, data={"unit_name": "Marked", "storage_name": "S"}),
        *(LEFT, "food_expired", {"unit_name": "Marked"}, ("Marked",)),
    ),
    "more fields": (
        group_event(
            "food_expired",
            version=3,
            trace={"id": 1},
            data={"unit_name": "More", "storage_name": "S", "x": [1]},
        ),
        *(LEFT, "food_expired", {"unit_name": "More", "x": [1]}, ("More",)),
    ),
    "a group in capitals": (
        group_event(
            "food_expired",
            lambda m: {**m, "group_id": GROUP.upper()},
            data={"unit_name": "Capital", "storage_name": "S"},
        ),
        *(LEFT, "food_expired", {"unit_name": "Capital"}, ("Capital",)),
    ),
    "left, to the group": (
        group_event("group_user_left", data={"user_id": LEFT, "n": 1}),
        *(CHEF, "group_user_left", {"n": 1}, ("Family Group",)),
    ),
    "left, to who left": (
        group_event("group_user_left", receivers=[LEFT], data={"leaver_id": LEFT, "n": 2}),
        *(LEFT, "group_user_left", {"n": 2}, ("Bạn", "Family Group")),
    ),
    "left, by requester_id": (
        group_event("group_user_left", receivers=[LEFT], data={"requester_id": LEFT, "n": 3}),
        *(LEFT, "group_user_left", {"n": 3}, ("Bạn", "Family Group")),
    ),
    "left, null for receivers": (
        group_event("group_user_left", receivers=None, data={"user_id": None, "n": 4}),
        *(CHEF, "group_user_left", {"n": 4}, ("Family Group",)),
    ),
    "stock without a type": (
        Published(
            "redis",
            STOCK,
            {"product_name": "No type", "current_stock": "3", "threshold": "10", "receivers": [CHEF]},
        ),
        *(CHEF, "low_stock", {"product_name": "No type"}, ("No type", "3", "10")),
    ),
    "stock with nulls": (
        Published(
            "redis",
            STOCK,
            {
                "event_type": None,
                "product_id": None,
                "product_name": "Nulls",
                "current_stock": None,
                "threshold": None,
                "receivers": [CHEF],
            },
        ),
        *(CHEF, "low_stock", {"product_name": "Nulls"}, ("Nulls",)),
    ),
    "stock marked, over the stream": (
        Published(
            "redis", "stream", with_bom({"product_name": "Marked", "current_stock": 0, "receivers": [CHEF]})
        ),
        *(CHEF, "low_stock", {"product_name": "Marked"}, ("Marked",)),
    ),
    "stock, over the channel": (
        Published("redis", "channel", {"product_name": "Heard", "current_stock": 2.5, "receivers": [CHEF]}),
        *(CHEF, "low_stock", {"product_name": "Heard"}, ("Heard",)),
    ),
    "stock for nobody": (
        Published("redis", STOCK, {"product_name": "For nobody", "current_stock": 1, "threshold": 5}),
        *("", "low_stock", {}, ()),
    ),
    "the last stock": (
        Published(
            "redis", STOCK, {"event_type": "low_stock", "product_name": "Last one", "receivers": [CHEF]}
        ),
        *(CHEF, "low_stock", {"product_name": "Last one"}, ("Last one",)),
    ),
}
