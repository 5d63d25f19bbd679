"""How often messages are sent together: the choices of the page behind a mail's link, which has no script."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from markupsafe import Markup

from app.domain.digests import DIGEST_CHANNELS, IMMEDIATE, AtTime, read_choice, read_window
from app.domain.preferences import ALWAYS_ON, CATEGORIES, choice_id
from app.texts.categories import CATEGORY_NAMES, CHANNEL_NAMES
from app.texts.i18n import N_, render, weekday_name

OFFERED = (IMMEDIATE, "hourly", "daily at 08:00", "daily at 18:00", "weekly on monday at 09:00")
"""Beside what the person has chosen elsewhere, and the operator's rule."""
_TITLE = N_("How often")
_MORE = N_("At once, or several together in one message.")
_DEFAULT = N_("Default")
_AT_ONCE = N_("At once")
_HOURLY = N_("Hourly")
_DAILY = N_("Daily at %(time)s")
_WEEKLY = N_("Weekly on %(day)s at %(time)s")


def digest_fields(locale: str, chosen: Mapping[str, str]) -> Markup:
    """A select for each category and channel that has digests, with what is chosen now."""
    channels = {channel: render(locale, CHANNEL_NAMES[channel], {}) for channel in DIGEST_CHANNELS}
    rows = []
    for category in CATEGORIES:
        if category != ALWAYS_ON:
            name = render(locale, CATEGORY_NAMES[category], {})
            selects = (
                _select(locale, choice := choice_id(category, each), chosen.get(choice), medium)
                for each, medium in channels.items()
            )
            rows.append(_ROW.format(name, Markup().join(selects)))
    return _FIELDS.format(
        title=render(locale, _TITLE, {}),
        more=render(locale, _MORE, {}),
        rows=Markup().join(rows),
    )


def digest_changes(given: Collection[str], chosen: Mapping[str, str]) -> dict[str, str | None]:
    """What the fields say otherwise than is chosen now; None for the operator's rule. What is no choice of
    the page is left out. Raises `ValueError` for one that is no window for people.
    """
    changes: dict[str, str | None] = {}
    for field in given:
        choice, _, text = field.partition(" ")
        window = read_choice(text) if text else None
        if choice in _CHOICES and window != chosen.get(choice):
            changes[choice] = window
    return changes


_CHOICES = frozenset(
    choice_id(category, channel)
    for category in CATEGORIES
    if category != ALWAYS_ON
    for channel in DIGEST_CHANNELS
)


def _select(locale: str, choice: str, chosen: str | None, label: str) -> Markup:
    offered = OFFERED if chosen is None or chosen in OFFERED else (*OFFERED, chosen)
    options = [_OPTION.format(choice, _selected(chosen is None), render(locale, _DEFAULT, {}))]
    options += [
        _OPTION.format(f"{choice} {each}", _selected(each == chosen), _said(locale, each)) for each in offered
    ]
    return _SELECT.format(label, Markup().join(options))


def _selected(whether: bool) -> Markup:
    return Markup(" selected") if whether else Markup()


def _said(locale: str, choice: str) -> str:
    """What a person has chosen, in words."""
    window = read_window(choice)
    if window is None:
        return render(locale, _AT_ONCE, {})
    if not isinstance(window, AtTime):
        return render(locale, _HOURLY, {})
    at = f"{window.at:%H:%M}"
    if window.weekday is None:
        return render(locale, _DAILY, {"time": at})
    return render(locale, _WEEKLY, {"day": weekday_name(locale, window.weekday), "time": at})


_ROW = Markup('<fieldset><legend>{}</legend><div class="row">{}</div></fieldset>\n')
_SELECT = Markup('<label>{}<select name="digest">{}</select></label>')
_OPTION = Markup('<option value="{}"{}>{}</option>')
_FIELDS = Markup("""<details>
<summary>{title}</summary>
<p>{more}</p>
{rows}</details>""")
