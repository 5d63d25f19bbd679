"""The ledger of the experiments notices whatever is lost, doubled or strange: one that can't is worthless."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from faults.ledger import SENT, Due, Found, balance

DUE = Due(
    produced=5,
    rows={("ann", 0), ("ben", 0), ("ann", 1), ("ann", 2), ("ann", 3)},
    mails={2, 3},
    dead_letters={4},
    people={("cat", 0), ("dan", 0)},
    digest_items={1, 2},
    steps={3},
    snoozes={("ann", 1)},
)
WHOLE = Found(
    rows=[("ann", 2, 1), ("ann", 1, 0), ("ben", 1, 0), ("ann", 3, 2), ("ann", 4, 3)],
    frames=[("ann", [0, 1, 2, 3]), ("ben", [0])],
    mails=[(3, "<3@hub>"), (2, "<2@hub>")],
    dead_letters=[4],
    people=[("dan", 0), ("cat", 0)],
    digest_items=[(2, "<digest@hub>"), (1, "<digest@hub>")],
    steps=[(3, "<step@hub>")],
    snoozes=[("ann", 1)],
)


def problems(found: Found, *, may_repeat: Collection[str] = ()) -> list[str]:
    return balance(DUE, found).problems(may_repeat=may_repeat)


def test_all_that_was_due_and_nothing_else_is_no_problem() -> None:
    ledger = balance(DUE, WHOLE)
    assert ledger.problems() == []
    counts = (ledger.rows, ledger.frames, ledger.mails, ledger.dead_letters)
    assert [count.due for count in counts] == [5, 5, 2, 1]
    assert [count.found for count in counts] == [5, 5, 2, 1]


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (replace(WHOLE, rows=WHOLE.rows[:-1]), ["1 rows lost"]),
        (replace(WHOLE, rows=[*WHOLE.rows, ("ben", 2, 0)]), ["1 rows doubled"]),
        (replace(WHOLE, rows=[*WHOLE.rows, ("ben", 2, 1)]), ["1 rows of no event"]),
        (replace(WHOLE, rows=[("ann", 5, 3), *WHOLE.rows[:-1]]), ["1 inboxes with gaps in seq"]),
        (replace(WHOLE, frames=[("ann", [0, 1, 3]), ("ben", [0])]), ["1 frames lost"]),
        (replace(WHOLE, frames=[("ann", [0, 1, 1, 2, 3]), ("ben", [0])]), ["1 frames doubled"]),
        (replace(WHOLE, frames=[("ann", [0, 2, 1, 3]), ("ben", [0])]), ["1 clients notified out of order"]),
        (replace(WHOLE, frames=[("ann", [0, 1, 2, 3]), ("ben", [0, 1])]), ["1 frames of no event"]),
        (replace(WHOLE, frames=[("ann", [0, 1, 2, 3]), ("ben", [])]), ["1 frames lost"]),
        (replace(WHOLE, mails=WHOLE.mails[:1]), ["1 mails lost"]),
        (replace(WHOLE, mails=[*WHOLE.mails, (2, "<2@hub>")]), ["1 mails doubled"]),
        (replace(WHOLE, mails=[*WHOLE.mails, (1, "<1@hub>")]), ["1 mails of no event"]),
        (replace(WHOLE, dead_letters=[]), ["1 dead letters lost"]),
        (replace(WHOLE, dead_letters=[4, 4]), ["1 dead letters doubled"]),
        (replace(WHOLE, dead_letters=[4, 0]), ["1 dead letters of no event"]),
        (replace(WHOLE, people=[("cat", 0)]), ["1 people of broadcasts lost"]),
        (replace(WHOLE, people=[*WHOLE.people, ("cat", 0)]), ["1 people of broadcasts doubled"]),
        (replace(WHOLE, people=[*WHOLE.people, ("eve", 0)]), ["1 people of broadcasts of no event"]),
        (replace(WHOLE, digest_items=WHOLE.digest_items[:1]), ["1 digest items lost"]),
        (replace(WHOLE, digest_items=[*WHOLE.digest_items, (1, "<digest@hub>")]), ["1 digest items doubled"]),
        (
            replace(WHOLE, digest_items=[*WHOLE.digest_items, (3, "<digest@hub>")]),
            ["1 digest items of no event"],
        ),
        (replace(WHOLE, steps=[]), ["1 escalation steps lost"]),
        (replace(WHOLE, steps=[*WHOLE.steps, (3, "<step@hub>")]), ["1 escalation steps doubled"]),
        (replace(WHOLE, steps=[*WHOLE.steps, (1, "<step@hub>")]), ["1 escalation steps of no event"]),
        (replace(WHOLE, snoozes=[]), ["1 ends of snoozes lost"]),
        (replace(WHOLE, snoozes=[("ann", 1), ("ann", 1)]), ["1 ends of snoozes doubled"]),
        (replace(WHOLE, snoozes=[("ann", 1), ("ann", 2)]), ["1 ends of snoozes of no event"]),
    ],
    ids=lambda value: value[0].replace(" ", "-") if isinstance(value, list) else "found",
)
def test_whatever_is_wrong_is_a_problem(found: Found, problem: list[str]) -> None:
    assert problems(found) == problem


def test_after_a_crash_mails_and_dead_letters_may_be_repeated_but_rows_and_frames_may_not() -> None:
    twice = Found(
        rows=[*WHOLE.rows, ("ben", 2, 0)],
        frames=[("ann", [0, 1, 2, 3, 3]), ("ben", [0])],
        mails=[*WHOLE.mails, (2, "<2@hub>")],
        dead_letters=[4, 4],
        people=WHOLE.people,
        digest_items=[*WHOLE.digest_items, (1, "<digest@hub>")],
        steps=[*WHOLE.steps, (3, "<step@hub>")],
        snoozes=[("ann", 1), ("ann", 1)],
    )
    ledger = balance(DUE, twice)
    assert ledger.problems(may_repeat=SENT) == [
        "1 rows doubled",
        "1 frames doubled",
        "1 ends of snoozes doubled",
    ]
    assert (ledger.digest_items.doubled, ledger.steps.doubled) == (1, 1)
    assert (ledger.mails.doubled, ledger.dead_letters.doubled) == (1, 1)


def test_a_mail_that_comes_twice_has_one_message_id() -> None:
    twice = replace(WHOLE, mails=[*WHOLE.mails, (2, "<other@hub>")])
    assert problems(twice, may_repeat=SENT) == ["1 mails with a second Message-ID"]


def test_an_event_in_two_digests_is_a_problem_also_after_a_crash() -> None:
    twice = replace(WHOLE, digest_items=[*WHOLE.digest_items, (1, "<next digest@hub>")])
    assert problems(twice, may_repeat=SENT) == ["1 mails with a second Message-ID"]


def test_a_step_that_is_taken_twice_is_a_problem_also_after_a_crash() -> None:
    twice = replace(WHOLE, steps=[*WHOLE.steps, (3, "<other step@hub>")])
    assert problems(twice, may_repeat=SENT) == ["1 mails with a second Message-ID"]
