"""Signatures of tokens: the hub accepts what PyJWT accepts, of all algorithms, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from app.auth.signatures import PreparedKey, TokenHeader, decode_segment, read_header
from app.auth.tokens import TokenVerifier
from app.domain.errors import Unauthorized
from app.settings.edge import AuthSettings
from app.settings.jwt_keys import VerificationKey, algorithm_of

SECRET = "a secret for tests, long enough to be accepted"
PRIVATE: dict[str, Any] = {
    "HS256": SECRET.encode(),
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
PUBLIC: dict[str, Any] = {
    name: key if isinstance(key, bytes) else key.public_key() for name, key in PRIVATE.items()
}
KEYS = {name: VerificationKey(key, name) for name, key in PUBLIC.items()}
PEM = PUBLIC["RS256"].public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
DER = PUBLIC["RS256"].public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
CLAIMS = {"sub": "456e7890-e89b-12d3-a456-426614174001", "jti": "t1", "iat": 0, "exp": 2**33, "iss": "users"}


class AllKeys:
    keys = tuple(KEYS.values())

    async def refresh(self) -> bool:
        return False


def verifier(keys: AllKeys | None = None, **changes: Any) -> TokenVerifier:
    values = {"jwt_algorithm": "HS256", "jwt_secret": "another secret, as long as it has to be", **changes}
    return TokenVerifier(AuthSettings.model_validate(values), time.time, key_source=keys or AllKeys())


VERIFIER = verifier(jwt_issuer="users", jwt_audience="hub")


def accepted(token: str) -> bool:
    try:
        VERIFIER.verify_service(token)
    except Unauthorized:
        return False
    return True


def accepted_by_pyjwt(token: str, algorithm: str) -> bool:
    options: Any = {"require": ["sub", "jti", "iat", "exp", "iss", "aud"], "verify_iat": False}
    try:
        jwt.decode(token, PUBLIC[algorithm], [algorithm], issuer="users", audience="hub", options=options)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return False
    return True


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def signed(header: bytes, payload: bytes, algorithm: str) -> str:
    text = f"{encoded(header)}.{encoded(payload)}"
    signer = jwt.get_algorithm_by_name(algorithm)
    return f"{text}.{encoded(signer.sign(text.encode(), PRIVATE[algorithm]))}"


names = st.sampled_from([*KEYS])
headers = st.fixed_dictionaries(
    {"alg": names | st.sampled_from(["none", "HS512", "", None, 5, ["HS256"]])},
    optional={
        "typ": st.sampled_from(["JWT", "at+jwt", 5]),
        "kid": st.sampled_from(["", "k", None, 5, [], {}]),
        "crit": st.sampled_from([[], ["exp"], None, "b64", {}]),
        "b64": st.sampled_from([True, False]),
        "jwk": st.just({"kty": "oct", "k": "AAAA"}),
    },
)
audiences = st.sampled_from(["hub", ["hub"], ["x", "hub"], "x", [], None, ["hub", 5], {"hub": 1}, 5])
payloads = st.fixed_dictionaries(
    {"aud": audiences},
    optional={
        "sub": st.sampled_from([CLAIMS["sub"], 5, None]),
        "jti": st.sampled_from(["t2", 5, None]),
        "iss": st.sampled_from(["users", ["users"], "x", None, True]),
        "exp": st.sampled_from([2**34, None]),
    },
).map(lambda changes: {**CLAIMS, **changes})


@settings(max_examples=400, deadline=None)
@given(names, headers, payloads, st.integers(0, 12), st.integers(1, 63))
def test_a_token_is_accepted_if_pyjwt_accepts_it_with_the_key_of_its_algorithm(
    signer: str, header: dict[str, Any], payload: dict[str, Any], place: int, change: int
) -> None:
    token = signed(json.dumps(header).encode(), json.dumps(payload).encode(), signer)
    assert accepted(token) == accepted_by_pyjwt(token, signer)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = -1 - place * len(token) // 13
    if token[at] != ".":
        other = alphabet[alphabet.index(token[at]) ^ change]
        token = token[:at] + other + token[at:][1:]
    assert accepted(token) == accepted_by_pyjwt(token, signer)


@pytest.mark.parametrize("algorithm", KEYS)
def test_each_algorithm_verifies_its_own_signatures_only(algorithm: str) -> None:
    token = signed(
        json.dumps({"alg": algorithm}).encode(), json.dumps({**CLAIMS, "aud": "hub"}).encode(), algorithm
    )
    assert accepted(token)
    text, _, signature = token.rpartition(".")
    for name, key in KEYS.items():
        right = PreparedKey(key).verifies(text.encode(), decode_segment(signature))
        assert right == (name == algorithm)
    for length in (0, 1, 31, 32, 63, 64, 65, 255, 256, 257):
        assert not PreparedKey(KEYS[algorithm]).verifies(text.encode(), bytes(length))


@pytest.mark.parametrize(
    "secret", [PEM, DER, b'{"kty": "oct", "k": "AAAA", "more": "as long as it has to be"}']
)
def test_a_key_that_is_no_secret_verifies_nothing(secret: bytes) -> None:
    key = PreparedKey(VerificationKey(secret, "HS256"))
    assert not key.verifies(b"text", hmac.digest(secret, b"text", hashlib.sha256))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"alg": "HS256"}', TokenHeader("HS256", None)),
        ('{"alg": "HS256", "kid": "k", "typ": "JWT", "b64": true}', TokenHeader("HS256", "k")),
        ('{"alg": "none", "alg": "HS256"}', TokenHeader("HS256", None)),
        ("{}", TokenHeader(None, None)),
        ('{"alg": "HS256", "crit": ["b64"], "b64": true}', None),
        ('{"alg": "HS256", "crit": null}', None),
        ('{"alg": "HS256", "b64": 1}', None),
        ('{"alg": "HS256", "b64": null}', None),
        ('{"alg": "HS256", "kid": null}', None),
        ("[" * 5000, None),
        ("[]", None),
        ('"HS256"', None),
        ("", None),
        ("\udcff", None),
    ],
)
def test_headers_are_read_strictly(text: str, found: TokenHeader | None) -> None:
    assert read_header(encoded(text.encode(errors="surrogateescape"))) == found


@given(st.binary(max_size=60))
def test_bytes_are_read_as_they_were_written(found: bytes) -> None:
    assert decode_segment(encoded(found)) == found


@given(st.text(alphabet="AQgwEZz09-_+/=é\n ", max_size=8))
def test_a_segment_is_read_only_if_it_is_what_would_be_written(segment: str) -> None:
    try:
        found = decode_segment(segment)
    except ValueError:
        return
    assert encoded(found) == segment


@pytest.mark.parametrize("segment", ["e30=", "e31", "e3", "e", "e3 0", "e30\n", "é30", "+/+/", "a"])
def test_bytes_have_one_spelling(segment: str) -> None:
    with pytest.raises(ValueError, match="not base64url"):
        decode_segment(segment)
    assert read_header(segment) is None


def test_a_prepared_key_is_asked_for_tokens_of_its_id_or_of_none() -> None:
    named, unnamed = VerificationKey(SECRET.encode(), "HS256", "k"), KEYS["HS256"]
    for kid, by_named in (("k", True), (None, True), ("other", False), ("", False)):
        header = TokenHeader("HS256", kid)
        assert PreparedKey(named).may_verify(header) is by_named
        assert PreparedKey(unnamed).may_verify(header)
    assert not PreparedKey(unnamed).may_verify(TokenHeader("RS256", None))


def test_the_kinds_of_keys_are_all_tried() -> None:
    assert {algorithm_of(key) or "HS256" for key in PUBLIC.values()} == set(KEYS)
