"""The consumer and the producer of a Kafka source: configuration, start and stop."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import ssl
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider

from app.domain.errors import ConfigurationError
from app.domain.events import MAX_EVENT_BYTES
from app.runtime.tasks import end, looked_at
from app.settings.sources import KafkaSettings
from app.sources.kafka import (
    bounded_batches,  # noqa: F401 - all consumers decompress within its limits
    fetch_codec,  # noqa: F401 - for the fetches of all consumers
)
from app.sources.kafka.paced_consumer import PacedConsumer

ISOLATION_LEVEL = "read_committed"
"""Of every consumer: what a publisher aborts never happened, and what is open hasn't happened yet."""
METADATA_AGE_MS = 10_000  # a new topic is noticed within this time
LEAVE_TIMEOUT_SECONDS = 2.0  # a broker that doesn't answer removes the consumer after its session time-out


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """How each Kafka client of the hub connects: arguments that all classes of aiokafka take.

    Raises `OSError` if a file of the TLS set-up can't be read, `ConfigurationError` if there is no such
    function for OAUTHBEARER.
    """
    secure = settings.security_protocol.endswith("SSL")
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "ssl_context": _tls(settings) if secure else None,
    }
    if settings.sasl_mechanism is not None:
        arguments["sasl_mechanism"] = settings.sasl_mechanism
    if settings.sasl_oauth_token_provider is not None:
        arguments["sasl_oauth_token_provider"] = _TokenProvider(settings.sasl_oauth_token_provider)
    if settings.sasl_password is not None:
        arguments["sasl_plain_username"] = settings.sasl_username
        arguments["sasl_plain_password"] = settings.sasl_password.get_secret_value()
    return arguments


def check_security(settings: KafkaSettings) -> None:
    """Raise `ConfigurationError` if there is no connecting with these settings, whatever the broker says."""
    try:
        connection(settings)
    except OSError as error:
        raise ConfigurationError(f"The files named by KAFKA_SSL_… cannot be used: {error}") from None


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_cafile)
    context.check_hostname = settings.ssl_check_hostname
    if settings.ssl_certfile is not None:
        password = settings.ssl_password and settings.ssl_password.get_secret_value()
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password or "")
    return context


class _TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Gives the tokens of the function that the operator named."""

    def __init__(self, function: str) -> None:
        module, _, name = function.partition(":")
        try:
            self._function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"KAFKA_SASL_OAUTH_TOKEN_PROVIDER: {error}") from None

    async def token(self) -> str:
        found = self._function()
        token: str = await found if inspect.isawaitable(found) else found
        return token


async def start(settings: KafkaSettings) -> tuple[Any, Any]:
    """A consumer of the hub's group that commits nothing by itself, and a producer for dead letters.

    Raises what aiokafka raises.
    """
    consumer = PacedConsumer(
        **connection(settings),
        isolation_level=ISOLATION_LEVEL,
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=settings.batch_size,
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.session_timeout_ms // 4,
        metadata_max_age_ms=METADATA_AGE_MS,
    )
    producer = AIOKafkaProducer(
        **connection(settings),
        acks="all",
        max_request_size=2 * MAX_EVENT_BYTES,
    )
    try:
        await producer.start()
        await consumer.start()
    except BaseException:
        await asyncio.gather(consumer.stop(), producer.stop(), return_exceptions=True)
        raise
    return consumer, producer


class ClosingClients:
    """Clients that are stopping.

    The wait is bounded, as a broker may not answer. They aren't cancelled then: a half-stopped consumer
    would go on sending heartbeats, and keep its partitions.
    """

    def __init__(self) -> None:
        self._stopping: set[asyncio.Task[None]] = set()

    async def close(self, *clients: Any) -> None:
        """Stop them; return when they have stopped, or after `LEAVE_TIMEOUT_SECONDS`."""
        leaving = [asyncio.create_task(client.stop(), name="kafka leave") for client in clients]
        for task in leaving:
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
            task.add_done_callback(looked_at)
        await asyncio.wait(leaving, timeout=LEAVE_TIMEOUT_SECONDS)

    async def abort(self) -> None:
        """Cancel those that are still stopping: none outlives the hub."""
        await end(*self._stopping)
