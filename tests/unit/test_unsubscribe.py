"""Unsubscribe links: who gets one, what a token is worth, and the page behind it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import html5lib
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sanic import Sanic
from sanic_testing.testing import SanicASGITestClient

from app.api import errors
from app.api.branded_page import BrandedPages
from app.api.preferences_page import PreferencesPageResource
from app.api.unsubscribe import UnsubscribeResource
from app.auth.secrets import SecretBox
from app.auth.unsubscribe_tokens import MAX_AGE_DAYS, UnsubscribeTokens, Unsubscription
from app.domain.channels import CHANNELS
from app.domain.preferences import ALWAYS_ON, CATEGORIES, CHOICES, TRANSACTIONAL, Evaluator
from app.outbox.unsubscribe import UnsubscribeLinks
from app.settings.processing import OutboxSettings
from app.store.deliveries import LeasedDelivery
from app.store.preferences import Profile
from app.store.suppressions import hashed
from app.testing.people import MemoryPeople
from app.texts.brand import Brand
from app.texts.categories import CATEGORY_NAMES, CHANNEL_NAMES
from app.texts.i18n import LOCALES

USER = UUID("456e7890-e89b-12d3-a456-426614174001")
ADDRESS = "an@example.com"
DATABASE = SecretStr("postgresql://hub:secret@postgres/hub")


def box(secret: str = "x" * 32) -> SecretBox:
    return SecretBox((), SecretStr(secret), DATABASE)


TOKENS = UnsubscribeTokens((), box())
OF_USER = Unsubscription("food", "email", user_id=USER, locale="vi")
OF_ADDRESS = Unsubscription("food", "email", address=ADDRESS, locale="ru")


def leased(**changes: Any) -> LeasedDelivery:
    values: dict[str, Any] = {
        "id": USER,
        "channel": "email",
        "template": "plain",
        "address": ADDRESS,
        "locale": "en",
        "data": {},
        "secret": None,
        "attempts": 1,
        "age": 0.0,
        "code": False,
        "expires_in": None,
        "codes_last_hour": 0,
        "seconds_since_last_code": None,
        "attachments": (),
        "category": "food",
    }
    return LeasedDelivery(**values | changes)


@pytest.mark.parametrize("wanted", [OF_USER, OF_ADDRESS])
def test_a_token_is_read_by_whoever_has_the_key_and_shows_nothing(wanted: Unsubscription) -> None:
    token = TOKENS.make(wanted)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert UnsubscribeTokens((), box()).read(token) == wanted
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert b"example" not in raw
    key = SecretStr(Fernet.generate_key().decode())
    assert (
        UnsubscribeTokens((key,), box()).read(UnsubscribeTokens((key,), box("y" * 32)).make(wanted)) == wanted
    )


def forged() -> list[str]:
    token = TOKENS.make(OF_ADDRESS)
    content = Fernet(Fernet.generate_key()).encrypt(
        json.dumps({"category": "food", "channel": "email"}).encode()
    )
    return [
        *(
            token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
            for at in (0, 11, 40, len(token) - 6)
        ),
        token[:-4],
        token + token,
        "",
        "x",
        "é",
        "x" * 5000,
        content.decode(),
        UnsubscribeTokens((), box("y" * 32)).make(OF_ADDRESS),
        box().encrypt({"category": "food", "channel": "email", "address": ADDRESS}).decode(),
    ]


@pytest.mark.parametrize("number", range(len(forged())))
def test_no_other_token_is_read(number: int) -> None:
    assert TOKENS.read(forged()[number]) is None


def test_a_token_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    token = TOKENS.make(OF_USER)
    now = __import__("time").time()
    monkeypatch.setattr("cryptography.fernet.time.time", lambda: now + (MAX_AGE_DAYS - 1) * 86400)
    assert TOKENS.read(token) == OF_USER
    monkeypatch.setattr("cryptography.fernet.time.time", lambda: now + (MAX_AGE_DAYS + 1) * 86400)
    assert TOKENS.read(token) is None


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("template", ["plain", "low_stock", "booking_confirmation"])
def test_only_mail_that_can_be_switched_off_has_a_link(category: str, template: str) -> None:
    links = UnsubscribeLinks(OutboxSettings(public_url="https://hub.example.com/"), box())
    link = links.of(leased(category=category, template=template))
    assert (link is None) is (category in TRANSACTIONAL)
    if link is not None:
        assert link.startswith("https://hub.example.com/unsubscribe/")
        read = TOKENS.read(link.rpartition("/")[2])
        assert read == Unsubscription(category, "email", address=ADDRESS, locale="en")


@pytest.mark.parametrize("changes", [{"channel": "sms"}, {"category": None}, {"template": "otp_register"}])
def test_no_other_delivery_has_one(changes: dict[str, Any]) -> None:
    links = UnsubscribeLinks(OutboxSettings(public_url="https://hub.example.com"), box())
    assert links.of(leased(**changes)) is None
    assert UnsubscribeLinks(OutboxSettings(), box()).of(leased()) is None


def test_a_persons_link_is_bound_to_the_person() -> None:
    links = UnsubscribeLinks(OutboxSettings(public_url="https://hub.example.com"), box())
    link = links.of(leased(user_id=USER))
    assert link is not None
    assert TOKENS.read(link.rpartition("/")[2]) == Unsubscription("food", "email", user_id=USER, locale="en")


def test_an_address_is_the_same_in_capitals_and_only_a_hash() -> None:
    assert hashed("An@Example.COM") == hashed(ADDRESS)
    assert hashed("ân@example.com") != hashed(ADDRESS)
    assert len(hashed(ADDRESS)) == 32


class Suppressions:
    def __init__(self) -> None:
        self.added: list[tuple[str, str, str, str]] = []

    async def add(
        self, channel: str, address: str, category: str, reason: str, days: float | None = None
    ) -> None:
        self.added.append((channel, address, category, reason))


class Served:
    def __init__(self) -> None:
        Sanic.test_mode = True
        self.app: Sanic[Any, Any] = Sanic("unsubscribe", configure_logging=False)
        self.app.config.AUTO_EXTEND = False
        errors.install(self.app)
        self.people, self.suppressions = MemoryPeople(), Suppressions()
        self.reported: list[tuple[str, UUID | None, dict[str, Any]]] = []
        resource = UnsubscribeResource(
            TOKENS,
            self.people,
            self.suppressions,  # type: ignore[arg-type]
            self._report,
            pages := BrandedPages(Brand("Bếp & Co", "#0b6e99")),
            "en",
        )
        page = PreferencesPageResource(TOKENS, self.people, Evaluator(("food.sms",)), pages, "en")
        self.app.blueprint([resource.blueprint(), page.blueprint()])

    async def _report(self, kind: str, user_id: UUID | None, data: dict[str, Any]) -> None:
        self.reported.append((kind, user_id, data))

    async def ask(self, method: str, token: str, body: str | None = None, **headers: str) -> Any:
        client = SanicASGITestClient(self.app)
        _, answer = await client.request(method, f"/unsubscribe/{token}", headers=headers, content=body)
        return answer


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    Sanic.unregister_app(made.app)


async def test_a_mail_programs_post_is_enough_and_can_be_repeated(served: Served) -> None:
    for _ in range(2):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await served.ask("POST", TOKENS.make(OF_USER), "List-Unsubscribe=One-Click", **form)
        assert answer.status == 200
    assert (await served.people.get(USER))[1] == {"food.email": False}
    assert served.suppressions.added == []
    assert (await served.ask("POST", TOKENS.make(OF_ADDRESS))).status == 200
    assert [each[:3] for each in served.suppressions.added] == [("email", ADDRESS, "food")]
    *_, (kind, user, data) = served.reported
    assert (kind, user, data["category"]) == ("person.unsubscribed", None, "food")
    assert ADDRESS not in str(data)


async def test_opening_the_link_changes_nothing(served: Served) -> None:
    for wanted in (OF_USER, OF_ADDRESS):
        answer = await served.ask("GET", TOKENS.make(wanted))
        assert answer.status == 200
        assert answer.text.count("<button") == 1
    assert (await served.people.get(USER))[1] == {}
    assert served.suppressions.added == []


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("number", [0, 2, 4, 7, 10, 11])
async def test_a_forged_token_changes_nothing(served: Served, method: str, number: int) -> None:
    answer = await served.ask(method, forged()[number])
    assert answer.status == 404
    assert "<button" not in answer.text
    assert (await served.people.get(USER))[1] == {}
    assert served.suppressions.added == []


async def test_a_fault_of_the_hub_logs_no_token(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("of the hub")

    token = TOKENS.make(OF_ADDRESS)
    served.suppressions.add = fail  # type: ignore[method-assign, assignment]
    assert (await served.ask("POST", token)).status == 500
    (record,) = (each for each in caplog.records if each.message == "request_failed")
    assert vars(record)["route"] == "/unsubscribe/<token:str>"
    assert token not in caplog.text


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_page_is_in_the_readers_language_and_safe(served: Served, method: str, locale: str) -> None:
    answer = await served.ask(method, TOKENS.make(OF_USER), **{"Accept-Language": locale})
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    page = parser.parse(answer.text)
    assert parser.errors == []
    assert page.attrib["lang"] == locale == answer.headers["content-language"]
    assert "Bếp & Co" in "".join(page.itertext())
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script" not in answer.text
    assert not re.search(r"(?:src|href)=(?!\"[A-Za-z0-9_-]+/preferences\")", answer.text)


async def test_without_a_language_it_is_that_of_the_mail(served: Served) -> None:
    assert 'lang="vi"' in (await served.ask("GET", TOKENS.make(OF_USER))).text
    assert 'lang="ru"' in (await served.ask("POST", TOKENS.make(OF_ADDRESS))).text


PAGE = f"{TOKENS.make(OF_USER)}/preferences"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def checked(text: str) -> set[str]:
    """What the page shows as on."""
    page = html5lib.parse(text, namespaceHTMLElements=False)
    return {each.attrib["value"] for each in page.iter("input") if "checked" in each.attrib}


async def test_the_page_with_all_preferences_shows_what_is_on(served: Served) -> None:
    await served.people.set_choice(USER, "plans.email", False)
    answer = await served.ask("GET", PAGE)
    assert answer.status == 200
    assert checked(answer.text) == set(CHOICES) - {"plans.email", "food.sms"}
    assert (await served.people.get(USER))[1] == {"plans.email": False}
    assert f'href="{PAGE}"' in (await served.ask("GET", PAGE.split("/")[0])).text
    assert "href=" not in (await served.ask("GET", TOKENS.make(OF_ADDRESS))).text


async def test_the_page_saves_what_differs_and_nothing_else(served: Served) -> None:
    await served.people.set_profile(USER, Profile(email="an@example.com", phone="+84912345678"))
    on = set(CHOICES) - {"meals.email", "food.sms"} | {"no.such", f"{ALWAYS_ON}.email"}
    body = urlencode(
        {
            "on": sorted(on),
            "quiet_from": "22:00",
            "quiet_until": "07:00",
            "time_zone": "Asia/Ho_Chi_Minh",
            "locale": "ru",
            "email": "other@example.com",
            "whole": 1,
        },
        doseq=True,
    )
    answer = await served.ask("POST", PAGE, body, **FORM)
    assert answer.status == 200
    assert "Сохранено" in answer.text
    profile, choices = await served.people.get(USER)
    assert choices == {"meals.email": False}, "a default that nobody touched stays one"
    assert (profile.email, profile.phone, profile.locale, str(profile.quiet_from)) == (
        "an@example.com",
        "+84912345678",
        "ru",
        "22:00:00",
    )
    assert checked(answer.text) == set(CHOICES) - {"meals.email", "food.sms"}
    assert "example.com" not in answer.text
    everything = await served.ask("POST", PAGE, f"{body}&none=1", **FORM)
    assert checked(everything.text) == {each for each in CHOICES if each.startswith(f"{ALWAYS_ON}.")}


async def test_the_page_saves_how_often_messages_are_sent(served: Served) -> None:
    await served.people.set_digest(USER, "food.email", "weekly on friday at 07:15")
    await served.people.set_digest(USER, "plans.email", "hourly")
    page = html5lib.parse((await served.ask("GET", PAGE)).text, namespaceHTMLElements=False)
    selects = [each for each in page.iter("select") if each.attrib["name"] == "digest"]
    assert len(selects) == 2 * (len(CATEGORIES) - 1)
    shown = [each.attrib["value"] for each in page.iter("option") if "selected" in each.attrib]
    assert {"food.email weekly on friday at 07:15", "plans.email hourly", "food.sms"} < set(shown)
    given = ["food.email", "plans.email hourly", "meals.sms daily at 8:00", f"{ALWAYS_ON}.email hourly"]
    refused = await served.ask(
        "POST", PAGE, urlencode({"digest": [*given, "x y"], "whole": 1}, doseq=True), **FORM
    )
    assert refused.status == 400
    saved = await served.ask("POST", PAGE, urlencode({"digest": given, "whole": 1}, doseq=True), **FORM)
    assert saved.status == 200
    assert await served.people.digests(USER) == {"plans.email": "hourly", "meals.sms": "daily at 08:00"}
    kept = await served.ask("POST", PAGE, "whole=1&digest=plans.email+every+15m", **FORM)
    assert kept.status == 400
    assert len(await served.people.digests(USER)) == 2


async def test_quiet_hours_that_cannot_be_saved_change_nothing(served: Served) -> None:
    for field in ("quiet_from=22:00", "quiet_from=x&quiet_until=y&time_zone=z", "locale=xx", "time_zone=%00"):
        answer = await served.ask("POST", PAGE, f"{field}&none=1&whole=1", **FORM)
        assert answer.status == 400
        assert 'class="note"' in answer.text
        assert (await served.people.get(USER)) == (Profile(), {})


@pytest.mark.parametrize(
    "body", ["", "none=1", "List-Unsubscribe=One-Click", "\ud83d", "on=%ff&" * 300, "{}", "on[]=food.email"]
)
async def test_what_is_no_form_of_the_page_changes_nothing(served: Served, body: str) -> None:
    answer = await served.ask("POST", PAGE, body.encode("utf-8", "surrogatepass").decode("latin-1"), **FORM)
    assert answer.status == 400
    assert (await served.people.get(USER)) == (Profile(), {})


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_other_link_has_the_page(served: Served, method: str) -> None:
    for token in (*(forged()[number] for number in (0, 2, 4, 10, 11)), TOKENS.make(OF_ADDRESS)):
        answer = await served.ask(method, f"{token}/preferences", "none=1&whole=1", **FORM)
        assert answer.status == 404
        assert "<form" not in answer.text
    assert (await served.people.get(USER))[1] == {}


@pytest.mark.parametrize("locale", LOCALES)
async def test_the_page_with_all_preferences_is_in_the_readers_language(served: Served, locale: str) -> None:
    answer = await served.ask("GET", PAGE, **{"Accept-Language": locale})
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    page = parser.parse(answer.text)
    assert parser.errors == []
    assert page.attrib["lang"] == locale == answer.headers["content-language"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_a_mail_to_a_user_leads_to_their_preferences() -> None:
    links = UnsubscribeLinks(OutboxSettings(public_url="https://hub.example.com/"), box())
    assert links.settings_of(leased()) is None
    link = links.settings_of(leased(user_id=USER)) or ""
    assert link.endswith("/preferences")
    assert (TOKENS.read(link.split("/")[-2]) or OF_ADDRESS).user_id == USER


def test_each_category_and_channel_has_a_name() -> None:
    assert tuple(CATEGORY_NAMES) == CATEGORIES
    assert tuple(CHANNEL_NAMES) == CHANNELS
