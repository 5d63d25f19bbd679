"""Readiness: what callers are shown of it, and what many of them cost."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sanic import Request

from app.api.auth import Authenticator
from app.api.health import OperationResource
from app.domain.errors import Unavailable

REQUEST = cast(Request, SimpleNamespace())


class Dependency:
    """Is down, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()

    async def check(self) -> None:
        self.asked += 1
        await self.answers.wait()
        raise Unavailable("postgres", "connection refused")


def resource(dependency: Dependency, *, operator: bool = False) -> OperationResource:
    async def is_operator(request: Request) -> bool:
        return operator

    authenticator = cast(Authenticator, SimpleNamespace(is_operator=is_operator))
    return OperationResource(authenticator, {"postgres": dependency.check})


async def test_requests_at_the_same_time_share_one_check() -> None:
    """They need no token: 800 of them delayed all other requests by over a second."""
    dependency = Dependency()
    operation = resource(dependency)
    asking = [asyncio.ensure_future(operation.ready(REQUEST)) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()  # its client has gone; the others still get the answer
    dependency.answers.set()
    answers: list[Any] = await asyncio.gather(*asking[1:])
    assert {answer.status for answer in answers} == {503}
    assert dependency.asked == 1
    await operation.ready(REQUEST)
    assert dependency.asked == 2


@pytest.mark.parametrize("operator", [True, False])
async def test_why_a_dependency_is_down_is_for_operators(*, operator: bool) -> None:
    dependency = Dependency()
    dependency.answers.set()
    answer = await resource(dependency, operator=operator).ready(REQUEST)
    state = json.loads(answer.body or b"")["dependencies"]["postgres"]
    assert (state["status"], "connection refused" in state.get("error", "")) == ("down", operator)
