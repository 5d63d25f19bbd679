"""Food in store that must be eaten, or no longer can be."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from msgspec import Meta

from app.texts.i18n import N_, localised_date
from handlers.base import Audience, GroupData, GroupEventHandler
from handlers.fields import Name

_DAY = r"^(0?[1-9]|[12][0-9]|3[01])/(0?[1-9]|1[0-2])/(?!0000)[0-9]{4}$"


class StoredFood(GroupData, kw_only=True):
    """Food in a storage."""

    unit_name: Name
    storage_name: Name


class ExpiringFood(StoredFood, kw_only=True):
    """Food and the day on which it expires."""

    expiration_date: Annotated[str, Meta(extra_json_schema={"pattern": _DAY})]

    def __post_init__(self) -> None:
        _day(self.expiration_date)


class FoodExpiringSoon(GroupEventHandler[ExpiringFood]):
    """Food expires soon."""

    event_type = "food_expiring_soon"
    category = "food"
    severity = "warning"
    icon = "food"
    data_type = ExpiringFood
    audience = Audience.GROUP
    title = N_("%(unit_name)s expires soon")
    content = N_("%(unit_name)s in %(storage_name)s expires on %(expiration_date)s. Use it in time!")

    def params(self, data: ExpiringFood, locale: str) -> dict[str, object]:
        """The fields, with the day in the form of a language."""
        day = localised_date(locale, _day(data.expiration_date)).removesuffix(".")  # a full stop follows
        return super().params(data, locale) | {"expiration_date": day}


class FoodExpired(GroupEventHandler[StoredFood]):
    """Food has expired."""

    event_type = "food_expired"
    category = "food"
    severity = "warning"
    icon = "food"
    data_type = StoredFood
    audience = Audience.GROUP
    title = N_("%(unit_name)s has expired")
    content = N_("%(unit_name)s in %(storage_name)s has expired. Please don't use it any more.")


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%d/%m/%Y").date()
    except ValueError:
        raise ValueError("`expiration_date` must be a day in the form dd/mm/yyyy") from None
