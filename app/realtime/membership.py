"""Membership of this node in the cluster: join, send heartbeats, receive publications, rejoin after errors.

Every error of Redis is handled in one way: the node takes a new id and joins again. Its users are registered
under that id, and all that may have been missed is fetched from Postgres. Nothing of the old id is repaired.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from redis.asyncio.client import PubSub

from app.realtime.presence import NODE_ID_BYTES, NodeId, Presence
from app.runtime.backoff import Backoff
from app.runtime.log import bind_to_process
from app.runtime.metrics import NODES
from app.runtime.redis import REDIS_ERRORS
from app.runtime.services import Background
from app.runtime.tasks import end, first

log = logging.getLogger("hub.membership")

BEAT_SECONDS = 1.0  # seconds between heartbeats
UNRESPONSIVE_AFTER_SECONDS = 5.0  # seconds without a heartbeat until a node counts as dead
LEASE_SECONDS = 2.0  # seconds for which "there is no other node" holds
LEAVE_TIMEOUT_SECONDS = 1.0  # seconds; a node that can't leave in time is found to be unresponsive
REJOIN_BACKOFF = Backoff(first=0.5, cap=1.0)  # between attempts to join


class Listener(Protocol):
    """What the membership calls."""

    def joined(self) -> None:
        """The node has joined; anything may have been missed until now."""

    def changed(self, appeared: Collection[NodeId], vanished: Collection[NodeId]) -> None:
        """Other nodes joined, or left or died."""

    def received(self, publication: bytes) -> None:
        """Another node sent this."""


class LostError(Exception):
    """The node is no longer a member."""


class Membership:
    """Keeps the node joined while Redis is available. Never raises an error of Redis: without it the node
    serves its own connections only, and `joined` is False.
    """

    def __init__(
        self, presence: Presence, subscribe: Callable[[str], AbstractAsyncContextManager[PubSub]]
    ) -> None:
        """`subscribe` opens a subscription to a channel."""
        self._presence = presence
        self._subscribe = subscribe
        self._users: Collection[UUID] = ()
        self._listener: Listener | None = None
        self._user_gone: Callable[[UUID], None] | None = None
        self._lost = asyncio.Event()
        self._failures = 0
        """To join, in a row."""
        self._background = Background(self._run, name="membership")
        self._cleaning: asyncio.Task[None] | None = None
        self._gone: set[NodeId] = set()
        """The nodes whose presence is still to be removed."""
        self._changed: set[UUID] = set()
        self._written: asyncio.Future[None] | None = None
        self._changing: asyncio.Task[None] | None = None
        self._answered_at = 0.0
        self._before: frozenset[NodeId] = frozenset()
        self.node = _new_id()
        """This node's id, a new one each time it joins."""
        self.joined_at: float | None = None
        """Since when (loop time) other nodes reach this one; None while they don't."""
        self.others: frozenset[NodeId] = frozenset()
        """The other nodes, as of the last beat."""
        self.unresponsive: frozenset[NodeId] = frozenset()
        """Nodes that count as dead."""

    @property
    def joined(self) -> bool:
        """Whether other nodes reach this one."""
        return self.joined_at is not None

    @property
    def alone(self) -> bool:
        """Whether it is certain that no other node has connections to notify of a commit made now.

        A node that joins fetches what was committed in its first `LEASE_SECONDS`: others may not know it yet.
        """
        return self.joined and not self.others and _now() - self._answered_at < LEASE_SECONDS

    def attach(
        self,
        users: Collection[UUID],
        listener: Listener,
        user_gone: Callable[[UUID], None] | None = None,
    ) -> None:
        """Call this before `start`.

        Args:
            users: Always holds all who are connected to this node.
            listener: Gets what happens.
            user_gone: Called for users of a node that died, unless another node has them.
        """
        self._users = users
        self._listener = listener
        self._user_gone = user_gone

    async def start(self) -> None:
        """Begin to join, in the background."""
        await self._background.start()

    async def stop(self) -> None:
        """Leave the cluster: other nodes send nothing more to this one."""
        joined = self.joined
        await self._background.stop()
        await end(self._changing, self._cleaning)
        if joined:
            try:
                async with asyncio.timeout(LEAVE_TIMEOUT_SECONDS):
                    await self._presence.forget(self.node)
            except REDIS_ERRORS as error:
                log.info("not_left", extra={"why": type(error).__name__})

    def mark_lost(self) -> None:
        """A caller got an error of Redis: join again."""
        self._lost.set()

    async def user_connected(self, user: UUID) -> None:
        """Return when the other nodes can see that the user is connected here. Returns at once while the node
        isn't joined: what is missed until then is fetched after it has joined.
        """
        if self.joined:
            await asyncio.shield(self._change((user,)))

    def user_disconnected(self, user: UUID) -> None:
        """The user's last connection here ended."""
        if self.joined:
            self._change((user,))

    async def _run(self) -> None:
        while True:
            try:
                await self._belong()
            except (LostError, *REDIS_ERRORS) as error:
                log.warning("not_joined", extra={"why": str(error) or type(error).__name__, **_hint(error)})
            except Exception:
                log.exception("membership_failed")
            await asyncio.sleep(REJOIN_BACKOFF.delay(self._failures))
            self._failures += 1

    async def _belong(self) -> None:
        """Join and stay joined until something fails."""
        self._before |= {self.node}
        node = self.node = _new_id()
        self._lost.clear()
        try:
            async with self._subscribe(self._presence.channel(node)) as subscription:
                await self._beat(node, first=True)
                self.joined_at = _now()
                self._failures = 0
                await asyncio.shield(self._change(self._users))
                bind_to_process(node=node.hex())
                log.info("joined", extra={"others": len(self.others)})
                assert self._listener is not None
                self._listener.joined()
                self._clean_soon(self._before)
                await first(self._beat_on(node), self._listen(subscription), self._lost.wait())
                raise LostError("Redis failed, or the node's registration was lost")
        finally:
            self.joined_at = None
            NODES.set(0)

    async def _beat(self, node: NodeId, *, first: bool = False) -> None:
        asked_at = _now()
        beat = await self._presence.beat(node, UNRESPONSIVE_AFTER_SECONDS)
        if not (first or beat.known):
            raise LostError("the other nodes declared this node dead")
        self._answered_at = asked_at
        others = beat.others - self._before
        if not first:
            self._before &= beat.others | beat.unresponsive  # the rest is cleaned away, or soon will be
        appeared, vanished = others - self.others, self.others - others
        self.others, self.unresponsive = others, beat.unresponsive
        NODES.set(1 + len(self.others))
        if (appeared or vanished) and not first:
            assert self._listener is not None
            self._listener.changed(appeared, vanished)
        if self.unresponsive:
            self._clean_soon(self.unresponsive)

    async def _beat_on(self, node: NodeId) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self._beat(node)
            # To this node itself: its arrival shows that publications do arrive.
            await self._presence.publish([(node, b"")])

    async def _listen(self, subscription: PubSub) -> None:
        assert self._listener is not None
        while True:
            message = await subscription.get_message(timeout=UNRESPONSIVE_AFTER_SECONDS)
            if message is None:
                raise LostError("no heartbeat was received over Redis")
            if message["data"]:
                self._listener.received(message["data"])

    def _clean_soon(self, gone: Collection[NodeId]) -> None:
        self._gone.update(gone)
        if self._cleaning is None or self._cleaning.done():
            self._cleaning = asyncio.create_task(self._clean(), name="presence cleaner")

    async def _clean(self) -> None:
        """Remove the presence of dead nodes and of this node's old ids. Several nodes may do so at once."""
        try:
            while self._gone:
                node = next(iter(self._gone))
                await self._presence.forget(node, self._user_gone)
                self._gone.discard(node)
        except REDIS_ERRORS as error:
            log.warning("presence_not_cleaned", extra={"why": type(error).__name__})

    def _change(self, users: Iterable[UUID]) -> asyncio.Future[None]:
        """Write into the shared table whether these users are connected here; the future is done when it is
        written.

        Calls during one round trip share the next, which looks up who is connected when it begins.
        """
        self._changed.update(users)
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        if self._changing is None or self._changing.done():
            self._changing = asyncio.create_task(self._write_changes(), name="presence")
        return self._written

    async def _write_changes(self) -> None:
        while self._written is not None:
            changed, self._changed = self._changed, set()
            written, self._written = self._written, None
            here = self._users
            present = [user for user in changed if user in here]
            try:
                await self._presence.change(self.node, present, changed.difference(present))
            except REDIS_ERRORS as error:
                log.warning("presence_not_written", extra={"why": type(error).__name__})
                self.mark_lost()
            finally:
                if not written.done():
                    written.set_result(None)


def _new_id() -> NodeId:
    return NodeId(os.urandom(NODE_ID_BYTES))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _hint(error: Exception) -> dict[str, str]:
    """The field of a log line that says what to check."""
    away = isinstance(error, REDIS_ERRORS)
    return {"hint": "Is REDIS_URL right, and does that Redis run?"} if away else {}
