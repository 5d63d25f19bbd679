"""Errors over HTTP: one shape, in the client's language, with a word for programs and one for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from sanic import HTTPResponse, Request, Sanic, json
from sanic.exceptions import PayloadTooLarge
from sanic_testing.testing import SanicASGITestClient

from app.api import docs, errors, methods
from app.api.prefixes import DOCS, REST, WEBSOCKET
from app.domain.errors import StoreFailed, Unauthorized, Unavailable
from app.texts.i18n import LOCALES, N_

RAISED: dict[str, Exception] = {
    "own": errors.Problem(HTTPStatus.BAD_REQUEST, "own", N_("The request is malformed.")),
    "unauthorized": Unauthorized("expired_token"),
    "unavailable": Unavailable("postgres", "gone"),
    "unmigrated": StoreFailed("postgres", "no such table: a secret of the inside"),
    "too_large": PayloadTooLarge(),
    "bug": RuntimeError("a secret of the inside"),
}


@pytest.fixture
def app() -> Iterator[Sanic[Any, Any]]:
    Sanic.test_mode = True
    app: Sanic[Any, Any] = Sanic("problems", configure_logging=False)
    errors.install(app)
    docs.configure(app, "1")
    app.config.AUTO_EXTEND = False  # sanic-ext would serve its own pages, which the hub does not

    @app.get("/raise/<name:str>")
    async def fail(_: Request, name: str) -> HTTPResponse:
        raise RAISED[name]

    @app.get("/fine")
    async def fine(_: Request) -> HTTPResponse:
        return json({})

    yield app
    Sanic.unregister_app(app)


async def ask(app: Sanic[Any, Any], path: str, method: str = "GET", **headers: str) -> Any:
    client = SanicASGITestClient(app)
    _, response = await client.request(method, path, headers=headers)
    return response


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/raise/own", 400, "own"),
        ("/raise/unauthorized", 401, "expired_token"),
        ("/raise/unavailable", 503, "dependency_down"),
        ("/raise/unmigrated", 500, "internal"),
        ("/raise/too_large", 413, "too_large"),
        ("/raise/bug", 500, "internal"),
        ("/nowhere", 404, "no_such_path"),
    ],
)
async def test_every_error_is_a_problem(app: Sanic[Any, Any], path: str, status: int, code: str) -> None:
    response = await ask(app, path)
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json.keys() == {"type", "title", "status", "detail", "instance", "code"}
    assert (response.json["status"], response.json["code"]) == (status, code)
    assert response.json["instance"] == path


@pytest.mark.parametrize(
    "path", ["/", "/docs", REST, f"{REST}/nowhere", f"{WEBSOCKET}/nowhere", f"{DOCS}/no"]
)
@pytest.mark.parametrize("language", LOCALES)
async def test_a_404_names_the_address_of_the_api_reference(
    app: Sanic[Any, Any], path: str, language: str
) -> None:
    answer = await ask(app, path, **{"accept-language": language})
    assert (answer.status, answer.json["code"]) == (404, "no_such_path")
    (named,) = re.findall(r"/[\w/-]+", answer.json["detail"])
    assert (await ask(app, named)).status == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/fine", "GET, HEAD, OPTIONS"),
        ("/fine/", "GET, HEAD, OPTIONS"),
        ("/raise/own", "GET, HEAD, OPTIONS"),
        ("/raise/own/", "GET, HEAD, OPTIONS"),
        ("/things/1/of/2", "DELETE, OPTIONS, PUT"),
        ("/things/1/of/2/", "DELETE, OPTIONS, PUT"),
    ],
)
async def test_a_wrong_method_is_answered_with_the_allowed_ones(
    app: Sanic[Any, Any], path: str, allowed: str
) -> None:
    @app.put("/things/<a:str>/of/<b:str>")
    @app.delete("/things/<a:str>/of/<b:str>", name="remove")
    async def change(_: Request, a: str, b: str) -> HTTPResponse:
        return json({})

    methods.add_head_and_options(app)
    response = await ask(app, path, "POST")
    assert (response.status, response.headers["allow"]) == (405, allowed)
    assert allowed in response.json["detail"]
    assert (await ask(app, path, "OPTIONS")).headers["allow"] == allowed


@pytest.mark.parametrize("language", LOCALES)
async def test_413_names_the_limit(app: Sanic[Any, Any], language: str) -> None:
    app.config.REQUEST_MAX_SIZE = 4321
    answer = await ask(app, "/raise/too_large", **{"accept-language": language})
    assert "4321" in answer.json["detail"]


async def test_401_comes_with_the_challenge_and_503_with_a_time(app: Sanic[Any, Any]) -> None:
    assert "Bearer" in (await ask(app, "/raise/unauthorized")).headers["www-authenticate"]
    assert int((await ask(app, "/raise/unavailable")).headers["retry-after"]) > 0


async def test_a_bug_exposes_no_internals(app: Sanic[Any, Any]) -> None:
    assert "secret" not in (await ask(app, "/raise/bug")).text


async def test_the_language_is_the_clients_and_english_without_one(app: Sanic[Any, Any]) -> None:
    plain = await ask(app, "/nowhere")
    vietnamese = await ask(app, "/nowhere", **{"accept-language": "vi"})
    assert plain.headers["content-language"] == "en"
    assert vietnamese.headers["content-language"] == "vi"
    assert plain.json["detail"] != vietnamese.json["detail"]
