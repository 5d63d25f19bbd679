"""The table of all event types. A new one is a class, a line here, its texts in each catalogue, a sample."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import copy
from typing import Any

import msgspec

from app.domain.deliveries import Withheld
from app.domain.details import Details, fields_json, over
from app.domain.effects import Text
from app.domain.notifications import Notification, NotificationDraft, NotificationFilter
from app.domain.preferences import off_by_default
from app.domain.user_ids import UUIDS_ONLY, UserIds
from app.texts.sms import DEFAULT_LIMIT, SmsLimit
from handlers.accounts import AccountLoggedOut
from handlers.amendments import RetractionRequested, UpdateRequested
from handlers.base import BaseMessageHandler, NotificationHandler
from handlers.bookings import BookingCancelled, BookingConfirmed
from handlers.food import FoodExpired, FoodExpiringSoon
from handlers.groups import GroupHeadChefUpdated, GroupUserAdded, GroupUserLeft, GroupUserRemoved
from handlers.inventory import NO_STOCK_RECEIVERS, LowStock, StockReceivers
from handlers.meals import DailyMeal
from handlers.messages import MessageRequested
from handlers.otp import OtpRequested
from handlers.payments import PaymentFailed, PaymentRefund, PaymentSuccess
from handlers.plans import PlanAssigned, PlanExpired, PlanReported


def _handler_of(event_type: str) -> BaseMessageHandler[Any] | None:
    return HANDLERS.get(ALIASES.get(event_type, event_type))


HANDLERS: dict[str, BaseMessageHandler[Any]] = {
    handler.event_type: handler
    for handler in (
        GroupUserAdded(),
        GroupUserRemoved(),
        GroupUserLeft(),
        GroupHeadChefUpdated(),
        FoodExpiringSoon(),
        FoodExpired(),
        PlanAssigned(),
        PlanReported(),
        PlanExpired(),
        DailyMeal(),
        BookingConfirmed(),
        BookingCancelled(),
        PaymentSuccess(),
        PaymentFailed(),
        PaymentRefund(),
        LowStock(),
        MessageRequested(_handler_of),
        UpdateRequested(_handler_of),
        RetractionRequested(_handler_of),
        AccountLoggedOut(),
        OtpRequested("register"),
        OtpRequested("reset_password"),
        OtpRequested("change_email"),
    )
}


ALIASES = {"booking.refunded": "payment.refund"}
"""Other names of event types. A notification has the template code of the type that is meant."""


def handlers(
    otp_ttl: float,
    user_ids: UserIds = UUIDS_ONLY,
    stock_receivers: StockReceivers = NO_STOCK_RECEIVERS,
    sms_limit: SmsLimit = DEFAULT_LIMIT,
    image_hosts: Collection[str] = (),
) -> dict[str, BaseMessageHandler[Any]]:
    """The table with aliases, as the settings have it: with codes that may be sent so many seconds after
    their event, what reads the ids of users, the receivers of low stock that the operator names, how long an
    SMS may be, and the hosts that images may come from.
    """
    codes = [handler for handler in HANDLERS.values() if isinstance(handler, OtpRequested)]
    table: dict[str, BaseMessageHandler[Any]] = HANDLERS | {
        code.event_type: OtpRequested(code.action, otp_ttl) for code in codes
    }
    table[LowStock.event_type] = LowStock(stock_receivers)
    table[MessageRequested.event_type] = MessageRequested(_handler_of, sms_limit, image_hosts)
    table[UpdateRequested.event_type] = UpdateRequested(_handler_of, image_hosts)
    table = {event_type: copy(handler) for event_type, handler in table.items()}
    for handler in table.values():
        handler.user_ids = user_ids
    return with_aliases(table)


def with_aliases(table: Mapping[str, BaseMessageHandler[Any]]) -> dict[str, BaseMessageHandler[Any]]:
    """The table with a line for each alias of the types in it."""
    return {**table, **{alias: table[meant] for alias, meant in ALIASES.items() if meant in table}}


def text_in(
    locale: str, template_code: str, raw_data: bytes, group_name: str | None, title: str = ""
) -> Text | None:
    """Title and content of a stored notification in `locale`. `title` is the stored one.

    None when its event type, or the form of its data, is one that is no longer handled.
    """
    handler = HANDLERS.get(template_code.lower())
    if not isinstance(handler, NotificationHandler):
        return None
    try:
        return handler.text(raw_data, group_name or "", locale, title=title)
    except msgspec.ValidationError:
        return None


def details_of(notification: Notification) -> Details:
    """What a notification carries: what its publisher set, else what its event type says."""
    usual = _usual(notification.template_code, bytes(notification.raw_data))
    return over(usual, notification.details)


def implied_refusals(notification: Notification, traced: Collection[str]) -> Iterator[Withheld]:
    """What a notification's receiver was offered and did not get, as it is off by default: no row says so.

    Args:
        notification: That of the event.
        traced: The channels for which a delivery or a decision of the event for this user is stored.
    """
    handler = HANDLERS.get(notification.template_code.lower())
    if handler is not None:
        for channel in handler.offers:
            if channel not in traced:
                yield Withheld(channel, off_by_default(handler.category, channel), notification.receiver)


def usual_details(draft: NotificationDraft) -> Details:
    """What notifications of its event type carry where their publisher says nothing."""
    return _usual(draft.template_code, draft.raw_data.encode())


def _usual(template_code: str, raw_data: bytes) -> Details:
    handler = HANDLERS.get(template_code.lower())
    return UNKNOWN_TYPE if handler is None else handler.details(raw_data)


def filter_of(categories: Collection[str], severities: Collection[str]) -> NotificationFilter:
    """The filter for these categories and severities; none of them: any."""
    codes = {event_type.upper(): handler for event_type, handler in HANDLERS.items()}
    others = UNKNOWN_TYPE.severity in severities
    return NotificationFilter(
        [*categories] or None,
        [code for code, handler in codes.items() if handler.category in categories],
        [*severities] or None,
        [code for code, handler in codes.items() if (handler.severity in severities) is not others],
        others,
    )


UNKNOWN_TYPE = Details(severity="info", icon="bell")
"""What notifications of a type that is no longer handled carry."""


def details_json(notification: Notification) -> bytes:
    """The fields of `details_of`, as they stand in a JSON object, without its braces."""
    handler = HANDLERS.get(notification.template_code.lower())
    if notification.details is None and handler is not None and handler.details_json is not None:
        return handler.details_json
    return fields_json(details_of(notification))
