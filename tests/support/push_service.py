"""A push service for tests: over TLS it checks each message's VAPID signature, and decrypts it."""

from __future__ import annotations

import json
import ssl
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAX_BODY_BYTES = 4096
VAPID_PRIVATE_KEY = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"  # of RFC 8291's example
VAPID_SUBJECT = "mailto:operator@example.com"


class Pushed(NamedTuple):
    """A message that a browser was shown."""

    data: dict[str, Any]
    headers: Mapping[str, str]


class Browser:
    """One that subscribed to a push service."""

    def __init__(self, address: str) -> None:
        self.path = f"/send/{uuid4()}"
        self.endpoint = address + self.path
        self._key = generate_private_key(SECP256R1())
        self.public_key = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.auth = uuid4().bytes
        self.pushed: list[Pushed] = []
        self.answers: list[tuple[int, Mapping[str, str]]] = []
        """What is answered instead of taking a message, one after the other."""
        self.max_bytes = MAX_BODY_BYTES

    @property
    def subscription(self) -> dict[str, Any]:
        """As `PushSubscription.toJSON()` has it."""
        keys = {"p256dh": base64url(self.public_key), "auth": base64url(self.auth)}
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": keys}

    def decrypted(self, body: bytes) -> bytes:
        """RFC 8291, as a browser does it. Raises if the message isn't for it."""
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, record = body[21 : 21 + length], body[21 + length :]
        assert len(record) <= size
        shared = self._key.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(SECP256R1(), sender))
        secret = _derived(shared, self.auth, b"WebPush: info\0" + self.public_key + sender, 32)
        key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _derived(secret, salt, b"Content-Encoding: nonce\0", 12)
        plain, delimiter, padding = AESGCM(key).decrypt(nonce, record, None).rpartition(b"\x02")
        assert delimiter
        assert not padding.strip(b"\0")
        return plain


class PushService:
    """Takes messages for browsers that subscribed; `refused` has why it took others not."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.browsers: dict[str, Browser] = {}
        self.refused: list[str] = []

    def browser(self) -> Browser:
        """A new browser that subscribed."""
        made = Browser(self.address)
        self.browsers[made.path] = made
        return made

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str]]:
        """The answer to a message."""
        browser = self.browsers.get(path)
        if browser is None:
            return 404, {}
        try:
            check_vapid(headers.get("authorization", ""), self.address)
            assert headers["content-encoding"] == "aes128gcm"
            assert int(headers["ttl"]) >= 0
            if browser.answers:
                return browser.answers.pop(0)
            if len(body) > browser.max_bytes:
                return 413, {}
            browser.pushed.append(Pushed(json.loads(browser.decrypted(body)), headers))
        except Exception as error:
            self.refused.append(repr(error))
            return 400, {}
        return 201, {"Location": f"{self.address}/message/1"}


def check_vapid(authorization: str, audience: str) -> None:
    """Raise unless the header is signed by the key it names, for this push service, for at most a day."""
    scheme, _, rest = authorization.partition(" ")
    fields = dict(field.strip().split("=", 1) for field in rest.split(","))
    assert scheme == "vapid"
    key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), from_base64url(fields["k"]))
    claims = jwt.decode(fields["t"], key, algorithms=["ES256"], audience=audience)
    assert claims["exp"] <= time.time() + 24 * 3600
    assert claims["sub"] == VAPID_SUBJECT


@contextmanager
def run_push_service(tls: ssl.SSLContext) -> Iterator[PushService]:
    """Serve one on a free port of localhost."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, named = service.take(self.path, headers, body)
            self.send_response(status)
            for name, value in {**named, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    service = PushService(f"https://localhost:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
