"""The demo page, and the stand-in for the user service. For development only."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import msgspec
from msgspec import Meta
from redis.asyncio import Redis
from sanic import Blueprint, HTTPResponse, Request, json
from sanic.response import file

from app.api import security_headers
from app.api.auth import bearer_token
from app.api.bodies import json_body
from app.api.headers import origin
from app.api.request import MAX_USER_BODY_BYTES, load_body
from app.api.routes import Routes, add_routes
from app.auth.origins import origin_allowed
from app.auth.tokens import TokenVerifier
from app.dev import samples, tokens
from app.dev.home import DEMO_USER
from app.dev.samples import Sample
from app.dev.transports import DevTransports, service_token
from app.settings import Settings
from handlers.registry import HANDLERS

PAGES = Path(__file__).parent / "demo"
ROOT = Path(__file__).parents[2]
STAND_IN = "/dev/user-service"
NOTIFICATIONS = "/api/v2/notification-service/notifications"
_MEMBERS = "/api/v1/user-service/groups/internal/<group_id:str>/members"

GROUP = "123e4567-e89b-12d3-a456-426614174000"
GROUP_NAME = "Family Group"
JOHN = DEMO_USER
MAI = "789e0123-e89b-12d3-a456-426614174002"
USERS = (
    {"id": JOHN, "name": "John", "role": "member"},
    {"id": MAI, "name": "Mai", "role": "head_chef"},
)


class Publishing(msgspec.Struct, forbid_unknown_fields=True):
    """`ways`: ids of the transports to publish over, concurrently."""

    ways: Annotated[list[str], Meta(min_length=1)]


class Demo:
    """The page at /, the calls it makes under /dev, and the stand-in for the user service."""

    def __init__(self, settings: Settings) -> None:
        """`settings.auth.jwt_secret` must be set."""
        assert settings.auth.jwt_secret is not None
        self._settings = settings
        self._secret = settings.auth.jwt_secret.get_secret_value()
        notifications = f"http://127.0.0.1:{settings.server.port}{NOTIFICATIONS}"
        self._transports = DevTransports(settings, service_token(self._secret), notifications)
        self._verifier = TokenVerifier(settings.auth)
        self._redis = Redis.from_url(settings.redis.url.get_secret_value())

    def blueprint(self) -> Blueprint:
        """The routes; what they use is closed when the server stops."""
        blueprint = Routes("demo")
        blueprint.after_server_stop(self._close)
        blueprint.static("/dev/assets", PAGES, name="assets")
        blueprint.static("/notification-hub-client/src", ROOT / "client" / "src", name="client")
        blueprint.static("/examples/plain.html", ROOT / "examples" / "plain.html", name="example")
        add_routes(
            (blueprint.get("/"), self.page),
            (blueprint.get("/dev/session"), self.session),
            (blueprint.post("/dev/events/<event_type:str>"), self.publish),
            (blueprint.post("/dev/logout"), self.log_out),
            (blueprint.get(f"{STAND_IN}{_MEMBERS}"), self.members),
        )
        return blueprint

    async def _close(self, *_: object) -> None:
        await self._redis.aclose()
        await self._transports.close()

    async def page(self, _: Request) -> HTTPResponse:
        """The demo page."""
        return await file(PAGES / "index.html", headers=_page_headers(self._settings))

    async def session(self, _: Request) -> HTTPResponse:
        """The demo's users with their tokens, its events and transports."""
        users = [{**user, "token": tokens.sign(user["id"], self._secret)} for user in USERS]
        body = {
            "users": users,
            "group": {"id": GROUP, "name": GROUP_NAME},
            "events": {name: _event(name).message for name in samples.event_types()},
            "ways": [each._asdict() for each in self._transports.all],
            "only_by": {name: each.only_from for name, each in HANDLERS.items() if each.only_from},
            "service_token": service_token(self._secret),
        }
        return json(body, headers={"Cache-Control": "no-store"})  # it holds tokens

    async def publish(self, request: Request, event_type: str) -> HTTPResponse:
        """Publish an example event over the transport that the query names."""
        if not origin_allowed(origin(request), self._settings.websocket.allowed_origins):
            return _problem(HTTPStatus.FORBIDDEN, "This origin is not allowed to publish.")
        if event_type not in samples.event_types():
            return _problem(HTTPStatus.NOT_FOUND, f"No sample of {event_type}.")
        await load_body(request, MAX_USER_BODY_BYTES)
        chosen = list(dict.fromkeys(json_body(request, Publishing).ways))
        if unknown := set(chosen).difference(each.id for each in self._transports.all):
            return _problem(HTTPStatus.BAD_REQUEST, f"No such transport: {', '.join(sorted(unknown))}.")
        sample = _event(event_type)
        sample.message["event_id"] = event_id = str(uuid4())
        sent = await self._transports.send(sample, chosen)
        body = {"event_id": event_id, "sent": [each._asdict() for each in sent]}
        return json(body, HTTPStatus.ACCEPTED)

    async def log_out(self, request: Request) -> HTTPResponse:
        """Do what the user service does on a logout: revoke the token, then notify the hub."""
        claims = self._verifier.verify(bearer_token(request))
        await load_body(request, MAX_USER_BODY_BYTES)
        await self._redis.set(f"user-service:jwt-blocklist:{claims.token_id}", "1", ex=tokens.ONE_DAY_SECONDS)
        sample = samples.load("account_logged_out")
        sample.message.update(
            user_id=str(claims.user_id),
            access_token_id=claims.token_id,
            timestamp=datetime.now(UTC).isoformat(),
        )
        kafka = self._settings.kafka
        place = await samples.publish(kafka.bootstrap_servers, kafka.topics, sample)
        return json({"published": place}, HTTPStatus.ACCEPTED)

    async def members(self, _: Request, group_id: str) -> HTTPResponse:
        """The user service's answer about the demo's group."""
        if group_id != GROUP:
            return json({"error": "no such group"}, HTTPStatus.NOT_FOUND)
        listed = [{"user_id": user["id"], "role": user["role"]} for user in USERS]
        return json({"data": {"group_name": GROUP_NAME, "members": listed}})


def _event(name: str) -> Sample:
    """The sample of an event type, with the type in it, which a Kafka topic may imply and others do not."""
    sample = samples.load(name)
    return sample._replace(message={"event_type": name, **sample.message})


def _page_headers(settings: Settings) -> dict[str, str]:
    """Forbid foreign resources, inline scripts and texts that become markup."""
    sockets = " ".join(
        each.replace("http", "ws", 1)
        for each in settings.websocket.allowed_origins
        if each.startswith("http") and "[" not in each  # a policy can't name an IPv6 address (CSP 3, 2.3.1)
    )
    policy = (
        "default-src 'self'",
        f"connect-src 'self' {sockets}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        **security_headers.PAGE,
    }


def _problem(status: HTTPStatus, detail: str) -> HTTPResponse:
    body = {"title": status.phrase, "status": int(status), "detail": detail}
    return json(body, status, content_type="application/problem+json")
