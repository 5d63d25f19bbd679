"""Words for what publishers say by codes. A code without words is shown as it is."""

from __future__ import annotations

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


def in_words(locale: str, words: Mapping[str, Translatable], code: str) -> str:
    """What `code` means, in `locale`."""
    return render(locale, words[code], {}) if code in words else code
