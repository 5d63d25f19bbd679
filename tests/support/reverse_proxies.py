"""nginx and HAProxy before a hub, as their packages come: each buffers what it may."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.hub import WAIT, free_port

CONFIGURATIONS = {
    "nginx": """daemon off;
pid {folder}/nginx.pid;
error_log stderr;
{user}
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{port_behind}; }}
  }}
}}
""",
    "haproxy": """defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option abortonclose
frontend hub
  bind 127.0.0.1:{port}
  default_backend nodes
backend nodes
  server node 127.0.0.1:{port_behind}
""",
}
_COMMANDS = {"nginx": ["-c"], "haproxy": ["-db", "-f"]}


@contextmanager
def reverse_proxy(name: str, port_behind: int, folder: Path) -> Iterator[int]:
    """The port of the proxy. The test is skipped where it isn't installed."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if program is None:
        pytest.skip(f"no {name}: install Debian's package")
    port, configuration = free_port(), folder / "configuration"
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(
        CONFIGURATIONS[name].format(folder=folder, port=port, port_behind=port_behind, user=user)
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *_COMMANDS[name], str(configuration)], stdout=log, stderr=log)
    try:
        end = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, f"{name} doesn't listen"
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(WAIT)
