"""JSON Web Key Sets (RFC 7517): the keys of an issuer that replaces them, from a URL or a file."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import jwt
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import base64url_decode

from app.domain.errors import ConfigurationError, Unavailable
from app.runtime.http_client import HttpClient, HttpClientError
from app.runtime.tasks import end
from app.settings.edge import AuthSettings
from app.settings.jwt_keys import MIN_SECRET_BYTES, PublicKey, VerificationKey, algorithm_of

log = logging.getLogger("hub.jwks")

FETCH_TIMEOUT_SECONDS = 5.0
MAX_BODY_BYTES = 512 * 1024
MAX_KEYS = 100
# Between fetches that tokens cause. Anyone can send tokens with unknown key ids.
COOL_DOWN_SECONDS = 5.0


class KeySource(Protocol):
    """Keys that may change while the node runs."""

    @property
    def keys(self) -> tuple[VerificationKey, ...]:
        """Those that hold now. Raises `Unavailable` before they were read for the first time."""

    async def refresh(self) -> bool:
        """Read the keys because a token names one that isn't known. Returns whether they were read; False
        means that they were read for the same reason a moment ago, or can't be read now.
        """


class Jwks:
    """The keys of a JWKS. They hold until a set that was read lacks them: a fetch that fails keeps them."""

    def __init__(self, settings: AuthSettings, now: Callable[[], float] | None = None) -> None:
        """`settings.jwks_url` is set. `now` gives seconds; the event loop's by default."""
        assert settings.jwks_url is not None
        self._algorithms = settings.algorithms
        self._now = now or (lambda: asyncio.get_running_loop().time())
        parts = urlsplit(settings.jwks_url)
        self._file: Path | None = None
        self._client: HttpClient | None = None
        if parts.scheme in ("http", "https"):
            self._path = parts.path + (f"?{parts.query}" if parts.query else "")
            address = f"{parts.scheme}://{parts.netloc}"
            self._client = HttpClient(address, {"Accept": "application/json"}, MAX_BODY_BYTES)
        else:
            self._file = Path(unquote(parts.path) if parts.scheme == "file" else settings.jwks_url)
        self._keys: tuple[VerificationKey, ...] | None = None
        self._reading: asyncio.Task[bool] | None = None
        self._forced_at = -COOL_DOWN_SECONDS

    @property
    def keys(self) -> tuple[VerificationKey, ...]:
        """The current keys. Raises `Unavailable` before the first fetch succeeded."""
        if self._keys is None:
            raise Unavailable("jwks", "no keys have been fetched yet")
        return self._keys

    async def start(self) -> None:
        """Read the keys for the first time. A URL may fail: tokens are then answered with 503. Raises
        `ConfigurationError` for a file that can't be used.
        """
        if self._file is None:
            await self.reload()
            return
        try:
            self._keys = self._usable(self._file.read_bytes())
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"JWT_JWKS_URL: the file {self._file} cannot be used: {why}.") from None
        if not self._keys:
            names = ", ".join(self._algorithms)
            raise ConfigurationError(
                f"JWT_JWKS_URL: the file {self._file} has no key for JWT_ALGORITHM ({names})."
            )

    async def stop(self) -> None:
        """End a read that is under way, and close the connection to the server."""
        await end(self._reading)
        if self._client is not None:
            self._client.close()

    async def refresh(self) -> bool:
        """Read the keys again, because a token names an unknown one.

        Returns whether that succeeded; False within `COOL_DOWN_SECONDS` of the last time.
        """
        if self._reading is None:
            if self._now() - self._forced_at < COOL_DOWN_SECONDS:
                return False
            self._forced_at = self._now()
        return await self.reload()

    async def reload(self) -> bool:
        """Read the keys; calls at the same time share one read. Returns whether it succeeded."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="jwks")
            self._reading.add_done_callback(self._read_ended)
        return await asyncio.shield(self._reading)

    def _read_ended(self, _: object) -> None:
        self._reading = None

    async def _read(self) -> bool:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                keys = self._usable(await self._body())
        except (OSError, ValueError, HttpClientError) as error:  # a time-out is an OSError
            log.warning("jwks_not_read", extra={"why": str(error) or type(error).__name__})
            return False
        if keys != self._keys:
            log.info("jwks_read", extra={"keys": len(keys), "ids": [key.kid for key in keys]})
        if not keys:
            log.error("jwks_empty", extra={"why": "the key set has no usable key: every token is refused"})
        self._keys = keys
        return True

    async def _body(self) -> bytes:
        if self._client is None:
            assert self._file is not None
            return await asyncio.to_thread(self._file.read_bytes)
        answer = await self._client.get(self._path)
        if answer.status != HTTPStatus.OK:
            raise ValueError(f"the server answered {answer.status}")
        if len(answer.body) > MAX_BODY_BYTES:
            raise ValueError(f"the answer has more than {MAX_BODY_BYTES} bytes")
        return bytes(answer.body)

    def _usable(self, body: bytes) -> tuple[VerificationKey, ...]:
        return keys_of(body, self._algorithms, secrets=self._file is not None)


def keys_of(
    body: bytes, algorithms: Collection[str], *, secrets: bool = False
) -> tuple[VerificationKey, ...]:
    """The keys of a set that verify signatures with one of `algorithms`; others are left out (RFC 7517, 5).

    Args:
        body: The set, as JSON.
        algorithms: Those that are accepted.
        secrets: Whether it may hold secrets of HS256. What a URL serves is no secret.

    Raises:
        ValueError: It is no JWK set.
    """
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"the JSON is not a JWK set of at most {MAX_KEYS} keys")
    found = (_key(each, secrets) for each in listed if isinstance(each, dict))
    return tuple(key for key in found if key is not None and key.algorithm in algorithms)


def _key(jwk: Mapping[str, Any], secrets: bool) -> VerificationKey | None:
    """The key, if it may verify signatures (RFC 7517, 4.2 to 4.5); else None.

    A member that is null counts as absent, and so does an empty `key_ops`: serialisers write both.
    """
    jwk = {name: value for name, value in jwk.items() if value is not None}
    kid, operations = jwk.get("kid"), jwk.get("key_ops") or ["verify"]
    if jwk.get("use", "sig") != "sig" or not (kid is None or isinstance(kid, str)):
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key, algorithm = _material(jwk, secrets)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError):
        return None
    if key is None or algorithm is None:
        return None
    named = jwk.get("alg", algorithm)
    if named != algorithm and (named, algorithm) != ("Ed25519", "EdDSA"):  # RFC 9864's name for the same
        return None
    return VerificationKey(key, algorithm, kid)


def _material(jwk: Mapping[str, Any], secrets: bool) -> tuple[PublicKey | bytes | None, str | None]:
    """The key and its algorithm. The private part of a key that has one is left out."""
    match jwk.get("kty"):
        case "RSA":
            key: Any = RSAAlgorithm.from_jwk({name: jwk[name] for name in ("kty", "n", "e")})
        case "EC":
            key = ECAlgorithm.from_jwk({name: jwk[name] for name in ("kty", "crv", "x", "y")})
        case "OKP":
            key = OKPAlgorithm.from_jwk({name: jwk[name] for name in ("kty", "crv", "x")})
        case "oct" if secrets:
            secret = base64url_decode(jwk["k"])
            return (secret, "HS256") if len(secret) >= MIN_SECRET_BYTES else (None, None)
        case _:
            return None, None
    return key, algorithm_of(key)
