"""The gallery: every mail template in every language, with sample data. In development only.

`python -m app.dev.gallery` takes the pictures of docs/how-to/mail.md again, and those of the unsubscribe
page, with headless Chromium.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sanic import Blueprint, HTTPResponse, Request, html
from sanic.exceptions import NotFound

from app.api.branded_page import BrandedPages
from app.api.routes import Routes
from app.api.unsubscribe import UnsubscribePage
from app.dev.mail_samples import SAMPLES
from app.outbox.unsubscribe import is_transactional
from app.settings import Settings
from app.texts.brand import Brand
from app.texts.i18n import LOCALES, language_name
from app.texts.rendering import Mail, MailRenderer, sms_text

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent
IMAGES = HERE.parents[1] / "docs" / "images"
UNSUBSCRIBE = "https://example.com/unsubscribe"
DARK = "@media (prefers-color-scheme: dark)"
SCHEMES = {"light": "@media not all", "dark": "@media all"}  # what DARK becomes
WIDTHS = {"phone": 390, "desktop": 800}
LANGUAGES = {locale: language_name(locale) for locale in LOCALES}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_OPTIONS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "locale": ("Language", {"all": "All", **LANGUAGES}),
    "width": ("Width", {"phone": "Phone", "desktop": "Desktop"}),
    "scheme": ("Colours", {"light": "Light", "dark": "Dark"}),
}
_PAGES = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)


def make_blueprint(settings: Settings) -> Blueprint:
    """Build the page at /gallery, and the mails that it frames."""
    blueprint = Routes("gallery", url_prefix="/gallery")
    renderer = MailRenderer(settings.brand.brand())

    @blueprint.get("/")
    async def page(request: Request) -> HTTPResponse:
        chosen = {name: _chosen(request, name) for name in _OPTIONS}
        locales = LOCALES if chosen["locale"] == "all" else (chosen["locale"],)
        nonce = secrets.token_urlsafe(16)
        body = _PAGES.get_template("gallery.html").render(
            nonce=nonce,
            chosen=chosen,
            choices=_choices(chosen),
            languages=LANGUAGES,
            mails={
                template: [
                    (
                        locale,
                        sample(renderer, template, locale),
                        sms_text(template, locale, SAMPLES[template]),
                    )
                    for locale in locales
                ]
                for template in SAMPLES
            },
        )
        return html(body, headers=_headers(f"style-src 'nonce-{nonce}'", "frame-src 'self'"))

    @blueprint.get("/<template:str>/<locale:str>")
    async def mail(request: Request, template: str, locale: str) -> HTTPResponse:
        if template not in SAMPLES or locale not in LOCALES:
            raise NotFound(f"No template {template} in {locale}.")
        document = sample(renderer, template, locale).html.replace(DARK, SCHEMES[_chosen(request, "scheme")])
        inert = ("style-src 'unsafe-inline'", "img-src https:", "sandbox")
        return html(document, headers=_headers(*inert, ancestors="'self'"))

    return blueprint


def sample(renderer: MailRenderer, template: str, locale: str) -> Mail:
    """The mail of a template with its sample data."""
    unsubscribe = None if is_transactional(template, None) else UNSUBSCRIBE
    return renderer.render(template, locale, SAMPLES[template], unsubscribe)


def _chosen(request: Request, name: str) -> str:
    """The option that the query names, or the first."""
    options = _OPTIONS[name][1]
    value = request.args.get(name)
    return value if value in options else next(iter(options))


def _choices(chosen: Mapping[str, str]) -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    """Each choice: its name, its label, and of its options the value, the text and the address."""
    return [
        (
            name,
            label,
            [(value, text, "?" + urlencode({**chosen, name: value})) for value, text in options.items()],
        )
        for name, (label, options) in _OPTIONS.items()
    ]


def _headers(*allowed: str, ancestors: str = "'none'") -> dict[str, str]:
    policy = ("default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'")
    return {
        "Content-Security-Policy": "; ".join((*policy, f"frame-ancestors {ancestors}")),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


class Picture(NamedTuple):
    """A picture of the docs."""

    template: str
    locale: str
    width: str
    scheme: str

    @property
    def path(self) -> Path:
        """The file of the picture."""
        return IMAGES / f"mail-{self.template}-{self.width}-{self.scheme}.png"


SHOWN = {"otp_register": "en", "booking_confirmation": "vi", "payment_failed": "ru"}
PICTURES = [
    Picture(template, locale, width, scheme)
    for template, locale in SHOWN.items()
    for width in WIDTHS
    for scheme in SCHEMES
]
PAGES = [
    ("en", "desktop", "light"),
    ("vi", "phone", "dark"),
    ("ru", "phone", "light"),
]
"""Language, width and colours of the pictures of the unsubscribe page."""
PAGE_HEIGHTS = {"phone": 420, "desktop": 340}


def take_pictures() -> None:
    """Write every picture of `PICTURES` and `PAGES`.

    The colour scheme is the browser's, as it is a reader's.
    """
    from playwright.sync_api import sync_playwright  # not needed to serve the page

    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        sys.exit("Chromium is not installed. Install it, for example with `apt-get install chromium`.")
    brand = Brand("Notification hub", "#0b6e99", None, "Example Ltd, 1 Example Street")
    renderer, unsubscribing = MailRenderer(brand), UnsubscribePage(BrandedPages(brand))
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        for picture in PICTURES:
            document = sample(renderer, picture.template, picture.locale).html
            _take(browser, document, picture.path, picture.width, 100, picture.scheme)
        for locale, width, scheme in PAGES:
            body = unsubscribing.question(locale, "food").body or b""
            path = IMAGES / f"unsubscribe-{locale}-{width}-{scheme}.png"
            _take(browser, body.decode(), path, width, PAGE_HEIGHTS[width], scheme)
        browser.close()


def _take(browser: Browser, document: str, path: Path, width: str, height: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=2 if width == "phone" else 1,
        java_script_enabled=False,
    )
    page = context.new_page()
    page.set_content(document)
    page.screenshot(path=path, full_page=True)
    print(f"{path.name}: {path.stat().st_size // 1024} KB")
    context.close()


if __name__ == "__main__":
    take_pictures()
