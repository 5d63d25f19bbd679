"""Sends notifications over HTTP, in a separate process, so that it isn't what limits.

A request costs it some microseconds: all are made beforehand, and of an answer only the status, the length
and the number of refused notifications are looked for. It gets its commands as lines of JSON on its standard
input, and answers each with one line.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import uvloop

from bench.events import Load

_LENGTH = b"content-length: "
_TAKEN = b"HTTP/1.1 202"
_ALL_TAKEN = b'"rejected":0,'


class Sending(msgspec.Struct, frozen=True):
    """What to send, and where: `per_request` notifications in each request, over so many connections."""

    load: Load
    port: int
    path: str
    token: str
    per_request: int
    connections: int


class Connection(asyncio.Protocol):
    """Sends a request when the one before is answered, until there is none left."""

    def __init__(self, requests: Iterator[bytes], refused: Counter[str], *, bulk: bool) -> None:
        self._requests = requests
        self._refused = refused
        self._bulk = bulk
        self._answer = b""
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._refused["the connection ended"] += 1
            self.done.set_result(None)

    def send(self) -> None:
        """The next request."""
        assert self._transport is not None
        request = next(self._requests, None)
        if request is None:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = self._answer.find(b"\r\n\r\n")
        if head < 0:
            return
        begin = self._answer.find(_LENGTH, 0, head) + len(_LENGTH)
        length = int(self._answer[begin : self._answer.find(b"\r\n", begin)])
        if len(self._answer) >= head + 4 + length:
            if not self._answer.startswith(_TAKEN) or (self._bulk and _ALL_TAKEN not in self._answer):
                self._refused[self._answer[:200].decode(errors="replace")] += 1
            self._answer = b""
            self.send()


class Sender:
    """Does what the lines say."""

    def __init__(self) -> None:
        self._sending: Sending | None = None
        self._requests: list[bytes] = []

    async def run(self) -> None:
        """Prepare on a line that says what to send, send on an empty line."""
        reader = asyncio.StreamReader(limit=2**20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()):
            answer: Any = await self._send() if line == b"\n" else self._prepare(line)
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.buffer.flush()

    def _prepare(self, line: bytes) -> int:
        self._sending = sending = msgspec.json.decode(line, type=Sending)
        messages = map(sending.load.message, range(sending.load.events))
        if sending.per_request == 1:
            self._requests = [_request(sending, message) for message in messages]
        else:
            self._requests = [
                _request(sending, b'{"notifications":[%b]}' % b",".join(part))
                for part in _parts([*messages], sending.per_request)
            ]
        return len(self._requests)

    async def _send(self) -> dict[str, int]:
        """Send all; what was refused, by how often."""
        sending, refused = self._sending, Counter[str]()
        assert sending is not None
        requests = iter(self._requests)
        loop = asyncio.get_running_loop()
        connections = [
            Connection(requests, refused, bulk=sending.per_request > 1) for _ in range(sending.connections)
        ]
        for connection in connections:
            await loop.create_connection(lambda made=connection: made, ("127.0.0.1"), sending.port)  # type: ignore[misc]
        for connection in connections:
            connection.send()
        await asyncio.gather(*(connection.done for connection in connections))
        return refused


def _parts(messages: list[bytes], size: int) -> Iterator[list[bytes]]:
    for start in range(0, len(messages), size):
        yield messages[start : start + size]


def _request(sending: Sending, body: bytes) -> bytes:
    head = (
        f"POST {sending.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {sending.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    uvloop.run(Sender().run())
