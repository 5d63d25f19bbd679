"""A pgbouncer of a test's own, in transaction mode, before the tests' Postgres."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.hub import WAIT, free_port
from tests.support.install_tools import find_daemon

SERVER_CONNECTIONS = 6
"""Fewer than the clients have, so that they change theirs all the time."""
_CONFIGURATION = """[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
server_round_robin = 1
max_client_conn = 200
"""


@contextmanager
def pgbouncer(postgres_url: str, folder: Path) -> Iterator[str]:
    """The URL of the same database through it. The test is skipped where there is no pgbouncer."""
    program = find_daemon("pgbouncer")
    if program is None:
        pytest.skip("no pgbouncer: install Debian's package pgbouncer")
    server, listen_port = urlsplit(postgres_url), free_port()
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        _CONFIGURATION.format(
            host=server.hostname,
            port=server.port,
            user=server.username,
            listen_port=listen_port,
            size=SERVER_CONNECTIONS,
        )
    )
    as_user = ["-u", "nobody"] if os.getuid() == 0 else []
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([program, "-q", *as_user, str(configuration)], stdout=log, stderr=log)
    try:
        _wait_for(listen_port, process)
        yield f"postgresql://{server.username}@127.0.0.1:{listen_port}{server.path}"
    finally:
        process.terminate()
        process.wait(WAIT)
        print((folder / "pgbouncer.log").read_text()[-2000:])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + WAIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "pgbouncer ended"
            assert time.monotonic() < end, "pgbouncer doesn't listen"
            time.sleep(0.02)
