"""The names of categories, as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from app.texts.i18n import N_, Translatable

CATEGORY_NAMES: Mapping[str, Translatable] = {
    "groups": N_("Groups"),
    "food": N_("Food"),
    "plans": N_("Plans"),
    "meals": N_("Meals"),
    "bookings": N_("Bookings"),
    "payments": N_("Payments"),
    "inventory": N_("Stock"),
    "messages": N_("Messages"),
}
