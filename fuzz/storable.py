"""What Postgres can store: texts and JSON that it doesn't refuse."""

from __future__ import annotations

import json
from typing import Any


def check_text(text: str, most: int) -> None:
    """A text of at most `most` characters, without NUL and halves of characters."""
    assert "\0" not in text, "a text holds NUL, which Postgres refuses"
    text.encode()
    assert len(text) <= most, f"a text has {len(text)} characters, at most {most} were expected"


def check_json(text: str, most: int) -> None:
    """A JSON object as jsonb takes it, of at most `most` bytes."""
    assert len(text.encode()) <= most, f"{len(text.encode())} bytes of JSON, at most {most} were expected"
    body = json.loads(text, parse_constant=_refuse)
    assert isinstance(body, dict), "it is no object"
    _walk(body)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _walk(value: Any) -> None:
    rest = [value]
    while rest:
        found = rest.pop()
        if isinstance(found, str):
            check_text(found, len(found))
        elif isinstance(found, dict):
            rest += [*found.keys(), *found.values()]
        elif isinstance(found, list):
            rest += found
