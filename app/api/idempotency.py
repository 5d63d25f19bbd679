"""Requests that can be retried: Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from uuid import NAMESPACE_URL, uuid4, uuid5

import msgspec
from sanic import HTTPResponse, Request

from app.api.errors import Problem
from app.store.idempotency import EarlierRequest, IdempotencyStore
from app.texts.i18n import N_

HEADER = "Idempotency-Key"
MAX_KEY_CHARS = 255
LEASE_SECONDS = 60.0  # for one request; after that the node that handles it counts as dead


class StoredAnswer(msgspec.Struct):
    """An answer as it is stored."""

    headers: dict[str, str]
    body: msgspec.Raw


class Idempotency:
    """Handles a request once, and answers each retry with the stored answer."""

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store

    async def handle_once(
        self, request: Request, service: str, handle: Callable[[str], Awaitable[HTTPResponse]]
    ) -> HTTPResponse:
        """Return the answer of `handle`, or the stored answer to an earlier request with the same key.

        `handle` is called with an id that is the same for each retry of a request. Without the header nothing
        is stored. A 4xx frees the key. An answer that is not final (Retry-After, or 5xx) is not stored: the
        same request may be retried.

        Raises:
            Problem: 400 for a malformed key, 409 while the request is in progress, 422 if the key was used
                for a different request.
        """
        key = _key(request)
        if key is None:
            return await handle(str(uuid4()))
        fingerprint = _fingerprint(request)
        earlier = await self._store.claim(service, key, fingerprint, LEASE_SECONDS)
        if earlier is not None:
            return _replayed(earlier)
        try:
            answer = await handle(str(uuid5(NAMESPACE_URL, f"{service}\n{key}\n{fingerprint.hex()}")))
        except Problem as problem:
            refused = problem.status < HTTPStatus.INTERNAL_SERVER_ERROR
            await (self._store.forget if refused else self._store.release)(service, key)
            raise
        except BaseException:
            await self._store.release(service, key)
            raise
        if "Retry-After" in answer.headers:
            await self._store.release(service, key)
            return answer
        kept = StoredAnswer(dict(answer.headers), msgspec.Raw(answer.body or b"null"))
        await self._store.save_answer(service, key, answer.status, msgspec.json.encode(kept))
        return answer


def _replayed(earlier: EarlierRequest) -> HTTPResponse:
    """The answer to an earlier request with the same key."""
    if not earlier.same:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            N_("This Idempotency-Key was used for a different request. Use a new key for each request."),
        )
    if earlier.status is None or earlier.answer is None:
        raise Problem(
            HTTPStatus.CONFLICT,
            "request_in_progress",
            N_("A request with this Idempotency-Key is in progress. Retry in a moment."),
            {"Retry-After": "1"},
        )
    kept = msgspec.json.decode(earlier.answer, type=StoredAnswer)
    return HTTPResponse(bytes(kept.body), earlier.status, kept.headers, "application/json")


def _key(request: Request) -> str | None:
    """The value of the header: a string of RFC 9651, 3.3.3, or bare, as many clients send it."""
    values = request.headers.getall(HEADER, [])
    if not values:
        return None
    key: str = values[0].strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(values) > 1 or not 0 < len(key) <= MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "bad_idempotency_key",
            N_("Idempotency-Key must be one string of 1 to 255 printable ASCII characters, such as a UUID."),
        )
    return key


def _fingerprint(request: Request) -> bytes:
    what = b"\n".join((request.method.encode(), request.path.encode(), request.body))
    return hashlib.sha256(what).digest()
