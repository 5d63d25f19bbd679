"""The user service: who is in a group, and what it is called."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import msgspec
from cachetools import TTLCache

from app.domain.errors import InvalidEvent, Unavailable
from app.domain.notifications import Group
from app.runtime.backoff import Backoff
from app.runtime.breaker import Breaker, BreakerState, Call
from app.runtime.metrics import USER_SERVICE_CALLS, USER_SERVICE_CIRCUIT
from app.runtime.tasks import end
from app.settings.services import UserServiceSettings

log = logging.getLogger("hub.user_service")

PATH = "/api/v1/user-service/groups/internal/{group_id}/members"
HEAD_CHEF = "head_chef"
MAX_CACHED_GROUPS = 10_000
MAX_CONCURRENT_CALLS = 16
MAX_ANSWER_BYTES = 1024 * 1024  # some 14,000 members
LARGE_ANSWER_BYTES = 32 * 1024  # bytes; decoding more, up to about 0.1 s, would block the event loop
MAX_GROUP_NAME_CHARS = 500  # characters, as in events
MAX_FAILURES = 5  # in a row, until it is no longer asked
BACKOFF = Backoff(first=1.0, cap=5.0)  # so late is its return noticed
_OVERLOADED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_UNREADABLE = (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


class GroupAnswer(NamedTuple):
    status: int
    body: bytes


class UserService:
    """Asks for groups: one call at a time for a group, bounded in time and size; answers are kept briefly.

    While the service keeps failing it is asked only now and then (`app.runtime.breaker`); calls in between
    fail at once.
    """

    def __init__(self, settings: UserServiceSettings, max_cached_groups: int = MAX_CACHED_GROUPS) -> None:
        """When more than `max_cached_groups` are cached, those that were asked for least recently go."""
        self._client = httpx.AsyncClient(
            base_url=settings.url.rstrip("/"),
            timeout=settings.timeout,
            headers={"accept": "application/json", "accept-encoding": "identity"},
        )
        self._timeout = settings.timeout
        now = lambda: monotonic()  # noqa: E731, PLW0108 - the name is looked up at each call: tests replace it
        self._cache: TTLCache[UUID, Group] = TTLCache(max_cached_groups, settings.cache, now)
        self._asking: dict[UUID, asyncio.Task[Group]] = {}
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
        self._breaker = Breaker(MAX_FAILURES, BACKOFF)

    async def close(self) -> None:
        await end(*self._asking.values())
        await self._client.aclose()

    def remembered(self, group_id: UUID) -> Group | None:
        """Return the group if it is in the cache."""
        return self._cache.get(group_id)

    async def group(self, group_id: UUID, *, fresh: bool = False) -> Group:
        """The group, from the cache unless `fresh`; a call that is already under way is shared.

        Raises `InvalidEvent` (unknown_group) when the user service knows no such group, `Unavailable` when it
        doesn't answer in time, or not in its contract's words.
        """
        if not fresh and (group := self.remembered(group_id)):
            return group
        task = self._asking.get(group_id)
        if task is None:
            task = self._asking[group_id] = asyncio.create_task(self._ask(group_id))
            task.add_done_callback(lambda _: self._asking.pop(group_id, None))
        return await asyncio.shield(task)

    async def _ask(self, group_id: UUID) -> Group:
        async with self._slots:
            answer = await self._guarded(group_id)
        if answer.status == HTTPStatus.NOT_FOUND and _is_json(answer.body):  # not a proxy's, for any path
            raise InvalidEvent("unknown_group", f"the user service knows no group {group_id}")
        if answer.status != HTTPStatus.OK:
            raise _unavailable(f"answered {answer.status}")
        large = len(answer.body) > LARGE_ANSWER_BYTES
        group = await asyncio.to_thread(read_group, answer.body) if large else read_group(answer.body)
        self._cache[group_id] = group
        return group

    async def _guarded(self, group_id: UUID) -> GroupAnswer:
        """The answer, if the breaker lets us ask and the service does answer; else `Unavailable`."""
        call = self._breaker.begin(monotonic())
        self._show()
        if call is None:
            USER_SERVICE_CALLS.labels("not_made").inc()
            raise _unavailable("not asked, as it keeps failing")
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._get(PATH.format(group_id=group_id))
        except (httpx.HTTPError, TimeoutError) as error:
            self._failed(call, why := f"no answer ({type(error).__name__})")
            raise _unavailable(why) from None
        except Unavailable as error:
            self._failed(call, str(error))
            raise
        except BaseException:
            self._breaker.abandoned(call)
            raise
        if answer.status in _OVERLOADED or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._failed(call, f"answered {answer.status}")
        else:
            USER_SERVICE_CALLS.labels("answered").inc()
            self._breaker.succeeded(call)
        self._show()
        return answer

    def _failed(self, call: Call, why: str) -> None:
        USER_SERVICE_CALLS.labels("failed").inc()
        self._breaker.failed(call, monotonic())
        log.warning("user_service_failed", extra={"why": why, "circuit": self._show().name.lower()})

    def _show(self) -> BreakerState:
        state = self._breaker.state(monotonic())
        USER_SERVICE_CIRCUIT.set(state)
        return state

    async def _get(self, path: str) -> GroupAnswer:
        """One call. Reads no more than a group can need, and unpacks nothing: a small answer may unpack to a
        huge one.
        """
        async with self._client.stream("GET", path) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _unavailable("answered in an encoding that it wasn't asked for")
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise _unavailable(f"answered with more than {MAX_ANSWER_BYTES} bytes")
        return GroupAnswer(response.status_code, bytes(body))


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
        if not isinstance(name, str) or not 0 < len(name) <= MAX_GROUP_NAME_CHARS or "\0" in name:
            raise ValueError("group_name is no text that can be kept")
        return Group(name, members, chefs)
    except _UNREADABLE as error:
        raise _unavailable(f"answered in no known form ({type(error).__name__})") from None


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except _UNREADABLE:
        return False
    return True


def _unavailable(why: str) -> Unavailable:
    return Unavailable("user service", why)


def _member_id(member: Mapping[str, Any]) -> UUID:
    user = member.get("user") or {}
    found = member.get("user_id") or member.get("userId") or user.get("user_id") or user.get("id")
    return UUID(found)
