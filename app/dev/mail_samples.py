"""Data as events bring it, for every template: what the gallery shows and the tests render."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CODE = {"code": "482913", "minutes": 10}
_BOOKING = {
    "booking_id": "BOOK-123",
    "movie_title": "The Last Lighthouse",
    "showtime": "2024-12-15 7:30 PM",
    "seats": ["A1", "A2"],
    "total_amount": 25.5,
}
_PAYMENT = {
    "booking_id": "BOOK-123",
    "transaction_id": "TXN-456",
    "amount": 25.5,
    "payment_method": "credit_card",
}

SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "otp_register": _CODE,
    "otp_reset_password": _CODE,
    "otp_change_email": _CODE,
    "otp_confirm_address": _CODE,
    "booking_confirmation": _BOOKING,
    "booking_cancellation": _BOOKING,
    "payment_success": _PAYMENT,
    "payment_failed": {
        **_PAYMENT,
        "reason": "card_declined",
        "retry_url": "https://example.com/pay/BOOK-123",
    },
    "payment_refund": _PAYMENT,
    "low_stock": {"product_name": "Espresso beans 1 kg", "current_stock": 3, "threshold": 10},
    "plain": {
        "title": "Your kitchen this week",
        "message": "Three plans are done.\nTwo are still open.\n\nSee you in the kitchen!",
    },
    "digest": {
        "entries": [
            {
                "title": "Milk expires on 01/12/2026",
                "text": "It is in the fridge, on the top shelf.",  # term
                "url": "https://example.com/food/17",
            },
            {"title": "john_doe joined Family Group", "text": "Say hello!"},
        ],
        "count": 3,
        "group_name": "Family Group",
        "url": "https://example.com/inbox",
    },
}
