"""Seats that were booked for a movie."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from app.texts.i18n import N_, localised_number
from handlers.fields import Amount, Name
from handlers.flat import PersonalEventHandler


class Booking(Struct):
    booking_id: Name
    movie_title: Name
    showtime: Name
    seats: Annotated[list[Name], Meta(min_length=1, max_length=100)]
    total_amount: Amount


class BookingEventHandler(PersonalEventHandler[Booking]):
    """What happens to a booking."""

    category = "bookings"
    data_type = Booking

    def params(self, data: Booking, locale: str) -> dict[str, object]:
        return super().params(data, locale) | {
            "seats": ", ".join(data.seats),
            "total_amount": localised_number(locale, data.total_amount),
        }


class BookingConfirmed(BookingEventHandler):
    event_type = "booking.confirmed"
    template = "booking_confirmation"
    title = N_("Booking %(booking_id)s is confirmed")
    content = N_("%(movie_title)s, %(showtime)s. Seats: %(seats)s. Total: %(total_amount)s. Enjoy the movie!")


class BookingCancelled(BookingEventHandler):
    event_type = "booking.cancelled"
    template = "booking_cancellation"
    title = N_("Booking %(booking_id)s was cancelled")
    content = N_("%(movie_title)s, %(showtime)s. Seats no longer reserved for you: %(seats)s.")
