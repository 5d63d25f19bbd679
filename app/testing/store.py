"""The store in memory. Nothing waits, so no other task sees a part of a change."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

import msgspec

from app.domain import exact_json
from app.domain.amendments import NO_SUCH_EVENT, Amended, Amendment, Place, updated
from app.domain.deliveries import Withheld
from app.domain.errors import InvalidEvent, PlanOutdated, StoreRejected
from app.domain.identity import EventIdentity, Relation, scoped_id
from app.domain.notifications import (
    MAX_GROUP_NAME_CHARS,
    MAX_TEMPLATE_CODE_CHARS,
    MAX_TITLE_CHARS,
    Notification,
    NotificationDraft,
)
from app.domain.planning import Assumed
from app.domain.time import Now, moment
from app.store.amendments import RETRACTED
from app.store.event_ids import IdClaims
from app.store.inboxes import InboxState
from app.store.notifications import newest_rows
from app.store.records import DeliveryRecord, EventRecord, WriteResult
from app.store.throttles import throttled
from app.testing.broadcasts import MemoryAudiences, MemoryBroadcasts
from app.testing.deliveries import MemoryDeliveries, MemoryDelivery
from app.testing.inboxes import MemoryInbox, MemoryInboxes
from app.testing.parked import MemoryParkedEvents
from app.testing.people import MemoryPeople
from app.testing.scheduled import MemoryScheduledEvents
from app.testing.topics import MemoryTopics
from handlers.registry import details_of

__all__ = ["MemoryDelivery", "MemoryStore"]

MAX_EVENT_ID_BYTES = 2700  # an index entry of Postgres has 2704 bytes at most
_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class MemoryStore(MemoryInboxes):
    """`EventWriter`, `ProcessedEvents`, `Decisions`, `Inboxes`, `Triage` and `InboxStates` without Postgres.

    `scheduled` is the `ScheduledEvents`, `parked` the `ParkedEvents`, `deliveries` the `DeliveryLog`,
    `topics` the `Topics`, `broadcasts` the `Broadcasts` and `audiences` the `Audiences` of the same store,
    and `people` the profiles that filters select by. Set `unavailable` to make every call fail. It rejects
    the values that Postgres rejects.
    """

    def __init__(self, now: Now = time.time, locale: str = "en") -> None:
        super().__init__(now)
        self._processed: dict[str, tuple[float, EventIdentity]] = {}
        self.scheduled = MemoryScheduledEvents(self._processed, self._check, now)
        self.parked = MemoryParkedEvents(self._check, now)
        self.broadcasts = MemoryBroadcasts(self._check, now)
        self.topics = MemoryTopics(self._check, now, self.broadcasts.stop_topic)
        self.people = MemoryPeople()
        self.audiences = MemoryAudiences(self.topics, self.people, self._inboxes, locale)
        self.deliveries = MemoryDeliveries(self._check, now)
        self._withheld: list[tuple[str, Withheld]] = []

    # Events

    async def write(
        self,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str] = MappingProxyType({}),
        assumed: Assumed | None = None,
    ) -> WriteResult:
        """As `EventWriter.write`."""
        self._check_call(entries, assumed)
        await self._check_throttles(entries)
        now = self._now()
        parked = self.parked.park([(entry.event_id, entry.parked) for entry in entries if entry.parked])
        for entry in entries:  # before anything is recorded
            if entry.amendment is not None and entry.event_id not in parked and not self._is_recorded(entry):
                self._find(entry.amendment, entry.identity.sender)
        claims = self._claim([entry for entry in entries if entry.event_id not in parked], now)
        self.parked.unpark([number for number, name in resolved.items() if name not in claims.conflicts])
        notifications: list[Notification] = []
        amended: Sequence[Amended] = ()
        for entry in claims.new.values():
            if entry.page is not None:
                notified = sum(len(draft.receivers) for draft in entry.drafts)
                self.broadcasts.advance(entry.page, notified, len(entry.deliveries))
            if entry.broadcast is not None:
                self.broadcasts.accept(entry.event_id, entry.identity.sender, entry.broadcast)
            if entry.amendment is not None:
                amended = self._amend(entry.amendment, entry.identity.sender, moment(now))
            if entry.later is None:
                notifications += self._insert(entry, moment(now))
                self.deliveries.add(entry, moment(now))
                self._withheld += [(entry.chunk_of or entry.event_id, each) for each in entry.withheld]
        return WriteResult(
            frozenset(claims.new),
            notifications,
            parked,
            claims.repeated,
            frozenset(claims.conflicts),
            amended,
        )

    async def _check_throttles(self, entries: Sequence[EventRecord]) -> None:
        wanted = throttled(entries)
        counts = await self.deliveries.recent([*wanted])
        if any(count + new > most for count, (new, most) in zip(counts, wanted.values(), strict=True)):
            raise PlanOutdated

    def _check_call(self, entries: Sequence[EventRecord], assumed: Assumed | None) -> None:
        self._check()
        if assumed is not None:
            raise PlanOutdated
        for entry in entries:
            _check_storable(entry)
            if entry.page is not None:
                self.broadcasts.check_page(entry.page)

    def _is_recorded(self, entry: EventRecord) -> bool:
        found, sender = self._taken(entry), entry.identity.sender
        if found is None or sender is None or entry.identity.relation_to(found) is not Relation.FOREIGN:
            return found is not None
        own = msgspec.structs.replace(entry, event_id=scoped_id(entry.event_id, sender))
        return self._taken(own) is not None

    def _amend(self, amendment: Amendment, sender: str | None, now: datetime) -> list[Amended]:
        changed = []
        self._amend_broadcasts(amendment, sender)
        for inbox, number in self._find(amendment, sender):
            place: Place = "inbox"
            if number in inbox.archived:
                place = "snoozed" if inbox.archived[number].snoozed_until else "archived"
            rows = inbox.notifications if place == "inbox" else inbox.archived
            receiver, after = rows[number].receiver, None
            if amendment.update is None:
                del rows[number]
            else:
                category = details_of(rows[number]).category
                after = updated(amendment.update, rows[number], self.people.locale(receiver), category)
                rows[number] = after
            changed.append(Amended(number, receiver, inbox.changed(), after, place))
        if amendment.update is None:
            self.deliveries.retract(amendment, now)
        return changed

    def _amend_broadcasts(self, amendment: Amendment, sender: str | None) -> None:
        if amendment.original is None:
            self.broadcasts.note(None, sender, amendment)
            return
        for name in {amendment.original, scoped_id(amendment.original, sender or "")}:
            if name in self._processed and self._is_of(name, sender):
                if amendment.update is None and not amendment.receivers:
                    self.broadcasts.stop(name, RETRACTED)
                else:
                    self.broadcasts.note(name, sender, amendment)

    def _find(self, amendment: Amendment, sender: str | None) -> list[tuple[MemoryInbox, int]]:
        names = {amendment.original, scoped_id(amendment.original or "", sender or "")}
        events = {name for name in names if name in self._processed and self._is_of(name, sender)}
        if amendment.original is not None and not events:
            raise InvalidEvent(NO_SUCH_EVENT, "no event of this publisher with this id was processed")
        found = []
        for user, inbox in self._inboxes.items():
            theirs = []
            for number, each in [*inbox.notifications.items(), *inbox.archived.items()]:
                event = self._events[number]
                thread = each.details and each.details.thread_key
                meant = event in events if amendment.original else thread == amendment.thread_key
                if meant and (event not in self._processed or self._is_of(event, sender)):
                    theirs.append((each.seq, number))
            if amendment.thread_key is not None and amendment.update is not None:
                theirs = [max(theirs)] if theirs else []
            if not amendment.receivers or user in amendment.receivers:
                found += [(inbox, number) for _, number in sorted(theirs)]
        return found

    def _is_of(self, event: str, sender: str | None) -> bool:
        return self._processed[event][1].sender in (None, sender)

    def _claim(self, entries: Sequence[EventRecord], now: float) -> IdClaims:
        claims = IdClaims()
        named = [(entry.event_id, entry) for entry in entries]
        for last in (False, True):
            claimed: set[str] = set()
            taken: dict[str, EventIdentity] = {}
            for _, entry in named:
                found = self._taken(entry)
                if found is not None:
                    taken[entry.event_id] = found
                    continue
                claimed.add(entry.event_id)
                if entry.later is not None:
                    self.scheduled.add(entry.event_id, entry.later, entry.identity)
                else:
                    self._processed[entry.event_id] = now, entry.identity
            named = claims.judge(named, claimed, taken, last=last)
        return claims

    def _taken(self, entry: EventRecord) -> EventIdentity | None:
        processed = self._processed.get(entry.event_id)
        if processed is not None:
            return processed[1]
        if entry.later is not None or (entry.identity.sender is not None and not entry.due):
            return self.scheduled.identity(entry.event_id)
        return None

    def _insert(self, entry: EventRecord, created_at: datetime) -> Iterator[Notification]:
        for draft in entry.drafts:
            for receiver in draft.receivers:
                inbox = self._inboxes.setdefault(receiver, MemoryInbox())
                inbox.last_seq += 1
                made = _notification(next(self._ids), receiver, draft, created_at, inbox.last_seq)
                inbox.notifications[made.id] = made
                self._events[made.id] = entry.chunk_of or entry.event_id
                yield made

    async def find(self, events: Mapping[str, Sequence[UUID]]) -> list[Notification]:
        """As `ProcessedEvents.find`."""
        self._check()
        asked = {(event_id, user) for event_id, receivers in events.items() for user in receivers}
        users = {user for _, user in asked}
        most = newest_rows(len(users))
        newest = [each for user in users for each in self.inbox(user)[-most:]]
        found = [each for each in newest if (self._events[each.id], each.receiver) in asked]
        return sorted(found, key=lambda each: each.seq)

    async def processed(self, event_ids: Collection[str]) -> list[tuple[str, float]]:
        """As `ProcessedEvents.processed`."""
        self._check()
        now = self._now()
        return [(each, now - self._processed[each][0]) for each in event_ids if each in self._processed]

    async def identities(self, event_ids: Collection[str]) -> Mapping[str, EventIdentity]:
        """As `ProcessedEvents.identities`."""
        self._check()
        return {each: self._processed[each][1] for each in event_ids if each in self._processed}

    async def of_event(self, event_id: str, user_id: UUID | None, most: int) -> Sequence[Withheld]:
        """As `Decisions.of_event`."""
        self._check()
        of_event = [each for name, each in self._withheld if name == event_id]
        return [each for each in of_event if user_id is None or each.user_id in (None, user_id)][:most]

    # Many inboxes

    async def last_seqs(self, users: Sequence[UUID]) -> Sequence[tuple[UUID, int]]:
        """As `InboxStates.last_seqs`."""
        self._check()
        return [(user, self._inboxes[user].last_seq) for user in {*users} & self._inboxes.keys()]

    async def states(self, wanted: Sequence[tuple[UUID, int | None]], most: int) -> list[InboxState]:
        """As `InboxStates.states`."""
        return [_state(self._inbox(user), after, most) for user, after in wanted]


def _state(inbox: MemoryInbox, after: int | None, most: int) -> InboxState:
    if after is None:
        return InboxState(inbox.counters, inbox.last_seq, [])
    until = min(inbox.last_seq, after + most)
    missed = [each for each in inbox.notifications.values() if after < each.seq <= until]
    return InboxState(inbox.counters, until, missed)


def _notification(
    number: int, receiver: UUID, draft: NotificationDraft, created_at: datetime, seq: int
) -> Notification:
    return Notification(
        id=number,
        group_id=draft.group_id,
        group_name=draft.group_name,
        receiver=receiver,
        created_at=created_at,
        template_code=draft.template_code,
        raw_data=msgspec.Raw(draft.raw_data.encode()),
        is_read=False,
        title=draft.title,
        content=draft.content,
        seq=seq,
        details=draft.details,
    )


def _check_storable(entry: EventRecord) -> None:
    """Raises `StoreRejected` for the values that Postgres cannot take."""
    _check_text(entry.event_id)
    if len(entry.event_id.encode()) > MAX_EVENT_ID_BYTES:
        raise StoreRejected("event_id is too long for an index")
    for draft in entry.drafts:
        for text, most in (
            (draft.group_name, MAX_GROUP_NAME_CHARS),
            (draft.template_code, MAX_TEMPLATE_CODE_CHARS),
            (draft.title, MAX_TITLE_CHARS),
            (draft.content, None),
        ):
            _check_text(text, most)
        _check_json(draft.raw_data)
    for record in entry.deliveries:
        _check_delivery(record)


def _check_delivery(record: DeliveryRecord) -> None:
    draft = record.draft
    for text in (draft.channel, draft.template, draft.address, draft.locale, draft.replaces, record.reason):
        _check_text(text)
    _check_json(exact_json.encode(draft.data).decode())


def _check_text(text: str | None, most: int | None = None) -> None:
    if text is None:
        return
    if most is not None and len(text) > most:
        raise StoreRejected("a text is too long for its column")
    if "\0" in text:
        raise StoreRejected("a string contains the character NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreRejected("a string is not valid Unicode") from None


def _check_json(text: str) -> None:
    _check_text(text)
    try:
        exact_json.decode(text)
    except msgspec.MsgspecError:
        raise StoreRejected("a value is not valid JSON") from None
    if _NUL_ESCAPE.search(text):
        raise StoreRejected("a string contains the character NUL")
