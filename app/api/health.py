"""Liveness, readiness and metrics, for operators."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from prometheus_client import CONTENT_TYPE_LATEST
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import json_answer
from app.api.routes import Routes, add_routes
from app.domain.errors import Unavailable
from app.runtime.metrics import exposition

Check = Callable[[], Awaitable[None]]
CHECK_TIMEOUT_SECONDS = 3.0


class Liveness(msgspec.Struct):
    """The process is alive; it says nothing about dependencies."""

    status: str


class DependencyState(msgspec.Struct):
    """One dependency. `error` is for callers with access to the metrics only."""

    status: Literal["up", "down"]
    latency_ms: float
    error: str | UnsetType = UNSET


class Readiness(msgspec.Struct):
    """Whether the node can serve, with each dependency."""

    status: Literal["ready", "not ready"]
    dependencies: dict[str, DependencyState]


class OperationResource:
    """The calls for operators.

    Anybody may ask whether the hub is alive and ready. Details are for those who run it (decision 020).
    """

    def __init__(self, authenticator: Authenticator, checks: Mapping[str, Check]) -> None:
        """`checks` by dependency: each raises `Unavailable` when that dependency is down."""
        self._authenticator = authenticator
        self._checks = checks
        self._checking: asyncio.Task[dict[str, DependencyState]] | None = None

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`."""
        blueprint = Routes("operation", url_prefix=prefix)
        add_routes(
            (blueprint.get("/health"), self.health),
            (blueprint.get("/ready"), self.ready),
            (blueprint.get("/metrics"), self.metrics),
        )
        return blueprint

    @schemas.described(
        "Liveness", "Checks no dependency.", {200: schemas.Answer("The hub is alive", Liveness)}
    )
    async def health(self, request: Request) -> HTTPResponse:
        """Answer while the event loop runs."""
        return json_answer(Liveness("alive"))

    @schemas.described(
        "Readiness",
        "Each dependency with its latency. Callers with access to the metrics also get the error text.",
        {
            200: schemas.Answer("Every dependency answers", Readiness),
            503: schemas.Answer("A dependency is down", Readiness),
        },
    )
    async def ready(self, request: Request) -> HTTPResponse:
        """Check each dependency; 503 if one is down."""
        detailed = await self._authenticator.is_operator(request)
        dependencies = await self._states()
        up = all(state.status == "up" for state in dependencies.values())
        if not detailed:
            dependencies = {
                name: msgspec.structs.replace(state, error=UNSET) for name, state in dependencies.items()
            }
        status = HTTPStatus.OK if up else HTTPStatus.SERVICE_UNAVAILABLE
        return json_answer(Readiness("ready" if up else "not ready", dependencies), status)

    async def _states(self) -> dict[str, DependencyState]:
        """The state of each dependency. Requests at the same time share one check: they need no token, and
        any number of them must cost the dependencies no more than one.
        """
        if self._checking is None:
            self._checking = asyncio.create_task(self._check(), name="readiness")
            self._checking.add_done_callback(self._checked)
        return await asyncio.shield(self._checking)

    async def _check(self) -> dict[str, DependencyState]:
        states = await asyncio.gather(*map(_ask, self._checks.values()))
        return dict(zip(self._checks, states, strict=True))

    def _checked(self, _: object) -> None:
        self._checking = None

    @schemas.described(
        "Metrics",
        "For Prometheus, which sends METRICS_TOKEN as a bearer token, and for services with the scope "
        "`metrics:read`.",
        {200: schemas.Answer("Prometheus' text format", str, "text/plain")},
        errors=(401, 403, 503),
    )
    async def metrics(self, request: Request) -> HTTPResponse:
        """All metrics, in the text format of Prometheus."""
        await self._authenticator.operator(request)
        return HTTPResponse(exposition(), 200, content_type=CONTENT_TYPE_LATEST)


async def _ask(check: Check) -> DependencyState:
    start = perf_counter()
    error = None
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await check()
    except Unavailable as problem:
        error = str(problem)
    except TimeoutError:
        error = f"no answer within {CHECK_TIMEOUT_SECONDS:g} s"
    latency = round((perf_counter() - start) * 1000, 2)
    if error is None:
        return DependencyState("up", latency)
    return DependencyState("down", latency, error)
