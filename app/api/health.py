"""For those who run the hub: alive, ready, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from time import perf_counter

from prometheus_client import CONTENT_TYPE_LATEST
from sanic import Blueprint, HTTPResponse, Request, json

from app.api import schemas
from app.api.auth import Authenticator
from app.domain.errors import Unavailable
from app.runtime.metrics import exposition

Check = Callable[[], Awaitable[None]]
CHECK_TIMEOUT_SECONDS = 3.0  # seconds


def make_blueprint(prefix: str, authenticator: Authenticator, checks: Mapping[str, Check]) -> Blueprint:
    """`checks` by dependency: each raises `Unavailable` when that one is down.

    Anybody may ask whether the hub is alive and ready. How it is, and what exactly is wrong, is for those who
    run it (docs/decisions/020).
    """
    blueprint = Blueprint("operation", url_prefix=prefix)

    @blueprint.get("/health")
    @schemas.described("Is the hub alive", "Asks no dependency.", {200: schemas.ALIVE})
    async def health(request: Request) -> HTTPResponse:
        return json({"status": "alive"})

    @blueprint.get("/ready")
    @schemas.described(
        "Can the hub work",
        "Each dependency with its latency; for those who may read the metrics, also what is wrong with it.",
        {200: schemas.READY, 503: schemas.NOT_READY},
    )
    async def ready(request: Request) -> HTTPResponse:
        in_words = await authenticator.is_operator(request)
        answers = await asyncio.gather(*(_ask(check, in_words) for check in checks.values()))
        dependencies = dict(zip(checks, answers, strict=True))
        up = all(answer["status"] == "up" for answer in answers)
        status = HTTPStatus.OK if up else HTTPStatus.SERVICE_UNAVAILABLE
        return json({"status": "ready" if up else "not ready", "dependencies": dependencies}, status)

    @blueprint.get("/metrics")
    @schemas.described(
        "Metrics",
        "For Prometheus, which sends METRICS_TOKEN as a bearer token, and for services with the scope "
        "`metrics:read`.",
        {200: schemas.METRICS},
        errors=(401, 403, 503),
    )
    async def metrics(request: Request) -> HTTPResponse:
        await authenticator.operator(request)
        return HTTPResponse(exposition(), 200, content_type=CONTENT_TYPE_LATEST)

    return blueprint


async def _ask(check: Check, in_words: bool) -> dict[str, object]:
    start = perf_counter()
    error = None
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await check()
    except Unavailable as problem:
        error = str(problem)
    except TimeoutError:
        error = f"no answer in {CHECK_TIMEOUT_SECONDS:g} s"
    latency = round((perf_counter() - start) * 1000, 2)
    if error is None:
        return {"status": "up", "latency_ms": latency}
    return {"status": "down", "latency_ms": latency, **({"error": error} if in_words else {})}
