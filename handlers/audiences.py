"""The field `audience` of an event: the followers of a topic, or everyone, in place of receivers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import msgspec

from app.domain.audiences import AudienceFilter, BroadcastAudience
from app.domain.fields import unknown_field
from app.domain.topics import MAX_TOPIC_KEY_CHARS, TOPIC_KEY_PATTERN, is_topic_key
from app.texts.i18n import LOCALES

MAX_FILTER_VALUES = 100
AUDIENCE_SCHEMA: dict[str, Any] = {
    "description": "whom it is for, in place of receivers: the followers of a topic, or everyone",
    "type": "object",
    "properties": {
        "topic": {"description": "the key of a topic", "type": "string", "pattern": TOPIC_KEY_PATTERN},
        "everyone": {"description": "all people whom the hub knows", "type": "boolean", "enum": [True]},
        "filter": {
            "description": "only those whose profile says so",
            "type": "object",
            "properties": {
                "locale": {
                    "description": "the languages that they read, or the hub's default if they set none",
                    "type": "array",
                    "items": {"type": "string", "enum": [*LOCALES]},
                    "minItems": 1,
                    "maxItems": MAX_FILTER_VALUES,
                },
                "time_zone": {
                    "description": "IANA time zones that they set",
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "maxItems": MAX_FILTER_VALUES,
                },
            },
            "additionalProperties": False,
        },
    },
    "oneOf": [{"required": ["topic"]}, {"required": ["everyone"]}],
    "additionalProperties": False,
}
"""What `audience_of` takes, but for names of time zones; there, one text stands for a list as well."""


def audience_of(given: Mapping[str, Any]) -> BroadcastAudience:
    """The audience that an event names. Raises `ValueError`, which names the field."""
    try:
        return _audience({name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise ValueError(f"audience: {error}") from None


def _audience(given: Mapping[str, Any]) -> BroadcastAudience:
    _check_names(given, BroadcastAudience, "")
    if isinstance(selected := given.get("filter"), Mapping):
        selected = {name: value for name, value in selected.items() if value is not None}
        _check_names(selected, AudienceFilter, "filter.")
        listed = {name: [each] if isinstance(each, str) else each for name, each in selected.items()}
        given = {**given, "filter": listed}
    audience = msgspec.convert(given, BroadcastAudience)
    if (audience.topic is None) == (not audience.everyone):
        raise ValueError("it must have either a `topic`, or `everyone`, which is true")
    if audience.topic is not None and not is_topic_key(audience.topic):
        raise ValueError(
            f"`topic` must have 1 to {MAX_TOPIC_KEY_CHARS} characters of A-Z, a-z, 0-9 and . _ : -"
        )
    if audience.filter is None or audience.filter == AudienceFilter():
        return msgspec.structs.replace(audience, filter=None)
    _check_values("locale", audience.filter.locale, frozenset(LOCALES), f"one of {', '.join(LOCALES)}")
    _check_values("time_zone", audience.filter.time_zone, time_zones(), "IANA time zones")
    return audience


def _check_names(given: Mapping[str, Any], form: type[msgspec.Struct], place: str) -> None:
    known = [f"{place}{name}" for name in form.__struct_fields__]
    if why := unknown_field((f"{place}{name}" for name in given), known):
        raise ValueError(why)


def _check_values(name: str, given: tuple[str, ...], known: frozenset[str], accepted: str) -> None:
    if len(given) > MAX_FILTER_VALUES or not known.issuperset(given):
        raise ValueError(f"`filter.{name}` must be {accepted}, at most {MAX_FILTER_VALUES}")


@cache
def time_zones() -> frozenset[str]:
    """The IANA time zones without the names that depend on the machine."""
    return frozenset(available_timezones() - {"Factory", "localtime"})
