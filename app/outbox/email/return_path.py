"""The envelope sender of each mail: where reports of failed delivery go, and which delivery they are about.

VERP: MAIL_RETURN_PATH has a `*`, and each mail's address has a signed token there. A report to it is about
that delivery, whatever its text says, and nobody but a receiver of the mail can forge one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from uuid import UUID

from app.auth.delivery_tokens import RETURN_PATH, TOKEN_CHARS, DeliveryTokens
from app.auth.secrets import SecretBox
from app.domain.addresses import mailbox
from app.domain.errors import ConfigurationError

WILDCARD = "*"


class ReturnPath:
    """Raises `ConfigurationError` when the setting is no usable address."""

    def __init__(self, setting: str, box: SecretBox | None) -> None:
        """`setting` is MAIL_RETURN_PATH. Without `box` nothing is signed, and the wildcard is left out."""
        try:
            address = mailbox(setting.replace(WILDCARD, "x" * TOKEN_CHARS, 1))
        except ValueError as error:
            raise ConfigurationError(
                f"MAIL_RETURN_PATH: {error}, with {TOKEN_CHARS} characters for *."
            ) from None
        if not address.ascii or WILDCARD in str(address) or WILDCARD in setting.rpartition("@")[2]:
            raise ConfigurationError(
                "MAIL_RETURN_PATH must be one address of ASCII characters, with at most one * and that "
                "before the @, such as bounces+*@example.com."
            )
        local, wildcard, rest = setting.rpartition("@")[0].partition(WILDCARD)
        self._before, self._after = local, f"{rest}@{address.domain}"
        self._tokens = DeliveryTokens(box, RETURN_PATH) if wildcard and box is not None else None
        self._pattern = re.compile(
            rf"(?<![a-z0-9.+_=-]){re.escape(self._before)}([a-z2-7]{{{TOKEN_CHARS}}}){re.escape(self._after)}"
            r"(?![a-z0-9.-])",
            re.IGNORECASE,
        )

    @property
    def signs(self) -> bool:
        """Whether each delivery has an address that nobody else can make."""
        return self._tokens is not None

    def of(self, delivery: UUID) -> str:
        """The envelope sender of a delivery."""
        token = "" if self._tokens is None else self._tokens.make(delivery)
        return f"{self._before}{token}{self._after}"

    def deliveries(self, texts: Iterable[str]) -> list[UUID]:
        """The deliveries whose addresses are in these texts, such as headers; forged ones are left out."""
        if self._tokens is None:
            return []
        tokens = (found[1] for text in texts for found in self._pattern.finditer(text))
        read = (self._tokens.read(token) for token in tokens)
        return list(dict.fromkeys(each for each in read if each is not None))
