"""The load generator: a separate process that holds all WebSocket clients and checks what reaches them.

It shares two cores with what it measures, so a frame costs it about two microseconds: no library, no JSON,
only the two fields it needs are looked for in the bytes. It gets its commands as lines of JSON on its
standard input, and answers each with one line.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from uuid import UUID

import msgspec
import uvloop

from app.dev import tokens
from bench.events import MARK, SERIAL_DIGITS, STAMP_DIGITS, user_id

AT_ONCE = 64  # handshakes in progress
_HANDSHAKE_SECONDS = 30.0
_SEQ = b'"seq":'
_SESSION, _RESUMED = b'{"type":"', b'{"type":"resumed"'
_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A
_NO_MASK = bytes(4)  # a client has to mask; zeros leave the payload as it is
_STAMP_END = SERIAL_DIGITS + 1 + STAMP_DIGITS


class Tally:
    """What all clients together received since `reset`."""

    def __init__(self) -> None:
        self.reset(0, 0)

    def reset(self, first_serial: int, events: int) -> None:
        """Begin a round in which events `first_serial` to `first_serial + events - 1` are due."""
        self.first_serial = first_serial
        self.copies = [0] * events
        self.frames = self.unexpected = self.out_of_order = self.lost = 0
        self.first = self.last = 0.0
        self.latencies: list[float] = []

    def received(self, data: bytes, body: int, end: int, now: float) -> None:
        """Count one notification; `now` is the monotonic clock."""
        self.frames += 1
        found = data.find(MARK, body, end)
        serial = data.find(b'"', found + len(MARK), end) + 1
        stamp = serial + SERIAL_DIGITS + 1
        index = int(data[serial : stamp - 1]) - self.first_serial
        if 0 <= index < len(self.copies):
            self.copies[index] += 1
            self.latencies.append(now - int(data[stamp : serial + _STAMP_END]) / 1e9)
        else:
            self.unexpected += 1


class Client(asyncio.Protocol):
    """One WebSocket of one user."""

    __slots__ = (
        "_opened",
        "_request",
        "_rest",
        "_tally",
        "_transport",
        "answer",
        "closed",
        "resumed",
        "seq",
        "up",
    )

    def __init__(self, tally: Tally, request: bytes, seq: int = 0) -> None:
        """`seq` is that of the last notification before this connection."""
        self._tally = tally
        self._request = request
        self._rest = b""
        self.seq = seq
        self._opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.resumed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self.up = False
        self.answer = "nothing"
        self.closed = 0

    async def opened(self) -> bool:
        """Wait for the handshake; whether the server accepted."""
        return await asyncio.wait_for(self._opened, _HANDSHAKE_SECONDS)

    def close(self) -> None:
        """Go away without a word."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.up = False
        self._tally.lost += 1
        if not self._opened.done():
            self._opened.set_result(False)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        start = 0 if self.up else self._handshake(data)
        self._rest = self._frames(data, start) if self.up else data

    def _handshake(self, data: bytes) -> int:
        """The length of the answer; 0 while it isn't whole."""
        end = data.find(b"\r\n\r\n") + 4
        if end >= 4 and not self._opened.done():
            self.up = data.startswith(b"HTTP/1.1 101")
            self.answer = "" if self.up else data[:1000].decode(errors="replace")
            self._opened.set_result(self.up)
        return end if self.up else 0

    def _frames(self, data: bytes, start: int) -> bytes:
        """Take all whole frames; what is left. Servers don't mask, and these don't fragment."""
        now, size = time.monotonic(), len(data)
        while size - start >= 2:
            length, body = data[start + 1], start + 2
            if length >= 126:
                body += 2 if length == 126 else 8
                if size < body:
                    break
                length = int.from_bytes(data[start + 2 : body], "big")
            end = body + length
            if end > size:
                break
            if data[start] == _TEXT:
                self._text(data, body, end, now)
            else:
                self._control(data[start], data[body:end])
            start = end
        return data[start:] if start < size else b""

    def _text(self, data: bytes, body: int, end: int, now: float) -> None:
        if not data.startswith(_SESSION, body):
            self._notification(data, body, end, now)
        elif not self.resumed.done() and data.startswith(_RESUMED, body):
            self.resumed.set_result(b'"complete":true' in data[body:end])

    def _notification(self, data: bytes, body: int, end: int, now: float) -> None:
        tally = self._tally
        tally.first = tally.first or now
        tally.last = now
        tally.received(data, body, end, now)
        found = data.rfind(_SEQ, body, end)
        if found >= 0:  # the baseline has none
            seq = int(data[found + len(_SEQ) : data.find(b"}", found, end)].split(b",", 1)[0])
            if seq != self.seq + 1:
                tally.out_of_order += 1
            self.seq = seq

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING and self._transport is not None:
            self._transport.write(bytes((_PONG, 0x80 | len(payload), *_NO_MASK)) + payload)
        elif opcode == _CLOSE:
            self.closed = int.from_bytes(payload[:2], "big")


class Generator:
    """Does what the lines say."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._clients: list[Client] = []
        self._commands: dict[str, Callable[[Any], Awaitable[dict[str, object]]]] = {
            "connect": self._connect,
            "reset": self._reset,
            "status": self._status,
            "result": self._result,
            "storm": self._storm,
            "close": self._close,
        }

    async def run(self) -> None:
        """Answer commands until the input ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            command: dict[str, Any] = msgspec.json.decode(line)
            answer = await self._commands[command.pop("do")](command)
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.buffer.flush()

    async def _connect(self, command: Mapping[str, Any]) -> dict[str, object]:
        """Open one connection for each user number of `first` … `first + count - 1`."""
        limit = asyncio.Semaphore(AT_ONCE)
        users = [user_id(number) for number in range(command["first"], command["first"] + command["count"])]

        async def connect(user: UUID) -> bool:
            async with limit:
                request = _request(command["path"].format(user=user), str(user), command["secret"])
                client = Client(self._tally, request)
                await _open(client, command["port"], command["receive_buffer"])
                self._clients.append(client)
                return await client.opened()

        accepted = await asyncio.gather(*(connect(user) for user in users))
        return {"accepted": sum(accepted), "refusal": next((c.answer for c in self._clients if c.answer), "")}

    async def _reset(self, command: Mapping[str, Any]) -> dict[str, object]:
        self._tally.reset(command["first_serial"], command["events"])
        return {}

    async def _status(self, _: object) -> dict[str, object]:
        return {"frames": self._tally.frames, "lost": self._tally.lost}

    async def _result(self, command: Mapping[str, Any]) -> dict[str, object]:
        """The round's figures; `copies` of each event were due."""
        tally = self._tally
        return {
            "frames": tally.frames,
            "first": tally.first,
            "last": tally.last,
            "missing": sum(max(0, command["copies"] - copies) for copies in tally.copies),
            "doubled": sum(max(0, copies - command["copies"]) for copies in tally.copies),
            "unexpected": tally.unexpected,
            "out_of_order": tally.out_of_order,
            "connections_lost": tally.lost,
            "close_codes": sorted({client.closed for client in self._clients if client.closed}),
            "latencies": tally.latencies if command["latencies"] else [],
        }

    async def _storm(self, command: Mapping[str, Any]) -> dict[str, object]:
        """Drop everybody; later, all come back at once and resume where they were, until each has.

        The answer has the seconds that each took, from the same beginning, and what refused them.
        """
        users = [user_id(number) for number in range(command["first"], command["first"] + command["count"])]
        path, session = command["path"] + "?after={seq}", "Sec-WebSocket-Protocol: hub.v1"
        last = [command["seq"]] * len(users)
        requests = [
            _request(path.format(user=user, seq=seq), str(user), command["secret"], session)
            for user, seq in zip(users, last, strict=True)
        ]
        refusals: dict[str, int] = {}
        begin = time.monotonic()

        async def come_back(request: bytes, seq: int) -> float:
            while True:
                client = Client(self._tally, request, seq)
                try:
                    await _open(client, command["port"])
                    if await client.opened():
                        self._clients.append(client)
                        complete = await asyncio.wait_for(client.resumed, _HANDSHAKE_SECONDS)
                        if not complete:
                            raise RuntimeError("resumed incompletely")
                        return time.monotonic() - begin
                    why = _refusal(client.answer)
                except (OSError, TimeoutError) as error:
                    why = type(error).__name__
                client.close()
                refusals[why] = refusals.get(why, 0) + 1
                await asyncio.sleep(random.uniform(0.5, 1.5))

        seconds = await asyncio.gather(*map(come_back, requests, last))
        return {"seconds": seconds, "refusals": refusals}

    async def _close(self, _: object) -> dict[str, object]:
        for client in self._clients:
            client.close()
        await asyncio.sleep(0.05)
        self._clients.clear()
        return {}


async def _open(client: Client, port: int, receive_buffer: int | None = None) -> None:
    """Connect; with a `receive_buffer` of so many bytes in the kernel."""
    loop = asyncio.get_running_loop()
    if receive_buffer is None:
        await loop.create_connection(lambda: client, "127.0.0.1", port)
        return
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.create_connection(lambda: client, sock=sock)


def _refusal(answer: str) -> str:
    """A refused handshake in a few words: the status, and of what the hub says the code."""
    status = answer.split("\r\n", 1)[0].removeprefix("HTTP/1.1 ")
    found = re.search('"code": ?"([a-z_]+)"', answer)
    return f"{status} {found[1]}" if found else status


def _request(path: str, user: str, secret: str, *more: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    token = tokens.sign(user, secret)
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {token}",
        *more,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


if __name__ == "__main__":
    uvloop.run(Generator().run())
