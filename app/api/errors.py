"""Errors as application/problem+json (RFC 9457), in the client's language."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sanic import HTTPResponse, Request, Sanic
from sanic.compat import Header
from sanic.exceptions import ExpectationFailed, MethodNotAllowed, NotFound, RequestTimeout, SanicException

from app.api.headers import accept_language
from app.api.methods import allowed_methods
from app.api.prefixes import DOCS
from app.domain.errors import StoreFailed, Unauthorized, Unavailable
from app.texts.i18n import N_, Translatable, negotiate, render

log = logging.getLogger("hub.api")

RETRY_AFTER_SECONDS = 2  # seconds
TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
PROBLEM = "application/problem+json"
UNREAD = "NONE"  # Sanic's method of a request whose head it could not parse
# Developers read errors first: without Accept-Language they are in English, not in DEFAULT_LOCALE.
ERROR_LOCALE = "en"


class HubRequest(Request):
    """A request that can be created even if its address is malformed.

    To answer an error, Sanic creates a request with the same address, which would fail again: the client
    would get no answer, and the log would get the address, which may hold a token (`?jwt=`).
    """

    def __init__(
        self, url_bytes: bytes, headers: Header, version: str, method: str, *args: Any, **kwargs: Any
    ) -> None:
        address = b"*" if method == UNREAD else url_bytes
        super().__init__(address, headers, version, method, *args, **kwargs)


class BareProblemDetails(msgspec.Struct):
    """An error (RFC 9457)."""

    type: Annotated[
        str,
        Meta(
            examples=["urn:notification-hub:problem:no_such_notification"],
            extra_json_schema={"format": "uri"},
        ),
    ]
    title: Annotated[str, Meta(examples=["Not found"])]
    status: Annotated[int, Meta(examples=[404])]
    detail: Annotated[str, Meta(examples=["The inbox has no notification with this id."])]
    code: Annotated[str, Meta(examples=["no_such_notification"])]


class ProblemDetails(BareProblemDetails):
    """An error (RFC 9457). `code` is stable and for programs, `detail` is for people."""

    instance: Annotated[str, Meta(description="the path of the request")]


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An error answer. `code` is stable and for programs, `detail` is for people."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: Translatable,
        headers: Mapping[str, str] = MappingProxyType({}),
        /,
        **params: object,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers
        self.params = params


_TITLES = {
    400: N_("Bad request"),
    401: N_("Unauthorized"),
    403: N_("Forbidden"),
    404: N_("Not found"),
    405: N_("Method not allowed"),
    408: N_("Request timeout"),
    409: N_("Conflict"),
    413: N_("Content too large"),
    414: N_("URI too long"),
    417: N_("Expectation failed"),
    422: N_("Unprocessable content"),
    426: N_("Upgrade required"),
    429: N_("Too many requests"),
    431: N_("Request header fields too large"),
    500: N_("Internal error"),
    503: N_("Service unavailable"),
}
TOKEN_ERRORS = {
    "missing_token": N_("The request has no access token. Send one as Authorization: Bearer <token>."),
    "invalid_token": N_("The access token is invalid. Sign in again to get a new one."),
    "foreign_subject": N_(
        "The access token names no user: its subject (sub) is not a UUID. Send a user's token; "
        "FOREIGN_USER_IDS=map lets the hub accept other ids."
    ),
    "token_type": N_("The token is not an access token. Send the access token, not the refresh token."),
    "expired_token": N_("The access token has expired. Sign in again to get a new one."),
    "revoked_token": N_("The access token was revoked. Sign in again to get a new one."),
}


def unauthorized(error: Unauthorized) -> Problem:
    """401, with the challenge of RFC 6750."""
    reason = error.reason
    challenge = "" if reason == "missing_token" else ', error="invalid_token"'
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        reason,
        TOKEN_ERRORS[error.cause or reason],
        {"WWW-Authenticate": f'Bearer realm="hub"{challenge}'},
    )


def unavailable(dependency: str) -> Problem:
    """503: a dependency is down; the client may retry."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "dependency_down",
        N_("%(dependency)s is unavailable. Retry in a few seconds."),
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
        dependency=dependency,
    )


def overloaded() -> Problem:
    """503: the node has as much to do as it may take on: requests, upgrades, connections, bytes of bodies."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "overloaded",
        N_("The hub has too many requests at the moment. Retry in a few seconds."),
        {"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def too_many_requests(seconds: int, headers: Mapping[str, str] = MappingProxyType({})) -> Problem:
    """429: a rate limit, or the limit of requests in flight."""
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_requests",
        N_("Too many requests. Retry in %(seconds)s s."),
        {**headers, "Retry-After": str(seconds)},
        seconds=seconds,
    )


def too_slow() -> Problem:
    """408: the request was not received within the time limit."""
    return Problem(
        HTTPStatus.REQUEST_TIMEOUT,
        "too_slow",
        N_("The request was not received within the time limit. Retry it."),
        {"Connection": "close"},
    )


def malformed() -> Problem:
    """400: what was received is no request, or no unambiguous one."""
    return Problem(HTTPStatus.BAD_REQUEST, "bad_request", N_("The request is malformed."))


def head_too_large(head: bytes | bytearray) -> Problem:
    """414 if `head`, as much as is allowed, has no whole request line (RFC 9112, 3); otherwise 431."""
    if b"\r\n" not in head.lstrip(b"\r\n"):
        return Problem(
            HTTPStatus.REQUEST_URI_TOO_LONG, "target_too_long", N_("The URL exceeds the size limit.")
        )
    return Problem(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        N_("The request line and the headers exceed the size limit."),
    )


def expectation_failed() -> Problem:
    """417: an `Expect` that no server knows (RFC 9110, 10.1.1)."""
    return Problem(
        HTTPStatus.EXPECTATION_FAILED,
        "expectation_failed",
        N_("The header Expect may only be 100-continue."),
    )


def too_many(seconds: int) -> Problem:
    """429: the WebSocket of this token was closed with 4429 a moment ago."""
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many",
        N_(
            "This user has too many connections, or one of them sent too many frames. Close "
            "connections, or retry later."
        ),
        {"Retry-After": str(seconds)},
    )


def forbidden() -> Problem:
    """403: the token belongs to another user."""
    return Problem(
        HTTPStatus.FORBIDDEN,
        "other_user",
        N_("The access token belongs to a different user than the one in the path."),
    )


def insufficient_scope(scope: str) -> Problem:
    """403, with the challenge of RFC 6750."""
    return Problem(
        HTTPStatus.FORBIDDEN,
        "insufficient_scope",
        N_("The access token lacks the scope %(scope)s."),
        {"WWW-Authenticate": f'Bearer realm="hub", error="insufficient_scope", scope="{scope}"'},
        scope=scope,
    )


def problem_response(request: Request, problem: Problem) -> HTTPResponse:
    """`problem` as an answer to `request`."""
    locale = negotiate(accept_language(request), ERROR_LOCALE)
    body = ProblemDetails(*_details(problem, locale), request.path)
    headers = {"Content-Language": locale, "Vary": "Accept-Language", **problem.headers}
    return HTTPResponse(msgspec.json.encode(body).decode(), int(problem.status), headers, PROBLEM)


def bare_answer(problem: Problem) -> bytes:
    """`problem` as the bytes of an answer to a request that is not parsed; the connection closes after it."""
    body = msgspec.json.encode(BareProblemDetails(*_details(problem, ERROR_LOCALE)))
    headers = {
        "Content-Type": PROBLEM,
        "Content-Language": ERROR_LOCALE,
        "Content-Length": str(len(body)),
        **problem.headers,
        "Connection": "close",
    }
    lines = (
        f"HTTP/1.1 {int(problem.status)} {problem.status.phrase}",
        *map(": ".join, headers.items()),
        "",
        "",
    )
    return "\r\n".join(lines).encode() + body


def _details(problem: Problem, locale: str) -> tuple[str, str, int, str, str]:
    """The fields of `BareProblemDetails`."""
    return (
        f"urn:notification-hub:problem:{problem.code}",
        render(locale, _TITLES[problem.status], {}),
        int(problem.status),
        render(locale, problem.detail, problem.params),
        problem.code,
    )


Respond = Callable[[Request, Problem], HTTPResponse]
"""Makes the answer to a request of a problem."""


def install(
    app: Sanic[Any, Any],
    references: Mapping[str, str] = MappingProxyType({}),
    respond: Respond = problem_response,
) -> None:
    """Answer every exception of `app` with a problem.

    `references` has addresses of the API reference by the prefix of paths; for other paths it is at `DOCS`.
    """
    app.ctx.references = references

    @app.exception(Exception)
    async def answer(request: Request, error: Exception) -> HTTPResponse:
        return respond(request, problem_of(request, error))


def problem_of(request: Request, error: Exception) -> Problem:
    """The problem that answers an exception. One that is the hub's fault is logged."""
    match error:
        case Problem():
            return error
        case Unauthorized():
            return unauthorized(error)
        case StoreFailed():
            pass  # an error of the hub or of its set-up: waiting doesn't help
        case Unavailable():
            log.warning("dependency_down", extra={"why": str(error)})
            return unavailable(error.dependency)
        case SanicException() if problem := _sanic_problem(request, error):
            return problem
    # not the path: that of an unsubscribe link holds a token
    log.error("request_failed", exc_info=error, extra={"route": request.uri_template or request.path})
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        N_("The hub failed to process the request. This is an error in the hub; its log has the details."),
    )


def _reference(request: Request) -> str:
    """The address of the API reference that describes what is around the path."""
    references: Mapping[str, str] = request.app.ctx.references
    path = f"{request.path}/"
    return next((address for prefix, address in references.items() if path.startswith(f"{prefix}/")), DOCS)


def _sanic_problem(request: Request, error: SanicException) -> Problem | None:
    """The problem for an error that Sanic raises itself; None for a failure of the hub."""
    match error:
        case NotFound():
            return Problem(
                HTTPStatus.NOT_FOUND,
                "no_such_path",
                N_("No such path. The API reference is at %(docs)s."),
                docs=_reference(request),
            )
        case MethodNotAllowed():
            named = ", ".join(sorted(error.headers.get("Allow", "").split(", ")))
            allowed = allowed_methods(request) or named
            return Problem(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "method_not_allowed",
                N_("Method %(method)s is not allowed here. Allowed methods: %(allowed)s."),
                {"Allow": allowed},
                method=request.method,
                allowed=allowed,
            )
        case _ if error.status_code == TOO_LARGE:
            return Problem(
                TOO_LARGE,
                "too_large",
                N_("The request body exceeds the limit of %(most)d bytes. Send less at a time."),
                most=getattr(request.stream, "request_max_size", request.app.config.REQUEST_MAX_SIZE),
            )
        case RequestTimeout():
            return too_slow()
        case ExpectationFailed():
            return expectation_failed()
        case _ if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return malformed()
        case _ if error.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return unavailable("hub")
    return None
