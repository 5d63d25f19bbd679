"""The subject of a mail that a service sends without a title, over any transport."""

from __future__ import annotations

from typing import Any

import pytest

from app.testing import MemoryHub
from app.texts.brand import Brand
from app.texts.rendering import MailRenderer, sms_text

RENDERER = MailRenderer(Brand("Old Cinema", "#0b6e99"))


@pytest.mark.parametrize(
    ("texts", "subject"),
    [
        ({"message": "Hello!"}, "Hello!"),
        ({"message": "\r\n  Your seats \nare reserved."}, "Your seats"),
        ({"message": "Hello!", "title": ""}, "Hello!"),
        ({"message": "Hello!", "title": "A title"}, "A title"),
        ({"message": "Hello!", "html": "<p>Other</p>"}, "Hello!"),
        (
            {"html": "<style>p { color: red }</style><p>Your <b>seats</b></p><p>are reserved</p>"},
            "Your seats",
        ),
        ({"html": "<p>&#8203;</p>"}, "Old Cinema"),
        ({"html": "<img src='https://example.com/a.png'>"}, "Old Cinema"),
        ({"message": "x" * 300}, "x" * 149 + "…"),
    ],
)
async def test_it_is_the_first_line_of_the_text_or_the_brands_name(
    texts: dict[str, str], subject: str
) -> None:
    hub = MemoryHub()
    event = {"type": "email", "to": "user@example.com", **texts}
    assert await hub.publish(event, source="rabbitmq") is None
    (delivery,) = hub.deliveries
    assert RENDERER.render(delivery.template, "en", delivery.data).subject == subject


async def test_an_sms_without_a_title_is_its_message_alone() -> None:
    hub = MemoryHub()
    event: dict[str, Any] = {"type": "sms", "to": "+84912345678", "message": "Your seats\nare reserved."}
    assert await hub.publish(event) is None
    (delivery,) = hub.deliveries
    assert sms_text(delivery.template, "en", delivery.data).splitlines() == ["Your seats", "are reserved."]
