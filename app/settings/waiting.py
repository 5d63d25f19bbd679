"""The section of what waits: digests, throttles, escalations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from app.domain.channels import EMAIL, SMS, WEBPUSH
from app.domain.digests import DIGEST_CHANNELS, DigestRule, read_rule, read_throttle
from app.domain.escalation import EscalationStep, read_step
from app.domain.preferences import ALWAYS_ON, CATEGORIES
from app.domain.waiting import WaitRules
from app.settings.section import CommaSeparated, Section

_T = TypeVar("_T")
_STEP_CHANNELS = (WEBPUSH, EMAIL, SMS)


class WaitSettings(Section):
    """Which messages are sent together, and which channels follow if nobody reads a notification."""

    title: ClassVar = "Digests, throttle and escalation"

    digests: CommaSeparated = Field(
        default=(),
        validation_alias="DIGESTS",
        description="Messages that are sent together, as category.channel=window, separated by commas. The "
        "channel is email or sms. Windows: hourly; daily at 18:00; weekly on monday at 09:00; every 15m "
        "(from the first message on); sliding 10m up to 1h (10 minutes after the last one). With `by group` "
        "or `by thread` each group or thread has its digest. Example: food.email=daily at "
        "18:00,groups.email=every 15m by group. People may choose another window. Urgent and critical "
        "messages are sent at once.",
    )
    throttles: CommaSeparated = Field(
        default=(),
        validation_alias="THROTTLES",
        description="How many messages a person gets at once within a time, as category.channel=3 in 1h, "
        "separated by commas. The rest is sent in one digest: by the window of DIGESTS, else when the time "
        "is over.",
    )
    escalations: CommaSeparated = Field(
        default=(),
        validation_alias="ESCALATIONS",
        description="Channels that follow if nobody reads a notification, as category.channel=step, "
        "separated by commas. The channel is webpush, email or sms. Example: food.webpush=after 5m if "
        "unseen,food.email=after 30m if unread,food.sms=after 2h if unread and critical.",
    )
    time_zone: str = Field(
        default="UTC",
        validation_alias="DIGEST_TIME_ZONE",
        description="IANA time zone of digests to people whose profile has none, such as Asia/Ho_Chi_Minh.",
    )
    base_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$",
        validation_alias="NOTIFICATION_LINKS_URL",
        description="URL of your pages, such as https://app.example.com. In mail and SMS about "
        "notifications, `url`s that are paths are relative to it. If unset, those are left out.",
    )

    @field_validator("digests")
    @classmethod
    def _check_digests(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for _, rule in _read(entries, DIGEST_CHANNELS, lambda _, text: read_rule(text)):
            if rule.window is None:
                raise ValueError("a digest needs a window; leave out what is sent at once")
        return entries

    @field_validator("throttles")
    @classmethod
    def _check_throttles(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        list(_read(entries, DIGEST_CHANNELS, lambda _, text: read_throttle(text)))
        return entries

    @field_validator("escalations")
    @classmethod
    def _check_escalations(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        list(_read(entries, _STEP_CHANNELS, read_step))
        return entries

    @field_validator("time_zone")
    @classmethod
    def _check_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no IANA time zone, such as Asia/Ho_Chi_Minh") from None
        return name

    @property
    def rules(self) -> WaitRules:
        """All of it, as the planner takes it."""
        rules = dict(_read(self.digests, DIGEST_CHANNELS, lambda _, text: read_rule(text)))
        for choice, throttle in _read(self.throttles, DIGEST_CHANNELS, lambda _, text: read_throttle(text)):
            rules[choice] = rules.get(choice, DigestRule())._replace(throttle=throttle)
        return WaitRules(rules, self._chains(), ZoneInfo(self.time_zone), self.base_url)

    def _chains(self) -> Mapping[str, Sequence[EscalationStep]]:
        chains: dict[str, list[EscalationStep]] = {}
        for choice, step in _read(self.escalations, _STEP_CHANNELS, read_step):
            chains.setdefault(choice.partition(".")[0], []).append(step)
        return {category: sorted(steps, key=lambda step: step.after) for category, steps in chains.items()}


def _read(
    entries: Sequence[str], channels: Sequence[str], read: Callable[[str, str], _T]
) -> Iterator[tuple[str, _T]]:
    """What each entry says, by its choice. Raises `ValueError` that names the entry."""
    seen: set[str] = set()
    for entry in entries:
        choice, equals, text = (part.strip() for part in entry.partition("="))
        category, _, channel = choice.lower().partition(".")
        if not equals or category not in CATEGORIES or category == ALWAYS_ON or channel not in channels:
            allowed = ", ".join(each for each in CATEGORIES if each != ALWAYS_ON)
            raise ValueError(
                f"{entry!r} is not category.channel=…, with one of {allowed}, and one of "
                f"{', '.join(channels)}"
            )
        if choice.lower() in seen:
            raise ValueError(f"{choice} is set twice")
        seen.add(choice.lower())
        yield choice.lower(), read(channel, text)
