"""The user service: who is in a group, and what it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any
from uuid import UUID

import httpx
import msgspec

from app.errors import InvalidEvent, Unavailable
from app.notifications import Group
from app.settings import Settings

PATH = "/api/v1/user-service/groups/internal/{group_id}/members"
HEAD_CHEF = "head_chef"
MAX_CACHED = 10_000
CALLS_AT_ONCE = 16
_UNREADABLE = (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


class UserService:
    """Asks for groups: one call at a time for a group, each bounded in time, answers remembered briefly."""

    def __init__(self, settings: Settings) -> None:
        self._client = httpx.AsyncClient(
            base_url=settings.user_service_url.rstrip("/"), timeout=settings.user_service_timeout
        )
        self._timeout = settings.user_service_timeout
        self._keep = settings.user_service_cache
        self._known: dict[UUID, tuple[float, Group]] = {}
        self._asking: dict[UUID, asyncio.Task[Group]] = {}
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)

    async def close(self) -> None:
        for task in self._asking.values():
            task.cancel()
        await self._client.aclose()

    def remembered(self, group_id: UUID) -> Group | None:
        """The group if it was asked for a moment ago."""
        known = self._known.get(group_id)
        return known[1] if known and monotonic() - known[0] < self._keep else None

    async def group(self, group_id: UUID) -> Group:
        """The group.

        Raises `InvalidEvent` (unknown_group) when the user service knows no such group, `Unavailable` when it
        doesn't answer in time, or not in its contract's words.
        """
        if group := self.remembered(group_id):
            return group
        task = self._asking.get(group_id)
        if task is None:
            task = self._asking[group_id] = asyncio.create_task(self._ask(group_id))
            task.add_done_callback(lambda _: self._asking.pop(group_id, None))
        return await asyncio.shield(task)

    async def _ask(self, group_id: UUID) -> Group:
        async with self._slots:
            try:
                async with asyncio.timeout(self._timeout):
                    response = await self._client.get(PATH.format(group_id=group_id))
            except (httpx.HTTPError, TimeoutError) as error:
                raise Unavailable("user service", f"no answer ({type(error).__name__})") from None
        if response.status_code == 404:
            raise InvalidEvent("unknown_group", f"the user service knows no group {group_id}")
        if response.status_code != 200:
            raise Unavailable("user service", f"answered {response.status_code}")
        group = read_group(response.content)
        if len(self._known) >= MAX_CACHED:
            self._known.clear()
        self._known[group_id] = (monotonic(), group)
        return group


def read_group(answer: bytes) -> Group:
    """Read the user service's answer in any of the spellings it is met in (DESIGN, Contracts: events).

    Raises `Unavailable` when it is none of them.
    """
    try:
        data = msgspec.json.decode(answer)["data"]
        listed = data["members"] if "members" in data else data["group_memberships"]
        members = tuple(dict.fromkeys(_member_id(member) for member in listed))
        chefs = tuple(dict.fromkeys(_member_id(m) for m in listed if m.get("role") == HEAD_CHEF))
        name = data["group_name"]
        if not isinstance(name, str) or not name:
            raise ValueError("group_name is not a text")
        return Group(name, members, chefs)
    except _UNREADABLE as error:
        raise Unavailable("user service", f"answered in no known form ({type(error).__name__})") from None


def _member_id(member: Mapping[str, Any]) -> UUID:
    user = member.get("user") or {}
    found = member.get("user_id") or member.get("userId") or user.get("user_id") or user.get("id")
    return UUID(found)
