"""Opened mails: an image in mails of the chosen categories alone, whose name nobody else can make."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr, ValidationError
from sanic import Sanic
from sanic_testing.testing import SanicASGITestClient

from app.api import errors
from app.api.opened import OpenedResource
from app.auth.delivery_tokens import OPENED, RETURN_PATH, DeliveryTokens
from app.auth.secrets import SecretBox
from app.domain.delivery_events import DeliveryReport, EventKind
from app.domain.errors import ConfigurationError, Unavailable
from app.outbox.channel import Outgoing
from app.outbox.email.opens import OpenImages
from app.settings.channels import SmtpSettings
from tests.unit.test_callbacks import Open, Reports

BOX = SecretBox((), SecretStr("k" * 40), SecretStr("postgresql://p/hub"))
DELIVERY = UUID(int=5 << 100)
HTML = "<html><body><p>Text</p></body></html>"


def outgoing(category: str | None, **changes: Any) -> Outgoing:
    return Outgoing(DELIVERY, "plain", "an@example.com", "en", {}, category=category, **changes)


def test_only_mails_of_the_categories_have_the_image() -> None:
    images = OpenImages(["food", "plans"], "https://hub.example/", BOX)
    for category in ("food", "plans"):
        found = images.add_to(HTML, outgoing(category))
        (url,) = re.findall(r'<img src="([^"]+)"', found)
        assert re.fullmatch(r"https://hub\.example/opened/[a-z2-7]{42}\.gif", url)
        assert found.endswith("></body></html>")
        assert found.replace(re.findall("<img.*?>", found)[0], "") == HTML
    for each in (outgoing("bookings"), outgoing(None), outgoing("food", confidential=True)):
        assert images.add_to(HTML, each) == HTML
    assert images.add_to("<p>", outgoing("food")).startswith("<p><img ")


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="PUBLIC_URL"):
        OpenImages(["food"], None, BOX)
    for categories in ("security", "food,nonsense"):
        with pytest.raises(ValidationError, match="no such category"):
            SmtpSettings.model_validate({"opens": categories})
    assert SmtpSettings().opens == ()


class Failing(Reports):
    async def record(self, _: object) -> int:
        raise Unavailable("postgres", "it is down")


class Served:
    def __init__(self, reports: Reports) -> None:
        self.open = Open()
        app: Sanic[Any, Any] = Sanic(f"opened-{id(self)}", configure_logging=False)
        errors.install(app)
        resource = OpenedResource(self.open, reports, DeliveryTokens(BOX, OPENED))  # type: ignore[arg-type]
        app.blueprint(resource.blueprint())
        self._client = SanicASGITestClient(app)

    async def get(self, image: str) -> int:
        _, answer = await self._client.get(f"/opened/{image}")
        assert answer.content.startswith(b"GIF89a")
        assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == ("image/gif", "no-store")
        status: int = answer.status
        return status


async def test_an_opening_is_recorded_and_a_forged_name_changes_nothing() -> None:
    reports = Reports()
    served = Served(reports)
    token = DeliveryTokens(BOX, OPENED).make(DELIVERY)
    assert [await served.get(f"{token}.gif") for _ in range(2)] == [200, 200]
    (first, *others) = reports.recorded
    assert (first.delivery, first.kind) == (DELIVERY, EventKind.OPENED)
    assert all(isinstance(each, DeliveryReport) for each in others)
    of_path = DeliveryTokens(BOX, RETURN_PATH).make(DELIVERY)
    forged = [
        f"{of_path}.gif",
        f"{token}.png",
        token,
        f"{token}a.gif",
        f"a{token[1:-1]}.gif",
        ".gif",
        "é.gif",
    ]
    assert {await served.get(each) for each in forged} == {404}
    assert served.open.refusals == len(forged)
    assert len(reports.recorded) == 2


async def test_a_reader_gets_the_image_while_postgres_is_down() -> None:
    assert await Served(Failing()).get(f"{DeliveryTokens(BOX, OPENED).make(DELIVERY)}.gif") == 200
