"""Limits on the REST calls of one user and of one address: their rate, and how many are in flight."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Any
from uuid import UUID

from sanic import Request, Sanic
from sanic.response import BaseHTTPResponse

from app.api.errors import too_many_requests
from app.auth.addresses import limited_address
from app.runtime.rate_limit import Quota, TokenBuckets
from app.settings.edge import HttpSettings

WINDOW_SECONDS = 10  # over which a rate is allowed
MAX_WAITING = 100  # requests of one user that wait for one to end


class _Requests:
    """Those of one user."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class RequestLimits:
    """Counts the requests of this node."""

    def __init__(self, settings: HttpSettings) -> None:
        self._max_in_flight = settings.max_in_flight
        self._wait = settings.wait
        self._of_users = _buckets(settings.rate_per_user)
        self._of_addresses = _buckets(settings.rate_per_address)
        self._users: dict[UUID, _Requests] = {}

    def check_address(self, request: Request) -> None:
        """Refuse what comes from an address over its limit, before the token is verified. Nothing is counted.
        Raises `Problem` (429).
        """
        if self._of_addresses is not None and (address := limited_address(request.client_ip)) is not None:
            _refuse(self._of_addresses, self._of_addresses.look(address), "address")

    def count_address(self, request: Request) -> None:
        """Count a request of a user, or one whose token was refused, for its address."""
        if self._of_addresses is not None and (address := limited_address(request.client_ip)) is not None:
            self._of_addresses.take(address)

    async def enter(self, request: Request, user_id: UUID) -> None:
        """Count a request of a user until it ends; wait if too many are in flight. Raises `Problem` (429)."""
        if self._of_users is not None:
            quota = self._of_users.take(user_id)
            _refuse(self._of_users, quota, "user")
            request.ctx.rate_limit = _fields(self._of_users, quota, "user")
        stream: Any = request.stream
        if hasattr(stream, "at_end"):  # not a test's, without a connection
            await self._wait_for_turn(user_id)
            stream.at_end(partial(self._leave, user_id))

    async def _wait_for_turn(self, user_id: UUID) -> None:
        requests = self._users.setdefault(user_id, _Requests())
        if requests.in_flight < self._max_in_flight:
            requests.in_flight += 1
            return
        if len(requests.waiting) >= MAX_WAITING:
            raise too_many_requests(1)
        turn = asyncio.get_running_loop().create_future()
        requests.waiting.append(turn)
        try:
            async with asyncio.timeout(self._wait):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave(user_id)
            turn.cancel()
            if isinstance(error, TimeoutError):
                raise too_many_requests(1) from None
            raise

    def _leave(self, user_id: UUID) -> None:
        requests = self._users[user_id]
        while requests.waiting:
            turn = requests.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        requests.in_flight -= 1
        if not requests.in_flight:
            del self._users[user_id]


def _buckets(rate: float) -> TokenBuckets | None:
    return TokenBuckets(rate, max(1, round(rate * WINDOW_SECONDS))) if rate else None


def _refuse(buckets: TokenBuckets, quota: Quota, policy: str) -> None:
    if quota.retry_after:
        raise too_many_requests(quota.retry_after, _fields(buckets, quota, policy))


def _fields(buckets: TokenBuckets, quota: Quota, policy: str) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers-10."""
    return {
        "RateLimit-Policy": f'"{policy}";q={buckets.burst};w={WINDOW_SECONDS}',
        "RateLimit": f'"{policy}";r={quota.remaining};t={quota.reset_seconds}',
    }


def install(app: Sanic[Any, Any]) -> None:
    """Say in each answer to a user what is left."""

    async def add(request: Request, response: BaseHTTPResponse) -> None:
        response.headers.update(getattr(request.ctx, "rate_limit", {}))

    app.register_middleware(add, "response")
