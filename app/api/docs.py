"""The OpenAPI document, Swagger UI and ReDoc, served by the hub itself: no CDN is needed."""

from __future__ import annotations

import base64
import hashlib
import inspect
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.response import html
from sanic_routing.route import Route
from swagger_ui_bundle import swagger_ui_path

from app.api import security_headers
from app.api.openapi import components
from app.api.prefixes import DOCS, REDOC
from app.api.schemas import EVENT_COMPONENTS, TYPES, Operation

FOLDER = Path(__file__).parent
ASSETS = f"{DOCS}/assets"
FILES = (
    *(
        Path(swagger_ui_path) / name
        for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
    ),
    FOLDER / "vendor" / "redoc" / "redoc.standalone.js",
)
TAGS = {
    "notifications": "A user's inbox. Needs the user's own token.",
    "whole_inbox": "Seen, archive, delete: all of a user's inbox at once. Needs the user's own token.",
    "triage": "Unread again, archive, snooze: where a user keeps a notification. Needs the user's own token.",
    "clicks": "What a user clicked, for outbound webhooks. Needs the user's own token.",
    "preferences": "A user's profile, and the channels of each category. Needs the user's own token.",
    "devices": "The browsers of a user that take web push. Needs the user's own token.",
    "addresses": "A user's addresses, confirmed by a code that is sent to them. Needs the user's own token.",
    "topics": "What people follow. For services with the scope `notifications:send`; users join and leave "
    "with their own tokens.",
    "broadcasts": "Events for the followers of a topic, or for everyone, while they are processed. For "
    "services with the scope `notifications:send`.",
    "amending": "Update and retract what was sent. For services with the scope `notifications:send`.",
    "sending": "For services whose token has the scope `notifications:send`.",
    "deliveries": "The status of each mail, SMS and web push, for services with the scope `deliveries:read`.",
    "explain": "Why an event reached somebody, or not, for services with the scope `deliveries:read`.",
    "opened": "The image in mails by which their opening is recorded. Its name is signed.",
    "unsubscribe": "The unsubscribe link of mails. Needs no access token: the link contains its own.",
    "preferences_page": "The page with all preferences behind that link.",
    "callbacks": "What mail and SMS providers report. Needs no access token: each call is signed.",
    "websocket": "Live notifications. Swagger UI cannot open a WebSocket: see docs/reference/protocol.md.",
    "operation": "For operators. Only the metrics need a token.",
}
"""The groups of calls in the order of the page; each is a blueprint."""
INTRODUCTION = """\
The hub turns events that services publish into notifications of users. This page lists the REST calls.

Send the token as `Authorization: Bearer …` (in Swagger UI, *Authorize* sets it). Every error is
`application/problem+json`, even where a call does not list it: 404 for an unknown path, 405 for a method that
is not allowed, 408 for a request that is not received within the time limit, 413 and 431 for one that is too
large, 429 (with Retry-After and the RateLimit fields) above a rate limit. Program against `code`; `detail` is
for people, in the language of `Accept-Language`.
"""


class Reference(NamedTuple):
    """An API reference: the addresses of its OpenAPI document and pages, and what it describes."""

    document: str
    swagger: str
    redoc: str | None = None
    tag: str | None = None
    """The group of calls that it describes; all that are served if None."""


HUB = Reference(f"{DOCS}/openapi.json", DOCS, REDOC)


def configure(
    app: Sanic[Any, Any],
    version: str,
    references: Sequence[Reference] = (),
    tags: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Serve the reference of the hub, and these. Call before the app starts.

    `tags` has the descriptions of groups of calls beside those of the hub itself.
    """
    app.ctx.openapi = {}
    for path in FILES:  # one by one: for a folder, Sanic answers 500 to a bad file name
        app.static(f"{ASSETS}/{path.name}", path, name=path.name)
    for number, reference in enumerate((HUB, *references)):
        _add_page(app, reference.swagger, "swagger.html", reference.document, f"docs_{number}")
        if reference.redoc is not None:
            _add_page(app, reference.redoc, "redoc.html", reference.document, f"redoc_{number}")
        _add_document(app, version, reference, _tags(reference, {**TAGS, **tags}), f"openapi_{number}")


def _tags(reference: Reference, tags: Mapping[str, str]) -> Mapping[str, str]:
    return tags if reference.tag is None else {reference.tag: tags[reference.tag]}


def _add_page(app: Sanic[Any, Any], address: str, template: str, described: str, name: str) -> None:
    page = (FOLDER / template).read_text("utf-8").replace("__ASSETS__", ASSETS)
    page = page.replace("__DOCUMENT__", described)
    headers = {"Content-Security-Policy": _policy(page), **security_headers.PAGE}

    @app.get(address, name=name)
    async def show(_: Request) -> HTTPResponse:
        return html(page, headers=headers)


def _policy(page: str) -> str:
    """Allow the hub's own files and calls, and the scripts in `page` as they are; nothing from elsewhere."""
    scripts = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    ]
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *scripts)),
            "style-src 'self' 'unsafe-inline'",  # both pages make styles as they run
            "img-src 'self' data:",
            "connect-src 'self'",
            "worker-src blob:",  # ReDoc's search
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _add_document(
    app: Sanic[Any, Any], version: str, reference: Reference, tags: Mapping[str, str], name: str
) -> None:
    address = reference.document

    @app.get(address, name=name)
    async def openapi(_: Request) -> HTTPResponse:
        return HTTPResponse(app.ctx.openapi[address], content_type="application/json")

    @app.before_server_start
    async def describe(*_: object) -> None:
        app.ctx.openapi[address] = msgspec.json.encode(document(app, version, tags))


def document(app: Sanic[Any, Any], version: str, tags: Mapping[str, str] = TAGS) -> dict[str, Any]:
    """The OpenAPI 3.0 document of what `app` serves in these groups: handlers that are `described`."""
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    types = [*TYPES]
    order, names = [*tags], set[str]()
    for route in sorted(_described(app, tags), key=lambda route: _place(route, order)):
        _, tag, name = route.name.split(".")
        assert name not in names, f"two calls are named {name}: give one a `name` in its blueprint"
        names.add(name)
        path = "/" + re.sub("<([a-z_]+):str>", r"{\1}", route.path)
        (method,) = route.methods
        operation: Operation = route.handler.operation  # type: ignore[attr-defined]
        paths[path][method.lower()] = {"tags": [tag], "operationId": name, **operation.document}
        types += operation.types
    return {
        "openapi": "3.0.3",
        "info": {"title": "Notification hub", "version": version, "description": INTRODUCTION},
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": {**components(types), **EVENT_COMPONENTS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _described(app: Sanic[Any, Any], tags: Mapping[str, str]) -> list[Route]:
    described = (route for route in app.router.routes if hasattr(route.handler, "operation"))
    return [route for route in described if _tag(route) in tags and "HEAD" not in route.methods]


def _tag(route: Route) -> str:
    return str(route.name).split(".")[1]


def _place(route: Route, tags: Sequence[str]) -> tuple[int, int, str]:
    """The position of a call in the document: by group, then in the order of the code."""
    handler = inspect.unwrap(route.handler)
    return tags.index(_tag(route)), handler.__code__.co_firstlineno, route.path
