"""Preferences in Postgres: one row holds all that a person has said."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import time
from time import monotonic
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from sqlalchemy import ARRAY, Text, Update, cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.channels import EMAIL, SMS
from app.domain.digests import windows
from app.domain.planning import Assumed
from app.domain.preferences import Person
from app.domain.quiet_hours import QuietHours
from app.store.addresses import LOCK
from app.store.direct import direct
from app.store.engine import store_errors
from app.store.models import AddressRow as A
from app.store.models import PreferenceRow as P

# One index probe a user; most have said nothing, and cost no row.
_PEOPLE = """
select p.user_id, p.locale, p.time_zone, p.quiet_from, p.quiet_until, p.email, p.phone, p.choices::text,
  p.digests::text, p.xmin::text
from unnest($1::uuid[]) as wanted (user_id)
cross join lateral (select xmin, * from preferences where user_id = wanted.user_id limit 1) as p
"""


_CHANNELS = {"email": EMAIL, "phone": SMS}
"""Of the addresses in a profile, by its field."""
MAX_PEOPLE_REMEMBERED = 20_000
"""About 1 KB each."""
REMEMBER_SECONDS = 600.0
"""The version of a row is the number of the transaction that wrote it. Another one can only have it after 4
billion transactions, or on a server that has lost some.
"""
NO_DIGESTS: Mapping[str, str] = MappingProxyType({})
NOTHING_DROPPED: Mapping[str, Sequence[str]] = MappingProxyType({})


class Profile(msgspec.Struct, frozen=True):
    """What a person says of themselves. Quiet hours need a time zone (an IANA name)."""

    locale: str | None = None
    time_zone: str | None = None
    quiet_from: time | None = None
    quiet_until: time | None = None
    email: str | None = None
    phone: str | None = None

    def person(self, choices: Mapping[str, bool], digests: Mapping[str, str] = NO_DIGESTS) -> Person:
        """As the evaluator wants it. A zone that this machine doesn't know (any more) has no quiet hours."""
        quiet = zone = None
        if self.time_zone:
            with suppress(ZoneInfoNotFoundError):
                zone = ZoneInfo(self.time_zone)
        if zone is not None and self.quiet_from is not None and self.quiet_until is not None:
            quiet = QuietHours(self.quiet_from, self.quiet_until, zone)
        chosen = windows(digests) if digests else {}
        return Person(self.locale, self.email, self.phone, quiet, choices, zone, chosen)


class PreferenceStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connections = direct(engine)
        self._read: dict[UUID, tuple[Person, str]] = {}
        """People as they were read last, each with the version of the row."""
        self._read_since = monotonic()

    async def people(self, users: Collection[UUID]) -> dict[UUID, Person]:
        """Those of the users who have said anything."""
        if not users:
            return {}
        with store_errors():
            rows = await self._connections.fetch(_PEOPLE, list(users))
        found = {row[0]: (_person(row), row[9]) for row in rows}
        if self._read:
            for user in users:
                self._read.pop(user, None)
        self._read.update(found)
        return {user: person for user, (person, _) in found.items()}

    def assumed(self, users: Collection[UUID]) -> Assumed:
        """As `People.assumed`. Who wasn't read is assumed to have set nothing, as is true of most."""
        if len(self._read) > MAX_PEOPLE_REMEMBERED or monotonic() - self._read_since > REMEMBER_SECONDS:
            self._read, self._read_since = {}, monotonic()
        found = {user: self._read[user] for user in users if user in self._read} if self._read else {}
        return Assumed(
            users,
            {user: person for user, (person, _) in found.items()},
            {user: version for user, (_, version) in found.items()},
        )

    async def digests(self, user_id: UUID) -> dict[str, str]:
        """The digests that the user has chosen, by the id of the choice."""
        with store_errors():
            async with self._engine.connect() as connection:
                return await connection.scalar(select(P.digests).where(P.user_id == user_id)) or {}

    async def set_digest(self, user_id: UUID, choice: str, digest: str | None) -> None:
        """Choose a digest, or with None let the operator's rule hold again."""
        kept = func.coalesce(P.digests, cast({}, JSONB)).op("-")(choice)
        new = insert(P).values(user_id=user_id, digests={} if digest is None else {choice: digest})
        changed = kept.op("||")(new.excluded.digests)
        statement = new.on_conflict_do_update(
            index_elements=[P.user_id], set_={"digests": changed, "updated_at": func.now()}
        )
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.execute(statement)

    async def get(self, user_id: UUID) -> tuple[Profile, dict[str, bool]]:
        """All that the user has said; empty when nothing."""
        query = select(*_PROFILE, P.choices).where(P.user_id == user_id)
        with store_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(query)).one_or_none()
                return (Profile(), {}) if row is None else (Profile(*row[:-1]), row[-1])

    async def set_profile(self, user_id: UUID, profile: Profile) -> None:
        """As `PreferencesPort.set_profile`."""
        await self._upsert(user_id, msgspec.structs.asdict(profile))

    async def add_choice(self, user_id: UUID, choice: str, on: bool) -> bool:
        """Make a choice where none was made; whether that was so."""
        missing = ~P.choices.has_key(choice)
        return await self._upsert(user_id, {"choices": {choice: on}}, missing)

    async def set_choice(self, user_id: UUID, choice: str, on: bool) -> None:
        """As `PreferencesPort.set_choice`."""
        await self._upsert(user_id, {"choices": {choice: on}})

    async def drop_choice(self, user_id: UUID, choice: str) -> bool:
        """Let the operator's default hold again; whether a choice had been made."""
        statement = (
            update(P)
            .where(P.user_id == user_id, P.choices.has_key(choice))
            .values(choices=P.choices.op("-")(choice), updated_at=func.now())
        )
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.execute(statement)).rowcount > 0

    async def change(
        self,
        user_id: UUID,
        profile: Mapping[str, Any],
        choices: Mapping[str, bool | None],
        digests: Mapping[str, str | None] = NO_DIGESTS,
    ) -> None:
        """As `PreferencesPort.change`, in one statement."""
        values = dict(profile)
        dropped: dict[str, list[str]] = {}
        given: dict[str, Mapping[str, Any]] = {"choices": choices, "digests": digests}
        for column, changes in given.items():
            if changes:
                values[column] = {choice: value for choice, value in changes.items() if value is not None}
                dropped[column] = [choice for choice, value in changes.items() if value is None]
        if values:
            await self._upsert(user_id, values, dropped=dropped)

    async def _upsert(
        self,
        user_id: UUID,
        values: dict[str, Any],
        only_if: Any = None,
        dropped: Mapping[str, Sequence[str]] = NOTHING_DROPPED,
    ) -> bool:
        """Set these columns, adding to `choices` and `digests` and removing those `dropped` from them.

        Returns whether `only_if` held for the row that was there.
        """
        new = insert(P).values(user_id=user_id, **values)
        changed = dict(values) | {"updated_at": func.now()}
        for column in (P.choices, P.digests):
            if (name := column.key) in values:
                added = func.coalesce(column, cast({}, JSONB)).op("||")(new.excluded[name])
                gone = dropped.get(name)
                changed[name] = added.op("-")(cast(list(gone), ARRAY(Text))) if gone else added
        statement = new.on_conflict_do_update(index_elements=[P.user_id], set_=changed, where=only_if)
        with store_errors():
            async with self._engine.begin() as connection:
                if fields := _CHANNELS.keys() & values.keys():
                    await connection.exec_driver_sql(LOCK, (str(user_id),))
                    for field in fields:
                        await connection.execute(_confirmation_ended(user_id, field, values[field]))
                return (await connection.execute(statement)).rowcount > 0


def _confirmation_ended(user_id: UUID, field: str, address: str | None) -> Update:
    """Of an address that is not that of the profile any more."""
    ended = (A.user_id == user_id, A.channel == _CHANNELS[field], A.confirmed_at.is_not(None))
    return update(A).where(*ended, A.address.is_distinct_from(address)).values(confirmed_at=None)


def _person(row: Any) -> Person:
    *profile, choices, digests = row[1:9]
    decode = msgspec.json.decode
    return Profile(*profile).person(decode(choices), decode(digests) if digests else NO_DIGESTS)


_PROFILE = [getattr(P, name) for name in Profile.__struct_fields__]
