"""Which pages of other origins may read what REST answers, and what caches may store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sanic import HTTPResponse, Request, Sanic, json
from sanic_testing.testing import SanicASGITestClient

from app.api import cors, errors
from app.api.methods import add_head_and_options
from app.domain.errors import Unauthorized

PAGE = "https://app.example.com"
ASKED = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture
def app() -> Iterator[Sanic[Any, Any]]:
    Sanic.test_mode = True
    app: Sanic[Any, Any] = Sanic("cors", configure_logging=False)
    app.config.AUTO_EXTEND = False
    errors.install(app)
    cors.install(app, (PAGE, "http://localhost:8000"))

    @app.patch("/thing")
    async def thing(_: Request) -> HTTPResponse:
        return json({}, headers={"Vary": "Accept-Language", "Link": '</older>; rel="next"'})

    @app.get("/refused")
    async def refused(_: Request) -> HTTPResponse:
        raise Unauthorized("expired_token")

    add_head_and_options(app)
    yield app
    Sanic.unregister_app(app)


async def ask(app: Sanic[Any, Any], method: str, path: str, **headers: str) -> Any:
    _, response = await SanicASGITestClient(app).request(method, path, headers=headers)
    return response


def allowed(response: Any) -> list[str]:
    """The names of all headers that let a page do something."""
    return sorted(name for name in response.headers if name.startswith("access-control-"))


async def test_a_page_of_an_allowed_origin_may_read_an_answer_with_its_headers(app: Sanic[Any, Any]) -> None:
    answer = await ask(app, "PATCH", "/thing", Origin=PAGE)
    assert answer.headers["access-control-allow-origin"] == PAGE
    readable = answer.headers["access-control-expose-headers"].split(", ")
    assert {"Link", "Inbox-Count", "Retry-After"} <= set(readable)
    assert answer.headers["vary"] == "Accept-Language, Origin"
    assert "access-control-allow-credentials" not in answer.headers


async def test_it_may_read_an_error_too(app: Sanic[Any, Any]) -> None:
    answer = await ask(app, "GET", "/refused", Origin=PAGE)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, PAGE)


async def test_a_preflight_is_answered_without_a_token(app: Sanic[Any, Any]) -> None:
    answer = await ask(app, "OPTIONS", "/thing", Origin=PAGE, **ASKED)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "PATCH" in answer.headers["access-control-allow-methods"].split(", ")
    assert "Authorization" in answer.headers["access-control-allow-headers"].split(", ")
    assert int(answer.headers["access-control-max-age"]) > 0
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://app.example.com", f"{PAGE}.evil.example", f"{PAGE}:8443"],
)
@pytest.mark.parametrize("method", ["PATCH", "OPTIONS"])
async def test_a_page_of_another_origin_may_nothing(app: Sanic[Any, Any], method: str, origin: str) -> None:
    answer = await ask(app, method, "/thing", Origin=origin, **ASKED)
    assert allowed(answer) == []
    assert "Origin" in answer.headers["vary"], "a cache may not give this answer to an allowed page"


async def test_a_request_without_origin_gets_no_cors_headers(app: Sanic[Any, Any]) -> None:
    answer = await ask(app, "PATCH", "/thing")
    assert allowed(answer) == []
    assert answer.headers["vary"] == "Accept-Language, Origin"
