"""What the hub asks of its store, as protocols: Postgres in production, `app.testing` in tests.

One contract suite (tests/contract) runs on both. Every method raises `Unavailable` when the store does not
answer; then a read has no effect, and a write may or may not have been committed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID

from app.domain.audiences import AudiencePage, Broadcast, BroadcastAudience, BroadcastWork
from app.domain.deliveries import Attempt, Delivery, Withheld
from app.domain.delivery_events import DeliveryEvent
from app.domain.identity import EventIdentity
from app.domain.notifications import (
    ArchivePlace,
    ExpiredNotifications,
    FilteredCount,
    FilteredPage,
    InboxCounters,
    ListWindow,
    Notification,
    NotificationFilter,
)
from app.domain.planning import Assumed, People
from app.domain.topics import FollowedTopic, Follower, Joined, Topic, TopicDeletion
from app.store.inboxes import InboxState
from app.store.parked import ParkedEventRecord, ParkedState, ParkedStatus
from app.store.preferences import Profile
from app.store.records import EventRecord, WriteResult
from app.store.scheduled import Due, Scheduled, ScheduledState


class EventWriter(Protocol):
    """Records events with all their effects.

    - Atomic: a call commits everything or nothing. No reader sees a part of it, and everyone sees all of it
      as soon as the call returns.
    - Idempotent: an event that was recorded before changes nothing. One with its `event_id` and other content
      changes nothing either, and is a conflict; another sender's is a separate event (`EventIdentity`).
    - `seq` counts 1, 2, 3 … in each inbox without gaps, in the order of the records of a call.
    - Concurrent calls are safe, on one node and on several. A caller that publishes what it wrote must not
      begin the next call before it has published, or its publications leave the order of `seq`.
    """

    async def write(
        self,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str] = MappingProxyType({}),
        assumed: Assumed | None = None,
    ) -> WriteResult:
        """Record the events. Each `event_id` occurs once in a call.

        Those with a `parked` draft are parked instead if they need an answer, or if parked events share their
        group or their order key, earlier ones of the same call included; a position is parked once.
        `resolved` are parked events (by `ParkedEventRecord.id`) that are among them, with their ids: in the
        same transaction they cease to be parked, unless they are conflicts. An amendment is the only record
        of its call. `assumed` is what the events were planned by, if that was not read.

        Raises:
            PlanOutdated: What is `assumed` is outdated, or can't be checked, or more deliveries
                would be sent than their `throttle` lets through; nothing was recorded.
            StoreRejected: The store can never take one of the values; nothing was recorded.
            InboxesLocked: Others hold the locks of some receivers' inboxes; nothing was recorded.
            PageTaken: One of the entries is a page that isn't the next one of a running broadcast; nothing
                was recorded.
            InvalidEvent: `NO_SUCH_EVENT`: the record is an amendment, and its sender published no such event;
                nothing was recorded.
            Unavailable: The batch may have been committed, only the answer was lost. Call again with the same
                records: those that were recorded stay as they are.
        """


class ProcessedEvents(Protocol):
    """What is known of events that were recorded before. Read only; it sees every committed write."""

    async def find(self, events: Mapping[str, Sequence[UUID]]) -> list[Notification]:
        """The notifications of these events, by id, for these receivers, in rising `seq`.

        Those that are still there, and not further down an inbox than `newest_rows` says.
        """

    async def processed(self, event_ids: Collection[str]) -> list[tuple[str, float]]:
        """Each of the events that was recorded, with its age in seconds by the store's clock."""

    async def identities(self, event_ids: Collection[str]) -> Mapping[str, EventIdentity]:
        """What is recorded of each of the events."""


class Inboxes(Protocol):
    """Single inboxes, as the user reads and changes them.

    - Each change is atomic, and changes of one inbox are serialised with each other and with writes: the
      counters that a change returns are exact for their `last_seq` and `rev`.
    - A change of an inbox raises its `rev` by one. A call that changes nothing, because no notification has
      that id, leaves it.
    - Another user's notification is treated as one that does not exist.
    """

    async def page(
        self,
        receiver: UUID,
        limit: int,
        before: int | None = None,
        unread: bool = False,
        skip: int = 0,
        most_bytes: int | None = None,
    ) -> list[Notification]:
        """At most `limit` notifications, newest first; only those with a `seq` below `before`, only unread
        ones if `unread` is set, without the first `skip` of them.

        With `most_bytes` those that fit into so many bytes (`fitting`) and the next one.
        """

    async def filtered_page(
        self, receiver: UUID, wanted: NotificationFilter, window: ListWindow, most_bytes: int
    ) -> FilteredPage:
        """As `page`, or `Triage.archive_page`, of those that `wanted` says. It looks at a bounded number of
        notifications, so it may have fewer than asked for, or none, and go on all the same.
        """

    async def filtered_count(self, receiver: UUID, wanted: NotificationFilter) -> FilteredCount:
        """How many of the unread ones `wanted` says, of a bounded number of the newest."""

    async def counters(self, receiver: UUID) -> InboxCounters:
        """The counters now; all 0 for an inbox that never got anything."""

    async def mark_read(self, notification: int, receiver: UUID) -> tuple[Notification, InboxCounters] | None:
        """The notification, which is read now, and the counters after that; None if there is none."""

    async def mark_all_read(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Mark everything up to and including `up_to` as read, or everything.

        Returns:
            The highest `seq` that was covered, never above the inbox's last one, and the counters after that.
        """

    async def mark_unread(
        self, notification: int, receiver: UUID
    ) -> tuple[Notification, InboxCounters] | None:
        """The notification, which is unread now, and the counters after that; None if there is none. One that
        is unread already stays so.

        Raises `TooManyUnreadAgain` if `MAX_UNREAD_AGAIN` are marked that were read together before.
        """

    async def mark_all_seen(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Note that everything up to and including `up_to` was seen, or everything; returns as
        `mark_all_read`. What comes later is unseen, as long as it is unread.
        """

    async def delete_all(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Delete everything up to and including `up_to`, or everything; returns as `mark_all_read`."""

    async def delete(self, notification: int, receiver: UUID) -> InboxCounters | None:
        """The counters after the notification was deleted; None if there is none. Its `seq` is not reused."""

    async def expire(self, most: int) -> Sequence[ExpiredNotifications]:
        """Delete up to `most` notifications whose `expires_at` has passed, the earliest first; none is
        deleted by two calls. Those of an inbox that something else changes may be left for a later call.
        """


class Triage(Protocol):
    """Where users put their notifications; as `Inboxes`, whose `mark_read` and `delete` also find what is
    archived or snoozed.

    A notification is in the inbox, archived or snoozed. Only those of the inbox are listed and counted there,
    and read or deleted with all others. A call that moves it to where it is counts as a change.
    """

    async def archive(self, notification: int, receiver: UUID) -> tuple[Notification, InboxCounters] | None:
        """Take it out of the inbox, or end its snooze, and keep it; None if there is none."""

    async def snooze(
        self, notification: int, receiver: UUID, until: datetime
    ) -> tuple[Notification, InboxCounters] | None:
        """Take it out of the inbox, or the archive, until a time; None if there is none."""

    async def unarchive(self, notification: int, receiver: UUID) -> tuple[Notification, InboxCounters] | None:
        """Put it back into the inbox, whether it is archived or snoozed: with its `seq`, and as unread as it
        was, even if everything was marked as read meanwhile. None if there is none. If everything up to it
        was deleted meanwhile, it comes as a new one, as in `wake`.
        """

    async def archive_all(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Archive everything of the inbox up to and including `up_to`, or everything, as unread as it is;
        returns as `Inboxes.mark_all_read`.
        """

    async def move_swept(self, most: int) -> int:
        """Move up to `most` notifications of those that `archive_all` archived, and that are not moved yet;
        how many. It changes nothing that a user sees.
        """

    async def archive_page(
        self, receiver: UUID, place: ArchivePlace, limit: int, before: int | None, most_bytes: int
    ) -> list[Notification]:
        """At most `limit` of what is archived, or snoozed, the highest `seq` first; see `Inboxes.page`."""

    async def is_anything_due(self) -> bool:
        """Whether `wake`, `expire_archived`, `move_swept` or `Inboxes.expire` may have something to do."""

    async def wake(self, most: int) -> Sequence[Notification]:
        """Put up to `most` whose snooze has ended into their inboxes as new ones: unread, with the next
        `seq`, the time of now and an id that none had before. None comes twice. In rising `seq` for each
        receiver. Those of an inbox that something else changes may be left for a later call.
        """

    async def expire_archived(self, most: int) -> Sequence[ExpiredNotifications]:
        """As `Inboxes.expire`, of what is in no inbox."""


class InboxStates(Protocol):
    """Many inboxes at once, for connections that catch up."""

    async def last_seqs(self, users: Sequence[UUID]) -> Sequence[tuple[UUID, int]]:
        """The last `seq` of each inbox, in any order. An inbox that never got anything is left out."""

    async def states(self, wanted: Sequence[tuple[UUID, int | None]], most: int) -> list[InboxState]:
        """The state of the inbox of each (user, after), in that order; with an `after`, also the
        notifications that follow it, up to the `seq` after + `most`.

        Everything that was committed before the call is in the answer.
        """


class ScheduledEvents(Protocol):
    """Events with a `send_at` in the future, until they are due.

    - A lease is exclusive: concurrent calls of `claim` never return the same event, until its lease ends.
    - At least once: an event whose lease ends before `finish` is returned again. Its `event_id` makes the
      repetition harmless.
    - `cancel` and the processing of the same event exclude each other: exactly one of them succeeds.
    """

    async def claim(self, most: int, lease: float) -> Sequence[Due]:
        """Lease up to `most` events that are due, for `lease` seconds."""

    async def finish(self, events: Sequence[str], status: ScheduledState, reason: str | None = None) -> None:
        """Set the final status of these events and erase their bodies. A final status is never changed."""

    async def cancel(self, event_id: str, sender: str) -> bool:
        """Cancel an event of this sender, or one without a sender; False if it is too late or not theirs."""

    async def get(self, event_id: str) -> Scheduled | None:
        """The status of a scheduled event; None if no event with this id was ever scheduled."""


class ParkedEvents(Protocol):
    """Events that wait for a dependency, in the order in which `EventWriter.write` parked them.

    - A lane is an order: events with the same group or order key share one. Its events are claimed together,
      oldest first, up to `most`; none is ever claimed while an older one of its lane isn't.
    - A lease is exclusive: concurrent calls of `claim` never return events of one lane, until the lease ends
      or the events are released.
    - A finished event is never claimed again, and its position is never parked again.
    """

    async def claim(
        self, most: int, lanes: int, lease: float, *, asking: bool
    ) -> Sequence[ParkedEventRecord]:
        """Lease up to `most` events of up to `lanes` lanes that are due, for `lease` seconds; by rising `id`.
        Fewer if they are large.

        If `asking` is not set: only lanes whose oldest event can do without a group, or is overdue.
        """

    async def retry(self, event: int, reason: str, after: float) -> None:
        """End the lease of the event; its lane is due after so many seconds. Counts an attempt."""

    async def release(self, events: Collection[int]) -> None:
        """End the leases of these events."""

    async def renew(self, events: Collection[int], lease: float) -> None:
        """The leases of these events last for `lease` seconds from now; those that were released stay so."""

    async def finish(self, events: Collection[int], reason: str) -> None:
        """These events were dead-lettered: erase their content, and keep their position."""

    async def find(self, dedup_key: str) -> ParkedStatus | None:
        """How the event of this message stands, unless it was never parked or is stored by now."""

    async def state(self) -> ParkedState:
        """How many are parked, and since when."""

    async def next_due(self) -> float | None:
        """In how many seconds a lane is due; None if nothing is parked."""


class DeliveryLog(Protocol):
    """The log of deliveries. Reads see every committed write."""

    async def find(self, limit: int, before: UUID | None = None, **wanted: object) -> list[Delivery]:
        """At most `limit` deliveries, newest first.

        Args:
            limit: How many.
            before: Only deliveries older than this one.
            wanted: Values of columns; `since` and `until` bound the time of creation.
        """

    async def get(self, delivery: UUID) -> tuple[Delivery, list[Attempt]] | None:
        """A delivery with its attempts, in order; None if there is none."""

    async def events(self, delivery: UUID) -> list[DeliveryEvent]:
        """What providers reported of a delivery, in order."""

    async def resend(self, delivery: UUID, *, force: bool = False) -> bool:
        """Make a final delivery due again; whether that was possible. One that is pending, was suppressed or
        carried a one-time code cannot be sent again; one that was sent, only with `force`.
        """


class Decisions(Protocol):
    """Decisions not to notify that left no delivery. Read only; it sees every committed write."""

    async def of_event(self, event_id: str, user_id: UUID | None, most: int) -> Sequence[Withheld]:
        """Whom the event doesn't notify, and why: up to `most`, in the order of the plan. With `user_id`
        those of that user and those of all receivers.
        """


class Suppressions(Protocol):
    """The suppression list. Read only; it sees every committed write."""

    async def reasons(self, wanted: Sequence[tuple[str, str, str]]) -> Sequence[str | None]:
        """Why nothing is sent, for each channel, address and category; None where something is."""


class Topics(Protocol):
    """The topics that people follow. Each change but `delete` is atomic; reads see every committed write."""

    async def put(self, key: str, *, is_open: bool) -> Topic:
        """Make the topic, or set whether users may follow it with their tokens."""

    async def delete(self, key: str, seconds: float) -> TopicDeletion | None:
        """Delete the topic with its followers, and cancel the broadcasts to it; None if there is none.

        Followers are removed in chunks, for about `seconds`. If some are left, the topic stays, closed, and
        another call continues. Who is added meanwhile is removed as well.
        """

    async def topics(self, limit: int, after: str) -> Sequence[Topic]:
        """At most `limit` topics with a key above `after`, by their keys."""

    async def change(
        self, key: str, add: Sequence[UUID] = (), remove: Sequence[UUID] = ()
    ) -> tuple[int, int]:
        """Have users follow the topic, which is made if there is none, and others not; no user is in both.

        Returns how many did not follow before, and how many did. Who followed keeps the time of that.
        """

    async def join(self, key: str, user_id: UUID) -> Joined:
        """Have a user follow the topic who asked for it themselves."""

    async def followers(self, key: str, limit: int, after: UUID = ...) -> Sequence[Follower]:
        """At most `limit` followers with an id above `after`, by their ids."""

    async def of_user(self, user_id: UUID, limit: int, after: str = "") -> Sequence[FollowedTopic]:
        """At most `limit` topics with a key above `after` that the user follows, by their keys."""


class Audiences(Protocol):
    """The people in an audience. Read only; it sees every committed write."""

    async def page(
        self, audience: BroadcastAudience, accepted_at: datetime, after: UUID, limit: int
    ) -> AudiencePage:
        """Look at the next `limit` people with an id above `after`, by their ids: those who match.

        Of a topic those who follow now, and did at `accepted_at`. Everyone is whoever has, or had, something
        in an inbox, preferences, a device, or follows a topic.
        """

    async def count(self, audience: BroadcastAudience, accepted_at: datetime) -> int:
        """How many people that is now."""


class Broadcasts(Protocol):
    """Events for an audience, as `EventWriter.write` accepted them, and how far each is.

    - A lease is exclusive: concurrent calls of `claim` never return the same broadcast, until its lease ends
      or it is released. `EventWriter.write` renews it with each page.
    - A broadcast that is final stays so, and keeps no content.
    """

    async def claim(self, lease: float) -> BroadcastWork | None:
        """Lease the running broadcast that has been due the longest, for `lease` seconds; None if none is."""

    async def release(self, event_id: str, pages: int, pause: float = 0.0) -> None:
        """End its lease, if it still is at this page; it is due in `pause` seconds at the earliest."""

    async def counted(self, event_id: str, people: int) -> None:
        """So many people are in its audience."""

    async def fail(self, event_id: str, reason: str) -> None:
        """It can't go on."""

    async def get(self, event_id: str, sender: str | None = None) -> Broadcast | None:
        """The broadcast; None if there is none. With a `sender`: only theirs, and those without one."""

    async def newest(
        self, limit: int, before: str | None = None, sender: str | None = None
    ) -> Sequence[Broadcast]:
        """At most `limit`, the newest first, of those that are older than `before`; see `get`."""

    async def pause(self, event_id: str) -> bool:
        """Pause it; False if it isn't running. No page is written after the call."""

    async def resume(self, event_id: str) -> bool:
        """Go on; False if it isn't paused."""

    async def cancel(self, event_id: str) -> bool:
        """End it for good; False if it is final. No page is written after the call."""

    async def running(self) -> tuple[int, float]:
        """How many are running, and for how many seconds the oldest has been."""


class PreferencesPort(People, Protocol):
    """Profiles and choices, as their users read and change them. Each change is atomic."""

    async def get(self, user_id: UUID) -> tuple[Profile, dict[str, bool]]:
        """Everything that the user has set; empty values for a user who has set nothing."""

    async def set_profile(self, user_id: UUID, profile: Profile) -> None:
        """Replace the profile; choices stay."""

    async def add_choice(self, user_id: UUID, choice: str, on: bool) -> bool:
        """Set the choice unless it is set; whether it was set by this call."""

    async def set_choice(self, user_id: UUID, choice: str, on: bool) -> None:
        """Set the choice; the others stay."""

    async def drop_choice(self, user_id: UUID, choice: str) -> bool:
        """Return to the operator's default; whether the choice was set."""

    async def change(
        self,
        user_id: UUID,
        profile: Mapping[str, Any],
        choices: Mapping[str, bool | None],
        digests: Mapping[str, str | None] = ...,
    ) -> None:
        """Set these fields of `Profile`, these choices and these digests, all or none; the others stay.

        None unsets a field, and returns a choice or a digest to what the operator set.
        """

    async def digests(self, user_id: UUID) -> dict[str, str]:
        """The digests that the user has chosen, by the id of the choice (`read_choice`)."""

    async def set_digest(self, user_id: UUID, choice: str, digest: str | None) -> None:
        """Choose a digest, or with None return to the operator's rule; the others stay."""
