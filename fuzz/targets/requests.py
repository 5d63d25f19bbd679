"""What clients of the REST calls send: tokens, queries, headers, bodies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from contextlib import suppress
from functools import partial
from typing import Any, cast
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from sanic import Request, Sanic
from sanic.compat import Header
from sanic.exceptions import SanicException

from app.api import parameters
from app.api.bodies import json_body
from app.api.compat.in_app_service import OldChoice
from app.api.compat.mail_service import BulkMails
from app.api.compat.message_service import OldMessage
from app.api.errors import Problem, problem_response
from app.api.handshake import token_of
from app.api.idempotency import MAX_KEY_CHARS, _key
from app.api.preferences import NewChoice, PreferenceChoice, ProfileBody, checked_profile
from app.api.sending import Bulk, NotifyEmail
from app.auth.repeat_offenders import RepeatOffenders, key_of
from app.auth.tokens import LEEWAY_SECONDS, MAX_UNIX_SECONDS, TokenVerifier
from app.domain.errors import Unauthorized
from app.runtime.http1 import MalformedRequest, parse_head
from app.texts.i18n import LOCALES, negotiate
from fuzz.hostile import TEXTS, VALUES, as_json, changed, json_words, spoiled
from fuzz.storable import check_text
from fuzz.target import CANARY, Target
from tests.support.settings import settings_on

SECRET = b"a secret for fuzzing, long enough to be accepted"
REASONS = ("missing_token", "invalid_token", "expired_token")
_VERIFIER = TokenVerifier(settings_on("redis://redis", jwt_secret=SECRET.decode(), jwt_issuer="users").auth)
_GOOD_HEADER = {"alg": "HS256", "typ": "JWT"}
_CLAIMS = {"sub": str(UUID(int=1)), "jti": "t1", "iat": 1_700_000_000, "exp": 2**33, "iss": "users"}
_APP: Any = Sanic("fuzz")


def check_forged(data: bytes) -> None:
    """No text is a token, whoever made it, unless it is signed with the secret."""
    token = data.decode("utf-8", "surrogateescape")
    for verify in (_VERIFIER.verify, _VERIFIER.verify_service):
        try:
            verify(token)
        except Unauthorized as error:
            assert str(error) in REASONS
            continue
        head, _, signature = token.rpartition(".")
        assert signature == _signature(head), "a forged token was let in"


def check_signed(data: bytes) -> None:
    """The claims of a token that is signed with the secret, whatever they are."""
    head = f"{_b64(json.dumps(_GOOD_HEADER).encode())}.{_b64(data)}"
    token = f"{head}.{_signature(head)}"
    with suppress(Unauthorized):
        user = _VERIFIER.verify(token)
        assert isinstance(user.user_id, UUID)
        _check_claims(user.token_id, user.issued_at, user.expires_at)
    with suppress(Unauthorized):
        service = _VERIFIER.verify_service(token)
        check_text(service.user_id, 255)
        assert all(isinstance(scope, str) for scope in service.scopes)
        _check_claims(service.token_id, service.issued_at, service.expires_at)


def _check_claims(token_id: str, issued_at: float, expires_at: int) -> None:
    check_text(token_id, 8192)
    assert token_id
    assert token_id.isprintable()
    assert time.time() - LEEWAY_SECONDS - 1 <= expires_at <= MAX_UNIX_SECONDS
    assert issued_at <= time.time() + LEEWAY_SECONDS


def _b64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _signature(head: str) -> str:
    with suppress(UnicodeEncodeError):
        return _b64(hmac.digest(SECRET, head.encode(), hashlib.sha256))
    return "not signed"


def check_query(data: bytes) -> None:
    """Byte 0 chooses a language; the first line is the address, the others are headers' values."""
    address, key, language = [*data[1:].split(b"\n", 2), b"", b""][:3]
    headers = Header(
        [("idempotency-key", key.decode("latin-1")), ("accept-language", language.decode("latin-1"))]
    )
    try:
        request = Request(b"/x?" + address, headers, "1.1", "GET", cast(Any, None), _APP)
    except SanicException:
        return
    for read in (
        partial(parameters.number, least=0, most=parameters.MAX_SEQ),
        parameters.flag,
        partial(parameters.text, longest=200),
        partial(parameters.choice, allowed=["email", "sms"]),
        parameters.uuid,
        parameters.moment,
    ):
        try:
            _check_value(read(request, "q"))
        except Problem as problem:
            _check_problem(request, problem)
    try:
        found = _key(request)
        assert found is None or (0 < len(found) <= MAX_KEY_CHARS and found.isascii() and found.isprintable())
    except Problem as problem:
        _check_problem(request, problem)
    assert negotiate(language.decode("utf-8", "replace"), "none") in (*LOCALES, "none")


def _check_value(value: object) -> None:
    if isinstance(value, str):
        check_text(value, 200)
    elif isinstance(value, int):
        assert 0 <= value <= parameters.MAX_SEQ
    msgspec.json.encode(value)


def _check_problem(request: Request, problem: Problem) -> None:
    assert problem.status == 400
    answer = problem_response(request, problem)
    assert msgspec.json.decode(answer.body or b"")["status"] == 400
    for name, value in answer.headers.items():
        assert "\r" not in f"{name}{value}"
        assert "\n" not in f"{name}{value}"


def check_bodies(data: bytes) -> None:
    """Byte 0 chooses the type of the body; a refusal's words hold none of the values."""
    form = _FORMS[(data[0] if data else 0) % len(_FORMS)]
    request = Request(b"/x", Header(), "1.1", "POST", cast(Any, None), _APP)
    request.body = data[1:]
    try:
        body = json_body(request, form)
        if isinstance(body, ProfileBody):
            profile = checked_profile(body)
            check_text(profile.email or "", 320)
    except Problem as problem:
        _check_problem(request, problem)
        words = str(problem.params)
        if len(_VALUE.findall(data)) == data.count(CANARY.encode()):
            assert CANARY not in words, "the refusal shows a value"


def check_upgrades(data: bytes) -> None:
    """The head of an upgrade: who is refused by it would be refused by the sign-in, which looks for the
    token in the request.
    """
    _OFFENDERS.remember(key_of(_REFUSED), UUID(int=1), flooded=False)
    with suppress(MalformedRequest, SanicException, Unauthorized):  # refused all the same, for another reason
        head = parse_head(data + b"\r\n\r\n")
        if _OFFENDERS.retry_after(head):
            request = Request(head.target.encode(), Header(head.fields), "1.1", "GET", cast(Any, None), _APP)
            assert token_of(request) == _REFUSED.decode(), "somebody else is refused"


_REFUSED = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
_OFFENDERS = RepeatOffenders(lambda _: True)
_HEADS = st.lists(
    st.sampled_from(
        (
            b"GET /ws?jwt=%b HTTP/1.1" % _REFUSED,
            b"GET /ws?after=1&jwt=eyJ.a.b HTTP/1.1",
            b"Authorization: Bearer %b" % _REFUSED,
            b"authorization:bearer eyJ.a.b",
            b"Sec-WebSocket-Protocol: hub.v1, bearer.%b" % _REFUSED,
            b"Cookie: jwt=%b" % _REFUSED,
            b"Upgrade: websocket",
            b"Host: hub",
        )
    )
    | st.binary(max_size=20)
).map(b"\r\n".join)
_VALUE = re.compile(rb':\s*"' + CANARY.encode() + b'"')
_FORMS: tuple[type[msgspec.Struct], ...] = (
    *(Bulk, NotifyEmail, NewChoice, PreferenceChoice, ProfileBody),
    *(OldMessage, BulkMails, OldChoice),
)
_BODIES: list[dict[str, Any]] = [
    {"notifications": [{"type": "inapp"}]},
    {"email": CANARY, "subject": "s", "text": "t"},
    {"category": CANARY, "channel": "email", "enabled": True},
    {"locale": "vi", "time_zone": "Asia/Ho_Chi_Minh", "quiet_from": "22:00", "quiet_until": CANARY},
    {"email": "a@b.example", "phone": CANARY},
]
_HEADERS = st.fixed_dictionaries(
    {"alg": st.sampled_from(("none", "HS256", "RS256", "HS512", "", 7)) | VALUES},
    optional={"kid": VALUES, "crit": VALUES, "jwk": VALUES, "b64": st.booleans(), "typ": VALUES},
)
_PARTS = st.tuples(
    (_HEADERS.map(as_json) | st.just(as_json(_GOOD_HEADER))), changed([_CLAIMS]).map(as_json)
).map(lambda parts: ".".join(map(_b64, parts)))
_TOKENS = st.tuples(_PARTS, st.sampled_from(("", "=", "AA", "A" * 43)) | st.binary(max_size=40).map(_b64))
_QUERIES = st.tuples(
    st.just(b"\0q="),
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass").replace(b"\n", b"%0A"))
    | st.sampled_from(
        (b"7", b"0x7", b"true", b"2026-11-21T07:00:00Z", b"0001-01-01T00:00:00+23:59", b"1&q=2")
    )
    | st.binary(max_size=30).map(lambda text: b"".join(b"%%%02x" % byte for byte in text)),
    st.just(b"\n") | TEXTS.map(lambda text: b"\n" + text.encode("utf-8", "surrogatepass")),
    st.just(b"\nvi;q=0.8, en") | TEXTS.map(lambda text: b"\n" + text.encode("utf-8", "surrogatepass")),
).map(b"".join)
TARGETS = (
    Target(
        "forged tokens",
        "no text is let in that isn't signed with the secret; the refusal is `Unauthorized`, always",
        check_forged,
        spoiled(_TOKENS.map(lambda parts: ".".join(parts).encode())),
        [b"eyJ", b".", b"=", _b64(as_json({"alg": "none"})).encode() + b"."],
        longest=8000,
    ),
    Target(
        "upgrades",
        "the head of an upgrade: only the token of a repeat offender is refused before the request is read",
        check_upgrades,
        spoiled(_HEADS),
        [b"\r\nauthorization: bearer ", b"\r\nsec-websocket-protocol: bearer.", b"?jwt=", _REFUSED],
        longest=16 * 1024,
        weight=4,
    ),
    Target(
        "signed tokens",
        "whatever claims are signed: sound ones, or `Unauthorized`",
        check_signed,
        spoiled(changed([_CLAIMS], ("scope", "nbf", "aud")).map(as_json)),
        json_words([_CLAIMS]),
        longest=5000,
        weight=0.5,
    ),
    Target(
        "queries",
        "parameters, Idempotency-Key and Accept-Language: a value within its bounds, or a 400 in JSON with "
        "no line break in its headers",
        check_query,
        _QUERIES,
        [
            b"q=",
            b"&q=",
            b"%00",
            b"%0d%0a",
            b"%ed%a0%80",
            b"2026-11-21T07:00:00Z",
            b";q=0.5",
            b'"',
            b"9999-12-31T23:59:59-23:59",
            b"zh-Hans-CN",
        ],
        longest=8192,
        weight=0.4,
    ),
    Target(
        "bodies",
        "JSON bodies and profiles: the type, or a 400 whose words hold none of the values",
        check_bodies,
        st.tuples(
            st.binary(min_size=1, max_size=1), spoiled(changed(_BODIES, ("email", "html", "x")).map(as_json))
        ).map(b"".join),
        json_words(_BODIES),
        longest=1 << 20,
        weight=1.5,
    ),
)
