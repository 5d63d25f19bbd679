"""The pages of the API reference: they load nothing from elsewhere, and their policy allows what they run."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from sanic import Sanic
from sanic_testing.testing import SanicASGITestClient

from app.api import docs, errors, security_headers
from app.api.prefixes import DOCS, REDOC
from tests.support.hub import ROOT

OLD = docs.Reference("/old/openapi.json", "/old/docs", "/old/redoc", "operation")


@pytest.fixture
def app() -> Iterator[Sanic[Any, Any]]:
    Sanic.test_mode = True
    app: Sanic[Any, Any] = Sanic("references", configure_logging=False)
    app.config.AUTO_EXTEND = False
    errors.install(app, {"/old": OLD.swagger})
    docs.configure(app, "1", (OLD,))
    yield app
    Sanic.unregister_app(app)


async def get(app: Sanic[Any, Any], path: str) -> Any:
    _, response = await SanicASGITestClient(app).request("GET", path)
    return response


@pytest.mark.parametrize("address", [DOCS, REDOC, "/old/docs", "/old/redoc"])
async def test_a_page_runs_from_the_hubs_own_files(app: Sanic[Any, Any], address: str) -> None:
    page = await get(app, address)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r"(https?:)?//", page.text)
    files = re.findall(r'(?:src|href|url)[=:] ?"([^"]+)"|Redoc.init\(\s*"([^"]+)"', page.text)
    loaded = [one or other for one, other in files]
    assert len(loaded) >= 3
    for each in loaded:
        assert (await get(app, each)).status == 200, each


@pytest.mark.parametrize("address", [DOCS, REDOC])
async def test_its_policy_allows_exactly_its_scripts(app: Sanic[Any, Any], address: str) -> None:
    page = await get(app, address)
    rules = dict(each.split(" ", 1) for each in page.headers["content-security-policy"].split("; "))
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == f"'self' 'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert not re.search(r"https?:|\*", page.headers["content-security-policy"])
    assert (
        page.headers.items() >= {name.lower(): value for name, value in security_headers.PAGE.items()}.items()
    )


async def test_each_answer_says_what_it_is_no_page_for(app: Sanic[Any, Any]) -> None:
    security_headers.install(app)
    for path, policy in (
        (DOCS, "default-src 'none'; script-src 'self'"),
        ("/nowhere", "default-src 'none'; frame"),
    ):
        answer = await get(app, path)
        assert answer.headers["content-security-policy"].startswith(policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("path", "named"),
    [("/old", "/old/docs"), ("/old/nowhere", "/old/docs"), ("/older", DOCS), ("/nowhere", DOCS)],
)
async def test_a_404_names_the_reference_of_what_is_around_it(
    app: Sanic[Any, Any], path: str, named: str
) -> None:
    answer = await get(app, path)
    assert (answer.status, re.findall(r"/[\w/-]+", answer.json["detail"])) == (404, [named])


def test_redoc_is_as_npm_has_it_but_for_a_picture_from_elsewhere() -> None:
    folder = ROOT / "app" / "api" / "vendor"
    ours, readme = (folder / "redoc" / "redoc.standalone.js").read_bytes(), (folder / "README.md").read_text()
    (picture,) = re.findall(r"`(https://[^`]+\.svg)`", readme)
    source = b'src:"%s"'
    assert (ours.count(source % picture.encode()), ours.count(source % b"data:,")) == (0, 1)
    theirs = ours.replace(source % b"data:,", source % picture.encode())
    assert hashlib.sha256(theirs).hexdigest() in readme


def test_each_group_of_described_calls_is_in_the_reference() -> None:
    """A group that `TAGS` lacks would be left out of the document, and of the tests that read it."""
    modules = [path.read_text("utf-8") for path in (ROOT / "app" / "api").glob("*.py")]
    described = {
        group
        for module in modules
        if "@schemas.described(" in module
        for group in re.findall(r'Routes\(\s*"(\w+)"', module)
    }
    assert described - docs.TAGS.keys() == {"events"}  # event streams do not end
