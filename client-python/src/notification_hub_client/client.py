"""The blocking client: publish, follow, cancel, read an inbox, listen."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from notification_hub_client import calls
from notification_hub_client.calls import Call
from notification_hub_client.errors import AuthenticationError, HubError, TransportError, error_of_answer
from notification_hub_client.event import Json, PublicEvent
from notification_hub_client.models import (
    AllMarkedRead,
    BulkResult,
    DryRun,
    EventStatus,
    InboxCounters,
    Notification,
    Page,
    SentEvent,
)
from notification_hub_client.session import (
    MAX_FRAME_BYTES,
    SUBPROTOCOL,
    Feed,
    LiveEvent,
    ReadHistory,
    Reconnect,
)
from notification_hub_client.tokens import Token, TokenCache

T = TypeVar("T")
LOST = 1006


class Transport:
    """Sends calls with a token, and retries them."""

    def __init__(self, url: str, token: Token, locale: str | None, timeout: float, retries: int) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.tokens = TokenCache(token)
        self._locale = locale
        self._retries = retries
        self._http = httpx.Client(base_url=self.url + calls.PREFIX, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, call: Call[T]) -> T:
        """Send a request, and retry it if that is of use. Raises `HubError`."""
        for attempt in range(self._retries + 1):
            answer, failure = self._attempt(call)
            wait = calls.wait_before_retry(call, answer, attempt) if attempt < self._retries else None
            if wait is not None:
                time.sleep(wait)
            elif answer is not None:
                return call.result(answer)
            elif failure is not None:
                raise failure
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, call: Call[T]) -> tuple[httpx.Response | None, TransportError | None]:
        try:
            token = self.tokens.get()
            answer = self._http.request(**call.arguments(token, self._locale))
            if answer.status_code == httpx.codes.UNAUTHORIZED and self.tokens.refuse(token):
                answer = self._http.request(**call.arguments(self.tokens.get(), self._locale))
        except httpx.TransportError as error:
            failure = TransportError("no_answer", f"{call.method} {call.path}: {error!r}")
            failure.__cause__ = error
            return None, failure
        return answer, None


class HubClient:
    """Calls a hub. It holds connections, so share one and close it; it is safe to use from several threads.

    Every method raises `HubError` or a subclass. Calls that can be repeated without further effect are
    retried when the hub cannot be reached, is overloaded or asks for it.
    """

    def __init__(
        self, url: str, token: Token, *, locale: str | None = None, timeout: float = 10.0, retries: int = 3
    ) -> None:
        """Args:
        url: The address of the hub, such as `https://hub.example.com`.
        token: A token, or a function that returns one. It is called before the first call, and when the hub
            refuses a token.
        locale: The language of texts and errors: `vi`, `en` or `ru`.
        timeout: Seconds for each attempt of a call.
        retries: How often a call is retried.
        """
        self._transport = Transport(url, token, locale, timeout, retries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def publish(self, event: PublicEvent | Json, *, idempotency_key: str | None = None) -> SentEvent:
        """Publish one event; returns when it is stored. It is processed once, however often it is retried.

        To publish again after a crash, give the event an `event_id`, or pass the same `idempotency_key`. With
        `send_at`, a `Message` is sent at that time.
        """
        return self._transport.call(calls.publish(event, idempotency_key))

    def publish_many(
        self, events: Iterable[PublicEvent | Json], *, idempotency_key: str | None = None
    ) -> BulkResult:
        """Publish up to 10,000 events (1 MB). Each is accepted or rejected separately."""
        return self._transport.call(calls.publish_many(events, idempotency_key))

    def send_mail(
        self,
        email: str,
        subject: str,
        *,
        text: str | None = None,
        html: str | None = None,
        idempotency_key: str | None = None,
    ) -> SentEvent:
        """Send a mail as text, HTML or both."""
        mail = {"email": email, "subject": subject, "text": text, "html": html}
        return self._transport.call(calls.send_mail(mail, idempotency_key))

    def dry_run(self, event: PublicEvent | Json) -> DryRun:
        """Ask what publishing the event would do. Nothing is stored or sent."""
        return self._transport.call(calls.dry_run(event))

    def status(self, event_id: str) -> EventStatus:
        """The state of an event that this service published, and of its deliveries."""
        return self._transport.call(calls.status(event_id))

    def cancel(self, event_id: str) -> EventStatus:
        """Cancel a scheduled event. Raises `ConflictError` if it is too late."""
        return self._transport.call(calls.cancel(event_id))

    def inbox(self, user_id: UUID | str) -> Inbox:
        """The inbox of the user to whom the token belongs."""
        return Inbox(self._transport, user_id)


class Inbox:
    """The notifications of one user."""

    def __init__(self, transport: Transport, user_id: UUID | str) -> None:
        self._transport = transport
        self._user_id = user_id

    def page(self, *, limit: int | None = None, before: int | None = None, unread: bool = False) -> Page:
        """One page, newest first: at most `limit` notifications (1000), with a `seq` below `before`."""
        return self._transport.call(calls.page(self._user_id, limit, before, unread))

    def list(self, *, page_size: int | None = None, unread: bool = False) -> Iterator[Notification]:
        """All notifications, newest first. Pages are read as they are needed."""
        page = self.page(limit=page_size, unread=unread)
        yield from page.notifications
        while page.next_path is not None:
            page = self._transport.call(calls.page_at(page.next_path))
            yield from page.notifications

    def counters(self) -> InboxCounters:
        """The number of unread notifications."""
        return self._transport.call(calls.counters(self._user_id))

    def mark_read(self, notification_id: int) -> Notification:
        """Mark one read; returns it."""
        return self._transport.call(calls.mark_read(self._user_id, notification_id))

    def mark_all_read(self, up_to: int | None = None) -> AllMarkedRead:
        """Mark all read, or those up to and including the `seq` `up_to`."""
        return self._transport.call(calls.mark_all_read(self._user_id, up_to))

    def delete(self, notification_id: int) -> InboxCounters:
        """Delete one permanently; returns the counters after that."""
        return self._transport.call(calls.delete(self._user_id, notification_id))

    def listen(self, after: int | None = None) -> LiveFeed:
        """Events of the inbox as they happen: a context manager and an iterator that reconnects by itself.

        Args:
            after: The `seq` of the last notification that was processed; the missed ones come first. If None,
                the feed begins with what comes from now on.
        """
        return LiveFeed(self._transport, self._user_id, after)


class LiveFeed:
    """Iterates over the events of an inbox, until it is closed or the hub refuses the user for good.

    Notifications come in rising `seq`, each once and without a gap, over any number of connections.
    """

    def __init__(self, transport: Transport, user_id: UUID | str, after: int | None) -> None:
        self._transport = transport
        self._feed = Feed(user_id, after)
        self._events = self._run()

    @property
    def position(self) -> int | None:
        """The `seq` of the last notification. Store it, and pass it to `listen` after a restart."""
        return self._feed.position

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LiveEvent:
        return next(self._events)

    def close(self) -> None:
        """Disconnect."""
        self._events.close()

    def _run(self) -> Generator[LiveEvent]:
        reconnect, tokens = Reconnect(), self._transport.tokens
        while True:
            token = tokens.get()
            began = time.monotonic()
            try:
                with self._connect(token) as socket:
                    reconnect.connected()
                    began = time.monotonic()
                    yield from self._receive(socket)
            except ConnectionClosed as closed:
                code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (LOST, "")
                can_renew = tokens.refuse(token) if code == 4401 else True
                wait = reconnect.after_close(code, reason, time.monotonic() - began, can_renew)
            except (InvalidStatus, InvalidHandshake, OSError, TimeoutError, EOFError) as error:
                refused = refusal(error)
                can_renew = isinstance(refused, AuthenticationError) and tokens.refuse(token)
                wait = reconnect.after_refusal(refused, can_renew)
            except TransportError as error:
                wait = reconnect.after_refusal(error, can_renew=True)
            time.sleep(wait)

    def _connect(self, token: str) -> ClientConnection:
        try:
            return connect(
                self._feed.address(self._transport.url),
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers={"Authorization": f"Bearer {token}"},
                open_timeout=self._transport.timeout,
                max_size=MAX_FRAME_BYTES,
                compression=None,
            )
        except InvalidURI as error:
            raise ValueError(str(error)) from error

    def _receive(self, socket: ClientConnection) -> Iterator[LiveEvent]:
        while True:
            for event in self._feed.received(socket.recv()):
                if isinstance(event, ReadHistory):
                    yield from self._feed.history(self._history(event))
                else:
                    yield event

    def _history(self, wanted: ReadHistory) -> Iterator[Notification]:
        """The notifications after a `seq`, in rising order."""
        path: str | None = wanted.path
        found: list[Notification] = []
        while path is not None:
            page = self._transport.call(calls.page_at(path))
            found += [each for each in page.notifications if each.seq > wanted.after]
            more = page.notifications and page.notifications[-1].seq > wanted.after + 1
            path = page.next_path if more else None
        return reversed(found)


def refusal(error: Exception) -> HubError:
    """The error that a handshake that failed means."""
    if isinstance(error, InvalidStatus):
        response = error.response
        return error_of_answer(
            response.status_code, bytes(response.body or b""), response.headers.get("Retry-After")
        )
    return TransportError("no_connection", repr(error))
