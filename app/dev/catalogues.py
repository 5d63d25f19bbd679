"""The translators' tool: `python -m app.dev.catalogues check` names each missing, stale or ill-formed text,
`… update` brings the catalogues up to the texts in the code (new ones empty, unused ones removed).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.checkers import num_plurals, python_format
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from app.texts.i18n import DOMAIN, LOCALES, LOCALES_DIR

ROOT = LOCALES_DIR.parent
KEYWORDS = {"N_": None, "NN_": (1, 2), "_": None, "ngettext": (1, 2)}
METHODS = (("**.py", "python"), ("**.jinja", "jinja2"))
CODE = ("app", "handlers")
SOURCE_LOCALE = "en"  # what the texts in the code are written in


def extract(root: Path = ROOT) -> Catalog:
    """Every text marked in the code and the templates under `root`."""
    template = Catalog(domain=DOMAIN)
    for room in CODE:
        found = extract_from_dir(root / room, METHODS, {"**.jinja": {"silent": "false"}}, keywords=KEYWORDS)
        for path, line, text, comments, _ in found:
            template.add(text, locations=[(f"{room}/{path}", line)], auto_comments=comments)
    return template


def path_of(locale: str, locales: Path = LOCALES_DIR) -> Path:
    return locales / locale / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(locale: str, locales: Path = LOCALES_DIR) -> Catalog:
    """The catalogue of `locale`; an empty one when it has none yet."""
    path = path_of(locale, locales)
    if not path.exists():
        return Catalog(locale=locale, domain=DOMAIN, project="notification-hub", fuzzy=False)
    with path.open("rb") as po:
        return read_po(po, locale=locale, domain=DOMAIN)


def problems(template: Catalog, locale: str, catalogue: Catalog) -> list[str]:
    """What is wrong with `catalogue`, a line each; empty when it says all that the code says, and no more."""
    wanted = {message.id for message in template if message.id}
    found = {message.id: message for message in catalogue if message.id}
    lines = [f"{locale}: missing: {_words(key)}" for key in wanted - found.keys()]
    lines += [f"{locale}: stale, no longer in the code: {_words(key)}" for key in found.keys() - wanted]
    for key in wanted & found.keys():
        message = found[key]
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        if not all(texts):
            lines.append(f"{locale}: not translated: {_words(key)}")
            continue
        if any(_places(str(text)) != _places(_words(key)) for text in texts):
            lines.append(f"{locale}: names other places than the code: {_words(key)}")
        if message.fuzzy:
            lines.append(f"{locale}: marked fuzzy, look at it: {_words(key)}")
        for checker in (num_plurals, python_format):
            try:
                checker(catalogue, message)
            except Exception as error:
                lines.append(f"{locale}: {error}: {_words(key)}")
    return sorted(lines)


def check() -> list[str]:
    """The problems of every catalogue."""
    template = extract()
    return [line for locale in LOCALES for line in problems(template, locale, read(locale))]


def update() -> None:
    """Bring every catalogue up to the code, keeping its translations."""
    template = extract()
    for locale in LOCALES:
        catalogue = read(locale)
        catalogue.update(template, no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        catalogue.header_comment = f"# The hub's texts in {catalogue.locale.english_name}."
        if locale == SOURCE_LOCALE:
            _translate_to_itself(catalogue)
        path = path_of(locale)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as po:
            write_po(po, catalogue, width=110, omit_header=False, include_lineno=False, ignore_obsolete=True)


def _places(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)", text))


def _translate_to_itself(catalogue: Catalog) -> None:
    for message in catalogue:
        if message.id:
            message.string = message.id


def _words(key: str | tuple[str, ...] | list[str]) -> str:
    return key if isinstance(key, str) else key[0]


def main(arguments: list[str]) -> int:
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
