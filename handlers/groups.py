"""Who joins and leaves a group, and who leads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from app.domain import exact_json
from app.domain.effects import Effects, Text
from app.domain.notifications import MAX_TITLE_CHARS, Group, PersonalText
from app.domain.user_ids import UUIDS_ONLY, UserIds
from app.texts.i18n import LOCALES, N_, render
from app.texts.shortening import shortened
from handlers.base import Audience, GroupData, GroupEventHandler, GroupMessage, data_of, named
from handlers.fields import Name, each_once


class ByRequester(GroupData, kw_only=True):
    """A change of a group, and who made it."""

    requester_username: Name


class GroupUserAdded(GroupEventHandler[ByRequester]):
    """Someone was added to a group."""

    event_type = "group_user_added"
    category = "groups"
    icon = "users"
    actor_field = "requester_username"
    data_type = ByRequester
    title = N_("Welcome to the group %(group_name)s!")
    content = N_(
        "%(requester_username)s added you to the group %(group_name)s. Start planning your meals right away!"
    )


class GroupUserRemoved(GroupEventHandler[ByRequester]):
    """Someone was removed from a group."""

    event_type = "group_user_removed"
    category = "groups"
    icon = "users"
    actor_field = "requester_username"
    data_type = ByRequester
    title = N_("You are no longer in the group %(group_name)s")
    content = N_("%(requester_username)s removed you from the group %(group_name)s.")


class LeftMessage(GroupMessage[GroupData], kw_only=True):
    """With the member who left, if the event names one. It isn't read from a field of this name."""

    leaver: UUID | None = None


class GroupUserLeft(GroupEventHandler[GroupData]):
    """A member left. Who that was reads other texts than the rest of the group, if notified at all.

    The event may name the leaver. Where it doesn't, and has one receiver, that is the leaver if the user
    service no longer lists them; while it doesn't answer, the texts are those of a member.
    """

    event_type = "group_user_left"
    category = "groups"
    icon = "users"
    data_type = GroupData
    audience = Audience.GROUP
    title = N_("A member left the group %(group_name)s")
    content = N_("A member has just left the group %(group_name)s.")
    own_title = N_("You left the group %(group_name)s")
    own_content = N_("You left the group %(group_name)s and will no longer receive its notifications.")

    def parse(self, body: Mapping[str, Any]) -> LeftMessage:
        """Check the message, and find the member who left."""
        message = super().parse(body)
        leaver = leaver_of(data_of(body), body, user_ids=self.user_ids)
        return LeftMessage(**msgspec.structs.asdict(message), leaver=leaver)

    def group_needed(self, message: GroupMessage[GroupData]) -> UUID | None:
        """The group, also if the only receiver may be the member who left."""
        needed = super().group_needed(message)
        return message.group_id if _only_receiver(message) else needed

    def needs_fresh_group(self, message: GroupMessage[GroupData]) -> bool:
        """Whether the answer must be newer than the event: it decides who left, or who stays."""
        return _leaver(message) is None and (not message.receivers or _only_receiver(message) is not None)

    def can_do_without_group(self, message: GroupMessage[GroupData]) -> bool:
        """Whether the event has receivers and a group name."""
        return bool(message.receivers and named(message.data))

    def handle(
        self, message: GroupMessage[GroupData], body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        """Notify the receivers, else the group without the member who left, whose text is another."""
        draft = super().handle(message, body, group, locale).notification
        assert draft is not None
        leaver = _leaver(message)
        if not message.receivers:
            staying = [each for each in draft.receivers if each != leaver]
            return Effects(msgspec.structs.replace(draft, receivers=staying) if staying else None)
        if group is not None and (only := _only_receiver(message)) and only not in group.members:
            leaver = only
        if leaver is None or leaver not in draft.receivers:
            return Effects(draft)
        own = PersonalText(leaver, *self._own_text(draft.group_name or "", locale))
        return Effects(msgspec.structs.replace(draft, personal=own))

    def text(
        self, raw_data: bytes, group_name: str, locale: str, receiver: UUID | None = None, title: str = ""
    ) -> Text:
        """As `NotificationHandler.text`; the member who left gets another text."""
        text = super().text(raw_data, group_name, locale)
        named = receiver is not None and leaver_of(exact_json.decode(raw_data)) == receiver
        return self._own_text(group_name, locale) if named or title.startswith(_own_titles()) else text

    def _receivers(self, message: GroupMessage[GroupData], group: Group | None) -> Sequence[UUID]:
        everyone_left = group is not None and not group.members and not message.receivers
        if everyone_left and self._audience(message) is Audience.GROUP:
            return ()
        return super()._receivers(message, group)

    def _own_text(self, group_name: str, locale: str) -> Text:
        params = {"group_name": group_name}
        title = shortened(render(locale, self.own_title, params), MAX_TITLE_CHARS)
        return Text(title, render(locale, self.own_content, params))


@cache
def _own_titles() -> tuple[str, ...]:
    """How the leaver's title begins, in each language: the group's name follows, and may be cut."""
    return tuple(
        render(locale, GroupUserLeft.own_title, {"group_name": "\0"}).partition("\0")[0] for locale in LOCALES
    )


def leaver_of(*places: Mapping[str, Any], user_ids: UserIds = UUIDS_ONLY) -> UUID | None:
    """The id of the member who left, in any of the spellings it is met in; None where no usable one is."""
    for names in LEAVER_FIELDS:
        for place in places:
            for name in names:
                if (found := _user_id(place.get(name), user_ids)) is not None:
                    return found
    return None


LEAVER_FIELDS = (
    ("leaver_id", "leaverId", "leaver"),
    ("user_id", "userId", "user"),
    ("requester_id", "requesterId", "requester"),
)
"""The first that is given decides: who asked may be another than who left."""


def _user_id(value: object, user_ids: UserIds, depth: int = 2) -> UUID | None:
    """The id of a user, or in an object as the user service nests it."""
    if not isinstance(value, dict):
        return user_ids.read(value)
    names = ("user_id", "userId", "id", "user") if depth else ()
    found = (_user_id(value.get(name), user_ids, depth - 1) for name in names)
    return next((each for each in found if each is not None), None)


def _leaver(message: GroupMessage[GroupData]) -> UUID | None:
    return message.leaver if isinstance(message, LeftMessage) else None


def _only_receiver(message: GroupMessage[GroupData]) -> UUID | None:
    """The receiver of an event that has one, and doesn't say who left."""
    receivers = each_once(message.receivers or ())
    return receivers[0] if len(receivers) == 1 and _leaver(message) is None else None


class NewHeadChef(ByRequester, kw_only=True):
    """The new head chef of a group."""

    new_head_chef_username: Name


class GroupHeadChefUpdated(GroupEventHandler[NewHeadChef]):
    """A group has a new head chef."""

    event_type = "group_head_chef_updated"
    category = "groups"
    icon = "users"
    actor_field = "requester_username"
    data_type = NewHeadChef
    audience = Audience.GROUP
    title = N_("The group %(group_name)s has a new head chef")
    content = N_(
        "%(requester_username)s made %(new_head_chef_username)s head chef of the group %(group_name)s."
    )
