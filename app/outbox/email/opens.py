"""The image that records that a mail was opened, if the operator switched it on."""

from __future__ import annotations

from collections.abc import Collection

from markupsafe import Markup

from app.auth.delivery_tokens import OPENED, DeliveryTokens
from app.auth.secrets import SecretBox
from app.domain.errors import ConfigurationError
from app.outbox.channel import Outgoing

PATH = "/opened"
_IMAGE = Markup(
    '<img src="{}" width="1" height="1" alt="" style="display:block;width:1px;height:1px;border:0">'
)


class OpenImages:
    """Adds it to mails of some categories. Mail with one-time codes never has it.

    Raises `ConfigurationError` when receivers can't reach the hub.
    """

    def __init__(self, categories: Collection[str], public_url: str | None, box: SecretBox) -> None:
        """The arguments are MAIL_OPENS and PUBLIC_URL."""
        if public_url is None:
            raise ConfigurationError("MAIL_OPENS needs PUBLIC_URL, under which receivers reach the hub.")
        self._base = f"{public_url.rstrip('/')}{PATH}"
        self._categories = frozenset(categories)
        self._tokens = DeliveryTokens(box, OPENED)

    def add_to(self, html: str, outgoing: Outgoing) -> str:
        """The mail with the image at its end, or as it is."""
        if outgoing.category not in self._categories or outgoing.confidential:
            return html
        image = _IMAGE.format(f"{self._base}/{self._tokens.make(outgoing.id)}.gif")
        body, end, rest = html.rpartition("</body>")
        return f"{body}{image}{end}{rest}" if end else f"{html}{image}"
