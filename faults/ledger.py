"""What should have come out of what went in, and what did. No I/O."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from operator import add
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=Hashable)

SENT = ("mails", "dead_letters", "digest_items", "steps")
"""What goes out at least once: twice when a node dies or hangs, or loses Postgres, in the middle of it."""

COLUMNS = {
    "rows": "rows",
    "frames": "frames",
    "mails": "mails",
    "dead_letters": "dead letters",
    "people": "people of broadcasts",
    "digest_items": "digest items",
    "steps": "escalation steps",
    "snoozes": "ends of snoozes",
}
"""The columns of the ledger that are counts, and how reports call them."""
RowKey = tuple[str, int]
"""One row or frame: the receiver, and the serial number of the event."""


@dataclass
class Due:
    """What the events that were produced ought to come to."""

    produced: int = 0
    rows: set[RowKey] = field(default_factory=set)
    mails: set[int] = field(default_factory=set)
    """The serial numbers of the events that also carry a mail."""
    dead_letters: set[int] = field(default_factory=set)
    """Of those that can't be handled."""
    people: set[RowKey] = field(default_factory=set)
    """Who is in the audience of a broadcast, and has no client."""
    digest_items: set[int] = field(default_factory=set)
    """The events that nobody read: each is in one digest."""
    steps: set[int] = field(default_factory=set)
    """The events that nobody read: each is escalated."""
    snoozes: set[RowKey] = field(default_factory=set)
    """What was snoozed, and neither archived nor unarchived meanwhile: it comes back."""


@dataclass
class Found:
    """What was found afterwards, by the serial numbers that the events carried, not by the hub's own ids."""

    rows: Sequence[tuple[str, int, int]] = ()
    """Receiver, `seq`, serial number."""
    frames: Sequence[tuple[str, Sequence[int]]] = ()
    """Of each client: its user, and the serial numbers in the order in which it received them."""
    mails: Sequence[tuple[int, str]] = ()
    """Serial number and Message-ID."""
    dead_letters: Sequence[int] = ()
    people: Sequence[RowKey] = ()
    """Whom broadcasts notified, beside the users with clients."""
    digest_items: Sequence[tuple[int, str]] = ()
    """Serial number of an event in a digest, and the Message-ID of that."""
    steps: Sequence[tuple[int, str]] = ()
    """As `mails`, of the mails of steps."""
    snoozes: Sequence[RowKey] = ()
    """What clients received again."""


class Count(msgspec.Struct, frozen=True):
    """One column of the ledger. `lost` and `doubled` count events, not copies."""

    due: int
    found: int
    lost: int
    doubled: int
    strange: int = 0
    """What belongs to nothing that was due."""


class Ledger(msgspec.Struct, frozen=True):
    """The balance of one experiment."""

    produced: int
    rows: Count
    frames: Count
    mails: Count
    dead_letters: Count
    seq_wrong: int
    """Inboxes whose rows don't count 1, 2, 3 …"""
    order_wrong: int
    """Clients that weren't notified in the order of `seq`."""
    mail_ids_wrong: int
    """Mails of one event with different Message-IDs. Such is an event that two digests hold."""
    people: Count = Count(0, 0, 0, 0)
    """Of broadcasts, without clients."""
    digest_items: Count = Count(0, 0, 0, 0)
    steps: Count = Count(0, 0, 0, 0)
    snoozes: Count = Count(0, 0, 0, 0)

    def problems(self, *, may_repeat: Collection[str] = ()) -> list[str]:
        """What went wrong, in words; empty when nothing did.

        `may_repeat`: the columns of what may have been sent twice (promise 4); the ledger has how many.
        """
        wrong = {
            "inboxes with gaps in seq": self.seq_wrong,
            "clients notified out of order": self.order_wrong,
            "mails with a second Message-ID": self.mail_ids_wrong,
        }
        for name, what in COLUMNS.items():
            count: Count = getattr(self, name)
            wrong |= {f"{what} lost": count.lost, f"{what} of no event": count.strange}
            if name not in may_repeat:
                wrong[f"{what} doubled"] = count.doubled
        return [f"{number:,} {problem}" for problem, number in wrong.items() if number]


def balance(due: Due, found: Found) -> Ledger:
    """Compare them. A client should have received each row of its user once, in the order of `seq`."""
    inboxes: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for receiver, seq, serial in found.rows:
        inboxes[receiver].append((seq, serial))
    order = {user: [serial for _, serial in sorted(rows)] for user, rows in inboxes.items()}
    due_of: defaultdict[str, set[int]] = defaultdict(set)
    for receiver, serial in due.rows:
        due_of[receiver].add(serial)
    frames = [_count(due_of[user], received) for user, received in found.frames]
    return Ledger(
        produced=due.produced,
        rows=_count(due.rows, [(receiver, serial) for receiver, _, serial in found.rows]),
        frames=_sum(frames),
        mails=_count(due.mails, [serial for serial, _ in found.mails]),
        dead_letters=_count(due.dead_letters, found.dead_letters),
        seq_wrong=sum(
            sorted(seq for seq, _ in rows) != list(range(1, len(rows) + 1)) for rows in inboxes.values()
        ),
        order_wrong=sum(not _in_order(received, order.get(user, [])) for user, received in found.frames),
        mail_ids_wrong=sum(map(_ids_wrong, (found.mails, found.digest_items, found.steps))),
        people=_count(due.people, found.people),
        digest_items=_count(due.digest_items, [serial for serial, _ in found.digest_items]),
        steps=_count(due.steps, [serial for serial, _ in found.steps]),
        snoozes=_count(due.snoozes, found.snoozes),
    )


def _count(due: AbstractSet[T], found: Sequence[T]) -> Count:
    copies = Counter(found)
    return Count(
        due=len(due),
        found=len(found),
        lost=len(due - copies.keys()),
        doubled=sum(number > 1 for number in copies.values()),
        strange=len(copies.keys() - due),
    )


def _sum(counts: Iterable[Count]) -> Count:
    total = Count(0, 0, 0, 0)
    for count in counts:
        total = Count(*map(add, msgspec.structs.astuple(total), msgspec.structs.astuple(count)))
    return total


def _in_order(received: Sequence[int], inbox: Sequence[int]) -> bool:
    """Whether what was received goes up in the inbox; what is missing or strange is counted elsewhere."""
    places = {serial: place for place, serial in enumerate(inbox)}
    seen = [places[serial] for serial in received if serial in places]
    return all(before <= after for before, after in pairwise(seen))


def _ids_wrong(mails: Iterable[tuple[int, str]]) -> int:
    ids: defaultdict[int, set[str]] = defaultdict(set)
    for serial, message_id in mails:
        ids[serial].add(message_id)
    return sum(len(found) - 1 for found in ids.values())
