"""A broker that speaks Kafka's protocol, without Java: librdkafka's mock cluster in a separate process.

It keeps everything in memory (5 MB a partition, then it drops the oldest), so each run starts empty. A Kafka
topic that is used without having been named at the start gets four partitions. Clients should know:

- It answers fetches only when their wait is over: keep `fetch_max_wait_ms` at 10–50.
- A change in a consumer group, such as a member that comes back, takes `session_timeout_ms` less one second:
  keep that at 2000–3000.
- The answer to a produce request says 1234 for its time; the record itself, once read, has the right one.
"""

import ctypes
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.dev.process import Command, start

_ROOT = Path(__file__).resolve().parents[2]
_PRODUCER = 0
_ERROR_TEXT_BYTES = 512


@contextmanager
def run_broker(topics: Sequence[str], partitions: int, *, home: Path | None = None) -> Iterator[str]:
    """Run a broker that has these Kafka topics and give its bootstrap address.

    Its log goes to `home/logs`, without a home to a folder that ends with the run. Raises ServiceError with
    the reason and a remedy.
    """
    with tempfile.TemporaryDirectory() as passing:
        command = Command(
            name="The Kafka broker",
            arguments=[sys.executable, "-m", "app.dev.broker", str(partitions), *topics],
            log=(home.absolute() if home else Path(passing)) / "logs" / "broker.log",
            remedy="Install the version of confluent-kafka that requirements-run.txt names.",
            stop_signal=signal.SIGKILL,  # nothing to save
            folder=_ROOT,
            speaks=True,
        )
        running = start(command)
        try:
            yield running.wait_for_line()
        finally:
            running.stop()


def broker_note() -> str:
    """One line that says which broker this is."""
    import confluent_kafka

    return f"librdkafka {confluent_kafka.libversion()[0]}'s mock broker (in memory, begins empty)"


class MockCluster:
    """librdkafka's mock cluster through its C interface.

    The Python client can start one (`test.mock.num.brokers`), but not make its Kafka topics: each would get
    four partitions of 5 MB. The symbols are those of the library that confluent_kafka itself has loaded.
    """

    def __init__(self) -> None:
        from confluent_kafka import cimpl

        library = ctypes.CDLL(cimpl.__file__)
        for name in ("conf_new", "new", "mock_cluster_new", "mock_cluster_bootstraps"):
            getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        error = ctypes.create_string_buffer(_ERROR_TEXT_BYTES)
        client = library.rd_kafka_new(
            _PRODUCER, ctypes.c_void_p(library.rd_kafka_conf_new()), error, ctypes.c_size_t(len(error))
        )
        if not client:
            raise RuntimeError(error.value.decode())
        cluster = library.rd_kafka_mock_cluster_new(ctypes.c_void_p(client), 1)
        if not cluster:
            raise RuntimeError("librdkafka could not start its mock cluster")
        self._library, self._cluster = library, ctypes.c_void_p(cluster)
        # by default a consumer group gathers members for 3 s before each of them gets its partitions
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a Kafka topic; raises RuntimeError when the library refuses."""
        if status := self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1):
            raise RuntimeError(f"the Kafka topic {name} cannot be made: error {status}")

    @property
    def bootstrap(self) -> str:
        """The address for clients: "127.0.0.1:PORT"."""
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return address.decode()


def main(partitions: int, topics: Sequence[str]) -> None:
    """Run the broker until killed; prints its bootstrap address when it is ready."""
    cluster = MockCluster()
    for topic in topics:
        cluster.create_topic(topic, partitions)
    print(cluster.bootstrap, flush=True)
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
