"""The way from a committed batch to the connections: of this node at once, of the others over Redis."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from app.domain.notifications import Notification
from app.realtime.manager import WebSocketManager
from app.realtime.membership import LEASE_SECONDS, Membership
from app.realtime.presence import NodeId, Presence
from app.realtime.protocol import CloseCode, notification_frame
from app.realtime.publication import Publication, Push, pack, unpack
from app.runtime.metrics import FRAMES, PUBLICATIONS, UNPUBLISHED
from app.runtime.redis import REDIS_ERRORS
from app.runtime.services import Background

log = logging.getLogger("hub.bus")

MAX_FRAMES_PER_PUBLICATION = 500  # frames of one publication, at most
MAX_PENDING_FRAMES = 50_000  # frames waiting for Redis; past that the other nodes read Postgres instead
LOGOUT_REPEAT_SECONDS = (
    900.0  # seconds a logout is repeated to nodes that join: they may have been away for long
)
MAX_REPEATED_LOGOUTS = 100_000  # logouts kept while Redis is away
FLUSH_TIMEOUT_SECONDS = 2.0  # seconds that the last publications of a node that stops may take


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

    def publish(self, notifications: Sequence[Notification], *, again: bool = False) -> None:
        """Push the notifications to their receivers' connections.

        The caller serialises calls, and passes notifications after their commit, in rising `seq` for each
        receiver. A gap makes a connection read the store before it gets anything else.

        Args:
            again: The events were processed before, by a node that may not have published them. Plain
                connections that were opened since then get the notifications, be it a second time; session
                connections compare `seq` and need none.
        """

    def tell(self, user_id: UUID, frame: bytes) -> None:
        """Send a session frame to the user's session connections: another device changed something."""

    def disconnect(self, user_id: UUID, seconds_ago: float = 0.0) -> None:
        """Close every connection that the user had opened until `seconds_ago`, the time of the logout. Later
        ones stay. Of several logouts the newest counts.
        """


class RedisBus:
    """The bus over Redis. Connections of this node never wait for it.

    What is for other nodes is sent in order, in the background: one look-up and one publication for each
    target node, for all that came together. Whatever Redis loses, the nodes read in Postgres instead.
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
        """`reconcile` brings this node's connections the notifications that they may have missed,
        `resync` what other devices may have done; `on_logout` hears of every user who logged out,
        wherever that was handled.
        """
        self._manager = manager
        self._presence = presence
        self._membership = membership
        self._reconcile = reconcile
        self._greet_again = resync
        self._on_logout = on_logout
        self._pending: list[Notification | Push] = []
        self._logouts: dict[UUID, float] = {}
        self._remembered: dict[UUID, float] = {}
        self._newcomers: set[NodeId] = set()
        self._unpublished = False
        self._wake = asyncio.Event()
        self._background = Background(self._send_on, name="bus")

    async def start(self) -> None:
        """Begin to send other nodes what is for them."""
        await self._background.start()

    async def stop(self) -> None:
        """Send what is pending, as far as Redis takes it now."""
        await self._background.stop()
        if self._membership.joined:
            try:
                async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                    await self._send()
            except REDIS_ERRORS as error:
                log.warning("stopped_unpublished", extra={"why": type(error).__name__})

    # From this node

    def publish(self, notifications: Sequence[Notification], *, again: bool = False) -> None:
        users = self._manager.users
        here = [_push(each, again) for each in notifications if each.receiver in users]
        FRAMES.inc(self._manager.push(here))
        self._queue([_push(each, again) for each in notifications] if again else notifications)

    def tell(self, user_id: UUID, frame: bytes) -> None:
        push = Push(user_id, 0, frame)
        self._manager.push((push,))
        self._queue((push,))

    def disconnect(self, user_id: UUID, seconds_ago: float = 0.0) -> None:
        moment = self._end_connections(user_id, seconds_ago)
        if self._membership.joined and not self._membership.alone:
            self._logouts[user_id] = max(moment, self._logouts.get(user_id, moment))
            self._wake.set()

    def logged_out(self, user_id: UUID, since: float) -> bool:
        """Whether the user logged out at or after this moment (loop time), as far as that is remembered."""
        return self._remembered.get(user_id, -1.0) >= since

    def _end_connections(self, user_id: UUID, seconds_ago: float) -> float:
        """The moment of the logout (loop time)."""
        moment = _now() - seconds_ago
        self._manager.disconnect(user_id, CloseCode.LOGGED_OUT, "logged out", moment)
        self._on_logout(user_id)
        self._remembered[user_id] = max(moment, self._remembered.pop(user_id, moment))
        self._forget_old()
        return moment

    def _queue(self, items: Sequence[Notification | Push]) -> None:
        membership = self._membership
        if not items or membership.alone:
            return
        if not membership.joined or len(self._pending) > MAX_PENDING_FRAMES:
            self._give_up(len(items) + len(self._pending))
            return
        self._pending += items
        self._wake.set()

    def _give_up(self, frames: int) -> None:
        self._pending.clear()
        self._unpublished = True
        UNPUBLISHED.inc(frames)

    async def _send_on(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._membership.joined:
                continue
            try:
                await self._send()
            except REDIS_ERRORS as error:
                log.warning("not_published", extra={"why": type(error).__name__})
                self._give_up(len(self._pending))
                self._membership.mark_lost()
            except Exception:
                log.exception("publishing_failed")
                self._give_up(len(self._pending))

    async def _send(self) -> None:
        """Send all that is pending. After an error the other nodes are told to reconcile, once that works."""
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
                self._give_up(len(some) + len(self._pending))
                raise
        if self._unpublished:
            self._unpublished = False
            try:
                await self._publish({node: Publication(reconcile=True) for node in self._membership.others})
            except BaseException:
                self._unpublished = True
                raise

    async def _send_logouts(self) -> None:
        """To every node: they are few, and none may be missed. Newcomers hear of all the last ones."""
        logouts, newcomers = self._logouts, self._newcomers
        self._logouts, self._newcomers = {}, set()
        now = _now()
        publications = {node: _logouts_of(logouts, now) for node in self._membership.others if logouts}
        if self._remembered:
            publications |= {node: _logouts_of(self._remembered, now) for node in newcomers}
        try:
            await self._publish(publications)
        except BaseException:
            self._logouts = logouts | self._logouts
            self._newcomers |= newcomers
            raise

    async def _send_frames(self, items: Sequence[Notification | Push]) -> None:
        nodes_of = await self._presence.look_up({item.receiver for item in items})
        elsewhere = self._membership.unresponsive | {self._membership.node}
        by_node: defaultdict[NodeId, list[Push]] = defaultdict(list)
        for item in items:
            nodes = [node for node in nodes_of.get(item.receiver, ()) if node not in elsewhere]
            if nodes:
                push = item if isinstance(item, Push) else _push(item)
                for node in nodes:
                    by_node[node].append(push)
        await self._publish({node: Publication(pushes) for node, pushes in by_node.items()})

    async def _publish(self, publications: dict[NodeId, Publication]) -> None:
        if publications:
            await self._presence.publish([(node, pack(each)) for node, each in publications.items()])
            PUBLICATIONS.inc(len(publications))

    def _forget_old(self) -> None:
        """Forget logouts that no node can have missed: those from before this one had to join again."""
        limit = _now() - LOGOUT_REPEAT_SECONDS
        joined_at = self._membership.joined_at
        settled = joined_at is not None and joined_at < limit
        while self._remembered:
            user = next(iter(self._remembered))
            old = settled and self._remembered[user] < limit
            if not old and len(self._remembered) <= MAX_REPEATED_LOGOUTS:
                return
            del self._remembered[user]

    # From the other nodes

    def joined(self) -> None:
        """The node belongs again: fetch what was missed, now and once the others surely know of it."""
        self._newcomers |= self._membership.others
        self._wake.set()
        self._reconcile()
        self._greet_again()
        later = asyncio.get_running_loop().call_later
        later(LEASE_SECONDS, self._reconcile)
        if self._membership.others:
            later(LEASE_SECONDS, self._greet_again)

    def changed(self, appeared: Collection[NodeId], vanished: Collection[NodeId]) -> None:
        """Other nodes came or went. One that went may have committed what it told nobody of."""
        self._newcomers |= set(appeared)
        self._wake.set()
        if vanished:
            self._reconcile()

    def received(self, publication: bytes) -> None:
        """Another node sent this."""
        try:
            pushes, logged_out, reconcile = msgspec.structs.astuple(unpack(publication))
        except msgspec.MsgspecError as error:
            log.error("publication_unreadable", extra={"why": str(error)})
            self._reconcile()
            self._greet_again()
            return
        for user, seconds_ago in logged_out:
            self._end_connections(user, seconds_ago)
        FRAMES.inc(self._manager.push(pushes))
        if reconcile:
            self._reconcile()
            self._greet_again()


def _logouts_of(moments: Mapping[UUID, float], now: float) -> Publication:
    return Publication(logged_out=[(user, now - moment) for user, moment in moments.items()])


def _push(notification: Notification, again: bool = False) -> Push:
    return Push(notification.receiver, notification.seq, notification_frame(notification), again)


def _now() -> float:
    return asyncio.get_running_loop().time()
