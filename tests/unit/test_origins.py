"""Which pages may open a socket."""

from __future__ import annotations

import pytest

from app.auth.origins import origin_allowed

ALLOWED = ("https://app.example.com", "http://localhost:8000")


@pytest.mark.parametrize("origin", [None, *ALLOWED, "HTTPS://APP.Example.com"])
def test_clients_without_an_origin_and_the_listed_pages_may(origin: str | None) -> None:
    assert origin_allowed(origin, ALLOWED)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "*",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://app.example.com.evil.example",
        "https://evil.example/https://app.example.com",
        "https://x.app.example.com",
        "https://app.example.com, https://app.example.com",
        "http://localhost",
    ],
)
def test_any_other_origin_may_not(origin: str) -> None:
    assert not origin_allowed(origin, ALLOWED)


def test_without_a_list_no_page_may() -> None:
    assert not origin_allowed(ALLOWED[0], ())
    assert origin_allowed(None, ())
