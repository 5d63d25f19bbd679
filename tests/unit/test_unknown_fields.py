"""Bodies with a field that no call has: 400, with the field and the one that is perhaps meant."""

from __future__ import annotations

import msgspec
import pytest

from app.domain.errors import InvalidEvent
from app.domain.fields import described, unknown_field
from app.sources.http import check_fields
from handlers.messages import MessageRequest

MESSAGE = {"type": "email", "to": "user@example.com", "message": "Hello!"}
FIELDS = MessageRequest.__struct_fields__


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("sendAt", "did you mean `send_at`?"),
        ("scheduled_at", "did you mean `send_at`?"),
        ("send-at", "did you mean `send_at`?"),
        ("Send_At", "did you mean `send_at`?"),
        ("mesage", "did you mean `message`?"),
        ("templateCode", "did you mean `template_code`?"),
        ("userId", "did you mean `user_id`?"),
        ("subject", "did you mean `title`?"),
        ("body", "did you mean `message`?"),
        ("cc", "attachments, audience, category, "),
        ("url", "attachments, audience, category, "),
        ("x" * 500, "attachments, audience, category, "),
    ],
)
def test_an_unknown_field_of_a_message_is_named_with_the_nearest(field: str, meant: str) -> None:
    for form in ({}, {"event_type": "message"}, {"event_type": None}):
        with pytest.raises(InvalidEvent) as refused:
            check_fields(msgspec.json.encode({**MESSAGE, **form, field: "x"}))
        assert refused.value.reason == "unknown_field"
        assert f"`{field[:60]}" in str(refused.value)
        assert meant in str(refused.value)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "event",
    [
        MESSAGE,
        {**MESSAGE, "event_id": "1", "title": "x", "html": "x", "locale": "vi", "data": {"any": 1}},
        {**MESSAGE, "cc": None, "traceparent": "x", "sent_at": "x", "_meta": 1},
        {**MESSAGE, "attachments": [{"name": "a", "content": "", "content_type": "text/plain"}]},
        {"event_type": "low_stock", "product_name": "x", "anything": 1},
        ["no", "object"],
    ],
)
def test_fields_that_are_known_or_a_publishers_are_accepted(event: object) -> None:
    check_fields(msgspec.json.encode(event))


def test_fields_of_attachments_are_known_too() -> None:
    attached = [{"filename": "a.pdf", "content": ""}]
    with pytest.raises(InvalidEvent, match=r"`filename`.*`name`"):
        check_fields(msgspec.json.encode({**MESSAGE, "attachments": attached}))


@pytest.mark.parametrize("field", ["482913", "otp482913", "eyJhbGciOiJIUzI1NiJ9.e30", "+84901234567", "a b"])
def test_what_looks_like_a_value_is_not_repeated(field: str) -> None:
    said = described(field, FIELDS)
    assert field not in said
    assert "attachments" in said


@pytest.mark.parametrize("field", FIELDS)
def test_a_known_field_is_no_mistake(field: str) -> None:
    assert unknown_field([field], FIELDS) is None
    assert field in described(field.replace("_", "").upper(), FIELDS)
