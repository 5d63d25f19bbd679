"""POST requests to URLs that others gave the hub. None reaches a private address unless that is allowed.

Each name is resolved once a connection; the addresses are checked, and the connection goes to one of them.
So a name can't lead elsewhere after the check (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import httpcore

from app.domain.outbound import is_public

MAX_ANSWER_BYTES = 16 * 1024
IDLE_SECONDS = 30.0

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The IP addresses of a host name. Raises `OSError`."""


class PrivateAddress(Exception):  # noqa: N818
    """The host is in a private network, and that isn't allowed."""


class Records(Protocol):
    """What writes records to the topics of a broker."""

    async def send(self, topic: str, key: str | None, headers: Mapping[str, str], value: bytes) -> None:
        """Return when the broker has it. Raises `OutboundError`: it may have it all the same."""

    async def close(self) -> None:
        """Disconnect."""


class OutboundError(Exception):
    """There was no answer. `timeout`: not in time."""

    def __init__(self, text: str, *, timeout: bool = False) -> None:
        super().__init__(text)
        self.timeout = timeout


class OutboundAnswer(NamedTuple):
    """What a server answered: `headers` by lower-case name, the first `MAX_ANSWER_BYTES` of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class OutboundClient:
    """Sends POST requests over connections that are kept open. Follows no redirects and uses no proxy."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        timeout: float,
        connections: int,
        *,
        allow_private: bool = False,
        resolve: Resolve | None = None,
    ) -> None:
        """`timeout` is that of a whole request, in seconds; `connections` how many are open at most."""
        self._timeout = timeout
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=_CheckedNetwork(resolve or _resolved, allow_private=allow_private),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> OutboundAnswer:
        """Send `body` to a URL.

        Raises `PrivateAddress`, or `OutboundError` with a text that doesn't hold the URL. After the latter
        the server may have received the request.
        """
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._pool.stream("POST", url, headers=[*headers.items()], content=body) as response,
            ):
                received = bytearray()
                async for part in response.aiter_stream():
                    received += part
                    if len(received) >= MAX_ANSWER_BYTES:
                        break
                return OutboundAnswer(
                    response.status, _text(response.headers), bytes(received[:MAX_ANSWER_BYTES])
                )
        except (TimeoutError, httpcore.TimeoutException):
            raise OutboundError("no answer in time", timeout=True) from None
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
            OSError,
        ) as error:
            raise OutboundError(f"no connection ({type(error).__name__})") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked."""

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._network = httpcore.AnyIOBackend()
        self._resolve = resolve
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if not self._allow_private and not all(map(is_public, addresses)):
            raise PrivateAddress
        failure: Exception = OSError("the name has no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        raise PrivateAddress

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


async def _resolved(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _text(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
