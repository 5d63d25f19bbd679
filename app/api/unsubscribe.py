"""The unsubscribe link of mails: a page with one button, and the POST of mail programs (RFC 8058).

Neither needs a sign-in: the token in the address says who no longer wants what.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from markupsafe import Markup
from sanic import Blueprint, HTTPResponse, Request
from sanic.response import html

from app.api import schemas, security_headers
from app.api.headers import accept_language
from app.api.routes import Routes, add_routes
from app.auth.unsubscribe_tokens import UnsubscribeTokens, Unsubscription
from app.domain.deliveries import masked
from app.domain.preferences import choice_id
from app.domain.webhooks import UNSUBSCRIBED
from app.store.ports import PreferencesPort
from app.store.suppressions import SuppressionStore
from app.texts.brand import Brand
from app.texts.categories import CATEGORY_NAMES
from app.texts.colors import DARK, LIGHT, edge_on, ink_on
from app.texts.i18n import N_, Translatable, negotiate, render

PATH = "/unsubscribe"
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
        brand: Brand,
        locale: str,
    ) -> None:
        self._emit = emit
        self._tokens = tokens
        self._people = people
        self._suppressions = suppressions
        self._page = UnsubscribePage(brand)
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
        locale = self._locale_of(request, wanted)
        return self._page.question(locale, wanted.category)

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
        locale = self._locale_of(request, wanted)
        return self._page.answer(locale, _DONE, _DONE_MORE, category_name(wanted.category, locale))

    def _invalid(self, request: Request) -> HTTPResponse:
        locale = negotiate(accept_language(request), self._locale)
        return self._page.answer(locale, _INVALID, _INVALID_MORE, "", status=HTTPStatus.NOT_FOUND)

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
    """Writes the pages of a brand: no script, nothing from elsewhere."""

    def __init__(self, brand: Brand) -> None:
        self._brand = brand
        self._style = _STYLE % {
            **{f"light_{name}": value for name, value in LIGHT._asdict().items()},
            **{f"dark_{name}": value for name, value in DARK._asdict().items()},
            "brand": brand.color,
            "ink": ink_on(brand.color),
            "edge_light": edge_on(LIGHT.card, brand.color),
            "edge_dark": edge_on(DARK.card, brand.color),
        }
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )

    def question(self, locale: str, category: str) -> HTTPResponse:
        """The page that asks for confirmation."""
        return self.answer(locale, _ASK, _ASK_MORE, category_name(category, locale), button=_BUTTON)

    def answer(
        self,
        locale: str,
        title: Translatable,
        more: Translatable,
        category: str,
        *,
        button: Translatable | None = None,
        status: int = HTTPStatus.OK,
    ) -> HTTPResponse:
        """A page; `category` is a name."""
        params = {"category": category}
        form = _FORM.format(render(locale, button, {})) if button is not None else ""
        page = _PAGE.format(
            locale=locale,
            title=render(locale, title, params),
            style=Markup(self._style),  # noqa: S704 - of constants
            brand=self._brand.name,
            more=render(locale, more, params),
            form=form,
        )
        headers = {
            **security_headers.PAGE,
            "Content-Security-Policy": self._policy,
            "Cache-Control": "no-store",
            "Content-Language": locale,
            "X-Robots-Tag": "noindex",
        }
        return html(page, status, headers)


_FORM = Markup('<form method="post"><button type="submit">{}</button></form>')
_PAGE = Markup("""<!doctype html>
<html lang="{locale}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>{brand}</header>
<main>
<h1>{title}</h1>
<p>{more}</p>
{form}
</main>
</body>
</html>
""")
_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; background: %(light_page)s; color: %(light_text)s; font: 17px/1.5 system-ui, sans-serif; }
header { padding: 18px 24px; background: %(brand)s; color: %(ink)s; font-weight: bold; }
main { box-sizing: border-box; max-width: 32rem; margin: 48px auto; padding: 24px 32px 32px;
  background: %(light_card)s; border: 1px solid %(light_line)s; border-radius: 14px; overflow-wrap: anywhere;
  }
h1 { margin: 0 0 12px; font-size: 24px; line-height: 1.3; text-wrap: balance; }
p { margin: 0; color: %(light_soft)s; }
form { margin: 24px 0 0; }
button { min-height: 48px; padding: 10px 28px; border: 1px solid %(edge_light)s; border-radius: 10px;
  background: %(brand)s; color: %(ink)s; font: inherit; font-weight: bold; cursor: pointer; }
button:focus-visible { outline: 3px solid %(light_text)s; outline-offset: 2px; }
@media (max-width: 40rem) {
  main { margin: 0; padding: 24px; border-width: 0 0 1px; border-radius: 0; }
  button { width: 100%%; }
}
@media (prefers-color-scheme: dark) {
  body { background: %(dark_page)s; color: %(dark_text)s; }
  main { background: %(dark_card)s; border-color: %(dark_line)s; }
  p { color: %(dark_soft)s; }
  button { border-color: %(edge_dark)s; }
  button:focus-visible { outline-color: %(dark_text)s; }
}
"""
