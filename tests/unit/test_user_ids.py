"""Ids of users: UUIDs in every spelling are the same person, and never foreign."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid5

import pytest

from app.domain.user_ids import UUIDS_ONLY, UserIds, foreign_id, parse_uuid

# Fixed, as they are in the ids of tests, which have to be the same in each worker.
USER, NAMESPACE = UUID("3e5a1c76-b0ac-4e3c-9786-7ad17828de41"), UUID("f09520f1-176c-451b-ab23-ce9d13a290e6")
SPELLINGS = (
    *(str(USER), str(USER).upper(), USER.hex, USER.hex.upper()),
    *(f"{{{USER}}}", f"{{{USER.hex}}}", USER.urn, USER.urn.upper(), f"urn:uuid:{{{USER}}}"),
)
FOREIGN = (
    *("user_123", "1", "a", " x ", "x" * 200, f"{USER}x", f"x{USER}", f"{{{USER}", f"{USER}}}", f"{USER}\n"),
    *(USER.hex[:-1], f"_{USER.hex[1:]}", "６" * 32),
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_uuid_is_read_in_every_spelling(spelling: str) -> None:
    assert parse_uuid(spelling) == USER
    assert foreign_id(spelling) is None
    assert UUIDS_ONLY.read(spelling) == UserIds(NAMESPACE).read(spelling) == USER


@pytest.mark.parametrize("text", FOREIGN)
def test_any_other_text_is_a_foreign_id(text: str) -> None:
    assert parse_uuid(text) is None
    assert foreign_id(text) == text
    assert UUIDS_ONLY.read(text) is None
    assert UserIds(NAMESPACE).read(text) == uuid5(NAMESPACE, text)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1"),
        (0, "0"),
        (-7, "-7"),
        (7.0, "7"),
        (1.5, "1.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("7.00"), "7"),
    ],
)
def test_a_number_is_the_text_of_its_decimals(number: float | Decimal, text: str) -> None:
    assert foreign_id(number) == text
    assert UserIds(NAMESPACE).read(number) == UserIds(NAMESPACE).read(text)


@pytest.mark.parametrize("value", [None, "", " \t", "x" * 201, True, False, [], {}, ["a"], b"a", 10**200])
def test_nothing_else_is_an_id(value: object) -> None:
    assert foreign_id(value) is None
    assert UserIds(NAMESPACE).read(value) is None


def test_another_namespace_has_other_users() -> None:
    assert UserIds(NAMESPACE).read("a") != UserIds(UUID(int=1)).read("a")
