"""nginx and HAProxy before a server of the tests, set up as their documents advise: each buffers what it may,
keeps connections to the server for requests of other clients, and appends to X-Forwarded-For.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.hub import WAIT, free_port
from tests.support.install_tools import find_daemon

IDLE_SECONDS = 60  # what both packages, or their documents, have
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
  upstream nodes {{
    server 127.0.0.1:{port_behind};
    keepalive 8;
  }}
  map $http_upgrade $connection_upgrade {{
    default upgrade;
    "" "";
  }}
  server {{
    listen {host}:{port};
    location / {{
      proxy_pass http://nodes;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_read_timeout {idle}s;
      proxy_send_timeout {idle}s;
    }}
  }}
}}
""",
    "haproxy": """defaults
  mode http
  timeout connect 5s
  timeout client {idle}s
  timeout server {idle}s
  timeout tunnel {idle}s
  option abortonclose
  option forwardfor
  http-reuse always
frontend hub
  bind {host}:{port}
  default_backend nodes
backend nodes
  server node 127.0.0.1:{port_behind}
""",
}
_COMMANDS = {"nginx": ["-c"], "haproxy": ["-db", "-f"]}


@contextmanager
def reverse_proxy(
    name: str, port_behind: int, folder: Path, *, idle: int = IDLE_SECONDS, host: str = "127.0.0.1"
) -> Iterator[int]:
    """The port of the proxy, which closes what was silent for `idle` seconds. The test is skipped where it
    isn't installed.
    """
    program = find_daemon(name)
    if program is None:
        pytest.skip(f"no {name}: install Debian's package")
    folder.mkdir(exist_ok=True)
    port, configuration = free_port(), folder / "configuration"
    user = "user root;" if os.geteuid() == 0 else ""
    written = CONFIGURATIONS[name].format(
        folder=folder, host=host, port=port, port_behind=port_behind, user=user, idle=idle
    )
    configuration.write_text(written)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *_COMMANDS[name], str(configuration)], stdout=log, stderr=log)
    try:
        end = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection((host, port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, f"{name} doesn't listen"
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(WAIT)
