"""REST_ENVELOPE=jsend: the documented calls and their errors, in the envelope and as OpenAPI describes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sanic import Sanic
from sanic_testing.testing import SanicASGITestClient

from app.api import docs, errors
from app.api.auth import Authenticator
from app.api.envelope import envelope, error_answers
from app.api.notifications import ENVELOPED, NotificationResource
from app.api.prefixes import REST
from app.auth.tokens import Claims, TokenVerifier
from app.domain.errors import Unavailable
from app.realtime.changes import InboxCommands
from app.settings.edge import Envelope
from app.testing import MemoryHub
from tests.support.hub import added, new_user
from tests.support.hub import token as sign
from tests.support.settings import settings_on

SECRET = "a secret for tests, long enough to be accepted"
CALLS = [("GET", "/notifications/users/{}"), ("PATCH", "/notifications/{id}/users/{}/read")]


class NoRevocations:
    async def check_or_cached(self, claims: Claims) -> None:
        """Nothing is revoked."""


class Page:
    """A hub in memory and its documented calls, in an envelope."""

    def __init__(self, name: Envelope) -> None:
        settings = settings_on("redis://redis", jwt_secret=SECRET, jwt_issuer="tests")
        revocations: Any = NoRevocations()
        self.hub = MemoryHub()
        store = self.hub.store
        authenticator = Authenticator(TokenVerifier(settings.auth), revocations)
        bus: Any = self.hub.bus
        resource = NotificationResource(
            authenticator, store, store, InboxCommands(store, store, bus), "en", envelope(name)
        )
        Sanic.test_mode = True
        self.app: Sanic[Any, Any] = Sanic(f"envelope-{name}", configure_logging=False)
        self.app.config.AUTO_EXTEND = False
        errors.install(self.app, respond=error_answers(name, [REST + path for path in ENVELOPED]))
        self.app.blueprint(resource.blueprint(REST))
        self.document = docs.document(self.app, "1")

    async def ask(
        self, user: str, method: str, path: str, *, token: str | None = None, **headers: str
    ) -> Any:
        headers["Authorization"] = f"Bearer {token or sign(user)}"
        _, answer = await SanicASGITestClient(self.app).request(method, REST + path, headers=headers)
        return answer


@pytest.fixture
def pages() -> Iterator[dict[str, Page]]:
    made = {"none": Page("none"), "jsend": Page("jsend")}
    yield made
    for page in made.values():
        Sanic.unregister_app(page.app)


@pytest.fixture
def jsend(pages: dict[str, Page]) -> Page:
    return pages["jsend"]


async def test_the_list_is_the_data(jsend: Page) -> None:
    user = new_user()
    for _ in range(3):
        await jsend.hub.publish(added(user))
    answer = await jsend.ask(user, "GET", f"/notifications/users/{user}?limit=2")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json.keys() == {"status", "message", "data"}
    assert (answer.json["status"], [each["seq"] for each in answer.json["data"]]) == ("success", [3, 2])
    assert isinstance(answer.json["message"], str)
    assert 'rel="next"' in answer.headers["link"]


async def test_the_older_path_of_the_list_has_the_envelope_too(jsend: Page) -> None:
    user = new_user()
    answer = await jsend.ask(user, "GET", f"/users/{user}/notifications")
    assert (answer.json["status"], answer.json["data"]) == ("success", [])


async def test_read_and_delete(jsend: Page) -> None:
    user = new_user()
    await jsend.hub.publish(added(user))
    (notification,) = jsend.hub.inbox(UUID(user))
    read = await jsend.ask(user, "PATCH", f"/notifications/{notification.id}/users/{user}/read")
    assert (read.status, read.json["status"], read.json["data"]["is_read"]) == (200, "success", True)
    assert read.headers["inbox-count"].startswith("unread=0")
    deleted = await jsend.ask(
        user, "DELETE", f"/notifications/{notification.id}/users/{user}", **{"Accept-Language": "vi"}
    )
    assert (deleted.status, deleted.json["status"]) == (200, "success")
    assert deleted.json["message"] == deleted.json["data"]["message"]
    assert deleted.headers["content-language"] == "vi"


async def test_an_error_of_the_client_is_a_fail(jsend: Page) -> None:
    user, other = new_user(), new_user()
    await jsend.hub.publish(added(other))
    (foreign,) = jsend.hub.inbox(UUID(other))
    wanted = [
        (400, "bad_parameter", await jsend.ask(user, "GET", f"/notifications/users/{user}?limit=x")),
        (401, "invalid_token", await jsend.ask(user, "GET", f"/notifications/users/{user}", token="x")),
        (403, "other_user", await jsend.ask(user, "GET", f"/notifications/users/{other}")),
        (
            404,
            "no_such_notification",
            await jsend.ask(user, "DELETE", f"/notifications/{foreign.id}/users/{user}"),
        ),
    ]
    for status, code, answer in wanted:
        assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
        assert answer.json.keys() == {"status", "message", "data"}
        assert (answer.json["status"], answer.json["data"]["code"]) == ("fail", code)
        assert answer.json["message"] == answer.json["data"]["detail"]
    assert "Bearer" in wanted[1][2].headers["www-authenticate"]
    assert jsend.hub.inbox(UUID(other)) == [foreign]


@pytest.mark.parametrize(
    ("raised", "status"), [(RuntimeError("a secret of the inside"), 500), (Unavailable("postgres", "x"), 503)]
)
async def test_an_error_of_the_hub_is_an_error(
    jsend: Page, monkeypatch: pytest.MonkeyPatch, raised: Exception, status: int
) -> None:
    async def fail(*_: object) -> None:
        raise raised

    user = new_user()
    monkeypatch.setattr(jsend.hub.store, "page", fail)
    answer = await jsend.ask(user, "GET", f"/notifications/users/{user}")
    assert (answer.status, answer.json["status"], answer.json["data"]["status"]) == (status, "error", status)
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", "/notifications/users/1", 405, "method_not_allowed"),
        ("POST", "/users/1/notifications/", 405, "method_not_allowed"),
        ("POST", "/notifications/1/users/1/read", 405, "method_not_allowed"),
        ("GET", "/notifications/1/users/1", 405, "method_not_allowed"),
    ],
)
async def test_an_error_that_no_handler_raised_is_in_the_envelope(
    pages: dict[str, Page], method: str, path: str, status: int, code: str
) -> None:
    answer = await pages["jsend"].ask(new_user(), method, path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert (answer.json["status"], answer.json["data"]["code"]) == ("fail", code)
    assert answer.headers["allow"]
    bare = await pages["none"].ask(new_user(), method, path)
    assert bare.headers["content-type"] == "application/problem+json"


async def test_the_other_calls_have_no_envelope(jsend: Page) -> None:
    user = new_user()
    assert (await jsend.ask(user, "GET", f"/notifications/users/{user}/unread-count")).json["unread"] == 0
    assert (await jsend.ask(user, "PATCH", f"/notifications/users/{user}/read")).json["unread"] == 0
    for method, path in (
        ("GET", f"/notifications/users/{uuid4()}/unread-count"),
        ("PUT", f"/notifications/users/{user}/read"),
        ("GET", "/nowhere"),
    ):
        elsewhere = await jsend.ask(user, method, path)
        assert elsewhere.headers["content-type"] == "application/problem+json"


async def test_without_an_envelope_the_answers_are_bare(pages: dict[str, Page]) -> None:
    user = new_user()
    answer = await pages["none"].ask(user, "GET", f"/notifications/users/{user}")
    assert answer.json == []
    refused = await pages["none"].ask(user, "GET", f"/notifications/users/{new_user()}")
    assert refused.headers["content-type"] == "application/problem+json"


def test_openapi_describes_the_envelope(pages: dict[str, Page]) -> None:
    bare, enveloped = (pages[name].document["paths"] for name in ("none", "jsend"))
    calls = {
        (path, method) for path, of_path in bare.items() for method in of_path if of_path != enveloped[path]
    }
    inbox, one = f"{REST}/notifications/users/{{user_id}}", f"{REST}/notifications/{{notification_id}}/users"
    assert calls == {
        (inbox, "get"),
        (f"{REST}/users/{{user_id}}/notifications", "get"),
        (f"{one}/{{user_id}}/read", "patch"),
        (f"{one}/{{user_id}}", "delete"),
    }
    words = {"2": "success", "4": "fail", "5": "error"}
    for path, method in calls:
        for status, answer in enveloped[path][method]["responses"].items():
            (content,) = bare[path][method]["responses"][status]["content"].values()
            schema = answer["content"]["application/json"]["schema"]
            assert schema["required"] == ["status", "message", "data"]
            assert schema["properties"]["status"]["enum"] == [words[status[0]]]
            assert schema["properties"]["data"] == content["schema"]
