"""Rendering of mail and SMS: a template and its data in the recipient's language.

A template is one Jinja file in `templates/`. It is rendered into the layouts of HTML mail, of the text part
and of SMS, so that their content is the same. Data fills placeholders and is never interpreted as a template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, UndefinedError, pass_context
from jinja2.environment import TemplateModule
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.domain.channels import SMS
from app.domain.errors import HubError
from app.texts.brand import Brand
from app.texts.colors import DARK, LIGHT, Palette, edge_on, ink_on
from app.texts.hygiene import clean_values, single_line
from app.texts.i18n import LOCALES, Translatable, localised_moment, localised_number
from app.texts.i18n import render as translated
from app.texts.labels import PAYMENT_FAILED, PAYMENT_FAILURES, PAYMENT_METHODS, label
from app.texts.links import is_link, linked
from app.texts.markup import as_text, hidden_text, paragraphs, safe_html
from app.texts.shortening import ELLIPSIS, shortened

FOLDER = Path(__file__).parent / "templates"
SUFFIX = ".jinja"
TEMPLATES = frozenset(path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"[a-z]*{SUFFIX}"))
MAX_SUBJECT_CHARS = 150  # characters


class UnknownTemplate(HubError):  # noqa: N818 - named as its siblings in app.errors
    """There is no template of this name."""


class UnfitData(HubError):  # noqa: N818
    """The data does not fit the template. The text names the field, and holds no values."""


class Mail(NamedTuple):
    """A rendered mail: its subject in one line, and the same content as text and HTML."""

    subject: str
    text: str
    html: str


class MailRenderer:
    """Renders the mail of one brand."""

    def __init__(self, brand: Brand) -> None:
        self._own = {"brand": brand}
        self._look = _look(brand)

    def render(
        self,
        template: str,
        locale: str,
        data: Mapping[str, Any],
        unsubscribe: str | None = None,
        preferences: str | None = None,
    ) -> Mail:
        """The mail in `locale`; its footer links to the URLs `unsubscribe` and `preferences`, if given.

        Raises `UnknownTemplate`, or `UnfitData` if `data` lacks a field of the template.
        """
        own = {**self._own, "unsubscribe": unsubscribe, "preferences": preferences}
        text = _module(_TEXT, "txt", template, locale, data, own)
        html = _module(_HTML, "html", template, locale, data, own | self._look)
        return Mail(one_line(str(vars(text)["subject"])), _tidy(str(text)), str(html))


def sms_text(template: str, locale: str, data: Mapping[str, Any]) -> str:
    """Render the text of an SMS, of any length. Raises as `MailRenderer.render`."""
    return lines_of_text(SMS, template, locale, data)


def lines_of_text(channel: str, template: str, locale: str, data: Mapping[str, Any]) -> str:
    """Render lines of plain text, for a channel that shows neither HTML nor a subject.

    The channel's layout is `templates/_layout.<channel>.jinja`. Raises as `MailRenderer.render`.
    """
    text = str(_module(_TEXT, channel, template, locale, data, {}))
    return "\n".join(filter(None, map(single_line, text.splitlines())))


def one_line(text: str, most: int = MAX_SUBJECT_CHARS) -> str:
    """The text in one line of at most `most` characters, without control and invisible characters.

    It is cut between two characters as a reader sees them.
    """
    line = single_line(text)
    if len(line) <= most:
        return line
    return single_line(shortened(line, most).removesuffix(ELLIPSIS)) + ELLIPSIS


def first_line(text: str) -> str:
    """The first line of the text that shows anything; empty if none does."""
    return next(filter(None, map(one_line, text.splitlines())), "")


def _module(
    environment: ImmutableSandboxedEnvironment,
    medium: str,
    template: str,
    locale: str,
    data: Mapping[str, Any],
    own: Mapping[str, object],
) -> TemplateModule:
    if template not in TEMPLATES:
        raise UnknownTemplate(f"No template {template!r}. Templates: {', '.join(sorted(TEMPLATES))}.")
    if locale not in LOCALES:
        raise UnfitData(f"{template}: no texts in {locale!r}; available: {', '.join(LOCALES)}")
    context = {
        **own,
        **_texts(locale),
        "data": clean_values(data),
        "locale": locale,
        "layout": f"_layout.{medium}{SUFFIX}",
        "parts": f"_parts.{medium}{SUFFIX}",
    }
    try:
        return environment.get_template(template + SUFFIX).make_module(context)
    except UndefinedError as error:  # its text holds names only
        raise UnfitData(f"{template}: {error}") from None
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise UnfitData(f"{template}: a value has an unexpected type ({type(error).__name__})") from None


def _texts(locale: str) -> dict[str, Callable[..., str]]:
    """The functions with which templates translate."""

    def gettext(text: str, **params: object) -> str:
        return translated(locale, Translatable(text), params)

    def ngettext(singular: str, plural: str, count: int, **params: object) -> str:
        return translated(locale, Translatable(singular, plural), params, count)

    return {"_": gettext, "ngettext": ngettext}


@pass_context
def _amount(context: Context, value: object) -> str | None:
    """A number, or a text that is one, in the format of the locale; None where there is none to show.

    Anything else as it is.
    """
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return None if text.lower().lstrip("+-") in _NO_NUMBERS else value
        value = Decimal(text)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None if value is None else str(value)
    number = Decimal(str(value))
    return localised_number(context["locale"], number) if number.is_finite() else str(value)


_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?")
_NO_NUMBERS = ("", "nan", "inf", "infinity", "none", "null", "undefined")
"""What programs write for a number that they don't have."""


@pass_context
def _moment(context: Context, value: object) -> object:
    return localised_moment(context["locale"], str(value)) if _known(value) else None


def _listed(value: object) -> object:
    """The items of a list with commas; anything else as it is."""
    return ", ".join(str(each) for each in value if _known(each)) if isinstance(value, list) else value


def _known(value: object) -> bool:
    """Whether there is something to show."""
    return value is not None and bool(str(value).strip())


@pass_context
def _payment_method(context: Context, code: object) -> str | None:
    return label(context["locale"], PAYMENT_METHODS, str(code)) if _known(code) else None


@pass_context
def _payment_failure(context: Context, code: object) -> str:
    if not _known(code):
        return translated(context["locale"], PAYMENT_FAILED, {})
    return label(context["locale"], PAYMENT_FAILURES, str(code))


def _look(brand: Brand) -> dict[str, object]:
    return {
        "light": LIGHT,
        "dark": DARK,
        "ink": ink_on(brand.color),
        "edge_light": edge_on(LIGHT.card, brand.color),
        "edge_dark": edge_on(DARK.card, brand.color),
    }


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


class _TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, but for the hub's own values: a mail has 40 look-ups of colours, each checked for 5 us."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) in _OWN_TYPES and not attribute.startswith("_"):
            found = getattr(obj, attribute, None)
            if found is not None:
                return found
        return super().getattr(obj, attribute)


_OWN_TYPES = (Palette, Brand, TemplateModule)


def _environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    environment = _TemplateEnvironment(
        loader=FileSystemLoader(FOLDER),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "amount": _amount,
        "as_text": as_text,
        "first_line": first_line,
        "hidden_text": hidden_text,
        "linked": linked,
        "listed": _listed,
        "moment": _moment,
        "one_line": one_line,
        "paragraphs": paragraphs,
        "payment_failure": _payment_failure,
        "payment_method": _payment_method,
        "safe_html": safe_html,
    }
    environment.tests |= {"known": _known, "link": is_link}
    return environment


_HTML, _TEXT = _environment(html=True), _environment(html=False)
