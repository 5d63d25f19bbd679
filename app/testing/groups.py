"""Groups in memory."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from app.domain.errors import InvalidEvent, Unavailable
from app.domain.notifications import Group


class MemoryGroups:
    """`Groups` without a user service. Set `unavailable` to make every question fail."""

    def __init__(self) -> None:
        self.unavailable = False
        self.asked: list[UUID] = []
        """The groups that were asked for, but for those whose answer was cached."""
        self._groups: dict[UUID, Group] = {}
        self._cached: dict[UUID, Group] = {}

    def add(self, group_id: UUID, name: str, members: Iterable[UUID], head_chef: UUID | None = None) -> None:
        """Add a group, or replace it; a cached answer is dropped."""
        chefs = () if head_chef is None else (head_chef,)
        self._groups[group_id] = Group(name, tuple(dict.fromkeys(members)), chefs)
        self._cached.pop(group_id, None)

    def remembered(self, group_id: UUID) -> Group | None:
        """As `RememberedGroups.remembered`."""
        return self._cached.get(group_id)

    async def group(self, group_id: UUID, *, fresh: bool = False) -> Group:
        """As `Groups.group`."""
        if not fresh and (group := self.remembered(group_id)):
            return group
        self.asked.append(group_id)
        if self.unavailable:
            raise Unavailable("user service", "made unavailable by the test")
        if group_id not in self._groups:
            raise InvalidEvent("unknown_group", f"the user service knows no group {group_id}")
        self._cached[group_id] = self._groups[group_id]
        return self._cached[group_id]

    def pause(self) -> float | None:
        """As `Groups.pause`."""
        return None
