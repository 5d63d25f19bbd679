"""Keys of tokens, several or changing: each verifies one algorithm, and holds until it is gone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import base64url_encode

from app.api.auth import Authenticator
from app.auth.jwks import COOL_DOWN_SECONDS, Jwks, keys_of
from app.auth.tokens import TokenVerifier, UnknownKeyError
from app.domain.errors import ConfigurationError, Unauthorized, Unavailable
from app.settings.edge import AuthSettings
from app.settings.jwt_keys import ALGORITHMS

SECRET = b"a secret for tests, long enough to be accepted"
PRIVATE: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
OTHER = {"RS256": rsa.generate_private_key(65537, 2048), "ES256": ec.generate_private_key(ec.SECP256R1())}
PUBLIC_ALGORITHMS = [*PRIVATE]


def pem(key: Any) -> str:
    text: str = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return text


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    """The public key as a JWK."""
    kinds: tuple[tuple[Any, type], ...] = (
        (RSAAlgorithm, rsa.RSAPrivateKey),
        (ECAlgorithm, ec.EllipticCurvePrivateKey),
        (OKPAlgorithm, ed25519.Ed25519PrivateKey),
    )
    kind = next(algorithm for algorithm, private in kinds if isinstance(key, private))
    return {**kind.to_jwk(key.public_key(), as_dict=True), **more}


def without(found: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in names}


def signed(algorithm: str, key: Any = None, kid: str | None = None) -> str:
    now = int(time.time())
    claims = {"sub": str(uuid4()), "jti": "t1", "iat": now, "exp": now + 60}
    key = key or PRIVATE.get(algorithm, SECRET)
    return jwt.encode(claims, key, algorithm, {"kid": kid} if kid is not None else None)


def settings(**given: Any) -> AuthSettings:
    return AuthSettings.model_validate({"jwt_algorithm": "RS256,ES256,EdDSA", **given})


def refused(by: TokenVerifier, token: str) -> type[Unauthorized]:
    with pytest.raises(Unauthorized) as caught:
        by.verify(token)
    assert caught.value.reason == "invalid_token"
    return caught.type


# Static keys


ALL_PEMS = "".join(pem(key) for key in (*PRIVATE.values(), *OTHER.values()))


@pytest.mark.parametrize("separator", ["", "\n", "\\n", ",\n"])
def test_each_of_several_pem_keys_verifies_its_algorithm(separator: str) -> None:
    text = separator.join(pem(key).strip() for key in (*PRIVATE.values(), *OTHER.values()))
    verifier = TokenVerifier(settings(jwt_public_key=text.replace("\n", "\\n")))
    for algorithm in PUBLIC_ALGORITHMS:
        for kid in (None, "any"):
            verifier.verify(signed(algorithm, kid=kid))
    for algorithm, key in OTHER.items():
        verifier.verify(signed(algorithm, key))
    assert refused(verifier, signed("HS256")) is Unauthorized


def test_a_secret_and_public_keys_may_stand_together() -> None:
    verifier = TokenVerifier(
        settings(jwt_algorithm=", ".join(ALGORITHMS), jwt_secret=SECRET.decode(), jwt_public_key=ALL_PEMS)
    )
    for algorithm in ALGORITHMS:
        verifier.verify(signed(algorithm))


@pytest.mark.parametrize("algorithm", PUBLIC_ALGORITHMS)
def test_a_public_key_is_never_taken_for_the_secret(algorithm: str) -> None:
    verifier = TokenVerifier(
        settings(
            jwt_algorithm=f"HS256,{algorithm}",
            jwt_secret=SECRET.decode(),
            jwt_public_key=pem(PRIVATE[algorithm]),
        )
    )
    head, _, _ = signed("HS256").rpartition(".")
    text = pem(PRIVATE[algorithm])
    for key in (text, text.strip(), text.replace("\n", "\\n")):
        forged = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
            head.encode(), key.encode()
        )
        assert refused(verifier, f"{head}.{base64url_encode(forged).decode()}") is Unauthorized


def test_an_unsigned_token_is_refused_whatever_the_keys_are() -> None:
    verifier = TokenVerifier(settings(jwt_public_key=ALL_PEMS))
    _, payload, signature = signed("RS256").split(".")
    for name in ("none", "None", "", "HS256", "RS512", "PS256", "ES384"):
        head = base64url_encode(json.dumps({"alg": name, "typ": "JWT"}).encode()).decode()
        for tail in ("AA", signature):
            refused(verifier, f"{head}.{payload}.{tail}")


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256K1())],
    ids=["P-384", "secp256k1"],
)
def test_keys_of_other_kinds_are_refused_at_start(key: Any) -> None:
    with pytest.raises(ValueError, match="JWT_PUBLIC_KEY"):
        settings(jwt_public_key=ALL_PEMS + pem(key))


def test_a_short_rsa_key_and_text_beside_the_blocks_are_refused_at_start() -> None:
    short = rsa.generate_private_key(65537, 1024)
    for text in (pem(short), f"{ALL_PEMS}left over", f"key: {ALL_PEMS}"):
        with pytest.raises(ValueError, match="JWT_PUBLIC_KEY"):
            settings(jwt_public_key=text)


# Key sets


def test_the_keys_of_a_set_have_the_algorithms_of_their_kinds() -> None:
    body = json.dumps({"keys": [jwk(key, kid=name) for name, key in PRIVATE.items()]}).encode()
    assert {key.kid: key.algorithm for key in keys_of(body, PUBLIC_ALGORITHMS)} == {
        n: n for n in PUBLIC_ALGORITHMS
    }
    assert [key.algorithm for key in keys_of(body, ["ES256"])] == ["ES256"]


RSA = jwk(PRIVATE["RS256"], kid="a")
UNUSABLE: dict[str, Any] = {
    "for encryption": {**RSA, "use": "enc"},
    "unknown use": {**RSA, "use": ["sig"]},
    "may only sign": {**RSA, "key_ops": ["sign"]},
    "may only encrypt": {**RSA, "key_ops": ["encrypt", "wrapKey"]},
    "operations are no list": {**RSA, "key_ops": "verify"},
    "another algorithm": {**RSA, "alg": "RS512"},
    "an encryption algorithm": {**RSA, "alg": "RSA-OAEP"},
    "HS256 of an RSA key": {**RSA, "alg": "HS256"},
    "algorithm is no text": {**RSA, "alg": 256},
    "kid is no text": {**RSA, "kid": 5},
    "no modulus": without(RSA, "n"),
    "modulus is no base64": {**RSA, "n": "***"},
    "modulus is a number": {**RSA, "n": 5},
    "short": jwk(rsa.generate_private_key(65537, 1024)),
    "unknown kind": {**RSA, "kty": "XYZ"},
    "no kind": without(RSA, "kty"),
    "P-384": jwk(ec.generate_private_key(ec.SECP384R1())),
    "a point that isn't on the curve": {**jwk(PRIVATE["ES256"]), "y": jwk(PRIVATE["ES256"])["x"]},
    "a secret that anyone can read": {"kty": "oct", "k": base64url_encode(SECRET).decode()},
    "no key": "a",
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=[*UNUSABLE])
def test_a_key_that_is_not_for_this_is_left_out_and_the_others_hold(unusable: Any) -> None:
    body = json.dumps({"keys": [unusable, jwk(PRIVATE["ES256"], kid="good")]}).encode()
    assert [key.kid for key in keys_of(body, ALGORITHMS)] == ["good"]


@pytest.mark.parametrize(
    "more",
    [
        {"use": "sig"},
        {"key_ops": ["verify"]},
        {"key_ops": ["sign", "verify"], "use": "sig"},
        {"alg": "RS256"},
        {"alg": None, "use": None, "key_ops": None, "kid": None},
        {"key_ops": []},
    ],
    ids=str,
)
def test_a_key_that_is_for_verifying_is_used(more: dict[str, Any]) -> None:
    assert len(keys_of(json.dumps({"keys": [{**RSA, **more}]}).encode(), ALGORITHMS)) == 1


@pytest.mark.parametrize("named", ["EdDSA", "Ed25519", None])
def test_an_ed25519_key_may_bear_either_name_of_its_algorithm(named: str | None) -> None:
    body = json.dumps({"keys": [{**jwk(PRIVATE["EdDSA"]), "alg": named}]}).encode()
    assert [key.algorithm for key in keys_of(body, ALGORITHMS)] == ["EdDSA"]


def test_the_private_part_of_a_published_key_is_not_kept() -> None:
    leaked = without(RSAAlgorithm.to_jwk(PRIVATE["RS256"], as_dict=True), "key_ops")
    (key,) = keys_of(json.dumps({"keys": [leaked]}).encode(), ALGORITHMS)
    assert isinstance(key.key, rsa.RSAPublicKey)


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(
        lambda v: json.dumps({"keys": v}).encode()
    )
)
def test_what_is_no_set_is_a_value_error_or_has_no_key(body: bytes) -> None:
    with suppress(ValueError):
        assert keys_of(body, ALGORITHMS) == ()


def test_a_set_nested_too_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested"):
        keys_of(b"[" * 100_000, ALGORITHMS)


# Sets that change


class Issuer:
    """A server of a key set."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.status = 200
        self.body: bytes | None = None
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"GET /jwks.json?p=1 HTTP/1.1\r\n")
        self.asked += 1
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        writer.write(
            b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (self.status, len(body))
            + body
        )
        writer.close()


@asynccontextmanager
async def issuer() -> AsyncIterator[Issuer]:
    served = Issuer()
    server = await asyncio.start_server(served.answer, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json?p=1"
    async with server:
        yield served


class NothingRevoked:
    async def check(self, claims: object) -> None: ...


def hub(served: Issuer, now: Callable[[], float]) -> tuple[Jwks, Authenticator]:
    auth = settings(jwks_url=served.url)
    jwks = Jwks(auth, now)
    return jwks, Authenticator(TokenVerifier(auth, key_source=jwks), NothingRevoked())  # type: ignore[arg-type]


async def test_a_rotated_key_is_read_when_a_token_names_it_and_the_old_one_holds_until_it_is_gone() -> None:
    old, new = PRIVATE["RS256"], OTHER["RS256"]
    async with issuer() as served:
        served.keys = [jwk(old, kid="old")]
        clock = [100.0]
        jwks, door = hub(served, lambda: clock[0])
        await jwks.start()
        await door.claims(signed("RS256", old, "old"))
        served.keys = [jwk(old, kid="old"), jwk(new, kid="new")]
        await asyncio.gather(*(door.claims(signed("RS256", new, "new")) for _ in range(20)))
        await door.claims(signed("RS256", old, "old"))
        assert served.asked == 2
        served.keys = [jwk(new, kid="new")]
        await jwks.reload()
        clock[0] += COOL_DOWN_SECONDS
        with pytest.raises(UnknownKeyError):
            await door.claims(signed("RS256", old, "old"))
        await jwks.stop()


async def test_unknown_keys_cause_a_bounded_number_of_reads() -> None:
    async with issuer() as served:
        served.keys = [jwk(PRIVATE["RS256"], kid="a")]
        clock = [100.0]
        jwks, door = hub(served, lambda: clock[0])
        await jwks.start()
        for turn in range(3):
            for number in range(50):
                with pytest.raises(Unauthorized):
                    await door.claims(signed("RS256", OTHER["RS256"], f"{turn} {number}"))
            clock[0] += COOL_DOWN_SECONDS
        assert served.asked == 1 + 3
        with pytest.raises(Unauthorized):  # a forged signature of a key that is known is no reason to read
            await door.claims(signed("RS256", OTHER["RS256"], "a"))
        assert served.asked == 1 + 3
        await jwks.stop()


@pytest.mark.parametrize(
    "failure",
    [{"status": 500}, {"body": b"<html>"}, {"body": b"x" * 600_000}, {"body": b"[]"}],
    ids=["500", "html", "huge", "list"],
)
async def test_a_fetch_that_fails_keeps_the_keys(failure: dict[str, Any]) -> None:
    async with issuer() as served:
        served.keys = [jwk(PRIVATE["EdDSA"], kid="a")]
        jwks, door = hub(served, lambda: 100.0)
        await jwks.start()
        vars(served).update(failure)
        assert not await jwks.reload()
        await door.claims(signed("EdDSA", kid="a"))
        await jwks.stop()


async def test_before_the_first_read_tokens_are_answered_with_503_and_then_it_works() -> None:
    async with issuer() as served:
        served.status = 503
        served.keys = [jwk(PRIVATE["ES256"], kid="a")]
        jwks, door = hub(served, lambda: 100.0)
        await jwks.start()
        with pytest.raises(Unavailable):
            await door.claims(signed("ES256", kid="a"))
        served.status = 200
        await jwks.reload()
        await door.claims(signed("ES256", kid="a"))
        await jwks.stop()


async def test_a_server_that_is_away_keeps_the_keys() -> None:
    async with issuer() as served:
        served.keys = [jwk(PRIVATE["ES256"], kid="a")]
        jwks, door = hub(served, lambda: 100.0)
        await jwks.start()
    assert not await jwks.reload()
    await door.claims(signed("ES256", kid="a"))
    await jwks.stop()


@pytest.mark.parametrize("scheme", ["", "file://"])
async def test_a_file_may_hold_the_set_with_secrets_and_is_read_again(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "jwks.json"
    secret = {"kty": "oct", "k": base64url_encode(SECRET).decode(), "kid": "s"}
    path.write_text(json.dumps({"keys": [secret]}))
    auth = settings(jwt_algorithm="HS256,RS256", jwks_url=f"{scheme}{path}")
    jwks = Jwks(auth)
    await jwks.start()
    door = Authenticator(TokenVerifier(auth, key_source=jwks), NothingRevoked())  # type: ignore[arg-type]
    await door.claims(signed("HS256", kid="s"))
    path.write_text(json.dumps({"keys": [secret, jwk(PRIVATE["RS256"], kid="r")]}))
    await door.claims(signed("RS256", kid="r"))
    path.unlink()
    assert not await jwks.reload()
    await door.claims(signed("RS256", kid="r"))


@pytest.mark.parametrize(
    "content", [None, "", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}'], ids=str
)
async def test_a_file_that_can_not_be_used_is_refused_at_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "jwks.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match="JWT_JWKS_URL"):
        await Jwks(settings(jwks_url=str(path))).start()
