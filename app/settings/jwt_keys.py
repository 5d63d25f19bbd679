"""The keys that access tokens are verified with: one algorithm each, by the kind of the key."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA", "HS256")
MIN_SECRET_BYTES = 32  # RFC 7518, 3.2: an HS256 key is at least as long as its hash
MIN_RSA_BITS = 2048  # RFC 7518, 3.3
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_KINDS = {
    "RS256": "an RSA public key",
    "ES256": "an EC public key on the curve P-256",
    "EdDSA": "an Ed25519 public key",
}

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class VerificationKey(NamedTuple):
    """A key, and the only algorithm that it verifies: with a choice, a public key could be taken for the
    secret of HS256.
    """

    key: PublicKey | bytes
    algorithm: str
    kid: str | None = None
    """The id that tokens name it by; None: it is tried for every token of its algorithm."""


def algorithm_of(key: object) -> str | None:
    """The algorithm of a public key; None for a kind, curve or size that isn't accepted."""
    match key:
        case RSAPublicKey():
            return "RS256" if key.key_size >= MIN_RSA_BITS else None
        case EllipticCurvePublicKey():
            return "ES256" if isinstance(key.curve, SECP256R1) else None
        case Ed25519PublicKey():
            return "EdDSA"
    return None


def pem_keys(text: str, algorithms: tuple[str, ...]) -> tuple[VerificationKey, ...]:
    """The public keys in PEM blocks, in their order. Raises `ValueError`, which names a wrong block, but
    shows nothing of it.

    Args:
        text: PEM blocks; `\\n` may stand for the ends of lines.
        algorithms: Those that are accepted.
    """
    text = text.replace("\\n", "\n")
    blocks = [match[0] for match in _BLOCK.finditer(text)]
    wanted = " or ".join(_KINDS[name] for name in algorithms if name in _KINDS)
    if not blocks or _BLOCK.sub("", text).strip(" \t\r\n,"):
        raise ValueError(f"JWT_PUBLIC_KEY is not {wanted} in PEM format (-----BEGIN PUBLIC KEY-----)")
    keys = []
    for number, block in enumerate(blocks, 1):
        which = f"JWT_PUBLIC_KEY, block {number} of {len(blocks)}," if len(blocks) > 1 else "JWT_PUBLIC_KEY"
        try:
            key = load_pem_public_key(block.encode())
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
            raise ValueError(f"{which} is an RSA key of {key.key_size} bits. Use at least {MIN_RSA_BITS}")
        algorithm = algorithm_of(key)
        if algorithm is None or not isinstance(key, PublicKey):
            raise ValueError(f"{which} is not {wanted} in PEM format (-----BEGIN PUBLIC KEY-----)")
        if algorithm not in algorithms:
            raise ValueError(f"{which} is {_KINDS[algorithm]}. Add {algorithm} to JWT_ALGORITHM")
        keys.append(VerificationKey(key, algorithm))
    return tuple(keys)
