"""The pages that receivers open by a link of a mail: in the brand's colours, without script."""

from __future__ import annotations

import base64
import hashlib
from http import HTTPStatus

from markupsafe import Markup
from sanic import HTTPResponse
from sanic.response import html

from app.api import security_headers
from app.texts.brand import Brand
from app.texts.colors import DARK, LIGHT, edge_on, ink_on


class BrandedPages:
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

    def write(self, locale: str, title: str, content: Markup, status: int = HTTPStatus.OK) -> HTTPResponse:
        """A page with this title, which is its heading, too."""
        page = _PAGE.format(
            locale=locale,
            title=title,
            style=Markup(self._style),  # noqa: S704 - of constants
            brand=self._brand.name,
            content=content,
        )
        headers = {
            **security_headers.PAGE,
            "Content-Security-Policy": self._policy,
            "Cache-Control": "no-store",
            "Content-Language": locale,
            "X-Robots-Tag": "noindex",
        }
        return html(page, status, headers)


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
{content}
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
a { color: inherit; }
.more { margin-top: 20px; }
.note { margin: 16px 0 0; padding: 10px 14px; border: 1px solid %(light_line)s; border-radius: 10px;
  color: inherit; }
table { width: 100%%; border-collapse: collapse; overflow-wrap: break-word; }
th, td { padding: 8px 4px; border-bottom: 1px solid %(light_line)s; text-align: center; font-weight: normal; }
thead th { font-size: 14px; color: %(light_soft)s; }
tbody th { text-align: start; }
input[type=checkbox] { width: 22px; height: 22px; margin: 0; accent-color: %(brand)s; }
details { margin: 24px 0 0; }
summary { font-weight: bold; cursor: pointer; }
details fieldset { margin-top: 14px; }
details label { margin-top: 4px; }
details select { font-size: 15px; }
fieldset { margin: 24px 0 0; padding: 0; border: 0; }
legend { padding: 0; font-weight: bold; }
label { display: block; margin-top: 10px; font-size: 14px; }
input:not([type=checkbox]), select { display: block; box-sizing: border-box; width: 100%%;
  min-height: 44px; padding: 8px 10px; border: 1px solid %(light_soft)s; border-radius: 10px;
  background: transparent; color: inherit; font: inherit; font-size: 17px; }
option { background: %(light_card)s; color: %(light_text)s; }
.row { display: flex; gap: 12px; }
.row > * { flex: 1; min-width: 0; }
.buttons { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 28px; }
button.quiet { border-color: %(light_soft)s; background: transparent; color: inherit; }
:is(input, select, summary, a):focus-visible { outline: 3px solid %(light_text)s; outline-offset: 2px; }
@media (max-width: 40rem) {
  main { margin: 0; padding: 24px; border-width: 0 0 1px; border-radius: 0; }
  button { width: 100%%; }
  th, td { padding-inline: 2px; }
  thead th { font-size: 12px; }
  tbody th { font-size: 15px; }
}
@media (prefers-color-scheme: dark) {
  body { background: %(dark_page)s; color: %(dark_text)s; }
  main { background: %(dark_card)s; border-color: %(dark_line)s; }
  p { color: %(dark_soft)s; }
  button { border-color: %(edge_dark)s; }
  button:focus-visible, :is(input, select, summary, a):focus-visible { outline-color: %(dark_text)s; }
  .note, th, td { border-color: %(dark_line)s; }
  thead th { color: %(dark_soft)s; }
  input:not([type=checkbox]), select, button.quiet { border-color: %(dark_soft)s; }
  option { background: %(dark_card)s; color: %(dark_text)s; }
}
"""
