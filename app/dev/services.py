"""All embedded services at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.dev.broker import broker_note, run_broker
from app.dev.postgres import postgres_note, run_postgres
from app.dev.redis import redis_note, run_redis

PARTITION_COUNT = 2


@dataclass(frozen=True)
class Services:
    """Where the services are, and one line each on what they are (`notes`), to be shown to a person."""

    database_url: str
    redis_url: str
    kafka_bootstrap: str
    notes: tuple[str, ...]


@contextmanager
def run_services(
    home: Path, topics: Sequence[str], *, partitions: int = PARTITION_COUNT, fast: bool = False
) -> Iterator[Services]:
    """Run Postgres, Redis and a broker with these Kafka topics; data and logs are in `home`.

    They start side by side and stop in reverse. They end with this process, however it ends; a Ctrl-C doesn't
    reach them, so the hub can drain first. `fast` is `run_postgres`'s: for tests only. Raises ServiceError.
    """
    with ExitStack() as running:
        database_url, redis_url, kafka_bootstrap = _enter_all(
            running, run_postgres(home, fast=fast), run_redis(home), run_broker(topics, partitions, home=home)
        )
        notes = (postgres_note(), redis_note(), broker_note())
        yield Services(database_url, redis_url, kafka_bootstrap, notes)


def _enter_all(running: ExitStack, *services: AbstractContextManager[str]) -> list[str]:
    """Enter the services side by side; the stack gets those that started, also when another failed."""
    with ThreadPoolExecutor(len(services)) as threads:
        entering = [threads.submit(service.__enter__) for service in services]
    for service, entered in zip(services, entering, strict=True):
        if entered.exception() is None:
            running.push(service)
    return [entered.result() for entered in entering]
