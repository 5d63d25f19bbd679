"""SendGrid, Mailgun and Amazon SES for tests: a real HTTP server with their wire formats, and moods that the
test sets. Each checks the login and the shape of a request before it takes a mail.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

KEY = "api-key-hunter2-hunter2"
SES_KEY = "AKIDEXAMPLE"
DOMAIN = "mg.hub.example"

Answer = tuple[int, bytes, Mapping[str, str]]


class Arrived(NamedTuple):
    """A mail as its receiver gets it; `delivery` is what events about it name."""

    to: str
    delivery: str
    subject: str
    text: str
    html: str
    headers: Mapping[str, str]
    files: list[tuple[str, str, Any]]


class FakeMailApi:
    """`arrived` holds the mails it took; `answer`, when set, is answered instead."""

    def __init__(self, kind: str, address: str) -> None:
        self.kind = kind
        self.address = address
        self.arrived: list[Arrived] = []
        self.calls = 0
        self.bodies: list[bytes] = []
        self.answer: Answer | None = None
        self.awake = threading.Event()
        self.awake.set()

    def fail(self, status: int, body: str = "<html>an error page</html>", **headers: str) -> None:
        """From now on answer with this."""
        self.answer = (
            status,
            body.encode(),
            {name.replace("_", "-"): value for name, value in headers.items()},
        )

    def calm(self) -> None:
        """Answer as it should again."""
        self.answer = None
        self.awake.set()

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What it answers to a request."""
        read: Callable[[str, Mapping[str, str], bytes], Arrived | Answer] = _READERS[self.kind]
        found = read(path, headers, body)
        if not isinstance(found, Arrived):
            return found
        self.arrived.append(found)
        number = len(self.arrived)
        if self.kind == "sendgrid":
            return 202, b"", {"X-Message-Id": f"id-{number}"}
        if self.kind == "mailgun":
            answer = {"id": f"<id-{number}>", "message": "Queued. Thank you."}
        else:
            answer = {"MessageId": f"id-{number}"}
        return 200, json.dumps(answer).encode(), {"Content-Type": "application/json"}


def _sendgrid(path: str, headers: Mapping[str, str], body: bytes) -> Arrived | Answer:
    if headers.get("Authorization") != f"Bearer {KEY}":
        return 401, b'{"errors":[{"message":"authorization required","field":null,"help":null}]}', {}
    if path != "/v3/mail/send":
        return 404, b'{"errors":[{"message":"not found","field":null,"help":null}]}', {}
    given: dict[str, Any] = json.loads(body)
    (receiver,) = given["personalizations"][0]["to"]
    texts = {each["type"]: each["value"] for each in given["content"]}
    assert [*texts] == ["text/plain", "text/html"]
    assert not given["tracking_settings"]["click_tracking"]["enable"]
    kept = {"From": given["from"]["email"], **given["headers"]}
    if "reply_to" in given:
        kept["Reply-To"] = given["reply_to"]["email"]
    files = [
        (each["filename"], each["type"], base64.b64decode(each["content"]))
        for each in given.get("attachments", ())
    ]
    return Arrived(
        receiver["email"],
        given["custom_args"]["delivery"],
        given["subject"],
        texts["text/plain"],
        texts["text/html"],
        kept,
        files,
    )


def _mailgun(path: str, headers: Mapping[str, str], body: bytes) -> Arrived | Answer:
    if headers.get("Authorization") != f"Basic {base64.b64encode(f'api:{KEY}'.encode()).decode()}":
        return 401, b"Forbidden", {}
    if path != f"/v3/{DOMAIN}/messages.mime":
        return 404, b'{"message":"Domain not found"}', {}
    fields = dict(re.findall(rb'name="([^"]+)"\r\n\r\n(.*?)\r\n--', body))
    assert set(fields) == {b"to", b"o:tracking", b"v:delivery"}
    raw = body.split(b"message/rfc822\r\n\r\n", 1)[1].rpartition(b"\r\n--")[0]
    return arrived_mime(fields[b"to"].decode(), fields[b"v:delivery"].decode(), raw)


def _ses(path: str, headers: Mapping[str, str], body: bytes) -> Arrived | Answer:
    signed = headers.get("Authorization", "")
    if not signed.startswith(f"AWS4-HMAC-SHA256 Credential={SES_KEY}/") or "/ses/aws4_request" not in signed:
        kind = {"x-amzn-ErrorType": "UnrecognizedClientException"}
        return 403, b'{"message":"The security token included in the request is invalid."}', kind
    if path != "/v2/email/outbound-emails":
        return 404, b"{}", {"x-amzn-ErrorType": "UnknownOperationException"}
    given = json.loads(body)
    (receiver,) = given["Destination"]["ToAddresses"]
    (tag,) = given["EmailTags"]
    assert tag["Name"] == "delivery"
    return arrived_mime(receiver, tag["Value"], base64.b64decode(given["Content"]["Raw"]["Data"]))


_READERS: dict[str, Callable[[str, Mapping[str, str], bytes], Arrived | Answer]] = {
    "sendgrid": _sendgrid,
    "mailgun": _mailgun,
    "ses": _ses,
}


def arrived_mime(to: str, delivery: str, raw: bytes) -> Arrived:
    """A mail in MIME as its receiver gets it."""
    message = message_from_bytes(raw, _class=EmailMessage, policy=policy.default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    files = [
        (part.get_filename() or "", part.get_content_type(), part.get_payload(decode=True))
        for part in message.iter_attachments()
    ]
    return Arrived(
        to,
        delivery,
        str(message["Subject"]),
        text.get_content().replace("\r\n", "\n"),
        html.get_content().replace("\r\n", "\n"),
        {name: str(value) for name, value in message.items()},
        files,
    )


@contextmanager
def run_mail_api(kind: str) -> Iterator[FakeMailApi]:
    """Serve one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            awake = api.awake  # a test may have another for the next call
            api.calls += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            api.bodies.append(body)
            awake.wait(30)
            status, content, headers = api.answer or api.take(self.path, dict(self.headers), body)
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
    api = FakeMailApi(kind, f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield api
    finally:
        api.awake.set()
        server.shutdown()
        thread.join()
        server.server_close()
