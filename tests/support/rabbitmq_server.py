"""A RabbitMQ broker, and what tests publish to it.

The workers of a test run share one broker; each module has a separate virtual host in it, so that queues
may have their documented names. A start takes 8 s of processor time, a virtual host 0.05 s. Only a test that
stops its broker runs a separate one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aio_pika
import aiormq
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq import spec
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from tests.support.hub import eventually, free_port
from tests.support.install_tools import RABBITMQ, has_rabbitmq

STARTS_WITHIN = 60.0  # seconds; an Erlang VM takes several
PIECE = 100_000  # bytes of a body in one frame
NODE_NAME = "RABBITMQ_NODENAME"
MISSING = "no RabbitMQ: install rabbitmq-server"


class RabbitMQ:
    """A virtual host of a broker on this machine."""

    def __init__(self, port: int, vhost: str = "") -> None:
        self.port = port
        self.vhost = vhost  # as URLs have it: empty is the default one

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{self.vhost}"

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel to the broker."""
        connection = await aio_pika.connect(self.url)
        async with connection, connection.channel(publisher_confirms=False) as channel:
            yield channel

    async def publish(
        self, queue: str, *messages: Any, swap: tuple[bytes, bytes] = (b"", b""), **properties: Any
    ) -> None:
        """Publish to a queue, and wait until the broker has them all: objects as JSON, bytes as they are.

        `swap`: bytes of the frames, and what is sent instead: a publisher's mistakes that no library makes.
        """
        async with self.channel() as channel:
            underlay = await channel.get_underlay_channel()
            assert isinstance(underlay, aiormq.Channel)
            for message in messages:
                body = message if isinstance(message, bytes) else json.dumps(message).encode()
                kept = spec.Basic.Properties(**{"delivery_mode": 2, **properties})
                frames: list[Any] = [
                    spec.Basic.Publish(routing_key=queue),
                    ContentHeader(body_size=len(body), properties=kept),
                    *(ContentBody(body[at : at + PIECE]) for at in range(0, len(body), PIECE)),
                ]
                whole = ChannelFrame.marshall(frames=frames, channel_number=underlay.number)
                await underlay.write_queue.put(replace(whole, payload=whole.payload.replace(*swap)))
            await channel.declare_queue(queue, passive=True)  # answered after all of them

    async def depth(self, queue: str) -> int:
        """How many messages of the queue are ready, that is, with no consumer."""
        async with self.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0

    async def dead_letters(self, queue: str, count: int = 1) -> list[AbstractIncomingMessage]:
        """Take the dead letters of a queue, once there are that many."""

        async def enough() -> bool:
            return await self.depth(f"{queue}.dlq") >= count

        await eventually(enough, f"{count} dead letters of {queue}")
        async with self.channel() as channel:
            dead_letters = await channel.get_queue(f"{queue}.dlq")
            return [await dead_letters.get(no_ack=True) for _ in range(count)]


class RabbitMQServer(RabbitMQ):
    """A broker on a port that stays the same, with a separate folder and name; knows nothing of the
    system's. Its queues outlast a restart.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(free_port())
        self._folder = folder
        self._names_port, self._nodes_port = free_port(), free_port()
        self._names: subprocess.Popen[bytes] | None = None  # epmd, which knows Erlang's nodes by name
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """For `new_vhost`, in any process."""
        return json.dumps([self.port, self._environment()])

    def start(self) -> None:
        """Returns when it takes connections. Skips the test where there is no RabbitMQ."""
        if not has_rabbitmq():
            pytest.skip(MISSING)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = self._run([str(RABBITMQ)])
        end = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < end, (self._folder / "log").read_text()
            time.sleep(0.05)

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        if self._names is None:
            self._names = subprocess.Popen(
                ["epmd", "-port", str(self._names_port), "-address", "127.0.0.1"], stdout=subprocess.DEVNULL
            )
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _environment(self) -> dict[str, str]:
        folder = str(self._folder)
        return {
            "PATH": os.environ["PATH"],
            "HOME": folder,  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            NODE_NAME: f"tests-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._nodes_port),
            "RABBITMQ_MNESIA_BASE": folder,
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_CONFIG_FILE": f"{folder}/none",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/none",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the broker: signals reach it
        }

    def _answers(self) -> bool:
        """Whether it greets who connects, as it does once it is up."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                client.sendall(b"AMQP\0\0\x09\x01")
                return bool(client.recv(1))
        except OSError:
            return False

    def stop(self) -> None:
        """As an operator stops it: connections are closed, everything is on disk."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(STARTS_WITHIN)

    def stop_app(self) -> None:
        """As `rabbitmqctl stop_app`: clients see the same, and the Erlang VM, slow to start, stays."""
        _call_erlang(self._environment(), "rabbit:stop()")

    def start_app(self) -> None:
        """As `rabbitmqctl start_app` does it. Returns when the broker takes connections."""
        _call_erlang(self._environment(), "rabbit:start()")

    def kill(self) -> None:
        """kill -9, and nothing of it is left running."""
        for process in (self._process, self._names):
            if process is not None:
                process.kill()
                process.wait()
        self._process = self._names = None


@contextmanager
def run_rabbitmq(home: Path) -> Iterator[str]:
    """Run a broker with its data in `home/rabbitmq` and give its address, for `new_vhost`."""
    server = RabbitMQServer(home / "rabbitmq")
    try:
        server.start()
        yield server.address
    finally:
        server.kill()


def new_vhost(address: str) -> RabbitMQ:
    """A new virtual host of the broker at this address: empty, as a new broker is."""
    port, environment = json.loads(address)
    name = uuid.uuid4().hex
    everything = ", ".join(['<<".*">>'] * 3)
    _call_erlang(environment, f'rabbit_vhost:add(<<"{name}">>, <<"tests">>)')
    _call_erlang(
        environment,
        f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, {everything}, <<"tests">>)',
    )
    return RabbitMQ(port, name)


def _call_erlang(environment: dict[str, str], expression: str) -> None:
    """Evaluate it in the broker; `rabbitmqctl` would start an Erlang VM to do so, which takes a second."""
    called = subprocess.run(
        ["erl_call", "-n", environment[NODE_NAME], "-e"],
        input=f"{expression}.\n",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert called.stdout == "{ok, ok}", called
