"""One-time codes that the user service asks the hub to send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from app.domain.addresses import mailbox
from app.domain.deliveries import DeliveryDraft
from app.domain.effects import Effects
from app.domain.errors import InvalidEvent
from app.domain.notifications import Group
from handlers.base import BaseMessageHandler
from handlers.fields import Address, Code


class OtpRequest(Struct):
    """A message of the three Kafka topics."""

    email: Address
    otp_code: Code
    action: str


class OtpRequested(BaseMessageHandler[OtpRequest]):
    """Mails a code for one action, until the code expires."""

    category = "security"
    icon = "lock"
    only_from = "kafka"
    urgent = True
    message_type = OtpRequest

    def __init__(self, action: str, valid_for: float = 600.0) -> None:
        """`valid_for` is the seconds after the event that the code may still be sent (OTP_TTL)."""
        self.action = action
        self.event_type = f"otp_{action}"
        self._valid_for = valid_for

    def handle(
        self, message: OtpRequest, body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        """Make one delivery with the code, encrypted until it is sent."""
        if message.action != self.action:
            raise InvalidEvent("wrong_action", f"this Kafka topic accepts the action {self.action} only")
        try:
            address = str(mailbox(message.email))
        except ValueError as error:
            raise InvalidEvent("bad_field", f"{self.event_type}: email: {error}") from None
        one_spelling = address.lower()
        mail = DeliveryDraft(
            channel="email",
            template=self.event_type,
            address=address,
            locale=locale,
            data={"minutes": max(1, round(self._valid_for / 60))},
            secret={"code": message.otp_code},
            valid_for=self._valid_for,
            replaces=f"{self.event_type}:{one_spelling}",
            limit_key=one_spelling,
        )
        return Effects(deliveries=(mail,))
