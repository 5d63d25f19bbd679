"""Profiles and choices in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import msgspec

from app.domain.errors import Unavailable
from app.domain.preferences import Person
from app.store.preferences import NO_DIGESTS, Profile


class MemoryPeople:
    """`PreferencesPort` without Postgres. Set `unavailable` to make every call fail."""

    def __init__(self) -> None:
        self.unavailable = False
        self._rows: dict[UUID, tuple[Profile, dict[str, bool]]] = {}
        self._digests: dict[UUID, dict[str, str]] = {}

    @property
    def known(self) -> Collection[UUID]:
        """Everyone who has set anything."""
        return self._rows.keys()

    def locale(self, user: UUID) -> str:
        """The language that the user has chosen; empty if none."""
        return self._rows[user][0].locale or "" if user in self._rows else ""

    async def people(self, users: Collection[UUID]) -> dict[UUID, Person]:
        """As `People.people`."""
        self._check()
        found = {user: self._rows[user] for user in users if user in self._rows}
        return {
            user: profile.person(dict(choices), self._digests.get(user, {}))
            for user, (profile, choices) in found.items()
        }

    def assumed(self, users: Collection[UUID]) -> None:
        """As `People.assumed`: nothing is."""

    async def digests(self, user_id: UUID) -> dict[str, str]:
        """See `PreferencesPort`."""
        self._check()
        return dict(self._digests.get(user_id, {}))

    async def set_digest(self, user_id: UUID, choice: str, digest: str | None) -> None:
        """See `PreferencesPort`."""
        self._rows.setdefault(user_id, (Profile(), {}))
        kept = {name: each for name, each in (await self.digests(user_id)).items() if name != choice}
        self._digests[user_id] = kept if digest is None else kept | {choice: digest}

    async def get(self, user_id: UUID) -> tuple[Profile, dict[str, bool]]:
        """As `PreferencesPort.get`."""
        self._check()
        profile, choices = self._rows.get(user_id, (Profile(), {}))
        return profile, dict(choices)

    async def set_profile(self, user_id: UUID, profile: Profile) -> None:
        """As `PreferencesPort.set_profile`."""
        _, choices = await self.get(user_id)
        self._rows[user_id] = (profile, choices)

    async def add_choice(self, user_id: UUID, choice: str, on: bool) -> bool:
        """As `PreferencesPort.add_choice`."""
        _, choices = await self.get(user_id)
        if choice in choices:
            return False
        await self.set_choice(user_id, choice, on)
        return True

    async def set_choice(self, user_id: UUID, choice: str, on: bool) -> None:
        """As `PreferencesPort.set_choice`."""
        profile, choices = await self.get(user_id)
        self._rows[user_id] = (profile, choices | {choice: on})

    async def drop_choice(self, user_id: UUID, choice: str) -> bool:
        """As `PreferencesPort.drop_choice`."""
        profile, choices = await self.get(user_id)
        if choices.pop(choice, None) is None:
            return False
        self._rows[user_id] = (profile, choices)
        return True

    async def change(
        self,
        user_id: UUID,
        profile: Mapping[str, Any],
        choices: Mapping[str, bool | None],
        digests: Mapping[str, str | None] = NO_DIGESTS,
    ) -> None:
        """Set these fields of the profile, these choices and these digests; None unsets."""
        known, chosen = await self.get(user_id)
        if not profile and not choices and not digests:
            return
        chosen |= {choice: on for choice, on in choices.items() if on is not None}
        left = {choice: on for choice, on in chosen.items() if choices.get(choice, on) is not None}
        self._rows[user_id] = (msgspec.structs.replace(known, **profile), left)
        for choice, digest in digests.items():
            await self.set_digest(user_id, choice, digest)

    def _check(self) -> None:
        if self.unavailable:
            raise Unavailable("postgres", "made unavailable by the test")
