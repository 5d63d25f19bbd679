"""Who joins and leaves a group, and who leads it."""

from __future__ import annotations

from app.texts.i18n import N_
from handlers.base import Audience, GroupData, GroupEventHandler
from handlers.fields import Name


class ByRequester(GroupData, kw_only=True):
    requester_username: Name


class GroupUserAdded(GroupEventHandler[ByRequester]):
    event_type = "group_user_added"
    category = "groups"
    data_type = ByRequester
    title = N_("Welcome to the group %(group_name)s!")
    content = N_(
        "%(requester_username)s added you to the group %(group_name)s. Start planning your meals right away!"
    )


class GroupUserRemoved(GroupEventHandler[ByRequester]):
    event_type = "group_user_removed"
    category = "groups"
    data_type = ByRequester
    title = N_("You are no longer in the group %(group_name)s")
    content = N_("%(requester_username)s removed you from the group %(group_name)s.")


class GroupUserLeft(GroupEventHandler[GroupData]):
    event_type = "group_user_left"
    category = "groups"
    data_type = GroupData
    title = N_("A member left the group %(group_name)s")
    content = N_("A member has just left the group %(group_name)s.")


class NewHeadChef(ByRequester, kw_only=True):
    new_head_chef_username: Name


class GroupHeadChefUpdated(GroupEventHandler[NewHeadChef]):
    event_type = "group_head_chef_updated"
    category = "groups"
    data_type = NewHeadChef
    audience = Audience.GROUP
    title = N_("The group %(group_name)s has a new head chef")
    content = N_(
        "%(requester_username)s made %(new_head_chef_username)s head chef of the group %(group_name)s."
    )
