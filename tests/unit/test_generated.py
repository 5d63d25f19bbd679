"""What `make generated` writes is current: reference pages, the Python client's events, versions."""

from __future__ import annotations

from typer.main import get_command

from app.cli.main import app
from app.dev import code_scan, generate
from app.realtime.protocol import CloseCode
from tests.support.hub import ROOT


def test_the_generated_files_are_current() -> None:
    stale = [
        path for path, text in generate.files(get_command(app)).items() if path.read_text("utf-8") != text
    ]
    assert [path.relative_to(ROOT).as_posix() for path in stale] == [], "run `make generated`"


def test_each_close_code_says_what_a_client_does() -> None:
    described = code_scan.attribute_docstrings("app/realtime/protocol.py", "CloseCode")
    assert described.keys() == {code.name for code in CloseCode}


def test_the_scan_finds_codes_that_are_literals_constants_or_members() -> None:
    found = {(status, code) for status, code in code_scan.literal_calls("Problem", (0, 1)) if code}
    assert found >= {
        ("NOT_FOUND", "no_such_notification"),
        ("CONFLICT", "event_id_conflict"),
        ("REQUEST_ENTITY_TOO_LARGE", "too_large"),
    }
