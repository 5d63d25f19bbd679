"""The unsubscribe link of mails: a page with one button, and the POST of mail programs (RFC 8058).

Neither needs a sign-in: the token in the address says who no longer wants what.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from markupsafe import Markup
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.branded_page import BrandedPages
from app.api.headers import accept_language
from app.api.routes import Routes, add_routes
from app.auth.unsubscribe_tokens import UnsubscribeTokens, Unsubscription
from app.domain.deliveries import masked
from app.domain.preferences import choice_id
from app.domain.webhooks import UNSUBSCRIBED
from app.store.ports import PreferencesPort
from app.store.suppressions import SuppressionStore
from app.texts.categories import CATEGORY_NAMES
from app.texts.i18n import N_, Translatable, negotiate, render

PATH = "/unsubscribe"
PREFERENCES = "preferences"
"""Below a link: the page with all preferences."""
REASON = "the receiver unsubscribed from {category}"
_ASK = N_("Unsubscribe from “%(category)s”?")
_ASK_MORE = N_(
    "You will receive no more messages of this kind. You still receive one-time codes and replies to "
    "your own actions."
)
_BUTTON = N_("Unsubscribe")
_DONE = N_("You are unsubscribed.")
_DONE_MORE = N_("You will receive no more messages of the kind “%(category)s”. You can close this page.")
_INVALID = N_("This link is not valid.")
_INVALID_MORE = N_(
    "The link is incomplete or too old. Use the link in a more recent message. Nothing was changed."
)

_ALL = N_("All notification settings")
_NOTHING = Markup()
_MORE = Markup("<p>{}</p>\n")
_FORM = Markup('<form method="post"><button type="submit">{}</button></form>')
_LINK = Markup('\n<p class="more"><a href="{}">{}</a></p>')


Emit = Callable[[str, UUID | None, dict[str, Any]], Awaitable[None]]
"""Reports an event of a kind about a user to webhooks."""


class UnsubscribeResource:
    """Both calls. They change a user's preference, or the suppression list if a mail went to an address."""

    def __init__(
        self,
        tokens: UnsubscribeTokens,
        people: PreferencesPort,
        suppressions: SuppressionStore,
        emit: Emit,
        pages: BrandedPages,
        locale: str,
    ) -> None:
        self._emit = emit
        self._tokens = tokens
        self._people = people
        self._suppressions = suppressions
        self._page = UnsubscribePage(pages)
        self._locale = locale

    def blueprint(self) -> Blueprint:
        """The calls at `PATH`."""
        blueprint = Routes("unsubscribe", url_prefix=PATH)
        add_routes(
            (blueprint.get("/<token:str>"), self.ask),
            (blueprint.post("/<token:str>"), self.unsubscribe),
        )
        return blueprint

    @schemas.described(
        "The page behind an unsubscribe link",
        "The page asks for confirmation with one button. Opening it changes nothing, because mail scanners "
        "open links.",
        {
            200: schemas.Answer("The page", str, "text/html"),
            404: schemas.Answer("The link is not valid", str, "text/html"),
        },
    )
    async def ask(self, request: Request, token: str) -> HTTPResponse:
        """The page that asks for a confirmation: mail scanners follow links (RFC 8058)."""
        wanted = self._tokens.read(token)
        if wanted is None:
            return self._invalid(request)
        settings = None if wanted.user_id is None else f"{token}/{PREFERENCES}"
        return self._page.question(self._locale_of(request, wanted), wanted.category, settings)

    @schemas.described(
        "Unsubscribe",
        "Called by the page's button or by a mail client (RFC 8058). Needs no sign-in and no body.",
        {
            200: schemas.Answer("Done, as a page", str, "text/html"),
            404: schemas.Answer("The link is not valid", str, "text/html"),
        },
        errors=(503,),
    )
    async def unsubscribe(self, request: Request, token: str) -> HTTPResponse:
        """Unsubscribe, by the page's button or with one click in a mail program."""
        wanted = self._tokens.read(token)
        if wanted is None:
            return self._invalid(request)
        if wanted.user_id is not None:
            await self._people.set_choice(wanted.user_id, choice_id(wanted.category, wanted.channel), False)
        if wanted.address is not None:
            reason = REASON.format(category=wanted.category)
            await self._suppressions.add(wanted.channel, wanted.address, wanted.category, reason)
        await self._emit(UNSUBSCRIBED, wanted.user_id, _reported(wanted))
        return self._page.done(self._locale_of(request, wanted), wanted.category)

    def _invalid(self, request: Request) -> HTTPResponse:
        return self._page.invalid(negotiate(accept_language(request), self._locale))

    def _locale_of(self, request: Request, wanted: Unsubscription) -> str:
        """That of the browser; a mail program says none, and then it is that of the mail."""
        return negotiate(accept_language(request), wanted.locale or self._locale)


def _reported(wanted: Unsubscription) -> dict[str, Any]:
    """The body of the webhook event `person.unsubscribed`."""
    address = None if wanted.address is None else masked(wanted.address)
    return {
        "category": wanted.category,
        "channel": wanted.channel,
        "user_id": wanted.user_id,
        "address": address,
    }


def category_name(category: str, locale: str) -> str:
    """The name that people read of a category."""
    name = CATEGORY_NAMES.get(category)
    return category if name is None else render(locale, name, {})


class UnsubscribePage:
    """The pages behind the link."""

    def __init__(self, pages: BrandedPages) -> None:
        self._pages = pages

    def question(self, locale: str, category: str, settings: str | None = None) -> HTTPResponse:
        """The page that asks for confirmation. `settings`: where all preferences of the user are."""
        form = _FORM.format(render(locale, _BUTTON, {}))
        if settings is not None:
            form += _LINK.format(settings, render(locale, _ALL, {}))
        return self._write(locale, _ASK, _ASK_MORE, category_name(category, locale), form)

    def done(self, locale: str, category: str) -> HTTPResponse:
        """The page after it."""
        return self._write(locale, _DONE, _DONE_MORE, category_name(category, locale))

    def invalid(self, locale: str) -> HTTPResponse:
        """The page of a link that isn't valid."""
        return self._write(locale, _INVALID, _INVALID_MORE, "", status=HTTPStatus.NOT_FOUND)

    def _write(
        self,
        locale: str,
        title: Translatable,
        more: Translatable,
        category: str,
        form: Markup = _NOTHING,
        status: int = HTTPStatus.OK,
    ) -> HTTPResponse:
        params = {"category": category}
        content = _MORE.format(render(locale, more, params)) + form
        return self._pages.write(locale, render(locale, title, params), content, status)
