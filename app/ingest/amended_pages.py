"""What its publisher has changed of a broadcast, for the people whose pages come next. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from uuid import UUID

from msgspec.structs import replace

from app.domain.amendments import Amendment, Update, updated_draft
from app.domain.effects import Effects
from app.ingest.batch import PreparedEvent


class AmendedEvent:
    """The event of a broadcast, with the changes that concern each person."""

    def __init__(self, item: PreparedEvent, amendments: Sequence[Amendment]) -> None:
        """`item` is as prepared, for one person."""
        self._updates = [
            (each.update, frozenset(each.receivers)) for each in amendments if each.update is not None
        ]
        self.retracted = frozenset(
            user for each in amendments if each.update is None for user in each.receivers
        )
        """Who is not to be notified any more."""
        self.for_most = tuple(number for number, (_, receivers) in enumerate(self._updates) if not receivers)
        """The numbers of the updates that concern everyone."""
        self._of_some = len(self.for_most) < len(self._updates)
        self.item = cache(lambda numbers: _updated(item, [self._updates[each][0] for each in numbers]))

    def of(self, user: UUID) -> tuple[int, ...]:
        """The numbers of the updates that concern this person, in their order."""
        if not self._of_some:
            return self.for_most
        return tuple(
            number
            for number, (_, receivers) in enumerate(self._updates)
            if not receivers or user in receivers
        )


def _updated(item: PreparedEvent, updates: Sequence[Update]) -> PreparedEvent:
    if not updates:
        return item
    request = item.request

    def updated(effects: Effects, locale: str) -> Effects:
        draft = effects.notification
        if draft is not None:
            for update in updates:
                draft = updated_draft(update, draft, locale, request.category)
        return replace(effects, notification=draft)

    in_locale = cache(lambda locale: updated(request.in_locale(locale), locale))
    return replace(item, request=replace(request, effects=updated(request.effects, ""), in_locale=in_locale))
