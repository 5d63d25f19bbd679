"""A sample message of every event type, as publishers send it. Publishes samples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from app.dev import home
from app.domain.errors import ConfigurationError

FOLDER = Path(__file__).parent / "events"
DEFAULT_SETTING = "NOTIFICATION_TOPIC"


class Sample(NamedTuple):
    """A message, and the setting that names the Kafka topic it goes to."""

    setting: str
    message: dict[str, Any]


def event_types() -> list[str]:
    """The event types that have a sample."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> Sample:
    """The sample of an event type, or the message in a JSON file. Raises `ConfigurationError`."""
    path = FOLDER / f"{name}.json" if name in event_types() else Path(name)
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        known = ", ".join(event_types())
        raise ConfigurationError(
            f"{name!r} is neither a file nor an event type. Event types: {known}."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name}: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{name}: an event is a JSON object")
    if isinstance(found.get("message"), dict):
        return Sample(found.get("setting", DEFAULT_SETTING), found["message"])
    logout = found.get("event_type") == "account_logged_out"
    return Sample("LOGOUT_EVENTS_TOPIC" if logout else DEFAULT_SETTING, found)


async def publish(bootstrap: str, topics: Mapping[str, str], sample: Sample) -> str:
    """Send a sample to its Kafka topic; `topics` by setting. Returns its topic, partition and offset."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        sent = await producer.send_and_wait(topics[sample.setting], msgspec.json.encode(sample.message))
    finally:
        await producer.stop()
    return f"{sent.topic}, partition {sent.partition}, offset {sent.offset}"


async def publish_to_running(sample: Sample) -> str:
    """Send a sample to the hub that `make run` started. Raises `ConfigurationError` if there is none."""
    running = home.read()
    return await publish(running["kafka"], running["topics"], sample)
