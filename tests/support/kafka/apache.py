"""Apache Kafka itself for the tests: one KRaft node, from jars that Maven fetches once."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from app.dev.process import (
    Command,
    Running,
    ServiceError,
    free_port,
    locked,
    make_folder,
    run_to_end,
    start,
    start_on_free_port,
)
from tests.support.kafka.java import JAVA_NEEDED, find_java

MESSAGE_MAX_BYTES = 8 * 1024 * 1024

_HERE = Path(__file__).resolve().parent
_POM = _HERE / "pom.xml"
_START_SECONDS = 60.0
_FETCH_SECONDS = 900
_SMALL = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC")


@contextmanager
def run_apache_kafka(home: Path) -> Iterator[str]:
    """Run Apache Kafka with its data in `home/kafka` and give its bootstrap address.

    Kafka topics are made at first use, messages may have 8 MB. It ends with this process, however it ends.
    Raises ServiceError where Java or the jars are missing or Kafka doesn't start.
    """
    kafka = ApacheKafka(home)
    kafka.start()
    try:
        yield kafka.bootstrap
    finally:
        kafka.stop()


class ApacheKafka:
    """Apache Kafka on a port that stays the same, with its data in `home/kafka`, however often it starts."""

    def __init__(
        self,
        home: Path,
        proxy: tuple[int, int] | None = None,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`proxy`: a port that leads to another one; clients that come there are sent there again. `more`:
        settings, of which those of listeners are added to what is there.
        """
        self._more = more
        self._home = make_folder(home.absolute())
        self._proxy = proxy
        self._port = 0
        self._running: Running | None = None

    @property
    def bootstrap(self) -> str:
        """Its address, once it was started."""
        return f"127.0.0.1:{self._port}"

    @property
    def running(self) -> bool:
        return self._running is not None

    def start(self) -> None:
        """Returns when it answers. Raises ServiceError as `run_apache_kafka` does."""
        java, jars = _java(), fetch_jars()
        with locked(self._home, "kafka") as lock:

            def start_on(port: int) -> Running:
                return _start_on(port, self._home, (java, jars), lock, self._proxy, self._more)

            if self._port:
                self._running = start_on(self._port)
                return
            self._running, self._port = start_on_free_port(lambda port: (start_on(port), port))

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        if self._running is not None:
            self._running.stop()
            self._running = None


def _java() -> str:
    java = find_java()
    if java is None:
        raise ServiceError(f"no Java {JAVA_NEEDED} or newer")
    return java.program


def kafka_version() -> str:
    """The version of Apache Kafka that pom.xml names."""
    version = ElementTree.parse(_POM).find("{*}properties/{*}kafka.version")
    assert version is not None
    assert version.text
    return version.text


def fetch_jars() -> Path:
    """The folder of Kafka's jars, filled by Maven when it isn't there yet, with progress on stderr.

    It is outside the work tree and named after pom.xml's content; with it filled, no network is needed.
    Raises ServiceError when Maven is missing or fails.
    """
    digest = hashlib.sha256(_POM.read_bytes()).hexdigest()[:8]
    jars = _cache() / f"kafka-{kafka_version()}-{digest}"
    if jars.exists():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceError("no Maven")
    with tempfile.TemporaryDirectory(dir=make_folder(_cache())) as unfinished:
        target = Path(unfinished) / "jars"
        _run_maven(maven, target)
        if not jars.exists():  # another test run may have been faster
            target.rename(jars)
    return jars


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "notification-hub"


def _run_maven(maven: str, target: Path) -> None:
    _say(f"Fetching Apache Kafka {kafka_version()} by Maven, once …")
    command = [maven, "-B", "-f", str(_POM), f"-Djars={target}"]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            said.append(line.rstrip())
            if fetched := re.search(r"Downloaded from \S+: \S+/(\S+\.jar) \(([^)]*)\)", line):
                _say(f"  {fetched[1]} ({fetched[2]})")
    if running.returncode != 0:
        errors = [line for line in said if line.startswith("[ERROR]")]
        raise ServiceError(f"Maven failed: {(errors or said[-1:] or ['no output'])[0]}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _start_on(
    port: int,
    home: Path,
    program: tuple[str, Path],
    lock: int,
    proxy: tuple[int, int] | None,
    more: Mapping[str, str],
) -> Running:
    java, jars = program
    bootstrap = f"127.0.0.1:{port}"
    settings = kafka_settings(f"PLAINTEXT://{bootstrap}", f"127.0.0.1:{free_port()}", bootstrap)
    if proxy is not None:
        settings["listeners"] += f",PROXY://127.0.0.1:{proxy[1]}"
        settings["advertised.listeners"] += f",PROXY://127.0.0.1:{proxy[0]}"
        settings["listener.security.protocol.map"] += ",PROXY:PLAINTEXT"
    for key, value in more.items():
        settings[key] = f"{settings[key]},{value}" if key in settings else value
    config = home / "kafka.properties"
    lines = {**settings, "log.dirs": str(home / "kafka")}
    config.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    cluster = _cluster_id(home)
    _format(home, java, jars, config, cluster, lock)
    arguments = [java, *_SMALL, *_class_path(jars), "kafka.Kafka", str(config)]
    running = start(_command(home, arguments, lock))
    wait_for_kafka(running, bootstrap, cluster)
    return running


def kafka_settings(listener: str, controller: str, advertised: str) -> dict[str, str]:
    """A node's settings for tests: alone, groups at once, big messages, Kafka topics made at first use."""
    single = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{listener},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{advertised}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "auto.create.topics.enable": "true",
        "num.partitions": "2",
        "message.max.bytes": str(MESSAGE_MAX_BYTES),
        "replica.fetch.max.bytes": str(MESSAGE_MAX_BYTES),
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.cleaner.dedupe.buffer.size": "4194304",
        **{f"{topic}.replication.factor": "1" for topic in single},
        **{f"{topic}.min.isr": "1" for topic in single[1:]},
        **{f"{topic}.num.partitions": "1" for topic in single},
    }


def wait_for_kafka(running: Running, bootstrap: str, cluster: str | None = None) -> str:
    """Wait until Kafka answers there, as this cluster where one is named, and return `bootstrap`.

    Raises ServiceError, and stops `running`, when it doesn't.
    """
    quiet = {"log_level": 0, "reconnect.backoff.max.ms": 100, "socket.timeout.ms": 5000}
    client = AdminClient({"bootstrap.servers": bootstrap, **quiet})

    def answers() -> bool:
        try:
            found = client.list_topics(timeout=0.5).cluster_id
        except KafkaException:
            return False
        return cluster in (None, found)

    try:
        running.wait_until(answers, _START_SECONDS)
    except BaseException:
        running.stop()
        raise
    return bootstrap


def _cluster_id(home: Path) -> str:
    """The cluster's id, kept in the formatted storage; a new one at the first start."""
    formatted = home / "kafka" / "meta.properties"
    if formatted.exists() and (known := re.search(r"^cluster\.id=(\S+)", formatted.read_text(), re.M)):
        return known[1]
    # the first byte is 0, as an id that begins with "-" would be taken for an option
    return urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


def _format(home: Path, java: str, jars: Path, config: Path, cluster: str, lock: int) -> None:
    if (home / "kafka" / "meta.properties").exists():
        return
    tool = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(config)]
    arguments = [java, *_SMALL, "-XX:TieredStopAtLevel=1", *_class_path(jars), *tool]
    run_to_end(_command(home, arguments, lock))


def _class_path(jars: Path) -> list[str]:
    return [f"-Dlog4j2.configurationFile={_HERE / 'log4j2.properties'}", "-cp", f"{jars}/*"]


def _command(home: Path, arguments: list[str], lock: int) -> Command:
    return Command(
        name="Apache Kafka",
        arguments=arguments,
        log=home / "logs" / "kafka.log",
        remedy=f"If its log doesn't show what to fix: delete {home / 'kafka'}, or set TEST_BROKER=embedded.",
        folder=home,
        lock=lock,
        stop_grace=5.0,
    )
