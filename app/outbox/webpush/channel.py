"""Web push (RFC 8030): encrypted messages to the push service that a browser named."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar
from uuid import UUID

from app.domain.channels import WEBPUSH
from app.domain.deliveries import Status
from app.domain.devices import Subscription, device_id
from app.domain.errors import ConfigurationError, DeliveryFailed, HubError
from app.domain.outbound import https_url, origin
from app.domain.planning import ABOUT_NOTIFICATION, URGENT
from app.outbox.channel import ChannelPorts, Confirm, DeliveryCancelled, NotYet, Outgoing, Receipt, wanted
from app.outbox.failures import not_rendered, retry_after, safe_words
from app.outbox.webpush.encryption import encrypted
from app.outbox.webpush.message import PushMessage, rendered, topic
from app.outbox.webpush.pauses import ServicePauses
from app.outbox.webpush.vapid import Vapid
from app.runtime.outbound import OutboundAnswer, OutboundClient, OutboundError, PrivateAddress
from app.runtime.redis import REDIS_ERRORS
from app.runtime.tls import client_context
from app.settings.channels import WebPushSettings
from app.store.devices import DeviceStore, PushTarget

log = logging.getLogger("hub.webpush")

MIN_LOOK_AGAIN_SECONDS = 60.0
"""Of a step of an escalation whose user is connected, until the next look. Later ones come less often."""
GONE = frozenset((HTTPStatus.NOT_FOUND, HTTPStatus.GONE))
_TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class WebPushChannel:
    """Sends web push. Raises `ConfigurationError` when the settings are incomplete."""

    name: ClassVar[str] = WEBPUSH

    def __init__(
        self, settings: WebPushSettings, ports: ChannelPorts, client: OutboundClient | None = None
    ) -> None:
        """`client` sends the requests; one that checks addresses is made by default."""
        self._settings = settings
        self._connected = ports.connected
        self._pauses = ServicePauses()
        self._client: OutboundClient | None = None
        if settings.private_key is None or ports.devices is None:
            return
        if settings.subject is None:
            raise ConfigurationError("VAPID_PRIVATE_KEY is set, but VAPID_SUBJECT isn't.")
        self._devices: DeviceStore = ports.devices
        self._vapid = Vapid(settings.private_key.get_secret_value(), settings.subject)
        self._client = client or OutboundClient(
            client_context(), settings.timeout, settings.concurrency, allow_private=settings.allow_private
        )

    @property
    def simulated(self) -> bool:
        """As `Channel.simulated`."""
        return self._client is None

    @property
    def at_once(self) -> int:
        """As `Channel.at_once`."""
        return self._settings.concurrency

    async def send(self, outgoing: Outgoing, confirm: Confirm = wanted) -> Receipt:
        """As `Channel.send`. A notification that was read or deleted meanwhile is not sent; nor is one to a
        user who is connected, unless the settings say so.
        """
        target = await self._target(outgoing)
        message = await self._message(outgoing, target)
        await confirm()
        answer = await self._post(outgoing, target.subscription, message)
        while answer.status == _TOO_LARGE and (shorter := message.shorter()) is not None:
            message = shorter
            answer = await self._post(outgoing, target.subscription, message)
        if answer.success:
            return Receipt(None)
        if answer.status in GONE:
            await self._devices.prune(target.subscription.device_id, target.subscription.auth)
            log.info("device_gone", extra={"device": target.subscription.device_id})
            raise _gone("the push service doesn't know the device any more")
        raise _failure(answer, outgoing)

    async def close(self) -> None:
        """As `Channel.close`."""
        if self._client is not None:
            await self._client.close()

    async def _target(self, outgoing: Outgoing) -> PushTarget:
        try:
            target = await self._devices.target(device_id(outgoing.address))
        except ValueError as error:
            raise DeliveryFailed("bad_device", str(error), retryable=False) from None
        if target is None or outgoing.user_id not in (None, target.user_id):
            raise _gone("the user has no such device any more")
        try:
            https_url(target.subscription.endpoint, allow_private=self._settings.allow_private)
        except ValueError as error:
            raise DeliveryFailed("bad_endpoint", f"the endpoint: {error}", retryable=False) from None
        return target

    async def _message(self, outgoing: Outgoing, target: PushTarget) -> PushMessage:
        """Raises `DeliveryCancelled` if nobody needs the message any more."""
        notification: int | None = None
        if outgoing.data.get(ABOUT_NOTIFICATION) and outgoing.event_id is not None:
            found = await self._devices.notification(target.user_id, outgoing.event_id)
            if found is None or found.is_read:
                what = "deleted" if found is None else "read"
                raise DeliveryCancelled(Status.SUPPRESSED, f"the notification was {what}")
            if self._settings.when == "disconnected" and await self._is_connected(target.user_id):
                if outgoing.only_if is not None:  # the connection may end, and nobody has read it
                    pause = max(MIN_LOOK_AGAIN_SECONDS, outgoing.age / 2)
                    raise NotYet("the user is connected and has not read the notification", pause)
                raise DeliveryCancelled(Status.SUPPRESSED, "the user is connected")
            notification = found.id
        try:
            return rendered(outgoing.template, outgoing.locale, outgoing.data, notification)
        except HubError as error:
            raise not_rendered(outgoing.template, error) from None

    async def _is_connected(self, user_id: UUID) -> bool:
        """While Redis is down nobody counts as connected: a push too many is better than none."""
        try:
            return self._connected is not None and await self._connected(user_id)
        except REDIS_ERRORS as error:
            log.warning("presence_unknown", extra={"why": type(error).__name__})
            return False

    async def _post(
        self, outgoing: Outgoing, subscription: Subscription, message: PushMessage
    ) -> OutboundAnswer:
        assert self._client is not None, "simulated"
        service = origin(subscription.endpoint)
        self._pauses.check(service)
        body = encrypted(message.encoded(), subscription.public_key, subscription.auth)
        try:
            answer = await self._client.post(
                subscription.endpoint, self._headers(outgoing, subscription, message), body
            )
            if _is_busy(answer):
                refused = answer.status == HTTPStatus.TOO_MANY_REQUESTS
                self._pauses.failed(service, refused=refused, wanted=_pause_wanted(answer))
            else:
                self._pauses.answered(service)
            return answer
        except PrivateAddress:
            raise DeliveryFailed(
                "private_address", "the push service is in a private network", retryable=False
            ) from None
        except OutboundError as error:
            self._pauses.failed(service)
            code = "timeout" if error.timeout else "connect"
            raise DeliveryFailed(code, f"push service: {error}", retryable=True) from None

    def _headers(
        self, outgoing: Outgoing, subscription: Subscription, message: PushMessage
    ) -> Mapping[str, str]:
        left = self._settings.ttl if outgoing.expires_in is None else outgoing.expires_in
        headers = {
            "Authorization": self._vapid.authorization(subscription.endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(max(0, round(min(left, self._settings.ttl)))),
            "Urgency": "high" if outgoing.data.get(URGENT) or message.severity == "critical" else "normal",
        }
        if message.thread is not None:
            headers["Topic"] = topic(message.thread, subscription.auth)
        return headers


def _gone(text: str) -> DeliveryFailed:
    return DeliveryFailed("device_gone", text, retryable=False)


def _failure(answer: OutboundAnswer, outgoing: Outgoing) -> DeliveryFailed:
    """Only 429 and 5xx are retryable: the others depend on the request, which would be the same."""
    said = safe_words(answer.body.decode(errors="replace"), outgoing)
    return DeliveryFailed(
        f"webpush_{answer.status}",
        f"the push service answered {answer.status}: {said}" if said else f"{answer.status}",
        retryable=_is_busy(answer),
        retry_after=_pause_wanted(answer),
    )


def _is_busy(answer: OutboundAnswer) -> bool:
    return answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= 500


def _pause_wanted(answer: OutboundAnswer) -> float | None:
    return retry_after(answer.headers.get("retry-after", ""))
