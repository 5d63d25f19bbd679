"""The development pages: hosts that they answer to (DNS rebinding)."""

from __future__ import annotations

from typing import Any

import pytest
from sanic import Blueprint, HTTPResponse, Request, Sanic, json
from sanic_testing.testing import SanicASGITestClient

from app.dev.loopback import is_loopback, only_loopback

OWN = [
    "localhost",
    "localhost:8000",
    "LocalHost:8000",
    "hub.localhost:8000",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.1.2.3:1",
    "[::1]",
    "[::1]:8000",
]
FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "evil-localhost",
    "127.0.0.1.evil.example:8000",
    "127.0.0.1.nip.io",
    "evil.example#localhost",
    "evil.example:localhost",
    "localhost:80@evil.example",
    "192.168.1.2:8000",
    "0.0.0.0:8000",
    "[::]:8000",
    "[fe80::1]",
    "::1",
    "127.1",
    "2130706433",
    "",
    ":8000",
    "Nguy\udce9",
]


@pytest.mark.parametrize("host", OWN)
def test_this_machine_is(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", FOREIGN, ids=ascii)
def test_another_host_is_not(host: str) -> None:
    assert not is_loopback(host)


async def test_a_foreign_host_gets_no_token() -> None:
    Sanic.test_mode = True
    app: Sanic[Any, Any] = Sanic("loopback", configure_logging=False)
    app.config.AUTO_EXTEND = False
    blueprint = Blueprint("dev")

    @blueprint.get("/dev/session")
    async def session(_: Request) -> HTTPResponse:
        return json({"token": "secret"})

    app.blueprint(only_loopback(blueprint))
    try:
        for host, status in (("localhost:8000", 200), ("evil.example", 403), ("evil.example:8000", 403)):
            _, answer = await SanicASGITestClient(app).request("GET", "/dev/session", headers={"host": host})
            assert answer.status == status
            assert ("secret" in answer.text) == (status == 200)
    finally:
        Sanic.unregister_app(app)
