"""The dead letters of RabbitMQ: queues whose messages are taken out one by one.

Those that aren't selected are neither acknowledged nor rejected: the broker requeues them, in order, when
the channel is closed. Until then no other consumer sees them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from hashlib import sha256

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, DeliveryError
from aiormq import spec
from aiormq.abc import AbstractChannel, DeliveredMessage

from app.domain.errors import ConfigurationError, Unavailable
from app.settings.sources import RabbitMqSettings
from app.sources.dead_letters import SUFFIX, originals, own_headers, replay_headers
from app.sources.dlq import DeadLetter, drop_all
from app.sources.rabbitmq import lenient_headers as amqp  # noqa: F401 - it makes all messages readable
from app.sources.rabbitmq.content_encoding import decoded
from app.sources.rabbitmq.message import EXPIRATION
from app.sources.rabbitmq.source import CONNECT_TIMEOUT_SECONDS, HEARTBEAT_SECONDS, queues


@asynccontextmanager
async def open_dlq(settings: RabbitMqSettings) -> AsyncIterator[RabbitDlqReader]:
    """The dead letters of all queues. Raises `Unavailable` when the broker doesn't answer, now or later."""
    if settings.url is None:
        raise ConfigurationError("RABBITMQ_URL is not set. Set it to the broker that holds the dead letters.")
    try:
        connection = await aio_pika.connect(
            settings.url.get_secret_value(),
            timeout=CONNECT_TIMEOUT_SECONDS,
            heartbeat=HEARTBEAT_SECONDS,
        )
        async with connection:
            yield RabbitDlqReader(connection, queues(settings))
    except DeliveryError:
        raise Unavailable("rabbitmq", "it returned a message. Is its queue there, and not full?") from None
    except (AMQPError, OSError) as error:
        raise Unavailable("rabbitmq", str(error) or type(error).__name__) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # the library cancels whoever waits for an answer when a connection ends
        raise Unavailable("rabbitmq", "the connection ended") from None


class RabbitDlqReader:
    """The dead letters of some queues."""

    def __init__(self, connection: AbstractConnection, targets: Sequence[str]) -> None:
        self._connection = connection
        self.targets = targets

    async def dead_letters(self, done: bool) -> AsyncGenerator[DeadLetter, None]:
        """As `DlqReader.dead_letters`."""
        for queue in self.targets:
            try:
                async with self._connection.channel(on_return_raises=True) as channel:
                    underlay = await channel.get_underlay_channel()
                    async for dead_letter in _taken(underlay, queue):
                        yield dead_letter
            except ChannelNotFoundEntity:
                continue  # nothing was ever dead-lettered

    async def replay(self, dead_letter: DeadLetter) -> None:
        """As `DlqReader.replay`."""
        message: DeliveredMessage = dead_letter.handle
        properties = copy(message.header.properties)
        properties.headers = {**dict(dead_letter.headers), **replay_headers(dead_letter.why)}
        properties.expiration = dead_letter.why.get(EXPIRATION)
        await message.channel.basic_publish(
            dead_letter.body, routing_key=dead_letter.target, properties=properties, mandatory=True
        )
        await self.drop(dead_letter)

    async def drop(self, dead_letter: DeadLetter) -> None:
        """As `DlqReader.drop`."""
        message: DeliveredMessage = dead_letter.handle
        assert message.delivery_tag is not None
        await message.channel.basic_ack(message.delivery_tag, wait=True)

    async def remove(self, unwanted: Callable[[DeadLetter], bool]) -> Counter[str]:
        """As `DlqReader.remove`."""
        return await drop_all(self, unwanted)

    async def keeps(self) -> Mapping[str, str]:
        """As `DlqReader.keeps`."""
        return {}


async def _taken(channel: AbstractChannel, queue: str) -> AsyncIterator[DeadLetter]:
    """Yield as many as there are at the start: those that a replay adds aren't fetched again."""
    dlq = queue + SUFFIX
    declared = await channel.queue_declare(dlq, passive=True)
    for _ in range(declared.message_count or 0):
        message = await channel.basic_get(dlq)
        if isinstance(message.delivery, spec.Basic.GetEmpty):
            return
        yield _dead_letter(queue, message)


def _dead_letter(queue: str, message: DeliveredMessage) -> DeadLetter:
    headers = (message.header.properties.headers or {}).items()
    why = own_headers(headers)
    return DeadLetter(
        id=f"rabbitmq:{queue}{SUFFIX}:{_number(why, message.body)}",
        source="rabbitmq",
        target=queue,
        why=why,
        headers=originals(headers),
        key=None,
        body=message.body,
        handle=message,
        properties=repr(dict(message.header.properties)),
        decoded=decoded(message.body, message.header.properties.content_encoding).body,
    )


def _number(why: Mapping[str, str], body: bytes) -> str:
    """RabbitMQ has no message numbers: this is a hash of the dead letter, so equal dead letters share it."""
    return sha256(f"{sorted(why.items())}\n".encode() + body).hexdigest()[:16]
