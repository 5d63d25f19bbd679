"""Access tokens: good ones pass, and each way to forge or spoil one is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from app.api.errors import unauthorized
from app.auth.signatures import PreparedKey
from app.auth.tokens import LEEWAY_SECONDS, MAX_TOKEN_BYTES, Claims, TokenVerifier
from app.domain.errors import Unauthorized
from app.domain.user_ids import UUIDS_ONLY, UserIds
from app.settings.edge import AuthSettings
from app.settings.jwt_keys import VerificationKey

SECRET = "a secret for tests, long enough to be accepted"
PRIVATE_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC_KEY = (
    PRIVATE_KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
USER = UUID("456e7890-e89b-12d3-a456-426614174001")


def verifier(
    now: Callable[[], float] = time.time, user_ids: UserIds = UUIDS_ONLY, **changes: Any
) -> TokenVerifier:
    values = {
        "jwt_algorithm": "HS256",
        "jwt_secret": SECRET,
        "jwt_public_key": PUBLIC_KEY,
        "jwt_issuer": "users",
        "jwt_audience": None,
    }
    return TokenVerifier(AuthSettings.model_validate({**values, **changes}), now, user_ids)


FAR_AHEAD = 2**33  # seconds: the year 2242
HS256 = verifier()
RS256 = verifier(jwt_algorithm="RS256", jwt_secret=None)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": str(USER), "jti": "t1", "iat": now, "exp": now + 60, "iss": "users", **changes}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in claims().items() if key != name}


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def signed(payload: Any, key: str = SECRET, /, **header: Any) -> str:
    """A token by hand: PyJWT would refuse to make most of these."""
    header = {"alg": "HS256", "typ": "JWT", **header}
    parts = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(payload).encode())}"
    return f"{parts}.{encoded(hmac.digest(key.encode(), parts.encode(), hashlib.sha256))}"


def signed_rs256(payload: Any) -> str:
    parts = signed(payload, "", alg="RS256").rpartition(".")[0]
    return f"{parts}.{encoded(PRIVATE_KEY.sign(parts.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def refusal(token: str | None, by: TokenVerifier = HS256) -> str:
    with pytest.raises(Unauthorized) as refused:
        by.verify(token)
    assert refused.value.__cause__ is None
    assert not token or token not in str(refused.value)
    return refused.value.reason


def test_a_good_token_passes_and_says_who_comes() -> None:
    payload = claims()
    assert HS256.verify(signed(payload)) == Claims(USER, "t1", payload["iat"], payload["exp"])
    assert RS256.verify(signed_rs256(payload)) == Claims(USER, "t1", payload["iat"], payload["exp"])


def test_the_time_of_issue_keeps_its_fraction() -> None:
    issued = int(time.time()) - 0.25
    assert HS256.verify(signed(claims(iat=issued))).issued_at == issued
    assert HS256.verify_service(signed(claims(iat=issued))).issued_at == issued


def test_claims_nobody_asked_for_do_no_harm() -> None:
    payload = claims(nbf=int(time.time()) - 5, roles=["chef"], aud="elsewhere")
    assert HS256.verify(signed(payload)).user_id == USER


def test_without_a_configured_issuer_any_or_none_may_be_named() -> None:
    by = verifier(jwt_issuer=None)
    assert by.verify(signed(without("iss"))).user_id == USER
    assert by.verify(signed(claims(iss="anyone"))).user_id == USER


def test_the_configured_audience_has_to_be_named() -> None:
    by = verifier(jwt_audience="hub")
    for audience in ("hub", ["other", "hub"]):
        assert by.verify(signed(claims(aud=audience))).user_id == USER
    for payload in (claims(), claims(aud="other"), claims(aud=["other"]), claims(aud=[]), claims(aud=5)):
        assert refusal(signed(payload), by) == "invalid_token"


@pytest.mark.parametrize("token", [None, ""])
def test_no_token_is_missing(token: str | None) -> None:
    assert refusal(token) == "missing_token"


def test_an_expired_token_has_a_code_of_its_own() -> None:
    assert refusal(signed(claims(exp=int(time.time()) - LEEWAY_SECONDS - 1))) == "expired_token"


def test_clocks_may_differ_by_the_leeway() -> None:
    now = int(time.time())
    assert (
        HS256.verify(signed(claims(iat=now + LEEWAY_SECONDS - 2, nbf=now + LEEWAY_SECONDS - 2))).user_id
        == USER
    )


@pytest.mark.parametrize("ahead", [300, -300])
def test_the_clock_that_counts_is_the_given_one(ahead: int) -> None:
    by = verifier(now=lambda: time.time() + ahead)
    moment = int(time.time()) + ahead
    assert by.verify(signed(claims(iat=moment, nbf=moment, exp=moment + 60))).user_id == USER
    assert refusal(signed(claims(iat=moment - 90, exp=moment - 60)), by) == "expired_token"
    for early in ({"iat": moment + 60}, {"iat": moment, "nbf": moment + 60}):
        assert refusal(signed(claims(exp=moment + 90, **early)), by) == "invalid_token"


@pytest.mark.parametrize("name", ["sub", "jti", "iat", "exp", "iss"])
def test_a_missing_claim_is_refused(name: str) -> None:
    assert refusal(signed(without(name))) == "invalid_token"


WRONG_TIMES: tuple[object, ...] = (
    *("0", "1700000000", "9999999999", "", True, False, [2000000000], {"$date": 1}),
    *(-1, -1e-9, 2**40 + 1, 2.0**41, 1e308, 10**30, 10**400, float("-inf")),
)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "admin"},
        {"sub": ""},
        {"sub": 7},
        {"sub": None},
        {"sub": str(USER) + "x"},
        {"jti": 7},
        {"jti": ""},
        {"jti": ["t1"]},
        {"jti": None},
        {"iat": "now"},
        {"iat": float("nan")},
        {"iat": float("inf")},
        {"iat": None},
        {"iat": [1]},
        {"iat": FAR_AHEAD},
        {"exp": "later"},
        {"exp": None},
        {"exp": {}},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"nbf": FAR_AHEAD},
        {"nbf": "later"},
        *({name: value} for name in ("iat", "exp", "nbf") for value in WRONG_TIMES),
        {"exp": 1000 * FAR_AHEAD},  # milliseconds
        {"nbf": None},
        {"token_type": "refresh"},
        {"token_type": "Access"},
        {"token_type": "access "},
        {"token_type": ""},
        {"token_type": None},
        {"token_type": ["access"]},
        {"token_type": {"access": True}},
        {"token_type": 1},
        {"iss": "somebody else"},
        {"iss": ["users"]},
        {"iss": None},
    ],
    ids=str,
)
def test_a_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(signed(claims(**changes))) == "invalid_token"


def test_a_token_of_the_right_type_or_of_none_passes() -> None:
    assert HS256.verify(signed(claims(token_type="access"))).user_id == USER
    assert HS256.verify(signed(claims(type="refresh", typ="Bearer"))).user_id == USER
    with pytest.raises(Unauthorized):
        HS256.verify_service(signed(claims(sub="kitchen", token_type="refresh")))


def test_the_claim_and_its_value_are_settings() -> None:
    by = verifier(jwt_type_claim="typ", jwt_type="Bearer")
    assert by.verify(signed(claims(typ="Bearer", token_type="refresh"))).user_id == USER
    assert by.verify(signed(claims())).user_id == USER
    for wrong in ("Refresh", "ID", "bearer", "access"):
        assert refusal(signed(claims(typ=wrong)), by) == "invalid_token"


def test_times_may_have_a_fraction() -> None:
    now = time.time()
    found = HS256.verify(signed(claims(iat=now - 1.5, nbf=now - 0.25, exp=now + 60.75)))
    assert found.expires_at == int(now + 60.75)
    assert HS256.verify(signed(claims(nbf=0, iat=0, exp=2**40))).expires_at == 2**40
    assert refusal(signed(claims(exp=0))) == "expired_token"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS512", "RS256", "ES256", None, 5])
def test_only_the_configured_algorithm_counts(algorithm: object) -> None:
    token = signed(claims(), alg=algorithm)
    assert refusal(token) == "invalid_token"
    assert refusal(token.rpartition(".")[0] + ".") == "invalid_token"


def test_an_unsigned_token_is_refused() -> None:
    parts = signed(claims(), alg="none").rpartition(".")[0]
    for token in (parts, f"{parts}.", f"{parts}.AA"):
        assert refusal(token) == "invalid_token"
        assert refusal(token, RS256) == "invalid_token"


@pytest.mark.parametrize("key", [PUBLIC_KEY, PUBLIC_KEY.strip(), SECRET, ""])
def test_the_public_key_signs_nothing(key: str) -> None:
    for algorithm in ("HS256", "RS256"):
        assert refusal(signed(claims(), key, alg=algorithm), RS256) == "invalid_token"


def test_a_signature_of_another_key_is_refused() -> None:
    assert refusal(signed(claims(), SECRET + "x")) == "invalid_token"
    assert refusal(signed_rs256(claims())) == "invalid_token"


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": ["hub"], "hub": True},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"kid": 5},
    ],
    ids=str,
)
def test_a_header_that_demands_what_is_not_understood_is_refused(header: dict[str, Any]) -> None:
    assert refusal(signed(claims(), **header)) == "invalid_token"


def test_a_key_in_the_header_is_not_used() -> None:
    forged = signed(claims(), "mine" * 10, jwk={"kty": "oct", "k": encoded(b"mine" * 10)}, jku="http://evil")
    assert refusal(forged) == "invalid_token"


def test_a_token_has_one_spelling() -> None:
    token = signed(claims())
    header, payload, signature = token.split(".")
    for spelling in (
        f"{token}=",
        f"{token}==",
        f" {token}",
        f"{token}\n",
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload}=.{signature}",
        f"Bearer {token}",
        f"{token}.",
    ):
        assert refusal(spelling) == "invalid_token"


def test_a_changed_payload_is_refused() -> None:
    header, _, signature = signed(claims()).split(".")
    other = encoded(json.dumps(claims(sub=str(uuid4()))).encode())
    assert refusal(f"{header}.{other}.{signature}") == "invalid_token"


def test_a_huge_token_is_refused_unread() -> None:
    assert refusal(signed(claims(more="x" * MAX_TOKEN_BYTES))) == "invalid_token"
    assert refusal("." * 10_000_000) == "invalid_token"


@pytest.mark.parametrize("payload", [[], "text", 5, None, {}])
def test_a_payload_that_is_no_set_of_claims_is_refused(payload: object) -> None:
    assert refusal(signed(payload)) == "invalid_token"


def test_a_header_nested_too_deeply_is_refused() -> None:
    assert refusal(f"{encoded(b'[' * 5000)}.e30.AA") == "invalid_token"


@given(st.text() | st.tuples(*[st.binary(max_size=40)] * 3).map(lambda parts: ".".join(map(encoded, parts))))
def test_garbage_is_refused_and_never_fails_otherwise(token: str) -> None:
    with pytest.raises(Unauthorized):
        HS256.verify(token)


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "x" * 256])
def test_a_service_whose_name_can_not_be_written_down_is_refused(name: str) -> None:
    with pytest.raises(Unauthorized):
        HS256.verify_service(signed(claims(sub=name)))
    assert HS256.verify_service(signed(claims(sub="kitchen-service"))).user_id == "kitchen-service"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sub": "1"}, "FOREIGN_USER_IDS=map"),
        ({"sub": "user_123"}, "FOREIGN_USER_IDS=map"),
        ({"token_type": "refresh"}, "not the refresh token"),
        ({"jti": ""}, "Sign in again"),
    ],
    ids=str,
)
def test_a_refusal_says_what_to_do(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        HS256.verify(signed(claims(**changes)))
    problem = unauthorized(refused.value)
    assert (problem.status, problem.code) == (401, "invalid_token")
    assert said in str(problem.detail)


def test_mapped_foreign_subjects_are_users() -> None:
    namespace = uuid4()
    mapping = verifier(user_ids=UserIds(namespace))
    for subject in ("user_123", "1", "x" * 200):
        found = mapping.verify(signed(claims(sub=subject)))
        assert (found.user_id, found.foreign_id) == (uuid5(namespace, subject), subject)
        assert refusal(signed(claims(sub=subject))) == "invalid_token"
    for subject in (str(USER), str(USER).upper(), f"{{{USER}}}", USER.urn):
        for by in (HS256, mapping):
            found = by.verify(signed(claims(sub=subject)))
            assert (found.user_id, found.foreign_id) == (USER, None)
    for wrong in ("", " ", "x" * 201):
        assert refusal(signed(claims(sub=wrong)), mapping) == "invalid_token"


def test_a_token_that_comes_again_is_known_by_its_hash_and_its_times_are_checked_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moment = time.time()
    again = verifier(lambda: moment)
    token = signed(claims(exp=int(moment) + 60))
    first = again.verify(token)
    monkeypatch.setattr(PreparedKey, "verifies", lambda *_: pytest.fail("its signature was checked twice"))
    assert again.verify(token) == first
    moment += 60 + LEEWAY_SECONDS + 1
    with pytest.raises(Unauthorized, match="expired_token"):
        again.verify(token)


def test_a_token_whose_key_is_gone_is_not_known_any_more() -> None:
    old, new = "another secret, as long as it has to be", "a third secret, as long as it has to be"

    class Source:
        keys = (VerificationKey(old.encode(), "HS256", "old"),)

        async def refresh(self) -> bool:
            return False

    source = Source()
    settings = AuthSettings.model_validate({"jwt_algorithm": "HS256", "jwt_secret": SECRET})
    rotated = TokenVerifier(settings, key_source=source)
    token = signed(claims(), old, kid="old")
    assert rotated.verify(token).token_id == "t1"
    source.keys = (VerificationKey(new.encode(), "HS256", "new"),)
    with pytest.raises(Unauthorized):
        rotated.verify(token)


def test_a_refused_token_is_not_remembered() -> None:
    forged = signed(claims(), "another secret, as long as it has to be")
    for _ in range(2):
        with pytest.raises(Unauthorized):
            HS256.verify(forged)
