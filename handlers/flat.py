"""What handlers of flat events share.

A flat event has its fields at the top level, without `data` and group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from app.domain.channels import EMAIL
from app.domain.deliveries import DeliveryDraft
from app.domain.effects import Effects, Text
from app.domain.notifications import Group, NotificationDraft
from app.domain.user_ids import foreign_id
from app.texts.i18n import Translatable, negotiate, placeholders, render
from handlers.base import RECEIVERS, NotificationHandler, S, kept
from handlers.fields import Address, Name, Receivers, UserId, each_once


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

    A subclass also sets `template`, the mail's, which shows the fields of `data_type`, and `facts`: sentences
    that are shown if all values in them are known.
    """

    required_in_other_spellings = True
    envelope_type: type[E]
    template: ClassVar[str]
    facts: ClassVar[Sequence[Translatable]]
    closing: ClassVar[bool] = False
    """Whether `content` follows the facts. Otherwise it stands in where none is known."""

    def parse(self, body: Mapping[str, Any]) -> FlatMessage[E, D]:
        """Check the envelope and the data, which are one object."""
        return FlatMessage(self.checked(body, self.envelope_type), self.checked(body, self.data_type))

    def converted(self, body: Mapping[str, Any], form: type[S]) -> S:
        """Each text in one line, without blanks around it."""
        found = super().converted(body, form)
        for name in form.__struct_fields__:
            setattr(found, name, _in_one_line(getattr(found, name)))
        return found

    def _text(self, data: D, group_name: str, locale: str) -> Text:
        known = {name: value for name, value in self.params(data, locale).items() if value is not None}
        facts = (fact for fact in self.facts if placeholders(fact) <= known.keys())
        told = [_sentence(render(locale, fact, known)) for fact in facts]
        if self.closing or not told:
            told.append(render(locale, self.content, known))
        return Text(render(locale, self.title, known), " ".join(told))

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
        return [
            self._mail(message, locale, user_id=user_id, address=address, offered=address is None)
            for user_id, address in to
        ]

    def _mail(
        self,
        message: FlatMessage[E, D],
        locale: str,
        *,
        channel: str = EMAIL,
        address: str | None = None,
        **options: Any,
    ) -> DeliveryDraft:
        """One mail, or another message from the same template. `options` are other fields of the draft."""
        spoken = negotiate(message.envelope.locale, locale)
        data = msgspec.structs.asdict(message.data)
        return DeliveryDraft(channel, self.template, address, spoken, data, **options)


def _in_one_line(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [" ".join(each.split()) for each in value]
    return value


def _sentence(text: str) -> str:
    """The text with one mark at its end, whatever the value ends with that it ends with."""
    text = text.rstrip()
    bare = text.removesuffix(".")
    return bare if bare.endswith(_ENDS) else f"{bare}."


_ENDS = (".", "!", "?", "…")


class Recipient(FlatEnvelope, kw_only=True):
    """One person, by mail address; `user_id` where the publisher knows them as a user who has an inbox."""

    user_email: Address
    user_id: UserId | None = None


class PersonalEventHandler(FlatEventHandler[Recipient, D], Generic[D]):
    """A flat event for one person: by mail, and in the inbox too if it names the user."""

    envelope_type = Recipient

    def handle(
        self, message: FlatMessage[Recipient, D], body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        """Notify the person by mail, and in-app if the event names the user."""
        person = message.envelope
        notification = (
            self._notification(message.data, body, [person.user_id], locale) if person.user_id else None
        )
        mail = self._mail(
            message,
            locale,
            address=person.user_email,
            user_id=person.user_id,
            foreign_user_id=foreign_id(body.get("user_id")),
        )
        return Effects(notification, deliveries=[mail])


class Recipients(FlatEnvelope, kw_only=True):
    """The envelope of an event that names its receivers."""

    receivers: Receivers | None = None


class RecipientsEventHandler(FlatEventHandler[Recipients, D], Generic[D]):
    """A flat event for the users it names: in their inboxes, and by mail to the address in each profile."""

    addressed_by = (RECEIVERS,)
    offers = (EMAIL,)
    envelope_type = Recipients

    def handle(
        self, message: FlatMessage[Recipients, D], body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        """Notify the receivers in-app and by mail."""
        if not message.envelope.receivers:
            raise self.no_receivers()
        receivers = each_once(message.envelope.receivers)
        mails = self._mails(message, ((receiver, None) for receiver in receivers), locale)
        return Effects(self._notification(message.data, body, receivers, locale), deliveries=mails)
