"""No code outlives its use in what is kept for people to look at."""

from __future__ import annotations

import json

import pytest

from app.sources.redaction import REMOVED, redact_message, without_code


def test_who_asked_for_what_is_kept_and_the_rest_removed() -> None:
    message = {"email": "a@b.example", "action": "register", "otp_code": "482913", "more": {"code": "482913"}}
    assert json.loads(without_code(json.dumps(message).encode())) == {
        "email": "a@b.example",
        "action": "register",
        "otp_code": REMOVED,
        "more": REMOVED,
    }


def test_only_texts_are_kept() -> None:
    assert b"482913" not in without_code(b'{"email": {"otp_code": "482913"}, "action": ["482913"]}')


@pytest.mark.parametrize("message", [b"482913", b'["482913"]', b'{"otp_code": "482913"', b"\xff482913"])
def test_what_is_no_object_is_left_out_whole(message: bytes) -> None:
    assert without_code(message) == b""


@pytest.mark.parametrize("field", ["email", "action", "event_type", "event_id"])
def test_a_code_in_the_wrong_field_is_removed_too(field: str) -> None:
    assert b"482913" not in without_code(json.dumps({field: "482913"}).encode())


@pytest.mark.parametrize("field", ["email", "action", "event_type", "event_id"])
def test_nor_does_it_stand_inside_what_is_kept(field: str) -> None:
    code = "abc_def" if field in ("action", "event_type") else "A1B2-C3"
    kept = f"x{code}@b.example" if field == "email" else f"x{code}"
    assert code not in without_code(json.dumps({field: kept, "otp_code": code}).encode()).decode()


@pytest.mark.parametrize("name", ["482913", "code482913", "A1B2C3", "a\n482913", "482913\n"])
def test_nor_is_it_the_name_of_a_field(name: str) -> None:
    assert name not in json.loads(without_code(json.dumps({name: "x", "otp_code": "x"}).encode()))


@pytest.mark.parametrize("key", ["otp_code", "otp\\u005fcode", "\\u006ftp_code"])
@pytest.mark.parametrize("end", ["}", ""])
def test_what_asks_for_a_code_is_redacted_however_it_is_spelled_or_broken(key: str, end: str) -> None:
    assert b"482913" not in redact_message(f'{{"{key}": "482913"{end}'.encode())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32"])
def test_a_code_is_no_safer_from_other_readers_in_an_encoding_that_the_hub_refuses(encoding: str) -> None:
    assert redact_message('{"otp\\u005fcode": "482913"}'.encode(encoding)) == b""


@pytest.mark.parametrize("message", [b"{", b'{"a": "caf\\u00e9"}', b"\xff", b""])
def test_what_asks_for_none_stays_as_it_is(message: bytes) -> None:
    assert redact_message(message) == message
