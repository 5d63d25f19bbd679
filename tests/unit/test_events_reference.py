"""docs/reference/events.md says what the handlers do."""

from __future__ import annotations

from app.dev import events_reference


def test_the_page_is_the_one_that_the_handlers_make() -> None:
    """If this fails: `python -m app.dev.events_reference`."""
    assert events_reference.PATH.read_text("utf-8") == events_reference.text()
