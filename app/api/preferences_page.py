"""All preferences of the receiver of a mail, on a page behind its unsubscribe link. It needs no sign-in.

The token of the link says whose they are. The page shows and changes what is sent, and when; it shows no
address. It works without script.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import parse_qs
from uuid import UUID

import msgspec
from markupsafe import Markup
from msgspec import Meta
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.branded_page import BrandedPages
from app.api.digest_fields import digest_changes, digest_fields
from app.api.errors import Problem
from app.api.headers import accept_language
from app.api.preferences import ProfileBody, checked_profile, profile_body
from app.api.request import load_body
from app.api.routes import Routes, add_routes
from app.api.unsubscribe import PATH, PREFERENCES, UnsubscribePage
from app.auth.unsubscribe_tokens import UnsubscribeTokens, Unsubscription
from app.domain.preferences import ALWAYS_ON, CATEGORIES, CHOICES, Evaluator, choice_id
from app.store.ports import PreferencesPort
from app.texts.categories import CATEGORY_NAMES, CHANNEL_NAMES
from app.texts.i18n import LOCALES, N_, Translatable, language_name, negotiate, render
from handlers.audiences import time_zones

MAX_FIELDS_COUNT = 200
MAX_FORM_BYTES = 16 * 1024
_ON = "on"
"""The name of all checkboxes; their values are ids of choices."""
_NONE_BUTTON = "none"
_WHOLE = "whole"
"""The last field of the form."""
_DIGEST = "digest"
_PROFILE = ("quiet_from", "quiet_until", "time_zone", "locale")
_TITLE = N_("Notification settings")
_MORE = N_("Choose what you receive, and how. Security messages are always sent.")
_SAVED = N_("Saved.")
_NOT_SAVED = N_("Not saved. Quiet hours need a start, a different end, and a time zone.")
_NOT_READ = N_("Not saved. Try again.")
_QUIET = N_("Quiet hours")
_QUIET_MORE = N_("Messages wait until quiet hours end. Urgent messages do not wait.")
_FROM = N_("From")
_UNTIL = N_("Until")
_ZONE = N_("Time zone")
_LANGUAGE = N_("Language")
_DEFAULT = N_("Default")
_SAVE = N_("Save")
_ALL_OFF = N_("Turn everything off")


class PreferencesForm(msgspec.Struct):
    """What the page sends. `on` is there for each preference that is on; `digest` is a preference and how
    often its messages are sent, or the preference alone for the operator's rule.
    """

    whole: Annotated[Literal["1"], Meta(examples=["1"])]
    on: Annotated[list[str], Meta(examples=[["food.email"]])] = []
    digest: Annotated[list[str], Meta(examples=[["food.email daily at 18:00", "plans.email"]])] = []
    none: Annotated[str, Meta(examples=["1"])] | None = None
    quiet_from: Annotated[str, Meta(examples=["22:00"])] | None = None
    quiet_until: Annotated[str, Meta(examples=["07:00"])] | None = None
    time_zone: Annotated[str, Meta(examples=["Asia/Ho_Chi_Minh"])] | None = None
    locale: Annotated[str, Meta(examples=["vi"])] | None = None


class PreferencesPageResource:
    """The page, and what its buttons do."""

    def __init__(
        self,
        tokens: UnsubscribeTokens,
        people: PreferencesPort,
        evaluator: Evaluator,
        pages: BrandedPages,
        locale: str,
    ) -> None:
        self._tokens = tokens
        self._people = people
        self._evaluator = evaluator
        self._pages = pages
        self._locale = locale

    def blueprint(self) -> Blueprint:
        """The calls below an unsubscribe link."""
        blueprint = Routes("preferences_page", url_prefix=PATH)
        add_routes(
            (blueprint.get(f"/<token:str>/{PREFERENCES}"), self.show),
            (blueprint.post(f"/<token:str>/{PREFERENCES}"), self.save),
        )
        return blueprint

    @schemas.described(
        "The page with all preferences of a receiver",
        "Linked from the unsubscribe page and the footer of mails. A mail to an address without a user has "
        "no such page.",
        {
            200: schemas.Answer("The page", str, "text/html"),
            404: schemas.Answer("The link is not valid", str, "text/html"),
        },
        errors=(503,),
    )
    async def show(self, request: Request, token: str) -> HTTPResponse:
        """The page. Opening it changes nothing."""
        user_id, wanted = self._read(token)
        if user_id is None:
            return self._invalid(request)
        return await self._page(request, wanted, user_id)

    @schemas.described(
        "Save the preferences",
        "Called by the page. Preferences whose id is not in `on` are turned off, all of them with `none`. "
        "Fields of the profile and digests that are left out stay.",
        {
            200: schemas.Answer("Saved, as a page", str, "text/html"),
            400: schemas.Answer("Quiet hours or a digest that cannot be saved, as a page", str, "text/html"),
            404: schemas.Answer("The link is not valid", str, "text/html"),
        },
        errors=(503,),
        body=PreferencesForm,
        media_type="application/x-www-form-urlencoded",
    )
    async def save(self, request: Request, token: str) -> HTTPResponse:
        """Save what the form says, all or nothing."""
        user_id, wanted = self._read(token)
        if user_id is None:
            return self._invalid(request)
        await load_body(request, MAX_FORM_BYTES)
        form = _form(request.body)
        if _WHOLE not in form:  # what is cut off or of another page would turn everything off
            return await self._page(request, wanted, user_id, _NOT_READ, HTTPStatus.BAD_REQUEST)
        profile, choices = await self._people.get(user_id)
        digests = await self._people.digests(user_id)
        before = profile_body(profile)
        given = {name: form[name][0] or None for name in _PROFILE if name in form}
        try:
            after = checked_profile(msgspec.structs.replace(before, **given))
            windows = digest_changes(form.get(_DIGEST, ()), digests)
        except Problem:
            return await self._page(request, wanted, user_id, _NOT_SAVED, HTTPStatus.BAD_REQUEST)
        except ValueError:
            return await self._page(request, wanted, user_id, _NOT_READ, HTTPStatus.BAD_REQUEST)
        checked = () if _NONE_BUTTON in form else form.get(_ON, ())
        fields = {name: getattr(after, name) for name in given}
        await self._people.change(user_id, fields, self._changes(choices, checked), windows)
        return await self._page(request, wanted, user_id, _SAVED)

    def _read(self, token: str) -> tuple[UUID | None, Unsubscription | None]:
        wanted = self._tokens.read(token)
        return (None if wanted is None else wanted.user_id), wanted

    def _changes(self, choices: Mapping[str, bool], checked: Collection[str]) -> dict[str, bool | None]:
        """What differs from what is on now: a default that nobody touched stays one."""
        return {
            choice: choice in checked
            for choice in CHOICES
            if not _always_on(choice) and self._is_on(choice, choices) != (choice in checked)
        }

    def _is_on(self, choice: str, choices: Mapping[str, bool]) -> bool:
        category, _, channel = choice.partition(".")
        if _always_on(choice):
            return True
        return choices.get(choice, self._evaluator.on_by_default(category, channel))

    def _invalid(self, request: Request) -> HTTPResponse:
        return UnsubscribePage(self._pages).invalid(negotiate(accept_language(request), self._locale))

    async def _page(
        self,
        request: Request,
        wanted: Unsubscription | None,
        user_id: UUID,
        note: Translatable | None = None,
        status: int = HTTPStatus.OK,
    ) -> HTTPResponse:
        profile, choices = await self._people.get(user_id)
        spoken = profile.locale or (wanted and wanted.locale) or self._locale
        locale = negotiate(accept_language(request), spoken)
        words = _Words(locale)
        content = _CONTENT.format(
            more=words(_MORE),
            note=_NOTE.format(words(note)) if note is not None else "",
            channels=Markup().join(_COLUMN.format(words(name)) for name in CHANNEL_NAMES.values()),
            rows=Markup().join(self._row(words, category, choices) for category in CATEGORIES),
            digests=digest_fields(locale, await self._people.digests(user_id)),
            quiet=words(_QUIET),
            quiet_more=words(_QUIET_MORE),
            profile=_profile(words, profile_body(profile)),
            save=words(_SAVE),
            all_off=words(_ALL_OFF),
        )
        return self._pages.write(locale, words(_TITLE), content, status)

    def _row(self, words: _Words, category: str, choices: Mapping[str, bool]) -> Markup:
        name, state = words(CATEGORY_NAMES[category]), _DISABLED if category == ALWAYS_ON else _ENABLED
        boxes = (
            _BOX.format(
                choice=(choice := choice_id(category, channel)),
                label=f"{name}, {words(channel_name)}",
                checked=_CHECKED if self._is_on(choice, choices) else _ENABLED,
                state=state,
            )
            for channel, channel_name in CHANNEL_NAMES.items()
        )
        return _ROW.format(name, Markup().join(boxes))


class _Words:
    """Texts in one language."""

    def __init__(self, locale: str) -> None:
        self.locale = locale

    def __call__(self, text: Translatable) -> str:
        return render(self.locale, text, {})


def _always_on(choice: str) -> bool:
    return choice.startswith(f"{ALWAYS_ON}.")


def _form(body: bytes) -> dict[str, list[str]]:
    """The fields of the form; none if it is no form."""
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS_COUNT)
    except ValueError:
        return {}


def _profile(words: _Words, profile: ProfileBody) -> Markup:
    default = [("", words(_DEFAULT))]
    return _FIELDS.format(
        starts=words(_FROM),
        ends=words(_UNTIL),
        quiet_from=profile.quiet_from or "",
        quiet_until=profile.quiet_until or "",
        zone=words(_ZONE),
        zones=_options([("", "–"), *((each, each) for each in sorted(time_zones()))], profile.time_zone),
        language=words(_LANGUAGE),
        locales=_options(default + [(each, language_name(each)) for each in LOCALES], profile.locale),
    )


def _options(options: Collection[tuple[str, str]], chosen: str | None) -> Markup:
    return Markup().join(
        _OPTION.format(value, Markup(" selected") if value == (chosen or "") else "", text)
        for value, text in options
    )


_NOTE = Markup('<p class="note" role="status">{}</p>')
_COLUMN = Markup('<th scope="col">{}</th>')
_ROW = Markup('<tr><th scope="row">{}</th>{}</tr>\n')
_BOX = Markup(
    '<td><input type="checkbox" name="on" value="{choice}" aria-label="{label}"{checked}{state}></td>'
)
_CHECKED, _DISABLED, _ENABLED = Markup(" checked"), Markup(" disabled"), Markup()
_OPTION = Markup('<option value="{}"{}>{}</option>')
_FIELDS = Markup("""<div class="row">
<label>{starts}<input type="time" name="quiet_from" value="{quiet_from}"></label>
<label>{ends}<input type="time" name="quiet_until" value="{quiet_until}"></label>
</div>
<label>{zone}<select name="time_zone">{zones}</select></label>
</fieldset>
<label>{language}<select name="locale">{locales}</select></label>""")
_CONTENT = Markup("""<p>{more}</p>
{note}
<form method="post">
<table>
<thead><tr><td></td>{channels}</tr></thead>
<tbody>
{rows}</tbody>
</table>
{digests}
<fieldset>
<legend>{quiet}</legend>
<p>{quiet_more}</p>
{profile}
<div class="buttons">
<button type="submit">{save}</button>
<button type="submit" class="quiet" name="none" value="1">{all_off}</button>
</div>
<input type="hidden" name="whole" value="1">
</form>""")
