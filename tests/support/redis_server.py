"""A Redis server of a test's own, to be killed, restarted and frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.dev.redis import server_program
from tests.support.hub import PORTS, WAIT, free_port

SLOTS = 16384  # of a Redis Cluster


class RedisServer:
    """A server on a port that stays the same. Keeps nothing over a restart, unless `durable`."""

    def __init__(self, folder: Path, *, durable: bool = False, cluster: bool = False) -> None:
        self._folder = folder
        self._options = {"--appendonly": "yes"} if durable else {"--save": ""}
        if cluster:
            self._options |= {"--cluster-enabled": "yes", "--cluster-node-timeout": "2000"}
        self.port = _low_port() if cluster else free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        """Returns when it answers. Skips the test where there is no real Redis."""
        program = server_program()
        if program is None:
            pytest.skip("needs a real Redis: install redis-server or valkey-server")
        self._folder.mkdir(parents=True, exist_ok=True)
        options = {
            "--port": str(self.port),
            "--dir": str(self._folder),
            "--bind": "127.0.0.1",
            **self._options,
        }
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *(part for option in options.items() for part in option)], stdout=log, stderr=log
            )
        end = time.monotonic() + WAIT
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.RedisError:
                assert time.monotonic() < end, (self._folder / "log").read_text()
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections and says nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


def _low_port() -> int:
    """A cluster's servers speak among themselves on a port that is 10000 higher. Outgoing connections must
    not be given that one either.
    """
    return next(port for port in iter(free_port, 0) if port + 10_000 in PORTS)


class RedisCluster:
    """A Redis Cluster of three servers, with all slots."""

    def __init__(self, folder: Path) -> None:
        self.servers = [RedisServer(folder / str(number), cluster=True) for number in range(3)]

    @property
    def url(self) -> str:
        return self.servers[0].url

    def start(self) -> None:
        """Returns when all servers agree that the cluster is whole."""
        for number, server in enumerate(self.servers):
            server.start()
            with server.client() as client:
                share = range(SLOTS * number // 3, SLOTS * (number + 1) // 3)
                client.execute_command("CLUSTER ADDSLOTS", *share)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER MEET", "127.0.0.1", self.servers[0].port)
        end = time.monotonic() + WAIT
        while not all(self._whole(server) for server in self.servers):
            assert time.monotonic() < end, "the cluster isn't whole"
            time.sleep(0.05)

    def owner(self, slot: int) -> RedisServer:
        """The server that holds this slot."""
        return self.servers[min(2, (slot * 3 + 2) // SLOTS)]

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def _whole(self, server: RedisServer) -> bool:
        with server.client() as client:
            info = client.execute_command("CLUSTER INFO")
        text = info.decode() if isinstance(info, bytes) else str(info)
        return ("cluster_state:ok" in text or "'cluster_state': 'ok'" in text) and "3" in text.split(
            "cluster_size"
        )[1][:6]
