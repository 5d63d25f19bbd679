"""Goods in stock."""

from __future__ import annotations

from msgspec import Struct

from app.texts.i18n import N_, localised_number
from handlers.fields import Amount, Name
from handlers.flat import RecipientsEventHandler


class Stock(Struct):
    product_name: Name
    current_stock: Amount
    threshold: Amount


class LowStock(RecipientsEventHandler[Stock]):
    event_type = "low_stock"
    category = "inventory"
    data_type = Stock
    template = "low_stock"
    title = N_("%(product_name)s is running low")
    content = N_("In stock: %(current_stock)s. Threshold: %(threshold)s.")

    def params(self, data: Stock, locale: str) -> dict[str, object]:
        return super().params(data, locale) | {
            "current_stock": localised_number(locale, data.current_stock),
            "threshold": localised_number(locale, data.threshold),
        }
