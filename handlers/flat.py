"""What handlers of flat events share.

A flat event has its fields at the top level, without `data` and group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from app.domain.deliveries import DeliveryDraft
from app.domain.effects import Effects
from app.domain.notifications import Group, NotificationDraft
from app.texts.i18n import negotiate
from handlers.base import NotificationHandler, kept
from handlers.fields import Address, Name, Receivers, each_once


class FlatEnvelope(Struct):
    """The fields of a flat event that describe the receivers.

    `locale` is that of the mail, if the hub has it.
    """

    locale: Name | None = None


E = TypeVar("E", bound=FlatEnvelope)
D = TypeVar("D", bound=Struct)


class FlatMessage(Struct, Generic[E, D]):
    """A flat event in two parts: the receivers and the content."""

    envelope: E
    data: D


class FlatEventHandler(NotificationHandler[FlatMessage[E, D], D], Generic[E, D]):
    """A flat event that creates mail and notifications.

    A subclass also sets `template`, the mail's, which shows the fields of `data_type`.
    """

    envelope_type: type[E]
    template: ClassVar[str]

    def parse(self, body: Mapping[str, Any]) -> FlatMessage[E, D]:
        return FlatMessage(self.checked(body, self.envelope_type), self.checked(body, self.data_type))

    def _notification(
        self, data: D, body: Mapping[str, Any], receivers: Iterable[UUID], locale: str
    ) -> NotificationDraft:
        envelope = {"event_id", "event_type", *self.envelope_type.__struct_fields__}
        raw_data = kept({key: value for key, value in body.items() if key not in envelope})
        return self._draft(data, list(receivers), raw_data, locale)

    def _mails(
        self, message: FlatMessage[E, D], to: Iterable[tuple[UUID | None, str | None]], locale: str
    ) -> list[DeliveryDraft]:
        """A mail to each, by user and address."""
        spoken = negotiate(message.envelope.locale, locale)
        data = msgspec.structs.asdict(message.data)
        return [
            DeliveryDraft(
                "email", self.template, address, spoken, data, user_id=user_id, offered=address is None
            )
            for user_id, address in to
        ]


class Recipient(FlatEnvelope, kw_only=True):
    """One person, by mail address; `user_id` where the publisher knows them as a user."""

    user_email: Address
    user_id: UUID | None = None


class PersonalEventHandler(FlatEventHandler[Recipient, D], Generic[D]):
    """A flat event for one person: by mail, and in the inbox too if it names the user."""

    envelope_type = Recipient

    def handle(
        self, message: FlatMessage[Recipient, D], body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        person = message.envelope
        notification = (
            self._notification(message.data, body, [person.user_id], locale) if person.user_id else None
        )
        return Effects(
            notification, deliveries=self._mails(message, [(person.user_id, person.user_email)], locale)
        )


class Recipients(FlatEnvelope, kw_only=True):
    receivers: Receivers | None = None


class RecipientsEventHandler(FlatEventHandler[Recipients, D], Generic[D]):
    """A flat event for the users it names: in their inboxes, and by mail to the address in each profile."""

    envelope_type = Recipients

    def handle(
        self, message: FlatMessage[Recipients, D], body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        if not message.envelope.receivers:
            raise self.no_receivers()
        receivers = each_once(message.envelope.receivers)
        mails = self._mails(message, ((receiver, None) for receiver in receivers), locale)
        return Effects(self._notification(message.data, body, receivers, locale), deliveries=mails)
