"""The translators' tool: `python -m app.dev.catalogues check` lists missing, stale and malformed texts.

`… update` brings the catalogues up to the texts in the code: it adds new ones empty and removes unused ones.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from babel.messages.catalog import Catalog, Message, TranslationError
from babel.messages.checkers import num_plurals, python_format
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from app.texts.i18n import DOMAIN, LOCALES, LOCALES_DIR

ROOT = LOCALES_DIR.parent
KEYWORDS = {"N_": None, "NN_": (1, 2), "_": None, "ngettext": (1, 2)}
METHODS = (("**.py", "python"), ("**.jinja", "jinja2"))
CODE = ("app", "handlers")
SOURCE_LOCALE = "en"  # the language of the texts in the code
SAME_IN_ENGLISH: frozenset[tuple[str, str]] = frozenset()
"""The pairs of locale and text whose translation may equal the English text."""


def extract(root: Path = ROOT) -> Catalog:
    """Every text marked in the code and the templates under `root`."""
    template = Catalog(domain=DOMAIN)
    for folder in CODE:
        found = extract_from_dir(root / folder, METHODS, {"**.jinja": {"silent": "false"}}, keywords=KEYWORDS)
        for path, line, text, comments, _ in found:
            template.add(text, locations=[(f"{folder}/{path}", line)], auto_comments=comments)
    return template


def path_of(locale: str, locales: Path = LOCALES_DIR) -> Path:
    """The catalogue of a language."""
    return locales / locale / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(locale: str, locales: Path = LOCALES_DIR) -> Catalog:
    """The catalogue of `locale`; an empty one when it has none yet."""
    path = path_of(locale, locales)
    if not path.exists():
        return Catalog(locale=locale, domain=DOMAIN, project="notification-hub", fuzzy=False)
    with path.open("rb") as po:
        return read_po(po, locale=locale, domain=DOMAIN)


def problems(template: Catalog, locale: str, catalogue: Catalog) -> list[str]:
    """The problems of `catalogue`, a line each: its texts must be those of `template`, all translated."""
    wanted = {message.id for message in template if message.id}
    found = {message.id: message for message in catalogue if message.id}
    lines = [f"{locale}: missing: {_text(key)}" for key in wanted - found.keys()]
    lines += [f"{locale}: stale, no longer in the code: {_text(key)}" for key in found.keys() - wanted]
    for key in wanted & found.keys():
        lines += (f"{locale}: {problem}: {_text(key)}" for problem in _flaws(locale, catalogue, found[key]))
    return sorted(lines)


def _flaws(locale: str, catalogue: Catalog, message: Message) -> list[str]:
    texts = [str(text) for text in _forms(message.string)]
    if not all(texts):
        return ["not translated"]
    flaws = []
    if any(_places(text) != _places(_text(message.id)) for text in texts):
        flaws.append("names other places than the code")
    if locale != SOURCE_LOCALE and any(_is_english(locale, text, message) for text in texts):
        flaws.append("not translated, still the English text")
    if message.fuzzy:
        flaws.append("marked fuzzy, review it")
    for checker in (num_plurals, python_format):
        try:
            checker(catalogue, message)
        except TranslationError as error:
            flaws.append(str(error))
    return flaws


def check(locales: Path = LOCALES_DIR) -> list[str]:
    """The problems of every catalogue."""
    template = extract()
    return [line for locale in LOCALES for line in problems(template, locale, read(locale, locales))]


def update(locales: Path = LOCALES_DIR) -> None:
    """Bring every catalogue up to the code, keeping its translations."""
    template = extract()
    for locale in LOCALES:
        catalogue = read(locale, locales)
        # A copy: Babel adds the template's own message objects, whose translations would be shared.
        catalogue.update(deepcopy(template), no_fuzzy_matching=True, update_creation_date=False)
        catalogue.obsolete.clear()
        catalogue.header_comment = f"# The hub's texts in {catalogue.locale.english_name}."
        if locale == SOURCE_LOCALE:
            _translate_to_itself(catalogue)
        path = path_of(locale, locales)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as po:
            write_po(po, catalogue, width=110, omit_header=False, include_lineno=False, ignore_obsolete=True)


def _is_english(locale: str, text: str, message: Message) -> bool:
    """Whether a text with words is the same in the code."""
    words = re.sub(r"%\(\w+\)[a-z]", "", text)
    if not re.search(r"[^\W\d_]", words) or (locale, text) in SAME_IN_ENGLISH:
        return False
    return text in _forms(message.id)


def _forms(value: str | Sequence[str] | None) -> Sequence[str]:
    return (value or "",) if value is None or isinstance(value, str) else value


def _places(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)", text))


def _translate_to_itself(catalogue: Catalog) -> None:
    for message in catalogue:
        if message.id:
            message.string = message.id


def _text(key: str | tuple[str, ...] | list[str]) -> str:
    return key if isinstance(key, str) else key[0]


def main(arguments: list[str]) -> int:
    """Update or check the catalogues. Returns the exit status."""
    match arguments:
        case ["update"]:
            update()
        case ["check"]:
            pass
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    found = check()
    print("\n".join(found) if found else f"Catalogues complete: {', '.join(LOCALES)}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
