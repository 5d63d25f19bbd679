"""The client of the user service: members and names of groups."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from cachetools import TTLCache

from app.domain.errors import InvalidEvent, Unavailable
from app.domain.notifications import MAX_GROUP_NAME_CHARS, Group
from app.domain.user_ids import UUIDS_ONLY, UserIds
from app.runtime.backoff import Backoff
from app.runtime.breaker import Breaker, BreakerState, Call
from app.runtime.http_client import HttpAnswer, HttpClient, HttpClientError
from app.runtime.metrics import USER_SERVICE_CALLS, USER_SERVICE_CIRCUIT
from app.runtime.tasks import end
from app.settings.services import UserServiceSettings
from app.texts.shortening import shortened

log = logging.getLogger("hub.user_service")

PATH = "/api/v1/user-service/groups/internal/{group_id}/members"
HEAD_CHEF = "head_chef"
MAX_CACHED_GROUPS = 10_000
MAX_CONCURRENT_CALLS = 16
MAX_ANSWER_BYTES = 16 * 1024 * 1024  # 10,000 members, the most of one event, with 1.6 KB of profile each
LARGE_ANSWER_BYTES = 32 * 1024  # bytes; decoding more, up to about 0.1 s, would block the event loop
MAX_PATIENCE_SECONDS = 15.0  # for one call, while answers take longer than the configured time limit
MAX_FAILURES = 5  # consecutive failures that open the circuit; those caused by one group's data count once
BACKOFF = Backoff(first=1.0, cap=5.0)  # the maximum delay until its return is detected
_OVERLOADED = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
"""Statuses that mean the service is down or overloaded, independent of the group."""
_UNREADABLE = (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


_Id = str | int | None


class _User(msgspec.Struct):
    user_id: _Id = None
    id: _Id = None


class _Member(msgspec.Struct):
    user_id: _Id = None
    userId: _Id = None  # noqa: N815 - as it is met
    user: _User | None = None
    role: Any = None

    def id(self, user_ids: UserIds) -> UUID:
        user = self.user or _User()
        given = (self.user_id, self.userId, user.user_id, user.id)
        found = user_ids.read(next((each for each in given if each not in (None, "")), None))
        if found is None:
            raise ValueError("a member's id is invalid")
        return found


class _Data(msgspec.Struct):
    group_name: str
    members: list[_Member] | None = None
    group_memberships: list[_Member] | None = None


class _Answer(msgspec.Struct):
    """The part of an answer that is decoded; profiles, which are most of it, are skipped."""

    data: _Data


_answer = msgspec.json.Decoder(_Answer)


class _BadAnswer(Unavailable):
    """The service answers, but the answer is not valid for this group."""

    def __init__(self, why: str) -> None:
        super().__init__("user service", why)


class UserService:
    """Reads groups: one call at a time for each group, with limits of time and size; answers are cached
    briefly.

    While the service keeps failing, a circuit breaker limits calls (`app.runtime.breaker`); others fail at
    once. If a test call times out, the next one has twice the time limit, so that a slow service, or a slow
    node, can still close the circuit.
    """

    def __init__(
        self,
        settings: UserServiceSettings,
        max_cached_groups: int = MAX_CACHED_GROUPS,
        user_ids: UserIds = UUIDS_ONLY,
    ) -> None:
        """Above `max_cached_groups`, the least recently used groups are evicted. `user_ids` parses the ids of
        members.
        """
        self._user_ids = user_ids
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        self._client = HttpClient(settings.url, headers, MAX_ANSWER_BYTES)
        self._timeout = self._patience = settings.timeout
        now = lambda: monotonic()  # noqa: E731, PLW0108 - the name is looked up at each call: tests replace it
        self._cache: TTLCache[UUID, Group] = TTLCache(max_cached_groups, settings.cache, now)
        self._asking: dict[UUID, asyncio.Task[Group]] = {}
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
        self._breaker = Breaker(MAX_FAILURES, BACKOFF)
        self._faulty: set[UUID] = set()
        """Groups whose calls failed although the service answers, since its last valid answer."""

    async def close(self) -> None:
        """Cancel the calls in progress and close the connections."""
        await end(*self._asking.values())
        self._client.close()

    def remembered(self, group_id: UUID) -> Group | None:
        """Return the group if it is in the cache."""
        return self._cache.get(group_id)

    async def group(self, group_id: UUID, *, fresh: bool = False) -> Group:
        """The group, from the cache unless `fresh`. Concurrent calls for a group share one request.

        Raises `InvalidEvent` (unknown_group, group_too_large) if the group does not exist or is too large to
        notify, and `Unavailable` if the service does not answer in time or not as its contract says.
        """
        if not fresh and (group := self.remembered(group_id)):
            return group
        task = self._asking.get(group_id)
        if task is None:
            task = self._asking[group_id] = asyncio.create_task(self._ask(group_id))
            task.add_done_callback(lambda _: self._asking.pop(group_id, None))
        return await asyncio.shield(task)

    def pause(self) -> float | None:
        """None while the circuit is closed; otherwise the seconds until a test call is allowed."""
        return self._breaker.pause(monotonic())

    async def _ask(self, group_id: UUID) -> Group:
        async with self._slots:
            answer = await self._guarded(group_id)
        if answer.status == HTTPStatus.NOT_FOUND and _is_json(answer.body):  # not a proxy's, for any path
            raise InvalidEvent("unknown_group", f"the user service knows no group {group_id}")
        if answer.status != HTTPStatus.OK:
            raise _unavailable(f"answered {answer.status}")
        large = len(answer.body) > LARGE_ANSWER_BYTES
        read = partial(read_group, user_ids=self._user_ids) if self._user_ids.mapped else read_group
        group = await asyncio.to_thread(read, answer.body) if large else read(answer.body)
        self._cache[group_id] = group
        return group

    async def _guarded(self, group_id: UUID) -> HttpAnswer:
        """The answer. Raises `Unavailable` if the circuit is open or the service does not answer."""
        began = monotonic()
        tries = self._breaker.state(began) is BreakerState.HALF_OPEN
        call = self._breaker.begin(began)
        self._show()
        if call is None:
            USER_SERVICE_CALLS.labels("not_made").inc()
            raise Unavailable("user service", "not called, because it keeps failing", asked=False)
        try:
            async with asyncio.timeout(self._patience):
                answer = await self._get(group_id)
        except (HttpClientError, TimeoutError) as error:
            if tries and isinstance(error, TimeoutError):
                self._patience = min(2 * self._patience, max(MAX_PATIENCE_SECONDS, self._timeout))
            self._failed(call, why := f"no answer ({error or type(error).__name__})")
            raise _unavailable(why) from None
        except (_BadAnswer, InvalidEvent):
            self._answered(call, began)
            raise
        except BaseException:
            self._breaker.abandoned(call)
            raise
        if answer.status in _OVERLOADED:
            self._failed(call, f"answered {answer.status}")
        elif answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._failed(call, f"answered {answer.status}", group_id)
        else:
            self._answered(call, began)
        return answer

    def _answered(self, call: Call, began: float) -> None:
        took = monotonic() - began
        self._patience = max(self._timeout, min(2 * took, MAX_PATIENCE_SECONDS))
        USER_SERVICE_CALLS.labels("answered").inc()
        self._faulty.clear()
        self._breaker.succeeded(call)
        self._show()

    def _failed(self, call: Call, why: str, group_id: UUID | None = None) -> None:
        """If that group may be the cause, pass `group_id`: it counts as one failure, however often it is
        called.
        """
        USER_SERVICE_CALLS.labels("failed").inc()
        if group_id is not None and group_id in self._faulty:
            self._breaker.abandoned(call)
        else:
            self._faulty.update(() if group_id is None else (group_id,))
            self._breaker.failed(call, monotonic())
        log.warning("user_service_failed", extra={"why": why, "circuit": self._show().name.lower()})

    def _show(self) -> BreakerState:
        state = self._breaker.state(monotonic())
        USER_SERVICE_CIRCUIT.set(state)
        return state

    async def _get(self, group_id: UUID) -> HttpAnswer:
        """One call, with a limit on the answer's size. Compressed answers are refused, because a small one
        may decompress to a huge one.
        """
        answer = await self._client.get(PATH.format(group_id=group_id))
        if answer.headers.get(b"content-encoding", b"identity") != b"identity":
            raise _BadAnswer("answered in a content encoding that was not requested")
        if len(answer.body) > MAX_ANSWER_BYTES:
            too_large = f"more than {MAX_ANSWER_BYTES} bytes"
            if answer.status != HTTPStatus.OK:
                raise _BadAnswer(f"answered {answer.status} with {too_large}")
            raise InvalidEvent("group_too_large", f"the user service lists group {group_id} in {too_large}")
        return answer


def read_group(answer: bytes | bytearray, user_ids: UserIds = UUIDS_ONLY) -> Group:
    """Parse an answer in any of its known forms. Raises `Unavailable` for any other form."""
    try:
        data = _answer.decode(answer).data
        listed = data.group_memberships if data.members is None else data.members
        if listed is None:
            raise ValueError("the answer has no list of members")
        members = tuple(dict.fromkeys(member.id(user_ids) for member in listed))
        chefs = tuple(dict.fromkeys(member.id(user_ids) for member in listed if member.role == HEAD_CHEF))
        if not data.group_name or "\0" in data.group_name:
            raise ValueError("group_name is not a string that can be stored")
        return Group(shortened(data.group_name, MAX_GROUP_NAME_CHARS), members, chefs)
    except _UNREADABLE as error:
        raise _unavailable(f"answered in an unknown form ({type(error).__name__})") from None


def _is_json(body: bytearray) -> bool:
    try:
        msgspec.json.decode(body)
    except _UNREADABLE:
        return False
    return True


def _unavailable(why: str) -> Unavailable:
    return Unavailable("user service", why)
