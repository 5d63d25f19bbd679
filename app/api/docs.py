"""The OpenAPI document and Swagger UI, served by the hub itself: no CDN is needed."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.response import html
from sanic_routing.route import Route
from swagger_ui_bundle import swagger_ui_path

from app.api.openapi import components
from app.api.prefixes import DOCS
from app.api.schemas import MESSAGE_OR_EVENT, TYPES, Operation

PAGE = Path(__file__).parent / "swagger.html"
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
TAGS = {
    "notifications": "A user's inbox. Needs the user's own token.",
    "preferences": "A user's profile, and the channels of each category. Needs the user's own token.",
    "sending": "For services whose token has the scope `notifications:send`.",
    "deliveries": "The status of each mail and SMS, for services with the scope `deliveries:read`.",
    "websocket": "Live notifications. Swagger UI cannot open a WebSocket: see docs/protocol.md.",
    "operation": "For operators. Only the metrics need a token.",
}
"""The groups of calls in the order of the page; each is a blueprint."""
INTRODUCTION = """\
The hub turns events that services publish into notifications of users. This page lists the REST calls.

Send the token as `Authorization: Bearer …` (*Authorize* sets it for this page). Every error is
`application/problem+json`, also where a call does not list it: 404 for an unknown path, 405 for a method that
is not allowed, 408 for a request that is not received within the time limit, 413 and 431 for one that is too
large. Program against `code`; `detail` is for people, in the language of `Accept-Language`.
"""


def configure(app: Sanic[Any, Any], version: str) -> None:
    """Serve the page at `DOCS` and the document beside it. Call before the app starts."""
    for name in ASSETS:  # one by one: for a folder, Sanic answers 500 to a bad file name
        app.static(f"{DOCS}/assets/{name}", Path(swagger_ui_path) / name, name=name)
    page = PAGE.read_text("utf-8").replace("__PREFIX__", DOCS)

    @app.get(DOCS)
    async def docs(_: Request) -> HTTPResponse:
        return html(page)

    @app.get(f"{DOCS}/openapi.json")
    async def openapi(_: Request) -> HTTPResponse:
        return HTTPResponse(app.ctx.openapi, content_type="application/json")

    @app.before_server_start
    async def describe(*_: object) -> None:
        app.ctx.openapi = msgspec.json.encode(document(app, version))


def document(app: Sanic[Any, Any], version: str) -> dict[str, Any]:
    """The OpenAPI 3.0 document of what `app` serves: every handler that is `schemas.described`."""
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    types = [*TYPES]
    described = [route for route in app.router.routes if hasattr(route.handler, "operation")]
    for route in sorted(described, key=_place):
        _, tag, name = route.name.split(".")
        path = "/" + re.sub("<([a-z_]+):str>", r"{\1}", route.path)
        (method,) = route.methods
        operation: Operation = route.handler.operation
        paths[path][method.lower()] = {"tags": [tag], "operationId": name, **operation.document}
        types += operation.types
    return {
        "openapi": "3.0.3",
        "info": {"title": "Notification hub", "version": version, "description": INTRODUCTION},
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": {**components(types), "MessageOrEvent": MESSAGE_OR_EVENT},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _place(route: Route) -> tuple[int, int, str]:
    """The position of a call in the document: by group, then in the order of the code."""
    tag = route.name.split(".")[1]
    handler = inspect.unwrap(route.handler)
    return [*TAGS].index(tag), handler.__code__.co_firstlineno, route.path
