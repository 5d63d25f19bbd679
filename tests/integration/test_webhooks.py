"""Outbound webhooks on Postgres: which messages there are, and how they are sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from app.auth.secrets import SecretBox
from app.domain.deliveries import DeliveryDraft
from app.domain.details import Action, Details
from app.domain.notifications import NotificationDraft
from app.domain.webhooks import DATA, KINDS, UNSUBSCRIBED, message_id, new_secret, secret_key, signature
from app.outbox.webhooks.worker import Targets, WebhookWorker, secret_fernet
from app.runtime.backoff import Backoff
from app.runtime.outbound import OutboundAnswer, OutboundClient, OutboundError
from app.runtime.tls import client_context
from app.sources.kafka.records import KafkaRecords
from app.store.notifications import NotificationStore
from app.store.records import DeliveryRecord, EventRecord
from app.store.webhooks import WebhookStore
from app.store.writer import BatchWriter
from tests.support.hub import eventually, free_port
from tests.support.settings import settings_on
from tests.support.store import engine_on

NOW = 1_790_000_000.0
OK = OutboundAnswer(204, {}, b"")


class Client(OutboundClient):
    """Answers what `answers` says for a URL, else 204, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(client_context(), 1.0, 1)
        self.posted: list[tuple[str, Mapping[str, str], bytes]] = []
        self.answers: dict[str, OutboundAnswer | OutboundError | asyncio.Event] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> OutboundAnswer:
        self.posted.append((url, headers, body))
        answer = self.answers.get(url, OK)
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return OK
        if isinstance(answer, OutboundError):
            raise answer
        return answer

    def to(self, url: str) -> list[dict[str, Any]]:
        """The bodies that went to the URL."""
        return [msgspec.json.decode(body) for asked, _, body in self.posted if asked == url]


class Topics:
    """Keeps the records that it is given; `error`: refuses them."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str | None, Mapping[str, str], bytes]] = []
        self.error: OutboundError | None = None

    async def send(self, topic: str, key: str | None, headers: Mapping[str, str], value: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.records.append((topic, key, headers, value))

    async def close(self) -> None:
        pass


class Scene:
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.store = WebhookStore(engine)
        self.client = Client()
        self.topics: Any = Topics()
        self.box = SecretBox((), SecretStr("s" * 40), SecretStr("postgresql://localhost/x"))
        self.secrets: list[str] = []

    def worker(self, **changes: Any) -> WebhookWorker:
        settings = settings_on("redis://redis", **changes).webhooks
        pause = Backoff(first=0.001, cap=0.001)
        return WebhookWorker(
            self.store, Targets(self.client, {"kafka": self.topics}), self.box, settings, lambda: NOW, pause
        )

    def encrypted(self) -> bytes:
        self.secrets.append(new_secret())
        return secret_fernet(self.box).encrypt(self.secrets[-1].encode())

    async def endpoint(self, *kinds: str) -> tuple[UUID, str]:
        """A new endpoint, and its URL."""
        url = f"https://hooks.example.com/{uuid4()}"
        made = await self.store.add(url, kinds or KINDS, self.encrypted())
        assert made is not None
        return made, url

    async def execute(self, statement: str, *values: object) -> None:
        async with self.engine.begin() as connection:
            await connection.exec_driver_sql(statement, values)

    async def waiting(self, endpoint: UUID) -> int:
        return next(each.pending for each in await self.store.endpoints() if each.id == endpoint)


@pytest_asyncio.fixture(scope="module")
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    made = engine_on(database)
    yield made
    await made.dispose()


@pytest_asyncio.fixture
async def scene(engine: AsyncEngine) -> AsyncIterator[Scene]:
    made = Scene(engine)
    yield made
    for each in await made.store.endpoints():
        await made.store.remove(each.id)
    await made.client.close()


async def sent_to(scene: Scene, url: str, number: int, worker: WebhookWorker) -> list[dict[str, Any]]:
    """What the endpoint got, once that are so many."""

    async def enough() -> list[dict[str, Any]] | None:
        await worker.round()
        return found if len(found := scene.client.to(url)) >= number else None

    return await eventually(enough, f"{number} messages")


def check_documented(told: Sequence[Mapping[str, Any]]) -> None:
    """The data is as docs/asyncapi.yml says."""
    for each in told:
        msgspec.convert(each["data"], DATA[each["type"]])


async def test_deliveries_are_reported_to_endpoints_that_ask_for_them(scene: Scene) -> None:
    _, every = await scene.endpoint()
    _, failures = await scene.endpoint("delivery.failed")
    user, event_id = uuid4(), str(uuid4())
    draft = DeliveryDraft("email", "plain", "a@example.com", "en", user_id=user)
    await BatchWriter(scene.engine).write([EventRecord(event_id, deliveries=[DeliveryRecord(draft)])])
    for status in ("sending", "sent", "delivered", "failed"):
        await scene.execute("update deliveries set status = $1 where event_id = $2", status, event_id)
    worker = scene.worker()
    told = await sent_to(scene, every, 3, worker)
    (failed,) = await sent_to(scene, failures, 1, worker)
    await worker.stop()
    check_documented(told)
    assert sorted(each["type"] for each in told) == ["delivery.delivered", "delivery.failed", "delivery.sent"]
    assert failed["type"] == "delivery.failed"
    assert failed["data"] | {"delivery_id": None} == {
        **dict.fromkeys(
            ("delivery_id", "foreign_user_id", "category", "error_code", "provider_id", "reason")
        ),
        **{"event_id": event_id, "user_id": str(user), "channel": "email"},
        **{"template": "plain", "status": "failed"},
    }
    assert "a@example.com" not in str(scene.client.posted)


async def test_what_is_read_and_who_unsubscribes_is_reported(scene: Scene) -> None:
    _, url = await scene.endpoint()
    user = uuid4()
    draft = NotificationDraft(None, None, [user], "MESSAGE", "{}", "T", "C")
    for _ in range(3):
        await BatchWriter(scene.engine).write([EventRecord(str(uuid4()), [draft])])
    store = NotificationStore(scene.engine)
    newest = (await store.page(user, 1))[0]
    await store.mark_read(newest.id, user)
    await store.mark_read(newest.id, user)
    await store.mark_all_read(user, None)
    await scene.store.emit(UNSUBSCRIBED, user, {"category": "food", "channel": "email"})
    worker = scene.worker()
    told = await sent_to(scene, url, 3, worker)
    await worker.stop()
    check_documented(told)
    assert sorted(each["type"] for each in told) == [
        "notification.read",
        "notification.read",
        "person.unsubscribed",
    ]
    read = [each["data"] for each in told if each["type"] == "notification.read"]
    assert {"notification_id": newest.id, "user_id": str(user), "seq": 3} in read
    assert {"user_id": str(user), "read_up_to": 3} in read


async def test_what_is_seen_and_clicked_is_reported(scene: Scene) -> None:
    _, url = await scene.endpoint("notification.seen", "notification.clicked")
    user, details = uuid4(), Details(actions=(Action("ok", "OK"),))
    draft = NotificationDraft(None, None, [user], "MESSAGE", "{}", "T", "C", details=details)
    await BatchWriter(scene.engine).write([EventRecord(str(uuid4()), [draft])])
    store = NotificationStore(scene.engine)
    made = (await store.page(user, 1))[0]
    await store.mark_all_seen(user, None)
    await store.mark_all_seen(user, None)
    assert await scene.store.clicked(made.id, user, None)
    assert await scene.store.clicked(made.id, user, "ok")
    assert not await scene.store.clicked(made.id, user, "other")
    assert not await scene.store.clicked(made.id, uuid4(), None)
    worker = scene.worker()
    told = await sent_to(scene, url, 3, worker)
    await worker.stop()
    clicked = {"notification_id": made.id, "user_id": str(user), "seq": 1}
    check_documented(told)
    assert sorted([(each["type"], each["data"]) for each in told], key=str) == [
        ("notification.clicked", {**clicked, "action": "ok"}),
        ("notification.clicked", {**clicked, "action": None}),
        ("notification.seen", {"user_id": str(user), "seen_up_to": 1}),
    ]


async def test_a_chosen_action_is_written_to_a_kafka_topic(scene: Scene, kafka: str) -> None:
    """To a topic of a real Kafka, whose records are then read."""
    topic, user = f"actions-{uuid4().hex}", uuid4()
    made = await scene.store.add(f"kafka:{topic}", ["notification.clicked"], scene.encrypted())
    assert made is not None
    details = Details(actions=(Action("ok", "OK"),))
    draft = NotificationDraft(None, None, [user], "MESSAGE", "{}", "T", "C", details=details)
    await BatchWriter(scene.engine).write([EventRecord(str(uuid4()), [draft])])
    notification = (await NotificationStore(scene.engine).page(user, 1))[0]
    assert await scene.store.clicked(notification.id, user, "ok")
    settings = settings_on("redis://redis", kafka_bootstrap_servers=kafka)
    scene.topics = KafkaRecords(settings.kafka, 15.0)
    worker = scene.worker()
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        await worker.round()
        record = await asyncio.wait_for(consumer.getone(), 30)
    finally:
        await consumer.stop()
        await worker.stop()
    told, headers = msgspec.json.decode(record.value), dict(record.headers)
    check_documented([told])
    assert (told["type"], told["data"]["action"], record.key) == (
        "notification.clicked",
        "ok",
        str(user).encode(),
    )
    named, sent_at = headers["webhook-id"].decode(), int(headers["webhook-timestamp"])
    key = secret_key(scene.secrets[-1])
    assert headers["webhook-signature"].decode() == signature([key], named, sent_at, record.value)


async def test_a_kafka_that_is_away_gets_the_message_later(scene: Scene) -> None:
    made = await scene.store.add("kafka:actions", KINDS, scene.encrypted())
    assert made is not None
    await scene.store.emit("person.unsubscribed", None, {"category": "food", "channel": "email"})
    scene.topics.error = OutboundError("Kafka: KafkaConnectionError")
    worker = scene.worker()

    async def retried() -> bool:
        await worker.round()
        found = next(each for each in await scene.store.endpoints() if each.id == made)
        return found.failing_since is not None and found.pending == 1

    await eventually(retried, "it is tried again")
    scene.topics.error = None

    async def written() -> bool:
        await worker.round()
        return bool(scene.topics.records) and not await scene.waiting(made)

    await eventually(written, "it is written")
    await worker.stop()
    ((topic, key, headers, value),) = scene.topics.records
    assert (topic, key) == ("actions", None)
    assert msgspec.json.decode(value)["type"] == "person.unsubscribed"
    assert headers["webhook-id"].startswith("msg_")


async def test_a_kafka_that_does_not_answer_is_given_up_in_time() -> None:
    settings = settings_on("redis://redis", kafka_bootstrap_servers=f"127.0.0.1:{free_port()}")
    records = KafkaRecords(settings.kafka, 0.5)
    with pytest.raises(OutboundError, match="Kafka"):
        await records.send("actions", None, {}, b"{}")
    await records.close()


async def test_messages_are_signed_with_both_secrets_while_one_is_rotated(scene: Scene) -> None:
    endpoint, url = await scene.endpoint()
    worker = scene.worker()
    assert await scene.store.rotate(endpoint, scene.encrypted(), 3600.0)
    await scene.store.emit(UNSUBSCRIBED, None, {"n": 1})
    await sent_to(scene, url, 1, worker)
    assert await scene.store.rotate(endpoint, scene.encrypted(), 0.0)
    await scene.store.emit(UNSUBSCRIBED, None, {"n": 2})
    await sent_to(scene, url, 2, worker)
    await worker.stop()
    first, second, third = (secret_key(each) for each in scene.secrets)
    for (_, headers, body), keys in zip(scene.client.posted, ([second, first], [third]), strict=True):
        assert headers["webhook-timestamp"] == str(int(NOW))
        assert headers["webhook-signature"] == signature(keys, headers["webhook-id"], int(NOW), body)
    assert not any(each in str(scene.client.posted) for each in scene.secrets)


@pytest.mark.parametrize(
    "answer", [OutboundAnswer(500, {}, b""), OutboundAnswer(404, {}, b""), OutboundError("no connection")]
)
async def test_what_fails_is_sent_again_with_the_same_id(
    scene: Scene, answer: OutboundAnswer | OutboundError
) -> None:
    _, url = await scene.endpoint()
    scene.client.answers[url] = answer
    worker = scene.worker()
    await scene.store.emit(UNSUBSCRIBED, None, {})
    await sent_to(scene, url, 2, worker)
    del scene.client.answers[url]

    async def done() -> bool:
        await worker.round()
        (endpoint,) = await scene.store.endpoints()
        return (endpoint.pending, endpoint.failing_since) == (0, None)

    await eventually(done, "the message is sent")
    await worker.stop()
    assert len({headers["webhook-id"] for _, headers, _ in scene.client.posted}) == 1


async def test_an_endpoint_that_fails_for_too_long_is_disabled_and_can_be_replayed(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint, url = await scene.endpoint()
    scene.client.answers[url] = OutboundAnswer(500, {}, b"")
    await scene.store.emit(UNSUBSCRIBED, None, {})
    await scene.execute("update webhook_endpoints set failing_since = now() - interval '1 hour'")
    worker = scene.worker(webhook_retry_deadline=1800.0)

    async def disabled() -> bool:
        await worker.round()
        return (await scene.store.endpoints())[0].disabled_at is not None

    with caplog.at_level(logging.ERROR, "hub.webhooks"):
        await eventually(disabled, "the endpoint is disabled")
    assert [record.message for record in caplog.records] == ["webhook_disabled"]
    await scene.store.emit(UNSUBSCRIBED, None, {})
    (shown,) = await scene.store.endpoints()
    assert (shown.pending, shown.failed) == (0, 1), "nothing is kept for one that is disabled"
    assert shown.disabled_reason == "it failed for 0.5 hours: it answered 500"
    del scene.client.answers[url]
    assert await scene.store.enable(endpoint)
    assert await scene.store.replay(endpoint, datetime.now(UTC) - timedelta(hours=1)) == 1
    before = len(scene.client.posted)
    await sent_to(scene, url, before + 1, worker)
    await worker.stop()
    ids = {headers["webhook-id"] for _, headers, _ in scene.client.posted}
    assert len(ids) == 1
    assert ids.pop().startswith(message_id(UUID(int=0))[:4])


async def test_an_endpoint_that_is_gone_is_disabled_at_once(scene: Scene) -> None:
    _, url = await scene.endpoint()
    scene.client.answers[url] = OutboundAnswer(410, {}, b"")
    await scene.store.emit(UNSUBSCRIBED, None, {})
    worker = scene.worker()

    async def disabled() -> bool:
        await worker.round()
        return (await scene.store.endpoints())[0].disabled_reason == "it answered 410"

    await eventually(disabled, "the endpoint is disabled")
    await worker.stop()
    assert len(scene.client.posted) == 1


async def test_a_slow_endpoint_delays_no_other_and_a_private_one_is_not_called(scene: Scene) -> None:
    _, slow = await scene.endpoint()
    _, fast = await scene.endpoint()
    private = "https://127.0.0.1/hook"
    made = await scene.store.add(private, [UNSUBSCRIBED], scene.encrypted())
    assert made is not None
    scene.client.answers[slow] = asyncio.Event()
    worker = scene.worker()
    for number in range(20):
        await scene.store.emit(UNSUBSCRIBED, None, {"n": number})
    assert len(await sent_to(scene, fast, 20, worker)) == 20
    assert len(scene.client.to(slow)) <= 4
    assert scene.client.to(private) == []
    assert await scene.waiting(made) == 20
    await worker.stop()
