"""Whether, how and when a person is notified: one evaluator for real runs and dry runs. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.domain.channels import CHANNELS, EMAIL, INAPP, SMS
from app.domain.digests import Window
from app.domain.quiet_hours import QuietHours

CATEGORIES = (
    "groups",
    "food",
    "plans",
    "meals",
    "bookings",
    "payments",
    "inventory",
    "messages",
    "security",
)
ALWAYS_ON = "security"
TRANSACTIONAL = frozenset((ALWAYS_ON, "bookings", "payments"))
"""Categories of messages that answer what a person did. They offer no way to unsubscribe."""


class Verdict(StrEnum):
    """What is decided for one receiver on one channel."""

    SEND = "send"
    WAIT = "wait"
    SUPPRESS = "suppress"


class Decision(NamedTuple):
    """What is to happen on one channel, why, and, when it waits, until when (UTC)."""

    verdict: Verdict
    reason: str
    until: datetime | None = None


class Person(NamedTuple):
    """The profile and choices of a person who has set any. `choices` is by `choice_id`."""

    locale: str | None = None
    email: str | None = None
    phone: str | None = None
    quiet_hours: QuietHours | None = None
    choices: Mapping[str, bool] = MappingProxyType({})
    zone: ZoneInfo | None = None
    digests: Mapping[str, Window | None] = MappingProxyType({})
    """The windows that the person has chosen, by `choice_id`; None: at once."""

    def address(self, channel: str) -> str | None:
        """The person's address for the channel, if one is set."""
        return {EMAIL: self.email, SMS: self.phone}.get(channel)


NOBODY_KNOWN = Person()


def choice_id(category: str, channel: str) -> str:
    """The id of a choice, such as payments.email."""
    return f"{category}.{channel}"


def off_by_default(category: str, channel: str) -> str:
    """Why a person who has made no choice gets no message of a category by a channel."""
    return f"{category} by {channel} is off by default"


CHOICES = tuple(choice_id(category, channel) for category in CATEGORIES for channel in CHANNELS)


class Evaluator:
    """Knows the operator's defaults: all is on but what is named in `off` (ids of choices)."""

    def __init__(self, off: Collection[str]) -> None:
        self._off = frozenset(off)

    def on_by_default(self, category: str, channel: str) -> bool:
        """The operator's default, for a person who has made no choice."""
        return category == ALWAYS_ON or choice_id(category, channel) not in self._off

    def decide(
        self, person: Person, category: str, channel: str, now: datetime, *, urgent: bool = False
    ) -> Decision:
        """Decide for one message.

        An urgent message doesn't wait for the end of quiet hours; nor does an in-app one, as it disturbs
        nobody.
        """
        if category == ALWAYS_ON:
            return Decision(Verdict.SEND, "security messages can't be turned off")
        choice = person.choices.get(choice_id(category, channel))
        if choice is None and not self.on_by_default(category, channel):
            return Decision(Verdict.SUPPRESS, off_by_default(category, channel))
        if choice is False:
            return Decision(Verdict.SUPPRESS, f"the person turned off {category} by {channel}")
        if channel != INAPP and not urgent and person.quiet_hours is not None:
            until = person.quiet_hours.until(now)
            if until is not None:
                return Decision(Verdict.WAIT, f"quiet hours until {until:%Y-%m-%d %H:%M} UTC", until)
        by = "by default" if choice is None else "by the person's choice"
        return Decision(Verdict.SEND, f"{category} by {channel} is on {by}")
