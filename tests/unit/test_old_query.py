"""The query of a list at the paths of other services, under the names that they had."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qs

import pytest
from sanic import Request
from sanic.request import RequestParameters

from app.api.compat.rows import window
from app.api.errors import Problem
from app.api.notifications import Window


class Query:
    """A request that has a query only."""

    def __init__(self, query: str) -> None:
        self._args = RequestParameters(parse_qs(query, keep_blank_values=True))

    def get_args(self, **_: Any) -> RequestParameters:
        return self._args


def read(query: str) -> Window:
    return window(cast(Request, Query(query)))


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", Window()),
        ("_=1&sort=desc&read=false", Window()),
        ("limit=20", Window(limit=20)),
        ("size=20&skip=40", Window(20, 40)),
        ("per_page=20&offset=40", Window(20, 40)),
        ("page=1", Window()),
        ("page=3&page_size=20", Window(20, 40)),
        ("page=2", Window(None, 1000)),
        ("limit=50&offset=0&page=1", Window(50)),
        ("offset=10&page=7", Window(None, 10)),
        *((f"unread_only={yes}", Window(unread=True)) for yes in ("true", "True", "1", "yes")),
        *((f"unread={no}", Window()) for no in ("false", "False", "0")),
    ],
)
def test_the_names_of_other_services_are_read(query: str, wanted: Window) -> None:
    assert read(query) == wanted


@pytest.mark.parametrize(
    ("query", "named", "most"),
    [
        ("limit=0", "limit", 1000),
        ("size=many", "size", 1000),
        ("offset=-1", "offset", 1000),
        ("skip=1001", "skip", 1000),
        ("page=0", "page", 2),
        ("page=102&limit=10", "page", 101),
        ("page=1&page=2", "page", 2),
        ("unread_only=maybe", "unread_only", None),
        ("unread_only=", "unread_only", None),
    ],
)
def test_an_error_names_the_parameter_as_it_was_sent(query: str, named: str, most: int | None) -> None:
    with pytest.raises(Problem) as raised:
        read(query)
    assert (raised.value.code, raised.value.params["name"]) == ("bad_parameter", named)
    assert raised.value.params.get("most") == most
