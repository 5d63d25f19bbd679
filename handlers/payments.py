"""Money that was paid, wasn't, or was given back."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct

from app.texts.i18n import N_, localised_number
from app.texts.labels import PAYMENT_FAILURES, label
from app.texts.markup import is_link
from handlers.fields import Amount, Name
from handlers.flat import PersonalEventHandler


class Payment(Struct, kw_only=True):
    booking_id: Name
    transaction_id: Name
    amount: Amount
    payment_method: Name


class FailedPayment(Payment, kw_only=True):
    reason: Name
    retry_url: str | None = None

    def __post_init__(self) -> None:
        if self.retry_url is not None and not is_link(self.retry_url):
            raise ValueError("`retry_url` must be an absolute http(s) URL, such as https://example.com/pay/1")


P = TypeVar("P", bound=Payment)


class PaymentEventHandler(PersonalEventHandler[P], Generic[P]):
    """What becomes of a payment."""

    category = "payments"

    def params(self, data: P, locale: str) -> dict[str, object]:
        return super().params(data, locale) | {"amount": localised_number(locale, data.amount)}


class PaymentSuccess(PaymentEventHandler[Payment]):
    event_type = "payment.success"
    data_type = Payment
    template = "payment_success"
    title = N_("We received your payment for booking %(booking_id)s")
    content = N_("Amount: %(amount)s. Transaction: %(transaction_id)s.")


class PaymentFailed(PaymentEventHandler[FailedPayment]):
    event_type = "payment.failed"
    urgent = True
    data_type = FailedPayment
    template = "payment_failed"
    title = N_("Your payment for booking %(booking_id)s failed")
    content = N_("%(reason)s Amount: %(amount)s.")

    def params(self, data: FailedPayment, locale: str) -> dict[str, object]:
        return super().params(data, locale) | {"reason": label(locale, PAYMENT_FAILURES, data.reason)}


class PaymentRefund(PaymentEventHandler[Payment]):
    event_type = "payment.refund"
    data_type = Payment
    template = "payment_refund"
    title = N_("Your payment for booking %(booking_id)s was refunded")
    content = N_("Amount: %(amount)s. It can take a few days until you see it in your account.")
