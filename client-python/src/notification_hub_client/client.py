"""The blocking client: publish, follow, cancel, read an inbox, listen."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from notification_hub_client import calls
from notification_hub_client.calls import Call, View
from notification_hub_client.errors import (
    AuthenticationError,
    HubError,
    TransportError,
    error_of_answer,
    error_of_close,
)
from notification_hub_client.event import Json, PublicEvent
from notification_hub_client.models import (
    AllChanged,
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
    BAD_CERTIFICATE,
    CLOSE_TIMEOUT_SECONDS,
    LOST,
    MAX_FRAME_BYTES,
    SUBPROTOCOL,
    Feed,
    LiveEvent,
    ReadHistory,
    Reconnect,
    disconnected,
)
from notification_hub_client.tokens import Token, TokenCache

T = TypeVar("T")


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

    Args:
        url: The address of the hub, such as `https://hub.example.com`.
        token: A token, or a function that returns one. It is called before the first call, and when the hub
            refuses a token.
        locale: The language of texts and errors: `vi`, `en` or `ru`.
        timeout: Seconds for each attempt of a call.
        retries: How often a call is retried.
    """

    def __init__(
        self, url: str, token: Token, *, locale: str | None = None, timeout: float = 10.0, retries: int = 3
    ) -> None:
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

    def page(
        self,
        *,
        limit: int | None = None,
        before: int | None = None,
        unread: bool = False,
        view: View = "inbox",
    ) -> Page:
        """Read one page, newest first.

        Args:
            limit: The number of notifications at most, up to 1000.
            before: Only notifications with a lower `seq`.
            unread: Only unread notifications.
            view: What to read: the inbox, what is `archived`, or what is `snoozed`.
        """
        return self._transport.call(calls.page(self._user_id, limit, before, unread, view))

    def list(
        self, *, page_size: int | None = None, unread: bool = False, view: View = "inbox"
    ) -> Iterator[Notification]:
        """All notifications, newest first. Pages of `page_size` are read as they are needed."""
        page = self.page(limit=page_size, unread=unread, view=view)
        yield from page.notifications
        while page.next_path is not None:
            page = self._transport.call(calls.page_at(page.next_path))
            yield from page.notifications

    def counters(self) -> InboxCounters:
        """The number of unread notifications."""
        return self._transport.call(calls.counters(self._user_id))

    def mark_read(self, notification_id: int) -> Notification:
        """Mark one read; returns it."""
        return self._transport.call(calls.change(self._user_id, notification_id, "read"))

    def mark_unread(self, notification_id: int) -> Notification:
        """Mark one unread; returns it."""
        return self._transport.call(calls.change(self._user_id, notification_id, "unread"))

    def archive(self, notification_id: int) -> Notification:
        """Move one to the archive; returns it."""
        return self._transport.call(calls.change(self._user_id, notification_id, "archive"))

    def unarchive(self, notification_id: int) -> Notification:
        """Move one back into the inbox, from the archive or a snooze; returns it."""
        return self._transport.call(calls.change(self._user_id, notification_id, "unarchive"))

    def snooze(self, notification_id: int, until: datetime) -> Notification:
        """Hide one until a time, with a time zone; it then comes as a new one. Returns it."""
        return self._transport.call(calls.snooze(self._user_id, notification_id, until))

    def mark_all_read(self, up_to: int | None = None) -> AllMarkedRead:
        """Mark all read, or those up to and including the `seq` `up_to`."""
        return self._transport.call(calls.mark_all_read(self._user_id, up_to))

    def mark_all_seen(self, up_to: int | None = None) -> AllChanged:
        """Note that the user saw all, or those up to the `seq` `up_to`, in a list. They stay unread."""
        return self._transport.call(calls.change_all(self._user_id, "seen", up_to))

    def archive_all(self, up_to: int | None = None) -> AllChanged:
        """Move all of the inbox to the archive, or those up to and including the `seq` `up_to`."""
        return self._transport.call(calls.change_all(self._user_id, "archive", up_to))

    def delete_all(self, up_to: int | None = None) -> AllChanged:
        """Delete all of the inbox permanently, or those up to and including the `seq` `up_to`."""
        return self._transport.call(calls.change_all(self._user_id, "delete", up_to))

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

    Notifications come in rising `seq`, each once and without a gap, over any number of connections. One
    thread iterates; any thread may call `close`, which ends the iteration.
    """

    def __init__(self, transport: Transport, user_id: UUID | str, after: int | None) -> None:
        self._transport = transport
        self._feed = Feed(user_id, after)
        self._closed = threading.Event()
        self._socket: ClientConnection | None = None
        self._deadline: float | None = None
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
        self._deadline = None
        event = self._step()
        assert event is not None, "only a deadline gives None"
        return event

    def get(self, timeout: float) -> LiveEvent:
        """Wait for the next event. The feed can be used after a `TimeoutError`; it loses nothing.

        Args:
            timeout: The seconds to wait. An attempt to connect that has begun may take longer.

        Raises:
            TimeoutError: if there is none within `timeout`.
            RuntimeError: if the feed is closed.
        """
        self._deadline = time.monotonic() + timeout
        try:
            event = self._step()
        except StopIteration:
            raise RuntimeError("the feed is closed") from None
        if event is None:
            raise TimeoutError(f"no event within {timeout:g} s")
        return event

    def _step(self) -> LiveEvent | None:
        try:
            return next(self._events)
        except ValueError:  # another thread is closing the generator
            if self._closed.is_set():
                raise StopIteration from None
            raise

    def close(self) -> None:
        """Disconnect. In another thread, the iteration ends."""
        self._closed.set()
        if (socket := self._socket) is not None:
            socket.close()
        with suppress(ValueError):  # another thread iterates: it leaves the generator by itself
            self._events.close()

    def _run(self) -> Generator[LiveEvent | None]:
        reconnect, tokens = Reconnect(), self._transport.tokens
        while not self._closed.is_set():
            token = tokens.get()
            began = time.monotonic()
            failure: HubError
            try:
                with self._connect(token) as self._socket:
                    reconnect.connected()
                    began = time.monotonic()
                    yield from self._receive(self._socket)
            except ConnectionClosed as closed:
                if self._closed.is_set():
                    return
                code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (LOST, "")
                can_renew = tokens.refuse(token) if code == 4401 else True
                wait = reconnect.after_close(code, reason, time.monotonic() - began, can_renew)
                failure = error_of_close(code, reason)
            except (HubError, InvalidStatus, InvalidHandshake, OSError, EOFError) as error:
                failure = refusal(error)
                can_renew = isinstance(failure, AuthenticationError) and tokens.refuse(token)
                wait = reconnect.after_refusal(failure, can_renew)
            yield disconnected(failure, wait)
            yield from self._pause(wait)

    def _pause(self, seconds: float) -> Iterator[None]:
        """Wait, unless the feed is closed. Gives None when the caller's time is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            patience = self._patience()
            if self._closed.wait(left if patience is None else min(left, patience)):
                return
            if patience is not None and patience < left:
                yield None

    def _patience(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _connect(self, token: str) -> ClientConnection:
        try:
            return connect(
                self._feed.address(self._transport.url),
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers={"Authorization": f"Bearer {token}"},
                open_timeout=self._transport.timeout,
                close_timeout=CLOSE_TIMEOUT_SECONDS,
                max_size=MAX_FRAME_BYTES,
                compression=None,
            )
        except InvalidURI as error:
            raise ValueError(str(error)) from error

    def _receive(self, socket: ClientConnection) -> Iterator[LiveEvent | None]:
        while not self._closed.is_set():
            try:
                text = socket.recv(timeout=self._patience())
            except TimeoutError:
                yield None
                continue
            for event in self._feed.received(text):
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
    """The error that a failed handshake, or a failed call for missed notifications, means."""
    if isinstance(error, HubError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return TransportError(BAD_CERTIFICATE, str(error))
    if isinstance(error, InvalidStatus):
        response = error.response
        return error_of_answer(
            response.status_code, bytes(response.body or b""), response.headers.get("Retry-After")
        )
    return TransportError("no_connection", repr(error))
