"""The gallery serves every template, and nothing in it can run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sanic import Sanic
from sanic_testing.testing import SanicASGITestClient

from app.dev import gallery
from app.settings import load
from app.texts.i18n import LOCALES
from app.texts.rendering import TEMPLATES


@pytest.fixture
def app() -> Iterator[Sanic[Any, Any]]:
    Sanic.test_mode = True
    app: Sanic[Any, Any] = Sanic("gallery", configure_logging=False)
    settings = load(
        _env_file="",
        database_url="postgresql://localhost/hub",
        redis_url="redis://localhost",
        kafka_bootstrap_servers="localhost:9092",
        user_service_url="http://localhost",
        jwt_algorithm="HS256",
        jwt_secret="a secret for tests, long enough to be accepted",
        brand_name="Kitchen & Co",
    )
    app.blueprint(gallery.make_blueprint(settings))
    yield app
    Sanic.unregister_app(app)


async def get(app: Sanic[Any, Any], path: str) -> Any:
    _, response = await SanicASGITestClient(app).get(path)
    return response


async def test_the_page_shows_every_template_in_every_language(app: Sanic[Any, Any]) -> None:
    response = await get(app, "/gallery/")
    assert response.status_code == 200
    for template in TEMPLATES:
        for locale in LOCALES:
            assert f'src="/gallery/{template}/{locale}?scheme=light" sandbox' in response.text
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "<script" not in response.text


async def test_what_is_chosen_is_shown_and_marked(app: Sanic[Any, Any]) -> None:
    page = (await get(app, "/gallery/?locale=ru&width=desktop&scheme=dark")).text
    assert page.count("<iframe ") == len(TEMPLATES)
    assert 'src="/gallery/plain/ru?scheme=dark"' in page
    for current in ("Русский", "Desktop", "Dark"):
        assert f'aria-current="true">{current}</a>' in page
    assert 'href="?locale=vi&amp;width=desktop&amp;scheme=dark"' in page


@pytest.mark.parametrize("template", sorted(TEMPLATES))
async def test_a_mail_is_served_inert_in_light_and_dark(app: Sanic[Any, Any], template: str) -> None:
    light, dark = [await get(app, f"/gallery/{template}/vi?scheme={scheme}") for scheme in gallery.SCHEMES]
    assert "Kitchen &amp; Co" in light.text
    assert "@media not all {" in light.text
    assert "@media all {" in dark.text
    assert "sandbox" in dark.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("template", "offered"), [("low_stock", True), ("plain", True), ("payment_failed", False)]
)
async def test_a_mail_offers_to_unsubscribe_where_the_hub_would(
    app: Sanic[Any, Any], template: str, offered: bool
) -> None:
    assert (gallery.UNSUBSCRIBE in (await get(app, f"/gallery/{template}/en")).text) is offered


@pytest.mark.parametrize("path", ["/gallery/nothing/vi", "/gallery/plain/fr"])
async def test_what_there_is_not_is_not_found(app: Sanic[Any, Any], path: str) -> None:
    assert (await get(app, path)).status_code == 404


def test_every_picture_of_the_docs_is_there_and_light() -> None:
    shown = (gallery.IMAGES.parent / "how-to" / "mail.md").read_text("utf-8")
    for picture in gallery.PICTURES:
        assert picture.path.stat().st_size < 120 * 1024
        assert f"images/{picture.path.name}" in shown
