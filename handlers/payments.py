"""Money that was paid, wasn't, or was given back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Generic, TypeVar

from msgspec import Struct

from app.texts.i18n import N_, Translatable, localised_number
from app.texts.labels import PAYMENT_FAILED, PAYMENT_FAILURES, label
from app.texts.links import is_link
from handlers.fields import Amount, Shown
from handlers.flat import PersonalEventHandler


class Payment(Struct, kw_only=True):
    """A payment for a booking."""

    booking_id: Shown
    transaction_id: Shown | None = None
    amount: Amount | None = None
    payment_method: Shown | None = None


class FailedPayment(Payment, kw_only=True):
    """A payment that failed, and why."""

    other_names: ClassVar[Mapping[str, str]] = MappingProxyType({"failure_reason": "reason"})

    reason: Shown | None = None
    retry_url: str | None = None

    def __post_init__(self) -> None:
        url = (self.retry_url or "").strip()
        self.retry_url = url if is_link(url) else None


class RefundedPayment(Payment, kw_only=True):
    """`amount` and `transaction_id` may be those of the payment, beside those of the refund."""

    other_names: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"refund_amount": "amount", "refund_transaction_id": "transaction_id"}
    )


P = TypeVar("P", bound=Payment)
_AMOUNT = N_("Amount: %(amount)s.")


class PaymentEventHandler(PersonalEventHandler[P], Generic[P]):
    """What becomes of a payment."""

    category = "payments"
    icon = "card"

    def params(self, data: P, locale: str) -> dict[str, object]:
        """The fields, with the amount in the form of a language."""
        amount = None if data.amount is None else localised_number(locale, data.amount)
        return super().params(data, locale) | {"amount": amount}


class PaymentSuccess(PaymentEventHandler[Payment]):
    """A payment succeeded."""

    event_type = "payment.success"
    severity = "success"
    data_type = Payment
    template = "payment_success"
    title = N_("We received your payment for booking %(booking_id)s")
    facts = (_AMOUNT, N_("Transaction: %(transaction_id)s."))
    content = N_("Thank you! Your payment was successful.")


class PaymentFailed(PaymentEventHandler[FailedPayment]):
    """A payment failed."""

    event_type = "payment.failed"
    urgent = True
    severity = "critical"
    url_field = "retry_url"
    data_type = FailedPayment
    template = "payment_failed"
    title = N_("Your payment for booking %(booking_id)s failed")
    facts = (Translatable("%(reason)s"), _AMOUNT)
    content = PAYMENT_FAILED

    def params(self, data: FailedPayment, locale: str) -> dict[str, object]:
        """The fields, with the reason as text."""
        reason = None if data.reason is None else label(locale, PAYMENT_FAILURES, data.reason)
        return super().params(data, locale) | {"reason": reason}


class PaymentRefund(PaymentEventHandler[RefundedPayment]):
    """A payment was refunded."""

    event_type = "payment.refund"
    data_type = RefundedPayment
    template = "payment_refund"
    title = N_("Your payment for booking %(booking_id)s was refunded")
    facts = (_AMOUNT,)
    content = N_("It can take a few days until you see it in your account.")
    closing = True
