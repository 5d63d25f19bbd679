"""Devices on Postgres, and messages to a push service that checks signatures and decrypts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.deliveries import Status
from app.domain.devices import Subscription
from app.domain.errors import DeliveryFailed
from app.domain.notifications import NotificationDraft
from app.domain.planning import ABOUT_NOTIFICATION, DETAILS, URGENT
from app.outbox.channel import ChannelPorts, DeliveryCancelled, NotYet, Outgoing
from app.outbox.webpush.channel import WebPushChannel
from app.outbox.webpush.message import topic
from app.runtime.outbound import OutboundClient, OutboundError, PrivateAddress
from app.runtime.tls import client_context
from app.store.devices import DeviceStore
from app.store.engine import make_engine
from app.store.notifications import NotificationStore
from app.store.records import EventRecord
from app.store.writer import BatchWriter
from tests.support.certificates import Authority
from tests.support.push_service import (
    VAPID_PRIVATE_KEY,
    VAPID_SUBJECT,
    Browser,
    PushService,
    run_push_service,
)
from tests.support.settings import settings_on

MOST = 3


@pytest.fixture(scope="module")
def push_service(made_authority: Authority) -> Iterator[PushService]:
    with run_push_service(made_authority.server("localhost")) as service:
        yield service


@pytest_asyncio.fixture(scope="module")
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    made = make_engine(settings_on("redis://redis", database_url=database).postgres)
    yield made
    await made.dispose()


@pytest.fixture
def devices(engine: AsyncEngine) -> DeviceStore:
    return DeviceStore(engine)


def subscription(browser: Browser) -> Subscription:
    return Subscription(browser.endpoint, browser.public_key, browser.auth)


class Scene:
    """A user with a device, and the channel."""

    def __init__(self, engine: AsyncEngine, service: PushService, **changes: Any) -> None:
        self.engine = engine
        self.service = service
        self.store = DeviceStore(engine)
        self.user = uuid4()
        self.event_id = f"event of {self.user}"
        self.browser = service.browser()
        self.is_connected: Callable[[], bool] = lambda: False
        given = {
            "vapid_private_key": VAPID_PRIVATE_KEY,
            "vapid_subject": VAPID_SUBJECT,
            "webpush_allow_private": True,
            **changes,
        }
        settings = settings_on("redis://redis", **given).webpush
        self.channel = WebPushChannel(settings, ChannelPorts(self.store, self._connected))

    async def _connected(self, user: UUID) -> bool:
        assert user == self.user
        return self.is_connected()

    async def registered(self) -> UUID:
        """The user's device."""
        added = await self.store.add(self.user, subscription(self.browser), MOST)
        assert added is not None
        return added.device.id

    async def push(self, device: UUID | None = None, **changes: Any) -> None:
        data: Mapping[str, Any] = {"title": "Your kitchen", "message": "Three plans are done."}
        address = str(device or await self.registered())
        await self.channel.send(
            Outgoing(uuid4(), "plain", address, "en", **{"data": data, "user_id": self.user, **changes})
        )

    async def failure(self, **changes: Any) -> DeliveryFailed:
        """Why it wasn't sent. It doesn't show the endpoint, which is a secret."""
        with pytest.raises(DeliveryFailed) as failed:
            await self.push(**changes)
        assert self.browser.path not in str(failed.value)
        return failed.value

    async def notified(self) -> int:
        """Store a notification of the user, and newer ones; its id."""
        draft = NotificationDraft(None, None, [self.user], "MESSAGE", "{}", "T", "C")
        for each in (self.event_id, f"{self.event_id}, newer"):
            await BatchWriter(self.engine).write([EventRecord(each, [draft])])
        page = await NotificationStore(self.engine).page(self.user, 2)
        return page[1].id


@pytest_asyncio.fixture
async def scene(engine: AsyncEngine, push_service: PushService, authority: Authority) -> AsyncIterator[Scene]:
    made = Scene(engine, push_service)
    yield made
    await made.channel.close()
    assert push_service.refused == []


async def test_a_device_is_registered_renewed_and_removed(
    devices: DeviceStore, push_service: PushService
) -> None:
    user, browser = uuid4(), push_service.browser()
    first = await devices.add(user, subscription(browser), MOST)
    browser.auth = uuid4().bytes  # it subscribed again
    second = await devices.add(user, subscription(browser), MOST)
    assert first is not None
    assert second is not None
    assert (first.made, second.made) == (True, False)
    assert first.device.id == second.device.id
    assert second.device.seen_at > first.device.seen_at
    assert second.device.created_at == first.device.created_at
    assert await devices.of_user(user) == [second.device]
    assert await devices.of_users([user, uuid4(), user]) == {user: [first.device.id]}
    assert not await devices.remove(uuid4(), first.device.id), "another user's"
    assert await devices.remove(user, first.device.id)
    assert not await devices.remove(user, first.device.id)
    assert await devices.of_users([user]) == {}


async def test_one_device_too_many_replaces_the_one_that_was_registered_longest_ago(
    devices: DeviceStore, push_service: PushService
) -> None:
    user, browsers = uuid4(), [push_service.browser() for _ in range(MOST + 1)]
    for browser in (*browsers[:MOST], browsers[0], browsers[MOST]):
        assert await devices.add(user, subscription(browser), MOST)
    left = {device.endpoint for device in await devices.of_user(user)}
    assert left == {browsers[number].endpoint for number in (0, 2, 3)}


async def test_a_device_moves_to_who_signed_in_on_it_and_to_nobody_else(
    devices: DeviceStore, push_service: PushService
) -> None:
    before, after, browser = uuid4(), uuid4(), push_service.browser()
    assert await devices.add(before, subscription(browser), MOST)
    assert await devices.add(after, subscription(browser)._replace(auth=b"x" * 16), MOST) is None
    moved = await devices.add(after, subscription(browser), MOST)
    assert moved is not None
    assert await devices.of_user(before) == []
    assert await devices.of_user(after) == [moved.device]


async def test_a_message_arrives_signed_and_encrypted(scene: Scene) -> None:
    await scene.push(expires_in=60.4)
    (pushed,) = scene.browser.pushed
    assert pushed.data == {"title": "Your kitchen", "text": "Three plans are done."}
    assert (pushed.headers["ttl"], pushed.headers["urgency"]) == ("60", "normal")
    await scene.push(data={"title": "T", "message": "M", URGENT: True})
    urgent = scene.browser.pushed[1]
    assert (urgent.headers["ttl"], urgent.headers["urgency"]) == ("86400", "high")
    assert "topic" not in urgent.headers
    details = {"severity": "critical", "thread_key": "order-7"}
    await scene.push(data={"title": "T", "message": "M", DETAILS: details})
    critical = scene.browser.pushed[2]
    assert critical.headers["urgency"] == "high"
    assert critical.headers["topic"] == topic("order-7", scene.browser.auth)


@pytest.mark.parametrize("status", [404, 410])
async def test_a_device_that_its_push_service_knows_no_more_is_removed(scene: Scene, status: int) -> None:
    device = await scene.registered()
    scene.browser.answers = [(status, {})]
    failed = await scene.failure(device=device)
    assert (failed.code, failed.retryable) == ("device_gone", False)
    assert await scene.store.of_user(scene.user) == []
    assert (await scene.failure(device=device)).code == "device_gone"


async def test_a_device_that_subscribed_again_meanwhile_stays(scene: Scene) -> None:
    device = await scene.registered()
    await scene.store.prune(device, b"of before" + bytes(7))
    assert len(await scene.store.of_user(scene.user)) == 1


@pytest.mark.parametrize(
    ("status", "headers", "retryable", "pause"),
    [
        (429, {"Retry-After": "120"}, True, 120.0),
        (503, {}, True, None),
        (500, {"Retry-After": "7"}, True, 7.0),
        (401, {}, False, None),
        (403, {}, False, None),
        (400, {}, False, None),
        (302, {"Location": "https://127.0.0.1/"}, False, None),
    ],
)
async def test_what_a_push_service_refuses_is_retried_where_that_can_help(
    scene: Scene, status: int, headers: Mapping[str, str], retryable: bool, pause: float | None
) -> None:
    scene.browser.answers = [(status, headers)]
    failed = await scene.failure()
    assert (failed.code, failed.retryable, failed.retry_after) == (f"webpush_{status}", retryable, pause)
    assert len(await scene.store.of_user(scene.user)) == 1
    if status == 429:
        assert (await scene.failure()).code == "deferred"


async def test_a_message_that_is_too_large_is_shortened(scene: Scene) -> None:
    scene.browser.max_bytes = 300
    await scene.push(data={"title": "T", "message": "word " * 200})
    (pushed,) = scene.browser.pushed
    assert pushed.data["text"].startswith("word word")
    assert pushed.data["text"].endswith("…")
    scene.browser.max_bytes = 0
    assert (await scene.failure()).code == "webpush_413"


async def test_a_push_about_a_notification_names_it(scene: Scene) -> None:
    number = await scene.notified()
    data = {"title": "T", "message": "M", ABOUT_NOTIFICATION: True}
    await scene.push(data=data, event_id=scene.event_id)
    assert scene.browser.pushed[0].data["notification"] == number


@pytest.mark.parametrize("read", ["one", "all"])
async def test_a_notification_that_was_read_is_not_pushed(scene: Scene, read: str) -> None:
    number = await scene.notified()
    store = NotificationStore(scene.engine)
    if read == "one":
        await store.mark_read(number, scene.user)
    else:
        await store.mark_all_read(scene.user, None)
    data = {"title": "T", "message": "M", ABOUT_NOTIFICATION: True}
    with pytest.raises(DeliveryCancelled) as cancelled:
        await scene.push(data=data, event_id=scene.event_id)
    assert (cancelled.value.status, cancelled.value.reason) == (
        Status.SUPPRESSED,
        "the notification was read",
    )
    with pytest.raises(DeliveryCancelled, match="suppressed") as cancelled:
        await scene.push(data=data, event_id="never was")
    assert cancelled.value.reason == "the notification was deleted"


async def test_a_user_who_is_connected_gets_messages_and_no_notifications(scene: Scene) -> None:
    await scene.notified()
    data = {"title": "T", "message": "M", ABOUT_NOTIFICATION: True}
    scene.is_connected = lambda: True
    with pytest.raises(DeliveryCancelled) as cancelled:
        await scene.push(data=data, event_id=scene.event_id)
    assert cancelled.value.reason == "the user is connected"
    await scene.push(data={"title": "T", "message": "M"})
    with pytest.raises(NotYet) as later:  # a step of an escalation: nobody has read it
        await scene.push(data=data, event_id=scene.event_id, only_if="unread", age=600.0)
    assert later.value.seconds == 300.0
    scene.is_connected = _redis_is_down
    await scene.push(data=data, event_id=scene.event_id)
    assert len(scene.browser.pushed) == 2


def _redis_is_down() -> bool:
    raise ConnectionError


async def test_notifications_go_to_users_who_are_connected_where_the_settings_say_so(
    engine: AsyncEngine, push_service: PushService, authority: Authority
) -> None:
    scene = Scene(engine, push_service, webpush_when="always")
    await scene.notified()
    scene.is_connected = lambda: True
    data = {"title": "T", "message": "M", ABOUT_NOTIFICATION: True}
    await scene.push(data=data, event_id=scene.event_id)
    await scene.channel.close()
    assert len(scene.browser.pushed) == 1


async def test_what_is_for_one_user_does_not_go_to_who_has_the_device_now(scene: Scene) -> None:
    device = await scene.registered()
    assert await scene.store.add(uuid4(), subscription(scene.browser), MOST)
    failed = await scene.failure(device=device)
    assert (failed.code, failed.retryable, scene.browser.pushed) == ("device_gone", False, [])


async def test_a_push_service_in_a_private_network_is_not_called(
    engine: AsyncEngine, push_service: PushService, authority: Authority
) -> None:
    scene = Scene(engine, push_service, webpush_allow_private=False)
    failed = await scene.failure()
    assert (failed.code, failed.retryable) == ("bad_endpoint", False)
    scene.browser.endpoint = "https://push.example.com/a"
    await scene.channel.close()

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["8.8.8.8", "127.0.0.1"]

    client = OutboundClient(client_context(), 5.0, 1, resolve=resolve)
    settings = settings_on("redis://r", vapid_private_key=VAPID_PRIVATE_KEY, vapid_subject=VAPID_SUBJECT)
    scene.channel = WebPushChannel(settings.webpush, ChannelPorts(scene.store), client)
    failed = await scene.failure()
    assert (failed.code, failed.retryable) == ("private_address", False)
    await client.close()


async def test_a_connection_goes_to_the_address_that_was_checked(
    push_service: PushService, authority: Authority
) -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    client = OutboundClient(client_context(), 5.0, 1, allow_private=True, resolve=resolve)
    for _ in range(2):
        answer = await client.post(f"{push_service.address}/unknown", {}, b"")
        assert answer.status == 404
    assert len(answers) == 1, "one look-up a connection"
    await client.close()


async def test_a_server_that_does_not_answer_or_is_not_trusted_is_an_error(
    push_service: PushService, made_authority: Authority
) -> None:
    client = OutboundClient(client_context(), 5.0, 1, allow_private=True)  # that doesn't trust the CA
    with pytest.raises(OutboundError):
        await client.post(push_service.address, {}, b"")
    await client.close()


def resolved_to(address: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return [address]

    return resolve


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
async def test_a_name_of_a_private_address_is_not_connected_to(address: str) -> None:
    client = OutboundClient(client_context(), 5.0, 1, resolve=resolved_to(address))
    with pytest.raises(PrivateAddress):
        await client.post("https://public.example.com/", {}, b"")
    await client.close()
