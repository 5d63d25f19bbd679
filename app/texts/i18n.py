"""Locales: the list of them, negotiation, and translation.

Texts are written in English in the code, marked with `N_` or `NN_`, and translated in
locales/<locale>/LC_MESSAGES/hub.po. The catalogues are compiled in memory, so that none can be stale.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from gettext import GNUTranslations
from pathlib import Path
from typing import NamedTuple

from babel.core import Locale, negotiate_locale
from babel.dates import format_date, format_time, get_day_names
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from app.texts.hygiene import isolated

LOCALES = ("vi", "en", "ru")
LOCALES_DIR = Path(__file__).parents[2] / "locales"
DOMAIN = "hub"
_PLACEHOLDER = re.compile(r"%\((\w+)\)")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}.*")
_UNIX_SECONDS = re.compile(r"([0-9]{10})([0-9]{3})?")


class Translatable(NamedTuple):
    """A text to translate, with `%(name)s` placeholders. With `plural`, a count chooses the form."""

    singular: str
    plural: str | None = None


def N_(text: str) -> Translatable:  # noqa: N802 - gettext's customary name
    """Mark a text for translation."""
    return Translatable(text)


def NN_(singular: str, plural: str) -> Translatable:  # noqa: N802
    """Mark a text with a plural form for translation."""
    return Translatable(singular, plural)


@cache
def _catalogue(locale: str) -> GNUTranslations:
    with (LOCALES_DIR / locale / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as po:
        catalogue = read_po(po, locale=locale, domain=DOMAIN)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


@lru_cache(maxsize=1024)
def _template(locale: str, message: Translatable, count: int | None) -> str:
    if message.plural is None or count is None:
        return _catalogue(locale).gettext(message.singular)
    return _catalogue(locale).ngettext(message.singular, message.plural, count)


def render(locale: str, message: Translatable, params: Mapping[str, object], count: int | None = None) -> str:
    """`message` in `locale`, its placeholders filled from `params`; `count` chooses the plural form.

    Values are inserted as they are and never interpreted as a template. Only one that runs from right to left
    is isolated, as it would turn the words behind it.
    """
    template = _template(locale, message, count)
    for value in params.values():  # no template runs from right to left itself
        if isinstance(value, str) and not value.isascii():
            return template % _isolated(params)
    return template % params


def _isolated(params: Mapping[str, object]) -> dict[str, object]:
    return {name: isolated(value) if isinstance(value, str) else value for name, value in params.items()}


@cache
def placeholders(message: Translatable) -> frozenset[str]:
    """The names of the values that a text shows."""
    return frozenset(_PLACEHOLDER.findall(message.singular))


@lru_cache(maxsize=4096)
def localised_date(locale: str, day: date) -> str:
    """A day in the format of `locale`, unambiguous about day and month."""
    return format_date(day, format="medium", locale=locale)


def weekday_name(locale: str, weekday: int) -> str:
    """The name of a day of the week (0 is Monday), as within a sentence."""
    return str(get_day_names("wide", locale=locale)[weekday])


def localised_moment(locale: str, text: str) -> str:
    """A time in the format of `locale`, to the minute, if it is an ISO 8601 timestamp or unix seconds (or
    milliseconds). Any other text as it is.

    The time zone is that of the timestamp; only UTC is named, because no other zone is meant by it.
    """
    try:
        if unix := _UNIX_SECONDS.fullmatch(text):
            at = datetime.fromtimestamp(int(unix[1]), UTC)
        elif _TIMESTAMP.fullmatch(text):
            at = datetime.fromisoformat(text)
        else:
            return text
    except ValueError:
        return text
    shown = f"{localised_date(locale, at.date())}, {format_time(at.time(), format='short', locale=locale)}"
    return f"{shown} UTC" if at.utcoffset() == timedelta(0) else shown


def localised_number(locale: str, number: float | Decimal) -> str:
    """A finite amount in the format of `locale`, with two decimals, or none if it is whole.

    The currency is unknown, and some, such as the đồng, have no decimals.
    """
    exact = Decimal(str(number)) + 0  # no minus before zero
    whole = exact == exact.to_integral_value()
    return format_decimal(exact, "#,##0" if whole else "#,##0.00##", locale=locale)


def language_name(locale: str) -> str:
    """The name of a language in that language, such as Tiếng Việt."""
    name = str(Locale(locale).display_name)
    return name[:1].upper() + name[1:]


def negotiate(accept_language: str | None, default: str) -> str:
    """The locale that fits an Accept-Language header best (RFC 9110, 12.5.4), else `default`.

    A language may be in the spelling of POSIX, such as en_US.UTF-8. One with `q=0` is refused: where that is
    the default, the answer is English, or the first locale that isn't refused.
    """
    if not accept_language:
        return default
    weights = _weights(accept_language)
    refused = {tag.partition("-")[0].lower() for tag, quality in weights if quality == 0}
    wanted = sorted((pair for pair in weights if pair[1] > 0), key=lambda pair: -pair[1])
    allowed = [locale for locale in LOCALES if locale not in refused]
    for tag, _ in wanted:
        if tag == "*":
            break
        if found := negotiate_locale([tag], allowed, sep="-"):
            return found.lower()
    if default not in refused:
        return default
    return next((each for each in (_FALLBACK, *allowed) if each in allowed), default)


_FALLBACK = "en"


def _weights(accept_language: str) -> list[tuple[str, float]]:
    """Each language with its quality, from 0 to 1."""
    weighted: list[tuple[str, float]] = []
    for part in accept_language[:1000].split(","):
        tag, _, parameter = part.partition(";")
        name, _, value = parameter.strip().partition("=")
        try:
            quality = float(value) if name.strip().lower() == "q" else 1.0
        except ValueError:
            continue
        if 0 <= quality <= 1 and tag.strip():
            weighted.append((tag.strip().partition(".")[0].replace("_", "-"), quality))
    return weighted
