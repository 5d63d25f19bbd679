"""A person in the tables: found, counted and removed.

Their own rows are found by indexes, and removed a thousand at a time. Tables whose texts may name a person
are read in pieces, so that no statement is long, no lock is held meanwhile, and an operator sees how far it
has come. Where rows don't change, that is done once: later rounds read the pieces with matches, and by the
index on their age the rows that came meanwhile.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.erasure import Found, Subject
from app.store.engine import store_errors

PIECE_BLOCKS_COUNT = 4096
"""Blocks of a table (32 MB) that one statement reads."""
MAX_ROWS_PER_CHUNK = 1000
"""Of an inbox, in one transaction."""
PAUSE_SHARE = 2.0
"""Of the time that a transaction takes: how long others then have Postgres to themselves."""


def named_in(words: str) -> str:
    """The condition that a text names them. A regular expression costs 30 times what `like` does."""
    return f'case when lower({words} collate "C") like any(:likely) then {words} ~* :named else false end'


def likely(subject: Subject) -> list[str]:
    """What `named_in` looks for first."""
    return [f"%{_LIKE_SPECIAL.sub(_ESCAPE, part)}%" for part in subject.fragments]


_LIKE_SPECIAL, _ESCAPE = re.compile(r"([\\%_])"), r"\\\1"
# Each part has an index.
_THEIR_DELIVERY = """(
  user_id = :user or foreign_user_id = :foreign or (
    user_id is null
    and lower(address) = any(array(select lower(each) from unnest(cast(:addresses as text[])) as each))
  )
)"""
_OF_THEIR_DELIVERIES = f"delivery_id in (select id from deliveries where {_THEIR_DELIVERY})"  # noqa: S608
_PARKED_TEXT = (
    "concat_ws(' ', event_id, position, sender, convert_from(body, 'UTF8'), encode(labels, 'escape'),"
    " encode(order_key, 'escape'))"
)
_SCHEDULED_TEXT = "concat_ws(' ', event_id, convert_from(body, 'UTF8'))"
_BROADCAST_TEXT = (
    "concat_ws(' ', event_id, sender, audience::text, thread_key, convert_from(body, 'UTF8'),"
    " jsonb_path_query_array(amendments, '$[*].update')::text)"
)
_KEYS_TEXT = "concat_ws(' ', service, key, convert_from(answer, 'UTF8'))"
_NOTIFICATION_TEXT = "concat_ws(' ', group_name, title, content, raw_data::text, details::text, thread_key)"
_PROFILE_TEXT = "concat_ws(' ', email, phone)"
_DELIVERY_TEXT = "concat_ws(' ', event_id, address, data::text, attachments::text)"


class _Rows(NamedTuple):
    table: str
    where: str
    """Of the user id `:user`, their `:foreign` id, and what finds them in a text; {piece} is a part of the
    table that is read.
    """

    def statement(self, verb: str, piece: str = "true") -> TextClause:
        return text(f"{verb} from {self.table} where {self.where.format(piece=piece)}")

    def values(self, subject: Subject) -> dict[str, object]:
        values = {
            "user": subject.user_id,
            "foreign": subject.foreign_id,
            "named": subject.pattern,
            "likely": likely(subject),
            "addresses": subject.addresses,
        }
        return {name: value for name, value in values.items() if f":{name}" in self.where}


class _Together(NamedTuple):
    """Rows that are removed in one transaction, or in one for each piece of the table that is read."""

    rows: Sequence[_Rows]
    read: str | None = None
    age: str | None = None
    """When a row was written, if the rows of that table don't change. It has an index."""


_INBOX, _OWN = _Rows("inboxes", "user_id = :user"), _Rows("notifications", "receiver = :user")
# As the two indexes have it.
_ARCHIVE = _Rows(
    "archived_notifications",
    "(receiver = :user and snoozed_until is null or receiver = :user and snoozed_until is not null)",
)
_SWEEPS = _Rows("archive_sweeps", "receiver = :user")
_DELIVERIES = _Together(
    (
        _Rows("delivery_attempts", _OF_THEIR_DELIVERIES),
        _Rows("delivery_events", _OF_THEIR_DELIVERIES),
        _Rows("deliveries", _THEIR_DELIVERY),
    )
)
_THEIRS = (
    _Together((_Rows("scheduled_events", f"{{piece}} and {named_in(_SCHEDULED_TEXT)}"),), "scheduled_events"),
    _Together((_Rows("parked_events", f"{{piece}} and {named_in(_PARKED_TEXT)}"),), "parked_events"),
    _Together((_Rows("broadcasts", f"{{piece}} and {named_in(_BROADCAST_TEXT)}"),), "broadcasts"),
    _Together((_Rows("idempotency_keys", f"{{piece}} and {named_in(_KEYS_TEXT)}"),), "idempotency_keys"),
    _Together(
        (_Rows("processed_events", f"{{piece}} and {named_in('event_id')}"),),
        "processed_events",
        "processed_at",
    ),
    _DELIVERIES,
    _Together(
        (_Rows("webhook_messages", f"{{piece}} and (user_id = :user or {named_in('data::text')})"),),
        "webhook_messages",
    ),
    _Together(
        (_Rows("decisions", f"{{piece}} and (user_id = :user or {named_in('event_id')})"),),
        "decisions",
        "created_at",
    ),
    # The inbox first: its lock keeps out whoever writes into it, who then makes a new one.
    _Together((_INBOX, _OWN, _ARCHIVE, _SWEEPS)),
    _Together((_Rows("topic_followers", "user_id = :user"),)),
    # Last, as they hold their addresses: after a crash the next run has to find them.
    _Together(
        (
            _Rows("devices", "user_id = :user"),
            _Rows("addresses", "user_id = :user"),
            _Rows("preferences", "user_id = :user"),
        )
    ),
)
_OF_OTHERS = (
    *(
        _Together(
            (_Rows(table, f"{{piece}} and receiver <> :user and {named_in(_NOTIFICATION_TEXT)}"),), table
        )
        for table in ("notifications", "archived_notifications")
    ),
    _Together(
        (
            _Rows(
                "deliveries",
                f"{{piece}} and not coalesce({_THEIR_DELIVERY}, false) and {named_in(_DELIVERY_TEXT)}",
            ),
        ),
        "deliveries",
    ),
    _Together(
        (
            _Rows(
                "preferences",
                f"{{piece}} and user_id <> :user and {named_in(_PROFILE_TEXT)}",
            ),
        ),
        "preferences",
    ),
    _Together(
        (_Rows("addresses", f"{{piece}} and user_id <> :user and {named_in('address')}"),), "addresses"
    ),
)
_ADDRESSES = """
select unnest(array[email, phone]) from preferences where user_id = :user
union select id::text from devices where user_id = :user
union select address from deliveries
  where (user_id = :user or foreign_user_id = :foreign) and template <> 'otp_confirm_address'
"""
# An address that they asked to confirm may be another person's.
_BLOCKS = "select pg_relation_size(cast(:name as regclass)) / current_setting('block_size')::int"
# As when they delete all themselves: nobody finds or counts the rows any more, so removing them takes no lock
# of the inbox.
_HIDE = text("""
update inboxes set removed_up_to = last_seq, read_up_to = last_seq, settled = last_seq, unread_again = null,
  rev = rev + 1
where user_id = :user returning last_seq
""")
_CHUNK = text("""
delete from notifications where ctid = any(array(
  select ctid from notifications where receiver = :user and seq <= :until order by seq limit :most
  for update skip locked
)) returning seq
""")

_ARCHIVE_CHUNK = text(f"""
delete from archived_notifications where id = any(array(
  select id from archived_notifications where {_ARCHIVE.where} limit :most
))
""")  # noqa: S608
_DELIVERY_CHUNK = text(f"select id from deliveries where {_THEIR_DELIVERY} limit :most")  # noqa: S608
_OF_CHUNK = [
    text(f"delete from {table} where {column} = any(:ids)")  # noqa: S608
    for table, column in (
        ("delivery_attempts", "delivery_id"),
        ("delivery_events", "delivery_id"),
        ("deliveries", "id"),
    )
]
_BEFORE = text("select cast(now() - interval '15 minutes' as text)")
"""When each transaction that may still write had not begun: they last seconds."""

Progress = Callable[[str, float], None]
"""Called with the name of a table and the share of it, or of the inbox, that was read or removed, 0 to 1."""


class _Read(NamedTuple):
    """What was found when a table was read whole."""

    pieces: Sequence[str]
    """Those that name the subject."""
    since: str
    """What may have come after it was read."""


class ErasingStore:
    """The tables as a place (see `app.domain.erasure.Place`). The first look reads several of them whole."""

    def __init__(self, engine: AsyncEngine, progress: Progress = lambda *_: None) -> None:
        self._engine = engine
        self._progress = progress
        self._of_others: dict[str, list[Found]] = {}
        """What others' rows hold, by the pattern: it stays, so it is looked for once."""
        self._read: dict[tuple[str, str], _Read] = {}
        """By the table and the pattern."""

    async def addresses(self, subject: Subject) -> list[str]:
        """Those of their profile, and those that events gave for them."""
        with store_errors():
            async with self._engine.connect() as connection:
                found = await connection.execute(
                    text(_ADDRESSES), {"user": subject.user_id, "foreign": subject.foreign_id}
                )
                return [address for address in found.scalars() if address is not None]

    async def look(self, subject: Subject) -> Sequence[Found]:
        """Count their rows, as they were at one moment."""
        with store_errors():
            async with self._engine.connect() as connection:
                # One snapshot, or a row that is updated could move from a piece to one that was read before.
                await connection.execution_options(isolation_level="REPEATABLE READ")
                found = [each for group in _THEIRS for each in await self._count(connection, group, subject)]
                if subject.pattern not in self._of_others:
                    self._of_others[subject.pattern] = [
                        Found(f"{each.where} of others", each.number, "it is those people's data")
                        for group in _OF_OTHERS
                        for each in await self._count(connection, group, subject)
                    ]
                return found + self._of_others[subject.pattern]

    async def erase(self, subject: Subject) -> Sequence[Found]:
        """Remove their rows, table by table; return how many there were."""
        found = []
        for group in _THEIRS:
            if group is _DELIVERIES:
                found += await self._erase_deliveries(subject)
                continue
            removed = [0] * len(group.rows)
            if _OWN in group.rows:
                removed[group.rows.index(_OWN)] = await self._shrink(subject)
                removed[group.rows.index(_ARCHIVE)] = await self._shrink_archive(subject)
            for piece in await self._pieces(group, subject):
                with store_errors():
                    async with self._engine.begin() as connection:
                        for index, rows in enumerate(group.rows):
                            deleted = rows.statement("delete", piece), rows.values(subject)
                            removed[index] += (await connection.execute(*deleted)).rowcount
            found += [Found(rows.table, number) for rows, number in zip(group.rows, removed, strict=True)]
        return found

    async def close(self) -> None:
        """As `Place.close`."""
        await self._engine.dispose()

    async def _shrink(self, subject: Subject) -> int:
        """Remove an inbox but for its newest rows, a little at a time. Batches don't wait for its lock."""
        with store_errors():
            async with self._engine.begin() as connection:
                until = await connection.scalar(_HIDE, {"user": subject.user_id})
        removed, chunk = 0, MAX_ROWS_PER_CHUNK
        while until is not None and chunk == MAX_ROWS_PER_CHUNK:
            values = {"user": subject.user_id, "until": until, "most": MAX_ROWS_PER_CHUNK}
            async with self._chunk() as connection:
                seqs = (await connection.execute(_CHUNK, values)).scalars().all()
            chunk = len(seqs)
            removed += chunk
            self._progress("notifications", max(seqs, default=until) / max(until, 1))
        return removed

    async def _shrink_archive(self, subject: Subject) -> int:
        removed, chunk = 0, MAX_ROWS_PER_CHUNK
        while chunk == MAX_ROWS_PER_CHUNK:
            values = {"user": subject.user_id, "most": MAX_ROWS_PER_CHUNK}
            async with self._chunk() as connection:
                chunk = (await connection.execute(_ARCHIVE_CHUNK, values)).rowcount
            removed += chunk
        return removed

    async def _erase_deliveries(self, subject: Subject) -> list[Found]:
        counted = _DELIVERIES.rows[-1]
        values = counted.values(subject)
        with store_errors():
            async with self._engine.connect() as connection:
                total = await connection.scalar(counted.statement("select count(*)"), values) or 0
        removed, chunk = [0] * len(_OF_CHUNK), MAX_ROWS_PER_CHUNK
        while chunk == MAX_ROWS_PER_CHUNK:
            async with self._chunk() as connection:
                asked = await connection.execute(_DELIVERY_CHUNK, {**values, "most": MAX_ROWS_PER_CHUNK})
                ids = asked.scalars().all()
                for index, statement in enumerate(_OF_CHUNK):
                    removed[index] += (await connection.execute(statement, {"ids": ids})).rowcount
            chunk = len(ids)
            self._progress(counted.table, min(1.0, removed[-1] / max(total, 1)))
        return [Found(rows.table, number) for rows, number in zip(_DELIVERIES.rows, removed, strict=True)]

    @asynccontextmanager
    async def _chunk(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, and a pause after it."""
        begin = monotonic()
        with store_errors():
            async with self._engine.begin() as connection:
                yield connection
        await asyncio.sleep((monotonic() - begin) * PAUSE_SHARE)

    async def _count(self, connection: AsyncConnection, group: _Together, subject: Subject) -> list[Found]:
        counts = [0] * len(group.rows)
        since, matched = await connection.scalar(_BEFORE), []
        for piece in await self._pieces(group, subject, connection):
            for index, rows in enumerate(group.rows):
                counted = rows.statement("select count(*)", piece), rows.values(subject)
                number = await connection.scalar(*counted) or 0
                counts[index] += number
                if number:
                    matched.append(piece)
        if group.read is not None and group.age is not None:
            self._read.setdefault((group.read, subject.pattern), _Read(matched, f"{group.age} >= '{since}'"))
        return [Found(rows.table, number) for rows, number in zip(group.rows, counts, strict=True)]

    async def _pieces(
        self, group: _Together, subject: Subject, connection: AsyncConnection | None = None
    ) -> Iterator[str]:
        """Conditions that part the table that is read; no row meets two of them."""
        if group.read is None:
            return iter(("true",))
        if (known := self._read.get((group.read, subject.pattern))) is not None:
            older = [f"{piece} and not {known.since}" for piece in known.pieces]
            return iter((*older, known.since))
        if connection is None:
            with store_errors():
                async with self._engine.connect() as own:
                    return self._parts(group.read, await own.scalar(text(_BLOCKS), {"name": group.read}))
        return self._parts(group.read, await connection.scalar(text(_BLOCKS), {"name": group.read}))

    def _parts(self, table: str, blocks: int) -> Iterator[str]:
        for first in range(0, blocks, PIECE_BLOCKS_COUNT):
            self._progress(table, first / blocks)
            last = first + PIECE_BLOCKS_COUNT
            # The last one is open: a table grows meanwhile.
            until = f" and {table}.ctid < '({last},0)'" if last < blocks else ""
            yield f"{table}.ctid >= '({first},0)'{until}"
        if blocks == 0:
            yield "true"
