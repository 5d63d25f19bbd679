"""All embedded services at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from app.dev.broker import broker_note, run_broker
from app.dev.postgres import postgres_note, run_postgres
from app.dev.redis import redis_note, run_redis

PARTITION_COUNT = 2


@dataclass(frozen=True)
class Services:
    """The addresses of the services, and one line for each that says what it is (`notes`)."""

    database_url: str
    redis_url: str
    kafka_bootstrap: str
    notes: tuple[str, ...]


class _Service(NamedTuple):
    running: AbstractContextManager[str]
    note: Callable[[], str]


def _ignore(_: str) -> None:
    pass


@contextmanager
def run_services(
    home: Path,
    topics: Sequence[str],
    *,
    partitions: int = PARTITION_COUNT,
    fast: bool = False,
    started: Callable[[str], None] = _ignore,
) -> Iterator[Services]:
    """Run Postgres, Redis and a broker with these Kafka topics; data and logs are in `home`.

    The services start concurrently. They end with this process, however it ends. A Ctrl-C does not reach
    them, so the hub can drain first. `fast` is that of `run_postgres`: for tests only. `started` is called
    with the note of each service when it is ready, from the thread that started it. Raises ServiceError.
    """
    with ExitStack() as running:
        services = (
            _Service(run_postgres(home, fast=fast), postgres_note),
            _Service(run_redis(home), redis_note),
            _Service(run_broker(topics, partitions, home=home), broker_note),
        )
        (database_url, redis_url, kafka_bootstrap), notes = zip(
            *_enter_all(running, services, started), strict=True
        )
        yield Services(database_url, redis_url, kafka_bootstrap, notes)


def _enter_all(
    running: ExitStack, services: Sequence[_Service], started: Callable[[str], None]
) -> list[tuple[str, str]]:
    """Enter the services concurrently. The stack gets those that started, even if another failed.

    Returns the address and the note of each.
    """

    def enter(service: _Service) -> tuple[str, str]:
        address = running.enter_context(service.running)
        note = service.note()
        started(note)
        return address, note

    with ThreadPoolExecutor(len(services)) as threads:
        entering = [threads.submit(enter, service) for service in services]
    return [entered.result() for entered in entering]
