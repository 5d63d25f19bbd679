"""The bus: pushes committed notifications to connections, of this node at once, of others over Redis."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from app.auth.tokens import Claims
from app.domain.effects import TokenBound
from app.domain.notifications import Notification
from app.realtime.logout import EVERY_TOKEN, Logout
from app.realtime.manager import WebSocketManager
from app.realtime.membership import LEASE_SECONDS, Membership
from app.realtime.presence import NodeId, Presence
from app.realtime.protocol import CloseCode, notification_frame
from app.realtime.publication import CarriedDetails, Publication, Push, pack, unpack, with_details
from app.runtime.metrics import FRAMES, PUBLICATIONS, UNPUBLISHED
from app.runtime.redis import REDIS_ERRORS
from app.runtime.services import Background
from handlers.registry import details_json

log = logging.getLogger("hub.bus")

MAX_FRAMES_PER_PUBLICATION = 500  # frames
MAX_PENDING_FRAMES = 50_000  # frames that wait for Redis; beyond that the other nodes read Postgres instead
# Seconds for which a logout is repeated to nodes that join: they may have been without Redis for long.
LOGOUT_REPEAT_SECONDS = 900.0
MAX_REPEATED_LOGOUTS = 100_000  # logouts kept while Redis is down
FLUSH_TIMEOUT_SECONDS = 2.0  # seconds for the last publications of a node that stops


class Bus(Protocol):
    """Pushes what was committed to connections, on whichever node they are.

    - No method waits or raises because a peer is away: connections of this node get their frames during the
      call, those of other nodes in the background.
    - Nothing is kept for later: a user who is not connected reads the inbox instead. Frames for other nodes
      may be lost; those nodes then compare their connections with the store, so no notification is lost.
    - A logout is not lost: it is repeated until every node that was a member knows of it.
    - A connection gets notifications in rising `seq`, each once; a session connection also gets session
      frames, in the order of the calls.
    """

    def publish(self, notifications: Sequence[Notification], *, redelivered: bool = False) -> None:
        """Push the notifications to their receivers' connections.

        The caller serialises calls, and passes notifications after their commit, in rising `seq` for each
        receiver. A gap makes a connection read the store before it gets anything else.

        Args:
            notifications: In rising `seq` for each receiver.
            redelivered: The events were processed before, by a node that may not have published them. Plain
                connections that were opened since then get the notifications, unless they have got those or
                newer ones; session connections compare `seq` and need none.
        """

    def send_frame(self, user_id: UUID, frame: bytes) -> None:
        """Send a session frame to the user's session connections: another device changed something."""

    def disconnect(self, user_id: UUID, seconds_ago: float = 0.0, bound: TokenBound = EVERY_TOKEN) -> None:
        """Close the connections that the user had opened until `seconds_ago` with a token within `bound`.
        Later ones, and those with other tokens, stay. Of several logouts the newest counts.
        """


class RedisBus:
    """The bus over Redis. Connections of this node never wait for Redis.

    Frames for other nodes are sent in order, in the background: one look-up for all that are pending, and one
    publication for each target node. What Redis loses, the nodes read from Postgres instead.
    """

    def __init__(
        self,
        manager: WebSocketManager,
        presence: Presence,
        membership: Membership,
        reconcile: Callable[[], None],
        resync: Callable[[], None],
        on_logout: Callable[[UUID], None],
    ) -> None:
        """Args:
        reconcile: Fetches notifications that connections of this node may have missed.
        resync: Sends session clients the counters of their inboxes, which other devices may have changed.
        on_logout: Called for each user who logged out, on whichever node that was handled.
        """
        self._manager = manager
        self._presence = presence
        self._membership = membership
        self._reconcile = reconcile
        self._resync = resync
        self._on_logout = on_logout
        self._pending: list[Notification | _Redelivered | Push] = []
        self._logouts: dict[UUID, Logout] = {}
        self._remembered: dict[UUID, Logout] = {}
        self._new_nodes: set[NodeId] = set()
        self._unpublished = False
        self._wake = asyncio.Event()
        self._background = Background(self._run, name="bus")

    async def start(self) -> None:
        """Begin to send frames and logouts to other nodes."""
        await self._background.start()

    async def stop(self) -> None:
        """Send what is pending, if Redis accepts it now."""
        await self._background.stop()
        if self._membership.joined:
            try:
                async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                    await self._send()
            except REDIS_ERRORS as error:
                log.warning("stopped_unpublished", extra={"why": type(error).__name__})

    # From this node

    def publish(self, notifications: Sequence[Notification], *, redelivered: bool = False) -> None:
        """As `Bus.publish`."""
        FRAMES.inc(self._manager.publish(notifications, redelivered=redelivered))
        self._queue([*map(_Redelivered, notifications)] if redelivered else notifications)

    def send_frame(self, user_id: UUID, frame: bytes) -> None:
        """As `Bus.send_frame`."""
        push = Push(user_id, 0, frame)
        self._manager.push((push,))
        self._queue((push,))

    def disconnect(self, user_id: UUID, seconds_ago: float = 0.0, bound: TokenBound = EVERY_TOKEN) -> None:
        """As `Bus.disconnect`."""
        logout = self._end_connections(user_id, seconds_ago, bound)
        if self._membership.joined and not self._membership.alone:
            self._logouts[user_id] = logout.joined(self._logouts.get(user_id))
            self._wake.set()

    def logged_out(self, user_id: UUID, since: float, token: Claims | None = None) -> bool:
        """Whether the user logged out at or after this moment (loop time), as far as is remembered.

        With a `token`, whether that ended it.
        """
        logout = self._remembered.get(user_id)
        if logout is None or logout.moment < since:
            return False
        return token is None or logout.bound.covers(token.issued_at, token.token_id)

    def _end_connections(self, user_id: UUID, seconds_ago: float, bound: TokenBound) -> Logout:
        """Close the connections on this node."""
        logout = Logout(_now() - seconds_ago, bound)
        self._manager.disconnect(user_id, CloseCode.LOGGED_OUT, "logged out", logout)
        self._on_logout(user_id)
        self._remembered[user_id] = logout.joined(self._remembered.pop(user_id, None))
        self._drop_old_logouts()
        return logout

    def _queue(self, items: Sequence[Notification | _Redelivered | Push]) -> None:
        membership = self._membership
        if not items or membership.alone:
            return
        if not membership.joined or len(self._pending) > MAX_PENDING_FRAMES:
            self._drop_pending(len(items) + len(self._pending))
            return
        self._pending += items
        self._wake.set()

    def _drop_pending(self, frames: int) -> None:
        self._pending.clear()
        self._unpublished = True
        UNPUBLISHED.inc(frames)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._membership.joined:
                continue
            try:
                await self._send()
            except REDIS_ERRORS as error:
                log.warning("not_published", extra={"why": type(error).__name__})
                self._drop_pending(len(self._pending))
                self._membership.mark_lost()
            except Exception:
                log.exception("publishing_failed")
                self._drop_pending(len(self._pending))

    async def _send(self) -> None:
        """Send all that is pending. After an error other nodes are asked to reconcile once Redis works."""
        await self._send_logouts()
        while self._pending:
            if self._logouts:
                await self._send_logouts()
            some, self._pending = (
                self._pending[:MAX_FRAMES_PER_PUBLICATION],
                self._pending[MAX_FRAMES_PER_PUBLICATION:],
            )
            try:
                await self._send_frames(some)
            except BaseException:
                self._drop_pending(len(some) + len(self._pending))
                raise
        if self._unpublished:
            self._unpublished = False
            try:
                await self._publish({node: Publication(reconcile=True) for node in self._membership.others})
            except BaseException:
                self._unpublished = True
                raise

    async def _send_logouts(self) -> None:
        """Send logouts to every node: they are few, none may be missed. New nodes get all recent ones."""
        logouts, new_nodes = self._logouts, self._new_nodes
        self._logouts, self._new_nodes = {}, set()
        now = _now()
        publications = {node: _logouts_of(logouts, now) for node in self._membership.others if logouts}
        if self._remembered:
            publications |= {node: _logouts_of(self._remembered, now) for node in new_nodes}
        try:
            await self._publish(publications)
        except BaseException:
            self._logouts = {
                user: logout.joined(self._logouts.pop(user, None)) for user, logout in logouts.items()
            } | self._logouts
            self._new_nodes |= new_nodes
            raise

    async def _send_frames(self, items: Sequence[Notification | _Redelivered | Push]) -> None:
        nodes_of = await self._presence.look_up({item.receiver for item in items})
        elsewhere = self._membership.unresponsive | {self._membership.node}
        by_node: defaultdict[NodeId, _Outgoing] = defaultdict(_Outgoing)
        for item in items:
            nodes = [node for node in nodes_of.get(item.receiver, ()) if node not in elsewhere]
            if nodes:
                push, details = (item, None) if isinstance(item, Push) else _push(item)
                for node in nodes:
                    by_node[node].add(push, details)
        await self._publish({node: each.publication() for node, each in by_node.items()})

    async def _publish(self, publications: dict[NodeId, Publication]) -> None:
        if publications:
            await self._presence.publish([(node, pack(each)) for node, each in publications.items()])
            PUBLICATIONS.inc(len(publications))

    def _drop_old_logouts(self) -> None:
        """Drop logouts that no node can have missed, as this one has been joined for long enough."""
        limit = _now() - LOGOUT_REPEAT_SECONDS
        joined_at = self._membership.joined_at
        settled = joined_at is not None and joined_at < limit
        while self._remembered:
            user = next(iter(self._remembered))
            old = settled and self._remembered[user].moment < limit
            if not old and len(self._remembered) <= MAX_REPEATED_LOGOUTS:
                return
            del self._remembered[user]

    # From the other nodes

    def joined(self) -> None:
        """This node has joined: fetch what was missed, now and when the others certainly know it."""
        self._new_nodes |= self._membership.others
        self._wake.set()
        self._reconcile()
        self._resync()
        later = asyncio.get_running_loop().call_later
        later(LEASE_SECONDS, self._reconcile)
        if self._membership.others:
            later(LEASE_SECONDS, self._resync)

    def changed(self, appeared: Collection[NodeId], vanished: Collection[NodeId]) -> None:
        """Other nodes joined or left. One that left may have committed notifications that it never pushed."""
        self._new_nodes |= set(appeared)
        self._wake.set()
        if vanished:
            self._reconcile()

    def received(self, publication: bytes) -> None:
        """Another node sent this publication."""
        try:
            found = unpack(publication)
            details = found.details
        except msgspec.MsgspecError as error:
            log.error("publication_unreadable", extra={"why": str(error)})
            self._reconcile()
            self._resync()
            return
        bound_of = {user: TokenBound(until, tuple(token_ids)) for user, until, token_ids in found.bounds}
        for user, seconds_ago in found.logged_out:
            self._end_connections(user, seconds_ago, bound_of.get(user, EVERY_TOKEN))
        FRAMES.inc(self._manager.push(found.pushes, details))
        if found.reconcile:
            self._reconcile()
            self._resync()


def _logouts_of(logouts: Mapping[UUID, Logout], now: float) -> Publication:
    return Publication(
        logged_out=[(user, now - logout.moment) for user, logout in logouts.items()],
        bounds=[
            (user, logout.bound.issued_until, list(logout.bound.token_ids))
            for user, logout in logouts.items()
        ],
    )


def _push(item: Notification | _Redelivered) -> tuple[Push, tuple[bytes, bool]]:
    """The push of a notification; what it carries beside the fields in its frame, and whether its publisher
    set any of that.
    """
    redelivered = isinstance(item, _Redelivered)
    notification = item.notification if isinstance(item, _Redelivered) else item
    frame = notification_frame(notification)
    push = Push(notification.receiver, notification.seq, frame, redelivered)
    return push, (details_json(notification), notification.details is not None)


class _Redelivered(NamedTuple):
    """A notification that may have been pushed before."""

    notification: Notification

    @property
    def receiver(self) -> UUID:
        return self.notification.receiver


class _Outgoing:
    """What one node is to get in the next publication."""

    def __init__(self) -> None:
        self._pushes: list[Push] = []
        self._details: defaultdict[tuple[bytes, bool], list[int]] = defaultdict(list)

    def add(self, push: Push, details: tuple[bytes, bool] | None) -> None:
        if details is not None:
            self._details[details].append(len(self._pushes))
        self._pushes.append(push)

    def publication(self) -> Publication:
        carried = [CarriedDetails(*details, places) for details, places in self._details.items()]
        return with_details(self._pushes, carried)


def _now() -> float:
    return asyncio.get_running_loop().time()
