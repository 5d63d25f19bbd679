"""A user service for tests: a real HTTP server whose groups and moods the test sets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeUserService:
    """`groups` holds the answer's `data` by group id; `status`, `body` and `headers`, when set, are answered
    instead. With `drip` the body comes byte by byte, so many seconds apart; each answer begins after
    `latency` seconds.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.groups: dict[str, Any] = {}
        self.status = 200
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.drip = self.latency = 0.0
        self.asked: list[str] = []
        self.awake = threading.Event()
        self.awake.set()

    def add_group(self, group_id: str, name: str, members: list[str], head_chef: str | None = None) -> None:
        listed = [
            {"user_id": user, "role": "head_chef" if user == head_chef else "member"} for user in members
        ]
        self.groups[group_id] = {"group_name": name, "members": listed}

    def calm(self) -> None:
        """Answer as it should again."""
        self.status, self.body, self.headers = 200, None, {}
        self.drip = self.latency = 0.0
        self.awake.set()


@contextmanager
def run_user_service() -> Iterator[FakeUserService]:
    """Serve one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            group_id = self.path.split("/")[-2]
            service.asked.append(group_id)
            service.awake.wait(30)
            time.sleep(service.latency)
            group = service.groups.get(group_id)
            status = service.status if service.status != 200 else 200 if group else 404
            body = service.body if service.body is not None else json.dumps({"data": group}).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | service.headers).items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # the client left
                for part in [bytes([byte]) for byte in body] if service.drip else [body]:
                    self.wfile.write(part)
                    time.sleep(service.drip)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    service = FakeUserService(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        service.awake.set()
        server.shutdown()
        thread.join()
        server.server_close()
