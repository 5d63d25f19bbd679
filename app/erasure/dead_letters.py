"""Dead letters that name a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType

from app.domain.erasure import Found, Subject
from app.settings.sources import SourceSections
from app.sources import BROKERS, Broker
from app.sources.dead_letters import SUFFIX
from app.sources.dlq import DeadLetter, DlqReader


class DeadLetterPlace:
    """The dead letters of one broker. See `app.domain.erasure.Place`."""

    def __init__(self, broker: Broker, settings: SourceSections) -> None:
        self._broker = broker
        self._settings = settings

    async def look(self, subject: Subject) -> Sequence[Found]:
        """As `Place.look`."""
        named: Counter[str] = Counter()
        async with self._broker.open_dlq(self._settings) as reader:
            async with aclosing(reader.dead_letters(done=True)) as dead_letters:
                async for dead_letter in dead_letters:
                    named[dead_letter.target] += _names(subject, dead_letter)
            return self._found(reader, named, await reader.keeps() if named.total() else {})

    async def erase(self, subject: Subject) -> Sequence[Found]:
        """As `Place.erase`."""
        async with self._broker.open_dlq(self._settings) as reader:
            kept = await reader.keeps()
            removed = await reader.remove(
                lambda dead_letter: dead_letter.target not in kept and _names(subject, dead_letter)
            )
            return self._found(reader, removed)

    async def close(self) -> None:
        """Do nothing: connections are open only during a call."""

    def _found(
        self, reader: DlqReader, number: Counter[str], stays: Mapping[str, str] = MappingProxyType({})
    ) -> list[Found]:
        return [
            Found(f"{self._broker.place} {each}{SUFFIX}", number[each], stays.get(each, ""))
            for each in reader.targets
        ]


def dead_letters(settings: SourceSections) -> list[DeadLetterPlace]:
    """The places of all brokers that are configured."""
    return [DeadLetterPlace(broker, settings) for broker in BROKERS if broker.configured(settings)]


def _names(subject: Subject, dead_letter: DeadLetter) -> bool:
    return subject.named_in(*dead_letter.texts)
