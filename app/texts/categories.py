"""The names of categories and channels, as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.channels import EMAIL, INAPP, SMS, WEBPUSH
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
    "security": N_("Security"),
}
CHANNEL_NAMES: Mapping[str, Translatable] = {
    INAPP: N_("In the app"),
    EMAIL: N_("Email"),
    SMS: N_("SMS"),
    WEBPUSH: N_("Push"),
}
