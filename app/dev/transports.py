"""Publish a sample event over any transport, as a service would. For development only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import aio_pika
import httpx
import msgspec
from aio_pika.exceptions import AMQPError
from aiokafka.errors import KafkaError
from redis.asyncio import Redis

from app.dev import samples, tokens
from app.dev.samples import Sample
from app.domain.errors import HubError
from app.runtime.redis import REDIS_ERRORS
from app.settings import Settings
from app.sources import BROKERS

TIMEOUT_SECONDS = 10.0  # for one transport
MAX_STREAM_ENTRIES = 10_000  # approximate; the hub never deletes entries
UNREACHABLE = (KafkaError, AMQPError, httpx.HTTPError, *REDIS_ERRORS)
GET_RABBITMQ = (
    "RABBITMQ_URL is not set. Start the hub with RABBITMQ_URL=amqp://user:password@host:5672/ make run"
)

Publish = Callable[[Sample], Awaitable[str]]


class DevTransport(NamedTuple):
    """A transport as the demo page shows it. `missing` says how to set it up if it is not."""

    id: str
    name: str
    missing: str = ""


class PublishedSample(NamedTuple):
    """The result of publishing over one transport: where the event is, or the error."""

    way: str
    place: str = ""
    error: str = ""


class DevTransports:
    """Publishes over the transports that this hub consumes."""

    def __init__(self, settings: Settings, service_token: str, notifications: str) -> None:
        """`notifications` is the URL to POST events to. `settings.redis_streams.url` must be set."""
        assert settings.redis_streams.url is not None
        self._settings = settings
        self._redis = Redis.from_url(settings.redis_streams.url.get_secret_value(), decode_responses=True)
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {service_token}"},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,  # a proxy cannot reach this machine
        )
        self._notifications = notifications
        self._rabbitmq_url = settings.rabbitmq.url
        self._senders: Mapping[str, Publish] = {
            "kafka": self._by_kafka,
            "rabbitmq": self._by_rabbitmq,
            "redis_stream": self._by_stream,
            "redis_pubsub": self._by_pubsub,
            "http": self._by_http,
        }

    @property
    def all(self) -> list[DevTransport]:
        """Every transport, in the order to show them in."""
        brokers = [
            DevTransport(id, name, "" if broker.configured(self._settings) else GET_RABBITMQ)
            for broker in BROKERS
            for id, name in broker.transports.items()
            if id in self._senders
        ]
        return [*brokers, DevTransport("http", "HTTP")]

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._http.aclose()

    async def send(self, sample: Sample, transports: Sequence[str]) -> list[PublishedSample]:
        """Publish over all these transports (ids) concurrently. Returns the result of each."""
        return await asyncio.gather(*(self._send(sample, each) for each in transports))

    async def _send(self, sample: Sample, transport: str) -> PublishedSample:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return PublishedSample(transport, await self._senders[transport](sample))
        except HubError as error:
            return PublishedSample(transport, error=str(error))
        except UNREACHABLE as error:
            return PublishedSample(transport, error=f"No answer ({type(error).__name__}). Is it running?")

    async def _by_kafka(self, sample: Sample) -> str:
        return await samples.publish(
            self._settings.kafka.bootstrap_servers, self._settings.kafka.topics, sample
        )

    async def _by_rabbitmq(self, sample: Sample) -> str:
        if self._rabbitmq_url is None:
            raise HubError(GET_RABBITMQ)
        queue = self._queue(sample.message)
        message = aio_pika.Message(_body(sample), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        connection = await aio_pika.connect(self._rabbitmq_url.get_secret_value(), timeout=TIMEOUT_SECONDS)
        async with connection, connection.channel(on_return_raises=True) as channel:
            await channel.default_exchange.publish(message, queue)
        return f"queue {queue}"

    def _queue(self, message: Mapping[str, Any]) -> str:
        queues = {
            "booking": self._settings.rabbitmq.booking_queue,
            "payment": self._settings.rabbitmq.payment_queue,
        }
        subject = message["event_type"].partition(".")[0]
        return queues.get(subject, self._settings.rabbitmq.notifications_queue)

    async def _by_stream(self, sample: Sample) -> str:
        stream = self._settings.redis_streams.stream
        entry = await self._redis.xadd(stream, {"event": _body(sample)}, maxlen=MAX_STREAM_ENTRIES)
        return f"{stream}, entry {entry!s}"

    async def _by_pubsub(self, sample: Sample) -> str:
        channel = self._settings.redis_streams.channel
        subscribers: int = await self._redis.publish(channel, _body(sample))
        if not subscribers:
            raise HubError("The hub is not subscribed to the channel. Its log says why.")
        return f"channel {channel}"

    async def _by_http(self, sample: Sample) -> str:
        answer = await self._http.post(self._notifications, content=_body(sample))
        if answer.is_error:
            raise HubError(answer.json()["detail"])
        return f"POST {answer.request.url.path}, {answer.status_code}"


def service_token(secret: str) -> str:
    """Create a token of a service that may send."""
    return tokens.sign("demo-page", secret, scope="notifications:send")


def _body(sample: Sample) -> bytes:
    return msgspec.json.encode(sample.message)
