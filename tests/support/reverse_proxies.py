"""nginx and HAProxy before a server of the tests, with the configurations of docs/how-to/behind-*.md.

Each buffers what it may, keeps connections to the server for other clients, and appends to X-Forwarded-For.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.hub import ROOT, WAIT, free_port
from tests.support.install_tools import find_daemon

PAGES = ROOT / "docs" / "how-to"
IDLE_SECONDS = 60  # as on both pages
_AROUND_NGINX = """daemon off;
pid {folder}/nginx.pid;
error_log stderr;
{user}
events {{}}
http {{
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{page}
}}
"""


def _configuration_of(name: str) -> str:
    """The configuration that the page of a proxy shows."""
    page = (PAGES / f"behind-{name}.md").read_text("utf-8")
    _, found = page.split(f"```{name}\n")
    return found.split("```")[0]


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, f"the page has no {old!r}"
        text = text.replace(old, new)
    return text


def nginx(folder: Path, listen: str, port_behind: int, idle: int) -> str:
    """The page's configuration for a test: without TLS, with these ports and timeouts.

    Args:
        folder: Where nginx keeps its files.
        listen: Its address, such as `127.0.0.1:8080`.
        port_behind: The port of the server behind it.
        idle: After how many seconds a silent connection is closed.
    """
    page = _replaced(
        re.sub(r"^ *ssl_\w+ .*\n", "", _configuration_of("nginx"), flags=re.MULTILINE),
        {
            "listen 443 ssl": f"listen {listen}",
            "server 127.0.0.1:8000": f"server 127.0.0.1:{port_behind}",
            f" {IDLE_SECONDS}s": f" {idle}s",
        },
    )
    user = "user root;" if os.geteuid() == 0 else ""
    return _AROUND_NGINX.format(folder=folder, user=user, page=page)


def haproxy(_folder: Path, listen: str, port_behind: int, idle: int) -> str:
    """The same for HAProxy, which keeps no files."""
    replacements = {
        "bind :443 ssl crt /etc/ssl/hub.example.com.pem": f"bind {listen}",
        "127.0.0.1:8000": f"127.0.0.1:{port_behind}",
        f" {IDLE_SECONDS}s": f" {idle}s",
    }
    return _replaced(_configuration_of("haproxy"), replacements)


CONFIGURATIONS: Mapping[str, Callable[[Path, str, int, int], str]] = {"haproxy": haproxy, "nginx": nginx}
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
    configuration.write_text(CONFIGURATIONS[name](folder, f"{host}:{port}", port_behind, idle))
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
