"""The embedded services: they work, keep data, tell what is wrong, and never outlive whoever started them."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

import app.dev.redis
from app.dev.broker import run_broker
from app.dev.postgres import run_postgres
from app.dev.process import ServiceError
from app.dev.redis import redis_note, run_redis
from app.dev.services import run_services
from tests.support.kafka.choose import FORCE, pick_broker
from tests.support.services import own_home

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0
TOPIC = f"events-{uuid.uuid4().hex[:8]}"
"""A Kafka topic that no other test of the run has."""

# A hub as far as the services can tell: prints where they are, then waits.
PARENT = """
import os, signal, sys
from pathlib import Path
from app.dev.services import run_services

# said aloud: a parent of the tests may ignore it, which is inherited
signal.signal(signal.SIGINT, signal.SIG_IGN if "ignore-sigint" in sys.argv else signal.default_int_handler)
with run_services(Path(sys.argv[1]), ["events"], fast=True) as services:
    print(services.database_url, services.redis_url, services.kafka_bootstrap, flush=True)
    while True:
        signal.pause()
"""


class Parent:
    """PARENT as a process in a separate session, with the services it runs."""

    def __init__(self, home: Path, *arguments: str) -> None:
        command = [sys.executable, "-c", PARENT, str(home), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, start_new_session=True
        )
        assert self.process.stdout is not None
        self.database_url, self.redis_url, self.bootstrap = self.process.stdout.readline().decode().split()
        self.descendants = psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        wait_until_gone(self.descendants)


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    """A zombie is dead: only its new parent has yet to read its status."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(processes: list[psutil.Process]) -> None:
    wait_until(lambda: not any(map(is_alive, processes)), f"some of {processes} live on")


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


async def query(url: str, statement: str) -> Any:
    connection = await asyncpg.connect(url, timeout=SECONDS)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def get_key(url: str, key: str) -> Any:
    with redis.Redis.from_url(url) as client:
        return client.get(key)


def set_key(url: str, key: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set(key, value)


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    with own_home() as made:
        yield made


@pytest.fixture(scope="module")
def initialized() -> Iterator[Path]:
    """The data of a Postgres that has run and has stopped."""
    with own_home() as made:
        with run_postgres(made, fast=True):
            pass
        yield made / "postgres"


@pytest.fixture
def folder(empty_folder: Path, initialized: Path) -> Path:
    """A home that has a Postgres's data already: initdb takes longer than what most of these tests do."""
    subprocess.run(["cp", "-a", str(initialized), str(empty_folder / "postgres")], check=True)
    return empty_folder


@pytest.fixture
def parent(folder: Path) -> Iterator[Parent]:
    started = Parent(folder)
    yield started
    started.end()


async def test_each_service_answers_a_real_client(empty_folder: Path) -> None:
    started: list[str] = []
    with run_services(empty_folder, ["events"], started=started.append) as services:
        assert sorted(started) == sorted(services.notes)
        assert await query(services.database_url, "select current_database()") == "hub"
        assert await query(services.database_url, "show fsync") == "on"
        assert int(await query(services.database_url, "show max_connections")) == 200
        set_key(services.redis_url, "key", "value")
        assert get_key(services.redis_url, "key") == b"value"
        async with AIOKafkaProducer(bootstrap_servers=services.kafka_bootstrap) as producer:
            assert await producer.partitions_for("events") == {0, 1}
        assert len(services.notes) == 3
        assert {path.name for path in (empty_folder / "logs").iterdir()} == {
            "postgres.log",
            "redis.log",
            "broker.log",
        }


async def test_a_second_start_keeps_rows_and_keys(folder: Path) -> None:
    with run_services(folder, [], fast=True) as first:
        await query(first.database_url, "create table kept as select 42 as number")
        set_key(first.redis_url, "kept", "42")
    with run_services(folder, [], fast=True) as second:
        assert await query(second.database_url, "select number from kept") == 42
        assert get_key(second.redis_url, "kept") == b"42"


async def test_two_homes_run_side_by_side(empty_folder: Path) -> None:
    with (
        run_services(empty_folder / "one", [], fast=True) as one,
        run_services(empty_folder / "two", [], fast=True) as two,
    ):
        await query(one.database_url, "create table only_in_one ()")
        set_key(one.redis_url, "only", "in one")
        assert await query(two.database_url, "select to_regclass('only_in_one')") is None
        assert get_key(two.redis_url, "only") is None
        assert one.kafka_bootstrap != two.kafka_bootstrap


def test_one_home_is_not_run_twice(empty_folder: Path) -> None:
    with run_redis(empty_folder), pytest.raises(ServiceError, match=f"already runs .* process {os.getpid()}"):
        run_redis(empty_folder).__enter__()


def test_nothing_is_left_after_an_exception(folder: Path) -> None:
    before = descendants()
    during = []

    def work() -> None:
        with run_services(folder, [], fast=True):
            during.extend(descendants())
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert len(during) >= len(before) + 6
    assert descendants() == before


def test_the_others_are_stopped_when_one_does_not_start(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descendants()
    monkeypatch.setattr(app.dev.redis, "_installed", lambda: "/bin/false")
    with pytest.raises(ServiceError, match="Redis ended with status 1"):
        run_services(empty_folder, [], fast=True).__enter__()
    assert descendants() == before


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        # They leave the parent more time; the demo's tests stop theirs by SIGTERM in every run.
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_nothing_is_left_after_a_signal_to_the_parent(parent: Parent, number: signal.Signals) -> None:
    assert len(parent.descendants) >= 6
    parent.process.send_signal(number)
    parent.process.wait(SECONDS)
    wait_until_gone(parent.descendants)


@pytest.mark.skipif(sys.platform != "linux", reason="relies on PR_SET_PDEATHSIG")
def test_nothing_is_left_when_the_guards_are_killed(parent: Parent) -> None:
    for guard in psutil.Process(parent.process.pid).children():
        guard.kill()
    wait_until_gone(parent.descendants)


async def test_a_start_after_kill_9_works_and_keeps_what_was_committed(parent: Parent, folder: Path) -> None:
    await query(parent.database_url, "create table kept as select 42 as number")
    parent.process.kill()
    with run_services(folder, [], fast=True) as services:
        assert await query(services.database_url, "select number from kept") == 42


async def test_ctrl_c_in_the_terminal_leaves_the_services_to_the_parent(folder: Path) -> None:
    parent = Parent(folder, "ignore-sigint")
    try:
        os.killpg(parent.process.pid, signal.SIGINT)
        assert await query(parent.database_url, "select 42") == 42
        assert get_key(parent.redis_url, "key") is None
        assert all(map(is_alive, parent.descendants))
    finally:
        parent.end()


async def test_a_pid_file_that_now_names_another_process_is_no_obstacle(folder: Path) -> None:
    with run_postgres(folder, fast=True):
        pass
    stale = [str(os.getpid()), str(folder / "postgres"), "1", "5432", "", "127.0.0.1", "", "ready"]
    (folder / "postgres" / "postmaster.pid").write_text("\n".join(stale))
    with run_postgres(folder, fast=True) as url:
        assert await query(url, "select 42") == 42


async def test_an_initdb_killed_in_the_middle_is_done_again(empty_folder: Path) -> None:
    unfinished = empty_folder / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with run_postgres(empty_folder, fast=True) as url:
        assert await query(url, "select 42") == 42


def test_a_postgres_that_does_not_start_says_why(folder: Path) -> None:
    with run_postgres(folder, fast=True):
        pass
    (folder / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ServiceError, match=r"(?s)delete .*postgres\.log.*version 9\.6"):
        run_postgres(folder, fast=True).__enter__()


@pytest.mark.parametrize("run", [run_postgres, run_redis])
def test_a_home_that_cannot_be_written_is_named(
    empty_folder: Path, run: Callable[[Path], AbstractContextManager[str]]
) -> None:
    home = empty_folder / "file" / "home"
    home.parent.write_text("not a empty_folder")
    with pytest.raises(ServiceError, match=f"{home} cannot be written"):
        run(home).__enter__()


def test_without_any_redis_server_fakeredis_stands_in_and_says_so(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.dev.redis, "_installed", lambda: None)
    monkeypatch.setattr(app.dev.redis, "_from_wheel", lambda: None)
    assert "fakeredis" in redis_note()
    with run_redis(empty_folder) as url:
        set_key(url, "key", "value")
        assert get_key(url, "key") == b"value"


@pytest.fixture(scope="module", params=["embedded", "best"])
def bootstrap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded broker, and the one of this run, which is the best that this machine can have."""
    if request.param == "embedded":
        with run_broker([TOPIC], 2, home=tmp_path_factory.mktemp("broker")) as address:
            yield address
    else:
        yield request.getfixturevalue("kafka")


async def consume(bootstrap: str, kafka_topic: str, count: int) -> list[ConsumerRecord[bytes, bytes]]:
    """Read `count` records as a new member of the group, commit their positions, leave."""
    consumer = AIOKafkaConsumer(
        kafka_topic,
        bootstrap_servers=bootstrap,
        group_id=f"readers of {kafka_topic}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
        session_timeout_ms=2000,
        heartbeat_interval_ms=500,
        max_partition_fetch_bytes=4_000_000,
    )
    read: list[ConsumerRecord[bytes, bytes]] = []
    deadline = time.monotonic() + SECONDS
    async with consumer:
        while len(read) < count:
            assert time.monotonic() < deadline, f"{len(read)} of {count} records"
            batch = await consumer.getmany(timeout_ms=500, max_records=count - len(read))
            read += [record for records in batch.values() for record in records]
        # in the order read: the last position of each partition stays
        await consumer.commit({TopicPartition(each.topic, each.partition): each.offset + 1 for each in read})
    return read


async def test_a_consumer_that_comes_back_goes_on_at_the_committed_offset(bootstrap: str) -> None:
    headers = [("why", b"\xff\x00")]
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for number in range(20):
            key = b"%d" % number
            await producer.send_and_wait(TOPIC, key, key=key, headers=headers)
    first = await consume(bootstrap, TOPIC, 8)
    second = await consume(bootstrap, TOPIC, 12)
    assert sorted(int(record.value or b"") for record in first + second) == list(range(20))
    assert first[0].headers == tuple(headers)
    assert abs(first[0].timestamp / 1000 - time.time()) < 60


async def test_a_kafka_topic_is_made_at_first_use(bootstrap: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(f"{TOPIC}.dlq", b"dead letter")
    assert [record.value for record in await consume(bootstrap, f"{TOPIC}.dlq", 1)] == [b"dead letter"]


@pytest.mark.parametrize("size", [900_000, 2_000_000])
async def test_big_messages_pass(bootstrap: str, size: int) -> None:
    kafka_topic = f"{TOPIC}.big.{size}"
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=4_000_000) as producer:
        await producer.send_and_wait(kafka_topic, bytes(size))
    assert [len(record.value or b"") for record in await consume(bootstrap, kafka_topic, 1)] == [size]


def test_an_unknown_forced_broker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCE, "rabbitmq")
    with pytest.raises(ServiceError, match="TEST_BROKER=rabbitmq is unknown: it is one of apache, docker"):
        pick_broker()


def test_without_java_and_docker_the_embedded_broker_says_what_was_missing(
    monkeypatch: pytest.MonkeyPatch, empty_folder: Path
) -> None:
    monkeypatch.delenv(FORCE, raising=False)
    monkeypatch.setattr("tests.support.kafka.choose.find_java", lambda: None)
    monkeypatch.setenv("PATH", str(empty_folder))
    assert pick_broker().description.endswith("; no Apache Kafka: no Java 17 or newer; no Docker")
