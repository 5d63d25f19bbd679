"""Twilio's REST API for tests: a real HTTP server with its wire format, and moods that the test sets."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

SID, TOKEN, SERVICE = f"AC{'5' * 32}", "twilio-token-hunter2", f"MG{'7' * 32}"
NO_SUCH_NUMBER = "+15005550001"  # Twilio's own number for tests


class FakeTwilio:
    """`sent` holds the forms of all messages it took; `answer`, when set, is answered instead."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sent: list[dict[str, str]] = []
        self.calls = 0
        self.token = TOKEN
        self.answer: tuple[int, bytes, Mapping[str, str]] | None = None
        self.awake = threading.Event()
        self.awake.set()

    def fail(self, status: int, code: int | None = None, message: str = "", **headers: str) -> None:
        """From now on answer with an error, in Twilio's JSON or, without a code, as a page of some proxy."""
        body = b"<html>an error page</html>" if code is None else _error(status, code, message)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = status, body, named

    def calm(self) -> None:
        """Answer as it should again."""
        self.token, self.answer = TOKEN, None
        self.awake.set()

    def take(self, path: str, authorization: str, form: dict[str, str]) -> tuple[int, bytes]:
        """What Twilio answers to a message."""
        if authorization != f"Basic {base64.b64encode(f'{SID}:{self.token}'.encode()).decode()}":
            return 401, _error(401, 20003, "Authenticate")
        if path != f"/2010-04-01/Accounts/{SID}/Messages.json":
            return 404, _error(404, 20404, f"The requested resource {path} was not found")
        fields = set(form) - {"StatusCallback"}
        if fields not in (
            {"To", "MessagingServiceSid", "Body"},
            {"To", "From", "Body"},
        ):
            return 400, _error(400, 21604, "A 'To' phone number is required.")
        if form["To"] == NO_SUCH_NUMBER:
            return 400, _error(400, 21211, f"The 'To' number {form['To']} is not a valid phone number.")
        self.sent.append(form)
        return 201, _message(form, len(self.sent))


@contextmanager
def run_twilio() -> Iterator[FakeTwilio]:
    """Serve one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            awake = twilio.awake  # a test may have another for the next call
            twilio.calls += 1
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}
            awake.wait(30)
            headers: Mapping[str, str] = {}
            if twilio.answer is not None:
                status, content, headers = twilio.answer
            else:
                status, content = twilio.take(self.path, self.headers.get("Authorization", ""), form)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that went away."""

    server = Server(("127.0.0.1", 0), Handler)
    twilio = FakeTwilio(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield twilio
    finally:
        twilio.awake.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _error(status: int, code: int, message: str) -> bytes:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return json.dumps({"code": code, "message": message, "more_info": more, "status": status}).encode()


def _message(form: dict[str, str], number: int) -> bytes:
    answer: dict[str, Any] = {
        "account_sid": SID,
        "api_version": "2010-04-01",
        "body": form["Body"],
        "date_created": "Sat, 21 Nov 2026 12:00:00 +0000",
        "date_sent": None,
        "date_updated": "Sat, 21 Nov 2026 12:00:00 +0000",
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": form.get("From"),
        "messaging_service_sid": form.get("MessagingServiceSid"),
        "num_media": "0",
        "num_segments": "0",
        "price": None,
        "price_unit": None,
        "sid": f"SM{number:032x}",
        "status": "accepted",
        "subresource_uris": {},
        "to": form["To"],
        "uri": f"/2010-04-01/Accounts/{SID}/Messages/SM{number:032x}.json",
    }
    return json.dumps(answer).encode()
