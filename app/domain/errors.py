"""One tree of errors: what the sender must mend, what passes by itself, what an operator must set.

Foreign errors (drivers, HTTP clients) are translated into these at the edge; no driver error crosses it.
"""

from __future__ import annotations


class HubError(Exception):
    """Base of every error the hub raises on purpose."""


class ConfigurationError(HubError):
    """The settings don't allow a start; the text says which one to set, and to what."""


class InvalidEvent(HubError):  # noqa: N818 - a state of an event, named as DESIGN names it
    """An event that can never be handled: it is dead-lettered with `reason` (a stable word) and the text."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Unavailable(HubError):  # noqa: N818
    """A dependency doesn't answer now. Trying again later can help."""

    def __init__(self, dependency: str, text: str) -> None:
        super().__init__(f"{dependency}: {text}")
        self.dependency = dependency


class StoreRejected(HubError):  # noqa: N818
    """Postgres refuses the values themselves (a data error): trying again can't help."""


class Unauthorized(HubError):  # noqa: N818
    """No token, or one that doesn't hold. `reason` is a stable word that is safe to tell and to log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DeliveryFailed(HubError):  # noqa: N818
    """One attempt to deliver a message failed.

    `code` is a stable identifier (such as smtp_451, twilio_21211, timeout), the text is the provider's own.
    `retryable` says whether another attempt can help; `retry_after` is the delay in seconds that the provider
    asks for.
    """

    def __init__(self, code: str, text: str, *, retryable: bool, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.retryable = retryable
        self.retry_after = retry_after
