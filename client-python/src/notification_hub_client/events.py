"""A class for each event type. Written by `make generated` from the hub's `handlers/`."""

# fmt: off
# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from notification_hub_client.event import Action, Actor, Attachment, Event, PublicEvent

__all__ = [
    "AccountLoggedOut",
    "BookingCancelled",
    "BookingConfirmed",
    "DailyMeal",
    "FoodExpired",
    "FoodExpiringSoon",
    "GroupHeadChefUpdated",
    "GroupUserAdded",
    "GroupUserLeft",
    "GroupUserRemoved",
    "LowStock",
    "Message",
    "NotificationRetracted",
    "NotificationUpdated",
    "OtpChangeEmail",
    "OtpRegister",
    "OtpResetPassword",
    "PaymentFailed",
    "PaymentRefund",
    "PaymentSuccess",
    "PlanAssigned",
    "PlanExpired",
    "PlanReported",
]

@dataclass(frozen=True, kw_only=True)
class GroupUserAdded(PublicEvent):
    """The event `group_user_added`."""

    event_type: ClassVar[str | None] = "group_user_added"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name", "requester_username"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    requester_username: str
    """Who did it."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class GroupUserRemoved(PublicEvent):
    """The event `group_user_removed`."""

    event_type: ClassVar[str | None] = "group_user_removed"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name", "requester_username"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    requester_username: str
    """Who did it."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class GroupUserLeft(PublicEvent):
    """The event `group_user_left`."""

    event_type: ClassVar[str | None] = "group_user_left"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class GroupHeadChefUpdated(PublicEvent):
    """The event `group_head_chef_updated`."""

    event_type: ClassVar[str | None] = "group_head_chef_updated"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name", "requester_username", "new_head_chef_username"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    requester_username: str
    """Who did it."""
    new_head_chef_username: str
    """The new head chef."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class FoodExpiringSoon(PublicEvent):
    """The event `food_expiring_soon`."""

    event_type: ClassVar[str | None] = "food_expiring_soon"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name", "unit_name", "storage_name", "expiration_date"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    unit_name: str
    """The food."""
    storage_name: str
    """Where the food is."""
    expiration_date: str
    """Dd/mm/yyyy."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class FoodExpired(PublicEvent):
    """The event `food_expired`."""

    event_type: ClassVar[str | None] = "food_expired"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name", "unit_name", "storage_name"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    unit_name: str
    """The food."""
    storage_name: str
    """Where the food is."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class PlanAssigned(PublicEvent):
    """The event `plan_assigned`."""

    event_type: ClassVar[str | None] = "plan_assigned"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name", "plan_id", "deadline", "assignee_username"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    plan_id: int
    """The plan."""
    deadline: str
    """Shown as it is."""
    assignee_username: str
    """Who is to carry the plan out."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class PlanReported(PublicEvent):
    """The event `plan_reported`."""

    event_type: ClassVar[str | None] = "plan_reported"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name", "plan_id", "assignee_username"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    plan_id: int
    """The plan."""
    assignee_username: str
    """Who is to carry the plan out."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class PlanExpired(PublicEvent):
    """The event `plan_expired`."""

    event_type: ClassVar[str | None] = "plan_expired"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name", "plan_id", "deadline"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    plan_id: int
    """The plan."""
    deadline: str
    """Shown as it is."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class DailyMeal(PublicEvent):
    """The event `daily_meal`."""

    event_type: ClassVar[str | None] = "daily_meal"
    data_fields: ClassVar[frozenset[str]] = frozenset({"group_name", "breakfast", "lunch", "dinner"})
    has_data: ClassVar[bool] = True

    group_id: UUID | str
    """The group."""
    breakfast: Sequence[str]
    """Dishes; may be empty."""
    lunch: Sequence[str]
    """Dishes; may be empty."""
    dinner: Sequence[str]
    """Dishes; may be empty."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    receiver_is_head_chef: bool | None = None
    """Without `receivers`: only the head chef is notified."""
    group_name: str | None = None
    """If missing, the user service is asked."""

@dataclass(frozen=True, kw_only=True)
class BookingConfirmed(PublicEvent):
    """The event `booking.confirmed`."""

    event_type: ClassVar[str | None] = "booking.confirmed"

    user_email: str
    """The address that it is mailed to."""
    booking_id: str
    """Named in subject and title."""
    locale: str | None = None
    """The language of the mail: vi, en or ru."""
    user_id: UUID | str | int | None = None
    """The user: the inbox too, and their preferences."""
    movie_title: str | None = None
    """The movie."""
    showtime: str | None = None
    """Shown as it is; an ISO 8601 timestamp or unix seconds in the reader's format."""
    seats: Sequence[str] | None = None
    """1 to 100 seats."""
    total_amount: float | None = None
    """Of money."""

@dataclass(frozen=True, kw_only=True)
class BookingCancelled(PublicEvent):
    """The event `booking.cancelled`."""

    event_type: ClassVar[str | None] = "booking.cancelled"

    user_email: str
    """The address that it is mailed to."""
    booking_id: str
    """Named in subject and title."""
    locale: str | None = None
    """The language of the mail: vi, en or ru."""
    user_id: UUID | str | int | None = None
    """The user: the inbox too, and their preferences."""
    movie_title: str | None = None
    """The movie."""
    showtime: str | None = None
    """Shown as it is; an ISO 8601 timestamp or unix seconds in the reader's format."""
    seats: Sequence[str] | None = None
    """1 to 100 seats."""
    total_amount: float | None = None
    """Of money."""

@dataclass(frozen=True, kw_only=True)
class PaymentSuccess(PublicEvent):
    """The event `payment.success`."""

    event_type: ClassVar[str | None] = "payment.success"

    user_email: str
    """The address that it is mailed to."""
    booking_id: str
    """Named in subject and title."""
    locale: str | None = None
    """The language of the mail: vi, en or ru."""
    user_id: UUID | str | int | None = None
    """The user: the inbox too, and their preferences."""
    transaction_id: str | None = None
    """Of the payment; of a refund, its own."""
    amount: float | None = None
    """Of money; of a refund, what was given back."""
    payment_method: str | None = None
    """A code such as `credit_card`, or any text."""

@dataclass(frozen=True, kw_only=True)
class PaymentFailed(PublicEvent):
    """The event `payment.failed`."""

    event_type: ClassVar[str | None] = "payment.failed"

    user_email: str
    """The address that it is mailed to."""
    booking_id: str
    """Named in subject and title."""
    locale: str | None = None
    """The language of the mail: vi, en or ru."""
    user_id: UUID | str | int | None = None
    """The user: the inbox too, and their preferences."""
    transaction_id: str | None = None
    """Of the payment; of a refund, its own."""
    amount: float | None = None
    """Of money; of a refund, what was given back."""
    payment_method: str | None = None
    """A code such as `credit_card`, or any text."""
    reason: str | None = None
    """A code such as `card_declined`, or any text."""
    retry_url: str | None = None
    """An absolute http(s) URL; the mail has a button for it."""

@dataclass(frozen=True, kw_only=True)
class PaymentRefund(PublicEvent):
    """The event `payment.refund`."""

    event_type: ClassVar[str | None] = "payment.refund"

    user_email: str
    """The address that it is mailed to."""
    booking_id: str
    """Named in subject and title."""
    locale: str | None = None
    """The language of the mail: vi, en or ru."""
    user_id: UUID | str | int | None = None
    """The user: the inbox too, and their preferences."""
    transaction_id: str | None = None
    """Of the payment; of a refund, its own."""
    amount: float | None = None
    """Of money; of a refund, what was given back."""
    payment_method: str | None = None
    """A code such as `credit_card`, or any text."""

@dataclass(frozen=True, kw_only=True)
class LowStock(PublicEvent):
    """The event `low_stock`."""

    event_type: ClassVar[str | None] = "low_stock"

    product_name: str
    """Named in subject and title."""
    locale: str | None = None
    """The language of the mail: vi, en or ru."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    current_stock: float | None = None
    """How much is left."""
    threshold: float | None = None
    """The stock at which it is low."""

@dataclass(frozen=True, kw_only=True)
class Message(PublicEvent):
    """A message that its publisher writes, or a template with data, to one person over one channel."""

    event_type: ClassVar[str | None] = "message"

    type: Literal["inapp", "email", "sms", "webpush"]
    """The channel."""
    to: UUID | str | None = None
    """The address, or in-app the user."""
    user_id: UUID | str | int | None = None
    """The user: the inbox too, and their preferences."""
    title: str | None = None
    """The title; the subject of a mail."""
    message: str | None = None
    """The text."""
    html: str | None = None
    """The HTML of a mail."""
    template_code: str | None = None
    """A template instead of `message`."""
    data: Mapping[str, Any] | None = None
    """Of group events the fields below; of a `message` what fills its template."""
    locale: str | None = None
    """The language of the mail: vi, en or ru."""
    category: Literal["groups", "food", "plans", "meals", "bookings", "payments", "inventory", "messages"] | None = None
    """The category of its preferences."""
    urgent: bool | None = None
    """Whether it is sent in quiet hours too."""
    attachments: Sequence[Attachment] | None = None
    """Files of a mail: docs/how-to/sending.md."""
    reply_to: str | None = None
    """Mail address that answers go to, instead of `MAIL_REPLY_TO`."""
    send_at: datetime | None = None
    """RFC 3339 with an offset; then it is sent at that time."""
    severity: Literal["critical", "info", "success", "warning"] | None = None
    """How grave it is; info if it isn't said."""
    url: str | None = None
    """Where it leads: an http(s) URL, or a path of the page that begins with one `/`."""
    actions: Sequence[Action] | None = None
    """Up to two buttons: `id`, `label`, `url`; without `url` the page handles it."""
    icon: str | None = None
    """A name, or the https URL of an image of a host in IMAGE_HOSTS."""
    image: str | None = None
    """The https URL of an image, or a path of the page."""
    actor: Actor | None = None
    """Who did it: `name`, `avatar`."""
    thread_key: str | None = None
    """What it is about: the same in all that belong together."""
    expires_at: datetime | None = None
    """RFC 3339 with an offset: when it vanishes from the inbox."""

@dataclass(frozen=True, kw_only=True)
class NotificationUpdated(PublicEvent):
    """The event `notification_updated`."""

    event_type: ClassVar[str | None] = "notification_updated"

    original_event_id: str | None = None
    """The `event_id` of the event whose notifications change."""
    thread_key: str | None = None
    """What it is about: the same in all that belong together."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    user_id: UUID | str | int | None = None
    """The user: the inbox too, and their preferences."""
    title: str | None = None
    """The title; the subject of a mail."""
    message: str | None = None
    """The text."""
    template_code: str | None = None
    """A template instead of `message`."""
    data: Mapping[str, Any] | None = None
    """Of group events the fields below; of a `message` what fills its template."""
    locale: str | None = None
    """The language of the mail: vi, en or ru."""
    category: Literal["groups", "food", "plans", "meals", "bookings", "payments", "inventory", "messages"] | None = None
    """The category of its preferences."""
    severity: Literal["critical", "info", "success", "warning"] | None = None
    """How grave it is; info if it isn't said."""
    url: str | None = None
    """Where it leads: an http(s) URL, or a path of the page that begins with one `/`."""
    actions: Sequence[Action] | None = None
    """Up to two buttons: `id`, `label`, `url`; without `url` the page handles it."""
    icon: str | None = None
    """A name, or the https URL of an image of a host in IMAGE_HOSTS."""
    image: str | None = None
    """The https URL of an image, or a path of the page."""
    actor: Actor | None = None
    """Who did it: `name`, `avatar`."""
    expires_at: datetime | None = None
    """RFC 3339 with an offset: when it vanishes from the inbox."""
    unread: bool | None = None
    """Whether it is unread again."""

@dataclass(frozen=True, kw_only=True)
class NotificationRetracted(PublicEvent):
    """The event `notification_retracted`."""

    event_type: ClassVar[str | None] = "notification_retracted"

    original_event_id: str | None = None
    """The `event_id` of the event whose notifications change."""
    thread_key: str | None = None
    """What it is about: the same in all that belong together."""
    receivers: Sequence[UUID | str] | None = None
    """Who is notified."""
    user_id: UUID | str | int | None = None
    """The user: the inbox too, and their preferences."""

@dataclass(frozen=True, kw_only=True)
class AccountLoggedOut(Event):
    """The event `account_logged_out`."""

    event_type: ClassVar[str | None] = "account_logged_out"
    topic: ClassVar[str] = "logouts"

    user_id: UUID | str | int
    """The user: the inbox too, and their preferences."""
    timestamp: datetime | str | float | None = None
    """When it happened."""
    access_token_id: str | None = None
    """The `jti` of the token that was logged out."""

@dataclass(frozen=True, kw_only=True)
class OtpRegister(Event):
    """A one-time code for the action `register`."""

    event_type: ClassVar[str | None] = None
    constants: ClassVar[Mapping[str, Any]] = {"action": "register"}
    topic: ClassVar[str] = "registration"

    email: str
    """The address that the code is mailed to."""
    otp_code: str
    """The code: 4 to 64 letters, digits and hyphens."""

@dataclass(frozen=True, kw_only=True)
class OtpResetPassword(Event):
    """A one-time code for the action `reset_password`."""

    event_type: ClassVar[str | None] = None
    constants: ClassVar[Mapping[str, Any]] = {"action": "reset_password"}
    topic: ClassVar[str] = "reset_password"

    email: str
    """The address that the code is mailed to."""
    otp_code: str
    """The code: 4 to 64 letters, digits and hyphens."""

@dataclass(frozen=True, kw_only=True)
class OtpChangeEmail(Event):
    """A one-time code for the action `change_email`."""

    event_type: ClassVar[str | None] = None
    constants: ClassVar[Mapping[str, Any]] = {"action": "change_email"}
    topic: ClassVar[str] = "email_change"

    email: str
    """The address that the code is mailed to."""
    otp_code: str
    """The code: 4 to 64 letters, digits and hyphens."""
