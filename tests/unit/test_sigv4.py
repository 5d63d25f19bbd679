"""AWS Signature Version 4, with the examples of AWS's own documentation and test suite."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.outbox.email.sigv4 import AwsKey, signed_headers

NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def signature(service: str, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> str:
    key = AwsKey("AKIDEXAMPLE", SECRET, "us-east-1", service)
    signed = signed_headers(key, method, url, headers, body, NOW)
    assert SECRET not in str(signed)
    return signed["Authorization"].rpartition("=")[2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (  # the guide's example
            (
                "iam",
                "GET",
                "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
                {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            ),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
        (  # get-vanilla
            ("service", "GET", "https://example.amazonaws.com/", {}),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (  # post-vanilla
            ("service", "POST", "https://example.amazonaws.com/", {}),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (  # post-x-www-form-urlencoded
            ("service", "POST", "https://example.amazonaws.com/", FORM, b"Param1=value1"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
)
def test_signatures_are_those_of_aws(arguments: tuple[str, str, str, dict[str, str]], expected: str) -> None:
    assert signature(*arguments) == expected


def test_a_temporary_key_signs_its_token_too() -> None:
    key = AwsKey("AKIDEXAMPLE", SECRET, "us-east-1", "ses", "session")
    signed = signed_headers(key, "POST", "https://email.us-east-1.amazonaws.com/v2", {}, b"{}", NOW)
    assert signed["X-Amz-Security-Token"] == "session"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in signed["Authorization"]
