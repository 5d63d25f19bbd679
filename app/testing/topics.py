"""Topics in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from app.domain.time import Now, moment
from app.domain.topics import MAX_OWN_TOPICS, FollowedTopic, Follower, Joined, Topic, TopicDeletion
from app.store.topics import FIRST


class MemoryTopics:
    """`Topics` without Postgres."""

    def __init__(self, check: Callable[[], None], now: Now, stop_topic: Callable[[str], None]) -> None:
        """`check` raises `Unavailable` while the store is not to answer; `stop_topic` cancels the broadcasts
        to a topic.
        """
        self._stop_topic = stop_topic
        self._check = check
        self._now = now
        self._topics: dict[str, Topic] = {}
        self._followers: dict[str, dict[UUID, Follower]] = {}

    @property
    def following_any(self) -> set[UUID]:
        """Everyone who follows a topic."""
        return {user for followers in self._followers.values() for user in followers}

    async def put(self, key: str, *, is_open: bool) -> Topic:
        """See `Topics.put`."""
        self._check()
        known = self._topics.get(key)
        made = moment(self._now()) if known is None else known.created_at
        self._topics[key] = Topic(key, is_open, made)
        return self._topics[key]

    async def delete(self, key: str, seconds: float) -> TopicDeletion | None:
        """See `Topics.delete`."""
        self._check()
        if self._topics.pop(key, None) is None:
            return None
        self._stop_topic(key)
        return TopicDeletion(len(self._followers.pop(key, {})), True)

    async def topics(self, limit: int, after: str) -> Sequence[Topic]:
        """See `Topics.topics`."""
        self._check()
        return [self._topics[key] for key in sorted(self._topics) if key > after][:limit]

    async def change(
        self, key: str, add: Sequence[UUID] = (), remove: Sequence[UUID] = ()
    ) -> tuple[int, int]:
        """See `Topics.change`."""
        self._check()
        if add and key not in self._topics:
            await self.put(key, is_open=False)
        followers = self._followers.setdefault(key, {})
        new, old = {*add} - followers.keys(), {*remove} & followers.keys()
        followers.update((user, Follower(user, moment(self._now()))) for user in new)
        for user in old:
            del followers[user]
        return len(new), len(old)

    async def join(self, key: str, user_id: UUID) -> Joined:
        """See `Topics.join`."""
        self._check()
        if user_id in self._followers.get(key, {}):
            return Joined.FOLLOWS
        if key not in self._topics or not self._topics[key].open:
            return Joined.CLOSED
        if len(await self.of_user(user_id, MAX_OWN_TOPICS)) == MAX_OWN_TOPICS:
            return Joined.TOO_MANY
        await self.change(key, add=[user_id])
        return Joined.FOLLOWS

    async def followers(self, key: str, limit: int, after: UUID = FIRST) -> Sequence[Follower]:
        """See `Topics.followers`."""
        self._check()
        followers = self._followers.get(key, {})
        return [followers[user] for user in sorted(followers) if user > after][:limit]

    async def of_user(self, user_id: UUID, limit: int, after: str = "") -> Sequence[FollowedTopic]:
        """See `Topics.of_user`."""
        self._check()
        found = [
            FollowedTopic(key, self._topics[key].open, followers[user_id].followed_at)
            for key, followers in sorted(self._followers.items())
            if user_id in followers and key > after
        ]
        return found[:limit]
