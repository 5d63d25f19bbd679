"""A mail server for the benchmark, in a separate process: with STARTTLS and a login, near and far.

Prints, in JSON, the port it listens on, another one that is `argv[1]` milliseconds of round trip away, and
the file of certificates to trust. Ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import uvloop

from tests.support.certificates import Authority
from tests.support.mail import LOGIN
from tests.support.smtp_server import SmtpServer, running

FORGET_EVERY = 0.2  # seconds; the server keeps what it is sent
HANDSHAKE = 1.5  # round trips until a TCP connection may carry its client's first byte


async def main(round_trip: float, folder: Path) -> None:
    authority = Authority(folder)
    server = SmtpServer(authority.server("127.0.0.1"), login=LOGIN)

    async def connected(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip * HANDSHAKE)
        answers, forth = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(_late(client, forth, round_trip / 2), _late(answers, back, round_trip / 2))

    async with running(server), await asyncio.start_server(connected, "127.0.0.1", 0) as far:
        trusted = folder / "trusted.pem"
        trusted.write_bytes(_system_certificates() + authority.certificate.read_bytes())
        ports = [server.port, far.sockets[0].getsockname()[1]]
        print(json.dumps([*ports, str(trusted)]), flush=True)
        over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        while not over.done():
            await asyncio.wait({over}, timeout=FORGET_EVERY)
            server.messages.clear()
            server.commands.clear()


async def _late(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
    """Pass on what comes, each piece `delay` seconds after it came."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def pass_on() -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not piece:
                target.close()
                return
            target.write(piece)

    passing = asyncio.create_task(pass_on())
    with suppress(ConnectionError):
        while piece := await source.read(65536):
            under_way.put_nowait((loop.time() + delay, piece))
    under_way.put_nowait((loop.time() + delay, b""))
    await passing


def _system_certificates() -> bytes:
    """What every client here loads: it is part of what a connection costs whoever makes a new context."""
    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file else b""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hub-bench-mail-") as made:
        uvloop.run(main(float(sys.argv[1]) / 1000, Path(made)))
