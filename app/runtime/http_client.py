"""GET requests to one server, over HTTP/1.1 connections that are kept open.

For what is asked for by the thousand: httpx takes 3 to 9 times the CPU a call (decision 028).
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

import h11
import httpx

READ_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
_PORTS = {"http": 80, "https": 443}
_PATH = "/%:@!$&'()*+,;=~"  # what a path may hold as it is


class HttpClientError(Exception):
    """There was no answer, or none in HTTP/1.1."""


class HttpAnswer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[bytes, bytes]
    """By lower-case name."""
    body: bytearray
    """Cut when it has more than `max_body_bytes`: then it is longer than that."""


class HttpClient:
    """Asks one server. Concurrent calls have a connection each; the caller bounds their number and time.

    Follows no redirects, decompresses nothing and uses no proxy.
    """

    def __init__(self, url: str, headers: Mapping[str, str], max_body_bytes: int) -> None:
        """`url` comes before each path; it may name a user and a password."""
        parts = urlsplit(url)
        self._host = (parts.hostname or "").encode("idna").decode()
        self._port = parts.port or _PORTS[parts.scheme]
        # trusts the same authorities as the other HTTP clients of the hub
        self._tls: ssl.SSLContext | None = httpx.create_ssl_context() if parts.scheme == "https" else None
        self._prefix = quote(parts.path.rstrip("/"), safe=_PATH)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._headers = [("Host", f"{host}:{self._port}"), *headers.items()]
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers.append(("Authorization", f"Basic {b64encode(user.encode()).decode()}"))
        self._max_body_bytes = max_body_bytes
        self._idle: list[_Connection] = []

    async def get(self, path: str) -> HttpAnswer:
        """Ask for a path. Raises `HttpClientError`."""
        request = h11.Request(method="GET", target=self._prefix + path, headers=self._headers)
        while self._idle:
            try:
                return await self._ask(self._idle.pop(), request)
            except _ConnectionClosedError:
                continue
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        except OSError as error:
            raise HttpClientError(type(error).__name__) from error
        return await self._ask(_Connection(reader, writer), request)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    async def _ask(self, connection: _Connection, request: h11.Request) -> HttpAnswer:
        reusable = False
        try:
            answer = await connection.ask(request, self._max_body_bytes)
            reusable = connection.reusable()
        except (OSError, h11.ProtocolError) as error:
            if connection.used and not connection.answered:
                raise _ConnectionClosedError from error
            raise HttpClientError(type(error).__name__) from error
        finally:
            if reusable:
                self._idle.append(connection)
            else:
                connection.close()
        return answer


class _ConnectionClosedError(HttpClientError):
    """A connection that the server had closed while nobody used it."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self.used = False
        """Whether it has answered a request before this one."""
        self.answered = False
        """Whether any byte of the answer has come."""

    async def ask(self, request: h11.Request, max_body_bytes: int) -> HttpAnswer:
        http, self.answered = self._http, False
        self._writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        status, headers, body = 0, {}, bytearray()
        while len(body) <= max_body_bytes:
            event = http.next_event()
            if event is h11.NEED_DATA:
                received = await self._reader.read(READ_BYTES)
                self.answered = self.answered or bool(received)
                http.receive_data(received)
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError
        return HttpAnswer(status, headers, body)

    def reusable(self) -> bool:
        """Whether it is ready for another request."""
        http = self._http
        if (http.our_state, http.their_state) != (h11.DONE, h11.DONE) or http.trailing_data[0]:
            return False
        http.start_next_cycle()
        self.used = True
        return True

    def close(self) -> None:
        self._writer.close()
