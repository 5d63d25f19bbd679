"""A broker that removes no records says so for good; one that can't just now doesn't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    PolicyViolationError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
)

from app.settings.sources import KafkaSettings
from app.sources.kafka import delete_records as kafka_removal
from app.sources.kafka.delete_records import RemovalRefused, removing

PLACE = TopicPartition("events.dlq", 0)


class Broker:
    """Fails whoever asks it to remove records."""

    def __init__(self, error: KafkaError) -> None:
        self.error = error

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def delete_records(self, _: Mapping[TopicPartition, RecordsToDelete]) -> None:
        raise self.error


async def remove(monkeypatch: pytest.MonkeyPatch, error: KafkaError) -> None:
    def connected(**_: Any) -> Broker:
        return Broker(error)

    monkeypatch.setattr(kafka_removal, "AIOKafkaAdminClient", connected)
    async with removing(KafkaSettings(bootstrap_servers="broker:9092")) as remove_before:
        await remove_before({PLACE: 0})


@pytest.mark.parametrize(
    "error", [IncompatibleBrokerVersion, PolicyViolationError, TopicAuthorizationFailedError]
)
async def test_what_it_never_does_is_refused(
    monkeypatch: pytest.MonkeyPatch, error: type[KafkaError]
) -> None:
    with pytest.raises(RemovalRefused):
        await remove(monkeypatch, error())


@pytest.mark.parametrize(
    "error", [KafkaConnectionError, KafkaTimeoutError, NotLeaderForPartitionError, RequestTimedOutError]
)
async def test_a_retryable_error_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch, error: type[KafkaError]
) -> None:
    """Else `run.py erase` would say that nothing is left that it could remove."""
    with pytest.raises(error):
        await remove(monkeypatch, error())
