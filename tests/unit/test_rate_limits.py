"""Rate limits of REST: token buckets, requests in flight, bytes of bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from app.api.errors import Problem
from app.api.limits import MAX_WAITING, WINDOW_SECONDS, RequestLimits
from app.runtime import rate_limit
from app.runtime.rate_limit import ByteBudget, Quota, TokenBuckets
from app.settings.edge import HttpSettings


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock."""
    now = [1000.0]
    monkeypatch.setattr(rate_limit, "monotonic", lambda: now[0])

    def set_clock(seconds: float) -> None:
        now[0] = 1000.0 + seconds

    return set_clock


def test_a_bucket_allows_a_burst_and_then_its_rate(at: Callable[[float], None]) -> None:
    buckets = TokenBuckets(2, 4)
    assert [buckets.take("a").remaining for _ in range(4)] == [3, 2, 1, 0]
    assert buckets.take("a") == buckets.look("a") == Quota(0, 2, 1)
    assert buckets.take("b") == Quota(3, 1, 0), "each key has its own"
    at(0.5)
    assert buckets.take("a") == Quota(0, 2, 0)
    assert buckets.take("a").retry_after == 1
    at(60)
    assert buckets.look("a") == buckets.take("a") == Quota(3, 1, 0)


@pytest.mark.parametrize(
    ("rate", "burst", "retry_after"), [(0.1, 1, 10), (0.3, 3, 4), (50, 500, 1), (7, 70, 1)]
)
def test_a_retry_after_what_was_said_is_allowed(
    at: Callable[[float], None], rate: float, burst: int, retry_after: int
) -> None:
    buckets = TokenBuckets(rate, burst)
    assert not any(buckets.take("a").retry_after for _ in range(burst))
    assert buckets.take("a").retry_after == retry_after
    at(retry_after)
    assert not buckets.take("a").retry_after


def test_buckets_that_are_full_are_forgotten_first(at: Callable[[float], None]) -> None:
    buckets = TokenBuckets(1, 10, max_keys=2)
    buckets.take("full by then")
    at(5)
    for key in ("a", "b", "b"):
        buckets.take(key)
    assert buckets.look("a").remaining == 8
    for key in ("c", "d"):
        buckets.take(key)
    assert buckets.look("a").remaining == 9
    assert buckets.look("d").remaining == 8


def test_a_budget_is_shared() -> None:
    budget = ByteBudget(10)
    assert [budget.take(size) for size in (6, 5, 4, 1)] == [True, False, True, False]
    budget.give_back(6)
    assert budget.take(6)


class Requests:
    """Requests of one user, each of which goes on until it is ended."""

    def __init__(self, **settings: Any) -> None:
        self.limits = RequestLimits(HttpSettings.model_construct(**(HttpSettings().model_dump() | settings)))
        self.user = uuid4()

    def request(self, address: str = "192.0.2.1") -> Any:
        ends: list[Callable[[], None]] = []
        return SimpleNamespace(
            client_ip=address, ctx=SimpleNamespace(), stream=SimpleNamespace(at_end=ends.append, ends=ends)
        )

    async def enter(self) -> Any:
        request = self.request()
        await self.limits.enter(request, self.user)
        return request


def end(request: Any) -> None:
    (call,) = request.stream.ends
    call()


async def test_requests_of_one_user_wait_for_each_other() -> None:
    requests = Requests(max_in_flight=2)
    first, _ = await requests.enter(), await requests.enter()
    third, fourth = (asyncio.create_task(requests.enter()) for _ in range(2))
    await asyncio.sleep(0)
    await requests.limits.enter(requests.request(), uuid4())  # another user doesn't
    third.cancel()
    await asyncio.sleep(0)
    assert not fourth.done()
    end(first)
    last = asyncio.create_task(requests.enter())
    end(await fourth)
    end(await last)
    end(await requests.enter())


async def test_a_turn_that_comes_as_the_request_is_cancelled_goes_on() -> None:
    requests = Requests(max_in_flight=1)
    first = await requests.enter()
    second, third = (asyncio.create_task(requests.enter()) for _ in range(2))
    await asyncio.sleep(0)
    end(first)
    second.cancel()
    await asyncio.wait_for(third, 1)


async def test_who_waits_too_long_or_with_too_many_gets_429() -> None:
    requests = Requests(max_in_flight=1, wait=0.01)
    first = await requests.enter()
    waiting = [asyncio.create_task(requests.enter()) for _ in range(MAX_WAITING + 1)]
    for problem in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(problem, Problem)
        assert (problem.status, problem.code, problem.headers["Retry-After"]) == (
            429,
            "too_many_requests",
            "1",
        )
    end(first)
    await requests.enter()


async def test_a_user_over_the_rate_gets_429_with_the_fields_of_the_draft() -> None:
    requests = Requests(rate_per_user=0.2, max_in_flight=100)
    first = await requests.enter()
    assert first.ctx.rate_limit == {"RateLimit-Policy": '"user";q=2;w=10', "RateLimit": '"user";r=1;t=5'}
    await requests.enter()
    with pytest.raises(Problem) as refused:
        await requests.enter()
    assert refused.value.headers == {
        "RateLimit-Policy": f'"user";q=2;w={WINDOW_SECONDS}',
        "RateLimit": '"user";r=0;t=10',
        "Retry-After": "5",
    }
    unlimited = Requests(rate_per_user=0, max_in_flight=1000)
    for _ in range(600):
        await unlimited.enter()


def test_an_address_over_the_rate_gets_429_before_its_token_is_verified() -> None:
    requests = Requests(rate_per_address=0.2)
    request, same, other = map(requests.request, ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"))
    for _ in range(2):
        requests.limits.check_address(request)
        requests.limits.count_address(same)
    with pytest.raises(Problem) as refused:
        requests.limits.check_address(request)
    assert refused.value.status == 429
    assert '"address"' in refused.value.headers["RateLimit"]
    requests.limits.check_address(other)
    for _ in range(1000):
        requests.limits.count_address(requests.request("127.0.0.1"))
    requests.limits.check_address(requests.request("127.0.0.1"))
