"""Goods in stock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct

from app.domain.effects import Effects
from app.domain.notifications import Group
from app.domain.preferences import Decision, Verdict
from app.texts.i18n import N_, localised_number
from handlers.fields import Amount, Shown
from handlers.flat import FlatMessage, Recipients, RecipientsEventHandler


class Stock(Struct, kw_only=True):
    """The stock of a product."""

    product_name: Shown
    current_stock: Amount | None = None
    threshold: Amount | None = None


class StockReceivers(NamedTuple):
    """Whom the operator names for events that name nobody."""

    users: Sequence[UUID] = ()
    addresses: Sequence[tuple[str, str]] = ()
    """Each with its channel."""


NO_STOCK_RECEIVERS = StockReceivers()
NOBODY = "the event names no receivers, and LOW_STOCK_RECEIVERS is not set"


class LowStock(RecipientsEventHandler[Stock]):
    """An event without receivers goes to those of the operator; without those it is kept for the record."""

    event_type = "low_stock"
    category = "inventory"
    severity = "warning"
    icon = "box"
    data_type = Stock
    template = "low_stock"
    title = N_("%(product_name)s is running low")
    facts = (N_("In stock: %(current_stock)s."), N_("Threshold: %(threshold)s."))
    content = N_("The stock of this product has reached its threshold. Order more in time.")

    def __init__(self, receivers: StockReceivers = NO_STOCK_RECEIVERS) -> None:
        self._named = receivers

    def handle(
        self,
        message: FlatMessage[Recipients, Stock],
        body: Mapping[str, Any],
        group: Group | None,
        locale: str,
    ) -> Effects:
        """Notify the event's receivers, else those of `LOW_STOCK_RECEIVERS`."""
        if message.envelope.receivers:
            return super().handle(message, body, group, locale)
        users, addresses = self._named
        if not users and not addresses:
            record = self._mail(message, locale, decision=Decision(Verdict.SUPPRESS, NOBODY))
            return Effects(deliveries=[record], reaches_nobody=NOBODY)
        deliveries = self._mails(message, ((user, None) for user in users), locale)
        wanted = Decision(Verdict.SEND, "LOW_STOCK_RECEIVERS names the address")
        deliveries += [
            self._mail(message, locale, channel=channel, address=address, decision=wanted)
            for channel, address in addresses
        ]
        notification = self._notification(message.data, body, users, locale) if users else None
        return Effects(notification, deliveries=deliveries)

    def params(self, data: Stock, locale: str) -> dict[str, object]:
        """The fields, with amounts in the form of a language."""
        numbers = {"current_stock": data.current_stock, "threshold": data.threshold}
        return {
            "product_name": data.product_name,
            **{
                name: None if each is None else localised_number(locale, each)
                for name, each in numbers.items()
            },
        }
