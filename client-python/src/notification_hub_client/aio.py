"""The asyncio client: the same calls as `HubClient`, as coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from notification_hub_client import calls
from notification_hub_client.calls import Call, View
from notification_hub_client.client import refusal
from notification_hub_client.errors import AuthenticationError, HubError, TransportError, error_of_close
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
from notification_hub_client.tokens import AsyncToken, AsyncTokenCache

T = TypeVar("T")


class AsyncTransport:
    """Sends calls with a token, and retries them."""

    def __init__(self, url: str, token: AsyncToken, locale: str | None, timeout: float, retries: int) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.tokens = AsyncTokenCache(token)
        self._locale = locale
        self._retries = retries
        self._http = httpx.AsyncClient(base_url=self.url + calls.PREFIX, timeout=timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(self, call: Call[T]) -> T:
        """Send a request, and retry it if that is of use. Raises `HubError`."""
        for attempt in range(self._retries + 1):
            answer, failure = await self._attempt(call)
            wait = calls.wait_before_retry(call, answer, attempt) if attempt < self._retries else None
            if wait is not None:
                await asyncio.sleep(wait)
            elif answer is not None:
                return call.result(answer)
            elif failure is not None:
                raise failure
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, call: Call[T]) -> tuple[httpx.Response | None, TransportError | None]:
        try:
            token = await self.tokens.get()
            answer = await self._http.request(**call.arguments(token, self._locale))
            if answer.status_code == httpx.codes.UNAUTHORIZED and self.tokens.refuse(token):
                answer = await self._http.request(**call.arguments(await self.tokens.get(), self._locale))
        except httpx.TransportError as error:
            failure = TransportError("no_answer", f"{call.method} {call.path}: {error!r}")
            failure.__cause__ = error
            return None, failure
        return answer, None


class AsyncHubClient:
    """Calls a hub. It holds connections, so share one and close it; it belongs to one event loop.

    Every method raises `HubError` or a subclass. Calls that can be repeated without further effect are
    retried when the hub cannot be reached, is overloaded or asks for it.

    Args:
        url: The address of the hub, such as `https://hub.example.com`.
        token: A token, or a function or coroutine function that returns one. It is called before the first
            call, and when the hub refuses a token.
        locale: The language of texts and errors: `vi`, `en` or `ru`.
        timeout: Seconds for each attempt of a call.
        retries: How often a call is retried.
    """

    def __init__(
        self,
        url: str,
        token: AsyncToken,
        *,
        locale: str | None = None,
        timeout: float = 10.0,
        retries: int = 3,
    ) -> None:
        self._transport = AsyncTransport(url, token, locale, timeout, retries)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def publish(self, event: PublicEvent | Json, *, idempotency_key: str | None = None) -> SentEvent:
        """Publish one event; returns when it is stored. It is processed once, however often it is retried.

        To publish again after a crash, give the event an `event_id`, or pass the same `idempotency_key`. With
        `send_at`, a `Message` is sent at that time.
        """
        return await self._transport.call(calls.publish(event, idempotency_key))

    async def publish_many(
        self, events: Iterable[PublicEvent | Json], *, idempotency_key: str | None = None
    ) -> BulkResult:
        """Publish up to 10,000 events (1 MB). Each is accepted or rejected separately."""
        return await self._transport.call(calls.publish_many(events, idempotency_key))

    async def send_mail(
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
        return await self._transport.call(calls.send_mail(mail, idempotency_key))

    async def dry_run(self, event: PublicEvent | Json) -> DryRun:
        """Ask what publishing the event would do. Nothing is stored or sent."""
        return await self._transport.call(calls.dry_run(event))

    async def status(self, event_id: str) -> EventStatus:
        """The state of an event that this service published, and of its deliveries."""
        return await self._transport.call(calls.status(event_id))

    async def cancel(self, event_id: str) -> EventStatus:
        """Cancel a scheduled event. Raises `ConflictError` if it is too late."""
        return await self._transport.call(calls.cancel(event_id))

    def inbox(self, user_id: UUID | str) -> AsyncInbox:
        """The inbox of the user to whom the token belongs."""
        return AsyncInbox(self._transport, user_id)


class AsyncInbox:
    """The notifications of one user."""

    def __init__(self, transport: AsyncTransport, user_id: UUID | str) -> None:
        self._transport = transport
        self._user_id = user_id

    async def page(
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
        return await self._transport.call(calls.page(self._user_id, limit, before, unread, view))

    async def list(
        self, *, page_size: int | None = None, unread: bool = False, view: View = "inbox"
    ) -> AsyncIterator[Notification]:
        """All notifications, newest first. Pages of `page_size` are read as they are needed."""
        page = await self.page(limit=page_size, unread=unread, view=view)
        for notification in page.notifications:
            yield notification
        while page.next_path is not None:
            page = await self._transport.call(calls.page_at(page.next_path))
            for notification in page.notifications:
                yield notification

    async def counters(self) -> InboxCounters:
        """The number of unread notifications."""
        return await self._transport.call(calls.counters(self._user_id))

    async def mark_read(self, notification_id: int) -> Notification:
        """Mark one read; returns it."""
        return await self._transport.call(calls.change(self._user_id, notification_id, "read"))

    async def mark_unread(self, notification_id: int) -> Notification:
        """Mark one unread; returns it."""
        return await self._transport.call(calls.change(self._user_id, notification_id, "unread"))

    async def archive(self, notification_id: int) -> Notification:
        """Move one to the archive; returns it."""
        return await self._transport.call(calls.change(self._user_id, notification_id, "archive"))

    async def unarchive(self, notification_id: int) -> Notification:
        """Move one back into the inbox, from the archive or a snooze; returns it."""
        return await self._transport.call(calls.change(self._user_id, notification_id, "unarchive"))

    async def snooze(self, notification_id: int, until: datetime) -> Notification:
        """Hide one until a time, with a time zone; it then comes as a new one. Returns it."""
        return await self._transport.call(calls.snooze(self._user_id, notification_id, until))

    async def mark_all_read(self, up_to: int | None = None) -> AllMarkedRead:
        """Mark all read, or those up to and including the `seq` `up_to`."""
        return await self._transport.call(calls.mark_all_read(self._user_id, up_to))

    async def mark_all_seen(self, up_to: int | None = None) -> AllChanged:
        """Note that the user saw all, or those up to the `seq` `up_to`, in a list. They stay unread."""
        return await self._transport.call(calls.change_all(self._user_id, "seen", up_to))

    async def archive_all(self, up_to: int | None = None) -> AllChanged:
        """Move all of the inbox to the archive, or those up to and including the `seq` `up_to`."""
        return await self._transport.call(calls.change_all(self._user_id, "archive", up_to))

    async def delete_all(self, up_to: int | None = None) -> AllChanged:
        """Delete all of the inbox permanently, or those up to and including the `seq` `up_to`."""
        return await self._transport.call(calls.change_all(self._user_id, "delete", up_to))

    async def delete(self, notification_id: int) -> InboxCounters:
        """Delete one permanently; returns the counters after that."""
        return await self._transport.call(calls.delete(self._user_id, notification_id))

    def listen(self, after: int | None = None) -> AsyncLiveFeed:
        """Events of the inbox as they happen: a context manager and an iterator that reconnects by itself.

        Args:
            after: The `seq` of the last notification that was processed; the missed ones come first. If None,
                the feed begins with what comes from now on.
        """
        return AsyncLiveFeed(self._transport, self._user_id, after)


class AsyncLiveFeed:
    """Iterates over the events of an inbox, until it is closed or the hub refuses the user for good.

    Notifications come in rising `seq`, each once and without a gap, over any number of connections. A wait
    for the next event may be cancelled, for example by `asyncio.timeout`: the feed loses nothing. One task
    iterates; any task may call `close`, which ends the iteration.
    """

    def __init__(self, transport: AsyncTransport, user_id: UUID | str, after: int | None) -> None:
        self._transport = transport
        self._feed = Feed(user_id, after)
        self._waiting = False
        self._next: asyncio.Task[LiveEvent | None] | None = None
        self._events = self._run()

    @property
    def position(self) -> int | None:
        """The `seq` of the last notification. Store it, and pass it to `listen` after a restart."""
        return self._feed.position

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LiveEvent:
        if self._waiting:
            raise RuntimeError("another task waits for the next event of this feed")
        if self._next is None:
            self._next = asyncio.create_task(self._read_one(), name="notification feed")
        self._waiting = True
        try:
            # A cancelled wait leaves the task, whose event is then the result of the next wait.
            await asyncio.wait([self._next])
        finally:
            self._waiting = False
        done, self._next = self._next, None
        event = None if done is None or done.cancelled() else done.result()
        if event is None:
            raise StopAsyncIteration
        return event

    async def _read_one(self) -> LiveEvent | None:
        return await anext(self._events, None)

    async def close(self) -> None:
        """Disconnect. The iteration ends, also in another task."""
        if (task := self._next) is not None:
            task.cancel()
            await asyncio.wait([task])
            self._next = None
        await self._events.aclose()

    async def _run(self) -> AsyncGenerator[LiveEvent]:
        reconnect, tokens = Reconnect(), self._transport.tokens
        while True:
            token = await tokens.get()
            began = time.monotonic()
            failure: HubError
            try:
                async with self._connect(token) as socket:
                    reconnect.connected()
                    began = time.monotonic()
                    async with aclosing(self._receive(socket)) as events:
                        async for event in events:
                            yield event
            except ConnectionClosed as closed:
                code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (LOST, "")
                can_renew = tokens.refuse(token) if code == 4401 else True
                wait = reconnect.after_close(code, reason, time.monotonic() - began, can_renew)
                failure = error_of_close(code, reason)
            except (HubError, InvalidStatus, InvalidHandshake, OSError, EOFError) as error:
                failure = refusal(error)
                can_renew = isinstance(failure, AuthenticationError) and tokens.refuse(token)
                wait = reconnect.after_refusal(failure, can_renew)
            yield disconnected(failure, wait)
            await asyncio.sleep(wait)

    def _connect(self, token: str) -> connect:
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

    async def _receive(self, socket: ClientConnection) -> AsyncGenerator[LiveEvent]:
        while True:
            for event in self._feed.received(await socket.recv()):
                if isinstance(event, ReadHistory):
                    for missed in self._feed.history(await self._history(event)):
                        yield missed
                else:
                    yield event

    async def _history(self, wanted: ReadHistory) -> Iterator[Notification]:
        """The notifications after a `seq`, in rising order."""
        path: str | None = wanted.path
        found: list[Notification] = []
        while path is not None:
            page = await self._transport.call(calls.page_at(path))
            found += [each for each in page.notifications if each.seq > wanted.after]
            more = page.notifications and page.notifications[-1].seq > wanted.after + 1
            path = page.next_path if more else None
        return reversed(found)
