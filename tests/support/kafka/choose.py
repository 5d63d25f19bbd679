"""Which Kafka the tests run on: the truest one that this machine can have."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.dev.broker import broker_note, run_broker
from app.dev.process import Command, Running, ServiceError, make_folder, start, start_on_free_port
from tests.support.kafka.apache import (
    fetch_jars,
    kafka_settings,
    kafka_version,
    run_apache_kafka,
    wait_for_kafka,
)
from tests.support.kafka.java import JAVA_NEEDED, find_java

FORCE = "TEST_BROKER"
EMBEDDED_PARTITIONS = 2

_INNER_CONTROLLER = "localhost:9093"
_DOCKER_SECONDS = 20


@dataclass(frozen=True)
class Broker:
    """A running broker: its bootstrap address, and one line that says what it is."""

    bootstrap: str
    description: str


@dataclass(frozen=True)
class Choice:
    """A kind of broker this machine can run, not started yet."""

    description: str
    run: Callable[[Path], AbstractContextManager[str]]


@contextmanager
def choose_broker(home: Path) -> Iterator[Broker]:
    """Run the broker `pick_broker` picks, with its data and logs in `home`. Raises ServiceError."""
    choice = pick_broker()
    with choice.run(home) as bootstrap:
        yield Broker(bootstrap, choice.description)


def pick_broker() -> Choice:
    """The first of Apache Kafka by Java, in Docker, and the embedded broker that can be had here.

    The environment's TEST_BROKER (apache, docker or embedded) forces one: it raises ServiceError if that one
    cannot be had. Jars are fetched here, which may take minutes once: call it outside a test's timeout.
    """
    forced = os.environ.get(FORCE)
    if forced:
        if forced not in _KINDS:
            raise ServiceError(f"{FORCE}={forced} is unknown: it is one of {', '.join(_KINDS)}")
        return _KINDS[forced]()
    try:
        return _apache()
    except ServiceError as error:
        no_java = str(error)
    try:
        return _docker()
    except ServiceError as error:
        no_docker = str(error)
    embedded = _embedded()
    return Choice(f"{embedded.description}; no Apache Kafka: {no_java}; {no_docker}", embedded.run)


def _apache() -> Choice:
    java = find_java()
    if java is None:
        raise ServiceError(f"no Java {JAVA_NEEDED} or newer")
    fetch_jars()
    return Choice(f"Apache Kafka {kafka_version()} (jars by Maven, Java {java.version})", run_apache_kafka)


def _docker() -> Choice:
    docker = shutil.which("docker")
    if docker is None:
        raise ServiceError("no Docker")
    try:
        answer = subprocess.run([docker, "info"], capture_output=True, timeout=_DOCKER_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ServiceError("Docker doesn't answer") from error
    if answer.returncode != 0:
        raise ServiceError("Docker doesn't run")
    _fetch_image(docker)
    return Choice(f"Apache Kafka {kafka_version()} (Docker)", lambda home: _run_in_docker(docker, home))


def _fetch_image(docker: str) -> None:
    """Now rather than at the start, which may not take that long."""
    if (
        subprocess.run([docker, "image", "inspect", _image()], capture_output=True, check=False).returncode
        == 0
    ):
        return
    print(f"Fetching {_image()} by Docker, once …", file=sys.stderr, flush=True)
    pulled = subprocess.run(
        [docker, "pull", "--quiet", _image()], capture_output=True, text=True, check=False
    )
    if pulled.returncode != 0:
        reason = (pulled.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ServiceError(f"Docker could not fetch {_image()}: {reason}")


def _image() -> str:
    return f"apache/kafka:{kafka_version()}"


def _embedded() -> Choice:
    return Choice(broker_note(), lambda home: run_broker([], EMBEDDED_PARTITIONS, home=home))


_KINDS: dict[str, Callable[[], Choice]] = {"apache": _apache, "docker": _docker, "embedded": _embedded}


@contextmanager
def _run_in_docker(docker: str, home: Path) -> Iterator[str]:
    name = f"hub-test-kafka-{uuid.uuid4().hex[:12]}"
    home = make_folder(home.absolute())
    try:
        running, bootstrap = start_on_free_port(lambda port: _start_in_docker(docker, name, port, home))
        try:
            yield bootstrap
        finally:
            running.stop()
    finally:
        # the client passes signals on to the container, except the SIGKILL after its grace
        subprocess.run([docker, "rm", "--force", name], capture_output=True, check=False)


def _start_in_docker(docker: str, name: str, port: int, home: Path) -> tuple[Running, str]:
    bootstrap = f"127.0.0.1:{port}"
    settings = kafka_settings(f"PLAINTEXT://:{port}", _INNER_CONTROLLER, bootstrap)
    environment = {"KAFKA_" + key.upper().replace(".", "_"): value for key, value in settings.items()}
    variables = [part for key, value in environment.items() for part in ("--env", f"{key}={value}")]
    published = ["--publish", f"127.0.0.1:{port}:{port}"]
    command = Command(
        name="Apache Kafka in Docker",
        arguments=[docker, "run", "--rm", "--name", name, *published, *variables, _image()],
        log=home / "logs" / "kafka.log",
        remedy="Check that Docker can run and fetch images, or set TEST_BROKER=embedded.",
        stop_grace=15.0,
    )
    running = start(command)
    return running, wait_for_kafka(running, bootstrap)
