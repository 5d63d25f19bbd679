"""Which locale a person gets, and that every catalogue says all that the code says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from babel.messages.catalog import Catalog
from babel.messages.catalog import Message as Translated
from babel.messages.pofile import read_po, write_po
from hypothesis import given
from hypothesis import strategies as st

from app.dev import catalogues
from app.texts.hygiene import has_direction, isolated
from app.texts.i18n import DOMAIN, LOCALES, LOCALES_DIR, N_, negotiate, render

PLAIN = "%(requester_username)s removed you from the group %(group_name)s."
COUNTED = "%(dishes)d dish today. Breakfast: %(breakfast)s. Lunch: %(lunch)s. Dinner: %(dinner)s."


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("vi", "vi"),
        ("ru", "ru"),
        ("vi-VN", "vi"),
        ("en-US", "en"),
        ("en-us", "en"),
        ("ru-Cyrl-RU", "ru"),
        ("en_US", "en"),
        ("ru_RU.UTF-8", "ru"),
        ("en-GB,en;q=0.9", "en"),
        ("fr, ru", "ru"),
        ("en;q=0.5, ru;q=0.9", "ru"),
        ("en;q=0.5,ru;q=0.5", "en"),
        ("ru; q=0.2 , en ; q=0.7", "en"),
        ("en;q=0, ru;q=0.1", "ru"),
        ("*;q=0.1, ru", "ru"),
        ("en;q=high, ru;q=0.1", "ru"),
        ("en;q=2, ru;q=0.1", "ru"),
        ("en;q=-1, ru;q=0.1", "ru"),
        ("en;q=nan, ru;q=0.1", "ru"),
        (",, ;q=1, ru", "ru"),
        ("ru," + "x" * 100_000, "ru"),
    ],
    ids=lambda value: value[:40],
)
def test_the_locale_that_the_header_prefers_is_chosen(header: str, locale: str) -> None:
    assert negotiate(header, "none of them") == locale


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "*",
        "fr",
        "fr-FR, de;q=0.5",
        "en;q=0",
        "english",
        ";;;=,=;q",
        "\x00",
        "e n",
        "x" * 2000 + ",ru",
    ],
    ids=lambda value: repr(value)[:40],
)
def test_without_a_locale_that_fits_it_is_the_default(header: str | None) -> None:
    assert negotiate(header, "vi") == "vi"


@given(st.text(st.sampled_from("*,;=q.0159-_ enruvi\u0660\x00"), max_size=60))
def test_any_header_of_lower_case_letters_gives_a_locale_there_is(header: str) -> None:
    assert negotiate(header, "vi") in LOCALES


@pytest.mark.parametrize("locale", LOCALES)
def test_values_are_inserted_as_they_are(locale: str) -> None:
    shown = render(locale, N_(PLAIN), {"requester_username": "%(group_name)s", "group_name": "{0}%s"})
    assert "%(group_name)s" in shown
    assert "{0}%s" in shown


@pytest.fixture(scope="module")
def template() -> Catalog:
    """The texts in the code, which take half a second to collect."""
    return catalogues.extract()


@pytest.fixture
def collected(template: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """They aren't collected again by each step of a test."""
    monkeypatch.setattr(catalogues, "extract", lambda: template)


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("locale", LOCALES)
def test_no_text_runs_from_right_to_left_by_itself(locale: str) -> None:
    """Only values are looked at: one that does is isolated, whatever the text is."""
    with (LOCALES_DIR / locale / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        catalogue = read_po(file, locale=locale)
    texts = [str(text) for message in catalogue for text in (message.string, message.id)]
    assert not [text for text in texts if has_direction(text)]


@given(st.dictionaries(st.sampled_from(["who", "what"]), st.text(), min_size=2), st.sampled_from(LOCALES))
def test_values_are_isolated_as_the_whole_text_says(params: dict[str, str], locale: str) -> None:
    message = N_("%(who)s has changed %(what)s")
    text = message.singular % params
    expected = message.singular % {name: isolated(value) for name, value in params.items()}
    assert render(locale, message, params) == (expected if has_direction(text) else text)


def test_every_catalogue_is_complete() -> None:
    assert catalogues.check() == []


def missing(catalogue: Catalog) -> None:
    catalogue.delete(PLAIN)


def stale(catalogue: Catalog) -> None:
    catalogue.add(f"{PLAIN} Indeed.", "…")


def fuzzy(catalogue: Catalog) -> None:
    _message(catalogue, PLAIN).flags.add("fuzzy")


def untranslated(catalogue: Catalog) -> None:
    _message(catalogue, PLAIN).string = ""


def untranslated_plural(catalogue: Catalog) -> None:
    _message(catalogue, COUNTED).string = (*_forms(catalogue)[:-1], "")


def left_in_english(catalogue: Catalog) -> None:
    _message(catalogue, PLAIN).string = PLAIN


def left_in_english_in_the_plural(catalogue: Catalog) -> None:
    _message(catalogue, COUNTED).string = (*_forms(catalogue)[:-1], COUNTED)


def left_out_place(catalogue: Catalog) -> None:
    _message(catalogue, PLAIN).string = "%(group_name)s"


def wrong_conversion(catalogue: Catalog) -> None:
    _message(catalogue, PLAIN).string = "%(requester_username)d: %(group_name)s"


def wrong_plural_count(catalogue: Catalog) -> None:
    _message(catalogue, COUNTED).string = _forms(catalogue)[:2]


def _forms(catalogue: Catalog) -> tuple[str, ...]:
    return tuple(_message(catalogue, COUNTED).string or ())


def _message(catalogue: Catalog, text: str) -> Translated:
    message = catalogue.get(text)
    assert message is not None
    return message


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (missing, "ru: missing: "),
        (stale, "ru: stale, no longer in the code: "),
        (fuzzy, "ru: marked fuzzy, review it: "),
        (untranslated, "ru: not translated: "),
        (untranslated_plural, "ru: not translated: "),
        (left_in_english, "ru: not translated, still the English text: "),
        (left_in_english_in_the_plural, "ru: not translated, still the English text: "),
        (left_out_place, "ru: names other places than the code: "),
        (wrong_conversion, "ru: incompatible format for placeholder 'requester_username'"),
        (wrong_plural_count, "ru: Wrong number of plural forms"),
    ],
)
def test_a_catalogue_that_falls_short_is_found(
    template: Catalog, spoil: Callable[[Catalog], None], named: str
) -> None:
    catalogue = catalogues.read("ru")
    spoil(catalogue)
    found = catalogues.problems(template, "ru", catalogue)
    assert len(found) == 1
    assert found[0].startswith(named)
    assert PLAIN in found[0] or COUNTED in found[0]


@pytest.mark.usefixtures("collected")
def test_an_update_adds_new_texts_untranslated_except_in_english(tmp_path: Path) -> None:
    for locale in LOCALES:
        copytree(catalogues.path_of(locale).parent, catalogues.path_of(locale, tmp_path).parent)
        catalogue = catalogues.read(locale, tmp_path)
        catalogue.delete(PLAIN)
        with catalogues.path_of(locale, tmp_path).open("wb") as po:
            write_po(po, catalogue)
    catalogues.update(tmp_path)
    added = {locale: _message(catalogues.read(locale, tmp_path), PLAIN).string for locale in LOCALES}
    assert added == {"vi": "", "en": PLAIN, "ru": ""}
    assert catalogues.check(tmp_path) == [f"{locale}: not translated: {PLAIN}" for locale in ("vi", "ru")]


@pytest.mark.usefixtures("collected")
def test_an_update_keeps_translations_and_a_second_one_changes_nothing(tmp_path: Path) -> None:
    for locale in LOCALES:
        copytree(catalogues.path_of(locale).parent, catalogues.path_of(locale, tmp_path).parent)
    catalogues.update(tmp_path)
    once = {locale: catalogues.path_of(locale, tmp_path).read_bytes() for locale in LOCALES}
    for locale in LOCALES:
        before, after = catalogues.read(locale), catalogues.read(locale, tmp_path)
        assert {m.id: m.string for m in before if m.id} == {m.id: m.string for m in after if m.id}
    catalogues.update(tmp_path)
    assert once == {locale: catalogues.path_of(locale, tmp_path).read_bytes() for locale in LOCALES}


def test_a_locale_without_a_catalogue_misses_every_text(template: Catalog) -> None:
    empty = Catalog(locale="ru", domain=template.domain)
    assert len(catalogues.problems(template, "ru", empty)) == len([m for m in template if m.id])


@pytest.mark.parametrize("header", ["EN", "Vi", "RU-ru", "VI-VN;Q=0.5"])
def test_language_tags_and_parameters_have_no_case(header: str) -> None:
    assert negotiate(header, "none") in LOCALES


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("vi;q=0, *", "en"),
        ("vi;q=0", "en"),
        ("*, vi;q=0, en;q=0", "ru"),
        ("vi-VN;q=0.0, fr", "en"),
        ("*;q=0.5, ru;q=0.1", "vi"),
        ("fr, ru;q=0.2, *;q=0.1", "ru"),
        ("*", "vi"),
        ("vi;q=0, en;q=0, ru;q=0", "vi"),
    ],
)
def test_a_language_that_is_refused_is_not_the_answer(header: str, locale: str) -> None:
    assert negotiate(header, "vi") == locale
