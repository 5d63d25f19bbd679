"""The From header: one address, whatever the name, on every Python."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.utils import getaddresses

import pytest

from app.domain.addresses import Mailbox
from app.outbox.email.message import build, sender, to_bytes
from app.texts.rendering import Mail

TO = Mailbox("an", "example.com")
COMMAS = "Nguyen, Tran, Le and Partners, Limited Liability Company for Cooking, Eating and Sharing, Ha Noi"


@pytest.mark.parametrize(
    "name",
    [
        COMMAS,
        f"{COMMAS}; {COMMAS} <x@evil.example>",
        "Bếp, Nhà hàng và Quán ăn, Công ty trách nhiệm hữu hạn một thành viên, Hà Nội, Việt Nam",
        'The "Kitchen", Ltd.',
        "x" * 140,
        "a@b.example, c@d.example",
        "Hub",
        "",
    ],
)
def test_a_name_of_any_length_is_one_address(name: str) -> None:
    quoted = name.replace('"', '\\"')
    origin = sender(f'"{quoted}" <no-reply@hub.example>')
    message = build(Mail("s", "t", "<p>t</p>"), origin, TO, message_id="1@hub.example")
    head = to_bytes(message).partition(b"\r\n\r\n")[0]
    assert all(len(line) <= 160 for line in head.split(b"\r\n"))
    read = message_from_bytes(head, policy=policy.default)["From"]
    assert [each.addr_spec for each in read.addresses] == ["no-reply@hub.example"]
    raw = head.decode().partition("From: ")[2].split("\r\n")
    unfolded = "".join([raw[0], *(line for line in raw[1 : _folded(raw)])])
    assert [address for _, address in getaddresses([unfolded])] == ["no-reply@hub.example"]
    shown = str(make_header(decode_header(getaddresses([unfolded])[0][0])))
    assert shown == origin.name
    # Python's parser reads a blank between two encoded words, which RFC 2047 (6.2) drops.
    assert "".join(read.addresses[0].display_name.split()) == "".join(origin.name.split())
    assert not origin.name.isascii() or read.addresses[0].display_name == origin.name


def _folded(lines: list[str]) -> int:
    return next(
        (number for number, line in enumerate(lines) if number and not line.startswith(" ")), len(lines)
    )
