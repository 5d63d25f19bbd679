"""Signatures of what providers call back with. No I/O; every comparison takes the same time."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

MAX_AGE_SECONDS = 15 * 60
"""Of a signed time, in both directions. What was recorded once isn't recorded again, however old."""


def ecdsa_key(encoded: str) -> EllipticCurvePublicKey:
    """The public key that SendGrid shows (base64 of DER). Raises `ValueError`."""
    key = load_der_public_key(b64decode("".join(encoded.split()), validate=True))
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("it is no public key of ECDSA")
    return key


def sendgrid_signed(
    key: EllipticCurvePublicKey, signature: str, timestamp: str, body: bytes, now: float
) -> bool:
    """Whether SendGrid signed this: ECDSA over the header's time and the body."""
    if not _is_recent(timestamp, now):
        return False
    try:
        key.verify(b64decode(signature, validate=True), timestamp.encode() + body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def mailgun_signed(key: str, signature: str, timestamp: str, token: str, now: float) -> bool:
    """Whether Mailgun signed this: HMAC-SHA256 over time and token. The content isn't signed: see Mailgun."""
    expected = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    fits = hmac.compare_digest(expected.encode(), signature.encode())
    return fits and _is_recent(timestamp, now)


def twilio_signed(token: str, signature: str, url: str, form: Iterable[tuple[str, str]]) -> bool:
    """Whether Twilio signed this: HMAC-SHA1 over the URL that it called and the form's fields."""
    fields = "".join(name + value for name, value in sorted(set(form)))
    given = signature.encode()
    # both are computed, whichever fits: Twilio signs the port or leaves it out
    fits = [hmac.compare_digest(_sha1(token, each + fields), given) for each in _with_and_without_port(url)]
    return any(fits)


def _sha1(token: str, text: str) -> bytes:
    return b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest())


def _with_and_without_port(url: str) -> Sequence[str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return [parts._replace(netloc=netloc).geturl() for netloc in (host, f"{host}:{port}")]


def _is_recent(timestamp: str, now: float) -> bool:
    return timestamp.isascii() and timestamp.isdecimal() and abs(now - int(timestamp)) <= MAX_AGE_SECONDS
