"""The check of terms: it finds words with a better term, in prose and not in code."""

from __future__ import annotations

import pytest

from app.dev.terms import prose_of_code, wrong_terms


@pytest.mark.parametrize(
    "line",
    [
        "The event waits aside.",
        "This is mended later.",
        "Kept for ever",
        "python run.py puts it; it is put back",
        "in a process of its own",
        "The access token doesn't hold",
        "events are held up by others",
        "two letters in the queue",
        "clients are told twice",
        "measured by turns",
    ],
)
def test_a_word_with_a_better_term_is_found(line: str) -> None:
    assert list(wrong_terms(line))


@pytest.mark.parametrize(
    "line",
    [
        "The event is parked.",
        "`put back` is a name",
        "See [it](put back.md)",
        "amended, recommend",
        "crowdsec, letters and digits, a dead letter's id, handshake",
        "put back # term",
    ],
)
def test_other_words_code_and_marked_lines_are_not(line: str) -> None:
    assert not list(wrong_terms(line))


def test_comments_and_strings_of_a_module_are_read() -> None:
    found = dict(prose_of_code('"""One\ntwo."""\nmend = 1  # three\n'))
    assert found == {1: '"""One', 2: 'two."""', 3: "# three"}
