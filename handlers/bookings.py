"""Seats that were booked for a movie."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from app.texts.i18n import N_, Translatable, localised_moment, localised_number
from handlers.fields import Amount, Shown
from handlers.flat import PersonalEventHandler

_FILM = Translatable("%(film)s.")


class Booking(Struct, kw_only=True):
    """A booking."""

    booking_id: Shown
    movie_title: Shown | None = None
    showtime: Shown | None = None
    seats: Annotated[list[Shown], Meta(min_length=1, max_length=100)] | None = None
    total_amount: Amount | None = None


class BookingEventHandler(PersonalEventHandler[Booking]):
    """What happens to a booking."""

    category = "bookings"
    icon = "ticket"
    data_type = Booking

    def params(self, data: Booking, locale: str) -> dict[str, object]:
        """The fields of the booking in the forms of a language."""
        showtime = None if data.showtime is None else localised_moment(locale, data.showtime)
        total = None if data.total_amount is None else localised_number(locale, data.total_amount)
        return {
            "booking_id": data.booking_id,
            "film": ", ".join(filter(None, (data.movie_title, showtime))) or None,
            "seats": ", ".join(data.seats) if data.seats else None,
            "total_amount": total,
        }


class BookingConfirmed(BookingEventHandler):
    """A booking was confirmed."""

    event_type = "booking.confirmed"
    severity = "success"
    template = "booking_confirmation"
    title = N_("Booking %(booking_id)s is confirmed")
    facts = (_FILM, N_("Seats: %(seats)s."), N_("Total: %(total_amount)s."))
    content = N_("Enjoy the movie!")
    closing = True


class BookingCancelled(BookingEventHandler):
    """A booking was cancelled."""

    event_type = "booking.cancelled"
    severity = "warning"
    template = "booking_cancellation"
    title = N_("Booking %(booking_id)s was cancelled")
    facts = (_FILM, N_("Seats no longer reserved for you: %(seats)s."))
    content = N_("The seats of this booking are no longer reserved for you.")
