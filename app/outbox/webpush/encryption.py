"""Encryption of web push messages (RFC 8291): the content coding aes128gcm (RFC 8188) in one record."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RECORD_BYTES = 4096
"""The size that push services have to accept (RFC 8030, 7.2)."""
SALT_BYTES = 16
_OVERHEAD_BYTES = SALT_BYTES + 4 + 1 + 65 + 1 + 16  # the header, the delimiter, the tag
MAX_PLAINTEXT_BYTES = RECORD_BYTES - _OVERHEAD_BYTES
_LAST_RECORD = b"\x02"


def encrypted(
    plaintext: bytes,
    public_key: bytes,
    auth: bytes,
    *,
    salt: bytes | None = None,
    own_key: EllipticCurvePrivateKey | None = None,
) -> bytes:
    """The body of a request to a push service.

    Args:
        plaintext: At most `MAX_PLAINTEXT_BYTES`.
        public_key: The subscription's `p256dh`, a point of P-256.
        auth: The subscription's `auth`.
        salt: 16 bytes, random by default; never the same twice.
        own_key: A key for this message alone; made by default.
    """
    salt = salt or os.urandom(SALT_BYTES)
    own_key = own_key or generate_private_key(SECP256R1())
    own_public = point(own_key)
    shared = own_key.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public_key))
    secret = _derived(shared, auth, b"WebPush: info\0" + public_key + own_public, 32)
    key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(secret, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(own_public)]) + own_public
    return header + AESGCM(key).encrypt(nonce, plaintext + _LAST_RECORD, None)


def point(key: EllipticCurvePrivateKey) -> bytes:
    """The public key as an uncompressed point."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
