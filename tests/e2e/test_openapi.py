"""Schemathesis against a running hub: whatever is asked, there is no 5xx, and the answer is as documented."""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from itertools import chain
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
import schemathesis
from hypothesis import settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV30SpecValidator
from pydantic import SecretStr
from schemathesis import Config, HookContext
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from schemathesis.engine.recorder import ScenarioRecorder

from app.auth.delivery_tokens import OPENED, DeliveryTokens
from app.auth.secrets import SecretBox
from app.auth.unsubscribe_tokens import UnsubscribeTokens, Unsubscription
from tests.support.hub import NO_TLS, REST, WEBSOCKET, Hub, new_user, token
from tests.support.push_service import VAPID_PRIVATE_KEY, VAPID_SUBJECT, Browser

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", settings().max_examples // 10))
"""How many requests are made up for a call, besides its examples: 3, and 10 in `make test-long`."""
SEED = int(os.environ.get("SEED", "1"))
REFUSED = ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429", "5xx"]
TEXTS = ("event_id", "broadcast_id", "topic_key", "preference_id", "token", "image")
"""Of the parameters in paths those that are no UUIDs."""
MAX_PATH_CHARS = 1001
"""Of a parameter, each up to 12 bytes: a head may have 16 KB, and 431 is the answer to a longer one."""
SCOPES = "notifications:send deliveries:read deliveries:resend metrics:read"
# The requests are made while the first test waits for its fixtures.
pytestmark = pytest.mark.timeout(240 + 60 * EXAMPLES)

schemathesis.serializer.alias("message/rfc822", "text/plain")

CALLBACKS = {
    f"POST /callbacks/{provider}" for provider in ("sendgrid", "mailgun", "ses", "twilio", "bounces")
}
"""What providers sign (tests/unit/test_callbacks.py)."""
OF_THE_RUNNING = {f"POST {REST}/broadcasts/{{broadcast_id}}/{call}" for call in ("pause", "resume")}
"""Of broadcasts that weren't cancelled before (tests/e2e/one_hub/test_broadcasts.py)."""
WHOLE_INBOX = [f"{REST}/notifications/users/{{user_id}}{path}" for path in ("", "/archive")]
"""Where all of an inbox is deleted and archived: called last, as other calls need something in it."""
CONFIRM = f"POST {REST}/addresses/{{address_id}}/confirm"
"""Needs the code that was sent to the address: tests/e2e/test_addresses.py."""
SOCKET = f"GET {WEBSOCKET}/notifications/users/{{user_id}}"


class Run(NamedTuple):
    """What Schemathesis saw."""

    statuses: defaultdict[str, set[int | None]]
    """By call, what it was answered with; None where there was no answer."""
    failures: list[str]
    """Each answer that isn't as documented, with the request that brings it."""
    errors: list[str]
    """What kept Schemathesis from asking."""

    def note(self, scenario: ScenarioRecorder) -> None:
        for each in scenario.interactions.values():
            if scenario.label is None or each.request.method != scenario.label.split()[0]:
                continue  # another method is tried too
            self.statuses[scenario.label].add(each.response.status_code if each.response else None)
        for check in chain.from_iterable(scenario.checks.values()):
            if check.failure_info is not None:
                failure = check.failure_info.failure
                self.failures.append(f"{failure.title}: {failure.message}\n{check.failure_info.code_sample}")


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Broadcasts take long, so that they can be cancelled."""
    vapid = {"VAPID_PRIVATE_KEY": VAPID_PRIVATE_KEY, "VAPID_SUBJECT": VAPID_SUBJECT}
    return {**environment, **vapid, "BROADCAST_RATE": "0.001"}


@pytest.fixture(scope="module")
def user() -> str:
    return new_user()


@pytest.fixture(scope="module")
def authorization(user: str) -> dict[str, str]:
    """A token that is the user's own and a service's: it opens every call."""
    return {"Authorization": f"Bearer {token(user, scope=SCOPES)}"}


@pytest_asyncio.fixture(scope="module")
async def document(hub: Hub) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as client:
        found: dict[str, Any] = (await client.get("/docs/openapi.json")).raise_for_status().json()
    return found


@pytest_asyncio.fixture(scope="module")
async def known(hub: Hub, user: str, authorization: dict[str, str]) -> dict[str, list[str]]:
    """By name of a parameter, values behind which there is something."""
    message = {"user_id": user, "to": user, "title": "Hello", "message": "How are you?"}
    news = {"type": "inapp", "title": "News", "message": "It is dark."}
    mail = message | {"type": "email", "to": "user@example.com"}
    events: list[dict[str, Any]] = [
        *({**message, "type": "inapp", "event_id": f"inapp-{number}"} for number in range(60)),
        *({**mail, "event_id": f"mail-{number}"} for number in range(3)),
        *({**news, "event_id": f"news-{n}", "audience": {"topic": "news"}} for n in range(20)),
        *({**mail, "event_id": f"later-{n}", "send_at": "2100-01-01T00:00:00Z"} for n in range(5)),
    ]
    secrets = (SecretStr(hub.environment[name]) for name in ("JWT_SECRET", "DATABASE_URL"))
    box = SecretBox((), *secrets)
    tokens, images = UnsubscribeTokens((), box), DeliveryTokens(box, OPENED)
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=authorization, verify=NO_TLS) as client:
        await client.post("/topics/news/followers", json={"add": [new_user() for _ in range(3)]})
        sent = await client.post("/notifications/bulk", json={"notifications": events})
        assert sent.json()["accepted"] == len(events), sent.text
        notifications = (await client.get(f"/notifications/users/{user}?limit=60")).json()
        deliveries = (await client.get("/deliveries")).json()
        browsers = [Browser("https://push.example.com") for _ in range(5)]
        devices = [await client.post("/devices", json=browser.subscription) for browser in browsers]
    return {
        "user_id": [user] * 5,
        "notification_id": [str(each["id"]) for each in notifications],
        "delivery_id": [each["id"] for each in deliveries],
        "device_id": [each.raise_for_status().json()["id"] for each in devices],
        "address_id": [new_user()] * 5,
        "image": [f"{images.make(uuid.UUID(each['id']))}.gif" for each in deliveries],
        "broadcast_id": [f"news-{number}" for number in range(20)],
        "topic_key": ["news", "release-notes"],
        "event_id": [event["event_id"] for event in events],
        "preference_id": ["food.email", "plans.sms", "security.email"],
        "token": [tokens.make(Unsubscription("food", "email", uuid.UUID(user)))] * 5,
    }


def right(name: str, value: Any) -> bool:
    """Whether a value in a path is of the form that its description asks for."""
    if name in TEXTS:
        return isinstance(value, str) and 0 < len(value) <= 200
    if name == "notification_id":
        return str(value).isdecimal()
    try:
        return bool(uuid.UUID(value))
    except (ValueError, TypeError, AttributeError):
        return False


@pytest.fixture(
    scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "bounds"]
)
def run(
    request: pytest.FixtureRequest,
    hub: Hub,
    document: dict[str, Any],
    known: dict[str, list[str]],
    authorization: dict[str, str],
) -> Run:
    """What came of the examples, of what is made up, and of what lies at the bounds of each parameter."""
    config = Config.from_dict(
        {
            "seed": SEED,
            "base-url": hub.http,
            "headers": authorization,
            "continue-on-failure": True,
            "generation": {"max-examples": EXAMPLES, "database": "none"},
            "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": request.param}},
            "operations": [
                # What can't be used of an event is left out (decision 029), so a body that is not valid may
                # be accepted; tests/unit/test_event_schemas.py says when.
                {
                    "include-path": f"{REST}/notifications{path}",
                    "checks": {"negative_data_rejection": {"enabled": False}},
                }
                for path in ("", "/bulk", "/dry-run")
            ],
            "checks": {
                "positive_data_acceptance": {"enabled": False},
                # Schemathesis' own, and 413: what is longer than allowed may be longer than is read at all.
                "negative_data_rejection": {"expected-statuses": [*REFUSED, "413"]},
            },
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)

    @schema.hook
    def flatmap_path_parameters(
        _: HookContext, made_up: dict[str, Any] | None
    ) -> st.SearchStrategy[dict[str, Any] | None]:
        """In paths stands mostly what is known, but what is wrong on purpose stays wrong."""
        if made_up is None:
            return st.none()
        values = {
            name: st.sampled_from([*known.get(name, []), value])
            if right(name, value)
            else st.just(value if len(str(value)) <= MAX_PATH_CHARS else str(value)[:MAX_PATH_CHARS])
            for name, value in made_up.items()
        }
        return st.fixed_dictionaries(values)

    found = Run(defaultdict(set), [], [])
    parts = (schema.exclude(path=WHOLE_INBOX), schema.include(path=WHOLE_INBOX))
    for event in chain.from_iterable(from_schema(part).execute() for part in parts):
        match event:
            case ScenarioFinished():
                found.note(event.recorder)
            case NonFatalError():
                found.errors.append(f"{event.label}: {event.value!r}")
            case FatalError():
                found.errors.append(repr(event.exception))
    return found


def test_every_answer_is_as_documented(run: Run) -> None:
    assert run.errors == [], "\n\n".join(run.errors)
    assert run.failures == [], "\n\n".join(run.failures)


def test_every_call_was_seen_at_work(run: Run, document: dict[str, Any]) -> None:
    """Else the test above may have seen nothing but refusals."""
    wanted = {
        f"{method.upper()} {path}": {int(status) for status in operation["responses"] if status[0] in "12"}
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    unreached = {call: run.statuses[call] for call in wanted if not run.statuses[call] & wanted[call]}
    assert unreached.keys() - OF_THE_RUNNING == {SOCKET, CONFIRM, *CALLBACKS}, unreached
    assert 426 in run.statuses[SOCKET], "as far as HTTP comes there"


async def test_the_examples_to_start_from_are_taken(
    hub: Hub, document: dict[str, Any], authorization: dict[str, str]
) -> None:
    sending = [f"{REST}/notifications", f"{REST}/notifications/bulk"]
    bodies = {path: document["paths"][path]["post"]["requestBody"]["content"] for path in sending}
    async with httpx.AsyncClient(base_url=hub.http, headers=authorization, verify=NO_TLS) as client:
        for path, content in bodies.items():
            for name, example in content["application/json"]["examples"].items():
                answer = await client.post(path, json=example["value"])
                assert answer.status_code == 202, (name, answer.text)
                assert answer.json().get("rejected", 0) == 0, (name, answer.text)


def test_every_call_is_described_in_its_group(document: dict[str, Any]) -> None:
    groups = {tag["name"] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert groups.issuperset(operation["tags"]), (method, path)
            assert operation["summary"], (method, path)
            assert ("requestBody" in operation) == ("413" in operation["responses"]), (method, path)


def test_the_document_is_openapi_3_0(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []
