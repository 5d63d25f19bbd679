"""A user's devices: the browsers that take web push."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import bad_body, json_answer, json_body
from app.api.errors import Problem
from app.api.headers import accept_language
from app.api.parameters import path_uuid
from app.api.routes import Routes, add_routes
from app.domain.devices import Device, Subscription, auth_secret, public_key
from app.domain.outbound import MAX_URL_CHARS, https_url
from app.outbox.webpush.vapid import Vapid
from app.settings.channels import WebPushSettings
from app.store.devices import DeviceStore
from app.texts.i18n import LOCALES, N_, negotiate, render

REMOVED = N_("The device was removed.")


class SubscriptionKeys(msgspec.Struct):
    """The keys of a subscription, in base64url: a point of P-256, and 16 bytes."""

    p256dh: Annotated[
        str,
        Meta(
            max_length=100,
            examples=[
                "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
            ],
        ),
    ]
    auth: Annotated[str, Meta(max_length=100, examples=["BTBZMqHH6r4Tts7J_aSIgg"])]


class NewDevice(msgspec.Struct):
    """What `PushSubscription.toJSON()` returns in the browser. Other fields are ignored."""

    endpoint: Annotated[
        str, Meta(max_length=MAX_URL_CHARS, examples=["https://push.example.com/send/dpH5lCsTSSM"])
    ]
    keys: SubscriptionKeys


class PushKey(msgspec.Struct):
    """The public VAPID key of the hub."""

    public_key: Annotated[str, Meta(description="the `applicationServerKey` to subscribe with, in base64url")]


class DeviceResource:
    """The calls of the user whose token they have."""

    def __init__(self, authenticator: Authenticator, store: DeviceStore, settings: WebPushSettings) -> None:
        self._authenticator = authenticator
        self._store = store
        self._settings = settings
        key, subject = settings.private_key, settings.subject or ""
        self._public_key = None if key is None else Vapid(key.get_secret_value(), subject).public_key

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`/devices."""
        blueprint = Routes("devices", url_prefix=f"{prefix}/devices")
        add_routes(
            (blueprint.get("/"), self.list_devices),
            (blueprint.get("/key"), self.get_key),
            (blueprint.post("/"), self.add_device),
            (blueprint.delete("/<device_id:str>"), self.remove_device),
        )
        return blueprint

    @schemas.described(
        "List the user's devices",
        "The browsers that take web push, the oldest first. A device that its push service no longer knows "
        "disappears.",
        {200: schemas.Answer("The devices", list[Device])},
        errors=(401, 503),
    )
    async def list_devices(self, request: Request) -> HTTPResponse:
        """The caller's browsers that receive web push."""
        owner = await self._authenticator.caller(request)
        return json_answer(await self._store.of_user(owner))

    @schemas.described(
        "The key to subscribe with",
        "The VAPID public key of the hub. Answers 409 if the hub sends no web push.",
        {200: schemas.Answer("The key", PushKey)},
        errors=(401, 409, 503),
    )
    async def get_key(self, request: Request) -> HTTPResponse:
        """The key with which a browser subscribes."""
        await self._authenticator.caller(request)
        return json_answer(PushKey(self._key()))

    @schemas.described(
        "Register a device",
        "The body is what `PushSubscription.toJSON()` returns. A device that is registered already is "
        "renewed (200); after a sign-in as another user, it is that user's.",
        {
            200: schemas.Answer("The device, which was registered before", Device),
            201: schemas.Answer("The new device", Device),
        },
        errors=(400, 401, 409, 503),
        body=NewDevice,
    )
    async def add_device(self, request: Request) -> HTTPResponse:
        """Register a browser's subscription for the caller, or update it."""
        owner = await self._authenticator.caller(request)
        self._key()
        subscription = self._checked(json_body(request, NewDevice))
        added = await self._store.add(owner, subscription, self._settings.max_devices)
        if added is None:
            raise Problem(
                HTTPStatus.CONFLICT,
                "foreign_device",
                N_("This device belongs to another user. Subscribe again in the browser."),
            )
        return json_answer(added.device, HTTPStatus.CREATED if added.made else HTTPStatus.OK)

    @schemas.described(
        "Remove a device",
        "It gets no more web push. Call it before the user signs out.",
        {200: schemas.Answer("Removed", schemas.Confirmation)},
        errors=(400, 401, 404, 503),
    )
    async def remove_device(self, request: Request, device_id: str) -> HTTPResponse:
        """Remove one of the caller's browsers."""
        owner = await self._authenticator.caller(request)
        if not await self._store.remove(owner, path_uuid("id", device_id)):
            raise Problem(HTTPStatus.NOT_FOUND, "no_such_device", N_("The user has no device with this id."))
        spoken = negotiate(accept_language(request), LOCALES[0])
        return json_answer(
            schemas.Confirmation(render(spoken, REMOVED, {})), headers={"Content-Language": spoken}
        )

    def _key(self) -> str:
        if self._public_key is None:
            raise Problem(
                HTTPStatus.CONFLICT, "no_web_push", N_("This hub sends no web push: it has no VAPID key.")
            )
        return self._public_key

    def _checked(self, body: NewDevice) -> Subscription:
        """Raises `Problem` that names the first invalid field."""
        name = "endpoint"
        try:
            endpoint = https_url(body.endpoint, allow_private=self._settings.allow_private)
            name = "keys.p256dh"
            key = public_key(body.keys.p256dh)
            name = "keys.auth"
            return Subscription(endpoint, key, auth_secret(body.keys.auth))
        except ValueError as error:
            raise bad_body(f"`{name}`: {error}") from None
