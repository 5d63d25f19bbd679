"""Tokens that nobody may come in with, by what is wrong with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.hub import ISSUER, SECRET

AUDIENCE = "notification-hub"
MINUTES = 600  # seconds: far more than clocks may differ by
PRIVATE_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC_KEY = PRIVATE_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
_OTHER_KEY = rsa.generate_private_key(65537, 2048)


def claims(user: str, **changes: Any) -> dict[str, Any]:
    """Good ones for every hub of these tests."""
    now = int(time.time())
    good = {"sub": user, "jti": "forged", "iat": now, "exp": now + MINUTES, "iss": ISSUER, "aud": AUDIENCE}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def hs256(payload: dict[str, Any], key: bytes = SECRET.encode(), **header: Any) -> str:
    parts = _parts(payload, {"alg": "HS256", "typ": "JWT", **header})
    return f"{parts}.{_encoded(hmac.digest(key, parts.encode(), hashlib.sha256))}"


def rs256(payload: dict[str, Any], key: rsa.RSAPrivateKey = PRIVATE_KEY, **header: Any) -> str:
    parts = _parts(payload, {"alg": "RS256", "typ": "JWT", **header})
    return f"{parts}.{_encoded(key.sign(parts.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def forged(user: str, algorithm: str) -> dict[str, str]:
    """Tokens of this user for a hub with this algorithm. But for what their name says, they are right."""
    good = hs256 if algorithm == "HS256" else rs256
    now, payload = int(time.time()), claims(user)
    token = good(payload)
    head, body, signature = token.split(".")
    unsigned = {
        f"algorithm {name!r}": f"{_parts(payload, {'alg': name})}.{end}"
        for name in ("none", "None", "nOnE", "")
        for end in ("", signature)
    }
    if algorithm == "HS256":
        names = ("HS384", "HS512", "RS256", "PS256", "ES256")
        renamed = {f"signed right, called {name}": hs256(payload, alg=name) for name in names}
    else:
        names = ("HS256", "RS384", "RS512", "PS256", "ES256")
        renamed = {f"signed right, called {name}": rs256(payload, alg=name) for name in names}
    spellings = {
        "trailing =": f"{token}=",
        "trailing ==": f"{token}==",
        "padded head": f"{head}=.{body}.{signature}",
        "padded body": f"{head}.{body}=.{signature}",
        "a fourth part": f"{token}.x",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
    }
    wrong: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - MINUTES},
        "no exp": {"exp": ...},
        "exp null": {"exp": None},
        "exp without end": {"exp": float("inf")},
        "nbf in the future": {"nbf": now + MINUTES},
        "iat in the future": {"iat": now + MINUTES},
        "no iat": {"iat": ...},
        "no jti": {"jti": ...},
        "no sub": {"sub": ...},
        "foreign issuer": {"iss": "https://evil.example"},
        "issuer with more behind it": {"iss": f"{ISSUER}.evil.example"},
        "no issuer": {"iss": ...},
        "issuer in a list": {"iss": [ISSUER]},
        "foreign audience": {"aud": "elsewhere"},
        "no audience": {"aud": ...},
    }
    demands: dict[str, dict[str, Any]] = {
        "crit": {"crit": ["exp"]},
        "crit that it defines": {"crit": ["hub"], "hub": True},
        "crit empty": {"crit": []},
        "b64 false": {"crit": ["b64"], "b64": False},
        "kid a number": {"kid": 7},
    }
    return (
        unsigned
        | renamed
        | spellings
        | {name: good(claims(user, **changes)) for name, changes in wrong.items()}
        | {name: good(payload, **header) for name, header in demands.items()}
        | _signed_by_others(payload, algorithm)
    )


def _signed_by_others(payload: dict[str, Any], algorithm: str) -> dict[str, str]:
    """With keys that an attacker has, and headers that point to them."""
    mine = b"the attacker's own key, long enough for HS256"
    jwk = {"kty": "oct", "k": _encoded(mine)}
    tricks: dict[str, dict[str, Any]] = {
        "kid a path": {"kid": "../../../../dev/null"},
        "kid SQL": {"kid": "' union select 'x' -- "},
        "kid a command": {"kid": "|/usr/bin/id"},
        "kid an address": {"kid": "http://evil.example/key"},
        "jwk": {"jwk": jwk},
        "jku": {"jku": "https://evil.example/jwks.json"},
        "x5u": {"x5u": "https://evil.example/cert.pem"},
    }
    keys = {"no key": b"", "a NUL": b"\0", "the attacker's": mine, "the issuer's name": ISSUER.encode()}
    if algorithm == "RS256":  # HS/RS confusion: what everybody knows taken for the secret
        keys |= {"the public key": PUBLIC_KEY.encode(), "the public key, cut": PUBLIC_KEY.strip().encode()}
        keys |= {"the public key, on one line": PUBLIC_KEY.replace("\n", "\\n").encode()}
    return (
        {f"HS256 with {name}": hs256(payload, key) for name, key in keys.items()}
        | {f"HS256 with {name}, called RS256": hs256(payload, key, alg="RS256") for name, key in keys.items()}
        | {f"{name}, empty key": hs256(payload, b"", **header) for name, header in tricks.items()}
        | {f"{name}, own key": hs256(payload, mine, **header) for name, header in tricks.items()}
        | {"RS256 with another key": rs256(payload, _OTHER_KEY)}
    )


def _parts(payload: dict[str, Any], header: dict[str, Any]) -> str:
    return f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(payload).encode())}"


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()
