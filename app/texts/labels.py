"""Labels of codes that publishers send. A code without a label is shown as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.texts.i18n import N_, Translatable, render

PAYMENT_METHODS: Mapping[str, Translatable] = {
    "credit_card": N_("Credit card"),
    "debit_card": N_("Debit card"),
    "bank_transfer": N_("Bank transfer"),
    "cash": N_("Cash"),
}
PAYMENT_FAILURES: Mapping[str, Translatable] = {
    "card_declined": N_("The card was declined."),
    "card_expired": N_("The card has expired."),
    "expired_card": N_("The card has expired."),
    "insufficient_funds": N_("There is not enough money in the account."),
}

PAYMENT_FAILED = N_("The payment was not successful.")
"""Of a payment that failed for a reason that isn't known."""


def label(locale: str, labels: Mapping[str, Translatable], code: str) -> str:
    """The label of `code` in `locale`, or `code` itself. `Card Declined` is the code `card_declined`."""
    found = labels.get(_SEPARATORS.sub("_", code.strip().lower()))
    return code if found is None else render(locale, found, {})


_SEPARATORS = re.compile(r"[\s-]+")
