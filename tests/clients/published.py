"""The old publishers: what they send, and over which transport."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import redis.asyncio as redis_py

from tests.support.hub import Hub
from tests.support.rabbitmq_server import RabbitMQ

FOLDER = Path(__file__).with_name("messages")
LITERAL = sorted(path.stem for path in FOLDER.glob("*.json"))
"""The documented messages, as the publishers send them."""

MARIA, CHEF, LEFT = (
    "456e7890-e89b-12d3-a456-426614174001",
    "789e0123-e89b-12d3-a456-426614174002",
    "0a1b2c3d-e89b-12d3-a456-426614174003",
)
"""The two users of the documented messages, and a member of the group who leaves it."""
GROUP = "123e4567-e89b-12d3-a456-426614174000"


@dataclass(frozen=True)
class Published:
    """A message on its way: over Kafka, RabbitMQ, or Redis (`redis` is the channel and the stream)."""

    transport: str
    place: str
    body: Any
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The bytes as they are sent."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@cache
def literal(name: str) -> Published:
    """One of the documented messages, with the transport that it comes over."""
    described = json.loads((FOLDER / f"{name}.json").read_text())
    transport, _, place = described["via"].partition(" ")
    return Published(transport, place, described["message"])


async def publish(hub: Hub, rabbitmq: RabbitMQ | None, redis_url: str, messages: list[Published]) -> None:
    """Publish them all, those of one place in their order."""
    for topic in {each.place for each in messages if each.transport == "kafka"}:
        contents = [each.content for each in messages if each.place == topic]
        await hub.publish(*contents, topic=hub.environment[topic], key=b"one partition")
    if rabbitmq is not None:
        for each in messages:
            if each.transport == "rabbitmq":
                await rabbitmq.publish(each.place, each.content, **each.properties)
    async with redis_py.Redis.from_url(redis_url) as client:
        for each in messages:
            if each.transport == "redis":
                if "channel" in each.place:
                    await client.publish("inventory:low-stock", each.content)
                if "stream" in each.place:
                    await client.xadd("inventory:low-stock:stream", {"data": each.content})


def with_bom(message: Any) -> bytes:
    return codecs.BOM_UTF8 + json.dumps(message).encode()


def compressed(compress: Callable[[bytes], bytes], message: Any) -> bytes:
    return compress(json.dumps(message).encode())
