"""Messages of Amazon SNS: their signature, by a certificate of Amazon's (docs.aws.amazon.com/sns, verifying).

Anybody can have a topic, and SNS signs for all: so the topic is checked as well.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Collection
from datetime import datetime
from time import time
from urllib.parse import urlsplit

import httpx
import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from app.domain.errors import Unavailable
from app.runtime.tls import client_context

MAX_MESSAGE_AGE_SECONDS = 24 * 3600.0  # SNS retries for hours, with the first time
MAX_CERTIFICATE_BYTES = 64 * 1024
MAX_CERTIFICATES_COUNT = 16  # that are kept; Amazon changes one a year
CALL_TIMEOUT_SECONDS = 5.0
_HOST = re.compile(r"sns\.[a-z0-9-]{1,30}\.amazonaws\.com(\.cn)?")
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9a-f]{1,64}\.pem")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}


class SnsMessage(msgspec.Struct, frozen=True, rename="pascal"):
    """What SNS posts."""

    type: str
    message_id: str
    topic_arn: str
    message: str
    timestamp: str
    signature: str
    signature_version: str
    signing_cert_url: str = msgspec.field(name="SigningCertURL")
    subject: str | None = None
    token: str | None = None
    subscribe_url: str | None = msgspec.field(default=None, name="SubscribeURL")

    def signed_text(self) -> bytes | None:
        """What the signature is over; None for a type that has none."""
        values = msgspec.to_builtins(self)
        names = _SIGNED.get(self.type)
        if names is None:
            return None
        return "".join(f"{name}\n{values[name]}\n" for name in names if values[name] is not None).encode()


def is_sns_url(url: str) -> bool:
    """Whether it is an HTTPS URL of SNS itself, whatever else it holds: nothing else is ever called."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme == "https"
            and parts.netloc == (parts.hostname or "")  # no user, no port, no capitals
            and _HOST.fullmatch(parts.netloc) is not None
            and url.isascii()
            and url.isprintable()
        )
    except ValueError:
        return False


def is_certificate_url(url: str) -> bool:
    """Whether it is one of a signing certificate of SNS."""
    return (
        is_sns_url(url)
        and _CERTIFICATE_PATH.fullmatch(url.partition("amazonaws.com")[2].removeprefix(".cn")) is not None
    )


class SnsVerifier:
    """Checks signatures. Keeps certificates, by their URL."""

    def __init__(self, topics: Collection[str], now: Callable[[], float] = time) -> None:
        self._topics = frozenset(topics)
        self._now = now
        self._keys: dict[str, RSAPublicKey] = {}

    async def read(self, body: bytes) -> SnsMessage | None:
        """The message; None unless SNS signed it for one of the topics, not long ago.

        Raises `Unavailable` when the certificate can't be read now.
        """
        try:
            message = msgspec.json.decode(body, type=SnsMessage)
            sent_at = datetime.fromisoformat(message.timestamp).timestamp()
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            return None
        text = message.signed_text()
        if (
            message.topic_arn not in self._topics
            or text is None
            or not is_certificate_url(message.signing_cert_url)
        ):
            return None
        if abs(self._now() - sent_at) > MAX_MESSAGE_AGE_SECONDS:
            return None
        hashes = {"1": SHA1, "2": SHA256}.get(message.signature_version)
        key = await self._key(message.signing_cert_url)
        if hashes is None or key is None:
            return None
        try:
            key.verify(b64decode(message.signature, validate=True), text, PKCS1v15(), hashes())
        except (InvalidSignature, ValueError):
            return None
        return message

    async def confirm(self, message: SnsMessage) -> bool:
        """Confirm the subscription that a signed message asks for; whether SNS took it.

        Raises `Unavailable`.
        """
        url = message.subscribe_url or ""
        return is_sns_url(url) and (await self._fetch(url)).status_code == 200

    async def _key(self, url: str) -> RSAPublicKey | None:
        if url not in self._keys:
            response = await self._fetch(url)
            if response.status_code != 200:
                raise Unavailable("sns", f"the certificate isn't there ({response.status_code})")
            try:
                key = x509.load_pem_x509_certificate(response.content).public_key()
            except ValueError:
                return None
            if not isinstance(key, RSAPublicKey):
                return None
            if len(self._keys) >= MAX_CERTIFICATES_COUNT:
                self._keys.pop(next(iter(self._keys)))
            self._keys[url] = key
        return self._keys[url]

    async def _fetch(self, url: str) -> httpx.Response:
        """One answer, of bounded size. Follows no redirects. Raises `Unavailable`."""
        try:
            async with (
                httpx.AsyncClient(verify=client_context(), timeout=CALL_TIMEOUT_SECONDS) as client,
                client.stream("GET", url) as response,
            ):
                content = b""
                async for piece in response.aiter_bytes():
                    content += piece
                    if len(content) > MAX_CERTIFICATE_BYTES:
                        raise Unavailable("sns", "the answer is too long")
                return httpx.Response(response.status_code, content=content)
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable("sns", type(error).__name__) from None
