"""Which deliveries have an unsubscribe link, and where it leads."""

from __future__ import annotations

from app.auth.secrets import SecretBox
from app.auth.unsubscribe_tokens import UnsubscribeTokens, Unsubscription
from app.domain.channels import EMAIL
from app.domain.preferences import TRANSACTIONAL
from app.settings.processing import OutboxSettings
from app.store.deliveries import LeasedDelivery

_TEMPLATES = ("otp_", "booking_", "payment_")  # of deliveries whose category isn't known


def is_transactional(template: str, category: str | None) -> bool:
    """Whether a message answers what a person did: there is nothing to unsubscribe from."""
    return template.startswith("otp_") or (
        template.startswith(_TEMPLATES) if category is None else category in TRANSACTIONAL
    )


class UnsubscribeLinks:
    """Makes the hub's own links, if `PUBLIC_URL` says where receivers reach it."""

    def __init__(self, settings: OutboxSettings, box: SecretBox) -> None:
        self._base = settings.public_url and settings.public_url.rstrip("/")
        self._tokens = UnsubscribeTokens(settings.unsubscribe_keys, box)

    def settings_of(self, leased: LeasedDelivery) -> str | None:
        """The page with all preferences of the receiver, where the mail has a link and they are a user."""
        link = self.of(leased) if leased.user_id is not None else None
        return link and f"{link}/preferences"

    def of(self, leased: LeasedDelivery) -> str | None:
        """The link of a mail that its receiver can switch off, bound to the person, else to the address."""
        if self._base is None or leased.channel != EMAIL or leased.category is None:
            return None
        if is_transactional(leased.template, leased.category):
            return None
        address = leased.address if leased.user_id is None else None
        wanted = Unsubscription(leased.category, leased.channel, leased.user_id, address, leased.locale)
        return f"{self._base}/unsubscribe/{self._tokens.make(wanted)}"
