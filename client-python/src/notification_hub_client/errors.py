"""What calls of this package raise. Every error is a `HubError`; its `code` is stable and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class HubError(Exception):
    """A call failed.

    Attributes:
        code: the `code` of the hub's problem+json answer, such as `no_such_notification`.
        status: the HTTP status or WebSocket close code; 0 if there was no answer.
        detail: what is wrong, for people.
        retry_after: seconds to wait before the next attempt, if the hub named them.
    """

    def __init__(
        self, code: str, detail: str = "", status: int = 0, retry_after: float | None = None
    ) -> None:
        super().__init__(code, detail, status, retry_after)  # all of them, so that it can be pickled
        self.code = code
        self.detail = detail
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


class TransportError(HubError):
    """No answer from the hub: it could not be reached, or the connection was lost."""


class BadRequestError(HubError):
    """400: a field, a parameter or the whole request is invalid."""


class AuthenticationError(HubError):
    """401, or close code 4401 or 4501: the token is missing, invalid, expired or revoked."""


class PermissionDeniedError(HubError):
    """403 or close code 4503: the token belongs to another user, or lacks the scope."""


class NotFoundError(HubError):
    """404: there is no such notification or event, or it belongs to another user or service."""


class ConflictError(HubError):
    """409: not possible in the current state, such as cancelling a notification that was sent."""


class ContentTooLargeError(HubError):
    """413: the body exceeds the size limit."""


class UnprocessableError(HubError):
    """422: the Idempotency-Key was used for a different request."""


class RateLimitError(HubError):
    """429 or close code 4429: too many requests, connections or frames."""


class ServerError(HubError):
    """500: an error in the hub; its log has the details."""


class UnavailableError(HubError):
    """503 or close code 1013: the hub is overloaded, or a dependency of it is down. Retry later."""


class LoggedOutError(HubError):
    """Close code 4500: the user logged out."""


_BY_STATUS: Mapping[int, type[HubError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: ContentTooLargeError,
    422: UnprocessableError,
    429: RateLimitError,
    500: ServerError,
    503: UnavailableError,
}
_BY_CLOSE_CODE: Mapping[int, tuple[type[HubError], str]] = {
    1013: (UnavailableError, "overloaded"),
    4401: (AuthenticationError, "expired_token"),
    4429: (RateLimitError, "too_many"),
    4500: (LoggedOutError, "logged_out"),
    4501: (AuthenticationError, "revoked_token"),
    4503: (PermissionDeniedError, "forbidden"),
}


def error_of_answer(status: int, body: bytes, retry_after: str | None) -> HubError:
    """The error that an HTTP answer means: from its problem+json, plain or in the jsend envelope."""
    problem = _problem(body)
    kind = _BY_STATUS.get(status) or (ServerError if status >= 500 else HubError)
    detail = problem.get("detail") or body[:200].decode(errors="replace")
    return kind(str(problem.get("code") or f"http_{status}"), str(detail), status, seconds(retry_after))


def error_of_close(code: int, reason: str) -> HubError:
    """The error that a WebSocket close code means."""
    kind, name = _BY_CLOSE_CODE.get(code, (TransportError, f"closed_{code}"))
    return kind(name, reason, code)


def seconds(retry_after: str | None) -> float | None:
    """The header Retry-After as seconds; None if it is missing or a date."""
    try:
        return max(0.0, float(retry_after or ""))
    except ValueError:
        return None


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    if isinstance(found, dict) and isinstance(found.get("data"), dict) and "code" not in found:
        found = found["data"]
    return found if isinstance(found, dict) else {}
