"""A mail server that takes everything at once, in a separate process, so that it isn't what limits.

Prints the port it listens on, then a line for each mail: its recipient, and when its last byte was there, in
nanoseconds of the monotonic clock that all processes here share. Ends when its input does.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import cast

import uvloop

_END_OF_MAIL = b"\r\n.\r\n"
_RECIPIENT = re.compile(rb"RCPT TO:<([^>]*)>", re.IGNORECASE)


class Conversation(asyncio.Protocol):
    """One connection: the commands that a hub sends, pipelined or not."""

    def __init__(self) -> None:
        self._unread = b""
        self._recipient = ""
        self._in_mail = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink.example\r\n")

    def data_received(self, data: bytes) -> None:
        self._unread += data
        answers: list[bytes] = []
        while True:
            end = _END_OF_MAIL if self._in_mail else b"\r\n"
            whole, found, rest = self._unread.partition(end)
            if not found:
                break
            self._unread = rest
            answers.append(self._taken() if self._in_mail else self._answer(whole))
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers))

    def _taken(self) -> bytes:
        self._in_mail = False
        sys.stdout.write(f"{self._recipient} {time.monotonic_ns()}\n")
        sys.stdout.flush()
        return b"250 taken\r\n"

    def _answer(self, line: bytes) -> bytes:
        command = line[:4].upper()
        if command == b"EHLO":
            return b"250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        if command == b"DATA":
            self._in_mail = True
            return b"354 go on\r\n"
        if command == b"QUIT":
            return b"221 bye\r\n"
        if found := _RECIPIENT.match(line):
            self._recipient = found[1].decode()
        return b"250 ok\r\n"


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Conversation, "127.0.0.1", 0)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
