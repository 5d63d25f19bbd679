"""One tree of errors: invalid input, transient failures, wrong configuration.

Foreign errors (drivers, HTTP clients) are translated into these at the edge; no driver error crosses it.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID


class HubError(Exception):
    """Base of every error the hub raises on purpose."""


class ConfigurationError(HubError):
    """The settings don't allow a start. The text names the setting to change, and what is accepted."""


class InvalidEvent(HubError):  # noqa: N818 - a state of an event
    """An event that can never be processed: it is dead-lettered with `reason` (a stable code) and the
    text.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Unavailable(HubError):  # noqa: N818
    """A dependency doesn't answer now. The failure is transient: a retry may succeed.

    Not `asked`: the dependency keeps failing, and wasn't called this time.
    """

    def __init__(self, dependency: str, text: str, *, asked: bool = True) -> None:
        super().__init__(f"{dependency}: {text}")
        self.dependency = dependency
        self.asked = asked


class InboxesLocked(Unavailable):
    """Others hold the locks of the inboxes of these `users` for long. Nothing was written.

    Writes that leave these inboxes alone can succeed at once.
    """

    def __init__(self, users: Collection[UUID]) -> None:
        super().__init__("postgres", f"{len(users)} inboxes are locked")
        self.users = frozenset(users)


class TooManyUnreadAgain(HubError):  # noqa: N818
    """The user marked so many notifications as unread that were read together before, that no more can be."""

    def __init__(self, most: int) -> None:
        super().__init__(f"at most {most} notifications can be marked as unread under the last read-all")
        self.most = most


class StoreFailed(Unavailable):
    """Postgres answers, but can't run a statement of the hub: a table or a privilege is missing, or the hub
    has an error.

    No event is the cause, so none is dead-lettered: a retry succeeds once an operator has acted. To a request
    it is an internal error. The first to log it adds the traceback.
    """


class PageTaken(HubError):  # noqa: N818
    """A page of a broadcast is not to be written: it was before, or the broadcast doesn't run any more."""

    def __init__(self, event_id: str) -> None:
        super().__init__(f"the broadcast {event_id} is elsewhere")


class PlanOutdated(HubError):  # noqa: N818
    """What a batch was planned by is outdated: others have sent what a throttle lets through, or
    somebody has set something else than was assumed. Nothing was written: plan it again.
    """

    def __init__(self) -> None:
        super().__init__("what this was planned by is outdated")


class StoreRejected(HubError):  # noqa: N818
    """Postgres refuses the values themselves (a data error): a retry can't succeed."""


class Unauthorized(HubError):  # noqa: N818
    """No token, or an invalid one.

    `reason` is a stable code that is safe to return and to log; `cause` is a narrower one where the caller
    can do something about it: foreign_subject or token_type.
    """

    def __init__(self, reason: str, cause: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cause = cause


class DeliveryFailed(HubError):  # noqa: N818
    """One attempt to deliver a message failed.

    `code` is a stable identifier (such as smtp_451, twilio_21211, timeout), the text is the provider's
    own. `retryable` says whether another attempt may succeed; `retry_after` is the delay in seconds that
    the provider requests. `bad_address`: nothing can be delivered to this address, now or later.
    `of_provider`: the provider failed, not the message, so another provider may take it.
    """

    def __init__(
        self,
        code: str,
        text: str,
        *,
        retryable: bool,
        retry_after: float | None = None,
        bad_address: bool = False,
        of_provider: bool = False,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.retryable = retryable
        self.retry_after = retry_after
        self.bad_address = bad_address
        self.of_provider = of_provider
