"""The events of a round, and how they get into Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

GROUP = "123e4567-e89b-12d3-a456-426614174000"
SERIAL_DIGITS, STAMP_DIGITS = 10, 20
# An unknown field of `data`: the hub hands it through, the generator finds it in the frame.
MARK = b'"bench":'
_USERS_BEGIN = 0xBE7C0000_0000_4000_8000_000000000000


def user_id(number: int) -> UUID:
    """The user with this number, in every process the same."""
    return UUID(int=_USERS_BEGIN + number)


@dataclass(frozen=True)
class Load:
    """The events of one round: `events` of them, each with `fan_out` receivers out of `users` users."""

    first_serial: int
    events: int
    users: int
    first_user: int = 0
    fan_out: int = 1

    @property
    def notifications(self) -> int:
        return self.events * self.fan_out

    def message(self, index: int) -> bytes:
        """The event with this index, stamped with the monotonic clock that all processes here share."""
        begin = index * self.fan_out
        numbers = ((begin + i) % self.users for i in range(self.fan_out))
        serial = self.first_serial + index
        return msgspec.json.encode(
            {
                "event_type": "group_user_added",
                "group_id": GROUP,
                "receivers": [user_id(self.first_user + number) for number in numbers],
                "data": {
                    "requester_username": "john_doe",
                    "group_name": "Family Group",
                    "bench": f"{serial:0{SERIAL_DIGITS}}:{time.monotonic_ns():0{STAMP_DIGITS}}",
                },
            }
        )


class Publisher:
    """Publishes to one Kafka topic, evenly over its partitions."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer: Any = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 0, "queue.buffering.max.messages": 2_000_000}
        )
        self._partitions = len(self._producer.list_topics(topic, timeout=10).topics[topic].partitions)

    def burst(self, load: Load) -> None:
        """Publish the whole load as fast as possible; returns when the broker has it."""
        for index in range(load.events):
            self._produce(load.message(index), index)
        self._flush()

    def send(self, message: bytes) -> None:
        """Publish one message; returns when the broker has it."""
        self._produce(message, 0)
        self._flush()

    def paced(self, load: Load, rate: float, on_progress: Callable[[int], None]) -> float:
        """Publish at `rate` events a second, whatever becomes of them; the rate that was reached."""
        begin = reported = time.monotonic()
        for index in range(load.events):
            wait = begin + index / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self._produce(load.message(index), index)
            if time.monotonic() - reported > 0.5:
                reported = time.monotonic()
                on_progress(index + 1)
        reached = load.events / (time.monotonic() - begin)
        self._flush()
        on_progress(load.events)
        return reached

    def _produce(self, message: bytes, index: int) -> None:
        self._producer.produce(self._topic, message, partition=index % self._partitions)
        self._producer.poll(0)

    def _flush(self) -> None:
        left = self._producer.flush(30)
        if left:
            raise RuntimeError(f"{left} events did not get into Kafka within 30 s")


def make_topic(bootstrap: str, topic: str, partitions: int) -> None:
    """Make the Kafka topic. Raises KafkaException when the broker refuses."""
    admin: Any = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for made in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
        made.result(timeout=15)
